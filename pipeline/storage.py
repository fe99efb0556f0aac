"""Cloud Storage: the objects that data and artifacts travel in. STORAGE_EMULATOR_HOST is followed, as by the SDK."""

import fnmatch
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Blob, Client


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

    return DEFAULT_RETRY.with_timeout(15)


def is_object(uri: str) -> bool:
    """Return whether an address is one of Cloud Storage."""
    return uri.startswith("gs://")


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the object's name of a gs:// address."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def find(uri: str) -> "list[Blob]":
    """Return the objects at a gs:// address in the order of their names: one, those of a glob, or all below a folder/.

    In a folder, what other engines leave beside their files, as _SUCCESS, is left out.
    """
    bucket, pattern = split(uri)
    if uri.endswith("/"):
        below = client().list_blobs(bucket, prefix=pattern, retry=_retry())
        names = ((blob, blob.name.rpartition("/")[2]) for blob in below)
        return sorted((blob for blob, name in names if name and name[0] not in "_."), key=lambda blob: blob.name)
    if not any(character in pattern for character in "*?["):
        blob = client().bucket(bucket).get_blob(pattern, retry=_retry())
        return [blob] if blob else []
    prefix = pattern[: min(pattern.find(character) for character in "*?[" if character in pattern)]
    blobs = client().list_blobs(bucket, prefix=prefix, retry=_retry())
    return sorted((blob for blob in blobs if fnmatch.fnmatchcase(blob.name, pattern)), key=lambda blob: blob.name)


def fetch(uri: str, path: Path) -> Path:
    """Download an object, so that the file is there whole or not at all."""
    bucket, name = split(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        client().bucket(bucket).blob(name).download_to_filename(temporary, retry=_retry())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def fetch_all(uri: str, path: Path) -> Path:
    """Download an object, or a folder of objects with all that lies below it.

    Raises:
        FileNotFoundError: there is neither.
    """
    bucket, name = split(uri)
    below = client().list_blobs(bucket, prefix=name, retry=_retry())
    found = [blob.name for blob in below if not blob.name.endswith("/")]
    if name in found:
        return fetch(uri, path)
    inside = [inner for inner in found if inner.startswith(f"{name}/")]
    if not inside:
        raise FileNotFoundError(f"There is no object {uri}.")
    for inner in inside:
        fetch(f"gs://{bucket}/{inner}", path / inner.removeprefix(f"{name}/"))
    return path


def put(path: Path, uri: str) -> bool:
    """Upload a file unless the same content is there, and return whether it was sent.

    An object appears only once its upload is complete, and is compared by its CRC32C, so a part is never taken for
    the whole.
    """
    import base64

    import google_crc32c

    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    content = base64.b64encode(checksum.digest()).decode()
    bucket, name = split(uri)
    there = client().bucket(bucket).get_blob(name, retry=_retry())
    if there and there.crc32c == content:
        return False
    blob = client().bucket(bucket).blob(name)
    blob.upload_from_filename(path, checksum="crc32c", retry=_retry())
    if blob.crc32c != content:  # as the answer has it
        raise ValueError(f"the answer to the upload of {name} is none of Cloud Storage")
    return True
