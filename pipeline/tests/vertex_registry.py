"""The registry and the endpoints of the Vertex AI of the tests: what it takes is what the service's protos say.

Rules that stand in no proto are those of its documentation: an alias has one version, a version that has traffic is not
undeployed, an image is one of Artifact Registry.
"""

import re
import secrets
from collections.abc import Callable
from typing import Any

from google.cloud import storage
from google.cloud.aiplatform_v1.types import (
    CreateEndpointRequest,
    DeployModelRequest,
    UndeployModelRequest,
    UploadModelRequest,
)
from google.protobuf import json_format

PROJECT_NUMBER = "123456789012"  # replies name projects by number, whatever the request said
TYPES = "type.googleapis.com/google.cloud.aiplatform.v1"
POLLS = 2  # looks at an operation that find it going on
RESOURCES = r"/v1/projects/([^/]+)/locations/([^/]+)/(models|endpoints)(?:/([^/:]+))?(?::(\w+))?"
OPERATION = r"/v1/(projects/[^/]+/locations/[^/]+/(?:models|endpoints)/[^/]+/operations/\d+)"
REPOSITORY = r"/v1/projects/([^/]+)/locations/([^/]+)/repositories/([^/]+)"  # Artifact Registry's
REPOSITORIES = ("docker-hub",)
IMAGE = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev/[^/]+/([^/]+)/.+")
MACHINE_TYPE = r"(e2|n1|n2|n2d|c2|c3)-(standard|highmem|highcpu)-\d+"


class Refusal(Exception):
    """A request that the service answers with an error."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def check(holds: Any, field: str, message: str) -> None:
    """Refuse what does not hold."""
    if not holds:
        raise Refusal(400, f"List of found errors:\t1.Field: {field}; Message: {message}\t")


def check_labels(labels: dict[str, str]) -> None:
    """Refuse labels that are none of the service's."""
    for key, value in labels.items():
        valid = re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) and re.fullmatch(r"[a-z0-9_-]{0,63}", value)
        check(valid, "labels", f"Label {key!r}: {value!r} does not conform to the requirements for labels.")


