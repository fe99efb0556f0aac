import pytest

from pipeline import RequestError, runs
from pipeline.runs import Data, Task, load


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
