"""The Vertex AI engine, through the real SDK against a server of this machine that runs what is submitted."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import joblib
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.aiplatform_v1.types import PipelineJob
from kfp.client import client as kfp_client

from pipeline import PIPELINES, ROOT, __main__, storage
from pipeline.check import Check, make
from pipeline.covertype import simulate
from pipeline.engines import vertex_checks
from pipeline.engines.vertex import VertexEngine
from pipeline.engines.vertex_service import Service
from pipeline.settings import settle

FAST = ("--data", "sample:1400", "--set", "max_iter=3")


@pytest.fixture
def submit(vertex, local_run):
    """Submit to the server; the run's own requests are in vertex.requests."""
    return lambda *arguments: local_run("--identifier", "trees", *arguments)


@pytest.fixture
def jobs(vertex):
    """What the server was asked to create in this test, in order, with the address that was asked."""
    before = len(vertex.requests)
    return lambda: [
        {"path": path, **body}
        for method, path, body in vertex.requests[before:]
        if method == "POST" and re.search(r"/(pipelineJobs\?|schedules)", path)
    ]


def test_run_on_vertex_has_the_figures_of_a_local_run(submit, local_run):
    there = submit(*FAST)
    assert there.status == 0, there.err
    here = local_run("--identifier", "here", "--engine", "local", *FAST)
    assert there.record.keys() == here.record.keys()
    assert there.record["metrics"] == here.record["metrics"]
    assert there.record["data"] == here.record["data"]
    key = lambda task: (task["name"], str(task["item"]))  # noqa: E731
    shown = [
        {"name": t["name"], "item": t["item"], "state": t["state"]} for t in sorted(there.record["tasks"], key=key)
    ]
    assert shown == [
        {"name": t["name"], "item": t["item"], "state": t["state"]} for t in sorted(here.record["tasks"], key=key)
    ]
    assert there.record["status"] == "succeeded"
    assert "Job    https://console.cloud.google.com/vertex-ai/locations/us-central1/pipelines/runs/trees-" in there.err


@pytest.mark.slow
def test_artifacts_of_the_job_are_real(submit, tmp_path):
    done = submit(*FAST)
    record = done.record
    root = f"gs://trees/trees/{record['run_id']}/123456789012/{done.record['job'].rpartition('/')[2]}"
    assert re.fullmatch(rf"{root}/promote-model_-?\d+/model/model.joblib", record["model"])
    model = joblib.load(storage.fetch(record["model"], tmp_path / "model.joblib"))
    assert model.predict(simulate(20).drop(columns="Cover_Type")).shape == (20,)
    assert "simulated-1400.parquet" in (done.folder / "report.html").read_text()


def test_job_is_named_labelled_and_rooted_by_the_run(submit, jobs):
    record = submit(*FAST, "--no-wait", "--service-account", "runner@demo.iam.gserviceaccount.com").record
    (job,) = jobs()
    assert f"pipelineJobId=trees-training-{record['run_id'].lower()}" in job["path"]
    assert job["runtimeConfig"]["gcsOutputDirectory"] == f"gs://trees/trees/{record['run_id']}"
    assert job["runtimeConfig"]["failurePolicy"] in ("PIPELINE_FAILURE_POLICY_FAIL_FAST", 2)
    assert job["serviceAccount"] == "runner@demo.iam.gserviceaccount.com"
    assert {"identifier": "trees", "pipeline": "training", "profile": "small"}.items() <= job["labels"].items()
    assert job["labels"].keys() >= {"engine_version", "git_commit", "git_dirty", "run_id"}
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    assert executors["exec-train-model"]["container"]["resources"]["resourceCpuLimit"] == "2"


@pytest.mark.slow
def test_cache_is_left_to_the_tasks_unless_it_is_turned_off(submit, jobs):
    submit(*FAST, "--no-wait")
    submit(*FAST, "--no-wait", "--no-cache")
    asked, off = (json.dumps(job["pipelineSpec"]) for job in jobs())
    assert asked.count('"enableCache": true') == 6
    assert '"enableCache": true' not in off


