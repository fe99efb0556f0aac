"""Turn raw columns of any type into what a tree learns from."""

from typing import TYPE_CHECKING

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from skrub import TableVectorizer


def check_types(schema: "pa.Schema") -> None:
    """Check that each column holds single values that can be read.

    Raises:
        ValueError: a column holds lists, records or bytes; the message names it and says what to do.
    """
    import pyarrow as pa

    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(kind) or "binary" in str(kind) or isinstance(kind, pa.BaseExtensionType):
            raise ValueError(
                f"The column {field.name!r} holds {field.type}, and a model learns from numbers, text, dates, times "
                "and true or false only. Turn it into one of them or leave it out."
            )


def dates_in_categories(frame: "pd.DataFrame") -> list:
    """Name the columns of categories that are dates written as text."""
    import pandas as pd
    import skrub

    names = []
    for name, column in frame.select_dtypes("category").items():
        values = column.cat.remove_unused_categories().cat.categories.to_series()
        if pd.api.types.is_string_dtype(values) and not pd.api.types.is_string_dtype(skrub.to_datetime(values)):
            names.append(name)
    return names


def make_vectorizer(seed: int) -> "TableVectorizer":
    """Make what turns the columns of one table into numbers and categories, each by its type."""
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
    from skrub import ApplyToCols, DatetimeEncoder, DropUninformative, StringEncoder, TableVectorizer, ToCategorical
    from skrub.selectors import numeric

    def cast(dtype: str) -> FunctionTransformer:
        return FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": dtype}, feature_names_out="one-to-one")

    # 254 values, the rest as one more: the most that gradient boosting takes as categories; a leaf has 20 rows or more
    frequent = OrdinalEncoder(
        max_categories=255, min_frequency=20, handle_unknown="use_encoded_value", unknown_value=np.nan
    )
    return TableVectorizer(
        cardinality_threshold=255,  # a column of as many values or more is text
        low_cardinality=ToCategorical(),
        high_cardinality=make_pipeline(
            ApplyToCols(StringEncoder(random_state=seed), keep_original=True),
            ApplyToCols(make_pipeline(frequent, cast("str"), cast("category")), cols=~numeric()),
        ),
        datetime=make_pipeline(
            DatetimeEncoder(add_weekday=True),
            ApplyToCols(DropUninformative(drop_if_constant=True), allow_reject=True),
        ),
    )


def distinct(names: list, taken: list) -> list:
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


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub"),
    additional_funcs=[check_types, dates_in_categories, make_vectorizer, distinct],
)
def preprocess(
    train: Input[Dataset],
    test: Input[Dataset],
    label: str,
    train_features: Output[Dataset],
    test_features: Output[Dataset],
    preprocessor: Output[Artifact],
    weight: str = "",
    seed: int = 0,
):
    """Fit a preprocessor on the training part only and transform both parts with it.

    Numbers stay numbers and missing ones stay missing; a date becomes year, month, day, hour and weekday, as far as
    they vary, and the seconds since 1970; a time of day or a duration becomes seconds. Text of up to 254 values
    becomes a category; text of more values becomes a category of its 254 most frequent ones, the rest one value, and
    30 numbers that describe its letters. A category that the training part does not have becomes missing.

    Args:
        train: Training rows as Parquet.
        test: Test rows as Parquet.
        label: Name of the column that holds the classes; it is passed on as it is.
        weight: Column of the rows' weights, which is passed on as it is; empty for none.
        seed: Seed of the encoder of longer text, from 0 to 4,294,967,295.

    Returns:
        train_features: Transformed training rows, their labels and weights as Parquet.
        test_features: Transformed test rows, their labels and weights as Parquet.
        preprocessor: Fitted scikit-learn Pipeline that takes the columns it needs out of raw rows, a joblib file.
    """
    import joblib
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from skrub import ApplyToCols, SelectCols

    schema = parquet.read_schema(train.path)
    check_types(schema)
    train_frame, test_frame = pd.read_parquet(train.path), pd.read_parquet(test.path)
    passed_on = [label, weight] if weight else [label]
    X = train_frame.drop(columns=passed_on)

    times = [field.name for field in schema if field.name in X and pa.types.is_time(field.type)]
    steps = [SelectCols(list(X))]
    if as_text := times + dates_in_categories(X):
        steps.append(ApplyToCols(FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": "str"}), cols=as_text))
    if times:
        to_duration = {"func": pd.to_timedelta, "errors": "coerce"}
        steps.append(ApplyToCols(FunctionTransformer(pd.DataFrame.apply, kw_args=to_duration), cols=times))
    pipeline = make_pipeline(*steps, make_vectorizer(seed))
    train_X = pipeline.fit_transform(train_frame)
    if train_X.shape[1] == 0:
        raise ValueError("No column but the label has a value in the training part. Add columns to learn from.")
    names = distinct(list(train_X), passed_on)
    if names != list(train_X):
        renamed = FunctionTransformer(pd.DataFrame.set_axis, kw_args={"labels": names, "axis": 1})
        pipeline.steps.append(("names", renamed))
        train_X.columns = names
    test_X = pipeline.transform(test_frame)
    for name in train_X.select_dtypes("category"):
        train_X[name] = train_X[name].cat.remove_unused_categories()
        test_X[name] = test_X[name].cat.set_categories(train_X[name].cat.categories)

    preprocessor.metadata["inputs"] = list(X)
    preprocessor.metadata["outputs"] = names
    joblib.dump(pipeline, preprocessor.path)
    for part, frame, features in ((train_X, train_frame, train_features), (test_X, test_frame, test_features)):
        for name in passed_on:
            part[name] = frame[name]
        part.to_parquet(features.path)
