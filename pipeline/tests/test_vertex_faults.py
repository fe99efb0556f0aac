"""What a service, a network and whatever lies in between can do to a job: it is never lost and never belied."""

import copy
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from google.cloud import aiplatform

from pipeline import ROOT, __main__, runs, storage
from pipeline.engines import vertex, vertex_service, vertex_tasks

PIPELINE = """
from kfp import dsl
from kfp.dsl import HTML, Metrics, Output


@dsl.component(base_image="python:3.11")
def add(a: int, metrics: Output[Metrics], report: Output[HTML]) -> int:
    metrics.log_metric("sum", a + 1)
    with open(report.path, "w") as file:
        file.write("<p>sum</p>")
    return a + 1


@dsl.component(base_image="python:3.11")
def fail():
    raise ValueError("no sum")


@dsl.pipeline(name="adding")
def adding(a: int = 1) -> int:
    return add(a=a).outputs["Output"]


@dsl.pipeline(name="failing")
def failing():
    fail()
"""
HTML = "<!DOCTYPE html><html><body>Sign in to the network</body></html>"
UNREADABLE = {
    "HTML": {"status": 200, "body": HTML},
    "empty": {"status": 200, "body": ""},
    "half": {"status": 200, "cut": -3},
    "half of JSON": {"status": 200, "body": '{"name": "projects/de'},
    "a list": {"status": 200, "body": "[1]"},
    "a text": {"status": 200, "body": '"x"'},
    "null": {"status": 200, "body": "null"},
    "a number": {"status": 200, "body": "17"},
    "not UTF-8": {"status": 200, "body": "\x80\udcff".encode("utf-8", "replace").decode()},
    "deep": {"status": 200, "body": "[" * 5000},
}
SILENT = {
    "408": {"status": 408},
    "429": {"status": 429},
    "500": {"status": 500},
    "502 of a proxy": {"status": 502, "body": HTML},
    "503": {"status": 503},
    "503 with a list": {"status": 503, "body": '[{"error": "x"}]'},
    "503 with a text as error": {"status": 503, "body": '{"error": "x"}'},
    "504": {"status": 504},
    "reset": {"status": 503, "drop": True},
    "hang": {"status": 503, "hang": 0.8},
}
REFUSED = {
    "400": {"status": 400},
    "401": {"status": 401},
    "403": {"status": 403},
    "403 of a proxy": {"status": 403, "body": HTML},
    "404": {"status": 404},
    "407 of a proxy": {"status": 407, "body": HTML},
    "409": {"status": 409},
    "418": {"status": 418},
}
LOST = {f"{name}, done all the same": fault | {"act": True} for name, fault in (UNREADABLE | SILENT).items()}
FAULTS = UNREADABLE | SILENT | REFUSED
BEFORE = {"jobs": ("GET", "/pipelineJobs?"), "bucket": ("GET", "/storage/v1/b/trees")}
CREATE, LOOK = ("POST", "/pipelineJobs?"), ("GET", "/pipelineJobs/")
ALWAYS = 10_000
IN_SHORT = ("HTML", "503", "401", "HTML, done all the same")


def slow(*values):
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow) for value in values
    ]


# all workers of a run of the tests draw the same; CHAOS_ALL=1 draws all, which takes several minutes
DRAWN = random.Random(os.environ.get("CHAOS_SEED", os.environ.get("PYTEST_XDIST_TESTRUNUID", "")))
SHARE = 1.0 if os.environ.get("CHAOS_ALL") else 0.2


def each(names):
    """Parametrise a test by faults: some always, and a random share of the others in the slow tests."""
    short = [name for name in names if name in IN_SHORT]
    others = [name for name in names if name not in IN_SHORT]
    drawn = DRAWN.sample(others, max(1, round(SHARE * len(others)))) if others else []
    return pytest.mark.parametrize("fault", [*short, *slow(*drawn)])


