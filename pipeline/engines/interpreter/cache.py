"""The cache of the local engine: it is right, or it misses.

A task's key holds all that it can see: its source and pins, its environment, its parameters, and its artifacts by type,
metadata and content; the address, too, of one that lies outside of the run. An entry names the folder of the run that
has last used it, with a digest of each file, so that a hit is checked, and brings everything that the task left there
into the new run's folder as copies, which share their blocks where the file system can: what is done to those of one
run is done to no other's.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, with_config
from typing_extensions import TypedDict

from pipeline import files
from pipeline.engines.interpreter.executor import OUTPUT_FILE, checked
from pipeline.engines.interpreter.values import SpecError, Values

# what keeping a result may fail by, and using one: the system, damage, and what is no file
CANNOT = (OSError, ValueError)


@with_config(ConfigDict(extra="allow"))
class _Artifact(TypedDict):
    name: str
    type: dict[str, Any]
    uri: str
    metadata: dict[str, Any]


class _Entry(BaseModel):
    """What a task has left. Its digest is of all the rest, so that no damage is taken for a result."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: str = ""
    key: str
    folder: str
    files: dict[str, str]
    elsewhere: dict[str, str | dict[str, str] | None]
    parameters: dict[str, Any]
    artifacts: dict[str, list[_Artifact]]

    def digest(self) -> str:
        """Return the digest of all but the digest."""
        rest = json.dumps(self.model_dump(exclude={"sha256"}), sort_keys=True)
        return hashlib.sha256(rest.encode()).hexdigest()


class Cache:
    """The outputs of tasks, shared by all runs below one folder."""

    def __init__(self, root: Path):
        """Open the cache, whose entries are in this folder."""
        self._root = root
        self._digests: dict[tuple[int, ...], str] = {}
        self._untold = [True]  # empty once it was told that results are not kept
        with contextlib.suppress(OSError):  # it is told where there is something to keep
            root.mkdir(parents=True, exist_ok=True)
            files.sweep(root)

    def key(
        self,
        component: Mapping[str, Any],
        container: Mapping[str, Any],
        environment: Mapping[str, str],
        inputs: Values,
        run_folder: Path,
    ) -> str:
        """Return the key of a task, an empty text for one whose inputs cannot be told by their content.

        Args:
            component: Its component, with the definitions of its inputs and outputs.
            container: Its container, with the source, the pins and the image.
            environment: The variables that the pipeline sets, as they are now.
            inputs: Its inputs, with resolved placeholders.
            run_folder: Folder of the run: what lies in it counts by its content, wherever that is.
        """
        try:
            artifacts = {
                name: [
                    {
                        "name": artifact["name"],
                        "type": artifact["type"],
                        "metadata": artifact.get("metadata", {}),
                        "content": self._content(artifact["uri"]),
                        "uri": None if _is_inside(artifact["uri"], run_folder) else artifact["uri"],
                    }
                    for artifact in listed
                ]
                for name, listed in inputs.artifacts.items()
            }
        except CANNOT:  # a pipe, or what may not be read
            return ""
        seen = {
            "python": ".".join(map(str, sys.version_info[:2])),
            "component": component,
            "container": [container.get(part) for part in ("image", "command", "args")],
            "environment": environment,
            "parameters": inputs.parameters,
            "artifacts": artifacts,
        }
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()

    def get(self, key: str, component: Mapping[str, Any], folder: Path) -> Values | None:
        """Return the outputs of a task, whose files are brought into its folder; None if there are none any more.

        Args:
            key: The key of the task.
            component: Its component, which says what its outputs are.
            folder: Folder of the task's outputs, which is not there yet.
        """
        try:
            entry = files.read(self._entry(key), _Entry)
            if (entry.key, entry.sha256) != (key, entry.digest()):
                raise ValueError("it has changed since it was kept, or is another's")
            former = Path(entry.folder)
            if ".." in former.parts or not _is_inside(os.path.realpath(former), self._root.parent.resolve()):
                raise ValueError("it names a folder that is none of these runs'")
            _bring(former, folder, entry.files)
            if self._files(folder) != entry.files:
                raise ValueError("a file has changed since it was kept")
            for uri, content in entry.elsewhere.items():
                if self._content(uri) != content:
                    raise ValueError("what an address names has changed since it was kept")
            for artifact in (artifact for listed in entry.artifacts.values() for artifact in listed):
                if _is_inside(artifact["uri"], former):
                    artifact["uri"] = str(folder / Path(artifact["uri"]).relative_to(former))
                elif artifact["uri"] not in entry.elsewhere:
                    raise ValueError("it names a place that was not checked")
            found = checked(Values(entry.parameters, entry.model_dump()["artifacts"]), component)
        except (*CANNOT, files.Damaged, ArithmeticError, LookupError, TypeError, SpecError):
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
            return None
        with contextlib.suppress(*CANNOT):
            self._write(entry.model_copy(update={"folder": str(folder)}))  # so that the former run may be deleted
        return found

    def put(self, key: str, outputs: Values, folder: Path, run_folder: Path) -> str:
        """Keep what a task has put out, unless it names places of its run, which another run is not to be sent to.

        Args:
            key: The key of the task.
            outputs: Its outputs.
            folder: Folder of its outputs.
            run_folder: Folder of the run.

        Returns:
            What to tell the user where it could not be kept, once; an empty text else.
        """
        listed = [artifact for artifacts in outputs.artifacts.values() for artifact in artifacts]
        elsewhere = [artifact["uri"] for artifact in listed if not _is_inside(artifact["uri"], folder)]
        try:
            told = json.dumps([outputs.parameters, [artifact.get("metadata") for artifact in listed], elsewhere])
            if json.dumps(str(run_folder))[1:-1] in told:
                return ""
            entry = _Entry.model_validate(
                {
                    "key": key,
                    "folder": str(folder),
                    "files": self._files(folder),
                    "elsewhere": {uri: self._content(uri) for uri in elsewhere},
                    "parameters": outputs.parameters,
                    "artifacts": outputs.artifacts,
                }
            )
            self._write(entry)
        except OSError as error:
            if self._untold:
                self._untold.clear()
                return f"Results are not kept for later runs: {self._root}: {error.strerror or error}"
        except (ValueError, RecursionError):  # a pipe, or what is nested too deeply: no later run could have it
            pass
        return ""

    def _entry(self, key: str) -> Path:
        return self._root / f"{key}.json"

    def _write(self, entry: _Entry) -> None:
        """Write an entry, which is there whole or not at all."""
        whole = entry.model_copy(update={"sha256": entry.digest()})
        files.write(self._entry(entry.key), json.dumps(whole.model_dump()))

    def _content(self, uri: str) -> Any:
        """Return what tells the content of an address, None for one that is not on this machine."""
        path = Path(uri)
        return self._files(path) if path.is_dir() else self._digest(path) if path.exists() else None

    def _files(self, folder: Path) -> dict[str, str]:
        """Return what is in a folder, each by its path: the digest of a file, the target of a link, or a folder."""
        found = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[name] = f"link {os.readlink(path)}"
            elif path.is_dir():
                found[name] = "folder"
            elif name != OUTPUT_FILE:
                found[name] = self._digest(path)
        return found

    def _digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, which is read once however many links it has."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is no regular file")
        known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if known not in self._digests:
            with path.open("rb") as file:
                self._digests[known] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[known]


