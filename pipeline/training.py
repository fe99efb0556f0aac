"""The training pipeline, one box a task:

    prepare_data → split_data → preprocess → train_model (one per class, side by side) → combine_models → evaluate_model

1. prepare_data    reads and checks the table, and finds its classes
2. split_data      holds the test rows back before anything is learned
3. preprocess      fits the preprocessor on the training rows
4. train_model     tells one class from the rest
5. combine_models  joins the class models into one classifier that takes raw rows
6. evaluate_model  scores it on the raw test rows
"""

from typing import List

from kfp import dsl

from steps.combine_models import combine_models
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model

NAMES = ("that is a list of column names", lambda names: all(isinstance(name, str) for name in names))
# what a value must be beyond its type: a mistake is told before anything starts
CONDITIONS = {
    "test_size": ("between 0 and 1", lambda value: 0 < value < 1),
    "max_iter": ("of at least 1", lambda value: value >= 1),
    "learning_rate": ("above 0", lambda value: value > 0),
    "max_leaf_nodes": ("of at least 2", lambda value: value >= 2),
    "l2_regularization": ("of at least 0", lambda value: value >= 0),
    "min_class_rows": ("of at least 0", lambda value: value >= 0),
    "drop": NAMES,
    "keep": NAMES,
    "seed": ("from 0 to 4294967295", lambda value: 0 <= value < 2**32),
}


@dsl.pipeline(name="covertype-training", display_name="Forest cover training")
def training(
    source: str,
    fingerprint: str,
    label: str = "Cover_Type",
    test_size: float = 0.2,
    max_iter: int = 100,
    learning_rate: float = 0.2,
    max_leaf_nodes: int = 63,
    l2_regularization: float = 1.0,
    balance_classes: bool = False,
    weight: str = "",
    split_by: str = "",
    group_by: str = "",
    min_class_rows: int = 0,
    schema_from: str = "",
    drop: List[str] = [],
    keep: List[str] = [],
    seed: int = 0,
):
    """Train one classifier per class against the rest and combine them into one model of all classes.

    Args:
        source: Place of the table: CSV or Parquet files, or a BigQuery table.
        fingerprint: Digest of the content of the source, so that a changed file is never taken from a cache.
        label: Name of the column that holds the classes.
        test_size: Share of the rows held back for the test, between 0 and 1.
        max_iter: Number of trees of each class model.
        learning_rate: Weight of each tree, above 0.
        max_leaf_nodes: Largest number of leaves of a tree, at least 2.
        l2_regularization: Penalty on large leaf values, 0 for none; rare classes need some.
        balance_classes: Whether the rows of a class weigh as much as all the others together.
        weight: Column of the rows' weights in training; empty for equal ones.
        split_by: Column of times or numbers: train on the oldest rows, test on the newest; empty for at random.
        group_by: Column of groups, none of which is on both sides of the split; empty for at random.
        min_class_rows: Classes of fewer rows are left out with their rows; 0 leaves none out.
        schema_from: An earlier run of the identifier, to whose schema the table is held; empty for none.
        drop: Columns to leave out, one name or a JSON list of them.
        keep: Columns that stay, though they look like identifiers, one name or a JSON list of them.
        seed: Seed of the split, the preprocessing and the training.
    """
    prepared = prepare_data(
        source=source,
        label=label,
        fingerprint=fingerprint,
        min_class_rows=min_class_rows,
        weight=weight,
        split_by=split_by,
        group_by=group_by,
        schema_from=schema_from,
        drop=drop,
        keep=keep,
    )
    prepared.set_display_name("Prepare data")

    parts = split_data(dataset=prepared.outputs["dataset"], test_size=test_size, seed=seed)
    parts.set_display_name("Split data")

    features = preprocess(train=parts.outputs["train"], test=parts.outputs["test"], seed=seed)
    features.set_display_name("Preprocess")

    with dsl.ParallelFor(prepared.outputs["Output"], name="classes") as class_code:
        class_model = train_model(
            train_features=features.outputs["train_features"],
            class_code=class_code,
            max_iter=max_iter,
            learning_rate=learning_rate,
            max_leaf_nodes=max_leaf_nodes,
            l2_regularization=l2_regularization,
            balance_classes=balance_classes,
            seed=seed,
        )
        class_model.set_display_name("Train class model")

    combined = combine_models(
        class_models=dsl.Collected(class_model.outputs["class_model"]),
        preprocessor=features.outputs["preprocessor"],
        train=parts.outputs["train"],
    )
    combined.set_display_name("Combine models")

    evaluation = evaluate_model(model=combined.outputs["model"], test=parts.outputs["test"])
    evaluation.set_display_name("Evaluate model")
