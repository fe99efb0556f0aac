"""How a text file is written, found from its beginning."""

import contextlib
import csv as python_csv
import io
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from steps.tables.headers import UNREAD, Header, find_header, looks_like_values
from steps.tables.options import ReadOptions
from steps.tables.strangers import require_table

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}
COMMENTS = ("#", "//")
MOST_ROWS = 1000  # that are looked at
MOST_TITLES = 50  # rows before the header
ENOUGH = 0.9  # of the rows that have as many fields as the header, below titles


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


@dataclass(frozen=True)
class _Split:
    """Rows as a delimiter splits them."""

    delimiter: str
    rows: list[tuple[list[str], int]] = field(default_factory=list)  # each with the number of lines up to its end
    share: float = 0.0  # of the rows, that have as many fields as the header
    n_titles: int = 0  # rows before the header
    spaces: str = ""
    escapes: bool = False

    @property
    def n_fields(self) -> int:
        return len(self.rows[self.n_titles][0]) if self.rows else 1

    @property
    def rank(self) -> tuple[Any, ...]:
        """Order by how well the delimiter fits; one that splits all rows alike is better than a comma that does."""
        is_perfect = self.share == 1 and not self.n_titles and self.n_fields > 1
        worth = 2 if is_perfect and self.delimiter in ";\t|" else 1 if is_perfect and self.delimiter == "," else 0
        return self.n_fields > 1, worth, self.share, self.n_fields


def csv_dialect(
    name: str, head: bytes, is_whole: bool, options: ReadOptions | None = None, encoding: str = ""
) -> Dialect:
    """Find how a text file is written from its beginning: encoding, delimiter, decimal point, header, and the like.

    The delimiter is that of comma, semicolon, tab and bar by which most rows have as many fields as the header, or
    blanks where none does. The decimal comma is taken only beside another delimiter, where numbers such as 1,5 occur
    and none such as 1.5 or 1,234,567.

    Args:
        name: Name of the file, for messages.
        head: Its first bytes, decompressed.
        is_whole: Whether they are all of it.
        options: What the user says of it.
        encoding: Its encoding, "" to find it.

    Raises:
        ValueError: it is no table; the message says what it is.
    """
    options = options or ReadOptions()
    encoding = encoding or encoding_of(head)
    if "utf-16" not in encoding and b"\0" in head:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise ValueError(
            f"{name} has a NUL byte in line {line:,}: it is a binary file or was damaged. "
            "A table is a CSV file with a header line, the same gzipped, or a Parquet file."
        )
    errors = "surrogateescape" if encoding == "utf-8" else "replace"
    text = head.decode(encoding, errors).removeprefix("\ufeff")
    if not text.strip():
        raise ValueError(f"{name} has only blank lines. A table needs a header line with the names of its columns.")
    require_table(name, text)
    lines = [*io.StringIO(text, newline="")]
    if not is_whole and len(lines) > 1:
        lines.pop()
        if len(lines) < 2:  # no row has its end in it
            return Dialect(encoding, ",")
    elif not is_whole:
        return Dialect(encoding, ",")
    with long_fields():
        return _dialect(name, lines, encoding, errors, is_whole, options)


def _dialect(name: str, lines: list[str], encoding: str, errors: str, is_whole: bool, options: ReadOptions) -> Dialect:
    facts, n_before, said = [], 0, re.fullmatch(r"\"?sep=(.)\"?\s*", lines[0])
    if said:
        n_before = 1
        facts.append("its first line says what separates columns")
    while n_before < len(lines) and not lines[n_before].strip():
        n_before += 1
    comment, n_comments = _comments(lines[n_before:])
    candidates = [said[1]] if said else [*DELIMITERS][:4]
    rows_from = n_before + n_comments
    split = max((_split(lines[rows_from:], delimiter, is_whole, options) for delimiter in candidates), key=_rank)
    if split.rank[:2] <= (True, 0) and not said and (split.n_fields == 1 or split.n_titles or split.share < 1):
        blanks = _split(lines[rows_from:], " ", is_whole, options)
        if blanks.n_fields > 1 and blanks.share == 1 and len(blanks.rows) > 1 and not blanks.n_titles:
            split = blanks
    if comment:
        split, comment, facts_of, rows_from = _commented(lines, split, comment, rows_from, is_whole, options)
        facts += facts_of
    rows = [row for row, _ in split.rows[split.n_titles :]]
    spaces = split.spaces or _spaces(rows, split.delimiter, options.label)
    if spaces:
        rows = [[cell.strip(" ") if spaces == "around" else cell.lstrip(" ") for cell in row] for row in rows]
    whole = [[_clean(cell) for cell in row] for row in rows]
    header = find_header(name, whole, options) if whole else Header([], 0)
    taken = split.n_titles + header.n_rows
    n_lines = rows_from + (split.rows[taken - 1][1] if taken else 0)
    skipped = len(
        "".join(lines[:n_lines]).encode("utf-8", "surrogateescape" if errors == "surrogateescape" else "strict")
    )
    n_titles = rows_from + (split.rows[split.n_titles - 1][1] if split.n_titles else 0)
    dialect = Dialect(
        encoding,
        split.delimiter,
        _decimal_point(rows[header.n_rows :], split.delimiter),
        tuple(header.names),
        skipped,
        len(rows) - header.n_rows,
        comment,
        spaces,
        split.escapes,
    )
    if split.n_titles:
        facts.append(f"{split.n_titles} line{'s' if split.n_titles > 1 else ''} before the header skipped")
    has_mark = any(comment in cell for row in rows for cell in row)
    return replace(dialect, notes=(*_notes(name, dialect, header, facts, n_titles, has_mark), *header.notes))


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text from its beginning: UTF-16, Windows-1252, or UTF-8, also with a few wrong bytes."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    begin = head[:64]
    if len(begin) > 3 and len(begin) % 2 == 0:  # without a mark: ASCII with a NUL before or after each letter
        for order, zeros, letters in (("le", begin[1::2], begin[::2]), ("be", begin[::2], begin[1::2])):
            if not any(zeros) and 0 not in letters:
                return f"utf-16-{order}"
    n_bad, n_good = wrong_bytes(head[:-4] if len(head) > 4 else head)
    return "cp1252" if n_bad > n_good else "utf-8"


