"""Measure the model on rows that it has never seen."""

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import report_page


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub"),
    additional_funcs=[report_page],
)
def evaluate_model(
    model: Input[Model],
    test: Input[Dataset],
    label: str,
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
) -> float:
    """Score the model on the raw test rows.

    Each class is measured twice: as one of all classes, where a row gets the most probable one, and against the
    rest, where it is recognised at a probability above one half; those figures are named rest_….

    Args:
        model: Classifier of all classes that takes raw rows.
        test: Test rows as Parquet.
        label: Name of the column that holds the classes.

    Returns:
        metrics: accuracy, macro_f1, mean_f1 (mean of the classes' F1 against the rest), and for the class of code c
            rows_c, precision_c, recall_c, f1_c, average_precision_c and the same against the rest, rest_precision_c ….
        confusion: Confusion matrix of the test rows.
        report: The same as one HTML page.
        Output: Macro-averaged F1 of all classes, between 0 and 1.
    """
    import os

    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.metrics import (
        accuracy_score,
        average_precision_score,
        confusion_matrix,
        precision_recall_fscore_support,
    )

    frame = pd.read_parquet(test.path)
    X, y = frame.drop(columns=label), frame[label].to_numpy()
    pipeline = joblib.load(os.path.join(model.path, "model.joblib"))
    classes = pipeline.classes_
    features = pipeline[:-1].transform(X)
    # one column a class: its probability against the rest; over their sum, its probability as one of all
    scores = np.column_stack([class_model.predict_proba(features)[:, 1] for class_model in pipeline[-1].estimators_])
    y_pred = classes[scores.argmax(axis=1)]
    sums = scores.sum(axis=1, keepdims=True)
    probabilities = np.divide(scores, sums, out=scores.copy(), where=sums > 0)

    one_of_all = pd.DataFrame(
        precision_recall_fscore_support(y, y_pred, labels=classes, zero_division=0),
        index=["precision", "recall", "f1", "rows"],
    ).T
    is_class = y[:, None] == classes
    one_of_all["average_precision"] = average_precision_score(is_class, probabilities, average=None)
    rest = pd.DataFrame(
        precision_recall_fscore_support(is_class, scores > 0.5, zero_division=0)[:3],
        index=["rest_precision", "rest_recall", "rest_f1"],
    ).T
    rest["rest_average_precision"] = average_precision_score(is_class, scores, average=None)
    per_class = pd.concat([one_of_all, rest], axis=1).astype({"rows": int})

    figures = {
        "accuracy": float(accuracy_score(y, y_pred)),
        "macro_f1": float(per_class["f1"].mean()),
        "mean_f1": float(per_class["rest_f1"].mean()),
    }
    for name, value in figures.items():
        metrics.log_metric(name, value)
    for name, values in per_class.items():
        for code, value in enumerate(values.tolist()):
            metrics.log_metric(f"{name}_{code}", value)
    names = [str(name) for name in classes]
    matrix = confusion_matrix(y, y_pred, labels=classes)
    confusion.log_confusion_matrix(names, matrix.tolist())
    facts = {"Source": test.metadata["source"], "Label": label, "Test rows": f"{len(y):,}"}
    with open(report.path, "w", encoding="utf-8") as page:
        page.write(
            report_page(
                "Evaluation of the model",
                figures,
                facts,
                per_class.set_axis(names),
                pd.DataFrame(matrix, index=names, columns=names),
            )
        )
    return figures["macro_f1"]
