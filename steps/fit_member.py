"""Fit one of the models that a search has chosen, on all training rows."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.searching", "steps.weighted_vote", "steps.splitting")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost-cpu"),
)
def fit_member(
    name: str,
    train_features: Input[Dataset],
    chosen: Input[Artifact],
    rows: Input[Artifact],
    member: Output[Model],
    seed: int = 0,
) -> None:
    """Fit a member with the rounds that were best on the validation rows, or those that its time allows.

    Args:
        name: Name of the member.
        train_features: Transformed training rows, their labels and weights as Parquet.
        chosen: The members, with rounds, rows and seconds.
        rows: The classes of the rows, and the order in which some are taken where the time is short.
        seed: Seed of the learner, from 0 to 4,294,967,295.

    Returns:
        member: Fitted pipeline from features to probabilities, with its name and the codes of its classes, a joblib
            file.
    """
    import json

    import joblib

    from steps.searching.growing import settled
    from steps.searching.rows import read_rows_of
    from steps.searching.trying import fit

    with open(chosen.path, encoding="utf-8") as file:
        decided = json.load(file)
    grown = fit(name, train_features.path, train_features.metadata, decided, read_rows_of(rows.path), seed)
    # with the model, since KFP leaves the metadata of collected artifacts empty
    joblib.dump({"name": name, "pipeline": settled(grown), "known": grown.known}, member.path)
    member.framework = "scikit-learn"
    member.metadata.update(rounds=grown.rounds, seconds=round(grown.seconds, 2))
    print(f"{name}: {grown.rounds} rounds, {grown.seconds:.1f} s")
