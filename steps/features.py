"""Turn the columns of a prepared table into what a tree learns from."""

import json

import pandas as pd
import pyarrow as pa
from pyarrow import parquet
from sklearn.pipeline import Pipeline, make_pipeline

from steps.cells import reading_of
from steps.raw_rows import MAX_DIFFERENCES, Features, RawRows


def readings_of(path: str) -> dict[str, dict[str, str]]:
    """Return how the columns of a Parquet file are to be read, by their types and what prepare-data noted of them.

    Raises:
        ValueError: a column holds lists, records or bytes; the message names it and says what to do.
    """
    return {field.name: {"kind": _kind(field)} | _noted(field) for field in parquet.read_schema(path)}


def _kind(field: pa.Field) -> str:
    kind, types = field.type, pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind) or "binary" in str(kind) or isinstance(kind, pa.BaseExtensionType):
        raise ValueError(
            f"The column {field.name!r} holds {field.type}, and a model learns from numbers, text, dates, times "
            "and true or false only. Turn it into one of them or leave it out."
        )
    if types.is_boolean(kind):
        return "boolean"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "date"
    if types.is_time(kind):
        return "time"
    if types.is_duration(kind):
        return "duration"
    return "text" if "string" in str(kind) else "number"


def _noted(field: pa.Field) -> dict[str, str]:
    zone = {"zone": field.type.tz} if pa.types.is_timestamp(field.type) and field.type.tz else {}
    reading: dict[str, str] = json.loads((field.metadata or {}).get(b"reading", b"{}"))
    return zone | reading


def fit_preprocessor(
    train: pd.DataFrame,
    passed_on: list[str],
    readings: dict[str, dict[str, str]],
    seed: int,
    is_quantity: bool = False,
) -> tuple[Pipeline, pd.DataFrame]:
    """Fit a preprocessor on training rows.

    Args:
        train: Training rows.
        passed_on: Names of the label and of the weights; no feature is named as they are.
        readings: How each column is read.
        seed: Seed of the encoder of longer text.
        is_quantity: Whether the label is a quantity: the words of a text tell its tenths.

    Returns:
        A scikit-learn Pipeline that takes the columns it needs out of raw rows, and the transformed training rows.

    Raises:
        ValueError: no column has a value.
    """
    columns = {name: _read_as(train[name], readings[name]) for name in train if name not in passed_on}
    pipeline = make_pipeline(RawRows(columns), Features(tuple(passed_on), seed))
    labels = train[passed_on[0]]
    if is_quantity:
        labels = pd.qcut(labels.rank(method="first"), min(10, len(labels)), labels=False)
    # codes of the classes, since scikit-learn takes classes such as 0.5 and 1.5 for quantities
    features = pipeline.fit_transform(train, pd.factorize(labels, sort=True)[0])
    if features.shape[1] == 0:
        raise ValueError("No column but the label has a value in the training part. Add columns to learn from.")
    empty = [name for name, outputs in pipeline[-1].outputs_.items() if not outputs]
    if empty:
        shown = ", ".join(map(repr, empty[:10])) + (f" and {len(empty) - 10:,} more" if len(empty) > 10 else "")
        print(f"Nothing is learned from {shown}: no value, or one date only, in the training part.")
    if pipeline[-1].n_pairs_left_out_:
        left_out = f"{pipeline[-1].n_pairs_left_out_:,} pairs of later columns are left out"
        print(f"The days between two dates are features of {MAX_DIFFERENCES} pairs; {left_out}.")
    return pipeline, features


def _read_as(values: pd.Series, reading: dict[str, str]) -> dict[str, str]:
    """Return how a column is read; text that prepare-data has not looked at may be numbers or dates."""
    if reading == {"kind": "text"}:
        return reading_of([*map(str, values.dropna().unique())]) or reading
    return reading
