"""Hold rows to what a model was trained on, before any is predicted."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.tables", "steps.cells", "steps.prediction", "steps.model_folder", "steps.places")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub", "xgboost-cpu"),
)
def check_rows(rows: Input[Dataset], used_model: Input[Model], notes: Output[Artifact]) -> None:
    """Check that rows have the columns that a model takes, of its kinds; missing ones and other kinds are refused.

    New columns and categories, values that cannot be read, and numbers and dates outside of those in training hinder no
    prediction and are told with their counts.

    Args:
        rows: Rows to predict as Parquet.
        used_model: Folder with the model, with its SHA-256 and label in the metadata.

    Returns:
        notes: What is to be known of the rows, as a JSON list of lines, with their number in the metadata.
    """
    import json
    import os

    import pandas as pd
    from pyarrow import dataset

    from steps.model_folder import REFERENCE, load_model
    from steps.prediction.checking import RowsCheck
    from steps.prediction.rows import blocks

    model, table = load_model(used_model.path, used_model.metadata["sha256"]), dataset.dataset(rows.path)
    reference = pd.read_parquet(os.path.join(used_model.path, REFERENCE))
    check = RowsCheck(model, reference, table.schema.names, used_model.metadata["label"])
    for block in blocks(table, [*model[0].columns]):
        check.add(block)
    found = check.notes()
    print(*found, sep="\n")
    with open(notes.path, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)
    notes.metadata.update(rows=check.rows, notes=len(found), new_columns=len(check.new_columns))
