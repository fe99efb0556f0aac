"""Predict the class of each row, or estimate its quantity."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships(
    "steps.tables",
    "steps.cells",
    "steps.raw_rows",
    "steps.prediction",
    "steps.evaluation.measures",
    "steps.evaluation.quantities",
    "steps.model_folder",
    "steps.places",
)
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned(
        "joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skrub", "threadpoolctl", "xgboost-cpu"
    ),
)
def predict_rows(
    rows: Input[Dataset],
    used_model: Input[Model],
    notes: Input[Artifact],
    predicted: Output[Dataset],
    metrics: Output[Metrics],
    keep: List[str] = [],
    as_csv: bool = False,
) -> None:
    """Predict the class or the quantity of each row, in blocks, so that a table of any length takes little memory.

    Args:
        rows: Rows to predict as Parquet.
        used_model: Folder with the model, with its SHA-256 and label in the metadata.
        notes: What the check of the rows has told; they are predicted only after it.
        keep: Names of columns of the rows to keep beside their predictions, such as that of a key.
        as_csv: Whether the predictions are written as CSV, otherwise as Parquet.

    Returns:
        predicted: Folder with predictions.parquet or predictions.csv: one row a row, in their order, with the columns
            to keep, class, probability_… of each class, and margin, the difference of the two highest probabilities; of
            a quantity predicted, and lower and upper of its interval.
        metrics: Where the rows have the label, labelled_rows, and on them accuracy and macro_f1, or r2,
            mean_absolute_error, root_mean_squared_error, mean_squared_error and interval_coverage.
    """
    import os
    import shutil

    from pyarrow import dataset

    from steps.model_folder import load_model
    from steps.prediction.predicting import predict
    from steps.tables.fingerprints import sha256

    label, table = used_model.metadata["label"], dataset.dataset(rows.path)
    model = load_model(used_model.path, used_model.metadata["sha256"])
    shutil.rmtree(predicted.path, ignore_errors=True)  # anew, whatever a lost attempt has left there
    os.makedirs(predicted.path)
    file = "predictions.csv" if as_csv else "predictions.parquet"
    path = os.path.join(predicted.path, file)
    found = predict(model, table, path, keep, label if label in table.schema.names else None, as_csv)

    for name, value in found.figures().items():
        metrics.log_metric(name, value)
    predicted.metadata.update(file=file, sha256=sha256(path), rows=found.rows, classes=found.classes)
    predicted.metadata.update(class_mix=[*found.class_mix.values()], figures=found.figures())
