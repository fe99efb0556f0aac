"""A model of several members: each turns features into numbers and votes, by its weight, for the classes.

The classes carry the text of this module along when they are pickled, so that a model loads where only the libraries
are, as those of raw_rows do.
"""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.pipeline import Pipeline

if "SOURCE" not in globals():  # a model that was loaded has it already
    SOURCE: str = globals()["__loader__"].get_source(__name__)

TOGETHER = {"__name__": "weighted_vote", "SOURCE": SOURCE}  # where a model that is loaded has these classes
LARGEST = float(np.finfo(np.float32).max)
SIGNS = ("+", "-", "/")
MODULES = {"xgboost": "xgboost-cpu"}  # the packages of modules that a member may need beside the usual ones


class _Shipped:
    """What is pickled with the text of its module."""

    def __reduce__(self) -> tuple[Any, ...]:
        made = "[kind in names or exec(names['SOURCE'], names), names[kind]()][1]"
        return eval, (made, {"names": TOGETHER, "kind": type(self).__name__}), self.__dict__


class Numbers(_Shipped, TransformerMixin, BaseEstimator):
    """Makes one matrix of features: categories by their codes, and more columns of pairs of the numeric ones.

    A missing value is NaN, and so is what is made of one, and a number divided by zero.

    Args:
        pairs: Further columns: the sign +, - or / and the places of the two features.
    """

    def __init__(self, pairs: tuple[tuple[str, int, int], ...] = ()):
        self.pairs = pairs

    def fit(self, X: pd.DataFrame, y: object = None) -> "Numbers":
        """Return itself: the categories of features are the same for all rows."""
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the matrix of rows, shape (n_rows, n_features + n_pairs), in float32."""
        single = np.column_stack([_numbers(values) for _, values in X.items()])
        more = [_of_pair(sign, single[:, one], single[:, other]) for sign, one, other in self.pairs]
        return _in_float32(np.column_stack([single, *more]))


def _numbers(values: pd.Series) -> np.ndarray:
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return np.asarray(values.to_numpy(np.float64))
    codes = values.cat.codes.to_numpy(np.float64)
    return np.where(codes < 0, np.nan, codes)


def _of_pair(sign: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        made = one + other if sign == "+" else one - other if sign == "-" else one / other
    return np.where(np.isinf(made), np.nan, made)


def _in_float32(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as float32; forests refuse those that are too large for it."""
    return np.asarray(np.clip(numbers, -LARGEST, LARGEST).astype(np.float32))


def all_pairs(places: list[int]) -> tuple[tuple[str, int, int], ...]:
    """Return the sum, the difference and the ratio of each two of some features."""
    return tuple((sign, one, other) for one, other in itertools.combinations(places, 2) for sign in SIGNS)


class WeightedVote(_Shipped, ClassifierMixin, BaseEstimator):
    """The weighted mean of its members' probabilities, divided by a power of the share of each class.

    Args:
        members: Fitted pipelines, of which the first step is Numbers.
        known: The codes of the classes that each member has seen.
        weights: The weight of each member.
        classes: Names of the classes in the order of their codes.
        divisors: What the mean is divided by, one number a class.
    """

    def __init__(
        self,
        members: list[Pipeline] | None = None,
        known: list[np.ndarray] | None = None,
        weights: list[float] | None = None,
        classes: np.ndarray | None = None,
        divisors: np.ndarray | None = None,
    ):
        self.members: Any = members
        self.known: Any = known
        self.weights: Any = weights
        self.classes: Any = classes
        self.divisors: Any = divisors

    @property
    def classes_(self) -> np.ndarray:
        """Names of the classes in the order of their codes."""
        return np.asarray(self.classes)

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "WeightedVote":
        """Fit each member anew; the weights and the divisors stay."""
        known, codes = np.unique(pd.Index(self.classes).get_indexer(y), return_inverse=True)
        self.members = [clone(member).fit(X, codes) for member in self.members]
        self.known = [known] * len(self.members)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self.members is not None

    @property
    def packages(self) -> list[str]:
        """Packages that the members need beside those of every model."""
        modules = {type(member[-1]).__module__.split(".")[0] for member in self.members}
        return sorted(MODULES[module] for module in modules if module in MODULES)

    @property
    def learners(self) -> list[str]:
        """Names of the members' learners."""
        return sorted({type(member[-1]).__name__ for member in self.members})

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of each class, shape (n_rows, n_classes)."""
        total = np.zeros((len(X), len(self.classes)))
        for member, known, weight in zip(self.members, self.known, self.weights, strict=True):
            total += weight * of_all_classes(member.predict_proba(X), known, len(self.classes))
        return divided(total, self.divisors)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the most probable class of each row."""
        return np.asarray(self.classes[self.predict_proba(X).argmax(axis=1)])


def of_all_classes(probabilities: np.ndarray, known: np.ndarray, n_classes: int) -> np.ndarray:
    """Return probabilities with a column for each class, where a model may have seen some of them only."""
    if probabilities.shape[1] == n_classes:
        return probabilities
    whole = np.zeros((len(probabilities), n_classes))
    whole[:, known] = probabilities
    return whole


def divided(probabilities: np.ndarray, divisors: np.ndarray) -> np.ndarray:
    """Return probabilities divided by a number a class, so that each row's sum is 1 again."""
    scaled = probabilities / divisors
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))
