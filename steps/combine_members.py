"""Join the members of a search into the one model that people use."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import classes_of, sha256_of
from steps.shipping import ships


@ships("steps.weighted_vote")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub", "xgboost-cpu"),
    additional_funcs=[classes_of, sha256_of],
)
def combine_members(
    members: Input[List[Model]],
    chosen: Input[Artifact],
    preprocessor: Input[Artifact],
    train: Input[Dataset],
    model: Output[Model],
) -> None:
    """Join the members and the preprocessor into one classifier of all classes that takes raw rows.

    It loads wherever scikit-learn, skrub and pandas are installed, and xgboost-cpu if a member is of it: its metadata
    name that under packages.

    Args:
        members: The fitted members.
        chosen: Their weights, and the divisors of the classes.
        preprocessor: Preprocessor fitted on the training rows, a joblib file.
        train: Training rows as Parquet, for the names of the classes; the label's name is in the metadata.

    Returns:
        model: Folder with the fitted scikit-learn Pipeline in model.joblib.
    """
    import json
    import os
    import shutil

    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import make_pipeline

    from steps.weighted_vote import WeightedVote

    with open(chosen.path, encoding="utf-8") as text:
        decided = json.load(text)
    label = train.metadata["label"]
    classes = classes_of(pd.read_parquet(train.path, columns=[label])[label])
    weights = {member["name"]: member["weight"] for member in decided["members"]}
    # sorted, since loops may finish in any order
    loaded = sorted((joblib.load(member.path) for member in members), key=lambda member: member["name"])
    vote = WeightedVote(
        [member["pipeline"] for member in loaded],
        [member["known"] for member in loaded],
        [weights[member["name"]] for member in loaded],
        pd.Index(classes).to_numpy(),  # by pandas: numpy's own text drops characters of code 0 at the end
        np.array(decided["divisors"]),
    )

    shutil.rmtree(model.path, ignore_errors=True)  # anew, whatever a lost attempt has left there
    os.makedirs(model.path)
    file = os.path.join(model.path, "model.joblib")
    joblib.dump(make_pipeline(*joblib.load(preprocessor.path), vote), file, compress=1)  # a forest is large
    model.framework = "scikit-learn"
    model.metadata.update(file="model.joblib", sha256=sha256_of(file))
    model.metadata.update(label=label, classes=[str(name) for name in classes], packages=vote.packages)
