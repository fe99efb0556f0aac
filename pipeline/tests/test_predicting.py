"""The prediction pipeline and the verb predict, from the command line to their files, on every engine."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest

import run
from pipeline import ROOT, __main__, sources, storage
from pipeline.benchmark import prediction
from pipeline.covertype import simulate
from steps import champions
from steps.tables.fingerprints import sha256

LABEL = "Cover_Type"
PREDICT = ("--identifier", "trees", "--pipeline", "prediction", "--engine", "local")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A runs folder in which a model was trained and is the champion."""
    folder = tmp_path_factory.mktemp("trained")
    simulate(1_400).to_csv(folder / "train.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVERTYPE_RUNS_DIR", str(folder / "runs"))
        data = ("--data", str(folder / "train.csv"), "--set", "max_iter=3")
        assert run.main(["--identifier", "trees", "--engine", "local", *data, "--quiet"]) == 0
    return folder / "runs"


@pytest.fixture
def model(trained):
    (folder,) = (trained / "trees").glob("2*/artifacts/promote-model/model")
    return joblib.load(folder / "model.joblib")


@pytest.fixture
def runs(trained, local_run, tmp_path):
    """A copy of the runs folder, for a test of its own."""
    return shutil.copytree(trained, tmp_path / "runs", symlinks=True)


@pytest.fixture
def table(tmp_path):
    frame = simulate(500, seed=5)
    frame.insert(0, "plot", [f"plot {number}" for number in range(500)])
    frame.to_csv(tmp_path / "new.csv", index=False)
    return SimpleNamespace(path=str(tmp_path / "new.csv"), frame=frame)


@pytest.fixture
def verb(runs, capsys):
    def call(*arguments):
        status = __main__.main([*map(str, arguments)])
        shown = capsys.readouterr()
        return SimpleNamespace(status=status, out=shown.out, err=shown.err)

    return call


def test_run_predicts_scores_and_measures_drift(runs, local_run, table, model, verb):
    done = local_run(*PREDICT, "--data", table.path, "--set", "keep=plot", "--set", "max_drift=0")
    assert done.status == 0, done.err
    found = pd.read_parquet(done.record["predicted"]["file"])
    np.testing.assert_array_equal(found.filter(like="probability"), model.predict_proba(table.frame))
    assert found["plot"].tolist() == table.frame["plot"].tolist()
    assert done.record["metrics"]["accuracy"] == (found["class"] == table.frame[LABEL]).mean()
    assert done.record["metrics"]["labelled_rows"] == 500
    assert done.record["metrics"].keys() >= {"drifted", "largest_psi", "class_psi"}
    assert done.record["predicted"]["rows"] == 500
    mix = done.record["predicted"]["class_mix"]
    assert sum(mix.values()) == pytest.approx(1)
    assert list(mix) == [str(name) for name in model.classes_]
    assert done.record["predicted"]["file"] in done.record["sha256"]
    assert done.record["predicted"]["drift"] in done.out
    assert re.search(r"^predicted 500 rows, \d: \d+\.\d%, ", done.out, re.M)
    assert re.search(r"^rows +\S*predictions.parquet$", done.out, re.M)
    page = (done.folder / "report.html").read_text()
    assert "Predictions and drift" in page
    assert '<section id="run">' in page
    assert "Model  the champion of trees, of " in done.err
    # a run that has trained nothing is no model: the latest is that before it; all is taken from the cache then
    assert verb("promote", "trees", "latest").status == 2
    latest = local_run(*PREDICT, "--data", table.path, "--model", "latest")
    assert latest.status == 0, latest.err
    again = local_run(*PREDICT, "--data", table.path, "--set", "keep=plot", "--set", "max_drift=0")
    assert [task["name"] for task in again.record["tasks"] if not task["cached"]] == []
    assert "against " in again.out


def test_drift_stops_the_run_when_all_is_written(runs, local_run, table, tmp_path):
    table.frame.assign(Elevation=3_900).to_csv(tmp_path / "high.csv", index=False)
    done = local_run(*PREDICT, "--data", str(tmp_path / "high.csv"), "--set", "as_csv=true")
    assert done.status == 1
    assert re.search(r"stop-on-drift failed: .*PSI above 0.25: 'Elevation' \(PSI", done.err)
    assert len(pd.read_csv(done.record["predicted"]["file"])) == 500
    assert "'Elevation'" in done.record["predicted"]["drift"]
    assert "Elevation" in (done.folder / "report.html").read_text()
    tolerated = ("--set", "tolerate=Elevation", "--set", "max_drift=20")
    assert local_run(*PREDICT, "--data", str(tmp_path / "high.csv"), *tolerated).status == 0


