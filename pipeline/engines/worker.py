"""The process of one task: it executes the source that the spec carries, through kfp's own executor.

A fork of the local engine's warm process calls run(); the Python of another environment, which has no more than kfp and
the step's packages, runs this file with the work as JSON on standard input and gets the failure on standard output.
"""

import ast
import atexit
import contextlib
import ctypes
import errno
import importlib
import json
import linecache
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from kfp.dsl.executor import Executor

FUSED = "FUSED_STEPS"  # of pipeline.fusing.plans, which is not everywhere
MODULE = "ephemeral_component"  # as KFP names the module of a step


@dataclass(frozen=True)
class Work:
    """What a task's process needs to know."""

    source: str  # Python module with the step in it
    function: str
    executor_input: dict[str, Any]
    log: str
    environment: dict[str, str]  # whole: the warm process may be older than a variable
    threads: int  # of OpenMP and BLAS
    # file and line that the functions of the source, by their names, and its modules, by their files, were written at
    origins: dict[str, tuple[str, int]]
    user_folder: str  # that files are named from

    def to_json(self) -> str:
        """Return the work as JSON."""
        return json.dumps(asdict(self))


def run(work: Work, failure: Any) -> None:
    """Execute a step; if it raises, send what to tell the user and exit with 1."""
    os.setsid()  # what the step starts is ended with it: warm.Process ends the group
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the warm process takes none
    try:
        message = execute(work)
    finally:
        _exit_python()
    if message is not None:
        failure.send(message)
        sys.exit(1)


def execute(work: Work) -> str | None:
    """Execute a step with its output in the log; if it raises, return what to tell the user."""
    _die_with_parent()
    descriptor = os.open(work.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    # for libraries that are loaded from here on; _limited is for those that are
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(work.threads))
    os.environ.clear()
    os.environ.update(work.environment | threads)
    tempfile.tempdir = None  # it follows from the environment
    _set_up_logging()
    try:
        with _limited(work.threads):
            call(work)
    except OutputError as error:
        with contextlib.suppress(OSError):
            print(f"Error: {error}", file=sys.stderr)
        return str(error)
    except BaseException as error:
        if is_success(error):
            return None
        with contextlib.suppress(OSError):
            traceback.print_exc()
        return explain(error, work)
    finally:
        _flush()
    return None


def call(work: Work) -> None:
    """Call the step through KFP's executor, in this process; the steps of a fused task as each would be by itself."""
    module = load(work)
    if hasattr(module, FUSED):
        running: Any = importlib.import_module("pipeline.fusing.running")
        running.execute = lambda *step: _execute_inside(work, *step)
    CheckedExecutor(work.executor_input, getattr(module, work.function), own_files(work)).execute()


def _execute_inside(work: Work, source: str, function: str, executor_input: dict[str, Any]) -> str | None:
    """Execute a step of a fused task; if it raises, return what to tell the user."""
    inside = replace(work, source=source, function=function, executor_input=executor_input)
    message: str | None = None
    try:
        call(inside)
    except OutputError as error:
        message = str(error)
        print(f"Error: {message}", file=sys.stderr)
    except BaseException as error:
        if not is_success(error):
            traceback.print_exc()
            message = explain(error, inside)
    finally:
        _exit_python()
    return message


def is_success(error: BaseException) -> bool:
    """Return whether what a step raised is the end of a program that succeeded, as by sys.exit(0)."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


class OutputError(Exception):
    """A step puts out what JSON cannot hold; the message names it and the line."""


class CheckedExecutor(Executor):
    """KFP's executor, which names what cannot be written and the line that put it there."""

    def __init__(self, executor_input: dict[str, Any], function: Any, own_files: set[str]):
        """Make the executor.

        Args:
            executor_input: KFP's ExecutorInput.
            function: The step.
            own_files: The files that the user wrote, as tracebacks name them.
        """
        super().__init__(executor_input, function)
        for artifact in self.output_artifacts.values():
            artifact.metadata = _Metadata(artifact.metadata, own_files)

    def get_input_artifact(self, name: str) -> Any:
        """Return an input artifact; of a list of none an empty list, where KFP's own has None."""
        given = self.executor_input.get("inputs", {}).get("artifacts", {}).get(name, {})
        return super().get_input_artifact(name) if given.get("artifacts") != [] else []

    def write_executor_output(self, func_output: Any = None) -> str | None:
        """Write the outputs, if all of them can be."""
        for name, artifact in self.output_artifacts.items():
            for key, value in artifact.metadata.items():
                where = getattr(artifact.metadata, "lines", {}).get(key, "")
                _check_output(value, f"the metadata of {name}: {key}", where)
        names = getattr(func_output, "_fields", None)
        returned = zip(names, func_output, strict=True) if names else [("the returned value", func_output)]
        for name, value in returned:
            if isinstance(value, (float, list, tuple, dict)):
                _check_output(value, name, "")
        path: str | None = super().write_executor_output(func_output)
        return path