def test_no_wait_returns_after_the_submission_and_follow_records_the_rest(submit, capsys):
    begun = submit(*FAST, "--no-wait")
    assert begun.status == 0
    assert begun.record["status"] == "running"
    follow = re.search(r"python -m pipeline (follow \S+)", begun.err)[1].split()
    assert __main__.main(follow) == 0
    ended = json.loads((begun.folder / "run.json").read_text())
    assert ended["status"] == "succeeded"
    assert ended["metrics"]["accuracy"] > 0.5
    assert len(ended["tasks"]) == 13
    assert re.search(r"train-model\[3\] +succeeded", capsys.readouterr().err)


@pytest.mark.slow
def test_job_of_elsewhere_is_followed_into_a_record_of_its_own(submit, monkeypatch, tmp_path, capsys):
    begun = submit(*FAST, "--no-wait", "--quiet")
    assert f"job     {begun.record['url']}\n" in begun.out
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "other"))
    assert __main__.main(["follow", begun.record["job"].rpartition("/")[2], "--quiet", "--json"]) == 0
    (path,) = (tmp_path / "other" / "trees").glob("2*/run.json")
    record = json.loads(path.read_text())
    shown = capsys.readouterr()
    assert (json.loads(shown.out), shown.err) == (record, "")
    assert record["metrics"]["accuracy"] > 0.5
    assert record["parameters"]["max_iter"] == 3


@pytest.mark.slow
def test_refusal_or_silence_while_following_leaves_the_record_as_it_is(submit, vertex, capsys):
    ended = submit("--data", "sample:1400", "--set", "max_iter=1")
    before = {path: path.read_bytes() for path in ended.folder.rglob("*") if path.is_file()}
    job = ended.record["job"]

    assert __main__.main(["follow", job, "--region", "nowhere"]) == 2
    assert "--region 'nowhere' is no region of Vertex AI" in capsys.readouterr().err
    vertex.fail("GET", "/pipelineJobs/", 403, message="Your rights have changed.")
    assert __main__.main(["follow", job]) == 2
    assert "Error: the job cannot be watched again: Your rights have changed." in capsys.readouterr().err
    assert {path: path.read_bytes() for path in ended.folder.rglob("*") if path.is_file()} == before
    assert __main__.main(["follow", job]) == 0  # recorded once more
    assert json.loads((ended.folder / "run.json").read_text())["metrics"] == ended.record["metrics"]


