"""What is checked of a project before a submission: what fails there, what does not, and what is not known."""

import json
from types import SimpleNamespace
from typing import List  # noqa: UP035

import pytest
import requests
from google.api_core import exceptions as api
from kfp import dsl

from pipeline import compiler, graph, loading, quota, storage
from pipeline.check import make
from pipeline.engines import vertex_checks
from pipeline.engines.vertex_service import Service
from pipeline.settings import settle
from pipeline.target import Target
from steps.tables.schema import Schema

ACCOUNT = "runner@p.iam.gserviceaccount.com"


@pytest.fixture
def service(monkeypatch):
    for name in ("COVERTYPE_API_ENDPOINT", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    return Service(settle(project="p", region="europe-west4", bucket="trees", service_account=ACCOUNT))


@pytest.fixture
def answers(monkeypatch):
    """Let all that is asked over HTTP be answered so; returns what was asked."""
    asked = []

    def answer(status, body):
        reply = requests.Response()
        reply.status_code, reply._content = status, json.dumps(body).encode()
        reply.request = SimpleNamespace(method="GET")

        def ask(url, **_):
            asked.append(url)
            return reply

        monkeypatch.setattr(Service, "session", SimpleNamespace(get=ask, post=ask))
        return asked

    return answer


def error(status, message, reason=""):
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]
    return {"error": {"code": status, "message": message, "status": "PERMISSION_DENIED", "details": details}}


NO_QUOTA_PROJECT = (
    "Your application is authenticating by using local Application Default Credentials. The iam.googleapis.com API "
    "requires a quota project, which is not set by default."
)
API_OFF = "Identity and Access Management (IAM) API has not been used in project p before or it is disabled."
NOT_ALLOWED = "Permission 'iam.serviceAccounts.testIamPermissions' denied on resource (or it may not exist)."
NOT_MINE = (
    "Caller does not have required permission to use project p. Grant the caller the "
    "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission."
)


@pytest.mark.parametrize(
    ("status", "body", "state", "detail"),
    [
        (200, {"permissions": ["iam.serviceAccounts.actAs"]}, "passed", f"{ACCOUNT} may be used"),
        (200, {}, "failed", "--role=roles/iam.serviceAccountUser"),
        (404, error(404, f"Unknown service account {ACCOUNT}"), "failed", f"there is no {ACCOUNT}"),
        (403, error(403, NO_QUOTA_PROJECT), "not checked", "application-default set-quota-project p"),
        (403, error(403, API_OFF, "SERVICE_DISABLED"), "not checked", "gcloud services enable iam.googleapis.com"),
        (403, error(403, NOT_MINE, "USER_PROJECT_DENIED"), "not checked", "roles/serviceusage.serviceUsageConsumer"),
        (403, error(403, NOT_ALLOWED), "not checked", "denied on resource"),
    ],
)
def test_account_is_refused_only_by_an_answer_about_it(service, answers, status, body, state, detail):
    answers(status, body)
    made = make("service account", lambda: vertex_checks.service_account(service))
    assert (made.state, detail in made.detail) == (state, True), made.detail


@pytest.mark.parametrize(
    ("location", "data_locations", "region", "state"),
    [
        ("EUROPE-WEST4", None, "europe-west4", "passed"),
        ("EU", None, "europe-west4", "passed"),
        ("EU", None, "us-central1", "failed"),
        ("US", None, "us-central1", "passed"),
        ("US", None, "europe-west4", "failed"),
        ("ASIA", None, "asia-northeast1", "passed"),
        ("EUR4", None, "europe-west4", "passed"),
        ("EUR4", None, "europe-west1", "failed"),
        ("EUR5", None, "europe-west2", "passed"),
        ("EUR7", None, "europe-west3", "passed"),
        ("EUR8", None, "europe-west6", "passed"),
        ("NAM4", None, "us-central1", "passed"),
        ("NAM4", None, "us-west1", "failed"),
        ("ASIA1", None, "asia-northeast2", "passed"),
        ("EU", ["EUROPE-WEST4", "EUROPE-WEST1"], "europe-west4", "passed"),
        ("US", ["US-CENTRAL1", "US-WEST1"], "us-west1", "passed"),
    ],
)
def test_bucket_of_several_regions_has_each_of_them(service, monkeypatch, location, data_locations, region, state):
    bucket = SimpleNamespace(location=location, data_locations=data_locations)
    monkeypatch.setattr(storage, "client", lambda project: SimpleNamespace(get_bucket=lambda name, retry: bucket))
    service.settings = service.settings.model_copy(update={"region": region})
    made = make("bucket", lambda: vertex_checks.bucket(service))
    assert made.state == state, made.detail


