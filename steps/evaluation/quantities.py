"""The figures of a model that estimates a quantity, on rows that it has never seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import mean_absolute_error, mean_squared_error, median_absolute_error, r2_score
from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class QuantityEvaluation:
    """A model's estimates of test rows, and how good they are."""

    pipeline: Pipeline  # its last step is the regressor, the others preprocess
    X: pd.DataFrame  # raw test rows
    features: pd.DataFrame  # the same preprocessed
    y: np.ndarray  # their true quantity
    y_pred: np.ndarray
    lower: np.ndarray  # ends of the intervals
    upper: np.ndarray
    figures: dict[str, float]  # r2, mean_absolute_error, …; baseline_… of the median of the training rows

    @property
    def score(self) -> float:
        """The one figure of the model: R²."""
        return self.figures["r2"]

    @property
    def residuals(self) -> np.ndarray:
        """What is true less what is estimated."""
        return np.asarray(self.y - self.y_pred)

    def metrics(self) -> Iterator[tuple[str, float]]:
        """Yield each figure with its name."""
        yield from self.figures.items()

    def predictions(self) -> pd.DataFrame:
        """Return the true and the estimated quantity of each row, and the ends of its interval."""
        return pd.DataFrame({"true": self.y, "predicted": self.y_pred, "lower": self.lower, "upper": self.upper})


def evaluate(pipeline: Pipeline, X: pd.DataFrame, y: np.ndarray) -> QuantityEvaluation:
    """Measure a model on test rows, and beside it the estimate that is always the median of the training rows.

    Args:
        pipeline: Preprocessing and, last, an IntervalRegressor.
        X: Raw test rows.
        y: Their quantity, shape (n_rows,).
    """
    y, features, regressor = y.astype(float), pipeline[:-1].transform(X), pipeline[-1]
    estimated, lower, upper = regressor.predict_interval(features).T
    of_median = errors(y, np.full(len(y), regressor.median))
    figures = {
        **errors(y, estimated),
        "median_absolute_error": float(median_absolute_error(y, estimated)),
        "interval_coverage": float(((lower <= y) & (y <= upper)).mean()),
        "interval_width": float((upper - lower).mean()),
        **{f"baseline_{name}": value for name, value in of_median.items()},
    }
    return QuantityEvaluation(pipeline, X, features, y, estimated, lower, upper, figures)


def errors(y: np.ndarray, estimated: np.ndarray) -> dict[str, float]:
    """Return R² and the mean errors of estimates; R² is 0 where a quantity does not vary, or has one row only."""
    squared = float(mean_squared_error(y, estimated))
    return {
        "r2": float(r2_score(y, estimated)) if len(y) > 1 and np.ptp(y) > 0 else 0.0,
        "mean_absolute_error": float(mean_absolute_error(y, estimated)),
        "root_mean_squared_error": squared**0.5,
        "mean_squared_error": squared,
    }
