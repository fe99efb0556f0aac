"""Take the members that a search has found, and get them ready for other rows."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import classes_of
from steps.shipping import ships


@ships("steps.searching", "steps.weighted_vote", "steps.splitting")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("numpy", "pandas", "pyarrow", "scikit-learn"),
    additional_funcs=[classes_of],
)
def take_members(
    train_features: Input[Dataset],
    members: str,
    chosen: Output[Artifact],
    rows: Output[Artifact],
    max_model_mb: float = 200.0,
) -> List[str]:
    """Take the members of a search with their weights, parameters and rounds; nothing is tried again.

    Args:
        train_features: Transformed training rows, their labels and weights as Parquet.
        members: What the search has found, as JSON: its members, the pairs of columns, the exponent of the class
            shares, and how many training rows it had.
        max_model_mb: Most megabytes of the model in its compressed file, from 0.1 to 100,000; where a forest has grown
            with the rows, all members get fewer rounds.

    Returns:
        chosen: The members with weights, rounds, rows and seconds, and the divisors of the classes, as JSON.
        rows: The classes of the rows, a file of NumPy.
        Output: Names of the members.
    """
    import json

    import numpy as np
    import pandas as pd

    from steps.searching.refitting import refitted
    from steps.searching.rows import Rows
    from steps.searching.trying import read_features

    labels = pd.read_parquet(train_features.path, columns=[train_features.metadata["label"]]).iloc[:, 0]
    classes = classes_of(labels)
    codes = pd.Index(classes).get_indexer(labels)
    X, _ = read_features(train_features.path, train_features.metadata)
    decided = refitted(json.loads(members), X, codes, max_model_mb)
    with open(chosen.path, "w", encoding="utf-8") as file:
        json.dump(decided, file, indent=1)
    Rows(codes, np.full(len(codes), -1), np.arange(len(codes)), len(classes)).write(rows.path)
    for member in decided["members"]:
        print(f"{member['name']}: weight {member['weight']:.2f}, {member['rounds']} rounds")
    return [member["name"] for member in decided["members"]]
