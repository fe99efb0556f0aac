"""The files of a table: where they are, what they are packed with, and whether they stay as they were."""

import contextlib
import errno
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

import pyarrow as pa

from steps.places import local_path
from steps.tables.globs import named
from steps.tables.strangers import require_no_stranger

PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
}
# what is read by a library of its own, by its first bytes
FORMATS = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"FEA1": "arrow",
    b"\xff\xff\xff\xff": "arrow",  # a stream
    b"ORC": "orc",
    b"\xd0\xcf\x11\xe0": "excel",  # until 2003
}
# that a file that is cut short or damaged ends in
READ_ERRORS = (pa.ArrowException, OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, RuntimeError)


@dataclass(frozen=True)
class FileMark:
    """What tells that a file is as it was."""

    path: str
    size: int  # in bytes
    modified: int  # nanoseconds since 1970
    changed: int  # the same, also of its name and rights; no program can set it back
    linked: int  # the same, of a link that leads to it


def table_files(source: str) -> list[str]:
    """Return the files of a table in the order of their names: of a path, a glob, or a folder of Parquet files.

    Raises:
        ValueError: there is none, or a folder holds something else.
    """
    pattern = local_path(source)
    if os.path.isdir(pattern):
        return _parquet_files(source, pattern)
    if os.path.lexists(pattern) and not os.path.exists(pattern):
        raise ValueError(f"{source} is a symbolic link that leads nowhere or in a circle. Name the file itself.")
    files = []
    for path in [pattern] if os.path.exists(pattern) else named(pattern):
        compression_of(path, first_bytes(path))  # stop at the first that is no table: there may be many
        files.append(path)
    if not files:
        raise ValueError(f"There is no file {source}. Name a CSV, gzipped CSV or Parquet file with --data.")
    return sorted(files)


def _parquet_files(source: str, folder: str) -> list[str]:
    """Return the Parquet files below a folder, and stop at the first that is something else: there may be many."""

    def unreadable(error: OSError) -> None:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror or error}. Check the folder's rights.")

    def refused(what: str) -> ValueError:
        return ValueError(
            f"{source} is a folder and {what}. A folder is read as one table of Parquet files; "
            f"name CSV files by a glob, as in {os.path.join(source, '*.csv')}"
        )

    files = []
    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        # _SUCCESS, .crc and the like are what other engines leave beside their files
        for path in (os.path.join(place, name) for name in sorted(names) if not name.startswith(("_", "."))):
            if not is_parquet(path):
                raise refused(f"holds {os.path.relpath(path, folder)}, which is no Parquet file")
            files.append(path)
    if not files:
        raise refused("holds none")
    return sorted(files)


def first_bytes(path: str) -> bytes:
    """Return the first bytes of a file, which tell what it is.

    Raises:
        ValueError: it cannot be read, or is no file but a pipe or a device, from which reading might never end.
    """
    try:
        require_regular(path)
        if not os.path.getsize(path):  # one of the kernel's may be waited for for ever
            return b""
        with open(path, "rb") as file:
            return file.read(64)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}. Check the file and its rights.") from None


