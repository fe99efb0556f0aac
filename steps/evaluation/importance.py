"""What a model leans on: how much accuracy, or R², is lost when the values of a column are shuffled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.feature_selection import f_classif, f_regression
from sklearn.pipeline import Pipeline

from steps.evaluation.measures import class_scores

MAX_COLUMNS = 15  # that are measured
SHUFFLES = 5
# predictions of class models, a second or two of work, and of rows; cells for the memory of a wide table
MAX_PREDICTIONS, MAX_ROWS_PREDICTED, MAX_CELLS, MAX_CELLS_AT_ONCE = 300_000, 12_000, 40_000_000, 20_000_000
MAX_QUANTITIES = 30_000  # estimates of a quantity
MIN_ROWS = 60  # of the sample
NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Importance:
    """What each measured column is worth."""

    # one row a column, the most important first: importance (what is lost) and spread (deviation over the shuffles)
    table: pd.DataFrame
    n_rows: int  # of the sample
    score: float  # of the model on them: accuracy, or R²
    guessed: float  # what is left without a model: the share of the most frequent class, or R² of shuffled estimates

    @property
    def dominant(self) -> str | None:
        """The column without which nearly all is lost that the model gets beyond a guess."""
        gained = self.score - self.guessed
        if len(self.table) and gained > 0 and self.table["importance"].iloc[0] >= NEARLY_ALL * gained:
            return str(self.table.index[0])
        return None

    def ranked(self, columns: list[str]) -> list[str]:
        """Return columns by their importance, those that were not measured last."""
        measured = list(self.table.index)
        return [*measured, *(name for name in columns if name not in self.table.index)]


def features_of_columns(pipeline: Pipeline, X: pd.DataFrame, features: pd.DataFrame) -> dict[str, list[str]]:
    """Return the names of the features that came of each raw column.

    Args:
        pipeline: Model whose preprocessor says it in outputs_; without, a feature is of the column of its name.
        X: Raw rows.
        features: The same rows preprocessed by the model.
    """
    for step in pipeline:
        for told in ("outputs_", "input_to_outputs_"):  # the latter of skrub's TableVectorizer
            if hasattr(step, told):
                outputs: dict[str, list[str]] = getattr(step, told)
                return outputs
    return {name: [name] for name in X if name in features}


def column_importance(
    classifier: ClassifierMixin,
    features: pd.DataFrame,
    codes: np.ndarray,
    columns: dict[str, list[str]],
    seed: int = 0,
) -> Importance:
    """Measure how much accuracy is lost when the values of a column are shuffled among rows.

    It is measured on a sample with as many rows of each class as there are, up to the same number. Preprocessing works
    row by row, so the features that came of a column are shuffled in its place. Of many columns those are measured
    whose features tell the classes apart best by themselves, by analysis of variance.

    Args:
        classifier: Classifier of the features.
        features: Preprocessed test rows.
        codes: Codes of their classes; -1 is none that the model knows.
        columns: Names of the features that came of each raw column.
        seed: Seed of the sample and the shuffles.
    """
    rng = np.random.default_rng(seed)
    columns = {name: outputs for name, outputs in columns.items() if len(outputs)}
    n_classes = len(classifier.classes_)
    n_predicted = min(MAX_PREDICTIONS / n_classes, MAX_ROWS_PREDICTED, MAX_CELLS / features.shape[1])
    n_rows = int(max(n_predicted / SHUFFLES / min(len(columns), MAX_COLUMNS), MIN_ROWS))
    shuffled = rng.permutation(np.flatnonzero(codes >= 0))
    place_in_class = pd.Series(codes[shuffled]).groupby(codes[shuffled]).cumcount().to_numpy()
    chosen = np.sort(shuffled[np.argsort(place_in_class, kind="stable")][:n_rows])
    sample, codes = features.iloc[chosen].reset_index(drop=True), codes[chosen]
    if len(columns) > MAX_COLUMNS:
        columns = _most_telling(sample, codes, columns)

    def accuracies(rows: pd.DataFrame) -> np.ndarray:
        predicted = class_scores(classifier, rows).argmax(axis=1)
        return np.asarray((predicted.reshape(-1, len(sample)) == codes).mean(axis=1))

    most_frequent = float(np.bincount(codes).max() / len(codes))
    return _importance(sample, columns, accuracies, most_frequent, rng)


def quantity_importance(
    regressor: RegressorMixin, features: pd.DataFrame, y: np.ndarray, columns: dict[str, list[str]], seed: int = 0
) -> Importance:
    """Measure how much R² is lost when the values of a column are shuffled among rows, on a sample of the rows.

    Args:
        regressor: Regressor of the features.
        features: Preprocessed test rows.
        y: Their quantity.
        columns: Names of the features that came of each raw column.
        seed: Seed of the sample and the shuffles.
    """
    rng = np.random.default_rng(seed)
    columns = {name: outputs for name, outputs in columns.items() if len(outputs)}
    n_predicted = min(MAX_QUANTITIES, MAX_CELLS / features.shape[1])
    n_rows = int(max(n_predicted / SHUFFLES / min(len(columns), MAX_COLUMNS), MIN_ROWS))
    chosen = np.sort(rng.permutation(len(y))[:n_rows])
    sample, y = features.iloc[chosen].reset_index(drop=True), y[chosen]
    if len(columns) > MAX_COLUMNS:
        columns = _most_telling(sample, y, columns, f_regression)
    spread = max(float(y.var()), np.finfo(float).tiny)

    def determined(rows: pd.DataFrame) -> np.ndarray:
        estimates = regressor.predict(rows).reshape(-1, len(sample))
        return np.asarray(1 - ((estimates - y) ** 2).mean(axis=1) / spread)

    # estimates that are shuffled among rows are as far below no R² as they were above it
    return _importance(sample, columns, determined, -max(float(determined(sample)[0]), 0.0), rng)


def _importance(
    sample: pd.DataFrame,
    columns: dict[str, list[str]],
    scores: Callable[[pd.DataFrame], np.ndarray],
    guessed: float,
    rng: np.random.Generator,
) -> Importance:
    """Measure what is lost of a score when the values of a column are shuffled among the rows of a sample.

    Args:
        sample: Preprocessed rows.
        columns: Names of the features that came of each raw column that is measured.
        scores: Gives the score of each copy of the sample among rows that are copies of it, one after the other.
        guessed: The score without a model.
        rng: Random numbers.
    """
    straight = np.tile(np.arange(len(sample)), SHUFFLES)
    crossed = np.concatenate([rng.permutation(len(sample)) for _ in range(SHUFFLES)])
    whole = float(scores(sample)[0])
    # few calls of many rows are faster than many of few; a wide table is taken in parts for its memory
    at_once = max(1, int(MAX_CELLS_AT_ONCE / (len(straight) * sample.shape[1])))
    names = list(columns)
    reached = []
    for start in range(0, len(names), at_once):
        stacked = []
        for name in names[start : start + at_once]:
            mixed = sample.iloc[straight].reset_index(drop=True)
            mixed[columns[name]] = sample[columns[name]].iloc[crossed].reset_index(drop=True)
            stacked.append(mixed)
        reached.append(scores(pd.concat(stacked, ignore_index=True)).reshape(-1, SHUFFLES))
    lost = whole - np.concatenate(reached)
    index = pd.Index(names, name="column")
    found = pd.DataFrame({"importance": lost.mean(axis=1), "spread": lost.std(axis=1)}, index=index)
    found = found.sort_values("importance", ascending=False, kind="stable")
    return Importance(found, len(sample), whole, guessed)


def _most_telling(
    sample: pd.DataFrame, labels: np.ndarray, columns: dict[str, list[str]], test: Callable[..., Any] = f_classif
) -> dict[str, list[str]]:
    """Return the columns that have a feature that tells the labels best by itself, with their features."""
    features = [sample[name] for outputs in columns.values() for name in outputs]
    numbers = np.column_stack(
        [(values.cat.codes if values.dtype == "category" else values).to_numpy(float) for values in features]
    )
    with np.errstate(all="ignore"):
        tells = np.nan_to_num(test(np.nan_to_num(numbers) + 0, labels)[0])
    ends = np.cumsum([len(outputs) for outputs in columns.values()])
    best = np.array([part.max() for part in np.split(tells, ends[:-1])])
    names = list(columns)
    return {names[place]: columns[names[place]] for place in np.argsort(-best, kind="stable")[:MAX_COLUMNS]}
