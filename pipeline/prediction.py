# ruff: noqa: UP006, UP035 (KFP reads List[str])
"""The prediction pipeline, one box a task:

    read_rows → check_rows → predict_rows → measure_drift → stop_on_drift

1. read_rows      takes the model that is asked for, and reads the table
2. check_rows     holds the table to what the model was trained on
3. predict_rows   predicts each row, and scores them where the label comes along
4. measure_drift  compares the rows with the training rows, and the predicted classes
5. stop_on_drift  fails where they lie too far apart, when all is written
"""

from typing import List

from kfp import dsl

from pipeline.parameters import parameters_of
from steps.check_rows import check_rows
from steps.measure_drift import measure_drift
from steps.predict_rows import predict_rows
from steps.read_rows import read_rows
from steps.stop_on_drift import stop_on_drift


@dsl.pipeline(name="covertype-prediction", display_name="Forest cover prediction")
@parameters_of(read_rows, predict_rows, measure_drift)
def prediction(
    source: str,
    fingerprint: str,
    model: str,
    sha256: str,
    keep: List[str],
    as_csv: bool,
    max_drift: float,
    tolerate: List[str],
    header: str,
    names: List[str],
    na_values: List[str],
) -> None:
    """Predict the rows of a table by a trained model, and tell how far they lie from those that it was trained on."""
    read = read_rows(
        source=source,
        fingerprint=fingerprint,
        model=model,
        sha256=sha256,
        header=header,
        names=names,
        na_values=na_values,
    )
    read.set_display_name("Read rows")

    checked = check_rows(rows=read.outputs["rows"], used_model=read.outputs["used_model"])
    checked.set_display_name("Check rows")

    predicted = predict_rows(
        rows=read.outputs["rows"],
        used_model=read.outputs["used_model"],
        notes=checked.outputs["notes"],
        keep=keep,
        as_csv=as_csv,
    )
    predicted.set_display_name("Predict rows")

    measured = measure_drift(
        rows=read.outputs["rows"],
        used_model=read.outputs["used_model"],
        notes=checked.outputs["notes"],
        predicted=predicted.outputs["predicted"],
        max_drift=max_drift,
        tolerate=tolerate,
    )
    measured.set_display_name("Measure drift")

    stop = stop_on_drift(drifted=measured.outputs["Output"], max_drift=max_drift)
    stop.set_display_name("Stop on drift")