def test_job_without_a_spec_is_told_and_leaves_nothing(vertex, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "runs"))
    name = "projects/demo/locations/us-central1/pipelineJobs/elsewhere"
    job = PipelineJob(name=name, display_name="of another tool", template_uri="https://example.com/spec.yaml")
    monkeypatch.setattr(VertexEngine, "_get", lambda *_: job)
    assert __main__.main(["follow", name]) == 2
    assert "has no pipeline spec of its own to follow it by. Look at it there: https://" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(vertex, tmp_path):
    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    command = [sys.executable, "run.py", "--identifier", "x", "--data", "sample:1400", "--set", "max_iter=60"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    shown = ""
    while "started" not in shown:
        shown += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    shown += process.communicate(timeout=30)[1]
    assert process.returncode == 130
    job = re.search(r"python -m pipeline cancel (\S+)", shown)[1]
    assert f"python -m pipeline follow {job}" in shown
    assert "Traceback" not in shown
    record = json.loads(next((tmp_path / "runs" / "x").glob("2*/run.json")).read_text())
    assert (record["status"], record["job"]) == ("running", job)

    assert __main__.main(["cancel", job]) == 0
    assert __main__.main(["follow", job]) == 1


def test_cancelled_job_is_not_a_success(submit, capsys):
    begun = submit("--data", "sample:1400", "--set", "max_iter=200", "--no-wait")
    assert __main__.main(["cancel", begun.record["job"]]) == 0
    assert "Asked to cancel projects/demo/locations/us-central1/pipelineJobs/trees-" in capsys.readouterr().out
    assert __main__.main(["follow", begun.record["job"]]) == 1
    assert json.loads((begun.folder / "run.json").read_text())["status"] == "cancelled"


def test_failed_task_is_told_with_its_message_and_the_address_of_its_log(submit, tmp_path):
    (tmp_path / "rows.csv").write_text("x,kind\n" + "1,a\n2,b\n" * 3 + "3,\n")
    early = submit("--data", str(tmp_path / "rows.csv"), "--label", "kind")
    assert early.status == 2
    assert "Error: table: 1 of 7 rows have no label in 'kind', the first is data row 7" in early.err
    storage.put(tmp_path / "rows.csv", "gs://trees/unlabelled/rows.csv")  # what is not here is not read before
    failed = submit("--data", "gs://trees/unlabelled/rows.csv", "--label", "kind")
    assert failed.status == 1
    assert failed.record["status"] == "failed"
    assert failed.record["tasks"][0]["state"] == "failed"
    assert "Error: prepare-data failed: 1 of 7 rows have no label in 'kind'" in failed.err
    assert "Log: https://console.cloud.google.com/logs/query;query=resource.type" in failed.err
    assert "Again: python -m pipeline replay trees" in failed.err
    assert "Traceback" not in failed.err.split("Log: ")[1]


def test_data_is_uploaded_once(submit, rows, tmp_path):
    rows.to_csv(tmp_path / "my rows.csv", index=False)
    first = submit("--data", str(tmp_path / "my rows.csv"), "--no-wait")
    second = submit("--data", str(tmp_path / "my rows.csv"), "--no-wait")
    uri = f"gs://trees/data/{first.record['data']['fingerprint']}/my rows.csv"
    assert f"uploaded to {uri}" in first.err
    assert f"is in {uri}" in second.err
    assert first.record["parameters"]["source"] == uri


@pytest.mark.slow
def test_schema_of_an_earlier_run_goes_to_the_engine_that_is_held_to_it(submit, local_run, rows, tmp_path):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    data = ("--data", str(tmp_path / "rows.csv"), "--set", "max_iter=1")
    local_run("--identifier", "trees", "--engine", "local", *data)
    there = submit(*data, "--set", "schema_from=latest")
    assert there.status == 0, there.err
    assert re.fullmatch(r"gs://trees/data/[0-9a-f]{64}/schema\.json", there.record["parameters"]["schema_from"])
    root = f"gs://trees/trees/{there.record['run_id']}/123456789012/{there.record['job'].rpartition('/')[2]}"
    assert re.fullmatch(rf"{root}/prepare-data_-?\d+/schema", there.record["schema"])
    here = local_run("--identifier", "trees", "--engine", "local", *data, "--set", "schema_from=latest")
    assert here.status == 0, here.err
    assert "/.data/" in here.record["parameters"]["schema_from"]


@pytest.mark.slow
def test_folder_of_parquet_is_uploaded_and_read_as_one_table(submit, rows, tmp_path):
    for area, part in rows.groupby("Wilderness_Area", observed=True):
        (tmp_path / "rows" / f"area={area}").mkdir(parents=True)
        part.to_parquet(tmp_path / "rows" / f"area={area}" / "part-0.parquet")
    done = submit("--data", str(tmp_path / "rows"), "--set", "max_iter=1")
    assert done.status == 0, done.err
    assert done.record["data"]["rows"] == 1400
    assert done.record["parameters"]["source"] == f"gs://trees/data/{done.record['data']['fingerprint']}/"


def test_interrupted_upload_is_not_taken_for_a_whole_one(vertex, tmp_path):
    (tmp_path / "rows.csv").write_text("whole file")
    storage.client().bucket("trees").blob("data/x/rows.csv").upload_from_string("whole")
    assert storage.put(tmp_path / "rows.csv", "gs://trees/data/x/rows.csv")
    assert not storage.put(tmp_path / "rows.csv", "gs://trees/data/x/rows.csv")
    assert storage.client().bucket("trees").blob("data/x/rows.csv").download_as_text() == "whole file"


@pytest.mark.slow
def test_objects_and_globs_are_read_where_they_are(submit, local_run, rows, tmp_path):
    for part, name in enumerate(("one.csv", "two.csv")):
        rows[part::2].to_csv(tmp_path / name, index=False)
        storage.put(tmp_path / name, f"gs://trees/shared/{name}")
    single = submit("--data", "gs://trees/shared/one.csv", "--set", "max_iter=3")
    many = submit("--data", "gs://trees/shared/*.csv", "--set", "max_iter=3")
    assert (single.status, many.status) == (0, 0), many.err
    assert (single.record["data"]["rows"], many.record["data"]["rows"]) == (700, 1400)
    assert many.record["parameters"]["source"] == "gs://trees/shared/*.csv"

    here = local_run(
        "--identifier", "y", "--engine", "local", "--data", "gs://trees/shared/*.csv", "--set", "max_iter=3"
    )
    assert here.status == 0, here.err


def test_changed_object_has_another_fingerprint(vertex, local_run, rows, tmp_path):
    fingerprints = []
    for content in (rows, rows.head(1000)):
        content.to_csv(tmp_path / "rows.csv", index=False)
        storage.put(tmp_path / "rows.csv", "gs://trees/changing.csv")
        done = local_run("--identifier", "x", "--data", "gs://trees/changing.csv", "--no-wait")
        fingerprints.append(done.record["data"]["fingerprint"])
    assert len({*fingerprints}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--region", "nowhere"), r"--region 'nowhere' is no region of Vertex AI\. Near it: "),
        (("--region", "europe-west4"), "api: project 'demo' or region 'europe-west4' is wrong"),
        (("--project", "no-such-project"), "api: Ask for the right to submit jobs: gcloud projects add-iam-policy"),
        (
            ("--bucket", "missing"),
            "bucket missing: it does not exist. Make it: gcloud storage buckets create gs://missing",
        ),
        (("--data", "gs://trees/missing.csv"), "there is no such object"),
        (("--schedule", "61 * * * *"), "--schedule '61 \\* \\* \\* \\*': Bad minute"),
        (("--schedule", "0 6 * * 1", "--timezone", "Mars/Base"), "--timezone 'Mars/Base': expected the name of a time"),
        (("--data", "bq://demo.trees"), "expected bq://project.dataset.table"),
    ],
)
def test_what_is_wrong_before_a_submission_is_told_and_nothing_is_created(submit, jobs, tmp_path, arguments, message):
    refused = submit("--data", "sample:1400", *arguments)
    assert refused.status == 2
    assert re.search(message, refused.err), refused.err
    assert "Traceback" not in refused.err
    assert jobs() == []
    assert not (tmp_path / "runs" / "trees").exists()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "the submission failed: Not allowed.\nAsk for the right to submit jobs: gcloud projects add-iam"),
        (400, "the submission failed: Not allowed."),
        (409, "the submission failed: a job of this id exists. Run the command again for a new id."),
    ],
)
def test_refused_submission_is_told_and_leaves_nothing(submit, vertex, tmp_path, status, message):
    vertex.fail("POST", "/pipelineJobs?", status, message="Not allowed.")
    refused = submit(*FAST)
    assert refused.status == 2
    assert f"Error: {message}" in refused.err
    assert not (tmp_path / "runs" / "trees").exists()


