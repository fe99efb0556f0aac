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
    return pa.types.is_string(kind) or pa.types.is_dictionary(kind)


def text_reading(values: pa.ChunkedArray, decimal: str) -> dict[str, str] | None:
    """Return how a column of text is read by steps.cells as numbers, times or dates; None where it stays text.

    Args:
        values: Text or categories.
        decimal: The decimal mark of the file's other columns.
    """
    some = _distinct(values.slice(0, ROWS_TRIED).drop_null().slice(0, TEXTS_TRIED))
    if reading_of(some, decimal) is None and not all(map(is_marker, some)):
        return None
    reading = reading_of(_distinct(values), decimal)
    if reading and reading["kind"] == "time" and not pc.max(_read(values, reading)).as_py() < 86_400:
        reading["kind"] = "duration"
    return reading


def as_read(values: pa.ChunkedArray, reading: dict[str, str]) -> pa.ChunkedArray:
    """Return a column of text as numbers, times, durations or dates; markers for missing values are missing."""
    read = _read(values, reading)
    if reading["kind"] == "number":
        return read
    if reading["kind"] == "date":
        return read.cast(pa.timestamp("us"))
    kind = pa.time64("us") if reading["kind"] == "time" else pa.duration("us")
    return pc.round(pc.multiply(read, 1e6)).cast(pa.int64()).cast(kind)


def reading_note(values: pa.ChunkedArray, reading: dict[str, str]) -> str:
    """Say how a column of text was read, and which of its values were taken as missing."""
    text = values.cast(pa.string()).drop_null()
    distinct = text.unique().to_pylist()
    markers = [value for value in distinct if is_marker(value)]
    plain = next((value for value in distinct if value not in markers and not _is_float(value)), None)
    notes = []
    if plain is not None:
        what = {"number": "numbers", "date": "dates", "time": "times of day", "duration": "durations"}[reading["kind"]]
        read = read_values([plain], reading)[0]
        means = f", read as {read:g}" if reading["kind"] == "number" else ""
        form = f", {reading['format']}" if reading.get("format", "ISO8601") != "ISO8601" else ""
        notes.append(f"{what} such as {plain.strip()[:30]!r}{means}{form}")
    if markers:
        number = pc.sum(pc.is_in(text, pa.array(markers))).as_py()
        shown = ", ".join(repr(value) for value in markers[:MAX_EXAMPLES])
        notes.append(f"{number:,} of {len(values):,} cells hold {shown}: taken as missing")
    return "; ".join(notes)


def _distinct(values: pa.ChunkedArray) -> list[str]:
    """Return the distinct texts of a column, those of dictionaries that no row has not among them."""
    return values.cast(pa.string()).unique().drop_null().to_pylist()


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
