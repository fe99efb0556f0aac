"""The warm process of the local engine: it has imported what steps import, and tasks are forked from it."""

import ast
import atexit
import contextlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from multiprocessing import forkserver, resource_tracker, spawn, util
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pipeline import ROOT, ending
from pipeline.engines import keeper, warm_imports

START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
WORKER, WARM_IMPORTS = "pipeline.engines.worker", "pipeline.engines.warm_imports"
# kfp is no more than its executor, as in a container; threads that wait spin for some microseconds, since sleep and
# waking cost a training of many small waits more than its work, and leave their core to others then (GNU's OpenMP takes
# the count, others the policy; python -m pipeline.benchmark.threads)
ENVIRONMENT = {"_KFP_RUNTIME": "true", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
MAX_START_SECONDS = 300.0  # in which the warm process must have imported what it was asked to
MOMENTS = 50  # of 10 ms, for the warm process to be seen to have ended
NOT_TOLD = 255  # the exit status where the warm process has told none
# Process.start() also reaps processes that have ended, and so takes the exit status that another thread joins for
_LOCK = threading.Lock()
SHIPPED = re.compile(r'"(steps\.[\w.]+)"')  # a module in the text of a step that ships it
_SERVER: Any = forkserver._forkserver  # the standard library has no public name for what is needed of it here
_preloaded: set[str] = set()  # modules that the warm process imports
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
    modules = {module for module in modules if module.split(".")[0] not in left_out}
    with _LOCK:
        if not modules <= _preloaded:
            _end()  # one that runs cannot import more
            _preloaded.update(modules)
            _ensure_running()


def sources_of(pipeline: str) -> list[str]:
    """Return the texts of a pipeline of ours and of its steps, and of the modules that these ship and import.

    A run starts with this, before kfp is there to compile it: the files say enough.

    Args:
        pipeline: Module of the pipeline, such as pipeline.training.
    """
    texts: dict[Path, str] = {}
    waiting = [ROOT.joinpath(*pipeline.split(".")).with_suffix(".py")]
    while waiting:
        file = waiting.pop()
        if file in texts:
            continue
        texts[file] = text = file.read_text("utf-8")
        for name in _imported(text) | {*SHIPPED.findall(text)}:
            if name.startswith(("steps.", "pipeline.")):
                place = ROOT.joinpath(*name.split("."))
                waiting += [*place.glob("*.py")] or [each for each in [place.with_suffix(".py")] if each.exists()]
    return [*texts.values()]


def _ensure_running() -> None:
    """Start the warm process unless it runs."""
    if is_alive():
        return
    forkserver.set_forkserver_preload([WARM_IMPORTS])
    resource_tracker.ensure_running()  # it would let the signals through again
    own = dict(os.environ)
    mark = keeper.mark()  # it settles where temporary files are
    modules = {
        warm_imports.MODULES: ",".join([WORKER, *sorted(_preloaded)]),
        warm_imports.PLACES: "\n".join(sys.path),
        warm_imports.LOG: _log(),
        "OPENBLAS_NUM_THREADS": "1",  # each task says how many
    }
    # the warm process inherits both; no signal of the terminal is to reach it before it has left its session
    former = signal.pthread_sigmask(signal.SIG_BLOCK, ending.SIGNALS)
    os.environ.update(ENVIRONMENT | mark | modules)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(own)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def is_alive() -> bool:
    """Return whether the warm process runs, or none is needed."""
    if START_METHOD != "forkserver":
        return True
    pid = _SERVER._forkserver_pid
    return bool(pid) and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


class Gone(Exception):
    """The warm process has ended before its time, and so what was forked from it; the message is the last it said."""


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """End the warm process if it does not answer; OpenBLAS tries for ever where the memory is short."""
    timer = threading.Timer(MAX_START_SECONDS, lambda: os.kill(_SERVER._forkserver_pid, signal.SIGKILL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _log() -> str:
    return os.path.join(util.get_temp_dir(), "warm.log")


def _last_words() -> str:
    try:
        with open(_log(), encoding="utf-8", errors="replace") as log:
            return log.read().strip().rpartition("\n")[2][-300:]
    except OSError:
        return ""


@cache
def _imported(source: str) -> set[str]:
    """Return the names of the modules that a Python source imports, with those it takes from one: some are, too."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


class Process:
    """A process that is forked from the warm one, or started anew where there is none."""

    def __init__(self, target: Callable[..., None], *arguments: Any):
        """Start a process.

        Args:
            target: Function to call, of a module.
            arguments: Its arguments but the last, which is a connection for a message.

        Raises:
            Gone: the warm process has ended meanwhile.
        """
        context: Any = multiprocessing.get_context(START_METHOD)
        self._message, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=target, args=(*arguments, sender))
        with _LOCK:
            spawn.get_preparation_data = _preparation_without_main
            try:
                _ensure_running()
                self._forked_from = _SERVER._forkserver_pid
                with _bounded():
                    self._process.start()
            except (ConnectionError, EOFError):
                raise Gone(_last_words()) from None
            finally:
                spawn.get_preparation_data = _PREPARATION
                sender.close()

    def kill(self) -> None:
        """End the process at once, with all that it has started."""
        self._process.kill()
        self._end_group()

    def join(self) -> tuple[int, str]:
        """Wait for the end; return the exit status, negative for a signal, and the message if there was one.

        Raises:
            Gone: the warm process has ended, and so this one.
        """
        message = ""
        # a message that fills the pipe has to be taken before the process can end
        if self._message in wait([self._process.sentinel, self._message]):
            with contextlib.suppress(EOFError):  # it ended without a word
                message = self._message.recv()
        wait([self._process.sentinel])
        with _LOCK:
            self._process.join()
        self._end_group()
        if self._process.exitcode == NOT_TOLD and self._is_alone():
            raise Gone(_last_words())
        return self._process.exitcode, message

    def _is_alone(self) -> bool:
        """Return whether the warm process has ended; one that ends closes its files a moment before it is seen to."""
        for _ in range(MOMENTS):
            with _LOCK:
                if self._forked_from != _SERVER._forkserver_pid or not is_alive():
                    return True
            time.sleep(0.01)
        return False

    def _end_group(self) -> None:
        """End what the process has started and left behind: it is in a group of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _preparation_without_main(name: str) -> dict[str, Any]:
    """Prepare a process without the main module, which no task needs: a script would run once more in each."""
    return {key: value for key, value in _PREPARATION(name).items() if not key.startswith("init_main_from")}


@atexit.register
def _end() -> None:
    """End the warm process at once: it may still be importing, and its tasks end with it."""
    if _SERVER._forkserver_pid:
        with contextlib.suppress(OSError):
            os.kill(_SERVER._forkserver_pid, signal.SIGKILL)
        with contextlib.suppress(OSError):  # the folder of its socket may be gone
            _SERVER._stop()
