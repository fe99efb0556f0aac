"""Which rows at the beginning of a table name its columns: one, two or none."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from steps.cells import NA_VALUES
from steps.tables.options import ReadOptions

# numbers, dates and times, such as no header has but one of years
VALUE = re.compile(r"\s*[-+]?[$€£]?(\d[\d.,:/-]*|\.\d+)([eE][-+]?\d+)?\s*%?([T ]\d\d:\d\d\S*)?\s*")
WORDS = ("unknown", "missing", "none", "nil", "n.a.", "undefined", "error")  # that stand for a number that is not there
MISSING = {"", "?", "-", ".", "*", "\\N", *NA_VALUES, *WORDS, *map(str.title, WORDS), *map(str.upper, WORDS)}
MOST_ROWS = 1000  # that are looked at
UNREAD = "\0"  # the name of a column that is no part of the table


@dataclass(frozen=True)
class Header:
    """What names the columns."""

    names: list[str]  # of the columns of a row, in order
    n_rows: int  # at the beginning that are no data
    facts: list[str] = field(default_factory=list)  # what is to be known of it, in a few words each
    arguments: dict[str, Any] = field(default_factory=dict)  # with which pandas reads the same
    notes: list[str] = field(default_factory=list)  # whole sentences


def find_header(name: str, rows: Sequence[Sequence[str]], options: ReadOptions) -> Header:
    """Find what names the columns of a table.

    Args:
        name: Name of the table, for messages.
        rows: Its first rows, none of them empty.
        options: What the user says.

    Raises:
        ValueError: there is no header and nothing tells the names, or what the user says does not fit.
    """
    said = str(options.header).strip().lower()
    if said not in ("", "true", "false"):
        raise ValueError(f"header is {options.header!r}. Say --set header=true, --set header=false, or nothing.")
    short = name.rpartition("/")[2]
    first, below = [*rows[0]], [*rows[1:MOST_ROWS]]
    made, named = [str(place) for place in range(len(first))], _named(first)
    if options.names:
        is_named = said == "true" or (not said and [*options.names] == first)
        return _given(name, options.names, named, 1 if is_named else 0)
    if said == "false":
        return _without(made)
    width = Counter(map(len, below)).most_common(1)[0][0] if below else len(first)
    if 1 < len(first) == width - 1:
        return _short(named, below)
    two = None if said or len(first) != width else _two_lines(first, below, options.label)
    if two:
        return two
    if said or not looks_like_values(first, below):
        return Header(named, 1)
    is_distinct = len({*named}) == len(named)
    if options.label in named and is_distinct:
        place = named.index(options.label)
        values = _column(below, place)
        if options.label in made and len({*values}) > len({*_column(below, int(options.label))}):
            return _without(made)  # that of the fewer values is the column of classes
        is_value = _vote(options.label, values) > 0
        return Header(named, 1, notes=[f"{short}: {_advice(first, options.label)}"] if is_value else [])
    if options.label in made:
        return _without(made)
    if options.label or not is_distinct:
        raise ValueError(f"{name}: {_advice(first, options.label)}")
    return Header(named, 1, notes=[f"{short}: {_advice(first, '')}"])


def looks_like_values(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Return whether a first row holds values as the rows below it do: numbers over numbers, or what comes again."""
    below = [row for row in below if [*row] != [*first]]  # a header may come again
    if not below or [*first] in ([*map(str, range(len(first)))], [*map(str, range(1, len(first) + 1))]):
        return False
    is_like = False
    for place, cell in enumerate(first):
        vote = _vote(cell, _column(below, place))
        if vote < 0:
            return False
        is_like |= vote > 0
    return is_like


def _vote(cell: str, below: Sequence[str]) -> int:
    """Return 1 where a cell looks like the values below it, -1 where it does not, 0 where nothing tells."""
    values = [value.strip() for value in below if value.strip() not in MISSING]
    cell = cell.strip()
    if not values or cell in MISSING:
        return 0
    n_numbers = sum(VALUE.fullmatch(value) is not None for value in values)
    if n_numbers >= 0.9 * len(values):
        return 1 if VALUE.fullmatch(cell) else -1
    return 1 if cell in values else 0


