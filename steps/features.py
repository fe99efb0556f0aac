"""Turn raw columns of any type into what a tree learns from."""

import numpy as np
import pandas as pd
import pyarrow as pa
import skrub
from pyarrow import parquet
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from skrub import (
    ApplyToCols,
    DatetimeEncoder,
    DropUninformative,
    SelectCols,
    StringEncoder,
    TableVectorizer,
    ToCategorical,
)
from skrub.selectors import numeric

MAX_CATEGORIES = 255  # 254 values and the rest as one more: the most that gradient boosting takes as categories


def time_columns(path: str) -> list[str]:
    """Return the columns of a Parquet file that hold times of day.

    Raises:
        ValueError: a column holds lists, records or bytes; the message names it and says what to do.
    """
    schema = parquet.read_schema(path)
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(kind) or "binary" in str(kind) or isinstance(kind, pa.BaseExtensionType):
            raise ValueError(
                f"The column {field.name!r} holds {field.type}, and a model learns from numbers, text, dates, times "
                "and true or false only. Turn it into one of them or leave it out."
            )
    return [field.name for field in schema if pa.types.is_time(field.type)]


def fit_preprocessor(
    train: pd.DataFrame, passed_on: list[str], times: list[str], seed: int
) -> tuple[Pipeline, pd.DataFrame]:
    """Fit a preprocessor on training rows.

    Args:
        train: Training rows.
        passed_on: Names of columns that nothing is learned from; no feature is named as they are.
        times: Names of columns of times of day.
        seed: Seed of the encoder of longer text.

    Returns:
        A scikit-learn Pipeline that takes the columns it needs out of raw rows, and the transformed training rows.

    Raises:
        ValueError: no column has a value.
    """
    X = train.drop(columns=passed_on)
    times = [name for name in times if name in X]
    steps = [SelectCols(list(X))]
    if as_text := times + dates_in_categories(X):
        steps.append(ApplyToCols(FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": "str"}), cols=as_text))
    if times:
        to_duration = {"func": pd.to_timedelta, "errors": "coerce"}
        steps.append(ApplyToCols(FunctionTransformer(pd.DataFrame.apply, kw_args=to_duration), cols=times))
    pipeline = make_pipeline(*steps, make_vectorizer(seed))
    features = pipeline.fit_transform(train)
    if features.shape[1] == 0:
        raise ValueError("No column but the label has a value in the training part. Add columns to learn from.")
    names = distinct(list(features), passed_on)
    if names != list(features):
        renamed = FunctionTransformer(pd.DataFrame.set_axis, kw_args={"labels": names, "axis": 1})
        pipeline.steps.append(("names", renamed))
        features.columns = names
    for name in features.select_dtypes("category"):
        features[name] = features[name].cat.remove_unused_categories()
    return pipeline, features


def transform_like(train: pd.DataFrame, pipeline: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Transform rows so that they have the categories of the transformed training rows; others become missing."""
    features = pipeline.transform(rows)
    for name in train.select_dtypes("category"):
        features[name] = features[name].cat.set_categories(train[name].cat.categories)
    return features


def dates_in_categories(frame: pd.DataFrame) -> list[str]:
    """Name the columns of categories that are dates written as text."""
    names = []
    for name, column in frame.select_dtypes("category").items():
        values = column.cat.remove_unused_categories().cat.categories.to_series()
        if pd.api.types.is_string_dtype(values) and not pd.api.types.is_string_dtype(skrub.to_datetime(values)):
            names.append(name)
    return names


def make_vectorizer(seed: int) -> TableVectorizer:
    """Make what turns the columns of one table into numbers and categories, each by its type."""
    # a leaf has 20 rows or more, and the values of fewer are one more category
    frequent = OrdinalEncoder(
        max_categories=MAX_CATEGORIES, min_frequency=20, handle_unknown="use_encoded_value", unknown_value=np.nan
    )
    as_category = make_pipeline(frequent, _cast("str"), _cast("category"))
    return TableVectorizer(
        cardinality_threshold=MAX_CATEGORIES,  # a column of as many values or more is text
        low_cardinality=ToCategorical(),
        high_cardinality=make_pipeline(
            ApplyToCols(StringEncoder(random_state=seed), keep_original=True), ApplyToCols(as_category, cols=~numeric())
        ),
        datetime=make_pipeline(
            DatetimeEncoder(add_weekday=True),
            ApplyToCols(DropUninformative(drop_if_constant=True), allow_reject=True),
        ),
    )


def _cast(dtype: str) -> FunctionTransformer:
    return FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": dtype}, feature_names_out="one-to-one")


def distinct(names: list[str], taken: list[str]) -> list[str]:
    """Return the names with underscores added where one is taken or comes twice, and without skrub's random tags."""
    found = set(taken)
    result = []
    for name in names:
        name = name.partition("__skrub_")[0]
        while name in found:
            name += "_"
        found.add(name)
        result.append(name)
    return result