class _Metadata(dict[str, Any]):
    """The metadata of an artifact, and the line of the user's code that set each of its keys."""

    def __init__(self, values: dict[str, Any], own_files: set[str]):
        super().__init__(values)
        self.lines: dict[str, str] = {}
        self._own_files = own_files

    def __setitem__(self, key: str, value: Any) -> None:
        if next(_unwritable(value, ""), None):
            own = [frame for frame in traceback.extract_stack() if frame.filename in self._own_files]
            self.lines[key] = (
                f"\n  {own[-1].filename}:{own[-1].lineno} in {own[-1].name}: {own[-1].line}" if own else ""
            )
        super().__setitem__(key, value)


def _check_output(value: Any, name: str, where: str) -> None:
    if told := next(_unwritable(value, name), None):
        raise OutputError(f"{told}, which JSON cannot hold. Put out a number of Python's own that is finite.{where}")


def _unwritable(value: Any, name: str) -> Iterator[str]:
    """Yield what in a value JSON cannot hold, by its place, such as "loss is nan"."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{name} is {float(value)}"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _unwritable(inner, f"{name}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from _unwritable(inner, f"{name}[{place}]")
    elif not isinstance(value, (str, int, float, bool, type(None))):
        shown = repr(value)
        kind = f"{type(value).__module__}.{type(value).__name__}"
        yield f"{name} is {shown if len(shown) <= 60 else shown[:59] + '…'}, a {kind}"


def load(work: Work) -> types.ModuleType:
    """Run the shipped source as a module, so that tracebacks name the lines that the user wrote."""
    file_name = _file_name(work)
    linecache.cache[file_name] = (len(work.source), None, work.source.splitlines(keepends=True), file_name)
    module = module_of(work.source)
    for node in ast.parse(work.source).body:
        file, line = work.origins.get(getattr(node, "name", ""), (file_name, node.lineno))
        ast.increment_lineno(node, line - node.lineno)
        exec(compile(ast.Module([node], []), file, "exec"), module.__dict__)
    return module


def module_of(source: str) -> types.ModuleType:
    """Return the module of a shipped source, not run yet: registered, with a file that other processes can import."""
    folder = tempfile.mkdtemp(prefix="step-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    module = types.ModuleType(MODULE)
    module.__file__ = os.path.join(folder, f"{MODULE}.py")
    with open(module.__file__, "w", encoding="utf-8") as file:
        file.write(source)
    sys.path.insert(0, folder)
    sys.modules[MODULE] = module
    return module


def own_files(work: Work) -> set[str]:
    """Return the names of the files that the user wrote of what the step executes, as tracebacks have them."""
    return {file for file, _ in work.origins.values()} | work.origins.keys() | {_file_name(work)}


def _file_name(work: Work) -> str:
    return f"<{work.function}>"


def explain(error: BaseException, work: Work) -> str:
    """Return an error's message, and where in the user's code it came from.

    A ValueError that a step raises itself is its own word about its input and stands alone.
    """
    message = str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full: {message}. Free some space and run again."
    frames, files = traceback.extract_tb(error.__traceback__), own_files(work)
    own = [frame for frame in frames if frame.filename in files]
    if (
        type(error) is ValueError
        and message
        and own
        and own[-1] is frames[-1]
        and (own[-1].line or "").startswith("raise")
    ):
        return message
    told = f"{type(error).__name__}: {message}"
    if own:
        file, _ = work.origins.get(own[-1].filename, (own[-1].filename, 1))
        near = os.path.relpath(file, work.user_folder) if os.path.isabs(file) else file
        told += f"\n  {near}:{own[-1].lineno} in {own[-1].name}: {own[-1].line}"
    return told


@contextlib.contextmanager
def _limited(threads: int) -> Any:
    """Limit the threads of the libraries that are loaded."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # no library in this environment brought it
        yield
        return
    with threadpool_limits(threads):
        yield


def _set_up_logging() -> None:
    """Have what a step logs in its log, from INFO on, as kfp.dsl.executor_main does."""
    layout = "[KFP Executor %(asctime)s %(levelname)s]: %(message)s"
    logging.basicConfig(stream=sys.stdout, format=layout, level=logging.INFO, force=True)


def _exit_python() -> None:
    """Do what Python does at its end, which a forked process leaves out."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    _flush()


def _flush() -> None:
    """Write out what has been printed; on a disk that is full it is lost."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.flush()


def _die_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone, where it is Linux."""
    pr_set_pdeathsig = 1  # linux/prctl.h
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    told = execute(Work(**json.load(sys.stdin)))
    if told is not None:
        answer.write(told)
        answer.close()
        sys.exit(1)