@pytest.mark.parametrize("status", [429, 503])
def test_busy_service_is_asked_again(submit, vertex, jobs, status):
    vertex.fail("POST", "/pipelineJobs?", status, times=2)
    assert submit(*FAST, "--no-wait").status == 0
    assert len(jobs()) == 3


def test_service_that_stays_busy_is_told(submit, vertex):
    vertex.fail("POST", "/pipelineJobs?", 503, times=5, message="Busy.")
    refused = submit(*FAST, "--no-wait")
    assert refused.status == 2
    assert "the submission failed: the service does not answer: Busy.\nTry again later." in refused.err


def test_submission_whose_answer_was_lost_is_one_job(submit, vertex, jobs):
    vertex.fail("POST", "/pipelineJobs?", 503, drop=True, act=True)
    done = submit(*FAST, "--no-wait")
    assert done.status == 0, done.err
    assert len(jobs()) == 2  # the second was told that the job exists


@pytest.mark.slow
def test_connection_that_drops_while_watching_is_taken_up_again(submit, vertex):
    vertex.fail("GET", "/pipelineJobs/", 503, times=3, drop=True)
    assert submit(*FAST).status == 0


def test_job_that_cannot_be_watched_any_more_is_not_told_as_failed(submit, vertex):
    vertex.fail("GET", "/pipelineJobs/", 403, message="Your rights have changed.")
    lost = submit(*FAST)
    assert lost.status == 1
    assert lost.record["status"] == "running"
    assert "Error: the job cannot be watched any more: Your rights have changed." in lost.err
    assert f"python -m pipeline follow {lost.record['job']}" in lost.err


