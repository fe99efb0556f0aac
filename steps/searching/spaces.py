"""What a search tries: for each learner what is tried first, and the space from which the others are drawn.

    values         one of them is drawn
    Between        a number between two, evenly in its logarithm

"pairs" is how many sums, differences and ratios of numeric columns are features beside the columns; 0 is none. LightGBM
is not among them: its wheel needs the system's libgomp.so.1, which the image python:3.11-slim does not have, and
nothing that pip installs brings it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_PAIRS = 30
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Between:
    """A number between two, evenly in its logarithm."""

    low: float
    high: float


@dataclass(frozen=True)
class Space:
    """What is tried of a learner."""

    learner: str
    rounds: int  # the most trees, boosting rounds or iterations; a search stops earlier where that is as good
    first: tuple[Parameters, ...]  # known to be strong; tried before what is drawn
    drawn: dict[str, tuple[Any, ...] | Between]  # of the other candidates
    share: int = 1  # of what is drawn


SPACES = (
    Space(
        "ExtraTrees",
        rounds=300,
        first=(
            {"max_features": 0.5, "min_samples_leaf": 1, "pairs": MAX_PAIRS},
            {"max_features": 1.0, "min_samples_leaf": 1, "pairs": 0},
        ),
        drawn={
            "max_features": ("sqrt", 0.3, 0.5, 0.8, 1.0),
            "min_samples_leaf": (1, 1, 2, 4),
            "criterion": ("gini", "entropy"),
            "pairs": (0, 8, 16, MAX_PAIRS),
        },
        share=2,
    ),
    Space(
        "HistGradientBoosting",
        rounds=1000,
        first=(
            {"max_leaf_nodes": 255, "learning_rate": 0.1, "l2_regularization": 5.0, "pairs": 0},
            {"max_leaf_nodes": 31, "learning_rate": 0.1, "l2_regularization": 1.0, "pairs": 0},
        ),
        drawn={
            "max_leaf_nodes": (15, 31, 63, 127, 255),
            "learning_rate": Between(0.03, 0.3),
            "l2_regularization": Between(0.1, 30),
            "min_samples_leaf": (5, 10, 20, 50),
            "max_features": (0.5, 0.8, 1.0),
            "pairs": (0, 0, 8, 16),
        },
    ),
    Space(
        "XGBoost",
        rounds=1000,
        first=(
            {"max_depth": 10, "learning_rate": 0.2, "colsample_bytree": 0.6, "pairs": 16},
            {"max_depth": 6, "learning_rate": 0.1, "colsample_bytree": 0.8, "subsample": 0.8, "pairs": 0},
        ),
        drawn={
            "max_depth": (3, 4, 6, 8, 10, 12),
            "learning_rate": Between(0.03, 0.3),
            "min_child_weight": Between(0.3, 20),
            "subsample": (0.6, 0.8, 1.0),
            "colsample_bytree": (0.4, 0.6, 0.8, 1.0),
            "reg_lambda": Between(0.1, 30),
            "pairs": (0, 0, 8, 16, MAX_PAIRS),
        },
        share=2,
    ),
    Space(
        "Linear",
        rounds=256,
        first=({"C": 1.0, "pairs": 0},),
        drawn={"C": Between(0.001, 100), "pairs": (0, 16)},
    ),
)
ROUNDS = {space.learner: space.rounds for space in SPACES}


def propose(n_candidates: int, seed: int, can_pair: bool) -> list[dict[str, Any]]:
    """Return candidates, each with its name, its learner and its parameters; no two are the same.

    Args:
        n_candidates: How many; there may be fewer, where there are no more.
        seed: Seed of what is drawn.
        can_pair: Whether the table has two numeric columns.
    """
    rng = np.random.default_rng(seed)
    wanted = [(space.learner, given) for place in range(2) for space in SPACES for given in space.first[place:][:1]]
    turns = [space for space in SPACES for _ in range(space.share)]
    for number in range(20 * n_candidates):
        space = turns[number % len(turns)]
        wanted.append((space.learner, {name: _drawn(values, rng) for name, values in space.drawn.items()}))
    found: list[dict[str, Any]] = []
    numbers = dict.fromkeys(ROUNDS, 0)
    for learner, given in wanted:
        parameters = given if can_pair else given | {"pairs": 0}
        if len(found) == n_candidates:
            break
        if any((other["learner"], other["parameters"]) == (learner, parameters) for other in found):
            continue
        numbers[learner] += 1
        found.append({"name": f"{learner}-{numbers[learner]}", "learner": learner, "parameters": parameters})
    return found


def _drawn(values: tuple[Any, ...] | Between, rng: np.random.Generator) -> Any:
    if isinstance(values, Between):
        return float(f"{np.exp(rng.uniform(np.log(values.low), np.log(values.high))):.3g}")
    return values[int(rng.integers(len(values)))]
