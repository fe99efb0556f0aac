"""Serving on Cloud Run: the model with its wheels in the bucket, and a service that the published schema takes."""

import hashlib
import json
import os
import platform
import re
import shlex
from importlib.resources import files

import pytest
import yaml

from pipeline import ROOT, __main__, deploying, serving, storage
from pipeline.settings import settle
from pipeline.tests.wheels import empty_wheels

SCHEMAS = json.loads(files("googleapiclient").joinpath("discovery_cache/documents/run.v1.json").read_text())["schemas"]
KINDS = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}


def problems(value, schema, path="service"):
    """Yield where a value is none of a schema of the API's discovery document."""
    schema = SCHEMAS[schema["$ref"]] if "$ref" in schema else schema
    kind = schema["type"]
    if kind == "object" and isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties")
        for name, inner in value.items():
            if name in known or more:
                yield from problems(inner, known.get(name, more), f"{path}.{name}")
            else:
                yield f"{path}.{name} is unknown"
    elif kind == "array" and isinstance(value, list):
        for place, inner in enumerate(value):
            yield from problems(inner, schema["items"], f"{path}[{place}]")
    elif type(value) not in (KINDS.get(kind), *(KINDS["number"] if kind == "number" else ())):
        yield f"{path} is no {kind}"


@pytest.fixture
def service(monkeypatch):
    """The service of a model, as it is written."""

    def make(**given):
        monkeypatch.setenv("COVERTYPE_BUCKET", "trees")
        settings = settle(identifier="mine-", project="demo", region="europe-west4", **given)
        made = deploying.service(settings, "5" * 64, "gs://trees/mine/served/55", {"label": "Kind", "run": "x"})
        return yaml.safe_load(yaml.dump(made, Dumper=deploying.Dumper))

    return make


def test_service_is_one_of_the_published_schema(service):
    made = service(service_account="server@demo.iam.gserviceaccount.com")
    assert [*problems(made, {"$ref": "Service"})] == []
    template = made["spec"]["template"]
    assert template["spec"]["serviceAccountName"] == "server@demo.iam.gserviceaccount.com"
    documented = SCHEMAS["ObjectMeta"]["properties"]["annotations"]["description"]
    for metadata, kind in ((made["metadata"], "Service"), (template["metadata"], "Revision")):
        for name in metadata["annotations"]:
            assert re.search(rf"`{re.escape(name)}`: [\w, ]*\b{kind}\b", documented), name
        for key, value in metadata["labels"].items():
            assert re.fullmatch(r"[a-z0-9._/-]{1,63}", key)
            assert re.fullmatch(r"[a-z0-9_-]{1,63}", value)
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?", made["metadata"]["name"])
    assert "serviceAccountName" not in service()["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (("spec", "template", "spec", "containers", 0, "comand"), [], "containers[0].comand is unknown"),
        (("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"), "8080", "is no integer"),
        (("spec", "template", "spec", "containers", 0, "startupProbe", "httpGet"), "/", "httpGet is no object"),
        (("spec", "template", "spec", "timeoutSeconds"), True, "timeoutSeconds is no integer"),
        (("metadata", "labels", "x"), 1, "labels.x is no string"),
    ],
)
def test_schema_refuses_what_is_none(service, place, value, problem):
    made = service()
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert len(found := [*problems(made, {"$ref": "Service"})]) == 1
    assert problem in found[0]


def test_container_is_told_what_vertex_ai_tells_it_and_has_the_time_to_start(service):
    (container,) = service()["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    assert len(told) == len(container["env"])
    assert told["AIP_STORAGE_URI"] == "gs://trees/mine/served/55"
    assert told["MODEL_SHA256"] == "5" * 64
    port = container["ports"][0]["containerPort"]
    assert told["AIP_HTTP_PORT"] == str(port)  # Cloud Run asks this one; PORT is its own to set
    assert "PORT" not in told
    for name in ("startupProbe", "livenessProbe"):
        probe = container[name]
        assert probe["httpGet"] == {"path": told["AIP_HEALTH_ROUTE"], "port": port}
        assert probe["timeoutSeconds"] < probe["periodSeconds"]
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] <= 240
    assert container["image"] == "python:3.11-slim"
    assert len(container["args"]) < 1000


