"""--register and --deploy vertex: what is promoted goes into the registry and onto the endpoint, and only that.

The service is played, but executes the job, and Google's operators run with their own code.
"""

import functools
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import time

import pytest
from kfp.dsl import Artifact, Markdown, Model

from pipeline import ROOT, compiler, graph, serving, storage
from pipeline.check import Failed, NotChecked
from pipeline.engines import vertex_checks
from pipeline.engines.vertex_service import Service
from pipeline.settings import settle
from pipeline.target import Target
from pipeline.tests.promoting import promote_model
from steps import champions, vertex_api
from steps.find_resource import find_resource
from steps.undeploy_former import undeploy_former

pytest.importorskip("google_cloud_pipeline_components")
from pipeline.registering import Registration, registering

PARENT = "projects/demo/locations/us-central1"
IMAGE = "us-central1-docker.pkg.dev/demo/docker-hub/library/python:3.11-slim"
PROMOTING = f"{ROOT}/pipeline/tests/promoting.py:promoting"


@pytest.fixture
def run_own(vertex, local_run):
    """Run a pipeline whose promote_model decides what it is told, and trains nothing."""
    return lambda *arguments: local_run("--pipeline", PROMOTING, *arguments)


@pytest.fixture
def there(vertex):
    """What the service has of an identifier: the versions of its models, and its endpoints."""

    def look(identifier):
        api = vertex_api.VertexApi(vertex.url)
        models, endpoints = (api.listed(PARENT, kind, {"identifier": identifier}) for kind in ("models", "endpoints"))
        versions = (api.call("GET", f"{model['name']}:listVersions")["models"] for model in models)
        return [*itertools.chain(*versions)], endpoints

    return look


def operator(vertex, tmp_path, module, *arguments):
    """Run an operator of Google's with its own code; returns its status and what it has printed."""
    written = ("--gcp_resources", str(tmp_path / "gcp_resources"))
    whole = f"google_cloud_pipeline_components.container.v1.{module}.launcher"
    command = [sys.executable, "-m", "pipeline.tests.google_task", vertex.url, whole, *arguments, *written]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def states(record):
    return {task["name"]: task["state"] for task in record["tasks"]}


@pytest.mark.slow
def test_each_promoted_model_is_the_next_version_with_all_traffic(run_own, there):
    first = run_own("--identifier", "maples", "--deploy", "vertex")
    assert first.status == 0, first.err
    (version,), (endpoint,) = there("maples")
    assert (version["displayName"], version["versionAliases"]) == ("maples", ["default", "champion"])
    job = first.record["job"].rpartition("/")[2]
    commit = first.record["git"]["commit"] + ("-dirty" if first.record["git"]["dirty"] else "")
    labels = {"identifier": "maples", "made_by": "covertype-pipelines", "commit": commit, "run": job[-20:]}
    assert labels.items() <= version["labels"].items()
    assert version["description"].startswith(f"{job}: macro_f1 0.8750, accuracy 0.9000; F1 of Krumm'holz': 0.500; ")
    place = rf"gs://trees/maples/{first.record['run_id']}/\d+/{job}/package-model_-?\d+/package"
    assert re.fullmatch(place, version["artifactUri"])
    expected = serving.container(IMAGE, sha256=hashlib.sha256(job.encode()).hexdigest())
    assert version["containerSpec"] == {name: value for name, value in expected.items() if value}
    assert endpoint["labels"].items() >= {"identifier": "maples", "made_by": "covertype-pipelines"}.items()
    (deployed,) = endpoint["deployedModels"]
    assert endpoint["trafficSplit"] == {deployed["id"]: 100}
    assert deployed["dedicatedResources"] == {"machineSpec": {"machineType": "e2-standard-2"}, "minReplicaCount": 1}

    second = run_own("--identifier", "maples", "--deploy", "vertex", "--profile", "large")
    assert second.status == 0, second.err
    (version, following), (endpoint,) = there("maples")
    assert (version["versionAliases"], following["versionAliases"]) == ([], ["default", "champion"])
    assert (version["name"], following["versionId"]) == (following["name"], "2")
    (now,) = endpoint["deployedModels"]  # the former one costs no machine any more
    assert (now["modelVersionId"], endpoint["trafficSplit"]) == ("2", {now["id"]: 100})
    assert now["dedicatedResources"]["machineSpec"] == {"machineType": "e2-highmem-8"}


