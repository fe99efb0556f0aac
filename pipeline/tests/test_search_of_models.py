"""The search, end to end on this machine."""

import json
from pathlib import Path

import joblib
import pytest

from pipeline import __main__, report
from pipeline.covertype import simulate
from pipeline.tests.test_report_of_run import PAGE, record  # noqa: F401 (a fixture)

SMALL = ("--identifier", "x", "--pipeline", "search", "--data", "sample:700")
FAST = (*SMALL, "--set", "minutes=0.1", "--set", "candidates=3")


def test_search_ends_with_a_model_and_a_leaderboard(local_run, tmp_path, capsys):
    done = local_run(*FAST)
    assert done.status == 0, done.err
    tasks = [(task["name"], task["item"]) for task in done.record["tasks"]]
    names = {"ExtraTrees-1", "HistGradientBoosting-1", "XGBoost-1"}
    assert {item for name, item in tasks if name == "score-candidate"} == names
    assert {item for name, item in tasks if name == "score-candidate-2"} == names
    assert [name for name, _ in tasks][-3:] == ["combine-members", "evaluate-model", "promote-model"]

    shown = done.record["leaderboard"]
    assert {candidate["name"] for candidate in shown} == names
    assert {candidate["name"] for candidate in shown if candidate["weight"]} == {
        item for name, item in tasks if name == "fit-member"
    }
    assert "candidates, on validation rows" in done.out
    page = Path(done.record["report"]).read_text()
    assert '<a href="#leaderboard">Leaderboard</a>' in page
    for name in names:
        assert name in done.out
        assert name in page
    written = json.loads((done.folder / "artifacts" / "choose-models" / "leaderboard").read_text())
    assert [candidate["name"] for candidate in written["candidates"]] == [candidate["name"] for candidate in shown]

    X = simulate(20).drop(columns="Cover_Type")
    assert joblib.load(done.record["model"]).predict(X).shape == (20,)
    requirements = (Path(done.record["model"]).parent / "requirements.txt").read_text()
    has_xgboost = any(candidate["weight"] and "XGBoost" in candidate["name"] for candidate in shown)
    assert ("xgboost-cpu==" in requirements) == has_xgboost
    X.to_csv(tmp_path / "rows.csv", index=False)
    arguments = ["predict", "x", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "predicted.parquet")]
    assert __main__.main(arguments) == 0
    assert "predicted 20 rows" in capsys.readouterr().out

    again = local_run(*FAST)
    assert again.status == 0
    assert all(task["cached"] for task in again.record["tasks"] if task["name"] != "promote-model")
    assert again.record["leaderboard"] == shown


def test_leaderboard_of_a_report_is_text(record):  # noqa: F811
    one = {"rung": 2, "score": 0.9, "spread": 0.01, "seconds": 2.0, "megabytes": 1.0}
    found = record(leaderboard=[{"name": "<b>", "parameters": "a=<i>", "weight": 0.5, **one}])
    page = report.complete(PAGE, found, None)
    assert "&lt;b&gt;" in page
    assert "a=&lt;i&gt;" in page
    assert "leaderboard" not in report.complete(PAGE, record(), None)


@pytest.mark.parametrize(
    ("given", "told"),
    [("minutes=0", "minutes"), ("candidates=1", "candidates"), ("metric=auc", "metric"), ("max_model_mb=0", "max_mo")],
)
def test_wrong_request_is_told(local_run, given, told):
    refused = local_run(*SMALL, "--set", given)
    assert refused.status in (1, 2)
    assert told in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.slow
def test_search_on_the_real_rows_is_better_than_the_default(local_run, covertype_csv):
    """Of the default the README tells; how long a search takes, and how far it comes in that, follows the machine."""
    done = local_run("--identifier", "x", "--pipeline", "search", "--data", str(covertype_csv), "--set", "minutes=3")
    assert done.record["metrics"]["accuracy"] > 0.9217
    assert done.record["metrics"]["macro_f1"] > 0.8672