@pytest.fixture
def faulty(vertex, monkeypatch):
    """The played service with its faults, Cloud Storage behind it, and little patience."""
    monkeypatch.setenv("COVERTYPE_POLL_SECONDS", "0.01")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", vertex.url)
    fail = vertex.fail

    def hurried(*arguments, **options):
        if "hang" in options:
            monkeypatch.setattr(vertex_service, "TIME_LIMIT", 0.5)
        fail(*arguments, **options)

    monkeypatch.setattr(vertex, "fail", hurried)
    storage.client.cache_clear()
    yield vertex
    vertex.mend()
    storage.client.cache_clear()


@pytest.fixture
def submit(faulty, local_run, tmp_path):
    """Run a small pipeline; returns what local_run does, with the states of the jobs that were created."""
    (tmp_path / "p.py").write_text(PIPELINE)

    def command(*arguments, name="adding"):
        known, begun = faulty.jobs().keys(), time.monotonic()
        done = local_run("--identifier", "x", "--pipeline", f"{tmp_path}/p.py:{name}", *arguments)
        assert time.monotonic() - begun < 20
        assert "Traceback" not in done.err
        done.created = {job: state for job, state in faulty.jobs().items() if job not in known}
        return done

    return command


@pytest.fixture
def follow(faulty, capsys):
    """Follow a job; returns the status and what was shown."""

    def command(job):
        begun = time.monotonic()
        status = __main__.main(["follow", job])
        assert time.monotonic() - begun < 20
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return SimpleNamespace(status=status, out=shown.out, err=shown.err)

    return command


def read(done):
    return json.loads((done.folder / "run.json").read_text())


def assert_true(done):
    """Check that what a submission says of its job is so."""
    if done.status == 2:
        assert not done.created
        assert not done.folder.exists()
        return
    (job,) = done.created
    assert done.record["job"].endswith(f"/{job}")
    if done.record["status"] == "running":
        assert f"python -m pipeline follow {done.record['job']}" in done.err
        assert f"python -m pipeline cancel {done.record['job']}" in done.err
    else:
        assert done.record["status"] == done.created[job].lower()


@each(FAULTS)
@pytest.mark.parametrize("call", BEFORE)
def test_fault_before_a_submission_is_told_and_nothing_is_created(submit, faulty, call, fault):
    faulty.fail(*BEFORE[call], **FAULTS[fault], times=ALWAYS)
    done = submit("--no-wait")
    if (call, fault) == ("jobs", "a text"):  # protobuf's JSON takes it for an empty list
        return
    assert (done.status, done.created) == (2, {})
    assert not done.folder.exists()
    assert "a job of this id exists" not in done.err
    error = done.err[done.err.index("Error: ") :]
    assert len(error.splitlines()) <= 5
    if fault in UNREADABLE:
        assert "the answer cannot be read" in error or "the service does not answer" in error
    if fault in SILENT:
        assert "the service does not answer" in error or "the answer cannot be read" in error
    if fault == "401":
        assert "gcloud auth application-default login" in error


@each(UNREADABLE | SILENT)
@pytest.mark.parametrize("call", [*BEFORE.values(), CREATE, LOOK], ids=[*BEFORE, "create", "look"])
def test_fault_that_passes_is_none(submit, faulty, call, fault):
    faulty.fail(*call, **FAULTS[fault], times=2)
    done = submit()
    assert (done.status, done.record["status"]) == (0, "succeeded"), done.err
    assert [*done.created.values()] == ["SUCCEEDED"]


@each(sorted(FAULTS.keys() - {"half"}))  # which is of an answer to what was done
def test_submission_that_came_to_nothing_leaves_nothing(submit, faulty, fault):
    faulty.fail(*CREATE, **FAULTS[fault], times=ALWAYS)
    done = submit()
    assert (done.status, done.created) == (2, {}), done.err
    assert not done.folder.exists()
    assert "Error: the submission failed: " in done.err


@each(LOST)
@pytest.mark.parametrize("times", [ALWAYS, *slow(1)])
def test_job_whose_creation_was_not_answered_is_followed(submit, faulty, fault, times):
    faulty.fail(*CREATE, **LOST[fault], times=times)
    done = submit()
    assert (done.status, done.record["status"]) == (0, "succeeded"), done.err
    assert_true(done)


