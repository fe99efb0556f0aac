"""What reaches the terminal: no control characters, in any encoding, at any width."""

import io
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any

# the first 32 but tab and the end of a line, delete, the second 32, and those that turn the direction of writing
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WIDTHS = ("COLUMNS", "LINES", "TERMINAL_WIDTH")  # of the terminal, for rich and typer


def printable(text: str) -> str:
    r"""Return a text whose control characters are shown, as \x1b, so that a terminal does nothing at them."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_json(text: str, encoding: str) -> str:
    r"""Return the same JSON for a terminal: what it would act on, or its encoding does not have, stands as \u001b."""

    def escaped(found: re.Match[str]) -> str:
        return json.dumps(found[0])[1:-1]

    text = _CONTROLS.sub(escaped, text)
    # UTF-8 lacks halves of pairs only
    return re.sub(r"[\ud800-\udfff]" if encoding.lower().startswith("utf") else r"[^\x00-\x7f]", escaped, text)


def prepare() -> None:
    """Let both streams replace what their encoding lacks, and forget widths that are none."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in _WIDTHS:
        if not re.fullmatch(r"[1-9][0-9]{0,3}", os.environ.get(name, "80")):
            del os.environ[name]


def run(app: Callable[..., Any], argv: list[str] | None) -> int:
    """Run a typer app and return its exit status; what it says of wrong arguments has no control characters."""
    import typer
    from typer._click import ClickException  # no public name leads to it

    try:
        return app(argv, standalone_mode=False) or 0
    except ClickException as error:
        from typer import rich_utils

        error.message = printable(error.message)
        rich_utils.rich_format_error(error)
        return error.exit_code
    except typer.Abort:
        return 1
