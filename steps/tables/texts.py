"""Columns of text that are numbers, times or dates as people write them."""

import math

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from steps.cells import is_marker, read_values, reading_of

ROWS_TRIED, TEXTS_TRIED = 100_000, 1000  # before all of a column is looked at
MAX_EXAMPLES = 3


def is_text(kind: pa.DataType) -> bool:
    """Return whether a plain column holds text or categories."""
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def text_reading(values: pa.ChunkedArray, decimal: str) -> tuple[dict[str, str] | None, str]:
    """Return how a column of text is read by steps.cells as numbers, times or dates, and say so; None where it is text.

    Args:
        values: Text or categories.
        decimal: The decimal mark of the file's other columns.
    """
    some = rows_of_texts(values.slice(0, ROWS_TRIED).drop_null().slice(0, TEXTS_TRIED).value_counts())
    if reading_of([*some], decimal) is None and not all(map(is_marker, some)):
        return None, ""
    counts = rows_of_texts(values.value_counts())
    reading = reading_of([*counts], decimal)
    if not reading:
        return None, ""
    if reading["kind"] == "time" and not pc.max(_read(values, reading)).as_py() < 86_400:
        reading["kind"] = "duration"
    return reading, _note(counts, len(values), reading)


def as_read(values: pa.ChunkedArray, reading: dict[str, str]) -> pa.ChunkedArray:
    """Return a column of text as numbers, times, durations or dates; markers for missing values are missing."""
    read = _read(values, reading)
    if reading["kind"] == "number":
        return read
    if reading["kind"] == "date":
        return read.cast(pa.timestamp("us"))
    kind = pa.time64("us") if reading["kind"] == "time" else pa.duration("us")
    return pc.round(pc.multiply(read, 1e6)).cast(pa.int64()).cast(kind)


def _note(counts: dict[str, int], n_rows: int, reading: dict[str, str]) -> str:
    """Say how a column of text was read, and which of its values were taken as missing."""
    markers = [value for value in counts if is_marker(value)]
    odd = next((value for value in counts if not is_marker(value) and not _is_float(value)), None)
    notes = []
    if odd is not None:
        what = {"number": "numbers", "date": "dates", "time": "times of day", "duration": "durations"}[reading["kind"]]
        means = f", read as {read_values([odd], reading)[0]:g}" if reading["kind"] == "number" else ""
        form = f", {reading['format']}" if reading.get("format", "ISO8601") != "ISO8601" else ""
        notes.append(f"{what} such as {odd.strip()[:30]!r}{means}{form}")
    if markers:
        shown = ", ".join(repr(value) for value in markers[:MAX_EXAMPLES])
        number = sum(counts[value] for value in markers)
        notes.append(f"{number:,} of {n_rows:,} cells hold {shown}: taken as missing")
    return "; ".join(notes)


def rows_of_texts(value_counts: pa.StructArray) -> dict[str, int]:
    """Return the distinct texts of a column with their rows; blocks of a file have dictionaries of their own."""
    counts: dict[str, int] = {}
    for entry in value_counts.to_pylist():
        if entry["values"] is not None:
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return counts


def _read(values: pa.ChunkedArray, reading: dict[str, str]) -> pa.ChunkedArray:
    chunks = []
    kind = pa.timestamp("us") if reading["kind"] == "date" else pa.float64()
    for chunk in values.chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        read = read_values(encoded.dictionary.to_pylist(), reading)
        if isinstance(read, pd.Series):
            read = read.dt.tz_localize(None).to_numpy()
        of_distinct = pa.array(read, kind, from_pandas=True)
        chunks.append(of_distinct.take(encoded.indices))
    return pa.chunked_array(chunks, kind)


def _is_float(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