def require_regular(path: str) -> None:
    """Check that there is a file, from which reading ends.

    Raises:
        OSError: there is nothing, or it cannot be seen.
        ValueError: it is no file.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
        what = kinds.get(stat.S_IFMT(mode), "a device")
        raise ValueError(f"{path} is {what}, no regular file. Name a file, or write it to one.")


def is_parquet(path: str) -> bool:
    """Return whether a file is Parquet, by its first bytes.

    Raises:
        ValueError: it cannot be read.
    """
    return first_bytes(path)[:4] == b"PAR1"


def compression_of(name: str, magic: bytes) -> str | None:
    """Return what a text file is packed with by its first bytes: gzip, zstd, bz2, xz, zip or None.

    Raises:
        ValueError: the bytes are those of a file that is no table.
    """
    if not magic:
        raise ValueError(f"{name} is empty, 0 bytes. Export it again, or leave it out.")
    require_no_stranger(name, magic)
    return next((codec for start, codec in PACKED.items() if magic.startswith(start)), None)


def format_of(name: str, file: IO[bytes]) -> str:
    """Return what a file is: parquet, arrow, orc, excel, or text, which may be packed.

    Raises:
        ValueError: it is no table.
    """
    magic = file.read(64)
    file.seek(0)
    is_zip = compression_of(name, magic) == "zip"
    found = next((kind for start, kind in FORMATS.items() if magic.startswith(start)), "text")
    if found == "orc" and magic[3:4] in (b",", b";", b"\t", b"|", b"_"):  # the beginning of a header
        found = "text"
    if is_zip:
        with _zip(name, file) as archive:
            names = archive.namelist()
        file.seek(0)
        is_book = any(inside.startswith("xl/workbook.") for inside in names)
        is_book |= {"content.xml", "mimetype"} <= {*names}  # of OpenDocument
        found = "excel" if is_book else "text"
    return found


class Stream(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


@contextlib.contextmanager
def unpacked(name: str, file: IO[bytes] | str) -> Iterator[IO[bytes]]:
    """Open a text file, packed or not, by its path or where it is open.

    Raises:
        ValueError: it is a zip archive of more than one file.
    """
    magic = first_bytes(file) if isinstance(file, str) else file.read(64)
    if not isinstance(file, str):
        file.seek(0)
    codec = compression_of(name, magic)
    if codec == "zip":
        with _zip(name, file) as archive, archive.open(_only_file(name, archive)) as stream:
            yield stream
    elif codec == "xz":
        with lzma.open(file) as stream:
            yield stream
    else:
        with pa.input_stream(file, compression=codec) as stream:
            yield stream


def _zip(name: str, file: IO[bytes] | str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except READ_ERRORS as error:
        raise ValueError(damage(name, error)) from None


def _only_file(name: str, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one file of an archive, beside those that a Mac adds."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    inside = [entry for entry in entries if not entry.filename.startswith(("__MACOSX/", ".")) or len(entries) == 1]
    if len(inside) == 1 and not inside[0].flag_bits & 1:
        return inside[0]
    if len(inside) == 1:
        raise ValueError(f"{name} is a zip archive with a password. Unpack it, and name the file in it.")
    names = [entry.filename for entry in inside]
    if any(inside_name.startswith(("word/", "ppt/")) for inside_name in names):
        raise ValueError(f"{name} is a text document or slides, no table. Export the table in it as CSV.")
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    raise ValueError(
        f"{name} is a zip archive of {len(names):,} files: {shown or 'none'}. A table is one file in it; "
        "unpack it, and name one, or several by a glob."
    )


def damage(name: str, error: Exception) -> str:
    """Say in words why Arrow could not read a file."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        raise error  # it is the disk, not the file
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if "runcated" in reason or "magic bytes not found" in reason or "footer" in reason or "zip file" in reason:
        reason = f"it was cut short or is damaged ({reason})"
    elif isinstance(error, OSError) and error.errno:
        reason = error.strerror or reason
    return f"{name} is not a table that can be read: {reason}. Check the file, or export it again."


@contextlib.contextmanager
def damage_told(name: str) -> Iterator[None]:
    """Turn what Arrow or the system cannot read meanwhile into words about the table.

    Raises:
        ValueError: it could not be read.
    """
    try:
        yield
    except READ_ERRORS as error:
        raise ValueError(damage(name, error)) from error


def file_marks(files: list[str]) -> list[FileMark]:
    """Return the mark of each file."""
    seen = [(path, os.stat(path), os.lstat(path)) for path in files]
    return [FileMark(path, to.st_size, to.st_mtime_ns, to.st_ctime_ns, own.st_ctime_ns) for path, to, own in seen]


def require_unchanged(marks: list[FileMark]) -> None:
    """Check that no file has changed since its mark was taken.

    Raises:
        ValueError: one has.
    """
    now = file_marks([mark.path for mark in marks])
    changed = [old.path for old, new in zip(marks, now, strict=True) if old != new]
    if changed:
        raise ValueError(f"{changed[0]} changed while it was read. Run again when nothing writes to it.")