@each(LOST)
def test_job_of_which_nothing_is_known_is_left_running_with_its_name(submit, follow, faulty, fault):
    faulty.fail(*CREATE, **LOST[fault], times=ALWAYS)
    faulty.fail(*LOOK, 503, times=ALWAYS)
    done = submit()
    assert (done.status, done.record["status"]) == (1, "running")
    unknown = ("it is not known whether the job was created: ", "the job cannot be watched any more: ")
    assert any(f"Error: {told}" in done.err for told in unknown)  # the latter where a later try said that it exists
    assert_true(done)
    faulty.mend()
    assert follow(done.record["job"]).status == 0
    assert read(done)["status"] == "succeeded"


@each(FAULTS)
@pytest.mark.parametrize("after", [0, 1])
def test_job_that_cannot_be_watched_is_left_running(submit, follow, faulty, monkeypatch, fault, after):
    monkeypatch.setattr(vertex, "N_TRIES", 4)
    for _ in range(5):  # a job that has ended by the first look is looked at no more
        faulty.fail(*LOOK, **FAULTS[fault], times=ALWAYS, after=after)
        done = submit()
        if not (after and done.record["status"] == "succeeded"):
            break
        faulty.mend()
    assert (done.status, done.record["status"]) == (1, "running")
    assert "Error: the job cannot be watched any more: " in done.err
    assert_true(done)
    faulty.mend()
    assert follow(done.record["job"]).status == 0
    assert read(done)["status"] == "succeeded"


@each(FAULTS)
def test_record_of_an_ended_job_stays_as_it_is_where_it_cannot_be_asked_again(
    submit, follow, faulty, monkeypatch, fault
):
    monkeypatch.setattr(vertex, "N_TRIES", 3)
    done = submit()
    faulty.fail(*LOOK, **FAULTS[fault], times=ALWAYS)
    assert follow(done.record["job"]).status == 2
    assert read(done) == done.record


def test_job_that_vanished_is_told_and_its_record_stays(submit, follow, faulty):
    done = submit("--no-wait")
    faulty.forget(done.record["job"].rpartition("/")[2])
    told = follow(done.record["job"])
    assert told.status == 2
    assert f"there is no job {done.record['job']}" in told.err
    assert read(done) == done.record
    assert read(done)["status"] == "running"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"state": 17}, "The job is in state 17, which is unknown here. Watching on."),
        ({"state": "PIPELINE_STATE_DREAMING"}, "The job is in PIPELINE_STATE_UNSPECIFIED, which is unknown here."),
        (
            {"jobDetail": {"taskDetails": {"state": 17}}},
            "add is in state 17, which is unknown here.",
        ),
    ],
)
def test_unknown_state_is_shown_and_ends_nothing(submit, faulty, changes, shown):
    faulty.fail(*LOOK, 200, merge=changes, times=3)
    done = submit()
    assert (done.status, done.record["status"]) == (0, "succeeded"), done.err
    assert done.err.count(shown) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"endTime": 17},
        *slow({"endTime": "yesterday"}),
        *slow({"labels": [1]}),
        *slow({"labels": {"a": {}}}),
        *slow({"jobDetail": 3}),
        {"jobDetail": {"taskDetails": {"startTime": "never"}}},
        *slow({"jobDetail": {"taskDetails": {"outputs": []}}}),
        {"name": ""},
        *slow({"state": {}}),
    ],
    ids=str,
)
def test_field_of_another_type_is_asked_for_again(submit, faulty, changes):
    faulty.fail(*LOOK, 200, merge=changes, times=3)
    done = submit()
    assert (done.status, done.record["status"]) == (0, "succeeded"), done.err


@pytest.mark.parametrize(
    "changes", [{"taskId": "0"}, {"parentTaskId": "0", "taskId": "0"}, {"taskName": "add"}], ids=str
)
def test_tasks_that_lie_in_each_other_end_nothing(submit, faulty, changes):
    faulty.fail(*LOOK, 200, merge={"jobDetail": {"taskDetails": changes}}, times=2)
    assert submit().record["status"] == "succeeded"


