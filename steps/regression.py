"""Train what estimates a quantity: models of its mean, weighed by what they know of rows they have not seen, and ends.

A table of a few hundred rows is often told best by a linear model, one of many thousands by trees with many leaves; so
each kind is fitted on parts of the training rows, and gets the weight that fits the others best.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import parallel_config
from scipy.optimize import nnls
from sklearn.base import RegressorMixin, clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from steps.quantities import Clipped, IntervalRegressor, WeightedMean
from steps.searching.threads import n_threads

LEVELS = (0.05, 0.95)  # shares of the rows that the ends of the interval are meant to lie above
FEW_ROWS = 10_000  # up to which every training row is held back once; of more, one part is
N_FOLDS = 5
N_TREES = 100  # of the forest
MOST_CELLS = 20_000_000  # of a table that a linear model and a forest learn, too
ROWS_OF_A_LEAF = 20  # training rows for each leaf of a tree, at least
PLAINER = 0.2  # leaves of the plainer trees, as a share
LEAST_WEIGHT = 0.02  # of a model in the mean; a smaller one is left out

Places = tuple[np.ndarray, np.ndarray]  # of rows to learn from, and of rows to ask


@dataclass(frozen=True)
class Boosting:
    """Settings of gradient boosting."""

    max_iter: int
    learning_rate: float
    max_leaf_nodes: int
    l2_regularization: float
    seed: int

    def model(self, n_rows: int, is_plainer: bool = False, **loss: object) -> HistGradientBoostingRegressor:
        """Return gradient boosting whose trees have as many leaves as rows can fill, or a fifth of them."""
        n_leaves = min(self.max_leaf_nodes, n_rows // ROWS_OF_A_LEAF) * (PLAINER if is_plainer else 1)
        return HistGradientBoostingRegressor(
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            max_leaf_nodes=max(2, int(n_leaves)),
            l2_regularization=self.l2_regularization,
            min_samples_leaf=min(20, max(1, n_rows // 20)),
            categorical_features="from_dtype",
            early_stopping=False,
            random_state=self.seed,
            **loss,
        )


def train_part(X: pd.DataFrame, y: pd.Series, weight: pd.Series | None, place: int, boosting: Boosting) -> WeightedMean:
    """Train one of the models that join() takes.

    Args:
        X: Features of the training rows.
        y: Their quantity.
        weight: Their weights; None where all are alike.
        place: 0 for the mean, 1 for the lower end of the interval, 2 for the upper one.
        boosting: Settings of gradient boosting.
    """
    y = y.to_numpy(float)
    weight = np.ones(len(y)) if weight is None else weight.to_numpy(float)
    if place == 0:
        return _mean(X, y, weight, boosting)
    return _end(X, y, weight, LEVELS[place - 1], boosting)


def join(parts: list[WeightedMean], y: pd.Series) -> IntervalRegressor:
    """Join what train_part() has trained, in any order, into one regressor.

    Args:
        parts: The models, each with its place in class_code_.
        y: Quantity of the training rows.
    """
    mean, *ends = sorted(parts, key=lambda part: part.class_code_)
    return IntervalRegressor(mean, tuple(ends), LEVELS, float(y.median()))


def _mean(X: pd.DataFrame, y: np.ndarray, weight: np.ndarray, boosting: Boosting) -> WeightedMean:
    """Weigh several kinds of models by least squares on training rows that each had not seen."""
    candidates = _candidates(X, boosting)
    folds = _folds(X, boosting.seed)
    held = np.concatenate([asked for _, asked in folds])
    estimates = np.column_stack([_unseen(model, X, y, weight, folds) for model in candidates])
    root = np.sqrt(weight[held])
    shares = nnls(estimates * root[:, None], y[held] * root)[0]
    # all alike where none fits
    shares = np.where(shares < LEAST_WEIGHT * shares.sum(), 0, shares) if shares.sum() else np.ones(len(shares))
    chosen = np.flatnonzero(shares)
    models = tuple(_fitted(candidates[place], X, y, weight) for place in chosen)
    return WeightedMean(models, tuple((shares[chosen] / shares[chosen].sum()).tolist()))


def _end(X: pd.DataFrame, y: np.ndarray, weight: np.ndarray, level: float, boosting: Boosting) -> WeightedMean:
    """Train a quantile, and move it so that it holds for training rows that it had not seen.

    Trees fit the rows that they have seen closer than others, so that too many of the others lie outside (conformalized
    quantile regression, Romano, Patterson and Candès, 2019).
    """
    model = boosting.model(len(y), is_plainer=True, loss="quantile", quantile=level)
    folds = _folds(X, boosting.seed)
    beyond = y[np.concatenate([asked for _, asked in folds])] - _unseen(model, X, y, weight, folds)
    return WeightedMean((_fitted(model, X, y, weight),), (1.0,), float(np.quantile(beyond, level)))


def _candidates(X: pd.DataFrame, boosting: Boosting) -> list[RegressorMixin]:
    n_rows = len(X)
    trees = [boosting.model(n_rows, is_plainer=True), boosting.model(n_rows)]
    n_features = sum(len(kind.categories) if kind == "category" else 1 for kind in X.dtypes)
    if n_rows * n_features > MOST_CELLS:
        return trees
    # a thousand leaves keep a forest of many rows small
    of_a_leaf = max(2, n_rows // 1_000)
    forest = ExtraTreesRegressor(N_TREES, min_samples_leaf=of_a_leaf, max_features=0.5, random_state=boosting.seed)
    return [*trees, _on_numbers(RidgeCV(np.logspace(-2, 3, 11))), _on_numbers(forest)]


def _on_numbers(model: RegressorMixin) -> Pipeline:
    """Return a model with scaled numbers, and a column of 0 and 1 for each category, in front of it."""
    numbers = make_pipeline(Clipped(), SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_include="category")),
        sparse_threshold=0,  # a forest takes three times as long on a sparse matrix
    )
    return Pipeline([("columns", columns), ("model", model)])


def _folds(X: pd.DataFrame, seed: int) -> list[Places]:
    """Return places of rows to learn from and of rows to ask: of few rows each is asked once, of many a fifth."""
    folds = KFold(min(N_FOLDS, len(X)), shuffle=True, random_state=seed).split(X)
    return [*folds] if len(X) <= FEW_ROWS else [next(folds)]


def _unseen(
    model: RegressorMixin, X: pd.DataFrame, y: np.ndarray, weight: np.ndarray, folds: list[Places]
) -> np.ndarray:
    """Return the estimates of the rows that are asked, by models that have not seen them."""
    found = []
    for learned, asked in folds:
        fitted = _fitted(clone(model), X.iloc[learned], y[learned], weight[learned])
        found.append(fitted.predict(X.iloc[asked]))
    return np.concatenate(found)


def _fitted(model: RegressorMixin, X: pd.DataFrame, y: np.ndarray, weight: np.ndarray) -> RegressorMixin:
    name = "model__sample_weight" if isinstance(model, Pipeline) else "sample_weight"
    with parallel_config("threading", n_jobs=n_threads()):  # here only: a server's workers predict in one thread each
        return model.fit(X, y, **{name: weight})
