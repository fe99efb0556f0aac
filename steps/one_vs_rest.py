"""One classifier of all classes from classifiers that each tell one class from the rest."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import LabelBinarizer


def join(
    class_models: Iterable[HistGradientBoostingClassifier], classes: list[str] | list[int] | list[float] | list[bool]
) -> OneVsRestClassifier:
    """Join fitted classifiers into one, as if scikit-learn had fitted them together.

    Args:
        class_models: One classifier a class, of two classes the second's alone, in any order, each with the code of its
            class in class_code_.
        classes: Names of the classes in the order of their codes.
    """
    # by pandas, since numpy's own text drops characters of code 0 at the end, and numbers from 2**63 lose digits in it
    names = pd.Index(classes).to_numpy()
    classifier = OneVsRestClassifier(HistGradientBoostingClassifier())
    # sorted, since loops may finish in any order
    classifier.estimators_ = sorted(class_models, key=lambda estimator: estimator.class_code_)
    # of the codes, since it refuses classes such as 0.5 and 1.5, which it takes for quantities
    classifier.label_binarizer_ = LabelBinarizer().fit(np.arange(len(names)))
    classifier.classes_ = classifier.label_binarizer_.classes_ = names
    if len(classifier.estimators_) > 1:  # even if two classes have a model each
        classifier.label_binarizer_.y_type_ = "multiclass"
    return classifier
