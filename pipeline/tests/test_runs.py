import json
import pickle
import shutil
from pathlib import Path

import pytest

from pipeline import RequestError, runs
from pipeline.runs import Data, Task, load
from steps.tables.fingerprints import sha256


@pytest.fixture
def recorded(tmp_path):
    """Records of three runs that have begun, oldest first."""
    (tmp_path / "spec.yaml").write_text("{}")
    made = []
    for day in (1, 2, 3):
        run = runs.new(
            tmp_path, "x", pipeline="training", engine="local", parameters={}, data=Data(source="none", fingerprint="")
        )
        run.run_id = f"2026010{day}T000000-abcd"
        run._folder = tmp_path / "x" / run.run_id
        run.begin(tmp_path / "spec.yaml")
        made.append(run)
    return made


def test_run_is_found_by_its_id_the_beginning_of_it_latest_and_previous(recorded, tmp_path):
    first, second, third = (run.run_id for run in recorded)
    for name, run_id in ((first, first), ("20260102", second), ("previous", second), ("latest", third)):
        assert load("x", name, tmp_path).run_id == run_id


@pytest.mark.parametrize(
    ("identifier", "name", "message"),
    [
        ("y", "latest", "There are no runs of 'y' in .*There are runs of: x\\."),
        ("x", "20270101", "x has no run '20270101'\\. Its runs are, newest first: 20260103T000000-abcd, 20260102"),
        ("x", "2026", "x has 3 runs '2026'"),
        ("x", "", "x has no run ''"),
    ],
)
def test_unknown_run_is_told_with_those_that_exist(recorded, tmp_path, identifier, name, message):
    with pytest.raises(RequestError, match=message):
        load(identifier, name, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "it is missing"), ("{", "Invalid JSON"), ("{}", "identifier: Field required")]
)
def test_damaged_record_is_told_with_what_is_left(recorded, tmp_path, content, reason):
    record = recorded[-1].folder / "run.json"
    record.unlink() if content is None else record.write_text(content)
    with pytest.raises(RequestError, match=reason) as told:
        load("x", "latest", tmp_path)
    assert "logs, pipeline.yaml" in str(told.value)
    assert runs.of_job(tmp_path, "any") is None  # others are still looked through


def test_model_is_loaded_only_if_it_is_the_one_that_was_recorded(local_run, tmp_path):
    local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=1")
    run = load("x")
    file, evil = Path(run.model_file), tmp_path / "evil"
    evil.write_bytes(pickle.dumps(Evil(str(tmp_path / "executed"))))

    record = (run.folder / "run.json").read_text()
    (run.folder / "run.json").write_text(record.replace(str(file), str(evil)))
    with pytest.raises(RequestError, match="is not the one that the run"):
        load("x").model()
    changed = json.loads(record) | {"model": str(evil), "sha256": {str(evil): sha256(str(evil))}}
    (run.folder / "run.json").write_text(json.dumps(changed))
    with pytest.raises(RequestError, match="it lies outside of the run"):
        load("x").model()
    (run.folder / "run.json").write_text(json.dumps(json.loads(record) | {"sha256": {}}))
    with pytest.raises(RequestError, match="it has no SHA-256 in its record"):
        load("x").model()

    (run.folder / "run.json").write_text(record)
    assert load("x").model()
    kept = file.read_bytes()
    for planted in (lambda: shutil.copy(evil, file), lambda: file.symlink_to(evil)):
        file.unlink()
        planted()
        with pytest.raises(RequestError, match="is not the one that the run"):
            load("x").model()
    file.unlink()
    with pytest.raises(RequestError, match="is gone"):
        load("x").model()
    file.write_bytes(kept)
    assert not (tmp_path / "executed").exists()

    predictions = Path(run.task("evaluate-model").outputs["predictions"])
    run.frame("split-data", "test").to_parquet(predictions)
    with pytest.raises(RequestError, match="is not the one that the run"):
        load("x").frame("evaluate-model", "predictions")


class Evil:
    """Executes something when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../b", "a\0b"])
@pytest.mark.parametrize("where", ["name", "path", "outputs"])
def test_names_in_a_record_stay_in_its_folder(recorded, tmp_path, where, name):
    record = recorded[-1].folder / "run.json"
    task = {"name": "a", where: {name: "gs://b/c"} if where == "outputs" else name}
    record.write_text(json.dumps(json.loads(record.read_text()) | {"tasks": [task]}))
    with pytest.raises(RequestError, match="expected a name that stays in its folder"):
        load("x", "latest", tmp_path)


def test_run_in_a_notebook_gives_tables_the_model_and_the_report(local_run):
    ran = local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=2")
    run = load("x")
    assert run.metrics["accuracy"] == ran.record["metrics"]["accuracy"]
    test = run.frame("split-data", "test")
    predicted = run.model().predict(test.drop(columns="Cover_Type"))
    assert (predicted == test["Cover_Type"]).mean() == run.metrics["accuracy"]
    page = run._repr_html_()
    assert page.startswith('<iframe sandbox="" srcdoc=')
    assert "&lt;h1&gt;" in page

    for title, output, message in (
        ("split_data", "test", "has no task 'split_data'. Its tasks are: prepare-data, split-data"),
        ("split-data", "rows", "has no output 'rows'. Its outputs are: "),
        ("combine-models", "model", "The output 'model' of combine-models is no table"),
    ):
        with pytest.raises(RequestError) as told:
            run.frame(title, output)
        assert message in str(told.value)
    (run.folder / "report.html").unlink()
    (run.folder / "artifacts" / "split-data" / "test").unlink()
    assert run._repr_html_() == f"<p>Run {run.run_id} of x: succeeded, no report.</p>"
    with pytest.raises(RequestError, match=r"artifacts/split-data/test of the run .* is gone"):
        run.frame("split-data", "test")


@pytest.mark.slow
def test_run_on_vertex_gives_the_same_from_the_bucket(vertex, local_run):
    local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=2")
    run = load("x")
    test = run.frame("split-data", "test")
    assert len(test) == sum(run.metrics["rows"].values())
    predicted = run.model().predict(test.drop(columns="Cover_Type"))
    assert (predicted == test["Cover_Type"]).mean() == run.metrics["accuracy"]


def test_run_without_a_model_says_so(recorded):
    with pytest.raises(RequestError, match="20260101T000000-abcd has no model: it is running"):
        recorded[0].model()


def test_only_a_run_that_was_never_started_is_discarded_and_nothing_else_with_it(recorded, tmp_path):
    first, second, third = recorded
    first.start(Task(name="prepare-data"))
    second.job = "projects/p/locations/l/pipelineJobs/second"
    assert not runs.discard(first)
    assert not runs.discard(second)
    assert runs.discard(third)
    assert load("x", "latest", tmp_path).run_id == second.run_id
    assert {path.name for path in (tmp_path / "x").iterdir()} == {first.run_id, second.run_id, "latest"}


def test_what_others_keep_beside_a_discarded_run_stays(recorded, tmp_path):
    (tmp_path / "x" / "notes.txt").write_text("mine")
    (tmp_path / "x" / "zzz").mkdir()
    assert all(runs.discard(run) for run in recorded)
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"notes.txt", "zzz"}
