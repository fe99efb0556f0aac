"""--register and --deploy vertex: what is promoted goes into the registry and onto the endpoint, and only that.

The service is played, but executes the job, and Google's operators run with their own code.
"""

import itertools

import pytest

from pipeline import serving
from steps import vertex_api

PARENT = "projects/demo/locations/us-central1"
IMAGE = "us-central1-docker.pkg.dev/demo/docker-hub/library/python:3.11"
OWN = """
from kfp import dsl
from kfp.dsl import Model, Output


@dsl.component(base_image="python:3.11")
def promote_model(verdict: str, run: str, model: Output[Model]) -> str:
    import json
    from pathlib import Path

    folder = Path(model.path)
    folder.mkdir(parents=True)
    (folder / "model.joblib").write_bytes(run.encode())
    (folder / "requirements.txt").write_text("")
    figures = {"macro_f1": 0.875, "accuracy": 0.9, "f1": {'Krumm"holz\\\\': 0.5, "Fir\\n": None}}
    facts = {"run": run, "figures": figures, "rows": {"train": 1000, "test": 200}, "source": "a", "label": "Kind"}
    (folder / "model.json").write_text(json.dumps(facts))
    model.metadata["sha256"] = "5" * 64
    return verdict


@dsl.pipeline(name="own")
def own(verdict: str = "promoted"):
    promote_model(verdict=verdict, run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER)
"""


@pytest.fixture
def run_own(vertex, local_run, tmp_path):
    """Run a pipeline whose promote_model returns what it is told, and train nothing."""
    (tmp_path / "own.py").write_text(OWN)
    return lambda *arguments: local_run("--pipeline", f"{tmp_path}/own.py:own", *arguments)


@pytest.fixture
def there(vertex):
    """What the service has of an identifier: the versions of its models, and its endpoints."""

    def look(identifier):
        api = vertex_api.VertexApi(vertex.url)
        models, endpoints = (api.listed(PARENT, kind, {"identifier": identifier}) for kind in ("models", "endpoints"))
        versions = (api.call("GET", f"{model['name']}:listVersions")["models"] for model in models)
        return [*itertools.chain(*versions)], endpoints

    return look


def states(record):
    return {task["name"]: task["state"] for task in record["tasks"]}


def test_each_promoted_model_is_the_next_version_with_all_traffic(run_own, there):
    first = run_own("--identifier", "maples", "--deploy", "vertex")
    assert first.status == 0, first.err
    (version,), (endpoint,) = there("maples")
    assert (version["displayName"], version["versionAliases"]) == ("maples", ["default", "champion"])
    job = first.record["job"].rpartition("/")[2]
    commit = first.record["git"]["commit"] + ("-dirty" if first.record["git"]["dirty"] else "")
    labels = {"identifier": "maples", "made_by": "covertype-pipelines", "commit": commit, "run": job[-20:]}
    assert labels.items() <= version["labels"].items()
    assert version["description"].startswith(f"{job}: macro_f1 0.8750, accuracy 0.9000; F1 of Krumm'holz' 0.500; 1")
    place = f"gs://trees/maples/{first.record['run_id']}/condition-1/package-model/package"
    assert version["artifactUri"] == place
    expected = serving.container(IMAGE, sha256="5" * 64)
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


@pytest.mark.parametrize("verdict", ["kept", "tie"])
def test_model_that_is_not_promoted_is_not_registered(run_own, there, verdict):
    done = run_own("--identifier", "oaks", "--register", "--set", f"verdict={verdict}")
    assert done.status == 0, done.err
    assert there("oaks") == ([], [])
    assert states(done.record) == {"promote-model": "succeeded"}