def _is_inside(uri: str, folder: Path) -> bool:
    return ".." not in Path(uri).parts and Path(uri).is_relative_to(folder)


def _bring(former: Path, folder: Path, contents: Mapping[str, str]) -> None:
    """Make what is in a folder appear in another, which is not there yet.

    Args:
        former: The folder it is in.
        folder: The other.
        contents: What is to be brought: by its path in the folder the digest of a file, the target of a link, or a
            folder.

    Raises:
        ValueError: a path leads out of the folder, or there is no regular file at one.
    """
    folder.mkdir(parents=True)
    for name, content in sorted(contents.items()):  # a folder before what is in it
        path = PurePosixPath(name)
        if (
            path.is_absolute()
            or ".." in path.parts
            or any(contents.get(str(each)) != "folder" for each in path.parents[:-1])
        ):
            raise ValueError(f"{name} is none of a task's files")
        place = folder / path
        kind, _, target = content.partition(" ")
        if content == "folder":
            place.mkdir()
        elif kind == "link":
            place.symlink_to(target)
        else:
            _copy(former / path, place)
    inside = folder.resolve()
    for name, content in contents.items():
        if content.startswith("link ") and not _is_inside(os.path.realpath(folder / name), inside):
            raise ValueError(f"{name} leads out of the task's folder")


def _copy(source: Path, place: Path) -> None:
    """Copy a file, by sharing its blocks where the file system can."""
    status = source.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{source} is no regular file")
    with source.open("rb") as old, place.open("xb") as new:
        try:
            # what Linux copies within itself it clones where it can
            while os.copy_file_range(old.fileno(), new.fileno(), max(1, status.st_size)):
                pass
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            old.seek(0)
            new.seek(0)
            shutil.copyfileobj(old, new)
    if status.st_mode & 0o111:  # a program stays one
        place.chmod(place.stat().st_mode | (place.stat().st_mode & 0o444) >> 2)
