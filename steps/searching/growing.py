"""A candidate is fitted in rounds, more and more of them, as long as it gets better and its time lasts."""

import pickle
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from steps.searching.spaces import ROUNDS
from steps.searching.threads import n_threads
from steps.weighted_vote import Numbers

FIRST_ROUNDS = 8
PATIENCE = 2  # times that the rounds are doubled without a better score
BETTER = 1e-4
SAMPLE_BYTES = 4_000_000


@dataclass
class Grown:
    """A candidate that was fitted."""

    member: Pipeline  # from features to probabilities
    known: np.ndarray  # codes of the classes that it has seen
    rounds: int
    seconds: float  # of fitting
    score: float = float("nan")
    probabilities: np.ndarray | None = None  # of all classes, as judge has returned them


def grow(
    candidate: dict[str, Any],
    pairs: list[tuple[str, int, int]],
    X: pd.DataFrame,
    y: np.ndarray,
    weights: np.ndarray | None,
    seconds: float,
    seed: int,
    judge: Callable[[Pipeline, np.ndarray], tuple[float, np.ndarray]] | None = None,
    rounds: int | None = None,
) -> Grown:
    """Fit a candidate.

    Args:
        candidate: Its learner and parameters, as steps.searching.spaces proposes them.
        pairs: The pairs of features that may be added, the best first.
        X: Features.
        y: Codes of their classes.
        weights: Weights of the rows; None for none.
        seconds: The time for it. The first rounds are made whatever they take.
        seed: Seed of the learner.
        judge: Takes a fitted member and the classes that it knows, returns its score and its probabilities. The rounds
            with the best score count, though the member may have made more by then. Without one, the last do, and those
            of a forest, which more trees never make worse: on few rows chance would take a small one.
        rounds: The most rounds; None for those of the learner.
    """
    started, judging = time.perf_counter(), 0.0
    numbers = Numbers(tuple((sign, one, other) for sign, one, other in pairs[: candidate["parameters"]["pairs"]]))
    matrix = numbers.transform(X)
    known, codes = np.unique(y, return_inverse=True)  # of a class without a row here, no learner knows
    categorical = [place for place, dtype in enumerate(X.dtypes) if isinstance(dtype, pd.CategoricalDtype)]
    learner = _Learner(candidate, matrix, codes, weights, categorical, seed)
    most = rounds or ROUNDS[candidate["learner"]]
    is_last_best = not judge or candidate["learner"] == "ExtraTrees"
    best, without_gain, made, target = None, 0, 0, min(FIRST_ROUNDS, most)
    while True:
        before = time.perf_counter()
        steps = learner.fitted(target)
        a_round = (time.perf_counter() - before) / (target - made)
        made = target
        now = Grown(make_pipeline(numbers, *steps), known, made, time.perf_counter() - started - judging)
        if judge:
            before = time.perf_counter()
            now.score, now.probabilities = judge(now.member, known)
            judging += time.perf_counter() - before
        if best is None or is_last_best or now.score > best.score + BETTER:
            best, without_gain = now, 0
        else:
            without_gain += 1
        left = seconds - (time.perf_counter() - started)
        target = min(2 * made, most, made + int(left / a_round / 1.1))
        if made >= most or target < (1.2 if judge else 1) * made or target == made or without_gain >= PATIENCE:
            return best


class _Learner:
    """A learner that goes on from the rounds that it has made."""

    def __init__(
        self,
        candidate: dict[str, Any],
        matrix: np.ndarray,
        codes: np.ndarray,
        weights: np.ndarray | None,
        categorical: list[int],
        seed: int,
    ):
        self._name = candidate["learner"]
        self._X, self._y, self._weights, self._made = matrix, codes, weights, 0
        self._head, self._seed = [], seed
        given = {name: value for name, value in candidate["parameters"].items() if name != "pairs"}
        threads = n_threads()
        if self._name == "ExtraTrees":
            self._estimator = ExtraTreesClassifier(warm_start=True, n_jobs=threads, random_state=seed, **given)
        elif self._name == "HistGradientBoosting":
            # below 400 rows fewer, or there is hardly a split
            given["min_samples_leaf"] = min(given.get("min_samples_leaf", 20), max(1, len(codes) // 20))
            self._estimator = HistGradientBoostingClassifier(
                warm_start=True,
                early_stopping=False,
                categorical_features=categorical or None,
                random_state=seed,
                **given,
            )
        elif self._name == "XGBoost":
            from xgboost import XGBClassifier  # in here, since the other learners do not need it

            self._estimator = XGBClassifier(tree_method="hist", n_jobs=threads, **given)
        else:
            self._head = [_scaler(matrix.shape[1], categorical)]
            self._X = self._head[0].fit_transform(matrix)
            self._estimator = LogisticRegression(warm_start=True, random_state=seed, **given)

    def fitted(self, rounds: int) -> list[Any]:
        """Return the steps of a pipeline with so many rounds; the next call changes them."""
        more = {}
        if self._name == "XGBoost":
            more = {"xgb_model": self._estimator.get_booster()} if self._made else {}
            # another seed for each part, or all would draw the same columns and rows
            self._estimator.set_params(n_estimators=rounds - self._made, random_state=self._seed + self._made)
        elif self._name == "ExtraTrees":
            self._estimator.set_params(n_estimators=rounds)
        elif self._name == "HistGradientBoosting":
            self._estimator.set_params(max_iter=rounds)
        else:
            self._estimator.set_params(max_iter=rounds - self._made)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            self._estimator.fit(self._X, self._y, sample_weight=self._weights, **more)
        self._made = rounds
        return [*self._head, self._estimator]


def _scaler(n_columns: int, categorical: list[int]) -> ColumnTransformer:
    """Return what makes features for a linear model: categories one by one, numbers on one scale."""
    numeric = [place for place in range(n_columns) if place not in categorical]
    scaled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
    return ColumnTransformer([("numbers", scaled, numeric), ("categories", one_hot, categorical)])


def settled(grown: Grown) -> Pipeline:
    """Return a fitted member as it is to be kept: it says its rounds, and predicts in one thread as a server's do."""
    learner = grown.member[-1]
    known = learner.get_params(deep=False)
    rounds = "n_estimators" if "n_estimators" in known else "max_iter"
    wanted = {rounds: grown.rounds, "warm_start": False, "n_jobs": 1}
    learner.set_params(**{name: value for name, value in wanted.items() if name in known})
    return grown.member


def packed_bytes(member: Pipeline, rounds: int) -> int:
    """Return about how many bytes a member of so many rounds takes in a compressed file."""
    learner = member[-1]
    if isinstance(learner, ExtraTreesClassifier):
        return len(zlib.compress(pickle.dumps(learner.estimators_[0]), 1)) * rounds
    content = pickle.dumps(learner)
    middle = len(content) // 2
    sample = content[max(0, middle - SAMPLE_BYTES // 2) :][:SAMPLE_BYTES]
    packed = len(content) * len(zlib.compress(sample, 1)) / len(sample)
    made = rounds  # it may have gone on from those that count
    if isinstance(learner, HistGradientBoostingClassifier):
        made = learner.n_iter_
    elif hasattr(learner, "get_booster"):
        made = learner.get_booster().num_boosted_rounds()
    return int(packed * rounds / made)
