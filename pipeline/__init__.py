"""The pipelines, and what compiles, runs and records them."""

import errno
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN_FOLDERS = [ROOT]  # those that the user's own Python lies below; that of a pipeline that is named by its file, too

# importing skrub makes a folder for data sets in the user's home, unless it is told one, which is to exist
os.environ.setdefault("SKB_DATA_DIRECTORY", str(ROOT))

# pipeline functions by name, as module:function, so that naming them imports none of them
PIPELINES = {"training": "pipeline.training:training"}


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


def command_line(app: Callable[..., None], argv: list[str] | None) -> int:
    """Run a command line and return its exit status: 0 done, 1 the run failed, 2 the request was wrong, 130 ended."""
    from pipeline import ending, terminal

    terminal.prepare()
    try:
        with ending.by_signals():
            return terminal.run(app, argv)
    except ending.Interrupted as end:
        print(f"Error: {end}.", file=sys.stderr)
        return ending.EXIT_STATUS
    except SystemExit as end:
        return end.code
    except RequestError as error:
        print(f"Error: {terminal.printable(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(
            f"Error: the disk is full: {terminal.printable(str(error))}. Free some space and run again.",
            file=sys.stderr,
        )
        return 1