def test_custom_dual_region_has_its_two_regions_only(service, monkeypatch):
    bucket = SimpleNamespace(location="EU", data_locations=["EUROPE-NORTH1", "EUROPE-WEST1"])
    monkeypatch.setattr(storage, "client", lambda project: SimpleNamespace(get_bucket=lambda name, retry: bucket))
    made = make("bucket", lambda: vertex_checks.bucket(service))
    assert made.state == "failed"
    assert "it lies in eu, which is europe-north1 and europe-west1, the job would run in europe-west4" in made.detail


def test_bucket_that_cannot_be_asked_for_is_not_said_to_be_refused(service, monkeypatch):
    def refuse(name, retry):
        raise api.Forbidden(NO_QUOTA_PROJECT)

    monkeypatch.setattr(storage, "client", lambda project: SimpleNamespace(get_bucket=refuse))
    made = make("bucket", lambda: vertex_checks.bucket(service))
    assert made.state == "not checked"
    assert "set-quota-project p" in made.detail


def test_submission_as_an_account_that_is_not_ones_own_says_what_to_ask_for(vertex, local_run):
    message = f"You do not have permission to act as service_account: {ACCOUNT}. (or it may not exist)."
    vertex.fail("POST", "/pipelineJobs?", 400, message=message)
    done = local_run("--identifier", "x", "--data", "sample:1400", "--service-account", ACCOUNT)
    assert done.status == 2
    assert f"Error: the submission failed: {message}\nAsk for the right to use it: gcloud iam service-acc" in done.err
    assert f"add-iam-policy-binding {ACCOUNT} --member=user:YOU --role=roles/iam.serviceAccountUser" in done.err


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (NO_QUOTA_PROJECT, "Set it: gcloud auth application-default set-quota-project p"),
        (NOT_MINE, "--member=user:YOU --role=roles/serviceusage.serviceUsageConsumer"),
        ("Permission 'aiplatform.pipelineJobs.list' denied.", "--role=roles/aiplatform.user"),
    ],
)
def test_refused_api_says_which_right_is_missing(service, monkeypatch, said, told):
    def refuse(request):
        raise api.Forbidden(said)

    monkeypatch.setattr(Service, "jobs", SimpleNamespace(list_pipeline_jobs=refuse))
    made = make("api", lambda: vertex_checks.api_is_on(service))
    assert (made.state, told in made.detail) == ("failed", True), made.detail
    assert told in service.explained(api.Forbidden(said))


# quota


def spec_of(profile, parallelism=None):
    return graph.parsed(
        compiler.compiled(compiler.load("training"), Target("vertex", profile=profile, parallelism=parallelism))
    )


def schema_of(n_classes):
    """What was seen of a table; None where it was not read."""
    return n_classes and Schema(rows=100, label="y", classes={str(code): 10 for code in range(n_classes)})


@dsl.component(base_image="python:3.11-slim")
def work(of: int):
    pass