def test_without_an_image_a_version_is_a_name_with_figures_and_a_place(run_own, there, monkeypatch):
    monkeypatch.setenv("COVERTYPE_SERVING_IMAGE", "none")
    done = run_own("--identifier", "willows", "--register")
    assert done.status == 0, done.err
    (version,), _ = there("willows")
    assert version.keys().isdisjoint({"containerSpec", "artifactUri"})
    assert (version["versionAliases"], version["labels"]["identifier"]) == (["default", "champion"], "willows")
    assert re.search(r"macro_f1 0\.8750.* SHA-256 [0-9a-f]{64} of \S+/promote-model/model$", version["description"])
    refused = run_own("--identifier", "willows", "--deploy", "vertex")
    assert refused.status == 2
    assert "--deploy vertex needs an image to serve in, and serving_image is none." in refused.err


@pytest.mark.parametrize("decides", ["kept", "tie"])
def test_model_that_is_not_promoted_is_not_registered(run_own, there, decides):
    done = run_own("--identifier", "oaks", "--register", "--set", f"decides={decides}")
    assert done.status == 0, done.err
    assert there("oaks") == ([], [])
    assert states(done.record) == {"promote-model": "succeeded"}


@pytest.fixture
def create_endpoint(vertex, tmp_path):
    """Let EndpointCreateOp make an endpoint; returns its status and what it has printed."""
    given = json.dumps({"outputs": {"outputFile": str(tmp_path / "output.json")}})

    def create(payload):
        places = ("--project", "demo", "--location", "us-central1", "--executor_input", given)
        payload = ("--type", "CreateEndpoint", "--payload", json.dumps(payload), *places)
        return operator(vertex, tmp_path, "endpoint.create_endpoint", *payload)

    return create


def test_registration_that_the_service_ends_with_an_error_fails_the_run_with_its_words(vertex, run_own, there):
    error = {"code": 7, "message": "Permission 'artifactregistry.repositories.downloadArtifacts' denied."}
    vertex.fail("GET", "/operations/", 200, times=100, merge={"done": True, "error": error})
    failed = run_own("--identifier", "rowans", "--register")
    vertex.mend()
    assert failed.status == 1
    assert re.search("Error: model-upload failed(, retried 2×)?: ", failed.err)  # noqa: RUF001
    assert "'artifactregistry.repositories.downloadArtifacts' denied." in failed.err
    assert states(failed.record)["promote-model"] == "succeeded"
    assert there("rowans") == ([], [])


def test_champion_is_registered_as_it_is_without_a_training(vertex, local_run, there, artifact):
    model = artifact(Model)
    promote_model.python_func("promoted", "20261125T100000-abcd", model, artifact(Markdown))
    place = "gs://trees/cedars/champion.json"
    new = champions.made(place, "20261125T100000-abcd", model.uri, model.metadata["sha256"], {}, "by hand")
    champions.promote(place, new, None)
    done = local_run("--identifier", "cedars", "--pipeline", f"{ROOT}/pipeline/champion.py:champion", "--register")
    assert done.status == 0, done.err
    assert states(done.record)["take-champion"] == "succeeded"
    (version,), _ = there("cedars")
    assert version["labels"]["run"] == "20261125t100000-abcd"
    assert {"name": "MODEL_SHA256", "value": model.metadata["sha256"]} in version["containerSpec"]["env"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (("POST", "/endpoints", 429), "RESOURCE_EXHAUSTED"),
        pytest.param(("POST", "/endpoints", 409), "ALREADY_EXISTS", marks=pytest.mark.slow),
        pytest.param(("GET", "/operations/", 503), "UNAVAILABLE", marks=pytest.mark.slow),
        (("GET", "/operations/", 200, {"done": True, "error": {"code": 8, "message": "No quota."}}), "No quota."),
    ],
)
def test_what_the_service_refuses_fails_the_operator_and_makes_nothing(vertex, there, create_endpoint, fault, message):
    vertex.fail(*fault[:3], **({"merge": fault[3]} if fault[3:] else {}))
    status, told = create_endpoint({"display_name": "elms", "labels": {"identifier": "elms"}})
    assert status != 0
    assert message in told
    assert there("elms") == ([], [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"commit": "ABC"}}, "Label 'commit': 'ABC'"),
        ({"parentModel": f"{PARENT}/models/1"}, "does not exist"),
        ({"parentModel": f"{PARENT}/models/1@2"}, "not a version"),
        ({"versionAliases": ["1st"]}, "version_aliases"),
        ({"containerSpec": {"imageUri": "docker.io/library/python:3.11"}}, "It must be in Artifact Registry."),
        ({"containerSpec": {"imageUri": IMAGE, "ports": [8080]}}, "Invalid JSON payload"),
        ({"containerSpec": {"imageUri": IMAGE, "predict": "/"}}, "Invalid JSON payload"),
        ({"containerSpec": {}}, "The image is required."),
        ({"artifactUri": "/tmp/model"}, "It must be a folder."),
        ({"artifactUri": "gs://trees/nothing"}, "is empty"),
        ({"containerSpec": {"imageUri": IMAGE.replace("docker-hub", "other")}}, "was not found"),
    ],
)
def test_played_registry_refuses_what_the_service_refuses(vertex, monkeypatch, change, message):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    api = vertex_api.VertexApi(vertex.url)
    parent = {key: change[key] for key in change.keys() & {"parentModel"}}
    model = {"displayName": "elms", "artifactUri": "gs://trees/data", "containerSpec": {"imageUri": IMAGE}}
    model |= {key: value for key, value in change.items() if key not in parent}
    with pytest.raises(RuntimeError, match=re.escape(message)):
        api.end_of(api.call("POST", f"{PARENT}/models:upload", json={"model": model} | parent))


