"""What the warm process imports first: it leaves the session of the terminal and imports what it was asked to.

A terminal's Ctrl-C and its closing are for the command, which ends this process itself. A module that cannot be
imported is left to the step that needs it.
"""

import contextlib
import importlib
import os

MODULES = "COVERTYPE_WARM_IMPORTS"

if names := os.environ.pop(MODULES, ""):
    os.setsid()
    for name in names.split(","):
        with contextlib.suppress(BaseException):
            importlib.import_module(name)
