"""Join the class models into the one model that people use."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import classes_of


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub"),
    additional_funcs=[classes_of],
)
def combine_models(
    class_models: Input[List[Model]],
    preprocessor: Input[Artifact],
    train: Input[Dataset],
    label: str,
    model: Output[Model],
):
    """Join the class models and the preprocessor into one classifier of all classes that takes raw rows.

    It is made of scikit-learn's, skrub's and pandas' own classes and functions, so it loads wherever these are
    installed. It takes the columns that it needs by name, in whatever order and with whatever others they come.

    Args:
        class_models: One fitted classifier a class, each class against the rest.
        preprocessor: Preprocessor fitted on the training rows, with the names of their columns in its metadata.
        train: Training rows as Parquet, for the names of the classes.
        label: Name of the column that holds the classes.

    Returns:
        model: Folder with the fitted scikit-learn Pipeline in model.joblib.
    """
    import hashlib
    import os

    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import LabelBinarizer

    classes = classes_of(pd.read_parquet(train.path, columns=[label])[label])
    # sorted, since loops may finish in any order
    class_models = sorted(class_models, key=lambda class_model: class_model.metadata["class_code"])
    classifier = OneVsRestClassifier(HistGradientBoostingClassifier())
    classifier.estimators_ = [joblib.load(class_model.path) for class_model in class_models]
    # text as objects, since numpy's own text drops characters of code 0 at the end
    names = np.array(classes, dtype=object if isinstance(classes[0], str) else None)
    classifier.label_binarizer_ = LabelBinarizer().fit(names)
    classifier.classes_ = classifier.label_binarizer_.classes_ = names
    classifier.label_binarizer_.y_type_ = "multiclass"  # of two classes, too, each has a model of its own

    os.makedirs(model.path)
    file = os.path.join(model.path, "model.joblib")
    joblib.dump(make_pipeline(*joblib.load(preprocessor.path), classifier), file)
    model.framework = "scikit-learn"
    model.metadata["file"] = "model.joblib"
    with open(file, "rb") as written:
        model.metadata["sha256"] = hashlib.file_digest(written, "sha256").hexdigest()
    model.metadata["columns"] = preprocessor.metadata["inputs"]
    model.metadata["label"] = label
    model.metadata["classes"] = [str(name) for name in classes]
