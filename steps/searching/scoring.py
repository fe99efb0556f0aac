"""How good a candidate is on rows that it has not seen, and the file that holds it."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

METRICS = ("mean", "accuracy", "macro_f1")
RESAMPLES = 40
SURENESS, LEAST_PROBABLE = 0.01, 1e-4  # what the mean logarithm of the probability of the true class counts for


@dataclass
class Scored:
    """A candidate and what was measured of it in a rung."""

    name: str
    learner: str
    parameters: dict[str, Any]
    rung: int
    score: float
    objective: float  # the score and a little of its sureness, by which candidates are ranked
    spread: float  # of the score, if other rows had been drawn for validation
    accuracy: float
    macro_f1: float
    rows: int  # that it was fitted on, of each fold
    rounds: int
    seconds: float  # of the task
    fit_seconds: float  # of one fit with these rounds
    row_seconds: float  # of predicting a row
    slowness: float  # seconds of the task for each of its processor's: above 1 where others use the cores, too
    megabytes: float  # of the model, in a compressed file
    probabilities: np.ndarray = field(repr=False, compare=False)  # of the validation rows, fold by fold

    def write(self, path: str) -> None:
        """Write it as a file of NumPy."""
        facts = {name: value for name, value in asdict(self).items() if name != "probabilities"}
        with open(path, "wb") as file:
            np.savez_compressed(file, facts=json.dumps(facts), probabilities=self.probabilities.astype(np.float32))


def read_scored(path: str) -> Scored:
    """Read a candidate that was scored."""
    with np.load(path, allow_pickle=False) as content:
        return Scored(**json.loads(str(content["facts"])), probabilities=content["probabilities"].astype(np.float64))


def figures_of(codes: np.ndarray, predicted: np.ndarray, n_classes: int) -> dict[str, float]:
    """Return accuracy, macro-F1 of the classes that have rows, and their mean."""
    of_class = np.bincount(codes, minlength=n_classes)
    hits = np.bincount(codes[codes == predicted], minlength=n_classes)
    f1 = 2 * hits / np.maximum(of_class + np.bincount(predicted, minlength=n_classes), 1)
    accuracy, macro_f1 = float(hits.sum() / len(codes)), float(f1[of_class > 0].mean())
    return {"accuracy": accuracy, "macro_f1": macro_f1, "mean": (accuracy + macro_f1) / 2}


def objective(probabilities: np.ndarray, codes: np.ndarray, metric: str) -> float:
    """Return what a choice makes as large as it can be: a figure, and of two that are alike in it the surer one.

    Few rows give a figure few values; how probable the true classes are made of them tells more.
    """
    figure = figures_of(codes, probabilities.argmax(axis=1), probabilities.shape[1])[metric]
    of_true = probabilities[np.arange(len(codes)), codes]
    return figure + SURENESS * float(np.log(np.maximum(of_true, LEAST_PROBABLE)).mean())


def spread_of(codes: np.ndarray, predicted: np.ndarray, n_classes: int, metric: str, seed: int) -> float:
    """Return the standard deviation of a figure over validation rows drawn again with replacement."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(len(codes), size=len(codes)) for _ in range(RESAMPLES))
    return float(np.std([figures_of(codes[rows], predicted[rows], n_classes)[metric] for rows in drawn]))
