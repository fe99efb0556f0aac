"""The keeper of a command: it ends what the command has started once that is gone, even by kill -9.

It runs this file as a script, in a session of its own, and waits for the end of its standard input, which no other
process than the command holds open. What a command has started carries a variable in its environment, and so does what
that has started in turn, in whatever group or session.
"""

import atexit
import multiprocessing
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from multiprocessing import util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

VARIABLE = "COVERTYPE_STARTED_BY"
MAX_FOLDER = 70  # bytes of the path of a folder in which there is room for sockets
SECONDS = 10.0  # in which what still starts processes is ended


@cache
def mark() -> dict[str, str]:
    """Return the variable for the environment of each process that is to end with this one; it starts the keeper."""
    value = f"{os.getpid()}-{secrets.token_hex(8)}"
    keeper = subprocess.Popen(
        [sys.executable, "-I", __file__, value, _folder_of_sockets()],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    atexit.register(_leave, keeper)
    return {VARIABLE: value}


def _folder_of_sockets() -> str:
    """Return the folder that multiprocessing has its sockets in; their paths have at most 107 bytes."""
    config: dict[str, Any] = vars(multiprocessing.current_process())["_config"]
    if "tempdir" not in config and len(os.fsencode(tempfile.gettempdir())) > MAX_FOLDER:
        config["tempdir"] = tempfile.mkdtemp(prefix="pymp-", dir="/tmp")
    return util.get_temp_dir()


def _leave(keeper: subprocess.Popen[bytes]) -> None:
    """Let the keeper do its work and end."""
    if keeper.stdin:
        keeper.stdin.close()
    keeper.returncode = 0  # nobody waits for it


def keep(value: str, folder: str) -> None:
    """Wait for the end of the command, end all that has its mark, and remove the folder of its sockets."""
    sys.stdin.buffer.read()
    import psutil

    until = time.monotonic() + SECONDS
    n_quiet = 0
    while n_quiet < 3 and time.monotonic() < until:
        found = [process for process in psutil.process_iter() if _has(process, value)]
        for process in found:
            process.kill()
        n_quiet = 0 if found else n_quiet + 1
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def _has(process: "psutil.Process", value: str) -> bool:
    import psutil

    try:
        return process.environ().get(VARIABLE) == value
    except (psutil.Error, OSError, SystemError):  # it has ended, or is another user's
        return False


if __name__ == "__main__":
    keep(*sys.argv[1:])
