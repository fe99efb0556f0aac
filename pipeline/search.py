# ruff: noqa: UP006, UP035 (KFP reads List[str])
"""The search for a better model, one box a task:

    prepare_data → split_data → preprocess → propose_candidates → score_candidate (side by side, on a part of the rows)
        → choose_candidates → score_candidate (the best third, on all) → choose_models → fit_member (side by side)
        → combine_members → evaluate_model → promote_model

The first three and the last two are those of training. What is between chooses on validation rows, which are held back
from the training rows; the test rows are for evaluate_model alone.
"""

from typing import List

from kfp import dsl

from pipeline.judging import evaluate_and_promote
from pipeline.parameters import parameters_of
from steps.choose_candidates import choose_candidates
from steps.choose_models import choose_models
from steps.combine_members import combine_members
from steps.fit_member import fit_member
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.promote_model import promote_model
from steps.propose_candidates import propose_candidates
from steps.score_candidate import score_candidate
from steps.split_data import split_data


@dsl.pipeline(name="covertype-search", display_name="Forest cover search")
@parameters_of(propose_candidates, choose_models, split_data, preprocess, prepare_data, promote_model)
def search(
    source: str,
    fingerprint: str,
    minutes: float,
    candidates: int,
    metric: str,
    validation_size: float,
    side_by_side: int,
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
) -> None:
    """Try learners and their parameters on validation rows, and join the best into one model.

    Args:
        schema_from: An earlier run of the identifier, to whose schema the table is held; empty for none.
        seed: Seed of the split, the preprocessing, the candidates and the training, from 0 to 4,294,967,295.
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

    proposed = propose_candidates(
        dataset=prepared.outputs["dataset"],
        train=parts.outputs["train"],
        train_features=train_features,
        minutes=minutes,
        candidates=candidates,
        metric=metric,
        validation_size=validation_size,
        side_by_side=side_by_side,
        seed=seed,
    )
    proposed.set_display_name("Propose candidates")
    rows = proposed.outputs["rows"]

    with dsl.ParallelFor(proposed.outputs["Output"], name="candidates") as name:
        tried = score_candidate(
            name=name, train_features=train_features, plan=proposed.outputs["plan"], rows=rows, seed=seed
        )
        tried.set_display_name("Score candidate")

    better = choose_candidates(scored=dsl.Collected(tried.outputs["scored"]), plan=proposed.outputs["plan"], rows=rows)
    better.set_display_name("Choose candidates")

    with dsl.ParallelFor(better.outputs["Output"], name="better candidates") as name:
        again = score_candidate(
            name=name, train_features=train_features, plan=better.outputs["next_plan"], rows=rows, seed=seed
        )
        again.set_display_name("Score on all rows")

    best = choose_models(
        first=dsl.Collected(tried.outputs["scored"]),
        last=dsl.Collected(again.outputs["scored"]),
        plan=better.outputs["next_plan"],
        rows=rows,
        max_model_mb=max_model_mb,
    )
    best.set_display_name("Choose models")

    with dsl.ParallelFor(best.outputs["Output"], name="members") as name:
        fitted = fit_member(
            name=name, train_features=train_features, chosen=best.outputs["chosen"], rows=rows, seed=seed
        )
        fitted.set_display_name("Fit member")

    combined = combine_members(
        members=dsl.Collected(fitted.outputs["member"]),
        chosen=best.outputs["chosen"],
        preprocessor=features.outputs["preprocessor"],
        train=parts.outputs["train"],
    )
    combined.set_display_name("Combine members")

    evaluate_and_promote(combined.outputs["model"], parts, champion, max_class_loss, licence)
