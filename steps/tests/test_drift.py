"""Drift: what is measured, when it counts, and what stops the pipeline."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kfp.dsl import HTML, Artifact, Metrics
from pyarrow import dataset
from scipy import stats

from steps.drift import sampling
from steps.drift.measures import MISSING, OTHERS, class_drift, column_drifts, corrected, psi, titles
from steps.measure_drift import measure_drift
from steps.stop_on_drift import stop_on_drift
from steps.tests.test_prediction import check, folder, predict, raw_rows, read  # noqa: F401


def test_index_is_that_of_its_definition():
    before, now = np.array([400, 400, 200]), np.array([100, 300, 600])
    p, q = before / 1000, now / 1000
    assert psi(before, now) == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=0.01)
    assert psi(before, before) == 0
    assert 0 < psi(np.array([10, 0]), np.array([0, 10])) < np.inf


def test_numbers_and_dates_are_tested_by_kolmogorov_and_smirnov_and_their_missing_values_by_chi_squared():
    random = np.random.default_rng(0)
    x, y = random.normal(size=3000), random.normal(0.5, size=2000)
    with_gaps = np.where(random.random(2000) < 0.2, np.nan, random.normal(size=2000))
    start = pd.Timestamp("2024-01-01").as_unit("us")
    before = pd.DataFrame({"moved": x, "gaps": x, "same": x, "at": start + pd.to_timedelta(x, unit="D")})
    now = pd.DataFrame({"moved": y, "gaps": with_gaps, "same": random.normal(size=2000)})
    now["at"] = start + pd.to_timedelta(y + 3, unit="D")
    found = {drift.name: drift for drift in column_drifts(before, now)}
    expected = stats.ks_2samp(x, y)
    assert found["moved"].test == "Kolmogorov-Smirnov"
    assert (found["moved"].statistic, found["moved"].p_value) == (expected.statistic, expected.pvalue)
    assert 0.15 < found["moved"].psi < 0.4
    assert found["gaps"].test == "chi-squared, of missing values"
    assert found["gaps"].bins[-1] == MISSING
    assert found["gaps"].now[-1] == pytest.approx(0.2, abs=0.03)
    assert found["same"].p_value > 0.01
    assert found["same"].psi < 0.03
    assert found["at"].kind == "dates"
    assert found["at"].psi > 2
    assert all(
        label.startswith(("below 20", "20", "from 20", "12-", "below 12", "01-", "from 01"))
        for label in found["at"].bins
    )
    for drift in found.values():
        assert drift.before.sum() == pytest.approx(1)
        assert drift.now.sum() == pytest.approx(1)
        assert len(drift.bins) == len(drift.before) == len(drift.now)


def test_categories_are_tested_by_chi_squared_and_rare_and_new_ones_are_joined():
    before = pd.DataFrame({"soil": pd.Categorical(["clay"] * 600 + ["sand"] * 390 + ["peat"] * 4 + [None] * 6)})
    now = pd.DataFrame({"soil": pd.Categorical(["clay"] * 100 + ["sand"] * 300 + ["rock"] * 100 + ["silt"] * 3)})
    (found,) = column_drifts(before, now)
    assert set(found.bins) == {"clay", "sand", "rock", OTHERS, MISSING}
    assert dict(zip(found.bins, found.before, strict=True))["clay"] == 0.6
    assert found.test == "chi-squared"
    assert found.p_value < 1e-9
    assert found.psi > 0.5


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([], [1.0]),
        ([np.nan], [1.0, 2.0]),
        ([1.0, 2.0], [np.nan, np.nan]),
        ([1.0, 1.0], [1.0]),
        ([1e300, -1e300], [1e-300]),
    ],
)
def test_columns_without_values_or_of_one_value_are_measured(before, now):
    frames = (pd.DataFrame({"x": np.array(values, float)}) for values in (before, now))
    (found,) = corrected(column_drifts(*frames))
    assert np.isfinite(found.psi)
    assert 0 <= found.corrected <= 1
    (found,) = corrected(column_drifts(*(pd.DataFrame({"x": pd.Categorical([None, *v])}) for v in (["a"], []))))
    assert np.isfinite(found.psi)


def test_chance_is_corrected_for_many_columns():
    random = np.random.default_rng(3)
    before, now = (pd.DataFrame(random.normal(size=(n, 300))) for n in (1000, 800))
    now[7] += 0.6
    found = corrected(column_drifts(before, now))
    assert sum(drift.p_value < 0.01 for drift in found) > 2
    assert [drift.name for drift in found if drift.is_significant] == ["7"]
    assert found[0].name == "7"


def test_classes_are_compared_by_their_rows():
    found = class_drift(["a", "b"], np.array([50, 50]), np.array([9, 1]))
    assert found.p_value == pytest.approx(stats.chi2_contingency([[50, 50], [9, 1]], correction=False).pvalue)


@pytest.fixture
def measure(artifact, read, check, predict):  # noqa: F811
    """Run all steps on a frame; returns the page, the figures, the metadata and what the last step gets."""

    def make(frame, **settings):
        rows, used_model = read(frame)
        notes, report, drift, metrics = artifact(Artifact), artifact(HTML), artifact(Artifact), artifact(Metrics)
        Path(notes.path).write_text(json.dumps(check(rows, used_model)))
        predicted, _ = predict(rows, used_model)
        drifted = measure_drift.python_func(rows, used_model, notes, predicted, report, metrics, drift, **settings)
        figures = {each["name"]: each for each in json.loads(Path(drift.path).read_text())}
        return Path(report.path).read_text("utf-8"), figures, metrics.metadata | drift.metadata, drifted

    return make


def test_rows_like_those_in_training_have_not_drifted(measure):
    page, figures, told, drifted = measure(raw_rows(600, seed=0)[:300].sample(frac=1, random_state=1))
    assert drifted == []
    assert told["drifted"] == 0
    assert told["verdict"].startswith("Nothing has drifted: the largest PSI is 0.0")
    assert "Nothing has drifted" in page
    assert set(figures) == {"height", "price", "planted", "at", "wet", "soil", "predicted class"}
    assert "Accuracy" in page


def test_what_has_drifted_is_named_drawn_and_stops_the_pipeline_unless_it_is_tolerated(measure):
    frame = raw_rows(400, seed=5)
    frame["height"], frame["soil"] = 950, "peat<b>"
    page, figures, told, drifted = measure(frame.drop(columns="kind"), tolerate=["soil", "planted"])
    assert figures["height"]["psi"] > 2
    assert {name.split(" (PSI ")[0] for name in drifted} == {"'height'", "the predicted class"}
    assert page.count("<svg") >= 3
    assert "peat&lt;b&gt;" in page
    assert "<b>" not in page.replace('<td class="bar"><b>', "")
    assert "have drifted: " in told["verdict"]
    assert "'soil': 400 rows have new categories" in page.replace("&#x27;", "'")
    with pytest.raises(
        ValueError, match=r"(?s)PSI above 0.25: .*'height' \(PSI .*predictions and the report are written"
    ):
        stop_on_drift.python_func(drifted, 0.25)
    stop_on_drift.python_func(drifted, 0.0)
    stop_on_drift.python_func([], 0.25)


def test_only_what_lies_above_the_largest_index_stops(measure):
    frame = raw_rows(400, seed=5)
    frame["height"] = 950
    _, figures, told, drifted = measure(frame, max_drift=1000.0)
    assert drifted == []
    assert told["drifted"] == 0
    assert figures["height"]["psi"] > 2
    _, _, told, drifted = measure(frame, max_drift=0.0)
    assert told["stops"] is False
    assert told["drifted"] > 0


def test_sample_is_even(read, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sampling, "MOST_ROWS", 50)
    rows, used_model = read(raw_rows(1000, seed=2))
    import joblib

    model = joblib.load(Path(used_model.path, "model.joblib"))
    sample = sampling.even_sample(dataset.dataset(rows.path), model)
    wanted = np.linspace(0, 999, 50).astype(int)
    assert sample["height"].tolist() == raw_rows(1000, seed=2)["height"].iloc[wanted].tolist()


def test_of_many_drifted_columns_the_first_ones_are_handed_on_with_how_many_more():
    """The next task has them in one argument of its command, which takes 131,071 bytes."""
    before = pd.DataFrame({f"column {number}": np.arange(200.0) for number in range(1_012)})
    handed_on = titles(column_drifts(before.head(100), before.tail(100)))
    assert len(handed_on) == 11
    assert handed_on[-1] == "1,002 more"
    with pytest.raises(ValueError, match=r"'column 0' \(PSI .*, 1,002 more\.\n"):
        stop_on_drift.python_func(handed_on, 0.25)
