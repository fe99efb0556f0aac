"""Turn raw columns of any type into what a tree learns from."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.features", "steps.raw_rows", "steps.cells")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skrub"),
)
def preprocess(
    train: Input[Dataset],
    test: Input[Dataset],
    train_features: Output[Dataset],
    test_features: Output[Dataset],
    preprocessor: Output[Artifact],
    seed: int = 0,
) -> None:
    """Fit a preprocessor on the training part only and transform both parts with it.

    Numbers stay numbers with all of their digits, and missing ones stay missing; a date becomes year, month, day, hour
    and weekday, as far as they vary, and the seconds since 1970, and two dates also the days between them, of up to 15
    pairs; a time of day or a duration becomes seconds. Text of up to 254 values becomes a category, and "5", 5 and 5.0
    are one; text of more values becomes a category of its most frequent ones, 30 numbers that tell like texts from
    unlike ones and, where they tell more than its share, a score of each class. By words, letters or both is settled
    for each column by training rows that were not learned from. A category that the training part does not have becomes
    missing. The label and the weights are passed on.

    Args:
        train: Training rows as Parquet, with the names of the label and the weight in the metadata.
        test: Test rows as Parquet.
        seed: Seed of the encoders of longer text, from 0 to 4,294,967,295.

    Returns:
        train_features: Transformed training rows, their labels and weights as Parquet.
        test_features: Transformed test rows, their labels and weights as Parquet.
        preprocessor: Fitted scikit-learn Pipeline that takes the columns it needs out of raw rows, a joblib file.
    """
    import joblib
    import pandas as pd

    from steps.features import fit_preprocessor, readings_of

    roles = {"label": train.metadata["label"], "weight": train.metadata.get("weight", "")}
    passed_on = [roles["label"], *filter(None, [roles["weight"]])]  # a column of classes may be named ""
    task, readings = train.metadata.get("task", ""), readings_of(train.path)

    def write(X: pd.DataFrame, frame: pd.DataFrame, features: Dataset) -> None:
        X.join(frame[passed_on]).to_parquet(features.path)
        features.metadata.update(roles, task=task)

    frame = pd.read_parquet(train.path)
    pipeline, X = fit_preprocessor(frame, passed_on, readings, seed, task == "regression")
    joblib.dump(pipeline, preprocessor.path)
    preprocessor.metadata.update(inputs=len(pipeline[0].columns), outputs=X.shape[1])
    write(X, frame, train_features)
    del X, frame  # before the test rows come, or both are in memory
    frame = pd.read_parquet(test.path)
    write(pipeline.transform(frame), frame, test_features)