@dsl.pipeline(name="loops")
def loops(number: int = 1):
    alone = work(of=0)
    with dsl.ParallelFor([1, 2, 3, 4, 5]) as outer:
        with dsl.ParallelFor([1, 2], parallelism=1) as inner:
            first = work(of=inner).set_cpu_limit("8").set_memory_limit("32G")
        work(of=outer).after(first).set_cpu_limit("3").set_memory_limit("30G")
    work(of=number).after(alone).set_cpu_limit("64").set_memory_limit("128G")


@pytest.mark.parametrize(
    ("profile", "parallelism", "n_classes", "expected"),
    [
        ("small", None, 7, quota.Need(14, 28)),
        ("standard", None, 7, quota.Need(56, 56)),
        ("large", None, 7, quota.Need(224, 224)),
        ("standard", 3, 7, quota.Need(24, 24)),
        ("large", 3, 2, quota.Need(64, 64)),
        ("large", None, None, quota.Need(32, 32, ("for-loop-1",))),
    ],
)
def test_cpus_of_the_class_models_are_counted_side_by_side(profile, parallelism, n_classes, expected):
    found = {"prepare-data": n_classes} if n_classes else {}
    assert quota.at_once(spec_of(profile, parallelism), found) == expected


@pytest.mark.parametrize(("profile", "expected"), [("small", quota.Need(2, 4)), ("standard", quota.Need(56, 56))])
def test_cpus_of_fused_tasks_are_counted(profile, expected):
    spec = graph.parsed(compiler.compiled(loading.load("training"), Target("vertex", profile, fuse=True)))
    assert quota.at_once(spec, {"prepare-data": 7}) == expected


def test_cpus_of_a_loop_over_a_parameter_are_counted_by_its_value():
    @dsl.component(base_image="python:3.11")
    def number_of(number: int):
        print(number)

    @dsl.pipeline(name="over-a-parameter")
    def over(numbers: List[int]):  # noqa: UP006
        with dsl.ParallelFor(numbers) as number:
            number_of(number=number)

    spec = graph.parsed(compiler.compiled(over, Target("vertex", "standard")))
    assert quota.at_once(spec, parameters={"numbers": [1, 2, 3]}) == quota.Need(12, 12)


def test_cpus_of_any_pipeline_are_counted():
    spec = graph.parsed(compiler.compiled(loops, Target("vertex")))
    # five times one task of 8 beside the one that asks for nothing; then that of 64, which no E2 has
    assert quota.at_once(spec) == quota.Need(64, 64)
    assert quota.at_once(spec, parallelism=1) == quota.Need(64, 64)
    del spec["root"]["dag"]["tasks"]["work-4"]
    assert quota.at_once(spec) == quota.Need(44, 44)
    assert quota.at_once(spec, parallelism=2) == quota.Need(20, 20)


def test_parallelism_limits_the_loops_that_have_no_limit_of_their_own():
    for target, expected in ((Target("vertex", parallelism=3), {3, 1}), (Target("vertex"), {1}), (Target(), {1})):
        spec = graph.parsed(compiler.compiled(loops, target))
        dags = (spec["root"], *spec["components"].values())
        tasks = [task for component in dags for task in component.get("dag", {}).get("tasks", {}).values()]
        assert {task["iteratorPolicy"]["parallelismLimit"] for task in tasks if "iteratorPolicy" in task} == expected
    alone = compiler.compiled(compiler.load("training"), Target("local", parallelism=3))
    assert "iteratorPolicy" not in alone  # here all cores are one's own


def metric(limit, region="europe-west4"):
    """What Service Usage answers, as its ConsumerQuotaMetric is."""
    buckets = [{"effectiveLimit": "20", "defaultLimit": "20"}]
    if limit is not None:
        buckets.append({"effectiveLimit": limit, "defaultLimit": "20", "dimensions": {"region": region}})
    name = "aiplatform.googleapis.com/custom_model_training_cpus"
    limits = [
        {"metric": name, "unit": "1/{project}", "quotaBuckets": [{"effectiveLimit": "1", "defaultLimit": "1"}]},
        {"metric": name, "unit": "1/{project}/{region}", "isPrecise": True, "quotaBuckets": buckets},
    ]
    return {"metric": name, "displayName": "Custom model training CPUs for N1/E2", "consumerQuotaLimits": limits}


