"""How a text file is written, found from its beginning."""

import io
import re
from collections import Counter
from dataclasses import replace

from steps.cells import PATTERNS, is_marker
from steps.tables.delimiters import Split, long_fields, split_by
from steps.tables.dialect import DELIMITERS, Dialect, dialect_notes
from steps.tables.encodings import cleaned, encoding_of
from steps.tables.headers import find_header, looks_like_values
from steps.tables.options import ReadOptions
from steps.tables.strangers import require_table

COMMENTS = ("#", "//")
RARE_DELIMITERS = (":", "~", "^", "\x01", "§")  # taken only where the label is a name by them


def csv_dialect(
    name: str, head: bytes, is_whole: bool, options: ReadOptions | None = None, encoding: str = ""
) -> Dialect:
    """Find how a text file is written from its beginning: encoding, delimiter, decimal point, header, and the like.

    The delimiter is that of comma, semicolon, tab and bar by which most rows have as many fields as the header, or
    blanks where none does. The decimal mark is that of most columns of numbers; a column that has another one is text,
    which is read by itself later.

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
    rows_from = n_before + n_comments
    split = _best_split(name, lines[rows_from:], said[1] if said else "", is_whole, options.label)
    if comment:
        split, comment, facts_of, rows_from = _commented(lines, split, comment, rows_from, is_whole, options)
        facts += facts_of
    rows = [row for row, _ in split.rows[split.n_titles :]]
    spaces = split.spaces or _spaces(rows, split.delimiter, options.label)
    if spaces:
        rows = [[cell.strip(" ") if spaces == "around" else cell.lstrip(" ") for cell in row] for row in rows]
    whole = [[cleaned(cell) for cell in row] for row in rows]
    if not whole:
        raise ValueError(f"{name} has no rows and no header line. A table needs one with the names of its columns.")
    header = find_header(name, whole, options)
    taken = split.n_titles + header.n_rows
    n_lines = rows_from + (split.rows[taken - 1][1] if taken else 0)
    skipped = len("".join(lines[:n_lines]).encode("utf-8", errors))
    n_titles = rows_from + (split.rows[split.n_titles - 1][1] if split.n_titles else 0)
    if not "".join(lines[:n_titles]).strip():  # pandas skips blank lines by itself
        n_titles = 0
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
    return replace(dialect, notes=(*dialect_notes(name, dialect, header, facts, n_titles, has_mark), *header.notes))


def _best_split(name: str, lines: list[str], said: str, is_whole: bool, label: str) -> Split:
    """Return rows as the delimiter splits them that was said, or that fits best.

    Raises:
        ValueError: blanks seem to separate columns, and do not do so in all rows.
    """
    if said:
        return split_by(lines, said, is_whole, label)
    splits = [split_by(lines, delimiter, is_whole, label) for delimiter in DELIMITERS if delimiter != " "]
    split = max(splits, key=lambda split: split.rank)
    cells = [cell for row, _ in split.rows for cell in row]
    are_blanks = split.delimiter == "\t" and not split.has_label and any(re.search(r"\S  +\S", cell) for cell in cells)
    if split.is_perfect and not are_blanks:
        return split
    blanks = split_by(lines, " ", is_whole, label)
    if blanks.is_perfect and blanks.n_fields > split.n_fields:
        return blanks
    if split.n_fields > 1 or not label:
        return split
    rare = [split_by(lines, delimiter, is_whole, label) for delimiter in RARE_DELIMITERS]
    found = next((other for other in rare if other.is_perfect and other.has_label), split)
    if found is split and blanks.has_label and blanks.n_fields > 1 and blanks.rows[1:]:
        raise ValueError(
            f"{name}: blanks seem to separate its columns, but not all rows have as many fields as the header. "
            "Where columns begin at fixed places, make CSV of it: "
            "pd.read_fwf(file).to_csv('table.csv', index=False)"
        )
    return found


def _comments(lines: list[str]) -> tuple[str, int]:
    """Return what lines at the beginning have in front of comments, "" for none, and how many lines these take."""
    mark = next((mark for mark in COMMENTS if lines and lines[0].lstrip().startswith(mark)), "")
    if not mark:
        return "", 0
    are_others = (place for place, line in enumerate(lines) if line.strip() and not line.lstrip().startswith(mark))
    return mark, next(are_others, len(lines))


def _commented(
    lines: list[str], split: Split, comment: str, rows_from: int, is_whole: bool, options: ReadOptions
) -> tuple[Split, str, list[str], int]:
    """Return the rows below comments, of which the last may be the header; what is a comment, facts, and their line."""
    place = rows_from - 1
    while place > 0 and not lines[place].strip():
        place -= 1
    rows = [row for row, _ in split.rows]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    if rows and width > 1 and options.label not in rows[0] and not (options.header or options.names):
        bare = lines[place].lstrip().removeprefix(comment).lstrip(" \t")
        splits = [
            split_by([line, *lines[rows_from:]], split.delimiter, is_whole, options.label)
            for line in (lines[place], bare)
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
        split = split_by(lines[rows_from:], split.delimiter, is_whole, options.label, comment)
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
    """Return the mark that most columns of decimal numbers have; one that fits both tells nothing."""
    if delimiter == ",":
        return "."
    votes = {",": 0, ".": 0}
    for cells in zip(*rows, strict=False):
        texts = {cell.strip() for cell in cells if not is_marker(cell)}
        fits = {mark: all(PATTERNS[mark].fullmatch(text) for text in texts) for mark in votes}
        if fits[","] != fits["."] and any("," in text or "." in text for text in texts):
            votes["," if fits[","] else "."] += 1
    return "," if votes[","] > votes["."] else "."
