import math
from html.parser import HTMLParser
from pathlib import Path

import joblib
import pytest
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Metrics, Model
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, recall_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from skrub import TableVectorizer, ToCategorical

from steps import evaluate_model


@pytest.fixture
def evaluate(artifact):
    def run(frame, label="Cover_Type", names="s"):
        X, y = frame.drop(columns=label), frame[label]
        classifier = OneVsRestClassifier(HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype"))
        fitted = make_pipeline(TableVectorizer(low_cardinality=ToCategorical(), cardinality_threshold=255), classifier)
        fitted.fit(X, y.to_numpy())
        model, metrics, confusion, report = (artifact(kind) for kind in (Model, Metrics, ClassificationMetrics, HTML))
        Path(model.path).mkdir()
        joblib.dump(fitted, Path(model.path) / "model.joblib")
        test = artifact(Dataset, frame, source="somewhere")
        macro_f1 = evaluate_model.python_func(model, test, label, metrics, confusion, report)
        return fitted, macro_f1, metrics.metadata, confusion.metadata["confusionMatrix"], Path(report.path).read_text()

    return run


def test_figures_are_those_of_scikit_learn(evaluate, rows):
    fitted, macro_f1, figures, _, _ = evaluate(rows)
    X, y = rows.drop(columns="Cover_Type"), rows["Cover_Type"]
    y_pred, probabilities = fitted.predict(X), fitted.predict_proba(X)
    against_rest = fitted[-1].estimators_[2].predict_proba(fitted[:-1].transform(X))[:, 1]

    assert macro_f1 == figures["macro_f1"] == pytest.approx(f1_score(y, y_pred, average="macro"))
    assert figures["accuracy"] == pytest.approx(accuracy_score(y, y_pred))
    assert figures["rows_2"] == (y == 2).sum()
    assert figures["recall_2"] == pytest.approx(recall_score(y == 2, y_pred == 2))
    assert figures["average_precision_2"] == pytest.approx(average_precision_score(y == 2, probabilities[:, 2]))
    assert figures["rest_f1_2"] == pytest.approx(f1_score(y == 2, against_rest > 0.5))
    assert figures["rest_average_precision_2"] == pytest.approx(average_precision_score(y == 2, against_rest))
    assert figures["mean_f1"] == pytest.approx(sum(figures[f"rest_f1_{code}"] for code in range(7)) / 7)


def test_every_figure_is_a_finite_python_number(evaluate, rows):
    _, macro_f1, figures, _, _ = evaluate(rows)
    assert len(figures) == 3 + 7 * 9
    for value in (macro_f1, *figures.values()):
        assert type(value) in (int, float)
        assert math.isfinite(value)


def test_confusion_matrix_counts_every_test_row(evaluate, rows):
    _, _, _, confusion, _ = evaluate(rows)
    assert [spec["displayName"] for spec in confusion["annotationSpecs"]] == [str(code) for code in range(7)]
    assert sum(sum(row["row"]) for row in confusion["rows"]) == len(rows)


def test_report_is_whole_and_shows_names_as_text(evaluate, rows):
    rows["Cover_Type"] = "<script>alert(" + rows["Cover_Type"].astype(str) + ")</script>"
    *_, page = evaluate(rows)

    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(page)
    tags = {tag for tag, _ in found}
    assert {"h1", "table"} <= tags
    assert "script" not in tags
    assert "&lt;script&gt;alert(0)" in page
    assert not any({"src", "href"} & attributes.keys() for _, attributes in found)
