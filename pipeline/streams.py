"""What the command prints to: streams that may be closed, full, or whose reader is gone, while a run goes on."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

WIDTHS = ("COLUMNS", "LINES", "TERMINAL_WIDTH")  # of the terminal, for rich and typer; others are forgotten
GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)  # the reader or the terminal: nobody is there to be told


class Stream:
    """A text stream that takes whatever is written to it; what it cannot pass on is lost."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.error: OSError | None = None  # why something was lost, though somebody may look for it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; what the stream's encoding does not have is escaped."""
        with self._kept():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with self._kept():
            self._stream.flush()

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in GONE:
                self.error = self.error or error
            _to_nowhere(self._stream)
        except ValueError:  # it was closed
            if not self._stream.closed:
                raise


def _to_nowhere(stream: TextIO) -> None:
    """Let what is still in a stream's buffer, and what comes, vanish; Python would complain of it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


@contextlib.contextmanager
def lasting() -> Iterator[Stream]:
    """Let standard output and standard error take whatever is written to them; gives standard output."""
    _fill()
    for name in WIDTHS:
        if not re.fullmatch(r"[1-9][0-9]{0,3}", os.environ.get(name, "80")):
            del os.environ[name]
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        Stream(stream or open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        for stream in former
    )
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = former


def _fill() -> None:
    """Open the standard descriptors that are closed: the next file that is opened would get their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # by the processes of the tasks, too
