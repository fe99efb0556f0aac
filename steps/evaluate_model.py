"""Measure the model on rows that it has never seen."""

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import sha256_of
from steps.shipping import ships


@ships("steps.evaluation")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned(
        "joblib", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub", "xgboost-cpu"
    ),
    additional_funcs=[sha256_of],
)
def evaluate_model(
    model: Input[Model],
    test: Input[Dataset],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
    predictions: Output[Dataset],
) -> float:
    """Score the model on the raw test rows.

    Of classes, each is measured twice: as one of all classes, where a row gets the most probable one, and against the
    rest, where it is recognised at a probability above one half; those figures are named rest_….

    Args:
        model: Classifier of all classes, or regressor of a quantity, that takes raw rows.
        test: Test rows as Parquet, with the task and the names of the label and the weight in the metadata.

    Returns:
        metrics: Of classes accuracy, macro_f1, mean_f1 (mean of the classes' F1 against the rest), and for the class of
            code c rows_c, precision_c, recall_c, f1_c, average_precision_c and the same against the rest,
            rest_precision_c …. Of a quantity r2, mean_absolute_error, root_mean_squared_error, mean_squared_error,
            median_absolute_error, interval_coverage, interval_width, and of always the median of the training rows
            baseline_r2 ….
        confusion: Confusion matrix of the test rows; of a quantity nothing.
        report: The same and where it fails, as one HTML page.
        predictions: Parquet with one row a test row, in their order: its true and predicted class, and the probability
            of the predicted class, between 0 and 1; of a quantity true, predicted, lower and upper.
        Output: Macro-averaged F1 of all classes, between 0 and 1; of a quantity R², at most 1.
    """
    from pathlib import Path

    import joblib
    import pandas as pd

    from steps.evaluation import measures, page, quantities, quantities_page

    label, weight = test.metadata["label"], test.metadata.get("weight")
    frame = pd.read_parquet(test.path)
    X, y = frame.drop(columns=[label, weight] if weight else label), frame[label].to_numpy()
    pipeline = joblib.load(Path(model.path, "model.joblib"))

    evaluation: measures.Evaluation | quantities.QuantityEvaluation
    if test.metadata.get("task") == "regression":
        evaluation = quantities.evaluate(pipeline, X, y)
        text = quantities_page.evaluation_page(evaluation, quantities_page.table_facts(test.metadata))
    else:
        evaluation = measures.evaluate(pipeline, X, y)
        text = page.evaluation_page(evaluation, page.table_facts(test.metadata))
        confusion.log_confusion_matrix(evaluation.names, evaluation.confusion.tolist())
    for name, value in evaluation.metrics():
        metrics.log_metric(name, value)
    evaluation.predictions().to_parquet(predictions.path)
    predictions.metadata["sha256"] = sha256_of(predictions.path)
    Path(report.path).write_text(text, encoding="utf-8")
    return evaluation.score
