"""The training pipeline, one box a task:

    prepare_data → split_data → preprocess → train_model (one per class, side by side) → combine_models → evaluate_model
        → promote_model

1. prepare_data    reads and checks the table, and finds its classes
2. split_data      holds the test rows back before anything is learned
3. preprocess      fits the preprocessor on the training rows
4. train_model     tells one class from the rest
5. combine_models  joins the class models into one classifier that takes raw rows
6. evaluate_model  scores it on the raw test rows
7. promote_model   makes it the champion if it is better than the one in use
"""

from typing import List

from kfp import dsl

from pipeline.judging import evaluate_and_promote
from pipeline.parameters import parameters_of
from steps.combine_models import combine_models
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.promote_model import promote_model
from steps.split_data import split_data
from steps.train_model import train_model


@dsl.pipeline(name="covertype-training", display_name="Forest cover training")
# what is not said here of a parameter, its default too, stands with the first of these steps that takes it
@parameters_of(train_model, split_data, preprocess, prepare_data, promote_model)
def training(
    source: str,
    fingerprint: str,
    task: str,
    test_size: float,
    max_iter: int,
    learning_rate: float,
    max_leaf_nodes: int,
    l2_regularization: float,
    balance_classes: bool,
    preset: str,
    weight: str,
    split_by: str,
    group_by: str,
    min_class_rows: int,
    schema_from: str,
    drop: List[str],
    keep: List[str],
    drop_unlabeled: bool,
    header: str,
    names: List[str],
    na_values: List[str],
    seed: int,
    champion: str,
    max_class_loss: float,
    licence: str,
    label: str = "Cover_Type",
) -> None:
    """Train one classifier per class against the rest, of two classes one, and combine them into one model of all.

    Args:
        schema_from: An earlier run of the identifier, to whose schema the table is held; empty for none.
        seed: Seed of the split, the preprocessing and the training, from 0 to 4,294,967,295.
    """
    prepared = prepare_data(
        source=source,
        label=label,
        fingerprint=fingerprint,
        task=task,
        preset=preset,
        min_class_rows=min_class_rows,
        weight=weight,
        split_by=split_by,
        group_by=group_by,
        schema_from=schema_from,
        drop=drop,
        keep=keep,
        drop_unlabeled=drop_unlabeled,
        header=header,
        names=names,
        na_values=na_values,
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
            preset=preset,
            seed=seed,
        )
        class_model.set_display_name("Train class model")

    combined = combine_models(
        class_models=dsl.Collected(class_model.outputs["class_model"]),
        preprocessor=features.outputs["preprocessor"],
        train=parts.outputs["train"],
    )
    combined.set_display_name("Combine models")

    evaluate_and_promote(combined.outputs["model"], parts, champion, max_class_loss, licence)