def test_model_is_named_by_a_run_or_a_folder_and_refused_where_it_is_tampered(runs, local_run, table):
    (folder,) = (runs / "trees").glob("2*/artifacts/promote-model/model")
    for name in (folder.parents[2].name, str(folder), str(folder / "model.joblib")):
        done = local_run(*PREDICT, "--data", table.path, "--model", name)
        assert done.status == 0, done.err
        assert done.record["parameters"]["model"].endswith("/artifacts/promote-model/model")
    (runs / "trees" / "champion.json").unlink()
    none = local_run(*PREDICT, "--data", table.path)
    assert none.status == 2
    assert "trees has no champion yet. Train one: python run.py --identifier trees" in none.err
    joblib.dump({}, folder / "model.joblib")
    tampered = local_run(*PREDICT, "--data", table.path, "--model", str(folder))
    assert tampered.status == 2
    assert "is not the file that was recorded" in tampered.err
    for name, told in (("2020", "2020"), ("./nothing", "no folder of a model"), (table.path, "no folder of a model")):
        refused = local_run(*PREDICT, "--data", table.path, "--model", name)
        assert refused.status == 2, refused.err
        assert told in refused.err


def test_model_is_refused_where_none_is_used_and_its_parameters_follow_from_the_flag(local_run):
    refused = local_run("--identifier", "x", "--model", "latest")
    assert refused.status == 2
    assert "--model has no effect: the pipeline uses no trained model." in refused.err
    by_set = local_run(*PREDICT, "--set", "model=folder")
    assert by_set.status == 2
    assert "model follows from --model. Use that flag." in by_set.err
    label = local_run(*PREDICT, "--label", "kind")
    assert "--label has no effect: the pipeline has no parameter label." in label.err


def test_check_holds_the_table_to_the_model(runs, local_run, table, tmp_path):
    done = local_run(*PREDICT, "--data", table.path, "--check")
    assert done.status == 0, done.out + done.err
    assert "500 rows fit the champion of trees, of " in done.out
    assert "1 column is new and not looked at: 'plot'" in done.out
    table.frame.drop(columns=["Slope", "Aspect"]).to_csv(tmp_path / "lacking.csv", index=False)
    lacking = local_run(*PREDICT, "--data", str(tmp_path / "lacking.csv"), "--check")
    assert lacking.status == 2
    assert "lacks 2 columns of the 12 that the model was trained on: 'Aspect', 'Slope'." in lacking.out
    failed = local_run(*PREDICT, "--data", str(tmp_path / "lacking.csv"))
    assert failed.status == 1
    assert "check-rows failed: " in failed.err
    assert "'Aspect', 'Slope'" in failed.err
    keep = local_run(*PREDICT, "--data", table.path, "--set", "keep=nothing", "--check")
    assert keep.status == 2
    assert "keep: the table has no column 'nothing'" in keep.out


def test_verb_predicts_as_the_pipeline_does(verb, table, model, tmp_path):
    done = verb("predict", "trees", table.path, "-o", tmp_path / "out.csv", "--keep", "plot", "--keep", LABEL)
    assert done.status == 0, done.err
    found = pd.read_csv(tmp_path / "out.csv")
    assert [*found][:3] == ["plot", LABEL, "class"]
    np.testing.assert_array_equal(found.filter(like="probability"), model.predict_proba(table.frame))
    assert re.search(r"^predicted 500 rows, ", done.out, re.M)
    assert re.search(r"^accuracy 0\.\d+   macro-F1 0\.\d+   \d+\.\d s$", done.out, re.M)
    assert "note: 1 column is new" in done.err
    unlabelled = tmp_path / "rows.parquet"
    table.frame.drop(columns=LABEL).to_parquet(unlabelled)
    done = verb("predict", "trees", unlabelled, "-o", tmp_path / "out.parquet", "--quiet")
    assert (done.status, done.err) == (0, "")
    assert "accuracy" not in done.out
    assert pd.read_parquet(tmp_path / "out.parquet")["class"].tolist() == found["class"].tolist()


