"""Fingerprints: what a table's content is told by when it is looked at, and once more when it is read."""

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

OF_FILES = re.compile(r"[0-9a-f]{64}")
OF_OBJECTS = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")
SHOWN = 12  # characters of a digest in a message


def sha256(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def crc32c(path: str) -> str:
    """Return the CRC32C of a file as Cloud Storage writes it."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def of_files(files: Sequence[str], folder: str | None = None) -> str:
    """Return the fingerprint of files: the SHA-256 of one, that of all digests of many.

    Args:
        files: Their paths in the order in which they are read.
        folder: Folder that is read as one table, None for none; the names of what is in it are values.
    """
    digests = [sha256(path) for path in files]
    return digests[0] if len(files) == 1 and not folder else _joined(digests + _inside(files, folder))


def of_objects(generations: Iterable[object], checksums: Sequence[str | None], names: Sequence[str] = ()) -> str:
    """Return the fingerprint of objects: a digest of their generations, and one of what can be read off a copy.

    Args:
        generations: Their generations; a new content gives an object a new one.
        checksums: Their CRC32C; without that of one there is only the first digest, with which no copy is compared.
        names: Their names in the folder that is read as one table, none for no folder.
    """
    seen = _joined([*map(str, generations), *names])[:32]
    known = [checksum for checksum in checksums if checksum]
    return f"{seen}-{_content_of_objects(known, names)}" if len(known) == len(checksums) else seen


def of_bigquery(table_id: str, changed: datetime, rows: int) -> str:
    """Return the fingerprint of a BigQuery table: of its name, the time of its last change and its number of rows."""
    return hashlib.sha256(f"{table_id} {changed.isoformat()} {rows}".encode()).hexdigest()


def require_same_files(source: str, files: Sequence[str], folder: str | None, fingerprint: str) -> None:
    """Check that files are those that were fingerprinted.

    Args:
        source: What they were named by, for the message.
        files: Their paths in the order in which they are read.
        folder: Folder that is read as one table, None for none.
        fingerprint: What of_files or of_objects has returned for them; a text of another form is not compared.

    Raises:
        ValueError: they are others.
    """
    if OF_FILES.fullmatch(fingerprint):
        kind, expected, found = "SHA-256", fingerprint, of_files(files, folder)
    elif OF_OBJECTS.fullmatch(fingerprint):
        checksums = [crc32c(path) for path in files]
        kind, expected = "CRC32C", fingerprint.partition("-")[2]
        found = _content_of_objects(checksums, _inside(files, folder))
    else:
        return
    if found != expected:
        raise ValueError(_replaced(source, f"{kind} {expected[:SHOWN]}…, came {found[:SHOWN]}…"))


def require_same_table(table_id: str, changed: datetime, rows: int, fingerprint: str) -> None:
    """Check that a BigQuery table is the one that was fingerprinted.

    Raises:
        ValueError: it has changed; a fingerprint of another form is not compared.
    """
    found = of_bigquery(table_id, changed, rows)
    if OF_FILES.fullmatch(fingerprint) and found != fingerprint:
        what = f"the fingerprint {fingerprint[:SHOWN]}…, came {found[:SHOWN]}… (changed {changed}, {rows:,} rows)"
        raise ValueError(_replaced(f"bq://{table_id}", what))


def _replaced(source: str, what: str) -> str:
    return f"{source} was replaced between the look at it and its reading: expected {what}. Run again."


def _content_of_objects(checksums: Sequence[str], names: Sequence[str]) -> str:
    return _joined([*checksums, *names])[:32]


def _inside(files: Sequence[str], folder: str | None) -> list[str]:
    return [os.path.relpath(path, folder) for path in files] if folder else []


def _joined(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()
