"""Turn raw columns of any type into what a tree learns from."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned


@dsl.component(
    base_image=BASE_IMAGE, packages_to_install=pinned("joblib", "pandas", "pyarrow", "scikit-learn", "skrub")
)
def preprocess(
    train: Input[Dataset],
    test: Input[Dataset],
    label: str,
    train_features: Output[Dataset],
    test_features: Output[Dataset],
    preprocessor: Output[Artifact],
    seed: int = 0,
):
    """Fit a preprocessor on the training part only and transform both parts with it.

    Numbers stay numbers and missing ones stay missing, text of up to 254 values becomes categories, longer text
    and dates become numbers. A category that the training part does not have becomes missing.

    Args:
        train: Training rows as Parquet.
        test: Test rows as Parquet.
        label: Name of the column that holds the classes; it is passed on as it is.
        seed: Seed of the encoder of longer text.

    Returns:
        train_features: Transformed training rows and their labels as Parquet.
        test_features: Transformed test rows and their labels as Parquet.
        preprocessor: Fitted skrub TableVectorizer, a joblib file.
    """
    import joblib
    import pandas as pd
    from skrub import StringEncoder, TableVectorizer, ToCategorical

    train_frame, test_frame = pd.read_parquet(train.path), pd.read_parquet(test.path)
    vectorizer = TableVectorizer(
        cardinality_threshold=255,  # a column of as many values or more is text
        low_cardinality=ToCategorical(),
        high_cardinality=StringEncoder(random_state=seed),
    )
    train_X = vectorizer.fit_transform(train_frame.drop(columns=label))
    test_X = vectorizer.transform(test_frame.drop(columns=label))
    for name in train_X.select_dtypes("category"):
        train_X[name] = train_X[name].cat.remove_unused_categories()
        test_X[name] = test_X[name].cat.set_categories(train_X[name].cat.categories)

    train_X.assign(**{label: train_frame[label]}).to_parquet(train_features.path)
    test_X.assign(**{label: test_frame[label]}).to_parquet(test_features.path)
    joblib.dump(vectorizer, preprocessor.path)
    preprocessor.metadata["inputs"] = list(vectorizer.feature_names_in_)
    preprocessor.metadata["outputs"] = list(train_X.columns)
