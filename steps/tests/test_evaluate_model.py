import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Metrics, Model
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, recall_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from skrub import TableVectorizer, ToCategorical

from steps.evaluate_model import evaluate_model


@pytest.fixture
def fitted():
    """Fit a small model on a frame."""

    def fit(frame, label="Cover_Type"):
        classifier = OneVsRestClassifier(HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype"))
        vectorizer = TableVectorizer(low_cardinality=ToCategorical(), cardinality_threshold=255)
        return make_pipeline(vectorizer, classifier).fit(frame.drop(columns=label), frame[label].to_numpy())

    return fit


@pytest.fixture
def evaluate(artifact, fitted):
    """Evaluate a model on a frame, by default one that is fitted on it; returns the outputs by name."""

    def run(frame, label="Cover_Type", pipeline=None, weight=""):
        pipeline = pipeline or fitted(frame, label)
        model = artifact(Model)
        counts = frame[label].astype(str).value_counts().to_dict()
        facts = {"source": "somewhere", "fingerprint": "f" * 64, "classes": counts, "duplicates_in_train": 0}
        test = artifact(Dataset, frame, label=label, weight=weight, **facts)
        kinds = {"metrics": Metrics, "confusion": ClassificationMetrics, "report": HTML, "predictions": Dataset}
        outputs = {name: artifact(kind) for name, kind in kinds.items()}
        Path(model.path).mkdir()
        joblib.dump(pipeline, Path(model.path) / "model.joblib")
        macro_f1 = evaluate_model.python_func(model, test, **outputs)
        return SimpleNamespace(
            pipeline=pipeline,
            macro_f1=macro_f1,
            figures=outputs["metrics"].metadata,
            confusion=outputs["confusion"].metadata["confusionMatrix"],
            page=Path(outputs["report"].path).read_text("utf-8"),
            predictions=pd.read_parquet(outputs["predictions"].path),
        )

    return run


@pytest.fixture
def parsed():
    """Parse a page into its tags with their attributes, and its text."""

    def parse(page):
        tags, texts = [], []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
        parser.handle_data = texts.append
        parser.feed(page)
        return tags, " ".join(texts)

    return parse


def test_figures_are_those_of_scikit_learn(evaluate, rows):
    done = evaluate(rows)
    fitted, macro_f1, figures = done.pipeline, done.macro_f1, done.figures
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
    done = evaluate(rows)
    assert len(done.figures) == 3 + 7 * 9
    for value in (done.macro_f1, *done.figures.values()):
        assert type(value) in (int, float)
        assert math.isfinite(value)


def test_confusion_matrix_counts_every_test_row(evaluate, rows):
    confusion = evaluate(rows).confusion
    assert [spec["displayName"] for spec in confusion["annotationSpecs"]] == [str(code) for code in range(7)]
    assert sum(sum(row["row"]) for row in confusion["rows"]) == len(rows)


def test_predictions_are_those_of_the_model_row_by_row(evaluate, rows):
    done = evaluate(rows)
    X = rows.drop(columns="Cover_Type")
    assert done.predictions["true"].tolist() == rows["Cover_Type"].tolist()
    assert done.predictions["predicted"].tolist() == done.pipeline.predict(X).tolist()
    assert done.predictions["probability"].to_numpy() == pytest.approx(done.pipeline.predict_proba(X).max(axis=1))


def test_weights_of_the_rows_are_no_column_of_the_model(evaluate, fitted, rows):
    pipeline = fitted(rows)
    with_more = evaluate(rows.assign(worth=1.0), pipeline=pipeline, weight="worth")
    assert with_more.figures == evaluate(rows, pipeline=pipeline).figures


def test_classes_without_test_rows_leave_all_figures_finite_and_out_of_the_means(evaluate, fitted, rows):
    pipeline = fitted(rows)
    some = rows[rows["Cover_Type"].isin([0, 1, 4])].reset_index(drop=True)
    done = evaluate(some, pipeline=pipeline)
    assert all(math.isfinite(value) for value in done.figures.values())
    assert done.macro_f1 == pytest.approx(sum(done.figures[f"f1_{code}"] for code in (0, 1, 4)) / 3)
    assert done.figures["rows_2"] == 0
    assert "nan" not in done.page


def test_test_rows_of_one_class_only_are_measured_too(evaluate, fitted, rows):
    done = evaluate(rows[rows["Cover_Type"] == 1].reset_index(drop=True), pipeline=fitted(rows))
    assert done.figures["accuracy"] == done.figures["recall_1"] > 0
    assert all(math.isfinite(value) for value in done.figures.values())


def test_test_rows_of_a_class_that_was_not_learned_count_as_wrong(evaluate, fitted, rows):
    known = rows[rows["Cover_Type"] != 3].reset_index(drop=True)
    done = evaluate(rows, pipeline=fitted(known))
    right = done.predictions["true"] == done.predictions["predicted"]
    assert done.figures["accuracy"] == pytest.approx(right.mean())
    assert f"{(rows['Cover_Type'] == 3).sum()} test rows are of classes that the model has not learned" in done.page


def test_report_is_whole_and_shows_names_and_values_as_text(evaluate, rows, parsed):
    attack = '<script>alert(1)</script>"&<!-- run -->\x00'
    rows["Cover_Type"] = attack + rows["Cover_Type"].astype(str)
    rows = rows.rename(columns={"Soil_Type": f"Soil {attack}"})
    rows["Wilderness_Area"] = attack + rows["Wilderness_Area"].astype(str)
    page = evaluate(rows).page

    tags, text = parsed(page)
    assert {"h1", "table", "svg"} <= {tag for tag, _ in tags}
    assert "script" not in {tag for tag, _ in tags}
    assert '<script>alert(1)</script>"&' in text
    assert page.count("<!-- run -->") == page.count("<!-- verdict -->") == 1
    assert "\x00" not in page


@pytest.mark.parametrize("n_classes", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_report_stands_alone_and_is_small_and_repeatable(evaluate, fitted, parsed, n_classes):
    rng = np.random.default_rng(0)
    names = np.array(
        [*("قطة", "山毛榉", "🌲 $x^2$"), *(f"kind {number}" for number in range(n_classes - 3))][:n_classes]
    )
    codes = np.arange(1200) % n_classes
    frame = pd.DataFrame({"x": codes + rng.normal(size=1200), "flag": rng.random(1200) > 0.5, "k": names[codes]})
    pipeline = fitted(frame, "k")
    page = evaluate(frame, "k", pipeline=pipeline).page

    tags, text = parsed(page)
    assert len(page.encode()) < 1_000_000
    assert "http" not in page
    assert all(attributes[name].startswith("#") for _, attributes in tags for name in {"href", "src"} & {*attributes})
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {*re.findall(r'(?:href="#|url\(#)([^")]+)', page)} <= {*ids}
    assert "قطة" in text
    assert "山毛榉" in text
    assert page == evaluate(frame, "k", pipeline=pipeline).page