def test_names_of_the_service_stay_in_the_folder_of_the_run(submit, faulty, tmp_path):
    details = {"taskName": "../../../evil"}
    faulty.fail(*LOOK, 200, merge={"jobDetail": {"taskDetails": details}}, times=ALWAYS)
    assert submit().record["status"] == "succeeded"
    root, parent = detail(1, "root"), detail(2, "../../evil", 1)
    groups = vertex_tasks._Groups({1: root, 2: parent}, set())
    assert groups.around(detail(3, "..", 2)) == ([], ["_.._evil"])


def detail(number, name, parent=0):
    return SimpleNamespace(task_id=number, task_name=name, parent_task_id=parent, create_time=None)


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_end_without_a_reason_is_told_with_the_address(submit, faulty, state):
    changes = {"state": f"PIPELINE_STATE_{state}", "error": {}, "jobDetail": {"taskDetails": []}}
    faulty.fail(*LOOK, 200, body=json.dumps({"name": "x", **changes}), times=ALWAYS)
    done = submit()
    assert (done.status, done.record["status"]) == (1, state.lower())
    assert f"the service gave no reason. Look at {done.record['url']}" in done.err


def test_log_that_cannot_be_read_costs_itself_only(submit, faulty):
    for fault in UNREADABLE.values():
        faulty.fail("POST", "/v2/entries:list", **fault, times=ALWAYS)
        done = submit(name="failing")
        assert (done.status, done.record["status"]) == (1, "failed")
        assert re.search(r"Error: fail failed(, retried \d×)?: The replica workerpool0-0 exited", done.err)  # noqa: RUF001
        faulty.mend()


@pytest.mark.parametrize(
    "fault", [{"status": 404}, *slow({"status": 403}, {"status": 200, "cut": 3}, {"status": 418})], ids=str
)
@pytest.mark.parametrize("call", ["/storage/v1/b/trees/o", "/download/"])
def test_report_that_cannot_be_fetched_costs_itself_only(submit, faulty, fault, call):
    faulty.fail("GET", call, **fault, times=ALWAYS)
    done = submit()
    assert (done.status, done.record["status"]) == (0, "succeeded")
    assert done.record["metrics"] == {"sum": 2}
    if call == "/download/" and "cut" in fault:  # the rest is asked for
        assert "<p>sum</p>" in (done.folder / "report.html").read_text()
    elif call == "/download/" or fault["status"] == 404:
        assert f"note: the report of {done.record['run_id']} cannot be used: " in done.err


@pytest.mark.parametrize(
    ("output", "changes"),
    [
        *slow(("model", {"metadata": {}})),
        *slow(("model", {"metadata": {"file": 3}})),
        ("model", {"metadata": {"file": "../../evil"}}),
        ("model", {"uri": "/etc", "metadata": {"file": "passwd"}}),
        *slow(("model", {"metadata": {"file": "x", "classes": "ab"}})),
        ("report", {"uri": "/etc/passwd", "schemaTitle": "system.HTML"}),
        ("report", {"uri": "gs://trees/gone", "schemaTitle": "system.HTML"}),
        *slow(("report", {"uri": "gs://", "schemaTitle": "system.HTML"})),
        *slow(("dataset", {"metadata": {"rows": "many"}})),
        *slow(("dataset", {"metadata": {"rows": 1e300}})),
        ("schema", {"uri": "/etc/passwd", "metadata": {"columns": 1, "notes": 1}}),
        ("metrics", {"metadata": {"f1_0": "high", "f1_1": [], "accuracy": {}}, "schemaTitle": "system.Metrics"}),
        *slow(("metrics", {"metadata": {"accuracy": "0.5", "macro_f1": None}, "schemaTitle": "system.Metrics"})),
    ],
    ids=str,
)
def test_odd_artifact_costs_its_figure_only(submit, faulty, output, changes):
    artifact = {"name": "projects/1/locations/x/metadataStores/default/artifacts/1", **changes}
    added = {"jobDetail": {"taskDetails": {"outputs": {output: {"artifacts": [artifact]}}}}}
    faulty.fail(*LOOK, 200, merge=added, times=ALWAYS)
    done = submit()
    assert (done.status, done.record["status"]) == (0, "succeeded"), done.err
    report = done.folder / "report.html"
    assert not report.exists() or report.stat().st_size < 100
    assert not (done.record["model"] or "").startswith("/")


