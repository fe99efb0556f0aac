"""Predicts a few rows quickly: scikit-learn's own code walks through all trees of all classes in one call.

A single row spends its time not in the trees but in the calls, one for each tree, and in the encoding of its
categories, once for each class. Here the rows are encoded once, and the trees become one: in front of them stand nodes
that split by the number of the tree, which is one more column. The values of the leaves are added in the order in which
scikit-learn adds them, so that the probabilities are the same to the last bit.

What this relies on is not public. Where it is not as expected, or gives anything else for a row, it is not used.
"""

from typing import Any

import numpy as np
import pandas as pd
from joblib import hash as digest
from sklearn.base import ClassifierMixin
from sklearn.multiclass import OneVsRestClassifier


class SharedEncoder:
    """Encodes rows once for classifiers that encode them alike."""

    def __init__(self, encoder: Any):
        self.encoder = encoder
        self.rows: pd.DataFrame | None = None
        self.encoded = np.empty(0)

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the encoded rows."""
        if rows is not self.rows:
            self.rows, self.encoded = rows, self.encoder.transform(rows)
        return self.encoded


def share_encoder(classifier: ClassifierMixin) -> None:
    """Let the classes' classifiers encode rows once, if their encoders are equal: they saw the same training rows."""
    if not isinstance(classifier, OneVsRestClassifier):
        return
    encoders = [getattr(estimator, "_preprocessor", None) for estimator in classifier.estimators_]
    if encoders[0] is not None and len({*map(digest, encoders)}) == 1:
        shared = SharedEncoder(encoders[0])
        for estimator in classifier.estimators_:
            estimator._preprocessor = shared


class JoinedTrees:
    """The trees of all classes as one tree.

    Args:
        classifier: One HistGradientBoostingClassifier a class, which share their encoder.

    Raises:
        ValueError, AttributeError, ImportError: they are not what is expected.
    """

    def __init__(self, classifier: ClassifierMixin):
        from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

        if not isinstance(classifier, OneVsRestClassifier):
            raise ValueError("the model is none of each class against the rest")

        self.estimators = estimators = classifier.estimators_
        if len({digest(estimator._bin_mapper.make_known_categories_bitsets()) for estimator in estimators}) > 1:
            raise ValueError("the classifiers know other categories")
        if any(estimator.n_trees_per_iteration_ != 1 for estimator in estimators):
            raise ValueError("the classifiers are not of two classes each")
        self.known, places = estimators[0]._bin_mapper.make_known_categories_bitsets()
        self.places = np.append(places, places.dtype.type(0))
        trees = [predictors[0] for estimator in estimators for predictors in estimator._predictors]
        self.counts = [len(estimator._predictors) for estimator in estimators]
        bitsets = [tree.raw_left_cat_bitsets for tree in trees]
        nodes = _joined([tree.nodes for tree in trees], [len(of_tree) for of_tree in bitsets], len(places))
        self.tree = TreePredictor(nodes, bitsets[0][:0], np.concatenate(bitsets))
        self.numbers = np.arange(len(trees), dtype=float)

    def predict_proba(self, features: pd.DataFrame) -> np.ndarray:
        """Return the probability of each class, as the classifier does."""
        rows = self.estimators[0]._preprocess_X(features, reset=False)
        n_rows, n_trees = len(rows), len(self.numbers)
        by_tree = np.column_stack([np.repeat(rows, n_trees, axis=0), np.tile(self.numbers, n_rows)])
        leaves = self.tree.predict(by_tree, self.known, self.places, 1).reshape(n_rows, n_trees)
        scores, start = [], 0
        for estimator, count in zip(self.estimators, self.counts, strict=True):
            begin = np.repeat(estimator._baseline_prediction, n_rows, axis=0)
            raw = np.cumsum(np.hstack([begin, leaves[:, start : start + count]]), axis=1)[:, -1:]
            scores.append(estimator._loss.predict_proba(raw)[:, 1])
            start += count
        if len(scores) == 1:  # of two classes one has a classifier
            scores.insert(0, 1 - scores[0])
        probabilities = np.array(scores).T
        sums = probabilities.sum(axis=1, keepdims=True)
        return np.asarray(np.divide(probabilities, sums, out=probabilities, where=sums != 0))


def _joined(trees: list[np.ndarray], n_bitsets: list[int], column: int) -> np.ndarray:
    """Return the nodes of all trees behind nodes that lead to each by its number.

    Args:
        trees: Nodes of each tree.
        n_bitsets: Number of the sets of categories of each tree.
        column: Place of the column of the trees' numbers.
    """
    leading = np.zeros(len(trees) - 1, dtype=trees[0].dtype)
    roots, parts, n_nodes, n_sets = [], [leading], len(leading), 0
    for nodes, n_own in zip(trees, n_bitsets, strict=True):
        nodes = nodes.copy()
        nodes["left"] += n_nodes
        nodes["right"] += n_nodes
        nodes["bitset_idx"] += n_sets
        roots.append(n_nodes)
        parts.append(nodes)
        n_nodes, n_sets = n_nodes + len(nodes), n_sets + n_own
    taken = iter(range(len(leading)))

    def lead(low: int, high: int) -> int:
        if high - low == 1:
            return roots[low]
        place, middle = next(taken), (low + high) // 2
        node = leading[place : place + 1]
        node["feature_idx"], node["num_threshold"] = column, middle - 0.5
        node["left"], node["right"] = lead(low, middle), lead(middle, high)
        return place

    lead(0, len(trees))
    return np.concatenate(parts)