def test_image_of_the_settings_is_taken(service, monkeypatch):
    monkeypatch.setenv("COVERTYPE_SERVING_IMAGE", "europe-docker.pkg.dev/demo/own/python:3.11")
    made = service()
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "europe-docker.pkg.dev/demo/own/python:3.11"


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Let pip find wheels of the packages, empty ones, on a machine like the container's."""
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "11", "9"))
    for name, value in empty_wheels(tmp_path / "index").items():
        monkeypatch.setenv(name, value)


def test_model_is_served_from_the_bucket(vertex, local_run, wheels, tmp_path, monkeypatch, capsys):
    promoting = f"{ROOT}/pipeline/tests/promoting.py:promoting"
    there = local_run("--identifier", "larches", "--pipeline", promoting, "--deploy", "run")
    assert there.status == 0, there.err
    command = shlex.split(there.out.splitlines()[-1])
    file = there.folder / "service.yaml"
    assert command[:4] == ["gcloud", "run", "services", "replace"]
    assert command[4:] == [str(file), "--region", "us-central1", "--project", "demo"]
    made = yaml.safe_load(file.read_text())
    (container,) = made["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    version = hashlib.sha256("\n".join(serving.server_packages()).encode()).hexdigest()[:8]
    assert told["AIP_STORAGE_URI"] == f"gs://trees/larches/served/{told['MODEL_SHA256'][:16]}-{version}"
    names = {blob.name.rpartition("/")[2] for blob in storage.find(f"{told['AIP_STORAGE_URI']}/")}
    assert {"model.joblib", "model.json", "requirements-serving.txt"} < names
    assert {name.partition("-")[0] for name in names if name.endswith(".whl")} >= {"fastapi", "joblib", "uvicorn"}

    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "13", "1"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))  # what is in the bucket is not collected again
    folder = storage.fetch_all(there.record["model"].rpartition("/")[0], tmp_path / "model")
    assert __main__.main(["deploy", "larches", str(folder), "-o", str(tmp_path / "own.yaml")]) == 0
    assert yaml.safe_load((tmp_path / "own.yaml").read_text()) == made
    assert f"gcloud run services replace {tmp_path / 'own.yaml'} --region us-central1" in capsys.readouterr().out

    storage.client().bucket("trees").blob(f"{told['AIP_STORAGE_URI'].partition('trees/')[2]}/model.json").delete()
    assert __main__.main(["deploy", "larches", str(folder), "-o", str(tmp_path / "own.yaml")]) == 2
    assert "collected by Python 3.11 on Linux, x86_64, and this is Python 3.13" in capsys.readouterr().err


def test_model_that_is_not_promoted_is_not_deployed(vertex, local_run):
    promoting = f"{ROOT}/pipeline/tests/promoting.py:promoting"
    kept = local_run("--identifier", "yews", "--pipeline", promoting, "--deploy", "run", "--set", "decides=kept")
    assert kept.status == 0, kept.err
    assert "gcloud" not in kept.out
    assert not (kept.folder / "service.yaml").exists()


def test_what_cannot_be_deployed_is_told(vertex, tmp_path, monkeypatch, capsys):
    def told(*arguments):
        monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "runs"))
        assert __main__.main(["deploy", "alders", *arguments]) == 2
        return capsys.readouterr().err

    assert "alders has no champion yet" in told()
    folder = tmp_path / "model"
    folder.mkdir()
    facts = {"sha256": "5" * 64, "classes": [], "columns": {}, "label": "Kind"}
    (folder / "model.json").write_text(json.dumps(facts))
    assert "model.joblib is not the file that was recorded" in told(str(folder))
    (folder / "model.joblib").write_bytes(b"another")
    assert "model.joblib is not the file that was recorded" in told(str(folder))
    monkeypatch.delenv("GOOGLE_CLOUD_REGION")
    assert "--region is missing" in told(str(folder))
    assert os.listdir(tmp_path) == ["model"]
