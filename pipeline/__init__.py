"""The pipelines, and what compiles, runs and records them."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN_FOLDERS = [ROOT]  # those that the user's own Python lies below; that of a pipeline that is named by its file, too

# pipeline functions by name, as module:function, so that naming them imports none of them
PIPELINES = {"training": "pipeline.training:training"}


class RequestError(Exception):
    """The request was wrong and nothing was started; the message says what was expected, what came, what to do."""


def command_line(app: Callable[..., None], argv: list[str] | None) -> int:
    """Run a command line and return its exit status: 0 done, 1 the run failed, 2 the request was wrong."""
    try:
        app(argv)
    except SystemExit as end:
        return end.code
    except RequestError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"Error: the disk is full: {error}. Free some space and run again.", file=sys.stderr)
        return 1
