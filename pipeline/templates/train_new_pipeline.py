"""The step of new_pipeline that learns."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import sha256_of


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skrub"),
    additional_funcs=[sha256_of],
)
def train_new_pipeline(
    train_features: Input[Dataset],
    preprocessor: Input[Artifact],
    model: Output[Model],
    max_iter: int = 100,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> None:
    """Fit a classifier, and join it with the preprocessor into one model that takes raw rows.

    Args:
        train_features: Transformed training rows and their labels as Parquet, with the label's name in the metadata.
        preprocessor: Preprocessor fitted on the training rows, a joblib file.
        max_iter: Number of trees, from 1 to 10,000.
        learning_rate: Share of each tree's correction, from 0.001 to 1.
        seed: Seed of the classifier, from 0 to 4,294,967,295.

    Returns:
        model: Folder with the fitted scikit-learn Pipeline in model.joblib.
    """
    import os

    import joblib
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline

    label = train_features.metadata["label"]
    frame = pd.read_parquet(train_features.path)
    X, y = frame.drop(columns=label), frame[label]

    classifier = HistGradientBoostingClassifier(max_iter=max_iter, learning_rate=learning_rate, random_state=seed)
    classifier.fit(X, y)

    os.makedirs(model.path, exist_ok=True)
    file = os.path.join(model.path, "model.joblib")
    joblib.dump(make_pipeline(*joblib.load(preprocessor.path), classifier), file)
    model.framework = "scikit-learn"
    model.metadata.update(file="model.joblib", sha256=sha256_of(file), task="classification", label=label)
    model.metadata.update(classes=[str(name) for name in classifier.classes_])
