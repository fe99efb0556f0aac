"""Which candidates go on, and which are weighed together to one model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.searching import budget
from steps.searching.plan import Plan
from steps.searching.rows import Rows
from steps.searching.scoring import Scored, figures_of, objective
from steps.searching.spaces import ROUNDS
from steps.weighted_vote import divided

STEPS = 12  # of the greedy choice: no member has less than a twelfth of the votes
EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # of the share of each class, that its probability is divided by
WORTH = 0.05  # of the spread: what a further member or an exponent must add to the score

SHORT_OF = 1.25  # a member whose rounds take so many times its seconds makes a few less
ROWS_AFTER = 60_000  # that evaluation predicts
SECONDS_A_MEGABYTE = 0.15  # of writing the model, and of reading it again by the steps that follow
MORE_TREES = 2  # a forest that was cut short by its rung may have so many times its trees, since more are never worse


@dataclass
class Vote:
    """Candidates, how often each votes, and the exponent of the class shares."""

    counts: dict[str, int]
    exponent: float
    score: float  # on the validation rows
    figures: dict[str, float]

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each, 1 together."""
        total = sum(self.counts.values())
        return {name: count / total for name, count in self.counts.items()}


def best_first(scored: list[Scored], n: int) -> list[Scored]:
    """Return so many candidates with the best scores; no learner has more than half of the places, if others are left.

    Models of several kinds err differently, which is what a vote lives on.
    """
    ranked = sorted(scored, key=lambda one: (-one.objective, one.name))
    most = max(1, -(-n // 2))
    taken: list[Scored] = []
    for one in ranked:
        if len(taken) < n and sum(other.learner == one.learner for other in taken) < most:
            taken.append(one)
    taken += [one for one in ranked if one not in taken][: n - len(taken)]
    return sorted(taken, key=lambda one: (-one.objective, one.name))


def choose_vote(
    scored: list[Scored], codes: np.ndarray, shares: np.ndarray, metric: str, fits: Callable[[list[Scored]], bool]
) -> Vote:
    """Choose members greedily on the validation rows (Caruana et al., 2004), then the exponent of the class shares.

    Args:
        scored: The candidates, with their probabilities of the validation rows.
        codes: Classes of these rows.
        shares: Share of each class in the training rows.
        metric: The figure to be large.
        fits: Whether members keep to the limits of time and size together; of the best one alone it is not asked.
    """
    ranked = sorted(scored, key=lambda one: (-one.objective, one.name))
    possible = [one for one in ranked if fits([one])] or ranked[:1]
    worth = WORTH * possible[0].spread
    chosen, total = [possible[0]], possible[0].probabilities
    score = objective(total, codes, metric)
    best, best_score = [*chosen], score
    for _ in range(STEPS - 1):
        members = {one.name: one for one in chosen}
        tries = [one for one in possible if fits([*({one.name: one} | members).values()])]
        scores = [objective((total + one.probabilities) / (len(chosen) + 1), codes, metric) for one in tries]
        if not scores:
            break
        taken = tries[int(np.argmax(scores))]
        chosen.append(taken)
        total, score = total + taken.probabilities, max(scores)
        if score > best_score + worth:
            best, best_score = [*chosen], score
    total = sum((one.probabilities for one in best), np.zeros(())) / len(best)
    exponent = 0.0
    for tried in EXPONENTS:
        score = objective(divided(total, shares**tried), codes, metric)
        if score > best_score + worth:
            exponent, best_score = tried, score
    counts = {one.name: sum(other is one for other in best) for one in {id(one): one for one in best}.values()}
    figures = figures_of(codes, divided(total, shares**exponent).argmax(axis=1), len(shares))
    return Vote(counts, exponent, figures[metric], figures)


def settle(scored: list[Scored], plan: Plan, rows: Rows, max_megabytes: float) -> dict[str, Any]:
    """Return the members that are fitted again on all training rows, as JSON holds them.

    Args:
        scored: The candidates of the last rung.
        plan: What that rung gave each of them.
        rows: Which rows are validated.
        max_megabytes: Most megabytes of the model.
    """
    n_rows = len(rows.codes)
    growth = n_rows / scored[0].rows
    spent = plan.spent + budget.taken([one.seconds for one in scored], plan.side_by_side)
    seconds = budget.of_stage(2, plan.seconds, spent)
    # a forest grows with its rows, the trees of boosting have so many leaves
    size = {one.name: one.megabytes * (growth if one.learner == "ExtraTrees" else 1) for one in scored}
    slowness = max(1.0, float(np.median([one.slowness for one in scored])))
    seconds -= (slowness - 1) * budget.SECONDS_BESIDE

    def seconds_each(members: list[Scored]) -> float:
        after = sum(one.row_seconds * ROWS_AFTER + size[one.name] * SECONDS_A_MEGABYTE * slowness for one in members)
        return budget.each(seconds - after, len(members), plan.side_by_side)

    def fits(members: list[Scored]) -> bool:
        for_each = seconds_each(members)
        is_in_time = all(one.fit_seconds * growth <= SHORT_OF * for_each for one in members)
        return is_in_time and sum(size[one.name] for one in members) <= max_megabytes

    codes = rows.codes[rows.validated(plan.folds)]
    vote = choose_vote(scored, codes, rows.shares(), plan.metric, fits)
    members = [one for one in scored if one.name in vote.counts]
    for_each = seconds_each(members)
    room = max_megabytes / sum(size[one.name] for one in members)  # below 1 where not even the best alone is small
    settled = []
    for one in members:
        most = min(ROUNDS[one.learner], MORE_TREES * one.rounds) if one.learner == "ExtraTrees" else one.rounds
        needed = one.fit_seconds * growth
        # never on less than it was scored with, or the score would be that of a better model than is kept
        in_time = n_rows if needed <= SHORT_OF * for_each else max(one.rows, int(n_rows * for_each / needed))
        rounds = max(1, min(most, int(one.rounds * room)))
        settled.append(
            {
                **plan.candidate(one.name),
                "weight": vote.weights[one.name],
                "rounds": rounds,
                "megabytes": size[one.name] * rounds / one.rounds,
                "rows": in_time,
                "seconds": max(for_each, SHORT_OF * one.fit_seconds),
            }
        )
    return {
        "members": settled,
        "pairs": plan.pairs,
        "n_rows": n_rows,
        "exponent": vote.exponent,
        "divisors": (rows.shares() ** vote.exponent).tolist(),
        "score": vote.score,
        "figures": vote.figures,
    }
