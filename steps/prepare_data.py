"""The first step: any table in, one checked Parquet file out."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.tables", "steps.cells", "steps.places")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned(
        "google-cloud-bigquery",
        "google-cloud-bigquery-storage",
        "google-crc32c",
        "numpy",
        "pandas",
        "pyarrow",
        "python-calamine",
    ),
)
def prepare_data(
    source: str,
    label: str,
    fingerprint: str,
    dataset: Output[Dataset],
    schema: Output[Artifact],
    task: str = "",
    preset: str = "fast",
    min_class_rows: int = 0,
    weight: str = "",
    split_by: str = "",
    group_by: str = "",
    schema_from: str = "",
    drop: List[str] = [],
    keep: List[str] = [],
    drop_unlabeled: bool = False,
    header: str = "",
    names: List[str] = [],
    na_values: List[str] = [
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    ],
) -> List[int]:
    """Read a table, check that a model can be trained on it, and write what there is to learn from as Parquet.

    Columns that teach nothing are left out: constant ones, those without values, and identifiers.

    Args:
        source: Path or glob of files, here or gs://…, a folder of Parquet files, or bq://project.dataset.table. Files
            are CSV or JSON, which may be packed, Excel, OpenDocument, Parquet, Feather, Arrow or ORC.
        label: Name of the column that holds the classes, or the numbers to estimate.
        fingerprint: Digest of the content of the source, so that a changed file is never taken from a cache; the step
            fails if it reads another. A text of another form, such as "", is not compared.
        task: classification or regression; "" finds out: a label with more than 20 different decimal numbers, or more
            different whole numbers than there may be classes (97), is a quantity.
        preset: fast, balanced or best; see train-model. With the last two a forest of all classes is trained, too.
        min_class_rows: Least number of rows of a class, from 0 to 1,000,000,000; smaller classes are left out with
            their rows.
        weight: Name of the column that holds the weights of the rows, "" for none.
        split_by: Name of the column of dates or numbers by which the rows are split, "" for none.
        group_by: Name of the column of groups whose rows stay together, "" for none.
        schema_from: Path of an earlier run's schema that the table is held to, "" for none.
        drop: Names of columns to leave out.
        keep: Names of columns that stay, though each row has another value.
        drop_unlabeled: Whether rows without a label are left out; otherwise they are refused.
        header: "true" or "false", whether the first row of a text file names its columns; "" finds out.
        names: Names of the columns of a file without a header; without any they are 0, 1, ….
        na_values: Words that stand for a missing value in text files, as pandas takes them; an empty cell always is
            one.

    Returns:
        dataset: The table as Parquet, with its task, its counts of rows, columns and classes and the roles of its
            columns (label, weight, split_by, group_by) in the metadata.
        schema: What each column is, which were left out and why, as JSON.
        Output: Codes of the models to train, in the order to start them: of the classes 0, 1, … by their sorted names,
            of two classes 1 alone, which tells both; before them -1 for a forest of all; in regression 0 for the mean,
            1 and 2 for the ends of an interval.
    """
    import os
    from tempfile import TemporaryDirectory

    from steps.tables.comparing import hold_to
    from steps.tables.describing import describe
    from steps.tables.files import damage_told, require_unchanged
    from steps.tables.options import ReadOptions
    from steps.tables.reading import open_table
    from steps.tables.roles import Roles
    from steps.tables.writing import write_table

    if preset not in ("fast", "balanced", "best"):
        raise ValueError(f"preset is {preset!r}. Take fast, balanced or best.")
    with TemporaryDirectory() as folder, damage_told(source):
        if source.startswith("bq://"):
            from steps.tables.bigquery import read_bigquery

            table = read_bigquery(source.removeprefix("bq://"), folder, fingerprint)
        else:
            options = ReadOptions(label, header, tuple(names), tuple(na_values))
            table = open_table(source, folder, options, fingerprint=fingerprint)
        roles = Roles(label, weight, split_by, group_by, tuple(drop), tuple(keep))
        described = describe(table, roles, min_class_rows, drop_unlabeled, task)
        found = described.schema
        if schema_from:
            hold_to(found, schema_from)
        print(f"{found.rows:,} rows, {len(found.columns):,} columns", *found.all_notes(), sep="\n")
        found.require_no_problems()
        write_table(table.dataset, described, dataset.path)
        require_unchanged(table.files)
    found.write(schema.path)
    if found.task == "regression" and preset == "balanced":
        print("preset balanced is fast here: the mean of a quantity is weighed of several models anyway")

    # the names of the columns stand in the files: metadata go along in one argument of 131,071 bytes of each later task
    n_kept, n_columns = len(found.kept), len(found.columns)
    schema.metadata.update(columns=n_kept, dropped=n_columns - n_kept, notes=len(found.all_notes()))
    dataset.metadata.update(source=os.path.basename(source.rstrip("/")), fingerprint=fingerprint, rows=found.rows)
    dataset.metadata.update(columns=n_kept, classes=found.classes)
    dataset.metadata.update(
        task=found.task, label=label, weight=weight, split_by=split_by, group_by=group_by, na_values=na_values
    )
    return found.model_codes(preset)
