"""The first step of a prediction: take the model, and any table of rows to predict."""

from typing import List

from kfp import dsl
from kfp.dsl import Dataset, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.tables", "steps.cells", "steps.prediction", "steps.model_folder", "steps.champions", "steps.places")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned(
        "google-cloud-bigquery",
        "google-cloud-bigquery-storage",
        "google-cloud-storage",
        "google-crc32c",
        "joblib",
        "numpy",
        "pandas",
        "pyarrow",
        "python-calamine",
        "scikit-learn",
        "skrub",
    ),
)
def read_rows(
    source: str,
    fingerprint: str,
    model: str,
    rows: Output[Dataset],
    used_model: Output[Model],
    sha256: str = "",
    header: str = "",
    names: List[str] = [],
    na_values: List[str] = [],
) -> None:
    """Take the model that is asked for, and read a table of rows to predict, all of its columns, in their order.

    The model is taken once, so that all steps of a run use the same, whatever is promoted meanwhile.

    Args:
        source: Path or glob of files, here or gs://…, a folder of Parquet files, or bq://project.dataset.table, as
            prepare_data takes them; no label is needed.
        fingerprint: Digest of the content of the source, so that a changed file is never taken from a cache; the step
            fails if it reads another. A text of another form, such as "", is not compared.
        model: Folder of a trained model, or a champion.json, which names that of the day; a path or gs://….
        sha256: SHA-256 that the model's file must have, "" for the one that is recorded of it.
        header: "true" or "false", whether the first row of a text file names its columns; "" finds out.
        names: Names of the columns of a file without a header.
        na_values: Words that stand for a missing value in text files; without any, those of the model's training.

    Returns:
        rows: The table as Parquet, with its numbers of rows and columns in the metadata.
        used_model: Folder with the model, with its SHA-256, label and classes in the metadata.
    """
    import os
    from tempfile import TemporaryDirectory

    from pyarrow import parquet

    from steps.model_folder import MODEL, read_facts
    from steps.prediction.model import take_model
    from steps.prediction.rows import blocks, open_rows
    from steps.tables.files import damage_told, require_unchanged
    from steps.tables.fingerprints import sha256 as sha256_of

    taken = take_model(model, sha256, used_model.path)
    facts = read_facts(used_model.path)
    with TemporaryDirectory() as folder, damage_told(source):
        table = open_rows(source, folder, taken[0].columns, facts, header, names, na_values, fingerprint)
        found = table.dataset.schema
        with parquet.ParquetWriter(rows.path, found) as writer:
            for block in blocks(table.dataset):
                writer.write_table(block)
        require_unchanged(table.files)
    n_rows = parquet.read_metadata(rows.path).num_rows
    print(f"{n_rows:,} rows, {len(found.names):,} columns", *table.notes, sep="\n")

    rows.metadata.update(source=os.path.basename(source.rstrip("/")), fingerprint=fingerprint, rows=n_rows)
    rows.metadata.update(columns=len(found.names))
    used_model.framework = "scikit-learn"
    used_model.metadata.update(file=MODEL, sha256=sha256_of(os.path.join(used_model.path, MODEL)))
    used_model.metadata.update(run=facts.get("run", ""), label=facts["label"])
    used_model.metadata.update(classes=facts["classes"])
