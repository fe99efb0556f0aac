"""An estimate of a quantity, and the interval that it lies in, by models that were trained side by side.

The classes carry the text of this module along when they are pickled, so that a model loads where only scikit-learn is.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, RegressorMixin, TransformerMixin, clone

if "SOURCE" not in globals():  # a model that was loaded has the text already
    SOURCE: str = globals()["__loader__"].get_source(__name__)

TOGETHER = {"__name__": "quantities", "SOURCE": SOURCE}  # where a model that is loaded has these classes


class _Shipped:
    """What is pickled with the text of its module."""

    def __reduce__(self) -> tuple[Any, ...]:
        made = "[kind in names or exec(names['SOURCE'], names), names[kind]()][1]"
        return eval, (made, {"names": TOGETHER, "kind": type(self).__name__}), self.__dict__


class Clipped(_Shipped, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Numbers within the range that they have in the training rows; missing ones stay missing."""

    def fit(self, X: pd.DataFrame, y: object = None) -> "Clipped":
        """Learn the range of each column."""
        numbers = np.asarray(X, dtype=float)
        self.low_, self.high_ = np.nanmin(numbers, axis=0), np.nanmax(numbers, axis=0)
        self.n_features_in_ = numbers.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the numbers of rows."""
        return np.asarray(np.clip(np.asarray(X, dtype=float), self.low_, self.high_))


class WeightedMean(_Shipped, RegressorMixin, BaseEstimator):
    """The weighted mean of fitted regressors, and a number added to it.

    Args:
        models: The regressors.
        weights: The weight of each.
        shift: What is added.
    """

    def __init__(self, models: tuple[RegressorMixin, ...] = (), weights: tuple[float, ...] = (), shift: float = 0.0):
        self.models, self.weights, self.shift = models, weights, shift

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.models)

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "WeightedMean":
        """Fit the models anew, on other rows; weights and shift stay."""
        self.models = tuple(clone(model).fit(X, y) for model in self.models)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the estimate of each row."""
        estimates = (weight * model.predict(X) for model, weight in zip(self.models, self.weights, strict=True))
        return np.asarray(sum(estimates) + self.shift)


class IntervalRegressor(_Shipped, RegressorMixin, BaseEstimator):
    """Estimates a quantity, and the ends of an interval that it lies in.

    Args:
        mean: Fitted regressor of the mean.
        ends: Fitted regressors of the lower and the upper end.
        levels: Share of the rows that each end is meant to lie above.
        median: Median of the quantity in the training rows, the estimate of one who knows no column.
    """

    def __init__(
        self,
        mean: RegressorMixin | None = None,
        ends: tuple[RegressorMixin, ...] = (),
        levels: tuple[float, float] = (0.05, 0.95),
        median: float = 0.0,
    ):
        self.mean: Any = mean
        self.ends, self.levels, self.median = ends, levels, median

    def __sklearn_is_fitted__(self) -> bool:
        return self.mean is not None

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "IntervalRegressor":
        """Fit the models anew, on other rows."""
        self.mean, self.ends = self.mean.fit(X, y), tuple(end.fit(X, y) for end in self.ends)
        self.median = float(np.median(y))
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the estimate of each row."""
        return np.asarray(self.mean.predict(X))

    def predict_interval(self, X: pd.DataFrame) -> np.ndarray:
        """Return of each row the estimate, and the lower and the upper end around it; shape (n_rows, 3)."""
        estimate = self.predict(X)
        # the ends know nothing of one another, nor of the mean
        together = np.column_stack([estimate, *(end.predict(X) for end in self.ends)])
        return np.column_stack([estimate, together.min(axis=1), together.max(axis=1)])