def test_odd_figures_of_classes_are_shown_as_they_are(submit, faulty):
    names = [f"{name}_{code}" for name in ("rows", "precision", "recall", "f1") for code in (0, 1)]
    model = {"uri": "gs://trees/m", "metadata": {"file": "m", "classes": ["oak", "pine"]}}
    metrics = {"schemaTitle": "system.Metrics", "metadata": dict.fromkeys(names, "many")}
    outputs = {name: {"artifacts": [artifact]} for name, artifact in (("model", model), ("metrics", metrics))}
    faulty.fail(*LOOK, 200, merge={"jobDetail": {"taskDetails": {"outputs": outputs}}}, times=ALWAYS)
    done = submit()
    assert done.status == 0
    assert done.record["metrics"]["f1"] == {"oak": "many", "pine": "many"}


@pytest.mark.parametrize("metadata", [{}, {"output:Output": "not a number"}, {"output:Output": {"a": [None]}}], ids=str)
def test_returned_value_of_another_type_is_not_recorded(submit, faulty, metadata):
    added = {"jobDetail": {"taskDetails": {"execution": {"metadata": metadata}}}}
    faulty.fail(*LOOK, 200, merge=added, times=ALWAYS)
    done = submit()
    assert (done.status, done.record["status"]) == (0, "succeeded"), done.err
    assert done.record["outputs"] == ({} if metadata else {"Output": 2})


@each(FAULTS)
@pytest.mark.parametrize("times", [ALWAYS, *slow(2)])
def test_cancel_comes_through_or_is_told(submit, faulty, capsys, fault, times):
    job = submit("--no-wait").record["job"]
    faulty.fail("POST", ":cancel", **FAULTS[fault], times=times)
    status = __main__.main(["cancel", job])
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    comes_through = fault in UNREADABLE.keys() - {"half"} or (
        times == 2 and fault not in REFUSED
    )  # nothing is expected in its answer
    ended = "The job is in a final state." in shown.err  # it is a short one
    assert status == (0 if comes_through and not ended else 2)
    assert "Asked to cancel" in shown.out if status == 0 else "Error: the job was not cancelled: " in shown.err


SCHEDULE = ("--schedule", "0 6 * * 1")
TAKEN_AT_THEIR_WORD = (("DELETE", "404"),)  # as a text is, which protobuf's JSON takes for an empty answer


@pytest.fixture
def schedules(faulty):
    """The names of the schedules of x that the service holds."""

    def names():
        faulty.mend()
        found = faulty._ask("/v1/projects/demo/locations/us-central1/schedules?pageSize=100")["schedules"]
        return [schedule["name"] for schedule in found if schedule["displayName"] == "x-p-adding"]

    return names


@each(FAULTS | LOST)
@pytest.mark.parametrize("times", [ALWAYS, *slow(1)])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/schedules?"), ("POST", "/schedules"), ("DELETE", "/schedules/")]
)
def test_schedule_and_unschedule_come_through_or_say_what_is_there(
    submit, faulty, schedules, method, path, times, fault
):
    if (method, fault) in TAKEN_AT_THEIR_WORD or fault.startswith("a text"):
        return
    assert submit(*SCHEDULE).status == 0
    (former,) = schedules()
    faulty.fail(method, path, **(FAULTS | LOST)[fault], times=times)
    done = submit(*SCHEDULE)
    there = schedules()
    assert not done.folder.exists()
    if times == 1 and fault not in REFUSED:
        assert done.status == 0, done.err
    if done.status == 0:
        assert len(there) == 1
        assert there != [former]
        assert "Schedule projects/" in done.out
    else:
        assert done.status == 2
        assert there.count(former) == 1 or fault in LOST or fault == "half"
        assert len(there) == 1 or "the former one may be there, too" in done.err
    faulty.fail(method, path, **(FAULTS | LOST)[fault], times=times)
    removed = submit("--unschedule")
    assert removed.status in (0, 2)
    assert removed.status == 2 or schedules() == []
    faulty.mend()
    assert submit("--unschedule").status == 0
    assert schedules() == []


