"""What the warm process imports first: it leaves the session of the terminal and imports what it was asked to.

A terminal's Ctrl-C and its closing are for the command, which ends this process itself. What it prints goes beside its
socket: a task prints to a log of its own. A module that cannot be imported is left to the step that needs it, unless
there is no memory for it.
"""

import importlib
import os
import re
import sys

MODULES, PLACES, LOG = "COVERTYPE_WARM_IMPORTS", "COVERTYPE_WARM_PATH", "COVERTYPE_WARM_LOG"

if names := os.environ.pop(MODULES, ""):
    os.setsid()
    log = os.open(os.environ.pop(LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.path[:] = os.environ.pop(PLACES).split("\n")  # not every Python's forkserver looks where its parent does
    for name in names.split(","):
        try:
            importlib.import_module(name)
        except BaseException as error:
            if re.search("memory|map segment", f"{type(error).__name__} {error}", re.IGNORECASE):
                raise SystemExit(f"{type(error).__name__}: {error}") from None  # OpenBLAS would try again for ever
