"""The search, end to end on this machine."""

import html
import json
import re
from pathlib import Path

import joblib
import pytest

from pipeline import __main__, graph, prices, report
from pipeline.covertype import simulate
from pipeline.tests.test_report_of_run import PAGE, record  # noqa: F401 (a fixture)

SMALL = ("--identifier", "x", "--pipeline", "search", "--data", "sample:700")
FAST = (*SMALL, "--set", "minutes=0.1", "--set", "candidates=3")


@pytest.mark.slow
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
    told = f"as if the seconds were those of e2-standard-2, prices on demand of {prices.DATE}, us-central1; the starts"
    for shown_in in (done.out, page):
        assert f"Cost: estimated, {told} of machines are not in it" in shown_in
    for candidate in shown:  # 2 CPUs and 8 GB, the machine of profile small
        assert candidate["usd"] == pytest.approx(candidate["seconds"] * 0.077063 / 3600, rel=1e-3, abs=1e-6)
        assert html.escape(prices.shown(candidate["usd"])) in page
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

    _refit(local_run, done, tmp_path)


def _refit(local_run, search, tmp_path):
    """What the search has found is fitted on the same rows to the same model, and on others."""
    search_id, place = search.record["run_id"], ("--identifier", "x", "--data", "sample:700")
    members = {one["name"]: one["weight"] for one in search.record["leaderboard"] if one["weight"]}

    checked = local_run(*place, "--from-search", search_id[:-1], "--check")
    assert checked.status == 0, checked.err
    told = ", ".join(f"{name} ({weight:.2f})" for name, weight in members.items())
    assert sorted(told.split(", ")) == sorted(
        re.search(f"^Search {search_id} of x: (.+)$", checked.err, re.M)[1].split(", ")
    )

    same = local_run(*place, "--from-search", search_id)
    assert same.status == 0, same.err
    names = [task["name"] for task in same.record["tasks"]]
    assert not {"propose-candidates", "score-candidate", "choose-models"} & {*names}
    assert {task["item"] for task in same.record["tasks"] if task["name"] == "fit-member"} == {*members}
    assert same.record["pipeline"] == "refit"
    assert same.record["parameters"]["from_search"] == search_id
    # all of the rounds, though the search's time may have been too short for them
    vote, found = joblib.load(same.record["model"])[-1], json.loads(same.record["parameters"]["members"])["members"]
    made = [member[-1].get_params() for member in vote.members]
    rounds = [given.get("n_estimators") or given["max_iter"] for given in made]
    wanted = [(one["rounds"], one["weight"]) for one in sorted(found, key=lambda one: one["name"])]
    assert [*zip(rounds, vote.weights, strict=True)] == wanted

    again = local_run(*place, "--from-search", "latest")  # the refit between is no search, and is passed over
    assert again.status == 0, again.err
    assert all(task["cached"] for task in again.record["tasks"] if task["name"] != "promote-model")
    assert f"Search {search_id} of x: " in local_run(*place, "--from-search", "previous", "--check").err

    written = tmp_path / "refit.yaml"
    assert local_run("--identifier", "x", "--from-search", "latest", "--compile-only", str(written)).status == 0
    defined = graph.load(written)["root"]["inputDefinitions"]["parameters"]
    assert json.loads(defined["members"]["defaultValue"]) == json.loads(same.record["parameters"]["members"])

    refused = local_run(*place, "--from-search", same.record["run_id"])
    assert refused.status == 2
    assert f"{same.record['run_id']} of x is no search that came to a choice: its pipeline is refit" in refused.err
    (search.folder / "artifacts" / "choose-models" / "chosen").write_text("{}")
    refused = local_run(*place, "--from-search", search_id)
    assert refused.status == 2
    assert "cannot be read" in refused.err


def test_what_a_search_has_found_needs_a_search(local_run):
    place = ("--identifier", "x", "--data", "sample:100")
    assert local_run(*place, "--set", "max_iter=1").status == 0
    refused = local_run(*place, "--from-search", "latest")
    assert refused.status == 2
    assert "--from-search latest: x has no search that came to a choice. Search: python run.py --ident" in refused.err
    refused = local_run(*place, "--from-search", "latest", "--pipeline", "training")
    assert refused.status == 2
    assert "--from-search has no effect on this pipeline" in refused.err
    refused = local_run(*place, "--from-search", "latest", "--set", "members=[]")
    assert refused.status == 2
    assert "members follows from --from-search" in refused.err
    refused = local_run("--data", "sample:100", "--from-search", "latest")
    assert "--identifier is missing" in refused.err


def test_leaderboard_of_a_report_is_text(record):  # noqa: F811
    one = {"rung": 2, "score": 0.9, "spread": 0.01, "seconds": 2.0, "megabytes": 1.0}
    found = record(leaderboard=[{"name": "<b>", "parameters": "a=<i>", "weight": 0.5, **one}])
    page = report.complete(PAGE, found, None)
    assert "&lt;b&gt;" in page
    assert "a=&lt;i&gt;" in page
    assert "Cost" not in page
    priced = record(leaderboard=[{"name": "a", "parameters": "", "weight": 0.5, **one, "usd": 0.0123}])
    assert "<td>$0.012</td>" in report.complete(PAGE, priced, None)
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


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--fuse",)])
def test_search_of_the_service_is_refitted_there_and_here(vertex, local_run, more):
    place = ("--identifier", "x", "--data", "sample:1400")
    found = local_run(*place, "--pipeline", "search", "--set", "minutes=0.1", "--set", "candidates=3", *more)
    assert found.status == 0, found.err
    there = local_run(*place, "--from-search", "latest", *more)
    assert there.status == 0, there.err
    here = local_run(*place, "--from-search", found.record["run_id"], "--engine", "local")
    assert here.status == 0, here.err
    assert (there.record["engine"], here.record["engine"]) == ("vertex", "local")
    assert there.record["parameters"]["members"] == here.record["parameters"]["members"]
    assert there.record["metrics"]["accuracy"] == pytest.approx(here.record["metrics"]["accuracy"], abs=0.02)