@pytest.mark.parametrize(
    "labels",
    [
        {"identifier": "../../evil", "pipeline": "../x", "profile": "../y", "run_id": "../z"},
        {"identifier": "", "pipeline": ""},
        {"identifier": "A\u001b[31m", "pipeline": "\u001b]0;x\u0007"},
        {},
    ],
    ids=str,
)
def test_labels_of_a_job_of_elsewhere_are_checked(submit, follow, faulty, monkeypatch, tmp_path, labels):
    job = submit("--no-wait").record["job"]
    other = tmp_path / "deep" / "er" / "other"
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(other))
    none = dict.fromkeys(("identifier", "pipeline", "profile", "run_id"), "")
    faulty.fail(*LOOK, 200, merge={"labels": none | labels}, times=ALWAYS)
    assert follow(job).status == 0
    (path,) = other.rglob("2*/run.json")
    assert path.parent.parent == other / "elsewhere"
    record = json.loads(path.read_text())
    assert (record["identifier"], record["pipeline"], record["profile"]) == ("elsewhere", "elsewhere", None)
    assert not list(tmp_path.rglob("*evil*"))


@each(FAULTS)
def test_job_of_elsewhere_that_cannot_be_read_leaves_no_folder(submit, follow, faulty, monkeypatch, tmp_path, fault):
    job = submit("--no-wait").record["job"]
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "other"))
    faulty.fail(*LOOK, **FAULTS[fault], times=ALWAYS)
    told = follow(job)
    assert told.status == 2
    assert "cannot be read: " in told.err or fault == "a text"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "spec", [{}, {"root": {}}, {"root": {"dag": {"tasks": {"a": {}}}}, "deploymentSpec": {"executors": {}}}], ids=str
)
def test_job_without_a_whole_spec_leaves_no_folder(submit, follow, faulty, monkeypatch, tmp_path, spec):
    job = submit("--no-wait").record["job"]
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "other"))
    faulty.fail(*LOOK, 200, body=json.dumps({"name": job, "pipelineSpec": spec}), times=ALWAYS)
    told = follow(job)
    assert told.status == 2
    assert "has no pipeline spec of its own to follow it by" in told.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("job", ["", "a b", "x?alt=media", "../x", "projects/p/locations/l/schedules/x", "a/b/c/d/e/f"])
def test_what_is_no_job_is_told(faulty, follow, job):
    told = follow(job)
    assert told.status == 2
    assert "is no job: expected its id" in told.err


def test_what_takes_long_is_told(submit, faulty, monkeypatch):
    monkeypatch.setattr(vertex_service, "PATIENCE", 0.01)
    faulty.fail(*CREATE, 200, hang=0.2)
    faulty.fail(*LOOK, 200, hang=0.2)
    faulty.fail("GET", "/pipelineJobs?", 503, message="Busy.", times=4)
    done = submit()
    assert done.record["status"] == "succeeded"
    assert re.search(r"No answer for \d s: create the job\. Waiting\.", done.err)
    assert re.search(r"No answer for \d s: look at the job\. Waiting\.", done.err)
    assert re.search(r"Again in \d s, try \d of 5: list jobs: Busy\.", done.err)


@pytest.mark.parametrize("call", [CREATE, LOOK])
@pytest.mark.parametrize("act", [True, False])
def test_interrupt_at_any_call_leaves_the_job_with_its_name(submit, faulty, monkeypatch, call, act):
    retried = vertex_service.Service.retried
    wanted = {CREATE: "create the job", LOOK: "look at the job"}[call]

    def interrupted(service, what, ask, **options):
        if what == wanted:
            if act:
                ask()
            raise KeyboardInterrupt
        return retried(service, what, ask, **options)

    monkeypatch.setattr(vertex_service.Service, "retried", interrupted)
    done = submit()
    assert (done.status, done.record["status"]) == (130, "running")
    assert f"follow {done.record['job']}" in done.err
    if call == LOOK or act:
        assert_true(done)


