"""Locks on files and folders, which the system takes from a process that ends, however it ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing is locked, and everything is taken to be held
    fcntl = None  # type: ignore[assignment]


def take(path: Path) -> int | None:
    """Make a file and lock it; return the descriptor that holds the lock, None where files cannot be locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    if _lock(descriptor, wait=False):
        return descriptor
    os.close(descriptor)
    return None


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock of a file, or may hold it; of a file that is not there none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR)
    try:
        return not _lock(descriptor, wait=False, shared=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let only one process at a time do something in a folder, where folders can be locked.

    Raises:
        FileNotFoundError: the folder is gone.
    """
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        _lock(descriptor, wait=True)
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise FileNotFoundError(errno.ENOENT, "it was removed meanwhile", str(folder))
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool, shared: bool = False) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another has it, or the file system has no locks
        return False
    return True
