"""Schedules: what their jobs are, whose they are, and what they do not do to each other."""

import getpass
import json
import re
from types import SimpleNamespace

import pytest
import requests
from google.cloud.aiplatform_v1.types import Schedule
from google.protobuf import json_format

from pipeline import __main__
from pipeline.request import Request
from pipeline.settings import settle

FAST = ("--data", "sample:1400", "--set", "max_iter=1", "--schedule", "0 6 * * 1")
SCHEDULES = "/v1/projects/demo/locations/us-central1/schedules"


@pytest.fixture
def schedule(vertex, local_run):
    """Make a schedule; returns how it went, its name, and what the service was sent, as the service's proto has it."""

    def made(*arguments, identifier="trees"):
        before = len(vertex.requests)
        done = local_run("--identifier", identifier, *(arguments or FAST))
        sent = [body for method, path, body in vertex.requests[before:] if method == "POST" and "/schedules" in path]
        done.sent = json_format.ParseDict(sent[-1], Schedule.pb(Schedule())) if sent else None
        named = re.search(r"Schedule (\S+)", done.out)
        done.name = named[1] if named else None
        return done

    yield made
    for identifier in ("trees", "oaks"):
        local_run("--identifier", identifier, "--unschedule")


@pytest.fixture
def of_ann(schedule, monkeypatch):
    """A schedule that another user has made."""
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    made = schedule()
    yield made
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")


def test_one_run_at_a_time_is_started_and_goes_on(schedule, vertex):
    made = schedule()
    assert made.status == 0, made.err
    assert (made.sent.max_concurrent_run_count, made.sent.max_concurrent_active_run_count) == (1, 1)
    assert not made.sent.allow_queueing
    first = vertex.run_schedule(made.name)
    assert vertex.run_schedule(made.name) is None  # the first has not ended
    assert vertex.jobs()[first] in ("PENDING", "RUNNING")


REFUSED = [
    ({"maxConcurrentActiveRunCount": "0"}, "max_concurrent_active_run_count; Message: It must be positive"),
    ({"maxConcurrentActiveRunCount": "-1"}, "max_concurrent_active_run_count; Message: It must be positive"),
    ({"maxConcurrentRunCount": "0"}, "max_concurrent_run_count; Message: It must be positive"),
    ({"maxConcurrentJobs": "1"}, "Invalid JSON payload received"),
    ({"displayName": ""}, "display_name"),
    ({"cron": "every day"}, "Invalid cron expression"),
]


def test_played_service_refuses_what_the_real_one_does(schedule, vertex):
    body = json_format.MessageToDict(schedule().sent)
    for changes, told in REFUSED:
        refused = requests.post(f"{vertex.url}{SCHEDULES}", json=body | changes, timeout=30)
        assert refused.status_code == 400, changes
        assert told in refused.json()["error"]["message"]


def test_jobs_of_a_schedule_carry_nothing_of_the_moment_of_scheduling(schedule, vertex):
    made = schedule()
    job = made.sent.create_pipeline_job_request.pipeline_job
    assert not made.sent.create_pipeline_job_request.pipeline_job_id  # each gets its own
    assert job.display_name == "trees training"
    assert made.sent.display_name == "trees-training"
    assert not {"run_id", "fingerprint"} & {*job.labels}
    assert {"identifier": "trees", "pipeline": "training", "user": getpass.getuser()}.items() <= dict(
        job.labels
    ).items()
    assert job.runtime_config.gcs_output_directory == "gs://trees/trees/scheduled"
    assert job.runtime_config.parameter_values["fingerprint"].string_value == ""


@pytest.mark.slow
def test_job_of_a_schedule_is_followed_into_a_record_of_its_own(schedule, vertex, tmp_path):
    made = schedule()
    job = vertex.run_schedule(made.name)
    assert __main__.main(["follow", job, "--quiet"]) == 0
    (path,) = (tmp_path / "runs" / "trees").glob("2*/run.json")
    record = json.loads(path.read_text())
    assert (record["status"], record["identifier"], record["pipeline"]) == ("succeeded", "trees", "training")
    assert record["job"].endswith(job)
    assert record["data"]["fingerprint"] == ""
    assert record["metrics"]["accuracy"] > 0


def test_own_schedule_is_replaced_and_said_to_be(schedule):
    first = schedule()
    second = schedule()
    assert f"Replaced {first.name}" in second.err
    assert second.name != first.name


def test_schedule_of_another_user_is_named_and_left(schedule, of_ann, vertex, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "bob")
    refused = schedule()
    assert refused.status == 2
    assert "ann has a schedule of trees for training: TZ=UTC 0 6 * * 1" in refused.err
    number = of_ann.name.rpartition("/")[2]
    assert f"/pipelines/schedules/{number}?project=demo" in refused.err
    assert refused.sent is None
    kept = schedule("--unschedule")
    assert "That of ann stays." in kept.err
    assert "Removed 0 schedules" in kept.err
    assert schedule(identifier="oaks").status == 0  # another identifier's is nobody's business
    assert vertex.run_schedule(of_ann.name)  # it is there


def test_user_whom_the_machine_does_not_know_has_schedules_too(schedule, monkeypatch):
    def unknown():
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", unknown)
    made = schedule()
    assert made.sent.create_pipeline_job_request.pipeline_job.labels["user"] == "unknown"
    assert "Removed 1 schedule" in schedule("--unschedule").err


@pytest.mark.slow
def test_file_of_here_is_said_to_stay_as_it_is_now(schedule, rows, tmp_path):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    data = ("--data", str(tmp_path / "rows.csv"), "--schedule", "0 6 * * 1")
    made = schedule(*data)
    assert f"every run reads {tmp_path / 'rows.csv'} as it is now" in made.out
    assert "gs:// or bq://" in made.out
    assert re.search(r"every run gets the machines of profile small, by today's [\d,]+ bytes of data", made.out)
    asked = schedule(*data, "--profile", "standard")
    assert "machines of profile" not in asked.out


def test_what_each_run_reads_anew_is_not_said_to_stay():
    settings = settle(identifier="x", engine="vertex", schedule="0 6 * * 1", profile="small")
    request = Request.of(settings, "training")
    request.__dict__["source"] = SimpleNamespace(files=(), name="gs://trees/rows.csv", n_bytes=1)
    assert request.stays == []
