"""The folders of runs: one for each run below one for each identifier, with a link to the latest beside them."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pipeline import locks

LATEST = "latest"  # beside the folders of an identifier's runs: a link to the last to begin
LOCK = ".lock"  # in the folder of a run: locked by the process that runs it
TEMPORARY = "tmp"  # in the folder of a run, while it runs
RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")


def id_of(moment: datetime) -> str:
    """Return the id of a run that began then; ids sort by time, their last digits are 65,536th parts of the second."""
    return f"{moment:%Y%m%dT%H%M%S}-{moment.microsecond * 65_536 // 1_000_000:04x}"


def id_after(last: str) -> str:
    """Return the id that follows another."""
    second, _, part = last.partition("-")
    number = int(part, 16) + 1
    if number < 65_536:
        return f"{second}-{number:04x}"
    return id_of(datetime.strptime(second, "%Y%m%dT%H%M%S") + timedelta(seconds=1))


def of(of_identifier: Path) -> list[Path]:
    """Return the folders of runs below that of their identifier."""
    inner = [*of_identifier.iterdir()] if of_identifier.is_dir() else []
    return [path for path in inner if RUN_ID.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Have the folder of an identifier to oneself; it is made where it is not there."""
    with contextlib.ExitStack() as stack:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # discard has removed it
                stack.enter_context(locks.locked(folder))
                break
        yield folder


def link_latest(folder: Path) -> None:
    """Point latest beside a run folder to it, in one step."""
    link = folder.with_name(f".latest-{folder.name}")
    link.unlink(missing_ok=True)  # of a process that was killed here
    link.symlink_to(folder.name)
    os.replace(link, folder.with_name(LATEST))


def sweep(of_identifier: Path) -> None:
    """Remove what runs have left that ended without a word; their records and artifacts stay."""
    for path in of_identifier.glob(".begin-*"):  # of one that did not come to begin: this process has the lock
        shutil.rmtree(path, ignore_errors=True)
    for path in of_identifier.glob(f"*/{TEMPORARY}"):
        if not path.parent.is_symlink() and not locks.is_held(path.parent / LOCK):
            shutil.rmtree(path, ignore_errors=True)
            for part in path.parent.glob(".*.tmp"):
                part.unlink(missing_ok=True)
