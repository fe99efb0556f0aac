"""One candidate is tried on validation rows, and one that was chosen is fitted."""

import time
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from steps.searching.growing import Grown, grow, packed_bytes
from steps.searching.plan import Plan
from steps.searching.rows import Rows
from steps.searching.scoring import Scored, figures_of, objective, spread_of
from steps.weighted_vote import of_all_classes


def read_features(path: str, roles: dict[str, Any]) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Return the features of training rows, and their weights around 1; None where they have none."""
    frame, weight = pd.read_parquet(path), roles.get("weight")
    if not weight:
        return frame.drop(columns=roles["label"]), None
    weights = (frame[weight] / frame[weight].max()).to_numpy(float)
    return frame.drop(columns=[roles["label"], weight]), weights / weights.mean()


def places_of(pairs: list[tuple[str, str, str]], X: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return pairs of features by their places, which a model has, in place of their names, which tables share."""
    return [(sign, X.columns.get_loc(one), X.columns.get_loc(other)) for sign, one, other in pairs]


def score(name: str, path: str, roles: dict[str, Any], plan: Plan, rows: Rows, seed: int) -> Scored:
    """Fit a candidate on each fold of its rung and score it on the rows of that fold.

    Args:
        name: Name of the candidate.
        path: Parquet file of the features, labels and weights of the training rows.
        roles: Names of the label and the weight in it.
        plan: What the rung gives each candidate.
        rows: Which rows are validated, and the order of the others.
        seed: Seed of the learner.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    X, weights = read_features(path, roles)
    candidate, pairs = plan.candidate(name), places_of(plan.pairs, X)
    grown: list[Grown] = []
    row_seconds: list[float] = []
    for number, (fit, validated) in enumerate(rows.parts(plan.folds, plan.rows)):
        seen = X.iloc[validated]

        def judge(
            member: Pipeline, known: np.ndarray, seen: pd.DataFrame = seen, validated: np.ndarray = validated
        ) -> tuple[float, np.ndarray]:
            before = time.perf_counter()
            probabilities = of_all_classes(member.predict_proba(seen), known, rows.n_classes)
            row_seconds.append((time.perf_counter() - before) / len(seen))
            return objective(probabilities, rows.codes[validated], plan.metric), probabilities

        left = (plan.each - (time.perf_counter() - started)) / (plan.folds - number)
        of_rows = None if weights is None else weights[fit]
        grown.append(grow(candidate, pairs, X.iloc[fit], rows.codes[fit], of_rows, left, seed, judge))

    rounds = round(np.mean([one.rounds for one in grown]))
    probabilities = np.concatenate([one.probabilities for one in grown])
    codes, predicted = rows.codes[rows.validated(plan.folds)], probabilities.argmax(axis=1)
    figures = figures_of(codes, predicted, rows.n_classes)
    return Scored(
        **candidate,
        rung=plan.rung,
        score=figures[plan.metric],
        objective=objective(probabilities, codes, plan.metric),
        spread=spread_of(codes, predicted, rows.n_classes, plan.metric, seed),
        accuracy=figures["accuracy"],
        macro_f1=figures["macro_f1"],
        rows=len(fit),
        rounds=rounds,
        fit_seconds=float(np.mean([one.seconds for one in grown])),
        row_seconds=row_seconds[-1],
        megabytes=packed_bytes(grown[-1].member, rounds) / 1e6,
        slowness=(time.perf_counter() - started) / max(time.process_time() - cpu_started, 1e-3),
        seconds=time.perf_counter() - started,
        probabilities=probabilities,
    )


def fit(name: str, path: str, roles: dict[str, Any], decided: dict[str, Any], rows: Rows, seed: int) -> Grown:
    """Fit a chosen candidate on all training rows, or on as many as its time allows.

    Args:
        name: Name of the candidate.
        path: Parquet file of the features, labels and weights of the training rows.
        roles: Names of the label and the weight in it.
        decided: What was chosen; see steps.searching.choosing.settle.
        rows: The classes of the rows, and their order.
        seed: Seed of the learner.
    """
    started = time.perf_counter()
    X, weights = read_features(path, roles)
    member = next(member for member in decided["members"] if member["name"] == name)
    taken = np.sort(rows.order[: member["rows"]])
    if len(taken) < len(X):
        print(f"{name}: fitted on {len(taken):,} of {len(X):,} rows, since the time is short. Give more minutes.")
    of_rows = None if weights is None else weights[taken]
    left = member["seconds"] - (time.perf_counter() - started)
    X, codes = X.iloc[taken], rows.codes[taken]
    return grow(member, places_of(decided["pairs"], X), X, codes, of_rows, left, seed, rounds=member["rounds"])
