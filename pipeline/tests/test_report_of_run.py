from datetime import UTC, datetime

import pytest

from pipeline import history, report
from pipeline.runs import Data, Git, Run, Task

PAGE = "<p>It works<!-- verdict -->.</p><nav><!-- nav --></nav><main><!-- run --></main>"


@pytest.fixture
def record():
    def make(**fields):
        known = {
            "identifier": "x",
            "run_id": "20260102T000000-abcd",
            "pipeline": "training",
            "engine": "local",
            "status": "succeeded",
            "started": datetime(2026, 1, 2, tzinfo=UTC),
            "seconds": 12.5,
            "parameters": {"max_iter": 100, "label": "<b>kind</b>"},
            "data": Data(source="rows.csv", fingerprint="1"),
            "git": Git(commit="abc123", dirty=True),
            "versions": {"scikit-learn": "1.9.1"},
            "tasks": [Task(name="train-model", item=0, state="succeeded", seconds=4), Task(name="other", cached=True)],
            "metrics": {"accuracy": 0.9, "macro_f1": 0.8},
        }
        return Run(**known | fields)

    return make


def test_completed_page_tells_parameters_versions_commit_and_times_as_text(record):
    page = report.complete(PAGE, record(), None)
    for told in ("abc123, with changes", "scikit-learn", "1.9.1", "12.5", "train-model[0]", "from the cache", "local"):
        assert told in page
    assert "&lt;b&gt;kind&lt;/b&gt;" in page
    assert "<b>kind" not in page
    assert '<i style="--v:1.0000">' in page
    assert "It works.</p>" in page
    assert '<a href="#run">' in page
    assert "<!--" not in page


@pytest.mark.parametrize(
    ("figures", "fingerprint", "told"),
    [
        ({"accuracy": 0.85, "macro_f1": 0.81}, "1", ", accuracy is up 0.050 and macro-F1 is down 0.010."),
        ({"accuracy": 0.9, "macro_f1": 0.8}, "2", " on other data, nothing has changed."),
    ],
)
def test_verdict_names_the_difference_to_the_previous_run(record, figures, fingerprint, told):
    previous = record(
        run_id="20260101T000000-abcd",
        metrics=figures,
        parameters={"max_iter": 50, "label": "<b>kind</b>"},
        data=Data(source="rows.csv", fingerprint=fingerprint),
    )
    page = report.complete(PAGE, record(), previous)
    assert f"It works; against the previous run{told}" in page
    assert page.count("changed</span>") == 1
    assert "20260101T000000-abcd" in page


def test_a_page_without_places_stays_as_it_is(record):
    assert report.complete("<p>other</p>", record(), None) == "<p>other</p>"


def test_former_run_is_the_newest_with_figures_before_it_of_the_same_pipeline(record, tmp_path):
    (tmp_path / "spec.yaml").write_text("{}")
    made = {}
    for day, fields in enumerate([{}, {"pipeline": "other"}, {"metrics": None}, {}, {}], start=1):
        made[day] = record(run_id=f"2026010{day}T000000-abcd", **fields)
        made[day]._folder = tmp_path / "x" / made[day].run_id
        made[day].begin(tmp_path / "spec.yaml")
    (tmp_path / "x" / "20260103T120000-abcd").mkdir()

    assert history.former(made[4]).run_id == made[1].run_id
    assert history.former(made[5]).run_id == made[4].run_id
    assert history.former(made[1]) is None
    (made[4].folder / "run.json").write_text("{")
    assert history.former(made[5]).run_id == made[1].run_id


@pytest.mark.slow
def test_report_of_a_second_run_compares_itself_with_the_first(local_run):
    arguments = ("--identifier", "x", "--data", "sample:200", "--set")
    first = local_run(*arguments, "max_iter=1")
    second = local_run(*arguments, "max_iter=2")
    page = (second.folder / "report.html").read_text("utf-8")
    assert "; against the previous run, accuracy is " in page
    assert first.record["run_id"] in page
    assert "evaluate-model" in page
    assert "against the previous run" not in (first.folder / "report.html").read_text("utf-8")
