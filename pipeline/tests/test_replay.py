import io
import json
import os
import re

import joblib
import pytest

from pipeline import PIPELINES
from pipeline import __main__ as verbs
from pipeline.runs import load
from pipeline.tests.conformance import graphs, parameters
from pipeline.tests.test_process import execute  # noqa: F401


@pytest.fixture
def trained(local_run):
    return local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=2")


@pytest.fixture
def failed(local_run, tmp_path):
    """A run whose first task failed: a row has no label."""
    (tmp_path / "rows.csv").write_text("size,kind\n1,a\n2,b\n3,a\n4,b\n5,\n")
    return local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--label", "kind")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_task_runs_again_on_its_inputs_with_the_code_of_now_beside_the_run(trained, tmp_path, capsys):
    spec = trained.folder / "pipeline.yaml"
    spec.write_text(spec.read_text().replace("HistGradientBoostingClassifier", "Gone"))  # the code as it was then
    before = contents(trained.folder)

    assert verbs.main(["replay", "x", "latest/train-model[3]"]) == 0
    shown = capsys.readouterr()
    model = next((tmp_path / "runs" / ".replays" / "x").glob("*-train-model-3/class_model"))
    ran = trained.folder / "artifacts" / "for-loop-1" / "3" / "train-model" / "class_model"
    features = load("x").frame("preprocess", "test_features").drop(columns="Cover_Type")
    again, then = (joblib.load(path).predict_proba(features) for path in (model, ran))  # the files name their threads
    assert (again == then).all()
    assert str(model) in shown.out
    assert contents(trained.folder) == before

    assert verbs.main(["replay", "x", f"{trained.record['run_id']}/evaluate-model"]) == 0
    assert f"{trained.record['metrics']['macro_f1']}" in capsys.readouterr().out


def test_failed_task_fails_again_until_what_it_reads_is_mended(failed, tmp_path, capsys):
    again = f"python -m pipeline replay x '{failed.record['run_id']}/prepare-data' --pdb"
    assert again in failed.err
    assert verbs.main(["replay", "x", "latest/prepare-data"]) == 1
    shown = capsys.readouterr()
    assert "prepare-data failed: 1 of 5 rows have no label in 'kind'" in shown.err
    assert "Traceback" not in shown.err
    log = next((tmp_path / "runs" / ".replays" / "x").glob("*-prepare-data/error.log"))
    assert "Traceback" in log.read_text()

    (tmp_path / "rows.csv").write_text("size,kind\n1,a\n2,b\n3,a\n4,b\n5,b\n")
    assert verbs.main(["replay", "x", "latest/prepare-data"]) == 0
    assert "Output           [1]" in capsys.readouterr().out


def test_debugger_stops_at_the_line_of_the_step(failed, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("up\np label\nq\n"))
    assert verbs.main(["replay", "x", "latest/prepare-data", "--pdb"]) == 1
    shown = capsys.readouterr().out
    stopped, _, above = shown.partition("(Pdb)")
    assert "steps/tables/schema.py" in stopped  # a module that the step ships is its own
    assert "steps/prepare_data.py" in above
    assert "(Pdb) 'kind'" in shown


def test_unknown_run_task_and_item_are_told_with_those_that_exist(trained, capsys):
    for task, message in (
        ("latest", "'latest' names no task: expected RUN/TASK"),
        ("2019/split-data", "x has no run '2019'"),
        ("latest/train_model", "has no task 'train_model'. Its tasks are: prepare-data, split-data, preprocess, "),
        ("latest/train-model", "has no task 'train-model'. Its tasks are: "),
        ("latest/train-model[7]", "train-model[6]"),
    ):
        assert verbs.main(["replay", "x", task]) == 2
        assert message in capsys.readouterr().err


