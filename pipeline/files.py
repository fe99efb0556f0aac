"""Files of the project's own: read through a model of what they hold, written whole or not at all.

Their modes follow the umask, so that people can share a folder of runs.
"""

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class Damaged(Exception):
    """A file cannot be read, or is not what it should be; the message says why in one line, without its path."""


def content(path: Path) -> bytes:
    """Return what is in a regular file; from a pipe or a device reading might never end.

    Raises:
        Damaged: it is missing, no regular file, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Damaged("it is no regular file")
        return path.read_bytes()
    except FileNotFoundError:
        raise Damaged("it is missing") from None
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise Damaged(getattr(error, "strerror", None) or str(error)) from None


def text(path: Path) -> str:
    """Return the text of a regular file.

    Raises:
        Damaged: it is missing, no regular file, or no text.
    """
    try:
        return content(path).decode()
    except UnicodeDecodeError as error:
        raise Damaged(f"it is no text: {error.reason} at byte {error.start:,}") from None


def read(path: Path, model: type[T]) -> T:
    """Return what is in a JSON file.

    Args:
        path: The file.
        model: What it must hold: a pydantic model or any other type that pydantic knows.

    Raises:
        Damaged: it is missing, no regular file, no JSON, nested too deeply, or holds something else.
    """
    try:
        kind: Any = model  # mypy does not know that a type can be hashed
        found: T = _adapter(kind).validate_json(content(path))
        return found
    except ValidationError as error:
        raise _damaged(error) from None


def check(value: Any, model: Any) -> None:
    """Check that a value that was read, as from YAML, is what a model says.

    Raises:
        Damaged: it is something else.
    """
    try:
        _adapter(model).validate_python(value, strict=True)
    except ValidationError as error:
        raise _damaged(error) from None


def _damaged(error: ValidationError) -> Damaged:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))[:100]
    return Damaged(f"{place or 'it'}: {first['msg']}"[:300])


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def write(path: Path, content: str | bytes) -> None:
    """Write a file, so that a reader finds the old one or the new one, never a part."""
    with writing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a file beside a path to write to, which is gone at the end unless it was moved."""
    temporary = path.with_name(f".{secrets.token_hex(4)}.tmp")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed have left of files that they were writing below a folder, after a day."""
    yesterday = time.time() - 86_400
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < yesterday:
                path.unlink()