@pytest.mark.parametrize(
    ("reply", "n_classes", "state", "detail"),
    [
        (metric("56"), 7, "passed", "the tasks need 56 CPUs at once; the quota in europe-west4 is 56"),
        (metric("-1"), 7, "passed", "the quota in europe-west4 is unlimited"),
        (metric("42"), 7, "failed", "is 42. Give --parallelism 5, or a smaller --profile, or ask for more"),
        (metric(None), 7, "failed", "is 20. Give --parallelism 2, or"),
        (metric("4"), 7, "failed", "is 4. Ask for more: https://console.cloud.google.com/iam-admin/quotas?project=p"),
        (metric("100", "us-central1"), 7, "failed", "the quota in europe-west4 is 20"),
        (metric("42"), None, "not checked", "need 8 CPUs at once, with one iteration of for-loop-1"),
        ({"consumerQuotaLimits": []}, 7, "not checked", "names no quota for europe-west4"),
    ],
)
def test_quota_is_compared_where_it_can_be_read(service, answers, reply, n_classes, state, detail):
    asked = answers(200, reply)
    made = make("quota", lambda: vertex_checks.cpus(service, spec_of("standard"), {}, schema_of(n_classes)))
    assert (made.state, detail in made.detail) == (state, True), made.detail
    assert asked == [
        "https://serviceusage.googleapis.com/v1beta1/projects/p/services/aiplatform.googleapis.com/"
        "consumerQuotaMetrics/aiplatform.googleapis.com%2Fcustom_model_training_cpus?view=FULL"
    ]


def test_quota_that_is_too_small_only_if_machines_are_rounded_up_does_not_stop(service, answers):
    answers(200, metric("20"))
    made = make("quota", lambda: vertex_checks.cpus(service, spec_of("small"), {}, schema_of(7)))
    assert made.state == "not checked"
    assert "need 14 CPUs at once, up to 28 if the service takes e2-standard-4 for 2 CPUs" in made.detail


def test_quota_that_cannot_be_read_is_told_with_the_number_and_where_to_see_it(service, answers):
    answers(403, error(403, NOT_MINE, "USER_PROJECT_DENIED"))
    made = make("quota", lambda: vertex_checks.cpus(service, spec_of("standard"), {}, schema_of(7)))
    assert made.state == "not checked"
    assert "the tasks need 56 CPUs at once. The quota cannot be read: you may not use project p" in made.detail
    assert "See it at https://console.cloud.google.com/iam-admin/quotas?project=p" in made.detail


def test_quota_stops_a_submission_to_the_service(vertex, local_run):
    body = json.dumps(metric("20", "us-central1"))
    vertex.fail("GET", "/consumerQuotaMetrics/", 200, times=3, body=body)
    try:
        asked = ("--identifier", "x", "--data", "sample:1400", "--profile", "standard")
        done = local_run(*asked)
        assert done.status == 2
        assert "Error: quota: the tasks need 56 CPUs at once, and the quota in us-central1 is 20." in done.err
        assert "Give --parallelism 2" in done.err
        fewer = local_run(*asked, "--parallelism", "2", "--check")
        assert fewer.status == 0, fewer.out
        assert "the tasks need 16 CPUs at once; the quota in us-central1 is 20" in " ".join(fewer.out.split())
    finally:
        vertex.mend()


def test_rights_of_the_tasks_for_bigquery_are_told():
    (made,) = vertex_checks.of_data("bq://p.d.t", ACCOUNT)
    assert made.state == "not checked"
    for role in ("roles/bigquery.dataViewer", "roles/bigquery.readSessionUser", ACCOUNT):
        assert role in made.detail
    assert vertex_checks.of_data("gs://trees/x.csv", ACCOUNT) == []
