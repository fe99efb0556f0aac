"""The rows that a model is to predict: of any table, in blocks, as its own first step takes them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import dataset
from sklearn.pipeline import Pipeline

from steps.cells import NA_VALUES
from steps.tables.options import ReadOptions
from steps.tables.reading import Table, open_table
from steps.tables.types import plain_column

MOST_ROWS, MOST_VALUES = 1 << 15, 2_000_000  # of a block


def open_rows(
    source: str,
    folder: str,
    columns: Iterable[str],
    facts: dict[str, Any],
    header: str = "",
    names: Sequence[str] = (),
    na_values: Sequence[str] = (),
    fingerprint: str = "",
    most_bytes: int = 0,
) -> Table:
    """Open a table of rows to predict; it needs no label.

    Args:
        source: What steps.tables.reading.open_table takes, or bq://project.dataset.table.
        folder: Folder for what does not fit into memory; it must stay while the table is used.
        columns: Names of the model's columns, of which one in the first line tells that it is a header.
        facts: What is known of the model.
        header: Whether the first row of a text file names its columns, true or false; "" finds out.
        names: Names of the columns of a file without a header.
        na_values: Words that stand for a missing value in text files; without any those that the model's training had.
        fingerprint: What the source must have; a text of another form is not compared.
        most_bytes: Read no more text than this and take it for the whole; 0 reads all.

    Raises:
        ValueError: it is no table that can be read, or it has no rows.
    """
    if source.startswith("bq://"):
        from steps.tables.bigquery import read_bigquery

        table = read_bigquery(source.removeprefix("bq://"), folder, fingerprint)
    else:
        words = tuple(na_values) or tuple(facts.get("na_values") or NA_VALUES)
        options = ReadOptions(next(iter(columns)), header, tuple(names), words)
        table = open_table(source, folder, options, most_bytes, fingerprint=fingerprint)
    if table.dataset.count_rows() == 0:
        raise ValueError(f"{source} has column names but no rows. Name a table of rows to predict.")
    return table


def blocks(rows: dataset.Dataset, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a table in their order, in blocks of a size that memory takes.

    Args:
        rows: The table.
        columns: Names of the columns to read; None for all.
    """
    columns = rows.schema.names if columns is None else columns
    at_once = min(MOST_ROWS, max(1000, MOST_VALUES // max(1, len(columns))))
    waiting, n_waiting = [], 0
    for batch in rows.to_batches(columns=columns, batch_size=at_once, batch_readahead=4, fragment_readahead=1):
        waiting.append(batch)  # files of few rows give small ones
        n_waiting += batch.num_rows
        if n_waiting >= at_once // 2:
            yield pa.Table.from_batches(waiting)
            waiting, n_waiting = [], 0
    if n_waiting:
        yield pa.Table.from_batches(waiting)


def frame_of(block: pa.Table, model: Pipeline) -> pd.DataFrame:
    """Return the columns of a block that a model takes, as pandas has them.

    Raises:
        ValueError: a column holds lists, records or bytes.
    """
    columns = {}
    for name, reading in model[0].columns.items():
        values = plain_column(block.column(name))
        if values is None:
            raise ValueError(
                f"The column {name!r} holds {block.schema.field(name).type}, and the model was trained on a "
                f"{reading['kind']} in it."
            )
        if reading["kind"] == "text" and pa.types.is_integer(values.type):
            values = values.cast(pa.string())  # pandas makes floating-point numbers of those with missing ones
        columns[name] = values
    return pa.table(columns).to_pandas()