def test_verb_writes_the_whole_file_or_none(verb, table, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    refused = verb("predict", "trees", table.path, "-o", tmp_path / "out.csv")
    assert refused.status == 2
    assert "is there already. Name another file, or say --overwrite." in refused.err
    before = sorted(os.listdir(tmp_path))
    for data, arguments, told in (
        (table.path, ("--keep", "nothing"), "keep: the table has no column 'nothing'"),
        (tmp_path / "none.csv", (), "there is no such file"),
        (table.path, ("--model", tmp_path), "is no folder of a model"),
    ):
        failed = verb("predict", "trees", data, "-o", tmp_path / "out.csv", "--overwrite", *arguments)
        assert failed.status == 2
        assert told in failed.err
        assert "Traceback" not in failed.err
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == before
    assert verb("predict", "trees", table.path, "-o", tmp_path / "out.csv", "--overwrite").status == 0
    assert len(pd.read_csv(tmp_path / "out.csv")) == 500
    for out, told in (
        ("out.txt", "expected the name of a .csv or a .parquet file"),
        ("no/out.csv", "there is no folder"),
    ):
        wrong = verb("predict", "trees", table.path, "-o", tmp_path / out)
        assert wrong.status == 2
        assert told in wrong.err


def test_empty_files_and_headers_alone_are_told(verb, tmp_path):
    for text in ("", "Elevation,Slope\n"):
        (tmp_path / "new.csv").write_text(text)
        refused = verb("predict", "trees", tmp_path / "new.csv", "-o", tmp_path / "out.csv")
        assert refused.status == 2
        assert "is empty" in refused.err or "has a header and no rows" in refused.err


@pytest.mark.slow
def test_run_on_vertex_has_the_predictions_of_a_local_run(runs, vertex, local_run, table, tmp_path):
    (folder,) = (runs / "trees").glob("2*/artifacts/promote-model/model")
    there = ("--identifier", "trees", "--pipeline", "prediction", "--data", table.path)
    for champion in storage.find("gs://trees/trees/champion.json"):  # of another test's run
        champion.delete()
    assert "trees has no champion yet" in local_run(*there).err
    done = local_run(*there, "--model", str(folder), "--set", "keep=plot")
    assert done.status == 0, done.err
    placed = done.record["parameters"]["model"]
    assert re.fullmatch(r"gs://trees/data/[0-9a-f]{64}", placed)
    here = local_run(*PREDICT, "--data", table.path, "--set", "keep=plot")
    file = storage.fetch(done.record["predicted"]["file"], tmp_path / "there.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(file), pd.read_parquet(here.record["predicted"]["file"]))
    assert done.record["metrics"] == here.record["metrics"]
    assert done.record["predicted"]["class_mix"] == here.record["predicted"]["class_mix"]
    assert "Predictions and drift" in (done.folder / "report.html").read_text()
    again = local_run(*PREDICT, "--data", table.path, "--model", placed)  # from the bucket to here
    assert again.status == 0, again.err
    assert again.record["metrics"] == here.record["metrics"]


def test_schedule_uses_the_champion_of_its_day(trained, vertex, local_run):
    (folder,) = (trained / "trees").glob("2*/artifacts/promote-model/model")
    place, sha = "gs://trees/oaks/champion.json", sha256(str(folder / "model.joblib"))
    champion = champions.made(
        place, "r1", sources.place_model(str(folder), sha, "trees", folder), "0" * 64, {}, "the first"
    )
    champions.promote(place, champion, None)
    before = len(vertex.requests)
    there = ("--identifier", "oaks", "--data", "sample:1400", "--pipeline", "prediction")
    done = local_run(*there, "--schedule", "0 6 * * 1")
    assert done.status == 2
    assert "is not the file that was recorded" in done.err
    champions.promote(place, dataclasses.replace(champion, sha256=sha), champion)
    done = local_run(*there, "--schedule", "0 6 * * 1")
    assert done.status == 0, done.err
    (asked,) = [body for method, path, body in vertex.requests[before:] if method == "POST" and "schedules" in path]
    values = asked["createPipelineJobRequest"]["pipelineJob"]["runtimeConfig"]["parameterValues"]
    assert values["model"] == place
    assert values["sha256"] == ""
    assert local_run("--identifier", "oaks", "--pipeline", "prediction", "--unschedule").status == 0


def test_benchmark_measures_the_same_rows_in_each_way(trained, table, tmp_path):
    (folder,) = (trained / "trees").glob("2*/artifacts/promote-model/model")
    prediction.main(str(folder), Path(table.path), tmp_path, 2)
    speeds = json.loads((tmp_path / prediction.FIGURES).read_text())
    assert list(speeds) == [prediction.PLAIN, prediction.BATCH, prediction.WHOLE]
    assert all(len(rows) == 2 and min(rows) > 0 for rows in speeds.values())


@pytest.mark.slow
def test_spec_runs_by_itself_and_by_kfp_alone(runs, local_run, table, tmp_path):
    """The same spec: each step with exactly its own packages, and kfp.local as it comes."""
    done = local_run(*PREDICT, "--data", table.path, "--set", "max_drift=0")
    isolated = local_run(*PREDICT, "--data", table.path, "--set", "max_drift=0", "--isolated", "--no-cache")
    assert isolated.status == 0, isolated.err
    assert isolated.record["metrics"] == done.record["metrics"]
    spec = shutil.copy(done.folder / "pipeline.yaml", tmp_path / "spec.yaml")
    (tmp_path / "parameters.json").write_text(json.dumps(done.record["parameters"]))
    command = [sys.executable, "-m", "pipeline.benchmark.stock", spec, tmp_path / "parameters.json", tmp_path / "stock"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (found,) = (tmp_path / "stock").rglob("predictions.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(found), pd.read_parquet(done.record["predicted"]["file"]))
