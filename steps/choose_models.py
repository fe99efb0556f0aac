"""Choose the models of a search that are weighed together, and tell how all candidates did."""

from typing import List

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.searching", "steps.weighted_vote", "steps.splitting")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("numpy", "pandas", "pyarrow", "scikit-learn"),
)
def choose_models(
    first: Input[List[Artifact]],
    last: Input[List[Artifact]],
    plan: Input[Artifact],
    rows: Input[Artifact],
    chosen: Output[Artifact],
    leaderboard: Output[Artifact],
    page: Output[HTML],
    max_model_mb: float = 200.0,
) -> List[str]:
    """Choose members, their weights and an exponent of the class shares on the validation rows.

    A further member, and an exponent, is taken only if it adds more than a twentieth of the score's spread, fits into
    the size and can be fitted again on all training rows in the time that is left.

    Args:
        first: The candidates of the first rung.
        last: Those of the last rung.
        plan: What the last rung gave each of them.
        rows: Which rows are validated.
        max_model_mb: Most megabytes of the model in its compressed file, from 0.1 to 100,000.

    Returns:
        chosen: The members with weights, rounds, rows and seconds, and the divisors of the classes, as JSON; a later
            run can fit them on other rows.
        leaderboard: All candidates, the best first, as JSON; the first 20 in the metadata, too.
        page: The same as an HTML page.
        Output: Names of the members.
    """
    import json
    from pathlib import Path

    from steps.searching.board import MOST_SHOWN, lines, page_of, table_of
    from steps.searching.choosing import settle
    from steps.searching.plan import read_plan
    from steps.searching.rows import read_rows_of
    from steps.searching.scoring import read_scored

    scored = [[read_scored(artifact.path) for artifact in rung] for rung in (first, last)]
    before = read_plan(plan.path)
    decided = settle(scored[-1], before, read_rows_of(rows.path), max_model_mb)
    board = table_of([*scored[0], *scored[1]], decided, before)
    Path(chosen.path).write_text(json.dumps(decided, indent=1), encoding="utf-8")
    Path(leaderboard.path).write_text(json.dumps(board, indent=1), encoding="utf-8")
    Path(page.path).write_text(page_of(board), encoding="utf-8")
    leaderboard.metadata.update(metric=before.metric, candidates=board["candidates"][:MOST_SHOWN])
    print(*lines(board), sep="\n")
    return [member["name"] for member in decided["members"]]