def _column(rows: Sequence[Sequence[str]], place: int) -> list[str]:
    return [row[place] for row in rows if place < len(row)]


def _named(cells: Sequence[str]) -> list[str]:
    """Return names as pandas gives them: a cell without one has that of its place."""
    return [cell or f"Unnamed: {place}" for place, cell in enumerate(cells)]


def _without(names: list[str]) -> Header:
    shown = f"named {names[0]} to {names[-1]}" if len(names) > 1 else f"named {names[0]}"
    return Header(names, 0, [f"no header, the columns are {shown}"], {"header": None})


def _given(name: str, names: Sequence[str], found: list[str], n_rows: int) -> Header:
    if len(names) != len(found):
        shown = ", ".join(map(repr, found[:5])) + (" …" if len(found) > 5 else "")
        raise ValueError(
            f"{name} has {len(found):,} columns and --set names gives {len(names):,} names. Give one for each; its "
            f"first row is: {shown}"
        )
    fact = "its header is replaced by the names given" if n_rows else "no header, the columns have the names given"
    return Header([*names], n_rows, [fact], {"header": 0 if n_rows else None, "names": [*names]})


def _short(named: list[str], below: Sequence[Sequence[str]]) -> Header:
    """Return a header that has a cell less than the rows, as R writes it, or as rows do that end in a delimiter."""
    if all(row[-1] == "" for row in below if len(row) > len(named)):
        fact = "every row ends in a delimiter, the header does not"
        return Header([*named, UNREAD], 1, [fact], {"index_col": False})
    fact = "the first value of each row is its name, which the header has no cell for: it is no column, as in pandas"
    return Header([UNREAD, *named], 1, [fact])


def _two_lines(first: Sequence[str], below: Sequence[Sequence[str]], label: str) -> Header | None:
    """Return a header of two rows, None where the second row is data.

    The second is no data where it has words over all columns of numbers, none of which comes again below. Of the two,
    that is taken which has the label and in which no name comes twice; otherwise both are joined.
    """
    second, below = below[0] if below else [], below[1:]
    if len(second) != len(first) or len(below) < 2 or VALUE.fullmatch("".join(second)):
        return None
    votes = []
    for place, cell in enumerate(second):
        votes.append(_vote(cell, _column(below, place)))
        if votes[-1] > 0:
            return None
    n_words = votes.count(-1)
    are_values = label not in second and any(_vote(cell, _column(below, i)) > 0 for i, cell in enumerate(first))
    if not n_words or are_values:
        return None
    joined = ["_".join(filter(None, pair)) for pair in zip(first, second, strict=True)]
    choices: list[tuple[list[str], str, dict[str, Any]]] = [
        (_named(first), "the second row is no data but a second header", {"skiprows": [1]}),
        (_named(second), "a header of two rows, of which the second is taken", {"header": 1}),
        (_named(joined), "a header of two rows, joined by _", {"header": [0, 1]}),
    ]
    choices = [choice for choice in choices if len({*choice[0]}) == len(first)]
    chosen = next((choice for choice in choices if label in choice[0]), None)
    others = [vote for vote, name in zip(votes, first, strict=True) if name != label]
    if not choices or (n_words < 2 and (chosen is None or (label in first and 0 in others))):
        return None
    names, fact, arguments = chosen or choices[0]
    if below[0][0] and not any(below[0][1:]) and len(first) > 2:  # pandas writes the name of the index below
        return Header(names, 3, [fact], arguments | {"skiprows": [*arguments.get("skiprows", []), 2]})
    return Header(names, 2, [fact], arguments)


def _advice(first: Sequence[str], label: str) -> str:
    """Say that a first row looks like data, and how it is read as that."""
    shown = ", ".join(repr(cell[:20]) for cell in first[:4]) + (" …" if len(first) > 4 else "")
    last = len(first) - 1
    of_label = f"--label {first.index(label)}" if label in first else f"--label with one of 0 to {last}"
    lacks = f"has no {label!r} and " if label and label not in first else ""
    return (
        f"the first row {lacks}looks like values, not like names: {shown}. If it is data, say --set header=false and "
        f"{of_label}, as the columns are then named 0 to {last}; or name all with --set names."
    )
