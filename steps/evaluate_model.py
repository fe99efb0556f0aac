"""Measure the model on rows that it has never seen."""

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from steps.diagnosis import (
    DIAGNOSIS,
    class_scores,
    column_importance,
    confused_pairs,
    failing_slices,
    features_of_columns,
)
from steps.environment import BASE_IMAGE, pinned
from steps.report import REPORT, evaluation_report


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub"),
    additional_funcs=[*DIAGNOSIS, *REPORT],
)
def evaluate_model(
    model: Input[Model],
    test: Input[Dataset],
    label: str,
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
    predictions: Output[Dataset],
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
        report: The same and where it fails, as one HTML page.
        predictions: Parquet with one row a test row, in their order: its true and predicted class, and the probability
            of the predicted class, between 0 and 1.
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

    pipeline = joblib.load(os.path.join(model.path, "model.joblib"))
    frame = pd.read_parquet(test.path)
    y = frame[label].to_numpy()
    X = frame[model.metadata.get("columns") or [name for name in frame if name != label]]
    classes = pipeline.classes_
    features = pipeline[:-1].transform(X)
    # over their sum, the probabilities against the rest are those to be one of all
    scores = class_scores(pipeline[-1], features)
    sums = scores.sum(axis=1, keepdims=True)
    probabilities = np.divide(scores, sums, out=scores.copy(), where=sums > 0)
    codes, codes_pred = pd.Index(classes).get_indexer(y), scores.argmax(axis=1)
    y_pred = classes[codes_pred]

    one_of_all = pd.DataFrame(
        precision_recall_fscore_support(y, y_pred, labels=classes, zero_division=0),
        index=["precision", "recall", "f1", "rows"],
    ).T
    is_class = y[:, None] == classes
    has_rows = is_class.any(axis=0)
    one_of_all["average_precision"] = 0.0  # a class without test rows has none
    one_of_all.loc[has_rows, "average_precision"] = average_precision_score(
        is_class[:, has_rows], probabilities[:, has_rows], average=None
    )
    rest = pd.DataFrame(
        precision_recall_fscore_support(is_class, scores > 0.5, zero_division=0)[:3],
        index=["rest_precision", "rest_recall", "rest_f1"],
    ).T
    rest["rest_average_precision"] = 0.0
    rest.loc[has_rows, "rest_average_precision"] = average_precision_score(
        is_class[:, has_rows], scores[:, has_rows], average=None
    )
    per_class = pd.concat([one_of_all, rest], axis=1).astype({"rows": int})

    figures = {
        "accuracy": float(accuracy_score(y, y_pred)),
        "macro_f1": float(per_class["f1"][has_rows].mean()),
        "mean_f1": float(per_class["rest_f1"][has_rows].mean()),
    }
    for name, value in figures.items():
        metrics.log_metric(name, value)
    for name, values in per_class.items():
        for code, value in enumerate(values.tolist()):
            metrics.log_metric(f"{name}_{code}", value)
    names = [str(name) for name in classes]
    matrix = confusion_matrix(y, y_pred, labels=classes)
    confusion.log_confusion_matrix(names, matrix.tolist())

    rows = pd.DataFrame({"true": y, "predicted": y_pred, "probability": probabilities.max(axis=1)})
    rows.to_parquet(predictions.path)

    importance = column_importance(pipeline[-1], features, codes, features_of_columns(pipeline, X, features))
    columns = [*importance[0].index, *(name for name in X if name not in importance[0].index)]
    slices = failing_slices(X, codes, codes_pred, len(classes), columns)
    pairs = confused_pairs(codes, codes_pred, probabilities.max(axis=1))
    counts = test.metadata.get("classes", {})
    facts = {
        "Source": test.metadata["source"],
        "Fingerprint": test.metadata.get("fingerprint", "unknown"),
        "Rows of the table": f"{int(sum(counts.values())):,}" if counts else "unknown",
        "Label": label,
        "Test rows seen in training": f"{test.metadata.get('duplicates_in_train', 0):,.0f}",
        "Classes": len(classes),
    }
    named = per_class.set_axis(names)
    with open(report.path, "w", encoding="utf-8") as page:
        page.write(evaluation_report(X, codes, probabilities, named, figures, importance, slices, pairs, facts))
    return figures["macro_f1"]
