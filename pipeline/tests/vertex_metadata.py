"""The metadata store of the Vertex AI of the tests: contexts of experiments and pipelines, as far as the SDK asks."""

import re
from collections.abc import Callable
from typing import Any

from pipeline.tests.vertex_registry import PROJECT_NUMBER, Refusal, check

STORE = r"/v1/projects/[^/]+/locations/([^/]+)/metadataStores/default(?:/contexts(?:/([^/:]+))?)?(?::(\w+))?"


class Metadata:
    """Contexts by their whole names; the store is there."""

    def __init__(self, now: Callable[[], str]):
        self._now = now
        self._contexts: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any] | None:
        """Answer a request, or raise a Refusal; None for one that is none of these."""
        if not (parts := re.fullmatch(STORE, path)):
            return None
        location, name, verb = parts.groups()
        store = f"projects/{PROJECT_NUMBER}/locations/{location}/metadataStores/default"
        whole = f"{store}/contexts/{name}"
        match method, "/contexts" in path, bool(name), verb:
            case "GET", False, False, None:
                return {"name": store, "createTime": self._now(), "state": {}}
            case "GET", True, True, None:
                return self._context(whole)
            case "POST", True, False, None:
                return self._create(f"{store}/contexts/{query.get('contextId', '')}", body)
            case "POST", True, True, "addContextChildren":
                return self._add(whole, body.get("childContexts", []))
        return None

    def of_job(self, job: str, pipeline: str) -> dict[str, Any]:
        """Return the contexts of a job, made when it is first looked at."""
        parent, _, job_id = job.partition("/pipelineJobs/")
        of = {"pipelineContext": (pipeline, "system.Pipeline"), "pipelineRunContext": (job_id, "system.PipelineRun")}
        found = {}
        for key, (name, schema) in of.items():
            whole = f"{parent}/metadataStores/default/contexts/{name}"
            made = {"displayName": name, "schemaTitle": schema, "schemaVersion": "0.0.1"}
            found[key] = self._contexts.get(whole) or self._create(whole, made)
        return found

    def _context(self, name: str) -> dict[str, Any]:
        if name not in self._contexts:
            raise Refusal(404, f"Context {name} was not found.")
        return self._contexts[name]

    def _create(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        check(re.fullmatch("[a-z0-9][a-z0-9-]{0,127}", name.rpartition("/")[2]), "context_id", "It is no id.")
        if name in self._contexts:
            raise Refusal(409, f"The Context {name} already exists.")
        self._contexts[name] = body | {"name": name, "createTime": self._now(), "updateTime": self._now()}
        return self._contexts[name]

    def _add(self, name: str, children: list[str]) -> dict[str, Any]:
        parent = self._context(name)["name"]
        for child in children:
            self._context(re.sub("^projects/[^/]+", f"projects/{PROJECT_NUMBER}", child)).setdefault(
                "parentContexts", []
            ).append(parent)
        return {}