@pytest.mark.parametrize("sent", [signal.SIGINT, *slow(signal.SIGTERM, signal.SIGKILL)])
def test_signal_while_the_service_creates_the_job_leaves_it_with_its_name(faulty, tmp_path, sent):
    (tmp_path / "p.py").write_text(PIPELINE)
    faulty.fail(*CREATE, 200, hang=5)
    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    command = [sys.executable, "run.py", "--identifier", "x", "--pipeline", f"{tmp_path}/p.py:adding"]
    known = faulty.jobs().keys()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not (created := faulty.jobs().keys() - known):
            time.sleep(0.02)
        process.send_signal(sent)
        begun = time.monotonic()
        shown = process.stderr.read()
    assert time.monotonic() - begun < 4  # at most two, but machines are noisy; the answer takes five
    (job,) = created
    (path,) = (tmp_path / "runs").glob("x/2*/run.json")
    record = json.loads(path.read_text())
    assert record["status"] == "running"
    assert record["job"].endswith(f"/{job}")
    assert "Traceback" not in shown
    if sent == signal.SIGINT:
        assert f"python -m pipeline cancel {record['job']}" in shown


@pytest.mark.parametrize("fault", ["HTML", *slow("empty", "401", "403", "409", "404", "a list", "400")])
def test_upload_that_fails_is_told_and_nothing_is_created(faulty, local_run, tmp_path, rows, fault):
    rows.assign(x=time.time_ns()).to_csv(tmp_path / "rows.csv", index=False)
    known = faulty.jobs()
    faulty.fail("POST", "/upload/storage", **FAULTS[fault], times=ALWAYS)
    done = local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--no-wait")
    assert (done.status, faulty.jobs().keys()) == (2, known.keys())
    assert "Traceback" not in done.err
    assert "Error: the data was not uploaded: " in done.err
    assert "a job of this id exists" not in done.err
    assert not done.folder.exists()


@pytest.mark.parametrize("fault", ["404", *slow("HTML", "401")])
def test_experiment_that_cannot_be_found_is_told_and_nothing_is_created(submit, faulty, fault):
    faulty.fail("*", "/metadataStores", **FAULTS[fault], times=ALWAYS)
    done = submit("--experiment")
    assert (done.status, done.created) == (2, {})
    assert "Error: the submission failed: " in done.err


def test_experiment_that_does_not_take_the_job_costs_itself_only(submit, monkeypatch):
    monkeypatch.setattr(aiplatform.Experiment, "get_or_create", lambda name: object())
    done = submit("--experiment")
    assert (done.status, done.record["status"]) == (0, "succeeded")
    assert "note: the job is not in the experiment x: " in done.err
    assert_true(done)


def test_record_that_cannot_be_written_before_the_submission_is_of_no_job(submit, monkeypatch):
    save = runs.Run.save

    def full(run):
        if run.job:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(run)

    monkeypatch.setattr(runs.Run, "save", full)
    done = submit()
    assert (done.status, done.created) == (1, {})
    assert (done.record["status"], done.record["job"]) == ("failed", None)


def test_interrupt_before_the_submission_is_a_run_that_was_cancelled(submit, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(vertex.VertexEngine, "_job", interrupted)
    done = submit()
    assert (done.status, done.record["status"], done.record["job"]) == (130, "cancelled", None)


def test_error_of_ours_while_following_is_not_the_job_s(submit, monkeypatch):
    monkeypatch.setattr(vertex_tasks, "_inputs", lambda detail: 1 / 0)
    monkeypatch.setattr(vertex, "N_TRIES", 3)
    done = submit()
    assert (done.status, done.record["status"]) == (1, "running")
    monkeypatch.setattr(vertex.VertexEngine, "follow", lambda *_, **__: 1 / 0)
    done = submit()
    assert (done.status, done.record["status"]) == (1, "running")
    assert "ZeroDivisionError" in done.err


def seed():
    """Return a seed, which is printed; CHAOS_SEED gives one again."""
    chosen = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000))
    print(f"CHAOS_SEED={chosen}")
    return random.Random(chosen)


CALLS = (
    *BEFORE.values(),
    CREATE,
    LOOK,
    ("POST", "/v2/entries:list"),
    ("GET", "/storage/v1/b/trees/o"),
    ("*", "/"),
)


