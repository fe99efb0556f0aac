"""What one column is: its type, its range or values, and whether there is anything to learn from it."""

import re
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from steps.cells import SCRIPT_WITHOUT_SPACES, is_marker, looks_like_number
from steps.tables.leaks import Labels, alone, leak_note, tells
from steps.tables.schema import Column
from steps.tables.texts import as_read, is_text, rows_of_texts, text_reading
from steps.tables.types import finite, plain_column

COUNTED_ROWS = 1_000_000  # of which the values are counted where there are many different ones
MAX_COUNTED_VALUES = 10_000  # beyond these the rows after them are not counted
MAX_CATEGORIES = 254  # the most that gradient boosting takes, one less for the rest
MAX_VALUES_LISTED = 50
MIN_KEY_ROWS = 20  # fewer rows may all differ by chance
MAX_EXAMPLES = 3
DAY = re.compile(r"\s*\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3,9})[-/. ]\d{1,4}\b")
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


def describe_column(
    name: str, values: pa.ChunkedArray, role: str, labels: Labels, is_kept: bool = False, decimal: str = "."
) -> Column:
    """Describe one column; a feature that teaches nothing gets the role dropped, and the note says why.

    Args:
        name: Its name.
        values: Its values, in rows that are kept.
        role: Its role.
        labels: The classes of the rows.
        is_kept: Whether it stays, though it looks like an identifier.
        decimal: The decimal mark of the file's numbers.
    """
    column, n_rows = Column(name, "other", role), len(values)
    plain = plain_column(values)
    if plain is None:
        column.missing = rounded(values.null_count / n_rows)
        source = str(values.type)
        what = "lists" if "list" in source else "records" if "struct" in source else f"values of type {source}"
        column.drop(f"holds {what}, which are no single values")
        return column
    if is_text(plain.type) and role not in ("label", "group"):
        column.reading, note = text_reading(plain, decimal)
        column.add_note(note)
        plain = as_read(plain, column.reading) if column.reading else plain
    elif decimal == "," and types.is_floating(plain.type):
        column.reading = {"kind": "number", "decimal": decimal}  # raw rows may hold the text
    plain, n_infinite = finite(plain)
    column.missing = rounded(plain.null_count / n_rows)
    if n_infinite:
        column.add_note(f"{n_infinite:,} infinite value{'s' if n_infinite > 1 else ''}: taken as missing")
    if plain.null_count == n_rows:
        column.type, column.distinct = "missing", 0
        column.drop("every value is missing")
        return column
    _describe_values(column, plain)
    if column.role == "feature":
        _find_use(column, plain, labels, is_kept)
    return column


def _describe_values(column: Column, plain: pa.ChunkedArray) -> None:
    """Fill in the type, and the range or the values."""
    kind = plain.type
    head = plain.slice(0, COUNTED_ROWS)
    if types.is_string(kind):
        head = head.dictionary_encode()
    counts = head.value_counts()
    column.distinct = len(counts) - (1 if head.null_count else 0)
    if len(plain) > len(head) and column.distinct <= MAX_COUNTED_VALUES:
        counts = plain.value_counts()
        column.distinct = len(counts) - (1 if plain.null_count else 0)
    if types.is_dictionary(kind) or types.is_string(kind):
        _describe_text(column, plain, counts)
    elif types.is_boolean(kind):
        column.type = "boolean"
        pairs = [(entry["values"], entry["counts"]) for entry in counts.to_pylist() if entry["values"] is not None]
        column.values = {str(value).lower(): count for value, count in sorted(pairs)}
    elif types.is_temporal(kind):
        _describe_times(column, plain)
    else:
        column.type = "number"
        bounds = pc.min_max(plain).as_py()
        column.min, column.max = bounds["min"], bounds["max"]
        head = head.drop_null()
        is_huge = types.is_floating(kind) and max(abs(bounds["min"]), abs(bounds["max"])) >= 2**63
        if is_huge and pc.all(pc.equal(pc.floor(head), head)).as_py():
            column.add_note("whole numbers beyond 64 bits: read as decimal numbers, their last digits are lost")


def _describe_text(column: Column, plain: pa.ChunkedArray, counts: pa.StructArray) -> None:
    merged = rows_of_texts(counts)
    merged = dict(sorted(merged.items(), key=lambda pair: -pair[1]))
    column.distinct = len(merged)
    column.type = "category" if column.distinct <= MAX_CATEGORIES else "text"
    column.values = dict([*merged.items()][:MAX_VALUES_LISTED])
    if MAX_VALUES_LISTED < column.distinct <= MAX_CATEGORIES:
        column.further_values = sorted([*merged][MAX_VALUES_LISTED:])
    column.add_note(text_note(plain, merged))


def _describe_times(column: Column, plain: pa.ChunkedArray) -> None:
    kind = plain.type
    column.type = "date" if types.is_timestamp(kind) else "time" if types.is_time(kind) else "duration"
    if types.is_duration(kind):  # Arrow cannot compare them
        bounds = pc.min_max(plain.cast(pa.duration("us"), safe=False).cast(pa.int64())).as_py()
        column.min, column.max = (str(timedelta(microseconds=bounds[side])) for side in ("min", "max"))
        return
    if types.is_timestamp(kind):
        plain = plain.cast(pa.timestamp("s", kind.tz), safe=False)
    bounds = pc.min_max(plain)
    column.min, column.max = (bounds[side].cast(pa.string()).as_py() for side in ("min", "max"))