def test_schedule_is_replaced_and_removed(submit, jobs):
    first = submit(*FAST, "--schedule", "0 6 * * 1", "--timezone", "Europe/Berlin")
    assert first.status == 0, first.err
    name = re.search(r"Schedule (\S+)", first.out)[1]
    assert re.search(r"next Mon \d{4}-\d\d-\d\d 06:00 CE", first.out)
    second = submit(*FAST, "--schedule", "30 7 * * *")
    asked = jobs()[-1]
    assert asked["cron"] == "TZ=UTC 30 7 * * *"
    assert int(asked["maxConcurrentRunCount"]) == 1
    # the data is read anew each time
    assert '"enableCache": true' not in json.dumps(asked["createPipelineJobRequest"]["pipelineJob"]["pipelineSpec"])
    assert re.search(r"Schedule (\S+)", second.out)[1] != name
    assert "Removed 1 schedule of trees for training." in submit("--unschedule").err
    assert "Removed 0 schedules" in submit("--unschedule").err
    assert not Path(first.folder).exists()


def test_schedule_of_another_pipeline_with_the_same_name_stays(submit, jobs, monkeypatch, tmp_path, local_run):
    """The schedules of a-x for training and of a for x-training are named alike."""
    monkeypatch.setitem(PIPELINES, "x-training", PIPELINES["training"])
    assert local_run("--identifier", "a", "--pipeline", "x-training", *FAST, "--schedule", "0 6 * * 1").status == 0
    assert "Removed 0 schedules of a-x" in local_run("--identifier", "a-x", "--unschedule").err
    assert (
        "Removed 1 schedule of a for" in local_run("--identifier", "a", "--pipeline", "x-training", "--unschedule").err
    )


def test_schedule_needs_a_service(local_run):
    refused = local_run("--identifier", "x", "--schedule", "0 6 * * 1", "--engine", "local")
    assert refused.status == 2
    assert "--schedule needs --engine vertex" in refused.err


def test_check_prints_a_line_for_each_and_submits_nothing(submit, jobs, tmp_path):
    done = submit("--check", *FAST)
    assert done.status == 0, done.out
    states = ("passed", "failed", "not checked")
    shown = [line for line in done.out.splitlines() if line.startswith(states)]
    lines = {line[13:].split(":")[0]: line[:13].strip() for line in shown}
    assert "7 classes in 'Cover_Type'" in done.out
    assert lines == {
        **dict.fromkeys(
            ("spec", "steps", "packages", "images", "parameters", "arguments", "table", "memory", "names", "data"),
            "passed",
        ),
        "credentials": "not checked",
        "api": "passed",
        "bucket trees": "passed",
        "service account": "not checked",
        "quota": "not checked",
    }
    assert jobs() == []
    assert not (tmp_path / "runs" / "trees").exists()
    assert submit("--check", "--bucket", "missing", *FAST).status == 2


def test_settings_that_are_missing_are_told_at_once(local_run, monkeypatch):
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION", "COVERTYPE_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    refused = local_run("--identifier", "x", "--engine", "vertex")
    assert refused.status == 2
    assert [line.split(" is missing")[0] for line in refused.err.splitlines()] == [
        "Error: --project",
        "--region",
        "--bucket",
    ]