@pytest.mark.slow
def test_random_faults_lose_no_job_and_belie_none(submit, follow, faulty, capsys, monkeypatch, tmp_path):
    """Some 60 seconds; each round has some faults of any kind at any call."""
    monkeypatch.setattr(vertex, "N_TRIES", 5)
    chance, end, rounds = seed(), time.monotonic() + 60, 0
    while time.monotonic() < end:
        rounds += 1
        asked = []
        for _ in range(chance.randint(1, 4)):
            call, kind = chance.choice(CALLS), chance.choice([*UNREADABLE, *SILENT, "401", "403", "400", *LOST])
            if "cut" in (FAULTS | LOST)[kind] and "storage" in call[1]:  # which the SDK tries again for 15 s
                continue
            asked.append((*call, kind, chance.choice([1, 2, 6, ALWAYS]), chance.randint(0, 3)))
            faulty.fail(*call, **(FAULTS | LOST)[kind], times=asked[-1][3], after=asked[-1][4])
        done = submit(*chance.choice([(), ("--no-wait",)]), name=chance.choice(["adding", "failing"]))
        told = f"{asked}\n{done.status}\n{done.out}\n{done.err}"
        assert done.status in (0, 1, 2), told
        records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("x/2*/run.json")]
        for job in done.created:
            (record,) = [record for record in records if record["job"] and record["job"].endswith(f"/{job}")]
            state = faulty.jobs()[job].lower()
            assert record["status"] in ("running", state), told
            faulty.mend()
            assert follow(record["job"]).status == (0 if faulty.jobs()[job] == "SUCCEEDED" else 1), told
            assert read(done)["status"] == faulty.jobs()[job].lower(), told
        if not done.created:
            assert done.status == 2 or done.record["status"] == "running", told
        faulty.mend()
        capsys.readouterr()
    with capsys.disabled():
        print(f"{rounds} rounds")


OTHERS = (None, 17, -1.5, "x", "", [], {}, [None], {"a": [1]}, "9" * 400, True, "PIPELINE_STATE_DREAMING", "\x1b[31m")


def mutated(answer, chance):
    """Return an answer as text, with one to three places of it changed or gone, or cut."""
    whole = copy.deepcopy(answer)
    for _ in range(chance.randint(1, 3)):
        inner, outer, place = whole, None, None
        while isinstance(inner, dict | list) and inner and (outer is None or chance.random() < 0.8):
            keys = [*inner] if isinstance(inner, dict) else range(len(inner))
            outer, place = inner, chance.choice(keys)
            inner = outer[place]
        if outer is None:
            continue
        if chance.random() < 0.3:
            del outer[place]
        else:
            outer[place] = copy.deepcopy(chance.choice(OTHERS))
    text = json.dumps(whole)
    return text if chance.random() < 0.9 else text[: chance.randrange(len(text))]


@pytest.mark.parametrize("times", [30, *slow(500)])
def test_changed_answers_end_in_no_traceback(submit, follow, faulty, capsys, monkeypatch, tmp_path, times):
    monkeypatch.setattr(vertex, "N_TRIES", 2)
    chance = seed()
    done = submit()
    assert submit(*SCHEDULE).status == 0
    job = done.record["job"]
    base = "/v1/projects/demo/locations/us-central1"
    answers = {
        LOOK: faulty._ask(f"{base}/pipelineJobs/{job.rpartition('/')[2]}"),
        BEFORE["jobs"]: faulty._ask(f"{base}/pipelineJobs?pageSize=1"),
        ("GET", "/schedules?"): faulty._ask(f"{base}/schedules?pageSize=100"),
    }
    for number in range(times):
        call = chance.choice([*answers, LOOK, LOOK, LOOK])
        text = mutated(answers[call], chance)
        faulty.fail(*call, 200, body=text, times=3)  # an unknown state would be watched for ever
        if call == LOOK:
            elsewhere = chance.random() < 0.5
            monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / (f"other-{number}" if elsewhere else "runs")))
            told = follow(job)
        else:
            told = submit("--check") if call == BEFORE["jobs"] else submit("--unschedule")
        assert told.status in (0, 1, 2), text
        assert "Traceback" not in told.err, text
        for path in tmp_path.rglob("run.json"):
            assert json.loads(path.read_text())["status"] in ("succeeded", "running"), text
        assert not list(tmp_path.rglob("error.log")), text
        faulty.mend()
