"""What messages are made of: values as they may be shown, and errors of the system in words."""

import errno
import os
import re
from typing import Any

FULL = "Free some space and run again."
OTHER_FOLDER = "COVERTYPE_RUNS_DIR names another folder for the runs."
ADVICE = {
    errno.EROFS: OTHER_FOLDER,
    errno.EACCES: f"Ask for the right to it; {OTHER_FOLDER}",
    errno.EPERM: f"Ask for the right to it; {OTHER_FOLDER}",
    errno.ENAMETOOLONG: f"Give it a shorter name; {OTHER_FOLDER}",
    errno.ENOENT: f"Make it, or name one that is there; {OTHER_FOLDER}",
    errno.ENOTDIR: f"A part of the path is a file; {OTHER_FOLDER}",
    errno.EEXIST: f"Something else is there: remove it, or name another; {OTHER_FOLDER}",
    errno.EISDIR: "A file was expected there: name another, or remove the folder.",
    errno.ENOTEMPTY: "Something else has written there: run again.",
    errno.ELOOP: "Its links lead nowhere: remove them, or name another.",
    errno.EFBIG: "Allow larger files: ulimit -f unlimited",
    errno.EMFILE: "Allow more open files: ulimit -n 1024",
    errno.ENFILE: "End other programs, or let the machine's owner allow more open files.",
    errno.ENOMEM: "End other programs, take fewer rows, or a machine with more memory.",
    errno.EAGAIN: "End other programs, or allow more processes: ulimit -u",
    errno.EPIPE: "A process that was needed has ended, which often means that the memory ran out.",
    errno.EIO: f"Check the disk; {OTHER_FOLDER}",
    errno.ESTALE: f"Check the network's disk; {OTHER_FOLDER}",
}


# the first 32 but tab and the end of a line, delete, the second 32, those that turn the direction of writing, and
# halves of pairs, which no encoding has
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, length: int | None = None) -> str:
    r"""Return a text whose control characters are shown, as \x1b, so that a terminal does nothing at them.

    Args:
        text: The text; its lines stay.
        length: The most characters to return; the middle of a longer text is left out.
    """
    if length and len(text) > length:
        text = f"{text[: length * 2 // 3]}…{text[len(text) - length // 3 + 1 :]}"
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_json(text: str, encoding: str) -> str:
    r"""Return the same JSON for a terminal: what it would act on, or its encoding does not have, stands as \u001b."""

    import json

    def escaped(found: re.Match[str]) -> str:
        return json.dumps(found[0])[1:-1]

    text = _CONTROLS.sub(escaped, text)
    return text if encoding.lower().startswith("utf") else re.sub(r"[^\x00-\x7f]", escaped, text)


def shortened(value: Any, length: int = 60) -> str:
    """Return a value as a message may have it."""
    try:
        shown = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a whole number of thousands of digits
        shown = f"<{type(value).__name__}>"
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def words(error: Exception) -> str:
    """Return an error in a line or two: what went wrong, of the system's where, and what to do."""
    if isinstance(error, MemoryError):
        return f"the memory ran out. {ADVICE[errno.ENOMEM]}"
    if isinstance(error, RecursionError):
        return "what was read is nested too deeply. Check the files and the values that were named."
    if not isinstance(error, OSError):
        return printable(f"{type(error).__name__}: {error}".rstrip(": "), 1_000)
    told = printable(str(error), 300)
    if error.errno == errno.ENOSPC:
        return f"the disk is full: {told}. {FULL}"
    if error.errno == getattr(errno, "EDQUOT", None):
        return f"the quota of the disk is used up: {told}. {FULL}"
    if error.errno is None:
        return f"{type(error).__name__}: {told}".rstrip(": ")
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes)]
    what = (
        f"{' and '.join(printable(path, 100) for path in paths)}: {error.strerror}" if paths else error.strerror or told
    )
    return f"{what}. {ADVICE.get(error.errno, '')}".rstrip()
