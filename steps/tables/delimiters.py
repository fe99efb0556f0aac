"""What separates the fields of a row, and which lines before the header are none of the table's."""

import contextlib
import csv as python_csv
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

MOST_ROWS = 1000  # that are looked at
MOST_TITLES = 50  # rows before the header
ENOUGH = 0.9  # of the rows that have as many fields as the header, below titles


@dataclass(frozen=True)
class Split:
    """Rows as a delimiter splits them."""

    delimiter: str
    rows: list[tuple[list[str], int]] = field(default_factory=list)  # each with the number of lines up to its end
    share: float = 0.0  # of the rows, that have as many fields as the header
    n_titles: int = 0  # rows before the header
    has_label: bool = False  # whether the label is in the header
    spaces: str = ""
    escapes: bool = False

    @property
    def n_fields(self) -> int:
        return len(self.rows[self.n_titles][0]) if self.rows else 1

    @property
    def is_perfect(self) -> bool:
        return self.share == 1 and not self.n_titles and self.n_fields > 1 and len(self.rows) > 1

    @property
    def rank(self) -> tuple[Any, ...]:
        """Order by how well the delimiter fits; one that splits all rows alike is better than a comma that does."""
        is_split, worth = self.n_fields > 1, 0
        if is_split and self.share == 1 and not self.n_titles:
            worth = 1 if self.delimiter == "," else 2
        return is_split, is_split and self.has_label, worth, self.share if is_split else 0, self.n_fields


@contextlib.contextmanager
def long_fields() -> Iterator[None]:
    """Let Python's reader take fields of any length."""
    limit = python_csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        python_csv.field_size_limit(limit)


def split_by(lines: list[str], delimiter: str, is_whole: bool, label: str, comment: str = "") -> Split:
    """Split lines by a delimiter, as well as can be."""
    if comment:
        lines = ["\n" if line.startswith(comment) else line for line in lines]
    if delimiter == " ":
        return _scored(Split(" ", _blank_rows(lines), spaces=""), label)
    plain = _parsed(lines, is_whole, delimiter=delimiter)
    split = Split(delimiter, plain)
    if any(re.match(r' +"', cell) for row, _ in plain for cell in row):
        split = Split(delimiter, _parsed(lines, is_whole, delimiter=delimiter, skipinitialspace=True), spaces="after")
    if any('\\"' in line for line in lines) and not _is_strict(lines, is_whole, delimiter=delimiter):
        how = {"delimiter": delimiter, "skipinitialspace": bool(split.spaces), "escapechar": "\\"}
        if _is_strict(lines, is_whole, **how):
            split = replace(split, rows=_parsed(lines, is_whole, **how), escapes=True)
    return _scored(split, label)


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


def _scored(split: Split, label: str) -> Split:
    """Find the header below titles, and how many rows have as many fields as it."""
    rows = [row for row, _ in split.rows]
    if not rows:
        return split
    share = _share(rows)
    split = replace(split, has_label=bool(label) and label in map(str.strip, rows[0]))
    is_odd = share < 0.5 or (_filled(rows[0]) <= 1 and len(rows[0]) > 2) or (label and label not in rows[0])
    if is_odd and (start := below_titles(rows, label)):
        has_label = label in map(str.strip, rows[start])
        return replace(split, share=_share(rows[start:]), n_titles=start, has_label=has_label)
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
        if (len(row) == width or (is_short and label in row)) and width > 1 and (_filled(row) > 1 or width == 2):
            is_enough = place and len(rows) > place + 1 and _share(rows[place:]) >= ENOUGH
            titles = rows[:place]
            has_words = label and any(label in cell for title in titles for cell in title)  # it may be the header
            are_titles = (label and label in row) or (not has_words and all(_filled(title) <= 1 for title in titles))
            return place if is_enough and are_titles else 0
    return 0


def _filled(row: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)