def wrong_bytes(block: bytes) -> tuple[int, int]:
    """Return how many bytes of a text are not UTF-8, and how many characters beyond ASCII are."""
    try:
        text = block.decode()
        n_bad = 0
    except UnicodeDecodeError:
        text = block.decode("utf-8", "surrogateescape")
        n_bad = len(re.findall("[\udc80-\udcff]", text))
    return n_bad, len(re.findall("[^\0-\x7f]", text)) - n_bad


def _clean(cell: str) -> str:
    """Return a cell with a mark in place of bytes that are not UTF-8."""
    return cell if cell.isascii() else cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@contextlib.contextmanager
def long_fields() -> Iterator[None]:
    """Let Python's reader take fields of any length."""
    limit = python_csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        python_csv.field_size_limit(limit)


def _rank(split: _Split) -> tuple[Any, ...]:
    return split.rank


def _split(lines: list[str], delimiter: str, is_whole: bool, options: ReadOptions, comment: str = "") -> _Split:
    """Split lines by a delimiter, as well as can be."""
    if comment:
        lines = ["\n" if line.startswith(comment) else line for line in lines]
    if delimiter == " ":
        return _scored(_Split(" ", _blank_rows(lines), spaces=""), options)
    plain = _parsed(lines, is_whole, delimiter=delimiter)
    split = _Split(delimiter, plain)
    if any(re.match(r' +"', cell) for row, _ in plain for cell in row):
        split = _Split(delimiter, _parsed(lines, is_whole, delimiter=delimiter, skipinitialspace=True), spaces="after")
    if any('\\"' in line for line in lines) and not _is_strict(lines, is_whole, delimiter=delimiter):
        how = {"delimiter": delimiter, "skipinitialspace": bool(split.spaces), "escapechar": "\\"}
        if _is_strict(lines, is_whole, **how):
            split = replace(split, rows=_parsed(lines, is_whole, **how), escapes=True)
    return _scored(split, options)


def _parsed(lines: list[str], is_whole: bool, **how: Any) -> list[tuple[list[str], int]]:
    """Return the first rows that are not blank, each with the number of lines up to its end."""
    reader, rows, is_cut = python_csv.reader(iter(lines), **how), [], not is_whole
    with contextlib.suppress(python_csv.Error):
        for row in reader:
            if row:
                rows.append((row, reader.line_num))
            if len(rows) == MOST_ROWS:
                is_cut = False
                break
    if is_cut and len(rows) > 1 and rows[-1][1] == len(lines) and "\n" in "".join(rows[-1][0]):
        rows.pop()  # a quoted field that the beginning ends in
    return rows


def _is_strict(lines: list[str], is_whole: bool, **how: Any) -> bool:
    """Return whether all quotes are as they should be."""
    try:
        for _ in itertools.islice(python_csv.reader(iter(lines), strict=True, **how), MOST_ROWS):
            pass
    except python_csv.Error as error:
        return not is_whole and "unexpected end" in str(error)
    return True


def _blank_rows(lines: list[str]) -> list[tuple[list[str], int]]:
    found = ((re.findall(r'"(?:[^"]|"")*"|[^\s"]\S*', line), place) for place, line in enumerate(lines[:MOST_ROWS], 1))
    return [([re.sub(r'^"(.*)"$', r"\1", cell) for cell in row], place) for row, place in found if row]


