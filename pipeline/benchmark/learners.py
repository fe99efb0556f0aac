"""A model a class beside one of all, and early stopping: python -m pipeline.benchmark.learners rows.csv:kind"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

from pipeline.benchmark.quantities import prepared
from pipeline.benchmark.rows import read_table
from steps.splitting import share_of_each_class

BUNDLED = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
MADE = ("7", "20", "60", "97")  # classes of tables that are made
PATIENCE, MOST_TREES = 10, 300  # rounds without a gain after which it stops, and rounds at most
Predict = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame], np.ndarray]


def main(named: list[str]) -> None:
    """Print a table of accuracy, macro-F1 and CPU seconds on one thread; all learners see the same rows.

    Args:
        named: Of each table its file and label, as in rows.csv:kind, with :10000 behind it for as many of its rows;
            one of scikit-learn's, such as digits, or the number of classes of a table that is made, 20 rows each.
    """
    learners: dict[str, Predict] = {
        "a model a class": lambda *rows: OneVsRestClassifier(boosting(rows[0])).fit(*rows[:2]).predict(rows[2]),
        "one of all": lambda *rows: boosting(rows[0]).fit(*rows[:2]).predict(rows[2]),
        "a model a class, stopped early": stopped_early,
    }
    heads = ("accuracy", "macro-F1", "s")
    print("| table | rows | classes |", " | ".join(f"{name}: {head}" for name in learners for head in heads), "|")
    print("| --- | ---: | ---: |", " | ".join("---:" for _ in learners for _ in heads), "|", flush=True)
    for name in named:
        title, X, labels = table_of(name)
        codes, classes = pd.factorize(labels, sort=True)
        held = share_of_each_class(pd.Series(codes), 0.2, seed=0)
        found = []
        with threadpool_limits(1):
            for predict in learners.values():
                since = time.process_time()
                predicted = predict(X[~held], codes[~held], X[held])
                seconds, true = time.process_time() - since, codes[held]
                figures = accuracy_score(true, predicted), f1_score(true, predicted, average="macro")
                found += [f"{figures[0]:.3f}", f"{figures[1]:.3f}", f"{seconds:.1f}"]
        print(f"| {title} | {len(X):,} | {len(classes)} | {' | '.join(found)} |", flush=True)


def table_of(name: str) -> tuple[str, pd.DataFrame, pd.Series]:
    """Return what a table is called, its features, and its labels; classes of fewer than ten rows are left out."""
    if name in BUNDLED:
        X, labels = BUNDLED[name](return_X_y=True, as_frame=True)
        return name, X, labels
    if name.isdigit():
        n = int(name)
        X, codes = datasets.make_classification(
            500 * n if n == 7 else 200 * n,
            n_features=20,
            n_informative=12,
            n_classes=n,
            n_clusters_per_class=1,
            class_sep=1.5,
            random_state=0,
        )
        return "made", pd.DataFrame(X).add_prefix("x"), pd.Series(codes)
    file, label, *n_rows = name.split(":")
    frame = read_table(Path(file)).dropna(subset=label)
    frame = frame.sample(int(n_rows[0]), random_state=0) if n_rows else frame
    frame = frame[frame.groupby(label, observed=True)[label].transform("size") >= 10].reset_index(drop=True)
    return f"{Path(file).stem.partition('.')[0]}: {label}", prepared(frame, label), frame[label]


def boosting(X: pd.DataFrame, max_iter: int = 100, **others: object) -> HistGradientBoostingClassifier:
    """Return a learner with the defaults of train-model."""
    return HistGradientBoostingClassifier(
        max_iter=max_iter,
        learning_rate=0.2,
        max_leaf_nodes=int(np.clip(len(X) // 290, 63, 255)),
        l2_regularization=1.0,
        min_samples_leaf=min(20, max(1, len(X) // 20)),
        categorical_features="from_dtype",
        random_state=0,
        **{"early_stopping": False} | others,
    )


def stopped_early(X: pd.DataFrame, codes: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Find the number of trees of each class on a tenth of the rows, train anew on all of them, and predict."""
    scores = np.empty((len(rows), codes.max() + 1))
    for code in range(scores.shape[1]):
        stopping = {"early_stopping": True, "validation_fraction": 0.1, "n_iter_no_change": PATIENCE}
        found = boosting(X, MOST_TREES, **stopping).fit(X, codes == code)
        n_trees = max(1, int(np.argmin(-found.validation_score_)))
        scores[:, code] = boosting(X, n_trees).fit(X, codes == code).predict_proba(rows)[:, 1]
    codes_of_rows: np.ndarray = scores.argmax(axis=1)
    return codes_of_rows


if __name__ == "__main__":
    main(sys.argv[1:] or [*BUNDLED, *MADE])
