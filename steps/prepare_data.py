"""The first step: any table in, one checked Parquet file out."""

from typing import TYPE_CHECKING, Any, List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Output

from steps.environment import BASE_IMAGE, pinned
from steps.reading import READING, damage, open_table, plain_column, require_unchanged
from steps.schema import DESCRIBING, describe_table, finite, held_to, label_column, shown_notes

if TYPE_CHECKING:
    import pyarrow as pa


def read_bigquery(table_id: str, path: str) -> Any:
    """Bring a BigQuery table into a file, a page at a time, and open it as an Arrow dataset.

    By the Storage API where it may be used; in one stream, as several would bring the rows in another order each time.
    """
    import os

    import pyarrow as pa
    from google.api_core.exceptions import Forbidden
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery, bigquery_storage
    from pyarrow import dataset

    emulated = os.environ.get("BIGQUERY_EMULATOR_HOST")
    client = bigquery.Client(table_id.split(".")[0], credentials=AnonymousCredentials() if emulated else None)
    table = client.get_table(table_id)

    def download(storage: Any) -> Any:
        batches = client.list_rows(table).to_arrow_iterable(storage, max_stream_count=1)
        first = next(batches, None)
        if first is None:
            return dataset.dataset(client.list_rows(table).to_arrow(create_bqstorage_client=False))
        with pa.ipc.new_file(path, first.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as file:
            file.write(first)
            for batch in batches:
                file.write(batch)
        return dataset.dataset(path, format="ipc")

    try:
        return download(None if emulated else bigquery_storage.BigQueryReadClient())
    except Forbidden:  # no right to open read sessions; pages of rows need none
        return download(None)


def write_table(table: Any, columns: list, kept: Any, label_type: Any, path: str) -> None:
    """Write the rows of a dataset as one Parquet file, some hundred MB at once.

    Args:
        table: Arrow dataset.
        columns: Descriptions of the columns to write.
        kept: Which rows are written, None for all.
        label_type: Arrow type of the labels.
        path: File to write.
    """
    import itertools

    import pyarrow as pa
    from pyarrow import parquet

    names = [column["name"] for column in columns]
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
                    written_column(column, seen, label_type, kept is not None)
                    for column, seen in zip(piece.columns, columns, strict=True)
                ]
                piece = pa.table(written, names=names)
                writer = writer or parquet.ParquetWriter(path, piece.schema)
                writer.write_table(piece)
    finally:
        if writer:
            writer.close()


def written_column(column: "pa.ChunkedArray", seen: dict, label_type: Any, is_filtered: bool) -> "pa.ChunkedArray":
    """Return a column as it is written: text of up to 254 values as categories, the most that boosting takes."""
    import pyarrow as pa

    if seen["role"] == "label":
        column = label_column(column)
    else:
        column, _ = finite(plain_column(column))
    is_encoded = pa.types.is_dictionary(column.type)
    if is_encoded and (is_filtered or any(len(chunk.dictionary) > 254 for chunk in column.chunks)):
        # without the categories that no row has, or of rows that were left out
        column, is_encoded = column.cast(pa.string()), False
    if seen["type"] == "category":
        return column if is_encoded else column.dictionary_encode()
    if seen["type"] == "text":
        return column.cast(pa.string())
    return column.cast(label_type) if seen["role"] == "label" else column


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("google-cloud-bigquery", "google-cloud-bigquery-storage", "numpy", "pandas", "pyarrow"),
    additional_funcs=[read_bigquery, write_table, written_column, *READING, *DESCRIBING],
)
def prepare_data(
    source: str,
    label: str,
    fingerprint: str,
    dataset: Output[Dataset],
    schema: Output[Artifact],
    min_class_rows: int = 0,
    weight: str = "",
    split_by: str = "",
    group_by: str = "",
    schema_from: str = "",
    drop: List[str] = [],
    keep: List[str] = [],
) -> List[int]:
    """Read a table, check that a classifier can be trained on it, and write what there is to learn from as Parquet.

    Columns that teach nothing are left out: constant ones, those without values, and identifiers.

    Args:
        source: Path or glob of CSV or Parquet files, here or gs://…, a folder of Parquet files, or
            bq://project.dataset.table. CSV may be compressed with gzip or zstd.
        label: Name of the column that holds the classes.
        fingerprint: Digest of the content of the source, so that a changed file is never taken from a cache.
        min_class_rows: Least number of rows of a class, at least 0; smaller classes are left out with their rows.
        weight: Name of the column that holds the weights of the rows, "" for none.
        split_by: Name of the column of dates or numbers by which the rows are split, "" for none.
        group_by: Name of the column of groups whose rows stay together, "" for none.
        schema_from: Path of an earlier run's schema that the table is held to, "" for none.
        drop: Names of columns to leave out.
        keep: Names of columns that stay, though each row has another value.

    Returns:
        dataset: The table as Parquet, with its counts of rows, columns and classes in the metadata.
        schema: What each column is, which were left out and why, as JSON.
        Output: Codes of the classes: 0, 1, … in the order of the sorted class names.
    """
    import json
    import os
    from tempfile import TemporaryDirectory

    import pyarrow as pa

    with TemporaryDirectory() as folder:
        if source.startswith("bq://"):
            file = os.path.join(folder, "table.arrow")
            table, seen = read_bigquery(source.removeprefix("bq://"), file), {"files": [], "notes": []}
        else:
            table, seen = open_table(source, folder)
        try:
            found, kept, classes = describe_table(
                table, label, weight, split_by, group_by, min_class_rows, drop=drop, keep=keep
            )
            found["notes"] = seen["notes"]
            if schema_from:
                found["findings"] = held_to(found, schema_from)
            print("\n".join([f"{found['rows']:,} rows, {len(found['columns']):,} columns", *shown_notes(found)]))
            if found["problems"]:
                raise ValueError("\n".join(found["problems"][:4]))
            columns = [column for column in found["columns"] if column["role"] != "dropped"]
            write_table(table, columns, kept, pa.array(classes).type, dataset.path)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(damage(source, error)) from error
        require_unchanged(seen["files"])
    with open(schema.path, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1, allow_nan=False)

    schema.metadata["columns"] = len(columns)
    schema.metadata["dropped"] = len(found["columns"]) - len(columns)
    schema.metadata["notes"] = len(shown_notes(found))
    dataset.metadata["source"] = os.path.basename(source.rstrip("/"))
    dataset.metadata["fingerprint"] = fingerprint
    dataset.metadata["rows"] = found["rows"]
    dataset.metadata["columns"] = [column["name"] for column in columns]
    dataset.metadata["classes"] = found["classes"]
    return list(range(len(classes)))
