"""Choose the candidates of a search that go on, and give them more rows."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.searching", "steps.weighted_vote", "steps.splitting")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("numpy", "pandas", "pyarrow", "scikit-learn"),
)
def choose_candidates(
    scored: Input[List[Artifact]],
    plan: Input[Artifact],
    rows: Input[Artifact],
    next_plan: Output[Artifact],
) -> List[str]:
    """Let the best third of the candidates go on with all rows and folds, as far as the time allows.

    What a candidate will take follows from the seconds that it has taken. Where that is too much, fewer go on, and of
    the last three each gets fewer rows.

    Args:
        scored: The candidates of the rung before.
        plan: What that rung gave each of them.
        rows: Which rows are validated.

    Returns:
        next_plan: What the next rung gives each of those that go on.
        Output: Their names, the best first.
    """
    from dataclasses import replace

    from steps.searching import budget
    from steps.searching.choosing import best_first
    from steps.searching.plan import read_plan
    from steps.searching.rows import read_rows_of
    from steps.searching.rungs import LEAST, n_next
    from steps.searching.scoring import read_scored

    before, divided = read_plan(plan.path), read_rows_of(rows.path)
    found = [read_scored(artifact.path) for artifact in scored]
    spent = before.spent + budget.taken([one.seconds for one in found], before.side_by_side)
    seconds = budget.of_stage(1, before.seconds, spent)
    n_fit = divided.n_fit()
    least, n_going_on = min(LEAST, len(found)), n_next(len(found))

    def needed(n: int) -> float:
        more = n_fit / before.rows * divided.n_folds
        return sum(one.fit_seconds * more for one in best_first(found, n)) / min(n, before.side_by_side)

    while n_going_on > least and needed(n_going_on) > seconds:
        n_going_on -= 1
    n_rows = max(min(before.rows, n_fit), int(n_fit * min(1.0, seconds / needed(n_going_on))))
    chosen = best_first(found, n_going_on)
    replace(
        before,
        spent=spent,
        rung=before.rung + 1,
        rows=n_rows,
        folds=divided.n_folds,
        each=budget.each(seconds, len(chosen), before.side_by_side),
    ).write(next_plan.path)
    for one in sorted(found, key=lambda one: -one.objective):
        print(f"{'goes on' if one in chosen else '':8} {one.name:24} {one.score:.4f} ± {one.spread:.4f}")
    return [one.name for one in chosen]