def _scored(split: _Split, options: ReadOptions) -> _Split:
    """Find the header below titles, and how many rows have as many fields as it."""
    rows = [row for row, _ in split.rows]
    if not rows:
        return split
    share, label = _share(rows), options.label
    is_odd = share < 0.5 or (_filled(rows[0]) <= 1 and len(rows[0]) > 2) or (label and label not in rows[0])
    if is_odd and (start := below_titles(rows, label)):
        return replace(split, share=_share(rows[start:]), n_titles=start)
    return replace(split, share=share)


def _share(rows: list[list[str]]) -> float:
    """Return the share of rows that have as many fields as the first, or one more where all others have."""
    width = len(rows[0])
    counts = Counter(map(len, rows[1:]))
    if width > 1 and counts and [*counts] == [width + 1]:
        return 1.0
    return (1 + counts[width]) / len(rows)


def below_titles(rows: list[list[str]], label: str) -> int:
    """Return the place of the header where lines of a title stand before it, 0 where none do."""
    if label and label in rows[0]:
        return 0
    width = Counter(map(len, rows)).most_common(1)[0][0]
    for place, row in enumerate(rows[:MOST_TITLES]):
        is_short = len(row) == width - 1 and all(len(other) == width for other in rows[place + 1 :])
        if (len(row) == width or (is_short and label in row)) and width > 1 and _filled(row) > 1:
            is_enough = place and len(rows) > place + 1 and _share(rows[place:]) >= ENOUGH
            are_titles = all(_filled(title) <= 1 for title in rows[:place]) or (label and label in row)
            return place if is_enough and are_titles else 0
    return 0


def _filled(row: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _comments(lines: list[str]) -> tuple[str, int]:
    """Return what lines at the beginning have in front of comments, "" for none, and how many lines these take."""
    mark = next((mark for mark in COMMENTS if lines and lines[0].lstrip().startswith(mark)), "")
    if not mark:
        return "", 0
    are_others = (place for place, line in enumerate(lines) if line.strip() and not line.lstrip().startswith(mark))
    return mark, next(are_others, 0)


def _commented(
    lines: list[str], split: _Split, comment: str, rows_from: int, is_whole: bool, options: ReadOptions
) -> tuple[_Split, str, list[str], int]:
    """Return the rows below comments, of which the last may be the header; what is a comment, facts, and their line."""
    place = rows_from - 1
    while place > 0 and not lines[place].strip():
        place -= 1
    rows = [row for row, _ in split.rows]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    if rows and width > 1 and options.label not in rows[0] and not (options.header or options.names):
        bare = lines[place].lstrip().removeprefix(comment).lstrip(" \t")
        splits = [
            _split([line, *lines[rows_from:]], split.delimiter, is_whole, options) for line in (lines[place], bare)
        ]
        fitting = [named for named in splits if named.rows and len(named.rows[0][0]) == width]
        chosen = next((named for named in fitting if options.label in named.rows[0][0]), None)
        if not chosen and fitting and looks_like_values(rows[0], rows[1:]):
            chosen = fitting[0]
        if chosen:
            below = [(row, n_lines + rows_from - place - 1) for row, n_lines in chosen.rows[1:]]
            what = ["its header is a comment"] if chosen is splits[1] else []
            return replace(chosen, rows=[(chosen.rows[0][0], 1), *below]), "", what, place
    # a line of as many fields is a row, though it begins as comments do
    are_rows = any(len(row) == width > 1 and row[0].startswith(comment) for row in rows)
    if not are_rows:
        split = _split(lines[rows_from:], split.delimiter, is_whole, options, comment)
    return split, "" if are_rows else comment, ["lines of comments skipped"], rows_from


def _spaces(rows: list[list[str]], delimiter: str, label: str) -> str:
    """Return which blanks are to be left out, where the label is a name only without them."""
    if delimiter == " " or not rows or not label or label in rows[0] or label not in map(str.strip, rows[0]):
        return ""
    inner = [cell for row in rows for cell in row[1:] if cell]
    if not all(cell.startswith(" ") for cell in inner):
        return ""
    return "after" if label in map(str.lstrip, rows[0]) else "around"


def _decimal_point(rows: list[list[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    fields = {field.strip() for row in rows for field in row}
    with_comma = any(re.fullmatch(r"[-+]?\d+,(\d{1,2}|\d{4,})", field) for field in fields)
    with_point = any(re.fullmatch(r"[-+]?\d*\.\d+|[-+]?\d{1,3}(,\d{3}){2,}", field) for field in fields)
    return "," if with_comma and not with_point else "."


def _notes(name: str, dialect: Dialect, header: Header, facts: list[str], n_skipped: int, has_mark: bool) -> list[str]:
    """Say how the file is written, and how pandas reads it so.

    Args:
        name: Name of the file.
        dialect: How it is written.
        header: What names the columns.
        facts: What is known beside that.
        n_skipped: Lines before the header.
        has_mark: Whether a value holds what comments begin with.
    """
    name, arguments = name.rpartition("/")[2], {}
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
        arguments["skiprows"] = [*range(n_skipped), n_skipped + 1] if skiprows else n_skipped
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
