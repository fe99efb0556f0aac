"""The first step: any table in, one checked Parquet file out."""

from typing import TYPE_CHECKING, List

from kfp import dsl
from kfp.dsl import Dataset, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import classes_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def read_table(source: str) -> "pa.Table":
    """Read a BigQuery table, or CSV files, gzipped or not, or Parquet files; their first bytes tell which they are.

    Text columns of CSV files of up to 254 values become categories, the most that gradient boosting takes as such.
    """
    import glob
    import os

    import pyarrow as pa
    from pyarrow import csv, parquet

    if source.startswith("bq://"):
        return read_bigquery(source.removeprefix("bq://"))
    pattern = source.replace("gs://", "/gcs/", 1)  # where the service mounts Cloud Storage
    files = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
    if not files:
        raise ValueError(f"There is no file {source}. Name a CSV, gzipped CSV or Parquet file with --data.")
    options = csv.ConvertOptions(strings_can_be_null=True, auto_dict_encode=True, auto_dict_max_cardinality=254)
    tables = []
    for path in files:
        with open(path, "rb") as file:
            magic = file.read(4)
        if magic == b"PAR1":
            tables.append(parquet.read_table(path))
        else:
            with pa.input_stream(path, compression="gzip" if magic[:2] == b"\x1f\x8b" else None) as stream:
                tables.append(csv.read_csv(stream, convert_options=options))
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()


def read_bigquery(table_id: str) -> "pa.Table":
    """Read a BigQuery table, by the Storage API where it may be used."""
    import os

    from google.api_core.exceptions import Forbidden
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    emulated = os.environ.get("BIGQUERY_EMULATOR_HOST")
    client = bigquery.Client(table_id.split(".")[0], credentials=AnonymousCredentials() if emulated else None)
    rows = client.list_rows(client.get_table(table_id))
    try:
        return rows.to_arrow(create_bqstorage_client=not emulated)
    except Forbidden:  # no right to open read sessions; pages of rows need none
        return client.list_rows(client.get_table(table_id)).to_arrow(create_bqstorage_client=False)


def check_table(names: list, labels: "pd.Series", label: str) -> None:
    """Check that the columns can be told apart and that the labels are classes that can be learned.

    Raises:
        ValueError: the table cannot be trained on; the message says why and what to do.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Columns occur more than once: {', '.join(repeated)}. Rename them.")
    if len(names) < 2:
        raise ValueError(f"The table has no column but the label {label!r}. Add the columns to learn from.")
    if len(labels) == 0:
        raise ValueError("The table has column names but no rows. Add the rows to learn from.")
    if labels.isna().any():
        raise ValueError(
            f"{labels.isna().sum():,} of {len(labels):,} rows have no label in {label!r}, "
            f"the first is data row {labels.isna().argmax() + 1:,}. Fill them in or remove the rows."
        )
    counts = labels.value_counts()
    counts = counts[counts > 0]
    if len(counts) > 99:  # a service limit: a task takes at most 100 input artifacts, one model a class
        raise ValueError(
            f"The label {label!r} has {len(counts):,} different values; at most 99 classes can be trained. "
            "It looks like a number or an identifier: name a column of classes with --label."
        )
    if len(counts) < 2:
        raise ValueError(
            f"The label {label!r} has only the value {counts.index[0]!r}; "
            "a classifier needs at least two classes. Add rows of another class."
        )
    rare = [str(name) for name in counts[counts < 2].index]
    if rare:
        raise ValueError(
            f"Only one row has the label {', '.join(sorted(rare))} in {label!r}; each class needs at least two, "
            "one to train and one to test on. Add rows of it or remove it."
        )


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("google-cloud-bigquery", "google-cloud-bigquery-storage", "pandas", "pyarrow"),
    additional_funcs=[read_bigquery, read_table, check_table, classes_of],
)
def prepare_data(source: str, label: str, fingerprint: str, dataset: Output[Dataset]) -> List[int]:
    """Read a table, check that a classifier can be trained on it, and write it as Parquet.

    Args:
        source: Path or glob of CSV, gzipped CSV or Parquet files, here or gs://…, or bq://project.dataset.table.
        label: Name of the column that holds the classes.
        fingerprint: Digest of the content of the source, so that a changed file is never taken from a cache.

    Returns:
        dataset: The table as Parquet, with its counts of rows, columns and classes in the metadata.
        Output: Codes of the classes: 0, 1, … in the order of the sorted class names.
    """
    import os

    from pyarrow import parquet

    table = read_table(source)
    if label not in table.column_names:
        raise ValueError(
            f"No column {label!r} in the table; it has {', '.join(table.column_names)}. "
            "Name the column of the classes with --label."
        )
    labels = table.column(label).to_pandas()
    check_table(table.column_names, labels, label)
    parquet.write_table(table, dataset.path)

    classes = classes_of(labels)
    counts = labels.value_counts()
    dataset.metadata["source"] = os.path.basename(source)
    dataset.metadata["fingerprint"] = fingerprint
    dataset.metadata["rows"] = table.num_rows
    dataset.metadata["columns"] = table.column_names
    dataset.metadata["classes"] = {str(name): int(counts[name]) for name in classes}
    return list(range(len(classes)))
