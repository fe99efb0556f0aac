"""The pipelines, and what compiles, runs and records them."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# those that this process may use
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
OWN_FOLDERS = [ROOT]  # those that the user's own Python lies below; that of a pipeline that is named by its file, too

# importing skrub makes a folder for data sets in the user's home, unless it is told one, which is to exist
os.environ.setdefault("SKB_DATA_DIRECTORY", str(ROOT))

# pipeline functions by name, as module:function, so that naming them imports none of them
PIPELINES = {
    "training": "pipeline.training:training",
    "search": "pipeline.search:search",
    "refit": "pipeline.refit:refit",  # what a search has found, on other rows
    "prediction": "pipeline.prediction:prediction",
    "champion": "pipeline.champion:champion",  # registers and deploys without a training
}


def import_kfp() -> None:
    """Import kfp without its client of Kubeflow servers, which imports that of Kubernetes: 0.2 of 0.33 seconds.

    KFP leaves it out where this variable is set, as in a task. loading.load brings it to a pipeline that asks for it.
    """
    if "kfp" not in sys.modules and "_KFP_RUNTIME" not in os.environ:
        os.environ["_KFP_RUNTIME"] = "true"
        try:
            importlib.import_module("kfp")
        finally:
            del os.environ["_KFP_RUNTIME"]


class RequestError(Exception):
    """The request was wrong and nothing was started; the message says what was expected, what came, what to do."""


class StartedError(Exception):
    """What was started could not be brought to its end; the message says why, and what to do."""


@contextlib.contextmanager
def started() -> Iterator[None]:
    """Tell an error of the system as one of something that was started.

    Raises:
        StartedError: an OSError came, or the memory ran out.
    """
    from pipeline.texts import words

    try:
        yield
    except (OSError, MemoryError) as error:
        raise StartedError(words(error)) from error


def command_line(app: Callable[..., int | None], argv: list[str] | None) -> int:
    """Run a command line and return its exit status: 0 done, 1 the run failed, 2 the request was wrong, 130 ended.

    This is the one door of errors: each leaves it as a few lines on standard error, without a traceback.
    """
    from pipeline import ending, streams
    from pipeline.texts import printable, words

    with streams.lasting() as output:
        status, message = _status(app, argv)
        output.flush()
        if output.error and not message:
            status, message = status or 1, f"standard output cannot be written: {words(output.error)}"
        if ending.came:  # what was interrupted may have failed in its own way
            status, message = ending.EXIT_STATUS, "" if ending.is_told else f"{ending.came}."
        if message:
            print(f"Error: {printable(message, 4_000)}", file=sys.stderr, flush=True)
    return ending.leave(status)


def _status(app: Callable[..., int | None], argv: list[str] | None) -> tuple[int, str]:
    """Run a command line; return its exit status, and what is to be told of an error."""
    from typer import Abort, TyperException

    from pipeline import ending
    from pipeline.texts import printable, words

    try:
        with ending.by_signals():
            _check_current_folder()
            return app(argv, standalone_mode=False) or 0, ""
    except ending.Interrupted:
        return ending.EXIT_STATUS, ""
    except TyperException as error:
        asked = getattr(error, "ctx", None)
        told = printable(error.format_message(), 300)  # of the help that it has shown there is none
        return error.exit_code, told and f"{told}\nTry: {asked.command_path if asked else 'python run.py'} --help"
    except RequestError as error:
        return 2, str(error)
    except (StartedError, Abort) as error:
        return 1, str(error) or "ended by the end of its input."
    except (OSError, MemoryError, RecursionError) as error:
        return 2, words(error)
    except SystemExit as end:
        if isinstance(end.__context__, OSError):  # typer ends without a word where a pipe to a process is broken
            return 1, words(end.__context__)
        return (end.code, "") if isinstance(end.code, int) else (int(bool(end.code)), str(end.code or ""))
    except Exception as error:
        return (1, _unexpected(error)) if not ending.came else (ending.EXIT_STATUS, "")


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise RequestError(f"The current folder cannot be used: {error.strerror}. Change to one: cd {ROOT}") from None


def _unexpected(error: Exception) -> str:
    """Return what is told of an error of ours; where it came from is written to a log."""
    import tempfile
    import traceback
    from datetime import datetime

    from pipeline.texts import words

    told = f"this should not have happened: {words(error)}"
    for folder in (_folder_of_logs, tempfile.gettempdir):
        with contextlib.suppress(Exception):
            log = Path(folder(), f"error-{datetime.now():%Y%m%dT%H%M%S}-{os.getpid()}.log")
            log.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
            return f"{told}\nLog: {log}"
    return told


def _folder_of_logs() -> Path:
    from pipeline.settings import settle

    folder = settle().runs_dir / ".errors"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
