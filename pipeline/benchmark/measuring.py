"""What one run of a command takes: time, memory, new files, and how busy others kept the machine meanwhile."""

import contextlib
import os
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline import ROOT

SAMPLING = 0.05  # seconds between two looks at the memory


class ContestantFailed(Exception):
    """A contestant ended with another status than 0; the message has the last lines that it printed."""


@dataclass(frozen=True)
class Measured:
    """What one run of a command took."""

    seconds: float  # wall time from the start of its process to the end
    peak_bytes: int  # largest sum of the memory of the process and its descendants at one time
    written_bytes: int  # of new files in its folder when it ended, several links to one file counted once
    others: float  # cores that other processes kept busy meanwhile
    of_logs: dict[str, int] = field(default_factory=dict)  # most bytes that a process held, by the log it prints to


def measure(command: list[str], folder: Path, log: Path) -> Measured:
    """Run a command to its end and return what it took.

    Args:
        command: The command; it runs in the checkout, with folder as its runs folder.
        folder: Existing folder that it writes to.
        log: Text file to write what it prints to.

    Raises:
        ContestantFailed: it ended with another status than 0.
    """
    before, largest, own, ended = {*_files(folder)}, 0, 0.0, threading.Event()
    of_logs: dict[str, int] = {}

    def watch(pid: int) -> None:
        nonlocal largest, own
        pause = 0.0
        while not ended.wait(pause):
            started = time.perf_counter()
            held, used = look(pid, of_logs)
            largest, own = max(largest, held), max(own, used)
            # of large processes a look takes long: it is to cost no more than a quarter of a core
            pause = max(SAMPLING, 3 * (time.perf_counter() - started))

    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(folder)}
    before_busy, watching = busy(), time.process_time()
    with log.open("w", encoding="utf-8") as printed:
        since = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT
        )
        watcher = threading.Thread(target=watch, args=[process.pid])
        watcher.start()
        try:
            status = process.wait()  # with a timeout it would look for the end only now and then
            seconds = time.perf_counter() - since
        finally:
            process.terminate()  # after Ctrl-C; one that has ended is left alone
            ended.set()
            watcher.join()
    if status:
        last = log.read_text("utf-8", errors="replace").splitlines()[-20:]
        raise ContestantFailed("\n".join([f"{shlex.join(command)} ended with status {status}. It printed:", *last]))
    others = busy() - before_busy - (time.process_time() - watching) - own
    written = sum(size for file, size in _files(folder).items() if file not in before)
    return Measured(seconds, largest, written, max(0.0, others / seconds), of_logs)


def look(pid: int, of_logs: dict[str, int]) -> tuple[int, float]:
    """Return the bytes of memory that a process and all its descendants hold, and the CPU seconds that they have used.

    Pages that processes share are divided among them (PSS); where the system does not tell, they count in each (RSS).

    Args:
        pid: Id of the process.
        of_logs: Takes the most bytes (RSS) that a process has held at a look, by the name of the log it prints to, one
            in a folder logs, as those of the local engine's tasks. Without /proc it stays empty.
    """
    held, used = 0, 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()  # with those of its children that have ended
                used += times.user + times.system + times.children_user + times.children_system
                with contextlib.suppress(OSError):
                    log = Path(os.readlink(f"/proc/{process.pid}/fd/1"))
                    if "logs" in log.parts:
                        of_logs[log.stem] = max(of_logs.get(log.stem, 0), process.memory_info().rss)
                try:
                    held += process.memory_full_info().pss
                except (AttributeError, psutil.AccessDenied):
                    held += process.memory_info().rss
    return held, used


def busy() -> float:
    """Return the seconds that the cores of this process have been busy, with whatever, since the machine started."""
    cores = psutil.cpu_times(percpu=True)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(cores))
    return sum(sum(cores[core]) - cores[core].idle - getattr(cores[core], "iowait", 0) for core in allowed)


def _files(folder: Path) -> dict[tuple[int, int], int]:
    """Return the sizes of the files below a folder; a file with several links is there once."""
    statuses = (path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {(status.st_dev, status.st_ino): status.st_size for status in statuses}