class Registry:
    """Models with their versions, endpoints, and the operations that make them."""

    def __init__(self, client: storage.Client, now: Callable[[], str]):
        self._client, self._now = client, now
        self.models: dict[str, list[dict[str, Any]]] = {}  # the versions of each, by its name
        self.endpoints: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any] | None:
        """Answer a request, or raise a Refusal; None for one that is none of these."""
        if parts := re.fullmatch(OPERATION, path):
            return self._operation(parts[1])
        if parts := re.fullmatch(REPOSITORY, path):
            if parts[3] not in REPOSITORIES:
                raise Refusal(404, "Requested entity was not found.")
            return {"name": path.removeprefix("/v1/"), "format": "DOCKER", "mode": "REMOTE_REPOSITORY"}
        if not (parts := re.fullmatch(RESOURCES, path)):
            return None
        _, location, kind, name, verb = parts.groups()
        parent = f"projects/{PROJECT_NUMBER}/locations/{location}"
        whole = f"{parent}/{kind}/{name}"
        match method, kind, bool(name), verb:
            case "GET", _, False, None:
                return self._listed(kind, parent, query)
            case "GET", "models", True, None:
                return self._version(whole)
            case "GET", "models", True, "listVersions":
                return {"models": self._versions(whole)}
            case "GET", "endpoints", True, None:
                return self._endpoint(whole)
            case "POST", "models", False, "upload":
                return self._upload(parent, _parsed(UploadModelRequest, body))
            case "POST", "endpoints", False, None:
                return self._create(parent, _parsed(CreateEndpointRequest, {"endpoint": body})["endpoint"])
            case "POST", "endpoints", True, "deployModel":
                return self._deploy(whole, _parsed(DeployModelRequest, body))
            case "POST", "endpoints", True, "undeployModel":
                return self._undeploy(whole, _parsed(UndeployModelRequest, body))
        return None

    # what there is

    def _versions(self, name: str) -> list[dict[str, Any]]:
        if name not in self.models:
            raise Refusal(404, f"The Model {name!r} does not exist.")
        return self.models[name]

    def _version(self, name: str) -> dict[str, Any]:
        """Return the version that a name means: models/M@2, models/M@alias, and the default one of models/M."""
        name, _, version = name.partition("@")
        for each in self._versions(name):
            if (version or "default") in (each["versionId"], *each["versionAliases"]):
                return each
        raise Refusal(404, f"The Model {name!r} has no version {version!r}.")

    def _endpoint(self, name: str) -> dict[str, Any]:
        if name not in self.endpoints:
            raise Refusal(404, f"The Endpoint {name!r} does not exist.")
        return self.endpoints[name]

    def _listed(self, kind: str, parent: str, query: dict[str, str]) -> dict[str, Any]:
        """Return a page of models, each by its default version, or of endpoints, the newest first."""
        terms = [term for term in query.get("filter", "").split(" AND ") if term]
        wanted = [re.fullmatch(r'(labels\.[a-z0-9_-]+|display_name)="([^"]*)"', term.strip()) for term in terms]
        check(all(wanted), "filter", f"Invalid filter: {query.get('filter')!r}.")
        names = self.models if kind == "models" else self.endpoints
        items = [self._version(name) if kind == "models" else self.endpoints[name] for name in reversed(names)]
        found = []
        for item in items:
            has = {f"labels.{key}": value for key, value in item.get("labels", {}).items()}
            has["display_name"] = item["displayName"]
            if item["name"].startswith(f"{parent}/") and all(has.get(term[1]) == term[2] for term in wanted):
                found.append(item)
        start, size = int(query.get("pageToken", 0)), int(query.get("pageSize", 100))
        following = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return {kind: found[start : start + size]} | following

    # operations

    def _started(self, of: str, kind: str, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Start an operation, which does what it is for at its end."""
        name = f"{of}/operations/{secrets.randbelow(10**18)}"
        shown = {"name": name, "metadata": {"@type": f"{TYPES}.{kind}OperationMetadata"}}
        self._operations[name] = {"polls": POLLS, "kind": kind, "act": act, "shown": shown}
        return shown

    def _operation(self, name: str) -> dict[str, Any]:
        if name not in self._operations:
            raise Refusal(404, f"The operation {name!r} does not exist.")
        operation = self._operations[name]
        shown = operation["shown"]
        operation["polls"] -= 1
        if operation["polls"] < 0 and "done" not in shown:
            shown["done"] = True
            try:
                shown["response"] = {"@type": f"{TYPES}.{operation['kind']}Response"} | operation["act"]()
            except Refusal as refusal:
                shown["error"] = {"code": 9, "message": str(refusal)}  # FAILED_PRECONDITION
        return shown

    # models

    def _upload(self, parent: str, request: dict[str, Any]) -> dict[str, Any]:
        model, container = request.get("model", {}), request.get("model", {}).get("containerSpec", {})
        check(0 < len(model.get("displayName", "")) <= 128, "model.display_name", "It has 1 to 128 characters.")
        check_labels(model.get("labels", {}))
        is_named_only = not container and not model.get("artifactUri")  # a model of a name, figures and labels
        if not is_named_only:
            check(container.get("imageUri"), "model.container_spec.image_uri", "The image is required.")
            check(model.get("artifactUri", "").startswith("gs://"), "model.artifact_uri", "It must be a folder.")
            check(
                IMAGE.fullmatch(container["imageUri"]), "container_spec.image_uri", "It must be in Artifact Registry."
            )
        aliases = model.get("versionAliases", [])
        for alias in aliases:
            check(re.fullmatch("[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]", alias), "version_aliases", f"{alias!r} is none.")
        name = request.get("parentModel", "")
        if name:
            check("@" not in name, "parent_model", "It names a model, not a version.")
            self._versions(name)
        else:
            name = f"{parent}/models/{secrets.randbelow(10**18)}"

        def act() -> dict[str, Any]:
            if not is_named_only:
                self._check_what_is_there(container["imageUri"], model["artifactUri"])
            versions = self.models.setdefault(name, [])
            own = [*dict.fromkeys([*aliases, *(() if versions else ("default",))])]
            for former in versions:
                former["versionAliases"] = [alias for alias in former["versionAliases"] if alias not in own]
            version = str(len(versions) + 1)
            times = {"createTime": self._now(), "versionCreateTime": self._now()}
            versions.append(model | times | {"name": name, "versionId": version, "versionAliases": own})
            return {"model": name, "modelVersionId": version}

        return self._started(name, "UploadModel", act)

    def _check_what_is_there(self, image: str, uri: str) -> None:
        check(IMAGE.fullmatch(image)[1] in REPOSITORIES, "image", f"Image {image!r} was not found.")
        bucket, _, prefix = uri.removeprefix("gs://").partition("/")
        check(
            [*self._client.list_blobs(bucket, prefix=f"{prefix}/", max_results=1)], "artifact_uri", f"{uri} is empty."
        )

    # endpoints

    def _create(self, parent: str, endpoint: dict[str, Any]) -> dict[str, Any]:
        check(0 < len(endpoint.get("displayName", "")) <= 128, "endpoint.display_name", "It has 1 to 128 characters.")
        check_labels(endpoint.get("labels", {}))
        name = f"{parent}/endpoints/{secrets.randbelow(10**18)}"

        def act() -> dict[str, Any]:
            self.endpoints[name] = endpoint | {"name": name, "createTime": self._now(), "deployedModels": []}
            return {"name": name}

        return self._started(name, "CreateEndpoint", act)

    def _deploy(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        endpoint, deployed = self._endpoint(name), request.get("deployedModel", {})
        version = self._version(deployed.get("model", ""))
        resources = deployed.get("dedicatedResources", {})
        machine = resources.get("machineSpec", {}).get("machineType", "")
        check(version.get("containerSpec"), "deployed_model.model", "The model has no container.")
        check(re.fullmatch(MACHINE_TYPE, machine), "machine_type", f"Machine type {machine!r} is not supported.")
        check(resources.get("minReplicaCount", 0) >= 1, "min_replica_count", "It must be at least 1.")
        split = request.get("trafficSplit", {})
        there = {each["id"] for each in endpoint["deployedModels"]}
        check(not split or sum(split.values()) == 100, "traffic_split", "The percentages must add up to 100.")
        check({*split} <= there | {"0"}, "traffic_split", "It names a model that is not deployed.")
        number = str(secrets.randbelow(10**18))

        def act() -> dict[str, Any]:
            name, version_id = version["name"], version["versionId"]
            made = deployed | {"id": number, "model": name, "modelVersionId": version_id, "createTime": self._now()}
            endpoint["deployedModels"].append(made)
            if split:
                endpoint["trafficSplit"] = {number if key == "0" else key: share for key, share in split.items()}
            return {"deployedModel": made}

        return self._started(name, "DeployModel", act)

    def _undeploy(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        endpoint, number = self._endpoint(name), request.get("deployedModelId", "")
        check(number in {each["id"] for each in endpoint["deployedModels"]}, "deployed_model_id", "It is not deployed.")
        check(not endpoint.get("trafficSplit", {}).get(number), "traffic_split", "The model has traffic.")

        def act() -> dict[str, Any]:
            endpoint["deployedModels"] = [each for each in endpoint["deployedModels"] if each["id"] != number]
            return {}

        return self._started(name, "UndeployModel", act)


def _parsed(kind: type, body: Any) -> dict[str, Any]:
    """Return a request as its proto has it, or refuse what the proto has not."""
    try:
        message = json_format.ParseDict(body or {}, kind.pb(kind()))
    except (json_format.ParseError, ValueError, TypeError) as error:
        raise Refusal(400, f"Invalid JSON payload received. {error}") from error
    return json_format.MessageToDict(message)
