"""The command line, end to end on this machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import pandas as pd
import pytest
import yaml

import run
from pipeline import ROOT
from pipeline.covertype import simulate

FAST = ("--set", "max_iter=3")


def test_run_on_the_sample_ends_with_figures_model_and_report(local_run):
    done = local_run("--identifier", "first", "--data", "sample:1400", *FAST)

    assert done.status == 0, done.err
    record = done.record
    assert record["status"] == "succeeded"
    tasks = [(task["name"], task["item"]) for task in record["tasks"]]
    assert tasks[:3] == [("prepare-data", None), ("split-data", None), ("preprocess", None)]
    assert sorted(tasks[3:10]) == [("train-model", code) for code in range(7)]  # side by side, in any order
    assert tasks[10:] == [("combine-models", None), ("evaluate-model", None), ("promote-model", None)]
    assert all(task["state"] == "succeeded" and task["seconds"] > 0 for task in record["tasks"])
    assert record["data"]["source"] == "sample:1400"
    assert record["data"]["rows"] == 1400
    assert record["parameters"]["max_iter"] == 3
    assert record["parameters"]["learning_rate"] == 0.2
    assert 0.5 < record["metrics"]["accuracy"] < 1
    assert [*record["metrics"]["f1"]] == [str(code) for code in range(7)]
    assert sum(record["metrics"]["rows"].values()) == pytest.approx(280, abs=7)
    assert record["spec_sha256"] == hashlib.sha256((done.folder / "pipeline.yaml").read_bytes()).hexdigest()
    assert len([*yaml.safe_load_all((done.folder / "pipeline.yaml").read_text())]) == 1

    assert "1,400 simulated rows" in done.err
    assert re.search(r"train-model\[3\] +started", done.err)
    assert re.search(r"evaluate-model +succeeded +\d+\.\d s", done.err)
    assert f"macro-F1 {record['metrics']['macro_f1']:.4f}" in done.out
    assert str(done.folder) in done.out.replace("\n", "")
    assert "simulated-1400.parquet" in Path(record["report"]).read_text()
    X = simulate(20).drop(columns="Cover_Type")
    assert joblib.load(record["model"]).predict(X).shape == (20,)
    logs = {path.relative_to(done.folder / "logs").as_posix() for path in (done.folder / "logs").rglob("*.log")}
    assert logs >= {"prepare-data.log", "for-loop-1/6/train-model.log"}


def test_class_names_are_data_and_never_read_as_placeholders(local_run, tmp_path, rows):
    """kfp.local expands such text in parameters and metadata, which once trained a wrong model without a word."""
    names = ["python3, {{$}}", "{{$.inputs.parameters['label']}}", "{{$.x}}", "a/b", '"quoted"', "<b>é</b> 🌲", "[red]"]
    rows["kind"] = [names[code] for code in rows.pop("Cover_Type")]
    folder = tmp_path / "python3 rows"
    folder.mkdir()
    rows.to_csv(folder / "rows.csv", index=False)

    done = local_run("--identifier", "x", "--data", str(folder / "rows.csv"), "--label", "kind", "--set", "max_iter=10")

    assert done.status == 0, done.err
    assert [*done.record["metrics"]["f1"]] == sorted(names)
    common = max(names, key=lambda name: done.record["metrics"]["rows"][name])
    assert done.record["metrics"]["f1"][common] > 0.6
    assert joblib.load(done.record["model"]).classes_.tolist() == sorted(names)
    for name in names:
        assert name in done.out


@pytest.mark.slow
def test_test_rows_that_were_trained_on_are_counted_and_told(local_run, rows, tmp_path):
    pd.concat([rows, rows.head(300)]).to_csv(tmp_path / "rows.csv", index=False)
    done = local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), *FAST)
    train, test = (pd.read_parquet(done.folder / "artifacts" / "split-data" / part) for part in ("train", "test"))
    both = test.merge(train.drop_duplicates(), how="inner")
    assert 0 < len(both) == done.record["data"]["duplicates"]
    assert f"note: {len(both)} test rows stand in the training part as well" in done.err
    page = (done.folder / "report.html").read_text("utf-8")
    assert f"<bdi>Test rows seen in training</bdi></dt><dd><bdi>{len(both)}</bdi>" in page


def test_same_seed_gives_the_same_figures_to_the_last_digit(local_run):
    arguments = ("--identifier", "x", "--data", "sample:700", *FAST)
    first, second = (local_run(*arguments, "--set", "seed=5").record["metrics"] for _ in range(2))
    assert first == second


def test_what_only_a_step_can_know_fails_there_with_its_message(local_run, tmp_path):
    (tmp_path / "rows.csv").write_text("x,kind\n1,a\n2,a\n3,\n")
    done = local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--label", "kind")

    assert done.status == 1
    message = (
        "1 of 3 rows have no label in 'kind', the first is data row 3. Fill them in, or leave these rows "
        "out with --set drop_unlabeled=true. Empty cells and words such as NA, null and nan count as missing; "
        "--set na_values=WORDS says which words do (a JSON list; [] for none, so that NA can be North America)."
    )
    assert f"Error: prepare-data failed: {message}\nLog: " in done.err
    assert "Traceback" not in done.err
    assert done.record["status"] == "failed"
    assert [(task["name"], task["state"], task["error"]) for task in done.record["tasks"]] == [
        ("prepare-data", "failed", message)
    ]
    assert "Traceback" in (done.folder / "logs" / "prepare-data.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[
            (("--identifier", identifier), "expected 1 to 40 of a-z, 0-9 and -, starting with a letter")
            for identifier in ("Mine", "a b", "a/b", "..", "", "1st", "a" * 200)
        ],
        ((), "--identifier is missing"),
        (("--identifier", "x", "--data", "missing.csv"), "there is no such file"),
        (("--identifier", "x", "--data", "sample:0"), "takes a whole number of rows"),
        (("--identifier", "x", "--label", "Cover"), "Did you mean 'Cover_Type'?"),
        (("--identifier", "x", "--label", "{{$}}"), "KFP would expand the {{$"),
        (("--identifier", "x", "--set", "max_iter"), "--set takes KEY=VALUE"),
        (("--identifier", "x", "--set", "max_iter=many"), "expected a whole number"),
        (("--identifier", "x", "--set", "max_iter=-1"), "--set max_iter=-1: expected a value from 1 to 10,000."),
        (("--identifier", "x", "--set", "test_size=1"), "expected a value between 0 and 1"),
        (("--identifier", "x", "--set", "trees=3"), "has no parameter 'trees'"),
        (("--identifier", "x", "--engine", "mars"), "'mars': Input should be 'local' or 'vertex'"),
        (("--identifier", "x", "--pipeline", "nope"), "is none of the pipelines"),
        (("--nonsense",), "No such option"),
    ],
)
def test_wrong_request_is_refused_before_anything_is_started(local_run, tmp_path, arguments, message):
    refused = local_run(*arguments)
    assert refused.status == 2
    assert message in refused.err
    assert refused.err.count("\n") <= 5
    assert "Traceback" not in refused.err
    assert [*tmp_path.iterdir()] == []


def test_columns_are_left_out_or_stay_as_asked(local_run, rows, tmp_path):
    rows["number"], rows["copy"] = range(len(rows)), rows["Cover_Type"]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    data = ("--identifier", "x", "--data", str(tmp_path / "rows.csv"), *FAST)
    told = " ".join(local_run(*data, "--check").out.split())  # notes are broken into lines
    assert "another value on every row; --set keep=COLUMN keeps it" in told
    assert "reveals the label 'Cover_Type'; --set drop=COLUMN leaves it out" in told
    done = local_run(*data, "--set", 'drop=["copy", "Aspect"]', "--set", "keep=number")
    assert done.status == 0, done.err
    assert "note: 'copy' is left out: as asked" in done.err
    assert done.record["parameters"]["drop"] == ["copy", "Aspect"]
    assert done.record["metrics"]["accuracy"] < 1
    learned = {*joblib.load(done.record["model"])[0].columns}
    assert learned == {*rows} - {"Cover_Type", "copy", "Aspect"}


def test_compile_only_writes_the_spec_and_runs_nothing(local_run, tmp_path):
    done = local_run("--compile-only", str(tmp_path / "spec.json"), "--set", "max_iter=7")
    assert done.status == 0
    inputs = json.loads((tmp_path / "spec.json").read_text())["root"]["inputDefinitions"]["parameters"]
    assert inputs["max_iter"]["defaultValue"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["spec.json"]


def test_help_and_the_local_engine_import_nothing_that_they_do_not_need():
    """Start-up stays short: help imports neither kfp nor pandas, a local run no cloud SDK."""
    for code, heavy in (
        ("import run, sys; run.main(['--help'])", {"kfp", "pandas", "pydantic"}),
        ("import run, pipeline.engines.local, sys", {"google.cloud.aiplatform", "pandas", "sklearn"}),
    ):
        command = [sys.executable, "-c", f"{code}; print('LOADED', *sys.modules)"]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert not heavy & {*printed.stdout.split("LOADED ")[1].split()}


@pytest.mark.slow
def test_real_rows_reach_the_accuracy_of_a_plain_script(local_run, covertype_csv):
    """100 trees, rate 0.2, 63 leaves and l2 1.0 gave 0.885 and 0.848 in a plain script."""
    done = local_run("--identifier", "real", "--data", str(covertype_csv))
    assert done.status == 0, done.err
    assert done.record["data"]["rows"] == 92_962
    assert done.record["metrics"]["accuracy"] >= 0.88
    assert done.record["metrics"]["macro_f1"] >= 0.83

    # the model loads outside of the checkout, and predicts the raw rows
    code = (
        "import joblib, pandas, sys\n"
        "X = pandas.read_csv(sys.argv[2])\n"
        "y = X.pop('Cover_Type')\n"
        "print(joblib.load(sys.argv[1]).score(X, y), *[name for name in sys.modules if name in ('kfp', 'steps')])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, done.record["model"], covertype_csv],
        cwd=done.folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.9 < float(printed.stdout) < 1  # its training rows among them


def test_runs_are_never_overwritten(local_run):
    first, second = (local_run("--identifier", "x", "--data", "sample:50", *FAST) for _ in range(2))
    assert first.folder != second.folder
    assert json.loads((first.folder / "run.json").read_text()) == first.record
    assert (second.folder.parent / "latest").resolve() == second.folder


def test_main_is_what_the_shell_runs():
    printed = subprocess.run([sys.executable, "run.py", "--identifier", "X"], cwd=ROOT, capture_output=True, text=True)
    assert printed.returncode == run.main(["--identifier", "X"]) == 2
    assert printed.stderr.startswith("Error: --identifier 'X': expected 1 to 40")


def test_frame_of_the_test_rows_is_read_back_from_the_run(local_run):
    done = local_run("--identifier", "x", "--data", "sample:700", *FAST)
    test = pd.read_parquet(done.folder / "artifacts" / "split-data" / "test")
    assert len(test) == sum(done.record["metrics"]["rows"].values())
