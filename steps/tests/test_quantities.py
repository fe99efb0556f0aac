import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Markdown, Metrics, Model
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from steps.combine_models import combine_models
from steps.drift.measures import corrected, estimate_drift
from steps.evaluate_model import evaluate_model
from steps.evaluation.quantities import errors
from steps.measure_drift import measure_drift
from steps.model_folder import read_facts
from steps.predict_rows import predict_rows
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.promote_model import promote_model
from steps.promotion.chance import bootstrap_errors
from steps.promotion.judging import judge_quantity
from steps.quantities import IntervalRegressor, WeightedMean
from steps.serving.app import Metrics as Counted
from steps.serving.predictor import Predictor
from steps.split_data import split_data
from steps.train_model import train_model

N = 240


def rows_of(n_rows=N, seed=0):
    """Rows whose price follows from a number, a category and words, with some chance."""
    rng = np.random.default_rng(seed)
    size, colour = rng.uniform(0, 10, n_rows), rng.choice(["red", "green", "blue"], n_rows)
    price = 3 * size + 10 * (colour == "red") + rng.normal(0, 1, n_rows)
    return pd.DataFrame({"size": size, "colour": colour, "when": "2026-01-01", "price": price.round(2)})


@pytest.fixture
def prepared(artifact, tmp_path):
    """Prepare a table; returns the Output, the dataset and the schema."""

    def prepare(frame, **given):
        path = tmp_path / f"rows-{len([*tmp_path.glob('rows-*')])}.csv"
        frame.to_csv(path, index=False)
        dataset, schema = artifact(Dataset), artifact(Artifact)
        given = {"label": "price"} | given
        codes = prepare_data.python_func(source=str(path), fingerprint="", dataset=dataset, schema=schema, **given)
        return codes, dataset, json.loads(Path(schema.path).read_text("utf-8"))

    return prepare


@pytest.fixture
def trained(artifact, prepared):
    """Train and evaluate on a table; returns the artifacts by their names."""

    def train(frame, max_iter=20, seed=0, **given):
        codes, dataset, _ = prepared(frame, **given)
        names = ("train", "test", "train_features", "test_features", "predictions")
        found = {name: artifact(Dataset) for name in names}
        found |= {"preprocessor": artifact(Artifact), "model": artifact(Model), "metrics": artifact(Metrics)}
        found |= {"report": artifact(HTML), "models": [artifact(Model) for _ in codes]}
        split_data.python_func(dataset=dataset, train=found["train"], test=found["test"], seed=seed)
        names = ("train", "test", "train_features", "test_features", "preprocessor")
        preprocess.python_func(**{name: found[name] for name in names})
        for code, model in zip(codes, found["models"], strict=True):
            train_model.python_func(
                train_features=found["train_features"], class_code=code, class_model=model, max_iter=max_iter
            )
        combine_models.python_func(
            class_models=found["models"][::-1],
            preprocessor=found["preprocessor"],
            train=found["train"],
            model=found["model"],
        )
        found["score"] = evaluate_model.python_func(
            confusion=artifact(ClassificationMetrics),
            **{name: found[name] for name in ("model", "test", "metrics", "report", "predictions")},
        )
        return found

    return train


# the task


@pytest.mark.parametrize(
    ("labels", "task", "found"),
    [
        ([place / 7 for place in range(N)], "", "regression"),
        ([place % 20 / 7 for place in range(N)], "", "classification"),
        ([place % 20 / 7 for place in range(N)], "regression", "regression"),
        ([1000 + place % 110 for place in range(N)], "", "regression"),
        ([place % 90 for place in range(N)], "", "classification"),
        ([place % 5 for place in range(N)], "", "classification"),
        ([place % 5 for place in range(N)], "regression", "regression"),
        ([place / 7 for place in range(30)] * 8, "classification", "classification"),
        ([f"class {place % 3}" for place in range(N)], "", "classification"),
        ([place % 2 == 0 for place in range(N)], "", "classification"),
    ],
)
def test_the_task_is_found_from_the_label(labels, task, found, prepared):
    codes, dataset, schema = prepared(rows_of().assign(price=labels), task=task)
    assert dataset.metadata["task"] == schema["task"] == found
    n_models = 3 if found == "regression" else len({*labels})
    assert codes == ([1] if n_models == 2 else [*range(n_models)])
    told = [note for note in schema["warnings"] if "is a quantity" in note]
    assert bool(told) == (found == "regression")
    if found == "regression":
        assert dataset.metadata["classes"] == {}
        assert pd.read_parquet(dataset.path)["price"].dtype == "float64"


