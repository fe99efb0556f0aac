"""A forest of all classes, which votes beside the models of each class against the rest: the two err differently."""

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from steps.searching.pairing import MAX_ROWS, find_pairs
from steps.searching.threads import n_threads
from steps.weighted_vote import Numbers, WeightedVote

ALL_CLASSES = -1  # the code of the model that tells all classes at once
N_TREES = {"balanced": 50, "best": 300}  # by preset
# of the features that a split may look at: with a half and 100 trees the vote was no better on fourteen tables' rows
# that were not trained on, and the forest took nearly three times as long
MAX_FEATURES = 0.35
MOST_LEAVES = 100_000  # of a tree, about; more rows share a leaf
# of a class's share, that its probability is divided by: on Covertype and thirteen other tables 0.2
# cost no accuracy in the mean, and gave macro-F1
EXPONENT = 0.2


def train_forest(
    X: pd.DataFrame, codes: np.ndarray, weight: pd.Series | None, n_trees: int, balance_classes: bool, seed: int
) -> Pipeline:
    """Train extremely randomised trees on the features, and on sums, differences and ratios of the telling ones.

    Args:
        X: Features of the training rows.
        codes: Codes of their classes, all of which are there.
        weight: Their weights; None where all are alike.
        n_trees: Number of trees.
        balance_classes: Whether the rows of each class weigh as much as those of another.
        seed: Seed of the trees.

    Returns:
        From features to probabilities of the classes, with ALL_CLASSES in class_code_.
    """
    shown = np.random.default_rng(seed).permutation(len(codes))[:MAX_ROWS]
    numbers = Numbers(tuple(find_pairs(X.iloc[shown], codes[shown], seed)))
    trees = ExtraTreesClassifier(
        n_trees,
        max_features=MAX_FEATURES,
        min_samples_leaf=-(-len(codes) // MOST_LEAVES),
        class_weight="balanced" if balance_classes else None,
        n_jobs=n_threads(),
        random_state=seed,
    ).fit(numbers.transform(X), codes, sample_weight=weight)
    trees.set_params(n_jobs=1)  # as a server's workers predict
    forest = make_pipeline(numbers, trees)
    forest.class_code_ = ALL_CLASSES
    return forest


def vote_of(joined: OneVsRestClassifier, forest: Pipeline, shares: np.ndarray) -> WeightedVote:
    """Let the joined class models and the forest vote, with half of the weight each.

    Args:
        joined: The models of each class against the rest.
        forest: What train_forest() has trained.
        shares: Share of each class in the training rows; it favours rare classes a little, unless they were balanced.
    """
    exponent = 0.0 if forest[-1].class_weight else EXPONENT
    all_codes = np.arange(len(shares))
    return WeightedVote(
        [make_pipeline(joined), forest], [all_codes, all_codes], [0.5, 0.5], joined.classes_, shares**exponent
    )
