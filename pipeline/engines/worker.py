"""The process of one task: it executes the source that the spec carries, through kfp's own executor.

A fork of the local engine's warm process calls run(); the Python of another environment, which has no more than kfp and
the step's packages, runs this file with the work as JSON on standard input and gets the failure on standard output.
"""

import ast
import contextlib
import ctypes
import errno
import json
import linecache
import os
import signal
import sys
import traceback
import types
from dataclasses import asdict, dataclass
from typing import Any

from kfp.dsl.executor import Executor


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
    message = execute(work)
    if message is not None:
        failure.send(message)
        sys.exit(1)


def execute(work: Work) -> str | None:
    """Execute a step with its output in the log; if it raises, return what to tell the user."""
    _die_with_parent()
    descriptor = os.open(work.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    # for libraries that are loaded from here on; _limited is for those that are
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(work.threads))
    os.environ.clear()
    os.environ.update(work.environment | threads)
    try:
        module = load(work)
        with _limited(work.threads):
            Executor(work.executor_input, getattr(module, work.function)).execute()
    except BaseException as error:
        traceback.print_exc()
        return explain(error, work)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return None


def load(work: Work) -> types.ModuleType:
    """Run the shipped source as a module, so that tracebacks name the lines that the user wrote."""
    file_name = _file_name(work)
    linecache.cache[file_name] = (len(work.source), None, work.source.splitlines(keepends=True), file_name)
    module = types.ModuleType("ephemeral_component")
    for node in ast.parse(work.source).body:
        file, line = work.origins.get(getattr(node, "name", ""), (file_name, node.lineno))
        ast.increment_lineno(node, line - node.lineno)
        exec(compile(ast.Module([node], []), file, "exec"), module.__dict__)
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
    if type(error) is ValueError and message and own and own[-1] is frames[-1] and own[-1].line.startswith("raise"):
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
