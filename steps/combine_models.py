"""Join the class models into the one model that people use."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import classes_of, sha256_of
from steps.shipping import ships


@ships(
    "steps.forest",
    "steps.searching.pairing",
    "steps.searching.spaces",
    "steps.searching.threads",
    "steps.weighted_vote",
    "steps.one_vs_rest",
    "steps.regression",
    "steps.quantities",
)
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skrub"),
    additional_funcs=[classes_of, sha256_of],
)
def combine_models(
    class_models: Input[List[Model]],
    preprocessor: Input[Artifact],
    train: Input[Dataset],
    model: Output[Model],
) -> None:
    """Join the class models and the preprocessor into one model of all classes, or of a quantity, that takes raw rows.

    It is made of scikit-learn's, skrub's and pandas' own classes and functions, so it loads wherever these are
    installed. It takes the columns that it needs by name, in whatever order and with whatever others they come.

    Args:
        class_models: One fitted classifier a class, each class against the rest, of two classes the second's alone, and
            perhaps a forest of all, or the parts of a regression; each has its code in class_code_.
        preprocessor: Preprocessor fitted on the training rows, a joblib file.
        train: Training rows as Parquet, for the names of the classes; the task and the label are in the metadata.

    Returns:
        model: Folder with the fitted scikit-learn Pipeline in model.joblib.
    """
    import os
    import shutil

    import joblib
    import pandas as pd
    from sklearn.pipeline import make_pipeline

    label = train.metadata["label"]
    task, labels = train.metadata.get("task", "classification"), pd.read_parquet(train.path, columns=[label])[label]
    parts = [joblib.load(class_model.path) for class_model in class_models]
    if task == "regression":
        from steps.regression import join

        classes, predictor = [], join(parts, labels)
    else:
        from steps.forest import ALL_CLASSES, vote_of
        from steps.one_vs_rest import join as join_classes

        classes = classes_of(labels)
        forests = [part for part in parts if part.class_code_ == ALL_CLASSES]
        predictor = join_classes([part for part in parts if part not in forests], classes)
        for forest in forests:
            predictor = vote_of(predictor, forest, labels.value_counts(normalize=True)[classes].to_numpy())

    shutil.rmtree(model.path, ignore_errors=True)  # anew, whatever a lost attempt has left there
    os.makedirs(model.path)
    file = os.path.join(model.path, "model.joblib")
    compress = 1 if hasattr(predictor, "members") else 0  # a forest is large
    joblib.dump(make_pipeline(*joblib.load(preprocessor.path), predictor), file, compress=compress)
    model.framework = "scikit-learn"
    model.metadata.update(file="model.joblib", sha256=sha256_of(file))
    model.metadata.update(task=task, label=label, classes=[str(name) for name in classes])