def test_what_is_there_is_found_by_its_labels_whatever_the_weather(vertex, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    api = vertex_api.VertexApi(vertex.url)
    find = functools.partial(find_resource.python_func, vertex.url, PARENT, "endpoints")
    labels = {"identifier": "firs", "made_by": "covertype-pipelines"}
    uri = tmp_path / "uri" / "value"
    assert (find(labels, str(uri)), uri.read_text()) == ("none", "none")
    for payload in (labels, labels, {"identifier": "firs"}, labels | {"identifier": "birches"}):
        api.end_of(api.call("POST", f"{PARENT}/endpoints", json={"displayName": "any", "labels": payload}))
    vertex.fail("GET", "/endpoints?", 503, times=3)
    vertex.fail("GET", "/endpoints?", 429)
    vertex.fail("GET", "/endpoints?", 200, body="<html>a proxy</html>")
    found = find(labels, str(uri))
    assert uri.read_text() == f"{vertex.url}/v1/{found}"
    both = api.listed(PARENT, "endpoints", labels)
    assert (both[0]["name"], len(both)) == (found, 2)  # the older one

    monkeypatch.setattr(api, "call", _in_pages_of_one(api.call))
    assert api.listed(PARENT, "endpoints", labels) == both
    vertex.fail("GET", "/endpoints?", 403, message="Not for you.")
    with pytest.raises(RuntimeError, match=r"GET projects/demo/locations/us-central1/endpoints: 403 .*Not for you"):
        find(labels, str(uri))


def _in_pages_of_one(call):
    return lambda method, name, params: call(method, name, params=params | {"pageSize": "1"})


def test_version_that_has_traffic_and_other_models_stay_on_the_endpoint(vertex, monkeypatch, artifact):
    deployed = [
        {"id": "1", "model": "projects/1/locations/l/models/7"},
        {"id": "2", "model": "projects/1/locations/l/models/7@2"},
        {"id": "3", "model": "projects/1/locations/l/models/8"},
        {"id": "4", "model": "projects/1/locations/l/models/7"},
    ]
    asked = []

    def call(self, method, name, **options):
        asked.append(options.get("json", {}).get("deployedModelId"))
        return {"trafficSplit": {"2": 10, "4": 90}, "deployedModels": deployed, "done": True}

    monkeypatch.setattr(vertex_api.VertexApi, "call", call)
    endpoint, model = artifact(Artifact, resourceName="e"), artifact(Artifact, resourceName="projects/p/l/models/7@4")
    assert undeploy_former.python_func(vertex.url, endpoint, model) == 1
    assert asked == [None, "1"]


@pytest.fixture(scope="module")
def spec():
    registration = Registration("mine", "demo", "us-central1", "http://127.0.0.1:1", IMAGE, "abc", deploys=True)
    return graph.parsed(
        compiler.compiled(registering(compiler.load("training"), registration, "large"), Target("vertex"))
    )


def test_gate_is_the_one_return_of_promote_model(spec):
    conditions = {
        task["triggerPolicy"]["condition"]
        for component in spec["components"].values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "triggerPolicy" in task
    } | {spec["root"]["dag"]["tasks"]["condition-2"]["triggerPolicy"]["condition"]}
    assert "inputs.parameter_values['pipelinechannel--promote-model-Output'] == 'promoted'" in conditions
    assert len(conditions) == 5
    assert spec["pipelineInfo"]["name"] == "covertype-training"  # its cache stays


def test_registering_is_never_cached_and_google_s_operators_need_no_machine(spec):
    for component in spec["components"].values():
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            of = spec["components"][task["componentRef"]["name"]]
            if "dag" not in of and name != "train-model":
                assert task.get("cachingOptions", {}) == {}, name
    nodes = {node.name: node for node in graph.nodes(spec)}
    assert nodes["package-model"].cpus == "4"
    assert [nodes[name].cpus for name in ("model-upload", "endpoint-create", "model-deploy")] == ["", "", ""]
    assert graph.registers(spec)


def test_server_s_command_is_one_that_both_services_take():
    command = serving.container(IMAGE)["command"]
    assert max(len(part.encode()) for part in command) < 100_000  # Linux takes 131,071 as one argument
    assert not re.search(r"\$\(\w+\)", " ".join(command))  # which they would expand
    assert "{{$" not in " ".join(command)


def test_google_s_operators_are_imported_for_a_registration_only(tmp_path):
    script = (
        "import sys, run\n"
        "status = run.main([*sys.argv[1:], '--compile-only', 'spec.yaml'])\n"
        "print(status, 'google_cloud_pipeline_components' in sys.modules)"
    )
    vertex = ("--engine", "vertex", "--identifier", "x", "--project", "p", "--region", "us-central1", "--bucket", "bkt")
    for arguments, imported in ((vertex[:2], False), ((*vertex, "--register"), True)):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert done.stdout.splitlines()[-1] == f"0 {imported}", done.stderr
    text = (tmp_path / "spec.yaml").read_text()
    assert text.count(":2.22.0") == 2
    assert graph.parsed(text)["root"]["inputDefinitions"]["parameters"]["champion"]["defaultValue"] == (
        "gs://bkt/x/champion.json"
    )


@pytest.mark.parametrize(
    ("image", "state", "told"),
    [
        ("", "passed", f"{IMAGE}; its repository is there"),
        ("docker.io/library/python:3.11", "failed", "Vertex AI takes images of Artifact Registry only, not docker.io/"),
        (
            "europe-docker.pkg.dev/example.com/it/own/x:1",
            "failed",
            "there is no repository own in europe of example.co",
        ),
    ],
)
def test_check_says_what_a_registration_needs(vertex, local_run, monkeypatch, image, state, told):
    monkeypatch.setenv("COVERTYPE_SERVING_IMAGE", image)
    done = local_run("--identifier", "x", "--data", "sample:200", "--register", "--check")
    assert re.search(rf"^{state} +serving image: {re.escape(told)}", done.out, re.M), done.out
    assert re.search(r"^passed +registry: it answers; the tasks' account needs roles/aiplatform.user", done.out, re.M)


def test_repository_that_is_missing_is_told_with_the_command_that_makes_it(vertex, monkeypatch):
    monkeypatch.setenv("COVERTYPE_ENGINE", "vertex")
    service = Service(settle(identifier="x"))
    vertex.fail("GET", "/repositories/", 404)
    with pytest.raises(Failed, match=r"Make it: gcloud artifacts repositories create docker-hub --location=us-cen"):
        vertex_checks.serving_image(service)
    vertex.fail("GET", "/repositories/", 403, message="SERVICE_DISABLED")
    with pytest.raises(Failed, match=r"Turn it on: gcloud services enable artifactregistry\.googleapis\.com"):
        vertex_checks.serving_image(service)
    vertex.fail("GET", "/repositories/", 403, message="Not for you.")
    with pytest.raises(NotChecked, match=r"cannot be looked at: Not for you\."):
        vertex_checks.serving_image(service)


@pytest.mark.slow
def test_training_registers_and_deploys_its_champion_and_no_model_that_is_not_better(vertex, local_run, there):
    fast = ("--identifier", "pines", "--data", "sample:1400", "--set", "max_iter=3")
    first = local_run(*fast, "--deploy", "vertex")
    assert first.status == 0, first.err
    (version,), (endpoint,) = there("pines")
    assert version["description"].count("F1 of 0: 0.") == 1
    assert version["labels"]["run"] == first.record["run_id"].lower()
    assert len(endpoint["deployedModels"]) == 1
    place = storage.find(f"{version['artifactUri']}/*.json")
    assert [blob.name.rpartition("/")[2] for blob in place] == ["model.json"]

    again = local_run(*fast, "--register")
    assert again.status == 0, again.err
    assert states(again.record)["promote-model"] == "succeeded"
    assert there("pines")[0] == [version]
