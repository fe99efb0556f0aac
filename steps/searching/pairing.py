"""Which sums, differences and ratios of numeric columns tell the classes apart: those that a forest leans on."""

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier

from steps.searching.spaces import MAX_PAIRS
from steps.searching.threads import n_threads
from steps.weighted_vote import Numbers, all_pairs

MAX_ROWS = 10_000
MAX_COLUMNS = 8  # of which each two are paired
N_TREES = 30


def find_pairs(X: pd.DataFrame, codes: np.ndarray, seed: int) -> list[tuple[str, int, int]]:
    """Return pairs of features that a candidate may add, the best first; none where there are not two numeric ones.

    Args:
        X: Features of some training rows.
        codes: Classes of these rows.
        seed: Seed of the forests.
    """
    numeric = [place for place, dtype in enumerate(X.dtypes) if not isinstance(dtype, pd.CategoricalDtype)]
    if len(numeric) < 2:
        return []
    X, codes = X.iloc[:MAX_ROWS], codes[:MAX_ROWS]
    # of many columns a tree looks at some at each of its splits, or it would take too long
    alone = _importances(Numbers().transform(X), codes, min(1.0, 50 / X.shape[1]), seed)
    telling = sorted(numeric, key=lambda place: -alone[place])[:MAX_COLUMNS]
    pairs = all_pairs(sorted(telling))
    found = _importances(Numbers(pairs).transform(X), codes, 0.3, seed)[X.shape[1] :]
    return [pairs[place] for place in np.argsort(-found, kind="stable")[:MAX_PAIRS]]


def _importances(matrix: np.ndarray, codes: np.ndarray, max_features: float, seed: int) -> np.ndarray:
    forest = ExtraTreesClassifier(
        N_TREES, max_features=max_features, min_samples_leaf=3, n_jobs=n_threads(), random_state=seed
    )
    return np.asarray(forest.fit(matrix, codes).feature_importances_)
