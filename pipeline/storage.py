"""Cloud Storage: the objects that data and artifacts travel in. STORAGE_EMULATOR_HOST is followed, as by the SDK."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import RequestError, files
from steps.tables.fingerprints import crc32c
from steps.tables.globs import matches

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Blob, Client

LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes that file systems take; a few are left for a temporary name


@cache
def client(project: str | None = None) -> "Client":
    """Return a client of Cloud Storage; an emulator is spoken to without credentials."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    anonymous = AnonymousCredentials() if os.environ.get("STORAGE_EMULATOR_HOST") else None
    return Client(project=project, credentials=anonymous)


@cache
def _retry() -> "Retry":
    """Return for how long to try again what has not come: not two minutes, as the SDK does in silence."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    retry: Retry = DEFAULT_RETRY.with_timeout(15)
    return retry


def is_object(uri: str) -> bool:
    """Return whether an address is one of Cloud Storage."""
    return uri.startswith("gs://")


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the object's name of a gs:// address."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def find(uri: str) -> "list[Blob]":
    """Return the objects at a gs:// address in the order of their names: one, those of a glob, or all below a folder/.

    They are those that a step finds where they are mounted: one that is named like a glob is itself, and * stands for
    no /. In a folder, what other engines leave beside their files, as _SUCCESS, is left out.
    """
    bucket, pattern = split(uri)
    if uri.endswith("/"):
        below = client().list_blobs(bucket, prefix=pattern, retry=_retry())
        names = ((blob, blob.name.rpartition("/")[2]) for blob in below)
        return sorted((blob for blob, name in names if name and name[0] not in "_."), key=lambda blob: blob.name)
    blob = client().bucket(bucket).get_blob(pattern, retry=_retry())
    if blob or not any(character in pattern for character in "*?["):
        return [blob] if blob else []
    prefix = pattern[: min(pattern.find(character) for character in "*?[" if character in pattern)]
    blobs = client().list_blobs(bucket, prefix=prefix, retry=_retry())
    named = (blob for blob in blobs if matches(blob.name.split("/"), pattern.split("/")) and blob.name[-1] != "/")
    return sorted(named, key=lambda blob: blob.name)


def fetch(uri: str, path: Path) -> Path:
    """Download an object, so that the file is there whole or not at all.

    Raises:
        FileNotFoundError: there is none.
        RequestError: it has changed meanwhile.
    """
    bucket, name = split(uri)
    blob = client().bucket(bucket).get_blob(name, retry=_retry())
    if not blob:
        raise FileNotFoundError(f"There is no object {uri}.")
    return fetch_found(blob, path)


def fetch_found(blob: "Blob", path: Path) -> Path:
    """Download an object as it was when it was found, so that the file is there whole or not at all.

    Raises:
        RequestError: it has changed since.
    """
    from google.api_core.exceptions import NotFound, PreconditionFailed

    checksum, size = blob.crc32c, blob.size
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(path) as temporary:
        try:
            # as it is stored: the checksum is that of what is compressed
            same = client().bucket(blob.bucket.name).blob(blob.name)  # by its name, not by an address of the answer
            same.download_to_filename(temporary, if_generation_match=blob.generation, raw_download=True, retry=_retry())
            is_same = temporary.stat().st_size == size and (not checksum or crc32c(str(temporary)) == checksum)
        except (NotFound, PreconditionFailed):
            is_same = False
        if not is_same:
            raise RequestError(
                f"gs://{blob.bucket.name}/{blob.name} was replaced between the look at it and its download. Run again."
            )
        os.replace(temporary, path)
    return path


def fetch_all(uri: str, path: Path) -> Path:
    """Download an object, or a folder of objects with all that lies below it.

    Raises:
        FileNotFoundError: there is neither.
        RequestError: the name of one leads out of the folder, or one has changed meanwhile.
    """
    bucket, name = split(uri)
    below = client().list_blobs(bucket, prefix=name, retry=_retry())
    found = {blob.name: blob for blob in below if not blob.name.endswith("/")}
    if name in found:
        return fetch_found(found[name], path)
    inside = {inner.removeprefix(f"{name}/"): blob for inner, blob in found.items() if inner.startswith(f"{name}/")}
    if not inside:
        raise FileNotFoundError(f"There is no object {uri}.")
    for blob, place in zip(inside.values(), places(uri, [*inside], path), strict=True):
        fetch_found(blob, place)
    return path


def places(uri: str, names: Sequence[str], folder: Path) -> list[Path]:
    """Return where objects are kept below a folder, each by its name.

    Args:
        uri: What they were found by, for the message.
        names: Their names.
        folder: The folder.

    Raises:
        RequestError: a name leads out of the folder, or is none that a file can have.
    """
    there = {*names}
    for name in names:
        parts = name.split("/")
        before = ("/".join(parts[:length]) for length in range(1, len(parts)))
        if not {"", ".", ".."}.isdisjoint(parts) or any(ord(char) < 32 or char in "\\\x7f" for char in name):
            why = "leads out of the folder it is kept in, or is none that a file can have"
        elif max(len(part.encode("utf-8", "replace")) for part in parts) > LONGEST_NAME:
            why = f"has a part of more than {LONGEST_NAME} bytes, which no file can have"
        elif len(str(folder).encode("utf-8", "replace")) + len(name.encode("utf-8", "replace")) > LONGEST_PATH:
            why = f"is longer than the {LONGEST_PATH:,} bytes that a path may have"
        elif other := next((shorter for shorter in before if shorter in there), None):
            why = f"needs a folder where the object {other[:200]!r} is"
        else:
            continue
        raise RequestError(f"{uri}: the name of the object {name[:200]!r} {why}. Rename it, or leave it out.")
    return [folder / name for name in names]


def put(path: Path, uri: str) -> bool:
    """Upload a file unless the same content is there, and return whether it was sent.

    An object appears only once its upload is complete, and is compared by its CRC32C, so a part is never taken for
    the whole.
    """
    content = crc32c(str(path))
    bucket, name = split(uri)
    there = client().bucket(bucket).get_blob(name, retry=_retry())
    if there and there.crc32c == content:
        return False
    blob = client().bucket(bucket).blob(name)
    blob.upload_from_filename(path, checksum="crc32c", retry=_retry())
    if blob.crc32c != content:  # as the answer has it
        raise ValueError(f"the answer to the upload of {name} is none of Cloud Storage")
    return True
