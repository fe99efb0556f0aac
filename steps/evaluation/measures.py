"""The figures of a model on rows that it has never seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Evaluation:
    """A model's predictions of test rows, and how good they are."""

    pipeline: Pipeline  # its last step is the classifier, the others preprocess
    X: pd.DataFrame  # raw test rows
    features: pd.DataFrame  # the same preprocessed
    y: np.ndarray  # their true classes
    y_pred: np.ndarray
    codes: np.ndarray  # of the true classes; -1 is none that the model knows
    codes_pred: np.ndarray
    probabilities: np.ndarray  # of a row to be of a class; a row a row, a column a class
    # one row a class: rows, precision, recall, f1, average_precision, and the same against the rest, rest_precision, …
    per_class: pd.DataFrame
    figures: dict[str, float]  # accuracy, macro_f1, mean_f1
    confusion: np.ndarray  # test rows counted by true class (down) and predicted class (across)

    @property
    def score(self) -> float:
        """The one figure of the model: macro-averaged F1 of all classes."""
        return self.figures["macro_f1"]

    @property
    def names(self) -> list[str]:
        """Names of the classes."""
        return list(self.per_class.index)

    @property
    def sure(self) -> np.ndarray:
        """Probability of the predicted class of each row."""
        return np.asarray(self.probabilities.max(axis=1))

    def metrics(self) -> Iterator[tuple[str, float]]:
        """Yield each figure with its name: accuracy, …, and for the class of code c f1_c, …."""
        yield from self.figures.items()
        for name, values in self.per_class.items():
            for code, value in enumerate(values.tolist()):
                yield f"{name}_{code}", value

    def predictions(self) -> pd.DataFrame:
        """Return the true and the predicted class of each row, and the probability of the predicted one."""
        return pd.DataFrame({"true": self.y, "predicted": self.y_pred, "probability": self.sure})


def evaluate(pipeline: Pipeline, X: pd.DataFrame, y: np.ndarray) -> Evaluation:
    """Measure a model on test rows.

    Each class is measured twice: as one of all classes, where a row gets the most probable one, and against the rest,
    where it is recognised at a probability above one half. A class without rows has no part in the means.

    Args:
        pipeline: Preprocessing and, last, a classifier: of each class against the rest, or of all at once.
        X: Raw test rows.
        y: Their true classes, shape (n_rows,).
    """
    classes = pipeline.classes_
    features = pipeline[:-1].transform(X)
    # over their sum, the probabilities against the rest are those to be one of all
    scores = class_scores(pipeline[-1], features)
    sums = scores.sum(axis=1, keepdims=True)
    probabilities = np.divide(scores, sums, out=scores.copy(), where=sums > 0)
    # all is counted by codes, since scikit-learn takes classes such as 0.5 and 1.5 for quantities
    known = np.arange(len(classes))
    codes, codes_pred = pd.Index(classes).get_indexer(y), scores.argmax(axis=1)

    is_class = codes[:, None] == known
    has_rows = is_class.any(axis=0)
    one_of_all = precision_recall_fscore_support(codes, codes_pred, labels=known, zero_division=0)
    rest = precision_recall_fscore_support(is_class, scores > 0.5, zero_division=0)
    per_class = pd.DataFrame(
        {
            **dict(zip(("precision", "recall", "f1", "rows"), one_of_all, strict=True)),
            "average_precision": _average_precision(is_class, probabilities, has_rows),
            **dict(zip(("rest_precision", "rest_recall", "rest_f1"), rest[:3], strict=True)),
            "rest_average_precision": _average_precision(is_class, scores, has_rows),
        },
        index=[str(name) for name in classes],
    ).astype({"rows": int})
    figures = {
        "accuracy": float(accuracy_score(codes, codes_pred)),
        "macro_f1": float(per_class["f1"][has_rows].mean()),
        "mean_f1": float(per_class["rest_f1"][has_rows].mean()),
    }
    confusion = confusion_matrix(codes, codes_pred, labels=known)
    y_pred = classes[codes_pred]
    return Evaluation(pipeline, X, features, y, y_pred, codes, codes_pred, probabilities, per_class, figures, confusion)


def class_scores(classifier: ClassifierMixin, features: pd.DataFrame) -> np.ndarray:
    """Return of each row and class the probability to be of it: against the rest, where a model was trained so."""
    if not isinstance(classifier, OneVsRestClassifier):
        return np.asarray(classifier.predict_proba(features))
    scores = np.column_stack([of_class.predict_proba(features)[:, 1] for of_class in classifier.estimators_])
    # scikit-learn itself fits one model of two classes
    return np.hstack([1 - scores, scores]) if scores.shape[1] < len(classifier.classes_) else scores


def class_f1(codes: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the F1 of each class, NaN for those without rows.

    Args:
        codes: Codes of the true classes; -1 is none that the model knows.
        predicted: Codes of the predicted classes.
        n_classes: Number of classes.
    """
    known = codes >= 0
    of_class = np.bincount(codes[known], minlength=n_classes)
    hits = np.bincount(codes[codes == predicted], minlength=n_classes)
    f1 = 2 * hits / np.maximum(of_class + np.bincount(predicted, minlength=n_classes), 1)
    return np.where(of_class > 0, f1, np.nan)


def _average_precision(is_class: np.ndarray, scores: np.ndarray, has_rows: np.ndarray) -> np.ndarray:
    """Return the average precision of each class, 0 for those without rows."""
    found = np.zeros(len(has_rows))
    found[has_rows] = average_precision_score(is_class[:, has_rows], scores[:, has_rows], average=None)
    return found