def _find_use(column: Column, plain: pa.ChunkedArray, labels: Labels, is_kept: bool) -> None:
    """Leave a feature out that teaches nothing, and note what is to be known of one that stays."""
    if column.distinct == 1 and plain.null_count == 0:
        column.drop("constant: every row has the same value")
        return
    if not is_kept and is_identifier(plain, column.distinct or 0):
        share, base = alone(plain, labels), labels.most_frequent
        if is_running(plain) or not tells(share, labels):
            told = f"alone it gives {max(share, base):.1%} of the {labels.many}, guessing {base:.1%}"
            column.drop(f"identifier: another value on every row; --set keep=COLUMN keeps it ({told})")
            return
        told = f"and kept, since it tells the {labels.many} apart"
        column.add_note(f"another value on every row, as of an identifier, {told}")
    if column.name.strip().lower() == labels.name.strip().lower():
        column.add_note(f"its name differs from the label {labels.name!r} only in case or spaces")
    if column.distinct == len(labels.names) > 1 and is_copy(plain, labels):
        reveals = f"each of its values stands for one {labels.one}: it reveals the label {labels.name!r}"
        column.add_note(f"{reveals}; --set drop=COLUMN leaves it out")
    else:
        column.add_note(leak_note(plain, labels))
    if column.type == "text":
        number = f"{column.distinct:,} or more" if len(plain) > COUNTED_ROWS else f"{column.distinct:,}"
        column.add_note(
            f"{number} different values: learned from their letters and words; those of 20 rows or more are categories"
        )
    if column.missing > 0.5:
        column.add_note(f"{column.missing:.0%} missing")


def rounded(share: float) -> float:
    """Return a share of the rows to six digits; none that is above 0 becomes 0."""
    return round(share, 6) or (1e-6 if share else 0.0)


def text_note(column: pa.ChunkedArray, counts: dict[str, int]) -> str:
    """Say of text whose values are most often numbers or dates why it was not read so."""
    total = len(column) - column.null_count
    if sum(counts.values()) == total:
        others = [value for value in counts if not looks_like_number(value) and not is_marker(value)]
        n_others = sum(counts[value] for value in others)
    else:  # not all of them were counted
        text = column.cast(pa.string())
        found = text.filter(pc.invert(pc.match_substring_regex(text, NUMBER))).drop_null()
        others, n_others = found[:MAX_EXAMPLES].to_pylist(), len(found)
    if n_others >= total / 2:
        days = [value for value in [*counts][:100] if DAY.match(value)]
        if len(days) > len([*counts][:100]) / 2:
            return f"dates of more than one form, such as {_examples(days)}: read as text"
        return ""
    if others:
        return f"{n_others:,} of {total:,} values are not numbers, such as {_examples(others)}: read as text"
    return f"numbers of several units or forms, such as {_examples([*counts])}: read as text"


def _examples(values: list[str]) -> str:
    return ", ".join(repr(value[:30]) for value in values[:MAX_EXAMPLES])


def is_identifier(column: pa.ChunkedArray, n_distinct: int) -> bool:
    """Return whether a column may name its rows: text of a word or two, or running or very large whole numbers.

    Every row has another value, none is missing, and there are at least 20. Whole numbers may be a key if they ascend
    or descend from row to row, fill their range by half or more, or lie more than 2**40 apart; an elevation does none.
    Text of more than three words a value, of a sentence in a script without spaces, or of addresses of pages is no key
    but something to read; decimal numbers are amounts.
    """
    n_rows, kind = len(column), column.type
    if n_rows < MIN_KEY_ROWS or column.null_count or n_distinct < min(n_rows, COUNTED_ROWS):
        return False
    if types.is_integer(kind):
        values = column.to_numpy()
        ordered = np.sort(values)
        if not (ordered[1:] > ordered[:-1]).all():
            return False
        in_order = (values == ordered).all() or (values == ordered[::-1]).all()
        return bool(in_order or is_running(column) or int(ordered[-1]) - int(ordered[0]) >= 2**40)
    if not is_text(kind):
        return False
    text = column.cast(pa.string())
    some = pc.utf8_trim_whitespace(text.slice(0, 10_000))
    words = pc.mean(pc.add(pc.count_substring_regex(some, r"\s+"), 1)).as_py()
    signs = pc.mean(pc.count_substring_regex(some, SCRIPT_WITHOUT_SPACES)).as_py()
    addresses = pc.mean(pc.match_substring(some, "://").cast(pa.int8())).as_py()
    if words > 3 or signs > 6 or addresses > 0.5:
        return False
    if n_rows <= COUNTED_ROWS:
        return True
    hashes = np.concatenate([pd.util.hash_array(chunk.to_numpy(zero_copy_only=False)) for chunk in text.chunks])
    return len(np.unique(hashes)) == n_rows


def is_running(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds whole numbers that fill half of their range or more, as row numbers do; or text."""
    if not types.is_integer(column.type):
        return True
    bounds = pc.min_max(column).as_py()
    return bool(bounds["max"] - bounds["min"] < 2 * len(column))


def is_copy(column: pa.ChunkedArray, labels: Labels) -> bool:
    """Return whether each value of a column stands for one class and the other way round."""
    if column.null_count:
        return False
    if not types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.unify_dictionaries().combine_chunks()
    pairs = values.indices.to_numpy().astype(np.int64) * 1_000_000 + labels.indices.to_numpy()
    n_pairs = len(np.unique(pairs))
    return n_pairs == len(labels.names) == len(np.unique(pairs // 1_000_000))
