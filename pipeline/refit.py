# ruff: noqa: UP006, UP035 (KFP reads List[str])
"""What a search has found, on the rows of a table as they are now, one box a task:

    prepare_data → split_data → preprocess → take_members → fit_member (side by side) → combine_members
        → evaluate_model → promote_model

The members keep their learners, parameters, rounds and weights, so that nothing is tried and no time is shared out.
"""

from typing import List

from kfp import dsl

from pipeline.judging import evaluate_and_promote
from pipeline.parameters import parameters_of
from steps.combine_members import combine_members
from steps.fit_member import fit_member
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.promote_model import promote_model
from steps.split_data import split_data
from steps.take_members import take_members


@dsl.pipeline(name="covertype-refit", display_name="Forest cover refit")
@parameters_of(take_members, split_data, preprocess, prepare_data, promote_model)
def refit(
    source: str,
    members: str,
    fingerprint: str,
    max_model_mb: float,
    test_size: float,
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
    from_search: str = "",
) -> None:
    """Fit the members that a search has found on the rows of a table, and join them into one model.

    Args:
        schema_from: An earlier run of the identifier, to whose schema the table is held; empty for none.
        from_search: Id of the run that has found the members, for the record.
        seed: Seed of the split, the preprocessing and the training, from 0 to 4,294,967,295.
    """
    prepared = prepare_data(
        source=source,
        label=label,
        fingerprint=fingerprint,
        task="classification",
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
    train_features = features.outputs["train_features"]

    taken = take_members(train_features=train_features, members=members, max_model_mb=max_model_mb)
    taken.set_display_name("Take members")

    with dsl.ParallelFor(taken.outputs["Output"], name="members") as name:
        fitted = fit_member(
            name=name,
            train_features=train_features,
            chosen=taken.outputs["chosen"],
            rows=taken.outputs["rows"],
            seed=seed,
        )
        fitted.set_display_name("Fit member")

    combined = combine_members(
        members=dsl.Collected(fitted.outputs["member"]),
        chosen=taken.outputs["chosen"],
        preprocessor=features.outputs["preprocessor"],
        train=parts.outputs["train"],
    )
    combined.set_display_name("Combine members")

    evaluate_and_promote(combined.outputs["model"], parts, champion, max_class_loss, licence)