def test_what_is_gone_from_the_run_folder_is_named(trained, capsys):
    train = trained.folder / "artifacts" / "split-data" / "train"
    train.unlink()
    assert verbs.main(["replay", "x", "latest/preprocess"]) == 2
    assert (
        f"The file {train} of the run {trained.record['run_id']} is gone. It was an input of preprocess"
        in capsys.readouterr().err
    )
    (trained.folder / "inputs" / "split-data.json").unlink()
    assert verbs.main(["replay", "x", "latest/split-data"]) == 2
    assert "The inputs of split-data cannot be read from" in capsys.readouterr().err
    (trained.folder / "pipeline.yaml").unlink()
    assert verbs.main(["replay", "x", "latest/combine-models"]) == 2
    assert "pipeline.yaml cannot be read" in capsys.readouterr().err


def test_input_from_anywhere_else_is_not_used(trained, tmp_path, capsys):
    """A step may execute what it is given, as a pickle."""
    inputs = trained.folder / "inputs" / "evaluate-model.json"
    given = json.loads(inputs.read_text())
    (artifact,) = given["artifacts"]["model"]["artifacts"]
    evil = tmp_path / "evil"
    evil.mkdir()
    joblib.dump("evil", evil / "model.joblib")
    link = trained.folder / "artifacts" / "link"
    link.symlink_to(evil)
    for uri in (evil, link, trained.folder / ".." / ".." / ".." / "evil"):
        artifact["uri"] = str(uri)
        inputs.write_text(json.dumps(given))
        assert verbs.main(["replay", "x", "latest/evaluate-model"]) == 2
        assert f"{uri} is not of the run" in capsys.readouterr().err


def test_damaged_inputs_are_told(trained, capsys):
    outside = '{"artifacts": {"../../x": {"artifacts": []}}}'
    for content in ('{"artifacts": 3}', "{}", "[" * 10_000, "null", outside, "\\x00", ""):
        (trained.folder / "inputs" / "split-data.json").write_text(content)
        assert verbs.main(["replay", "x", "latest/split-data"]) == 2, content
        told = capsys.readouterr().err
        assert re.search("inputs of split-data cannot be read|did not have", told), content
        assert len(told.splitlines()) <= 5


def test_step_that_needs_more_than_the_run_had_is_told(trained, capsys):
    inputs = trained.folder / "inputs" / "for-loop-1" / "3" / "train-model.json"
    kept = json.loads(inputs.read_text())
    del kept["parameterValues"]["class_code"], kept["artifacts"]["train_features"], kept["parameterValues"]["max_iter"]
    inputs.write_text(json.dumps(kept))
    assert verbs.main(["replay", "x", "latest/train-model[3]"]) == 2
    told = "The step of train-model[3] now needs class_code, train_features, which the run did not have."
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_task_of_a_job_on_vertex_runs_here_on_inputs_from_the_bucket(vertex, local_run, tmp_path, capsys):
    ran = local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=2")
    assert ran.record["engine"] == "vertex"
    for title in ("train-model[3]", "combine-models", "evaluate-model"):
        assert verbs.main(["replay", "x", f"latest/{title}"]) == 0, capsys.readouterr().err
    assert f"{ran.record['metrics']['macro_f1']}" in capsys.readouterr().out
    fetched = next((tmp_path / "runs" / ".replays" / "x").glob("*-combine-models/inputs"))
    assert {path.name for path in fetched.iterdir()} == {
        "train-0",
        "preprocessor-0",
        *(f"class_models-{n}" for n in range(7)),
    }


def test_variables_of_the_pipeline_are_set_and_a_path_names_a_task(
    execute,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
):
    for name, pipeline in (("environment", parameters.environment), ("twice", graphs.twice)):
        monkeypatch.setitem(PIPELINES, "x", f"{pipeline.pipeline_func.__module__}:{name}")
        monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path))
        assert execute(pipeline).status == "succeeded"
        task = {"environment": "variable", "twice": "fit-2/write"}[name]
        assert verbs.main(["replay", "x", f"latest/{task}"]) == 0
        shown = capsys.readouterr().out
        assert "fast" in shown if name == "environment" else "file" in shown
    assert "MODE" not in os.environ
    replayed = next((tmp_path / ".replays" / "x").glob("*-fit-2-write/file"))
    assert replayed.read_text() == "two"