@pytest.mark.parametrize(
    ("labels", "given", "message"),
    [
        (["a", "b"] * (N // 2), {"task": "regression"}, "the label 'price' holds text. Name a column of numbers"),
        ([True, False] * (N // 2), {"task": "regression"}, "the label 'price' holds true and false."),
        ([1.0] * N, {"task": "regression"}, "The label 'price' has only the value 1."),
        ([place / 7 for place in range(N)], {"task": "regression", "min_class_rows": 2}, "min_class_rows=2 leaves"),
        ([place / 7 for place in range(N)], {"task": "clustering"}, "task is classification, regression or empty"),
        (
            [place / 7 for place in range(N)],
            {"task": "classification"},
            "Estimate it as a quantity with --set task=reg",
        ),
        ([float("inf"), *(place / 7 for place in range(N - 1))], {}, "1 labels in 'price' are infinite"),
        ([None, *(place / 7 for place in range(N - 1))], {}, "1 of 240 rows have no label in 'price'"),
    ],
)
def test_a_wrong_task_is_refused_with_what_to_do(labels, given, message, prepared):
    frame = rows_of().assign(price=labels)
    with pytest.raises(ValueError, match=re.escape(message)) as told:
        prepared(frame, **given)
    assert str(told.value).count("\n") < 4


def test_few_rows_are_refused(prepared):
    with pytest.raises(ValueError, match="The table has 8 rows; to estimate 'price', at least 10 are needed"):
        prepared(rows_of(8), task="regression")


def test_rows_without_a_label_are_left_out_when_asked(prepared):
    frame = rows_of()
    frame.loc[:4, "price"] = np.nan
    _, dataset, schema = prepared(frame, drop_unlabeled=True)
    assert schema["rows"] == len(pd.read_parquet(dataset.path)) == N - 5
    assert any("5 of 240 rows have no label" in note for note in schema["warnings"])


def test_a_column_that_gives_the_quantity_away_is_told(prepared):
    frame = rows_of(1200)
    _, _, schema = prepared(frame.assign(tax=frame["price"] * 0.19))
    notes = {column["name"]: column["note"] for column in schema["columns"]}
    assert "of the tenths of 'price'" in notes["tax"]
    assert "tenths" not in notes["size"]


def test_an_earlier_run_of_another_task_is_told(prepared, tmp_path):
    frame = rows_of().assign(price=[place % 5 for place in range(N)])
    _, _, schema = prepared(frame)
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    with pytest.raises(ValueError, match="the task was classification and is regression"):
        prepared(frame, task="regression", schema_from=str(path))


# the split


@pytest.mark.parametrize("test_size", [0.1, 0.2, 0.5])
def test_each_tenth_of_the_label_is_split_by_the_same_share(test_size, prepared, artifact):
    _, dataset, _ = prepared(rows_of(500))
    train, test = artifact(Dataset), artifact(Dataset)
    split_data.python_func(dataset=dataset, train=train, test=test, test_size=test_size)
    whole, held = pd.read_parquet(dataset.path)["price"], pd.read_parquet(test.path)["price"]
    tenths = pd.cut(held, whole.quantile(np.linspace(0, 1, 11)), include_lowest=True).value_counts()
    assert tenths.between(50 * test_size - 1, 50 * test_size + 1).all()
    assert test.metadata["task"] == "regression"
    assert test.metadata["table_rows"] == 500


@pytest.mark.parametrize(("given", "column"), [({"split_by": "day"}, "day"), ({"group_by": "house"}, "house")])
def test_quantities_are_split_by_time_and_groups_too(given, column, prepared, artifact):
    rng = np.random.default_rng(0)
    frame = rows_of().assign(day=np.arange(N) % 50, house=rng.choice([*"abcdefgh"], N))
    _, dataset, _ = prepared(frame, **given)
    train, test = artifact(Dataset), artifact(Dataset)
    split_data.python_func(dataset=dataset, train=train, test=test)
    parts = [pd.read_parquet(part.path) for part in (train, test)]
    assert len(parts[0]) + len(parts[1]) == N
    if column == "day":
        assert parts[0]["day"].max() < parts[1]["day"].min()
    else:
        assert 0.1 < len(parts[1]) / N < 0.4


def test_ten_rows_can_be_split_and_learned_from(trained):
    found = trained(rows_of(10), max_iter=3, task="regression")
    assert len(pd.read_parquet(found["test"].path)) == 2
    assert np.isfinite(list(found["metrics"].metadata.values())).all()


# the model


def test_the_model_estimates_raw_rows_with_an_interval_around_each(trained):
    found = trained(rows_of(600))
    figures = found["metrics"].metadata
    assert found["score"] == figures["r2"] > 0.95
    assert figures["mean_absolute_error"] < 1.2 < figures["baseline_mean_absolute_error"]
    assert 0.8 <= figures["interval_coverage"] <= 0.98
    assert found["model"].metadata["task"] == "regression"
    assert found["model"].metadata["classes"] == []

    model, fresh = joblib.load(Path(found["model"].path, "model.joblib")), rows_of(400, seed=9)
    estimated = model.predict(fresh[["when", "colour", "size"]])
    assert errors(fresh["price"].to_numpy(), estimated)["r2"] > 0.95
    mean, lower, upper = model[-1].predict_interval(model[:-1].transform(fresh)).T
    assert (mean == estimated).all()
    assert ((lower <= mean) & (mean <= upper)).all()
    assert 0.8 <= ((lower <= fresh["price"]) & (fresh["price"] <= upper)).mean() <= 0.98


def test_predictions_and_page_tell_what_was_estimated(trained):
    found = trained(rows_of(400))
    predictions, figures = pd.read_parquet(found["predictions"].path), found["metrics"].metadata
    assert [*predictions] == ["true", "predicted", "lower", "upper"]
    assert predictions["true"].tolist() == pd.read_parquet(found["test"].path)["price"].tolist()
    inside = (predictions["lower"] <= predictions["true"]) & (predictions["true"] <= predictions["upper"])
    assert inside.mean() == figures["interval_coverage"]
    median = pd.read_parquet(found["train"].path)["price"].median()
    assert figures["baseline_mean_absolute_error"] == pytest.approx((predictions["true"] - median).abs().mean())
    page = Path(found["report"].path).read_text("utf-8")
    assert page.count("<svg") == 3
    for told in ("always the median", "R² lost", "Furthest off", "Where the error is large", "<bdi>colour</bdi>"):
        assert told in page
    assert "nearly all of it" not in page  # the colour tells, too


def test_a_page_holds_any_text(trained):
    frame = rows_of(200).assign(colour=["<script>alert(1)</script>", "&amp;"] * 100)
    page = Path(trained(frame)["report"].path).read_text("utf-8")
    assert "<script>" not in page


@pytest.mark.slow
def test_a_model_loads_where_only_the_libraries_are(trained, tmp_path):
    found = trained(rows_of())
    file = Path(found["model"].path, "model.joblib")
    rows = tmp_path / "raw.csv"
    rows_of(5).to_csv(rows, index=False)
    code = (
        "import sys, joblib, pandas as pd; model = joblib.load(sys.argv[1]); X = pd.read_csv(sys.argv[2]); "
        "print(model.predict(X).tolist()); model[-1].predict_interval(model[:-1].transform(X)); "
        "assert not any(name.startswith('steps') for name in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(file), str(rows)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == joblib.load(file).predict(pd.read_csv(rows)).tolist()


def test_missing_unknown_and_endless_values_are_estimated(trained):
    found = trained(rows_of())
    model = joblib.load(Path(found["model"].path, "model.joblib"))
    odd = pd.DataFrame({"size": [None, 1e300, -5.0], "colour": ["pink", None, "red"], "when": [None] * 3})
    assert np.isfinite(model.predict(odd)).all()


def test_weights_count(trained):
    rng = np.random.default_rng(0)
    frame = rows_of(400).assign(much=1.0)
    wrong = rng.uniform(size=400) < 0.5
    frame.loc[wrong, "price"] = frame.loc[wrong, "price"] + 100
    frame.loc[wrong, "much"] = 1e-6
    model = joblib.load(Path(trained(frame, weight="much")["model"].path, "model.joblib"))
    fresh = rows_of(200, seed=5)
    assert np.abs(model.predict(fresh) - fresh["price"]).mean() < 3


def test_balanced_classes_are_refused_for_a_quantity(trained, artifact):
    found = trained(rows_of(60), max_iter=2)
    with pytest.raises(ValueError, match="balance_classes weighs classes, and the label 'price' is a quantity"):
        train_model.python_func(
            train_features=found["train_features"], class_code=0, class_model=artifact(Model), balance_classes=True
        )


@pytest.mark.slow
def test_long_text_tells_a_quantity(trained):
    rng = np.random.default_rng(0)
    good = rng.uniform(size=600) < 0.5
    words = [f"this is a {'fine' if is_good else 'poor'} house of number {place}" for place, is_good in enumerate(good)]
    frame = pd.DataFrame({"text": words, "price": 10.0 * good + rng.normal(0, 1, 600)})
    assert trained(frame)["score"] > 0.9


def test_regressors_can_be_cloned_and_fitted_anew():
    X, y = pd.DataFrame({"x": np.arange(20.0)}), np.arange(20.0)
    line = LinearRegression().fit(X, y)
    ends = tuple(WeightedMean((line,), (1.0,), shift) for shift in (1.0, -1.0))
    model = IntervalRegressor(WeightedMean((line, line), (0.25, 0.75)), ends, median=9.5)
    mean, lower, upper = model.predict_interval(X).T
    assert mean == pytest.approx(y)
    assert lower == pytest.approx(y - 1)  # the ends had crossed
    assert upper == pytest.approx(y + 1)
    again = clone(pickle.loads(pickle.dumps(model))).fit(X, 2 * y)
    assert again.predict(X) == pytest.approx(2 * y)
    assert again.median == 19


# its use


def test_a_new_model_is_promoted_where_its_error_is_smaller_by_more_than_chance():
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 10, 300)
    worse, better = true + rng.normal(0, 2, 300), true + rng.normal(0, 1, 300)
    assert judge_quantity(true, worse, better).name == "promoted"
    assert judge_quantity(true, better, worse).name == "kept"
    found = judge_quantity(true, better, better + rng.normal(0, 0.001, 300))
    assert found.name == "tie"
    assert "chance explains it" in found.reasons[0]
    low, high = bootstrap_errors(true, worse, better)
    difference = np.abs(true - better).mean() - np.abs(true - worse).mean()
    assert low < difference < high < 0


@pytest.fixture
def promoted(trained, artifact, tmp_path):
    """Train a model, and let it be promoted; returns its folder and the verdict."""

    def promote(frame, place=tmp_path / "runs" / "x" / "champion.json", **given):
        found, model, verdict = trained(frame, **given), artifact(Model), artifact(Markdown)
        promote_model.python_func(
            challenger=found["model"],
            **{name: found[name] for name in ("train", "test", "metrics", "predictions")},
            model=model,
            verdict=verdict,
            run="r",
            champion=str(place),
        )
        return model, verdict.metadata, found

    return promote


@pytest.mark.slow
def test_models_of_a_quantity_follow_one_another(promoted, tmp_path):
    frame = rows_of(400)
    first, verdict, _ = promoted(frame.assign(size=0.0 * frame["size"] + frame.index % 3))
    assert verdict["verdict"] == "promoted"
    facts = read_facts(first.path)
    assert (facts["task"], facts["classes"]) == ("regression", [])
    card = Path(first.path, "model_card.md").read_text("utf-8")
    assert "Estimates `price` of a row, a quantity" in card
    assert "always the median" in card
    _, verdict, _ = promoted(frame)
    assert verdict["verdict"] == "promoted", verdict
    assert "mean absolute error" in verdict["reasons"][0]
    _, verdict, _ = promoted(frame.assign(price=[place % 5 for place in range(400)]))
    assert verdict["verdict"] == "kept"
    assert "the champion is of regression, and this model of classification" in verdict["reasons"][0]


@pytest.mark.slow
def test_the_script_of_the_folder_estimates_rows(promoted, tmp_path):
    model, _, _ = promoted(rows_of())
    rows, out = tmp_path / "fresh.csv", tmp_path / "out.csv"
    rows_of(7, seed=3).to_csv(rows, index=False)
    done = subprocess.run(
        [sys.executable, str(Path(model.path, "predict.py")), str(rows), str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(out)
    assert [*found] == ["predicted", "lower", "upper"]
    assert ((found["lower"] <= found["predicted"]) & (found["predicted"] <= found["upper"])).all()


@pytest.mark.parametrize("as_csv", [False, True])
@pytest.mark.slow
def test_rows_are_predicted_with_scores_and_drift(as_csv, promoted, artifact, tmp_path):
    model, _, found = promoted(rows_of(400))
    used = artifact(Model, sha256=found["model"].metadata["sha256"], label="price")
    used.uri = model.uri
    fresh = rows_of(900, seed=4)
    fresh["size"] += 6
    rows = artifact(Dataset, fresh, source="fresh.csv", fingerprint="f")
    notes, predicted, metrics = artifact(Artifact), artifact(Dataset), artifact(Metrics)
    Path(notes.path).write_text("[]", encoding="utf-8")
    predict_rows.python_func(
        rows=rows,
        used_model=used,
        notes=notes,
        predicted=predicted,
        metrics=metrics,
        keep=["size"],
        as_csv=as_csv,
    )
    file = Path(predicted.path, predicted.metadata["file"])
    written = pd.read_csv(file) if as_csv else pd.read_parquet(file)
    assert [*written] == ["size", "predicted", "lower", "upper"]
    assert len(written) == predicted.metadata["rows"] == metrics.metadata["labelled_rows"] == 900
    off = (written["predicted"] - fresh["price"]).abs().mean()
    assert metrics.metadata["mean_absolute_error"] == pytest.approx(off)
    assert predicted.metadata["class_mix"] == predicted.metadata["classes"] == []

    report, of_drift, drift = artifact(HTML), artifact(Metrics), artifact(Artifact)
    drifted = measure_drift.python_func(
        rows=rows, used_model=used, notes=notes, predicted=predicted, report=report, metrics=of_drift, drift=drift
    )
    assert any(title.startswith("the estimate (PSI ") for title in drifted)
    assert any(title.startswith("'size'") for title in drifted)
    assert of_drift.metadata["estimate_psi"] > 0.25
    page = Path(report.path).read_text("utf-8")
    assert "Estimates" in page
    assert "Mean absolute error" in page


def test_estimates_of_like_rows_have_not_drifted():
    rng = np.random.default_rng(0)
    drifts = corrected([estimate_drift(rng.normal(size=400), rng.normal(size=900))])
    assert drifts[0].psi < 0.1
    assert not drifts[0].is_significant
    assert drifts[0].title.startswith("the estimate (PSI ")


def test_requests_are_answered_with_intervals(promoted):
    folder, _, found = promoted(rows_of(300))
    model = joblib.load(Path(found["model"].path, "model.joblib"))
    facts = read_facts(folder.path)
    served, fresh = Predictor(model, facts), rows_of(3, seed=2).drop(columns="price")
    body = json.dumps({"instances": fresh.to_dict("records")}).encode()
    content, counts = next(part for part in served.answer(body) if part)
    answers = json.loads(content)["predictions"]
    assert [answer["predicted"] for answer in answers] == pytest.approx(model.predict(fresh).tolist())
    assert all(answer["lower"] <= answer["predicted"] <= answer["upper"] for answer in answers)
    counted = Counted(facts)
    counted.count(facts["classes"], counts)
    assert counted.registry.get_sample_value("serving_rows_total") == 3


@pytest.mark.slow
def test_diabetes_is_estimated_as_well_as_by_plain_learners(tmp_path):
    """Within 2 % of the best of boosting, a forest and ridge, in the mean of five splits."""
    from pipeline.benchmark.quantities import SEEDS, compared, table_of

    source, label = table_of("diabetes", tmp_path)
    figures = np.mean([compared(source, label, tmp_path / str(seed), seed) for seed in SEEDS], axis=0)
    assert figures[0] >= 0.98 * figures[1:4].max(), figures
    assert 0.85 <= figures[4] <= 0.95


def test_one_row_has_no_r2():
    assert errors(np.array([1.0]), np.array([3.0]))["r2"] == 0
    assert errors(np.array([2.0, 2.0]), np.array([2.0, 3.0]))["r2"] == 0
