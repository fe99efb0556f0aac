"""The step of churn that learns: the script's model."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import sha256_of


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skrub"),
    additional_funcs=[sha256_of],
)
def train_churn(
    train_features: Input[Dataset],
    preprocessor: Input[Artifact],
    model: Output[Model],
    C: float = 0.5,
) -> None:
    """Fit a logistic regression, and join it with the preprocessor into one model that takes raw rows.

    Args:
        train_features: Transformed training rows and their labels as Parquet, with the label's name in the metadata.
        preprocessor: Preprocessor fitted on the training rows, a joblib file.
        C: How freely the weights may grow, from 0.0001 to 10,000.

    Returns:
        model: Folder with the fitted scikit-learn Pipeline in model.joblib.
    """
    import os

    import joblib
    import pandas as pd
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    label = train_features.metadata["label"]
    frame = pd.read_parquet(train_features.path)
    X, y = frame.drop(columns=label), frame[label]

    features = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    classifier = make_pipeline(features, LogisticRegression(C=C, max_iter=1_000))
    classifier.fit(X, y)

    os.makedirs(model.path, exist_ok=True)
    file = os.path.join(model.path, "model.joblib")
    joblib.dump(make_pipeline(*joblib.load(preprocessor.path), classifier), file)
    model.framework = "scikit-learn"
    model.metadata.update(file="model.joblib", sha256=sha256_of(file), task="classification", label=label)
    model.metadata.update(classes=[str(name) for name in classifier.classes_])
