"""How a text file is written, in words, too, and how pandas reads the same."""

import re
from dataclasses import dataclass
from typing import Any

from steps.tables.headers import UNREAD, Header

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    encoding: str
    delimiter: str  # " " where any number of blanks stands between fields
    decimal_point: str = "."
    names: tuple[str, ...] = ()  # of the fields of a row, in order
    skipped: int = 0  # bytes before the first row of data, of the file in UTF-8, else of its text in UTF-8
    n_rows: int = 0  # of data, that were seen
    comment: str = ""  # what lines begin with that are no rows
    spaces: str = ""  # that belong to no field: those after the delimiter, or around it
    escapes: bool = False  # whether \" is a quote within quotes
    notes: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the rows can be read as they stand."""
        return not (self.comment or self.spaces or self.escapes or self.delimiter == " ")

    @property
    def columns(self) -> list[str]:
        """The names of the columns of the table."""
        return [name for name in self.names if name != UNREAD]


def dialect_notes(
    name: str, dialect: Dialect, header: Header, facts: list[str], n_skipped: int, has_mark: bool
) -> list[str]:
    """Say how the file is written, and how pandas reads it so.

    Args:
        name: Name of the file.
        dialect: How it is written.
        header: What names the columns.
        facts: What is known beside that.
        n_skipped: Lines before the header.
        has_mark: Whether a value holds what comments begin with.
    """
    name = name.rpartition("/")[2]
    arguments: dict[str, Any] = {}
    if dialect.delimiter != ",":
        arguments["sep"] = r"\s+" if dialect.delimiter == " " else dialect.delimiter
        facts.append(f"columns separated by {DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))}")
    if dialect.decimal_point == ",":
        arguments["decimal"] = ","
        facts.append("numbers with a decimal comma")
    if dialect.encoding != "utf-8":
        arguments["encoding"] = dialect.encoding
    if dialect.spaces == "after":
        arguments["skipinitialspace"] = True
        facts.append("spaces after the delimiter left out")
    elif dialect.spaces:
        arguments.update(sep=rf"\s*{re.escape(dialect.delimiter)}\s*", engine="python")
        facts.append("spaces around the delimiter left out")
    if dialect.escapes:
        arguments["escapechar"] = "\\"
        facts.append("quotes escaped by a backslash")
    is_comment = len(dialect.comment) == 1 and not has_mark
    if is_comment:
        arguments["comment"] = dialect.comment
    skiprows = header.arguments.get("skiprows")
    if "its header is a comment" in facts:
        arguments.update(skiprows=n_skipped + 1, header=None, names=[*dialect.names])
    elif n_skipped and not is_comment:
        arguments["skiprows"] = (
            [*range(n_skipped), *(n_skipped + place for place in skiprows)] if skiprows else n_skipped
        )
    arguments |= {key: value for key, value in header.arguments.items() if key not in arguments}
    arguments = {key: value for key, value in arguments.items() if value is not None or key == "header"}
    facts += header.facts
    if dialect.encoding.startswith("utf-16"):
        facts.insert(0, "is UTF-16")
    elif dialect.encoding == "cp1252":
        facts.insert(0, "is not UTF-8: read as Windows-1252 (Latin-1)")
    if not arguments and not facts:
        return []
    shown = ", ".join(f"{key}={_short_repr(value)}" for key, value in arguments.items())
    is_first = facts and facts[0].startswith("is ")
    what = f"{name}{' ' if is_first else ': '}{', '.join(facts)}"
    lines = [what] if facts else []
    return [*lines, f"{name}: the same with pandas: pd.read_csv(…, {shown})"] if shown else lines


def _short_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}…"