@pytest.mark.slow
def test_address_of_the_job_is_shown_soon(vertex, tmp_path):
    """At most 2 s after what importing the SDK alone takes; twice that here, as machines are noisy."""
    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import google.cloud.aiplatform"], check=True)
    importing = time.perf_counter() - begun
    code = "import run, sys; run.main(sys.argv[1:]); print('LOADED', *sys.modules)"
    command = [sys.executable, "-c", code, "--identifier", "x", *FAST, "--no-wait"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        assert any(line.startswith("Job    http") for line in process.stderr)
        taken = time.perf_counter() - begun  # what follows is the interpreter's end
        shown, _ = process.communicate()
    assert taken < importing + 4
    loaded = {*shown.split("LOADED ")[1].split()}
    assert not {"sklearn", "skrub", "matplotlib", "joblib"} & loaded  # what only the steps need


def test_no_secret_of_the_environment_is_written_anywhere(submit, monkeypatch):
    secret = "s3cr3t-t0k3n"
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", secret)
    done = submit(*FAST, "--no-wait")
    files = [path.read_text() for path in done.folder.rglob("*") if path.is_file()]
    assert secret not in done.out + done.err + "".join(files)


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_spec_for_elsewhere_is_accepted_by_the_sdk_and_by_kfp(vertex, local_run, tmp_path, ending):
    path = tmp_path / f"spec.{ending}"
    assert local_run("--compile-only", str(path)).status == 0
    engine = VertexEngine(settle())
    values = {"source": "gs://trees/rows.csv", "fingerprint": "x"}
    job = engine.service.sdk.PipelineJob("name", str(path), pipeline_root="gs://trees/root", parameter_values=values)
    assert job.pipeline_spec["pipelineInfo"]["name"] == "covertype-training"
    # kfp.Client tells a spec by its ending and takes JSON, which is YAML, under this one only
    as_yaml = path.rename(tmp_path / "renamed.yaml")
    assert kfp_client._extract_pipeline_yaml(str(as_yaml)).pipeline_spec.pipeline_info.name == "covertype-training"


class TestChecksWithCredentials:
    """What is checked where there is a real service; only what lies across the network is stubbed."""

    @pytest.fixture
    def service(self, monkeypatch):
        for name in ("COVERTYPE_API_ENDPOINT", "STORAGE_EMULATOR_HOST"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        return Service(settle(project="p", region="europe-west4", bucket="trees", service_account="runner@p"))

    @pytest.fixture
    def credentials(self, monkeypatch, tmp_path):
        """A key of a service account whose token server answers 400, as for a key that was deleted."""

        class Refuse(BaseHTTPRequestHandler):
            def do_POST(self):
                self.send_response(400)
                self.end_headers()
                self.wfile.write(b'{"error": "invalid_grant", "error_description": "Token has been expired."}')

            def log_message(self, *_):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            key = rsa.generate_private_key(65537, 2048).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            account = {"type": "service_account", "client_email": "me@p", "private_key": key.decode()}
            path = tmp_path / "key.json"
            path.write_text(json.dumps(account | {"token_uri": f"http://127.0.0.1:{server.server_port}/"}))
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
            yield path
            server.shutdown()

    def test_no_credentials(self, service, monkeypatch, tmp_path):
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        assert make("credentials", lambda: vertex_checks.credentials(service)) == Check(
            "credentials", "failed", "there are none. Log in: gcloud auth application-default login"
        )

    def test_expired_credentials(self, service, credentials):
        assert make("credentials", lambda: vertex_checks.credentials(service)) == Check(
            "credentials", "failed", "they are expired or revoked. Log in again: gcloud auth application-default login"
        )

    @pytest.mark.parametrize(
        ("location", "state"),
        [("EUROPE-WEST4", "passed"), ("EU", "passed"), ("US", "failed"), ("US-CENTRAL1", "failed")],
    )
    def test_bucket_lies_in_the_region(self, service, monkeypatch, location, state):
        bucket = SimpleNamespace(location=location, data_locations=None)
        client = SimpleNamespace(get_bucket=lambda name, retry: bucket)
        monkeypatch.setattr(storage, "client", lambda project: client)
        made = make("bucket", lambda: vertex_checks.bucket(service))
        assert made.state == state
        if state == "failed":
            assert "the job would run in europe-west4. Use another, or make one: gcloud storage buckets" in made.detail

    @pytest.mark.parametrize(
        ("granted", "state", "detail"),
        [
            (["iam.serviceAccounts.actAs"], "passed", "runner@p may be used"),
            ([], "failed", "add-iam-policy-binding runner@p --member=user:YOU --role=roles/iam.serviceAccountUser"),
        ],
    )
    def test_service_account_may_be_used(self, service, monkeypatch, granted, state, detail):
        reply = SimpleNamespace(raise_for_status=lambda: None, json=lambda: {"permissions": granted})
        session = SimpleNamespace(post=lambda url, json, timeout: reply)
        monkeypatch.setattr(Service, "session", session)
        made = make("service account", lambda: vertex_checks.service_account(service))
        assert made.state == state
        assert detail in made.detail
