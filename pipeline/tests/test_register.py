"""--register and --deploy vertex: what is promoted goes into the registry, and only that."""

import json

import pytest

FAST = ("--data", "sample:1400", "--set", "max_iter=3")
PARENT = "/v1/projects/demo/locations/us-central1"


@pytest.fixture
def registered(vertex):
    """What the service has of an identifier: its models, each with its versions, and its endpoints."""

    def look(identifier):
        query = f"?filter=labels.identifier=%22{identifier}%22"
        models = vertex._ask(f"{PARENT}/models{query}").get("models", [])
        versions = [vertex._ask(f"/v1/{model['name']}:listVersions")["models"] for model in models]
        return versions, vertex._ask(f"{PARENT}/endpoints{query}").get("endpoints", [])

    return look


def test_first(vertex, local_run, registered):
    done = local_run("--identifier", "first", *FAST, "--deploy", "vertex")
    print(json.dumps(registered("first"), indent=1))
    for t in done.record["tasks"]:
        print(t["path"], t["state"], t["error"])
    assert done.status == 0
    done = local_run("--identifier", "first", *FAST, "--register")
    print(done.err)
    assert done.status == 7
