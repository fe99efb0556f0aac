"""Write a table as the one Parquet file that the other steps read."""

import itertools
import json

import pyarrow as pa
from pyarrow import dataset, parquet

from steps.tables.columns import MAX_CATEGORIES
from steps.tables.describing import Described
from steps.tables.schema import Column
from steps.tables.texts import as_read, is_text
from steps.tables.types import finite, label_column, plain_column


def write_table(table: dataset.Dataset, described: Described, path: str) -> None:
    """Write the columns and rows of a dataset that are kept as one Parquet file, some hundred MB at once.

    Args:
        table: The dataset.
        described: What is kept of it.
        path: File to write.
    """
    columns, kept = described.schema.kept, described.kept
    label_type = _label_type(described)
    names = [column.name for column in columns]
    at_once = max(10_000, 40_000_000 // len(names))
    batches = table.to_batches(columns=names, batch_size=min(at_once, 1 << 17), batch_readahead=4, fragment_readahead=1)
    waiting, n_waiting, offset, writer = [], 0, 0, None
    try:
        for batch in itertools.chain(batches, [None]):
            if batch is not None:
                waiting.append(batch)
                n_waiting += batch.num_rows
            if n_waiting and (batch is None or n_waiting >= at_once):
                piece = pa.Table.from_batches(waiting)
                if kept is not None:
                    piece = piece.filter(kept.slice(offset, n_waiting))
                offset += n_waiting
                waiting, n_waiting = [], 0
                written = [
                    _written(values, column, label_type, kept is not None)
                    for values, column in zip(piece.columns, columns, strict=True)
                ]
                piece = pa.table(written, pa.schema(map(_field, columns, written)))
                writer = writer or parquet.ParquetWriter(path, piece.schema)
                writer.write_table(piece)
    finally:
        if writer:
            writer.close()


def _label_type(described: Described) -> pa.DataType:
    if described.schema.task == "regression":
        return pa.float64()
    largest = described.classes[-1]
    is_unsigned = isinstance(largest, int) and largest >= 2**63
    return pa.uint64() if is_unsigned else pa.array(described.classes).type


def _field(column: Column, values: pa.ChunkedArray) -> pa.Field:
    """Return the field of a column; its metadata tell RawRows how text of it is to be read."""
    reading = column.reading or ({"kind": "text", "by": "prepare-data"} if column.type in ("category", "text") else {})
    return pa.field(column.name, values.type, metadata={"reading": json.dumps(reading)} if reading else None)


def _written(values: pa.ChunkedArray, column: Column, label_type: pa.DataType, is_filtered: bool) -> pa.ChunkedArray:
    """Return a column as it is written: text of few values as categories."""
    if column.role == "label":
        values = label_column(values)
    else:
        values = plain_column(values)
        if column.reading and is_text(values.type):
            values = as_read(values, column.reading)
        values, _ = finite(values)
    is_encoded = pa.types.is_dictionary(values.type)
    if is_encoded and (is_filtered or any(len(chunk.dictionary) > MAX_CATEGORIES for chunk in values.chunks)):
        # without the categories that no row has, or of rows that were left out
        values, is_encoded = values.cast(pa.string()), False
    if column.type == "category":
        return values if is_encoded else values.dictionary_encode()
    if column.type == "text":
        return values.cast(pa.string())
    return values.cast(label_type) if column.role == "label" else values
