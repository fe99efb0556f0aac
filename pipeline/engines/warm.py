"""The warm process of the local engine: it has imported what steps import, and tasks are forked from it."""

import ast
import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cache
from multiprocessing import forkserver, spawn
from multiprocessing.connection import wait
from typing import Any

START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
WORKER = "pipeline.engines.worker"
# kfp is no more than its executor, as in a container; threads that wait leave their core to others
ENVIRONMENT = {"_KFP_RUNTIME": "true", "OMP_WAIT_POLICY": "passive"}
# Process.start() also reaps processes that have ended, and so takes the exit status that another thread joins for
_LOCK = threading.Lock()
_PREPARATION = spawn.get_preparation_data


def preload(sources: Iterable[str], shipped: Iterable[str] = ("steps",)) -> None:
    """Start the warm process, which imports in the background what these Python sources import.

    Args:
        sources: Texts of Python modules.
        shipped: Names of top-level packages that come with the spec, and are not to be imported from here.
    """
    if START_METHOD != "forkserver":
        return
    modules = set().union(*map(_imported, sources))
    # Python's own modules are there soon, and a cloud SDK is slow and seldom needed here
    left_out = sys.stdlib_module_names | {"google", "kfp", "pipeline", *shipped}
    modules = {WORKER} | {module for module in modules if module.split(".")[0] not in left_out}
    server = forkserver._forkserver  # the standard library has no public name for what is needed of it here
    preloaded = set(server._preload_modules) if server._forkserver_pid else set()
    if not modules <= preloaded:
        server._stop()  # one that runs cannot import more
        forkserver.set_forkserver_preload(sorted(modules | preloaded))
        own = dict(os.environ)
        os.environ.update(ENVIRONMENT)  # which the warm process inherits
        try:
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(own)


@cache
def _imported(source: str) -> set[str]:
    """Return the names of the modules that a Python source imports, with those it takes from one: some are, too."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


class Process:
    """A process that is forked from the warm one, or started anew where there is none."""

    def __init__(self, target: Callable[..., None], *arguments: Any):
        """Start a process.

        Args:
            target: Function to call, of a module.
            arguments: Its arguments but the last, which is a connection for a message.
        """
        context = multiprocessing.get_context(START_METHOD)
        self._message, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=target, args=(*arguments, sender))
        with _LOCK:
            spawn.get_preparation_data = _preparation_without_main
            try:
                self._process.start()
            finally:
                spawn.get_preparation_data = _PREPARATION
        sender.close()

    def kill(self) -> None:
        """End the process at once, with all that it has started."""
        self._process.kill()
        self._end_group()

    def join(self) -> tuple[int, str]:
        """Wait for the end; return the exit status, negative for a signal, and the message if there was one."""
        message = ""
        # a message that fills the pipe has to be taken before the process can end
        if self._message in wait([self._process.sentinel, self._message]):
            with contextlib.suppress(EOFError):  # it ended without a word
                message = self._message.recv()
        wait([self._process.sentinel])
        with _LOCK:
            self._process.join()
        self._end_group()
        return self._process.exitcode, message

    def _end_group(self) -> None:
        """End what the process has started and left behind: it is in a group of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _preparation_without_main(name: str) -> dict[str, Any]:
    """Prepare a process without the main module, which no task needs: a script would run once more in each."""
    return {key: value for key, value in _PREPARATION(name).items() if not key.startswith("init_main_from")}


@atexit.register
def _end() -> None:
    """End the warm process at once: it may still be importing, and holds the terminal open."""
    if pid := forkserver._forkserver._forkserver_pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
