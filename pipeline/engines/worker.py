"""The process of one task: it executes the source that the spec carries, through kfp's own executor."""

import linecache
import os
import sys
import traceback
import types
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kfp.dsl.executor import Executor


@dataclass(frozen=True)
class Work:
    """What a task's process needs to know."""

    source: str  # Python module with the step in it
    function: str
    executor_input: dict[str, Any]
    log: Path
    environment: dict[str, str]
    threads: int  # of OpenMP and BLAS


def execute(work: Work, failure: Connection) -> None:
    """Execute a step with its output in the log; if it raises, send a summary of the error and exit with 1."""
    descriptor = os.open(work.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    os.environ.update(work.environment)
    try:
        # kfp looks up the step's annotations, and tracebacks their lines, by this module and file name
        file_name = f"<{work.function}>"
        linecache.cache[file_name] = (
            len(work.source),
            None,
            work.source.splitlines(keepends=True),
            file_name,
        )
        module = types.ModuleType("ephemeral_component")
        exec(compile(work.source, file_name, "exec"), module.__dict__)
        from threadpoolctl import threadpool_limits

        with threadpool_limits(work.threads):
            Executor(work.executor_input, getattr(module, work.function)).execute()
    except BaseException as error:
        traceback.print_exc()
        failure.send(_summary(error))
        sys.exit(1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _summary(error: BaseException) -> str:
    """Return an error's message; a ValueError is a step's own word about its input and stands without its type."""
    message = str(error)
    return message if type(error) is ValueError and message else f"{type(error).__name__}: {message}"
