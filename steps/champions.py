"""The champion of an identifier: which of its models is in use, and which were before it, in one champion.json.

It is written whole and only where it is still what was read: of two who promote at once, the second is told so.
"""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

try:
    import fcntl
except ImportError:  # not a POSIX system: the file is written whole, and two at once are not told
    fcntl = None  # type: ignore[assignment]

FILE = "champion.json"
RUN_ID = re.compile(r"(\d{8})[Tt](\d{6}-[0-9a-f]{4})$")


@dataclass(frozen=True)
class Champion:
    """A model in use, and how it came to be that."""

    run: str  # id of the run that trained it; of a schedule's run the name of its job
    model: str  # its folder: from that of champion.json, where it lies below it, else its whole place
    sha256: str  # of its model.joblib
    figures: dict[str, Any]  # accuracy, macro_f1 and, by class, f1 on its own test rows
    promoted: str  # when, in UTC as in RFC 3339
    reason: str
    before: list[dict[str, Any]] = field(default_factory=list)  # the same of the champions before it, the last one last
    withdrawn: list[dict[str, Any]] = field(default_factory=list)  # and of those that were rolled back

    @property
    def alone(self) -> dict[str, Any]:
        """What there is to be known of it, without the others."""
        return {name: value for name, value in asdict(self).items() if name not in ("before", "withdrawn")}


class Changed(Exception):
    """The champion is another than the one that was read."""


def read(place: str) -> Champion | None:
    """Return the champion that a champion.json names; None where there is none.

    Args:
        place: Path or gs:// address of the file.

    Raises:
        ValueError: the file is damaged.
    """
    return _parsed(_content(place)[0], place)


def current(place: str) -> tuple[str, str]:
    """Return the folder of the champion's model and the SHA-256 of its file.

    Raises:
        ValueError: there is no champion, or the file is damaged.
    """
    champion = read(place)
    if champion is None:
        raise ValueError(f"There is no champion: {place} is not there. Train first: the first model promotes itself.")
    return folder_of(champion, place), champion.sha256


def folder_of(champion: Champion, place: str) -> str:
    """Return the folder of a champion's model."""
    is_whole = champion.model.startswith("gs://") or os.path.isabs(champion.model)
    return champion.model if is_whole else f"{place.rpartition('/')[0]}/{champion.model}"


def made(place: str, run: str, folder: str, sha256: str, figures: dict[str, Any], reason: str) -> Champion:
    """Return a model as a champion from now on.

    Args:
        place: Path or gs:// address of champion.json.
        run: Id of the run that trained it, or the name of its job.
        folder: Folder of the model.
        sha256: SHA-256 of its file.
        figures: Its figures on its own test rows.
        reason: Why it is promoted.
    """
    found = RUN_ID.search(run)
    name = "T".join(found.groups()) if found else run
    below = folder.removeprefix(f"{place.rpartition('/')[0]}/")
    return Champion(name, below, sha256, figures, datetime.now(UTC).isoformat(timespec="seconds"), reason)


def promote(place: str, new: Champion, former: Champion | None) -> Champion:
    """Put a champion in the place of the former one, which goes into its history.

    Raises:
        Changed: the champion there is not the former one.
    """
    if former:
        new = replace(new, before=[*former.before, former.alone], withdrawn=former.withdrawn)
    _replace(place, new, former)
    return new


def roll_back(place: str) -> tuple[Champion, Champion]:
    """Put the champion before the present one in its place again; return both, the withdrawn one last.

    Raises:
        ValueError: there is none before it.
        Changed: the champion was replaced meanwhile.
    """
    present = read(place)
    if present is None or not present.before:
        of = f"before {present.run}" if present else f"at {place}"
        raise ValueError(f"There is no champion {of}: there is nothing to go back to.")
    *before, last = present.before
    again = Champion(**last, before=before, withdrawn=[*present.withdrawn, present.alone])
    _replace(place, again, present)
    return again, present


def _parsed(content: bytes | None, place: str) -> Champion | None:
    if content is None:
        return None
    try:
        found = json.loads(content)
        wrong = [f.name for f in fields(Champion) if not isinstance(found.get(f.name), _KINDS[f.name])]
    except (ValueError, AttributeError, RecursionError) as error:
        wrong, found = [str(error)[:100]], {}
    if wrong:
        raise ValueError(f"{place} is damaged: {', '.join(wrong)}. Promote a run by hand: python -m pipeline promote.")
    return Champion(**{name: found[name] for name in _KINDS})


_KINDS = {"run": str, "model": str, "sha256": str, "figures": dict, "promoted": str, "reason": str}
_KINDS |= {"before": list, "withdrawn": list}


def _replace(place: str, new: Champion, former: Champion | None) -> None:
    """Write champion.json whole, if it still holds the former champion.

    Raises:
        Changed: it holds another.
    """
    content = (json.dumps(asdict(new), indent=1, allow_nan=False) + "\n").encode()
    if place.startswith("gs://"):
        from google.api_core.exceptions import PreconditionFailed

        there, generation = _content(place)
        if _parsed(there, place) != former:
            raise Changed(place)
        try:
            _blob(place).upload_from_string(content, "application/json", if_generation_match=generation)
        except PreconditionFailed:
            # a first try whose answer was lost may have written it
            if read(place) != new:
                raise Changed(place) from None
        return
    folder = os.path.dirname(place)
    os.makedirs(folder, exist_ok=True)
    with _alone(folder):
        if read(place) != former:
            raise Changed(place)
        temporary = os.path.join(folder, f".{secrets.token_hex(4)}.tmp")
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, place)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)


def _content(place: str) -> tuple[bytes | None, int]:
    """Return what is in the file, None where there is none, and the generation of an object, 0 where there is none."""
    if not place.startswith("gs://"):
        if not os.path.lexists(place):
            return None, 0
        if not os.path.isfile(place):  # a pipe might never end
            raise ValueError(f"{place} is damaged: it is no regular file.")
        with open(place, "rb") as file:
            return file.read(), 0
    from google.api_core.exceptions import NotFound, PreconditionFailed

    while True:
        blob = _blob(place)
        try:
            blob.reload()
            generation = blob.generation  # which a download may take away
            return blob.download_as_bytes(if_generation_match=generation), generation
        except NotFound:
            return None, 0
        except PreconditionFailed:  # it was replaced since the look at it
            continue


def _blob(place: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Blob, Client

    credentials = AnonymousCredentials() if os.environ.get("STORAGE_EMULATOR_HOST") else None
    return Blob.from_uri(place, Client(project="none", credentials=credentials))  # objects need no project


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Let only one process at a time replace the champion, where folders can be locked."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if fcntl:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
