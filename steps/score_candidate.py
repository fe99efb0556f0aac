"""Try one candidate of a search on validation rows."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.searching", "steps.weighted_vote", "steps.splitting")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("numpy", "pandas", "pyarrow", "scikit-learn", "xgboost-cpu"),
)
def score_candidate(
    name: str,
    train_features: Input[Dataset],
    plan: Input[Artifact],
    rows: Input[Artifact],
    scored: Output[Artifact],
    seed: int = 0,
) -> float:
    """Fit a candidate on what its rung gives it of rows and time, and score it on rows that it has not seen.

    Args:
        name: Name of the candidate.
        train_features: Transformed training rows, their labels and weights as Parquet.
        plan: What the rung gives each candidate.
        rows: Which rows are validated, and the order of the others.
        seed: Seed of the learner, from 0 to 4,294,967,295.

    Returns:
        scored: Its figures, seconds and size, and its probabilities of the validation rows, a file of NumPy.
        Output: Its score.
    """
    from steps.searching.plan import read_plan
    from steps.searching.rows import read_rows_of
    from steps.searching.trying import score

    found = score(
        name, train_features.path, train_features.metadata, read_plan(plan.path), read_rows_of(rows.path), seed
    )
    found.write(scored.path)
    print(f"{name}: {found.score:.4f} ± {found.spread:.4f}, {found.rounds} rounds, {found.seconds:.1f} s")
    return found.score
