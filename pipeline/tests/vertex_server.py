"""A stand-in for Vertex AI Pipelines over REST that runs what is submitted, for the real SDK.

The SDK talks to it with api_transport="rest" and api_endpoint=server.url. It is a process of its own, as the service
is. Jobs run one after another through the machinery of the local engine, in DIR/<job id>; their artifacts go to a Cloud
Storage emulator.

    python -m pipeline.tests.vertex_server --port 0 --folder DIR --storage URL
"""

import argparse
import contextlib
import json
import os
import queue
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
import zoneinfo
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.aiplatform_v1beta1.types import Schedule
from google.protobuf import json_format
from kfp.local import placeholder_utils
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, PipelineSpec

from pipeline import ROOT
from pipeline.engines import warm
from pipeline.engines.interpreter import ARTIFACTS, SKIPPED, SUCCEEDED, Command, Ended, Job
from pipeline.engines.interpreter import run as run_graph
from pipeline.engines.local import Tasks
from pipeline.graph import GOOGLE_IMAGE
from pipeline.runs import Run, Task
from pipeline.tests.vertex_registry import PROJECT_NUMBER, Refusal, Registry, check_labels
from pipeline.tests.vertex_registry import check as _check
from pipeline.tests.wheels import empty_wheels

REGIONS = ("us-central1", "europe-west1")
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
STATUS |= {409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
TASK_FAILED = (
    "The replica workerpool0-0 exited with a non-zero status of 1. To find out more about why your job exited please "
    "check the logs: https://console.cloud.google.com/logs/viewer?project={project}&resource=ml_job%2Fjob_id%2F{job}"
    "&advancedFilter=resource.type%3D%22ml_job%22%0Aresource.labels.job_id%3D%22{job}%22"
)
DAG_FAILED = "The DAG failed because some tasks failed. The failed tasks are: [{}]."
JOB_FAILED = (
    "{}; Job (project_id = {}, job_id = {number}) is failed due to the above error.; Failed to handle the job: "
    f"{{{{project_number = {PROJECT_NUMBER}, job_id = {{number}}}}}}"
)
# what the interpreter is shown in the place of one of Google's own operators, which it does not run
STAND_IN = {
    "image": "python:3.11",
    "command": ["python", "-c", "kfp.dsl.executor_main", "pass"],
    "args": ["--executor_input", "{{$}}", "--function_to_execute", "operator"],
}
_LOCK = threading.RLock()  # of all that replies show


class VertexServer:
    """The server in a process of its own, while the context lasts."""

    def __init__(self, folder: Path, storage_url: str):
        self._command = [sys.executable, "-m", "pipeline.tests.vertex_server"]
        self._command += ["--folder", str(Path(folder).resolve()), "--storage", storage_url]

    def __enter__(self) -> "VertexServer":
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._process.stdout.close()

    @property
    def requests(self) -> list[tuple[str, str, Any]]:
        """Method, path with query, and parsed body of each request so far."""
        return [tuple(request) for request in self._ask("/_requests")]

    def fail(self, method: str, path_contains: str, status: int, times: int = 1, **options: Any) -> None:
        """Make the next requests of a kind fail, as POST /_faults does.

        Args:
            method: Method of the requests.
            path_contains: Part of their path with its query.
            status: Status to answer; with 200 the request is answered as ever, but for the options.
            times: How many of them.
            options: message of the error; act=True to do what the request asks all the same, so that only the answer
                is lost; hang=SECONDS to wait with the answer; drop=True to close the connection without one;
                body=TEXT to send in its place; merge=JSON to change it; cut=BYTES to send the beginning of it only;
                after=N to let as many such requests pass before.
        """
        fault = {"method": method, "path_contains": path_contains, "status": status, "times": times}
        self._ask("/_faults", json.dumps(fault | options).encode())

    def mend(self) -> None:
        """Take back the faults that have not been met."""
        self._ask("/_mend", b"")

    def jobs(self) -> dict[str, str]:
        """Return the states of all jobs by their ids."""
        return self._ask("/_jobs")

    def forget(self, job_id: str) -> None:
        """Let a job vanish."""
        self._ask("/_forget", json.dumps(job_id).encode())

    def run_schedule(self, name: str) -> str | None:
        """Let a schedule's time come; return the id of its new job, None where one that has not ended hinders it."""
        return self._ask("/_run_schedule", json.dumps(name).encode())

    def cancel_all(self) -> None:
        """Cancel the jobs that have not ended."""
        self._ask("/_cancel_all", b"")

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, body) as reply:
            return json.load(reply)


class _Job(Tasks):
    """A pipeline job as the service shows it, and the hooks of its run, which keep it up to date."""

    def __init__(self, project: str, location: str, job_id: str, body: dict[str, Any], service: "_Service"):
        self._spec = _checked_spec(body)
        self._dags = (self._spec.root.dag, *(component.dag for component in self._spec.components.values()))
        self._folder = service.folder / job_id
        self._client, self._service = service.client, service
        nothing = lambda *_: None  # noqa: E731
        record = SimpleNamespace(
            folder=self._folder,
            temporary=self._folder,
            start=nothing,
            forget=nothing,
            log=lambda task: Run.log(record, task),
        )
        super().__init__(record, SimpleNamespace(started=nothing, note=nothing))
        self._project, self._number = project, _number()
        self._parent = f"projects/{PROJECT_NUMBER}/locations/{location}"
        self._details: dict[str, dict[str, Any]] = {}  # by place, like for-loop-1-iteration-0/train-model
        self._logs: dict[str, Path] = {}  # by the number of the custom job
        self._google: dict[str, list[str]] = {}  # the commands of Google's own operators, by their steps
        self.reply = body | {
            "name": f"{self._parent}/pipelineJobs/{job_id}",
            "labels": body.get("labels", {}) | {"vertex-ai-pipelines-run-billing-id": self._number},
            "createTime": _now(),
        }
        self.state = "PENDING"
        self._parameters = _parameters(self._spec, body["runtimeConfig"].get("parameterValues", {}))
        self._detail("", job_id, "system.Run", self._parameters)

    @property
    def state(self) -> str:
        return self.reply["state"].removeprefix("PIPELINE_STATE_")

    @state.setter
    def state(self, state: str) -> None:
        self.reply |= {"state": f"PIPELINE_STATE_{state}", "updateTime": _now()}
        if state in ("RUNNING", *ENDED):
            self.reply["startTime" if state == "RUNNING" else "endTime"] = _now()

    def shown(self) -> dict[str, Any]:
        """Return the job with its tasks, which lists of jobs leave out."""
        return self.reply | {"jobDetail": {"taskDetails": list(self._details.values())}}

    def log_lines(self, custom_job: str) -> list[str]:
        """Return what a task of this job has printed."""
        log = self._logs.get(custom_job)
        return log.read_text("utf-8").splitlines() if log and log.exists() else []

    def run(self) -> None:
        """Run the job to its end."""
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        spec = json_format.MessageToDict(self._spec)
        for component in (spec["root"], *spec["components"].values()):
            for task in component.get("dag", {}).get("tasks", {}).values():
                if task.get("retryPolicy", {}).get("backoffDuration") == "60s":
                    del task["retryPolicy"]  # a profile's: a step that fails is to fail at once
        for label, executor in spec["deploymentSpec"]["executors"].items():
            container = executor.get("container", {})
            if container.get("image", "").startswith(GOOGLE_IMAGE):
                self._google[label.removeprefix("exec-")] = [*container["command"], *container["args"]]
                executor["container"] = STAND_IN
        try:
            # champion.json is no file of the mount: it is read and written as an object
            parameters = {
                name: value if name == "champion" else self._mounted(value) for name, value in self._parameters.items()
            }
            executors = self._spec.deployment_spec["executors"].values()
            sources = [executor["container"]["command"][-1] for executor in executors if "container" in executor]
            warm.preload(source for source in sources if not source.startswith("google_cloud"))
            names = Job(self._folder.name, self.reply["name"], self._number, str(self._folder), _now())
            how = run_graph(spec, parameters, self._folder, self, job=names)
            succeeded = how.state == SUCCEEDED
            self._finish("SUCCEEDED" if succeeded else "CANCELLED" if self.stopping else "FAILED")
        except Exception as error:
            (self._folder / "logs" / "error.log").write_text(traceback.format_exc(), encoding="utf-8")
            self._finish("FAILED", f"Internal error: {type(error).__name__}: {error}")

    def cancel(self) -> None:
        """End the processes of the tasks and let no new one start."""
        if self.state == "PENDING":
            self._finish("CANCELLED")
            return
        self.state = "CANCELLING"
        self.stop()

    def prepared(self, task: Task, inputs: dict[str, Any]) -> None:
        """The inputs are shown with the task once it is executed."""

    def execute(self, task: Task, command: Command, width: int) -> bool:
        inputs = command.executor_input.get("inputs", {}).get("parameterValues", {})
        mount = f"{self._folder}/gcs/"
        inputs = {k: v.replace(mount, "gs://") if isinstance(v, str) else v for k, v in inputs.items()}
        with _LOCK:
            detail = self._detail(_place(task), task.name, "system.ContainerExecution", inputs)
            detail["inputs"] = {
                name: {"artifacts": [self._input(artifact) for artifact in given["artifacts"]]}
                for name, given in command.executor_input.get("inputs", {}).get("artifacts", {}).items()
            }
            self._logs[detail["executorDetail"]["containerDetail"]["mainJob"].rpartition("/")[2]] = self._run.log(task)
        return super().execute(task, command, width)

    def _process(self, work: Any, command: Command) -> tuple[int, str]:
        """Run a task, one of Google's own operators with its own code."""
        if command.step not in self._google:
            return super()._process(work, command)
        given = json.loads(json.dumps(command.executor_input))
        for listed in given["inputs"].get("artifacts", {}).values():
            for artifact in listed["artifacts"]:
                artifact["uri"] = self._address(artifact["uri"])
        names = (self.reply["name"].rpartition("/")[2], command.step, str(self._folder), self._number)
        resolved = placeholder_utils.replace_placeholders(self._google[command.step], given, *names)
        module = resolved.index("-m") + 1
        asked = [sys.executable, "-m", "pipeline.tests.google_task", self._service.url, *resolved[module:]]
        labels = json.dumps({"vertex-ai-pipelines-run-billing-id": self._number})
        environment = os.environ | {"VERTEX_AI_PIPELINES_RUN_LABELS": labels}
        with (
            open(work.log, "ab") as log,
            self._watched(subprocess.Popen(asked, cwd=ROOT, env=environment, stdout=log, stderr=log)) as process,
        ):
            return process.wait(), ""

    def ended(self, task: Task, how: Ended) -> None:
        artifacts = {
            name: [
                {
                    "name": f"{self._parent}/metadataStores/default/artifacts/{_number()}",
                    "displayName": name,
                    "uri": self._uploaded(artifact["uri"]),
                    "schemaTitle": artifact["type"].get("schemaTitle", ""),
                    "metadata": artifact["metadata"],
                }
                for artifact in listed
            ]
            for name, listed in how.outputs.artifacts.items()
        }
        with _LOCK:
            detail = self._detail(_place(task), task.name, "system.ContainerExecution", {})
            detail["outputs"] = {name: {"artifacts": listed} for name, listed in artifacts.items()}
            outputs = {f"output:{name}": value for name, value in how.outputs.parameters.items()}
            detail["execution"]["metadata"] |= outputs
            job = detail["executorDetail"]["containerDetail"]["mainJob"].rpartition("/")[2]
            failed = "CANCELLED" if self.stopping else "FAILED"
            state = {SUCCEEDED: "SUCCEEDED", SKIPPED: "NOT_TRIGGERED"}.get(how.state, failed)
            self._end(detail, state, TASK_FAILED.format(project=PROJECT_NUMBER, job=job))

    def _detail(self, place: str, name: str, schema: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the detail of a task, a group or the root, new ones as running."""
        if place in self._details:
            return self._details[place]
        now, detail = _now(), {"taskId": _number(), "taskName": name, "state": "RUNNING"}
        if place:
            outside, _, own = place.rpartition("/")
            iteration = re.fullmatch(r"(.+)-iteration-\d+", own)
            above = "/".join(filter(None, (outside, iteration[1]))) if iteration else outside
            group = self._detail(above, above.rpartition("/")[2], "system.DagExecution", {})
            detail["parentTaskId"] = group["taskId"]
        if schema == "system.ContainerExecution":
            detail["executorDetail"] = {"containerDetail": {"mainJob": f"{self._parent}/customJobs/{_number()}"}}
        titles = {key: task.task_info.name for dag in self._dags for key, task in dag.tasks.items()}
        self._details[place] = detail | {
            "createTime": now,
            "startTime": now,
            "pipelineTaskStatus": [{"updateTime": now, "state": state} for state in ("PENDING", "RUNNING")],
            "execution": {
                "name": f"{self._parent}/metadataStores/default/executions/{_number()}",
                "displayName": titles.get(name, name),
                "schemaTitle": schema,
                "metadata": {f"input:{parameter}": value for parameter, value in inputs.items()},
            },
        }
        return self._details[place]

    def _end(self, detail: dict[str, Any], state: str, message: str) -> None:
        error = {"error": {"code": 9, "message": message}} if state == "FAILED" else {}
        detail |= {"state": state, "endTime": _now()} | error
        detail["pipelineTaskStatus"].append({"updateTime": detail["endTime"], "state": state} | error)

    def _end_groups(self) -> None:
        for place, detail in reversed(self._details.items()):  # the inner ones first
            if place and detail["state"] == "RUNNING":
                states = {inner["state"] for inner in self._inside(detail)}
                state = next((state for state in ("FAILED", "CANCELLED") if state in states), "SUCCEEDED")
                self._end(detail, state, self._failures(detail))

    def _inside(self, detail: dict[str, Any]) -> list[dict[str, Any]]:
        return [inner for inner in self._details.values() if inner.get("parentTaskId") == detail["taskId"]]

    def _failures(self, detail: dict[str, Any]) -> str:
        failed = [inner["taskName"] for inner in self._inside(detail) if inner["state"] == "FAILED"]
        return DAG_FAILED.format(", ".join(failed))

    def _finish(self, state: str, error: str | None = None) -> None:
        with _LOCK:
            self._end_groups()
            root = self._details[""]
            self._end(root, state, error or self._failures(root))
            if state == "FAILED":
                message = JOB_FAILED.format(root["error"]["message"], self._project, number=self._number)
                self.reply["error"] = {"code": 13 if error else 9, "message": message}
            elif state == "CANCELLED":
                self.reply["error"] = {"code": 1, "message": "The pipeline job was cancelled."}
            self.state = state

    def _input(self, artifact: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": f"{self._parent}/metadataStores/default/artifacts/{_number()}",
            "displayName": artifact["name"],
            "uri": self._address(artifact["uri"]),
            "schemaTitle": artifact["type"]["schemaTitle"],
            "metadata": artifact.get("metadata", {}),
        }

    def _address(self, uri: str) -> str:
        """Return where in the bucket a task's file lies that is at this path here."""
        local = Path(uri)
        if not local.is_relative_to(self._folder):
            return uri  # an importer's
        root = self.reply["runtimeConfig"]["gcsOutputDirectory"].rstrip("/")
        return f"{root}/{local.relative_to(self._folder / ARTIFACTS).as_posix()}"

    def _uploaded(self, uri: str) -> str:
        local, target = Path(uri), self._address(uri)
        if target == uri:
            return uri
        for file in (local, *sorted(local.rglob("*"))):
            if file.is_file():
                name = f"{target}/{file.relative_to(local).as_posix()}".removesuffix("/.")
                storage.Blob.from_uri(name, client=self._client).upload_from_filename(str(file))
        return target

    def _mounted(self, value: Any) -> Any:
        """Return the local path of what a gs:// value names: an object, a folder or a pattern, as under /gcs."""
        named = re.fullmatch(r"(?:gs://|/gcs/)([^/]+)/(.+)", value) if isinstance(value, str) else None
        if not named:
            return value
        bucket, path = named.groups()
        for blob in self._client.list_blobs(bucket, prefix=path.split("*")[0].rstrip("/")):
            inside = blob.name.startswith(path.rstrip("/") + "/") and not blob.name.endswith("/")
            if blob.name == path or inside or fnmatchcase(blob.name, path):
                local = self._folder / "gcs" / bucket / blob.name
                local.parent.mkdir(parents=True, exist_ok=True)
                blob.download_to_filename(str(local))
        return f"{self._folder}/gcs/{bucket}/{path}"


class _Service:
    """What the server keeps: jobs, schedules, faults and requests."""

    def __init__(self, folder: Path, storage_url: str):
        self.folder = folder.resolve()
        self._storage_url = storage_url
        options = {"api_endpoint": storage_url}
        self.client = storage.Client(project="any", credentials=AnonymousCredentials(), client_options=options)
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.url = ""  # the server's own, where Google's operators ask
        self.registry = Registry(self.client, _now)
        self._jobs: dict[tuple[str, str], _Job] = {}
        self._schedules: dict[tuple[str, str], dict[str, Any]] = {}
        self._waiting: queue.Queue[_Job | None] = queue.Queue()
        self._runner = threading.Thread(target=self._run_jobs, daemon=True)
        self._runner.start()

    def cancel_all(self) -> None:
        """Cancel the jobs that have not ended."""
        for job in self._jobs.values():
            if job.state not in ENDED:
                job.cancel()

    def close(self) -> None:
        """Cancel the jobs and wait until their processes have ended."""
        with _LOCK:
            self.cancel_all()
        self._waiting.put(None)
        self._runner.join(30)

    def _run_jobs(self) -> None:
        while job := self._waiting.get():
            with _LOCK:
                if job.state != "PENDING":  # cancelled
                    continue
                job.state = "RUNNING"
            job.run()

    def take_fault(self, method: str, path: str) -> dict[str, Any]:
        """Return the fault that a request meets, {} for none, and count it."""
        for fault in self.faults:
            if fault["times"] and fault["method"] in (method, "*") and fault["path_contains"] in path:
                if fault["after"]:
                    fault["after"] -= 1
                    return {}
                fault["times"] -= 1
                return fault
        return {}

    def forward(self, method: str, path: str, headers: Any, raw: bytes) -> tuple[int, bytes]:
        """Pass a request on to Cloud Storage, which is asked here for its faults."""
        kept = {key: value for key, value in headers.items() if key.lower() in ("content-type", "range")}
        request = urllib.request.Request(self._storage_url + path, raw or None, kept, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def jobs(self) -> dict[str, str]:
        """Return the states of all jobs by their ids."""
        return {job_id: job.state for (_, job_id), job in self._jobs.items()}

    def forget(self, job_id: str) -> None:
        """Let a job vanish."""
        self._jobs = {key: job for key, job in self._jobs.items() if key[1] != job_id}

    def answer(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """Answer a request, or raise a Refusal."""
        url = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/v2/entries:list":  # Cloud Logging
            (custom_job,) = re.findall(r'job_id="(\d+)"', body["filter"])
            lines = [line for job in self._jobs.values() for line in job.log_lines(custom_job)]
            return {"entries": [{"textPayload": line} for line in lines[::-1][: body["pageSize"]]]}
        if (reply := self.registry.answer(method, url.path, query, body)) is not None:
            return reply
        pattern = r"/v1(?:beta1)?/projects/([^/]+)/locations/([^/]+)/(pipelineJobs|schedules)(?:/([^/:]+))?(?::(\w+))?"
        parts = re.fullmatch(pattern, url.path)
        if not parts:
            raise Refusal(404, f"{url.path} was not found on this server.")
        project, location, kind, name, verb = parts.groups()
        if project == "no-such-project":
            raise Refusal(403, f"Permission denied on resource project {project} (or it may not exist).")
        _check(location in REGIONS, "name", f"The location {location!r} is not supported.")
        items = self._jobs if kind == "pipelineJobs" else self._schedules
        item = items.get((location, name))
        if name and not item:
            raise Refusal(404, f"{url.path.removeprefix('/v1/')} was not found.")
        match method, kind, bool(name), verb:
            case "POST", "pipelineJobs", False, None:
                return self._create_job(project, location, query.get("pipelineJobId", f"job-{_number()}"), body)
            case "POST", "schedules", False, None:
                return self._create_schedule(location, body)
            case "GET", _, False, None:
                return _listed(kind, [item for (place, _), item in items.items() if place == location], query)
            case "GET", _, True, None:
                return item.shown() if kind == "pipelineJobs" else item
            case "DELETE", _, True, None:
                _check(kind == "schedules" or item.state in ENDED, "name", "The job is not in a final state.")
                del items[location, name]
                operation = f"projects/{PROJECT_NUMBER}/locations/{location}/operations/{_number()}"
                empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
                return {"name": operation, "done": True, "response": empty}
            case "POST", "pipelineJobs", True, "cancel":
                _check(item.state not in ENDED, "name", "The job is in a final state.")
                item.cancel()
                return {}
            case "POST", "schedules", True, ("pause" | "resume"):
                item |= {"state": "PAUSED" if verb == "pause" else "ACTIVE", "updateTime": _now()}
                return {}
        raise Refusal(404, f"{method} {url.path} was not found on this server.")

    def _create_job(self, project: str, location: str, job_id: str, body: dict[str, Any]) -> dict[str, Any]:
        _check(re.fullmatch("[a-z][-a-z0-9]{0,127}", job_id), "pipeline_job_id", f"Invalid id: {job_id!r}.")
        job = _Job(project, location, job_id, body, self)
        if (location, job_id) in self._jobs:
            raise Refusal(409, f"The PipelineJob {job_id} already exists.")
        self._jobs[location, job_id] = job
        self._waiting.put(job)
        return job.reply

    def _create_schedule(self, location: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            schedule = json_format.ParseDict(body, Schedule.pb(Schedule()))
        except json_format.ParseError as error:
            raise Refusal(400, f"Invalid JSON payload received. {error}") from error
        request = schedule.create_pipeline_job_request
        _checked_spec(body.get("createPipelineJobRequest", {}).get("pipelineJob", {}))
        _check(0 < len(schedule.display_name) <= 128, "display_name", "The length must be from 1 to 128.")
        parent = re.fullmatch(r"projects/[^/]+/locations/([^/]+)", request.parent)
        _check(parent and parent[1] == location, "create_pipeline_job_request.parent", "It is not the schedule's.")
        _check(schedule.max_concurrent_run_count > 0, "max_concurrent_run_count", "It must be positive.")
        active = body.get("maxConcurrentActiveRunCount")
        _check(active is None or int(active) > 0, "max_concurrent_active_run_count", "It must be positive.")
        number, now = _number(), _now()
        shown = {"name": f"projects/{PROJECT_NUMBER}/locations/{location}/schedules/{number}", "state": "ACTIVE"}
        shown |= {"createTime": now, "updateTime": now, "startTime": now, "nextRunTime": _next_run(body["cron"])}
        self._schedules[location, number] = body | shown
        return body | shown

    def run_schedule(self, name: str) -> str | None:
        """Do what a schedule does at its time, and return the id of the job; None where too many have not ended."""
        _, _, _, location, _, number = name.split("/")
        schedule = self._schedules[location, number]
        active = [
            job for job in self._jobs.values() if job.reply.get("scheduleName") == name and job.state not in ENDED
        ]
        if len(active) >= int(schedule.get("maxConcurrentActiveRunCount", 1000)):
            return None
        body = schedule["createPipelineJobRequest"]["pipelineJob"] | {"scheduleName": name}
        job_id = f"{body['pipelineSpec']['pipelineInfo']['name']}-{_number()}"
        project = schedule["createPipelineJobRequest"]["parent"].split("/")[1]
        self._create_job(project, location, job_id, body)
        return job_id


def _listed(kind: str, items: list[Any], query: dict[str, str]) -> dict[str, Any]:
    """Return a page of jobs or schedules, the newest first; of filters, only equal labels and names count."""
    terms = [term.partition("=") for term in query.get("filter", "").split(" AND ")]
    wanted = [(key.strip(), value.strip().strip('"')) for key, _, value in terms]
    found = []
    for item in reversed(items):
        shown = item.reply if kind == "pipelineJobs" else item
        has = {f"labels.{key}": value for key, value in shown.get("labels", {}).items()}
        has["display_name"] = shown["displayName"]
        if all(has.get(key) == value for key, value in wanted if key.startswith(("labels.", "display_name"))):
            found.append(shown)
    start, size = int(query.get("pageToken", 0)), int(query.get("pageSize", 100))
    following = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
    return {kind: found[start : start + size]} | following


def _checked_spec(body: dict[str, Any]) -> PipelineSpec:
    """Return the spec of a job, if the service would take what the job says."""
    _check(len(body.get("displayName", "")) <= 128, "display_name", "The length must be at most 128.")
    check_labels(body.get("labels", {}))
    runtime = body.get("runtimeConfig", {})
    directory = runtime.get("gcsOutputDirectory", "")
    _check(re.match("gs://[^/]+", directory), "runtime_config", f"Invalid output directory: {directory!r}.")
    try:
        spec = json_format.ParseDict(body.get("pipelineSpec", {}), PipelineSpec())
    except (json_format.ParseError, ValueError, TypeError) as error:
        raise Refusal(400, f"Invalid pipeline spec: {error}") from error
    name = spec.pipeline_info.name
    _check(re.fullmatch("[a-z0-9][a-z0-9-]{0,127}", name), "pipeline_spec", f"Invalid pipeline name: {name!r}.")
    known, given = spec.root.input_definitions.parameters, runtime.get("parameterValues", {})
    for parameter in given:
        _check(parameter in known, "runtime_config", f"Unknown parameter: {parameter!r}.")
    for parameter, definition in known.items():
        has_value = parameter in given or definition.is_optional or definition.HasField("default_value")
        _check(has_value, "runtime_config", f"Parameter {parameter!r} has no value.")
    return spec


def _parameters(spec: PipelineSpec, given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters; JSON from protobuf has one kind of number."""
    values = {}
    for name, definition in spec.root.input_definitions.parameters.items():
        if name in given or definition.HasField("default_value"):
            value = given.get(name, json_format.MessageToDict(definition.default_value))
            values[name] = int(value) if definition.parameter_type == ParameterType.NUMBER_INTEGER else value
    return values


def _next_run(cron: str) -> str:
    """Return the next time of a cron expression, which may start with TZ=Area/City."""
    zone_name, expression = re.fullmatch(r"(?:TZ=(\S+) +)?(.*)", cron).groups()
    fields = expression.split()
    _check(len(fields) == 5, "cron", f"Invalid cron expression: {cron!r}.")
    try:
        zone = zoneinfo.ZoneInfo(zone_name or "UTC")
        minutes, hours, days, months, weekdays = map(_cron_field, fields, (0, 0, 1, 1, 0), (59, 23, 31, 12, 6))
    except (ValueError, KeyError, OSError) as error:  # a name that is a folder of zones is an OSError
        raise Refusal(400, f"Invalid cron expression: {cron!r}: {error}") from error
    moment = datetime.now(zone).replace(second=0, microsecond=0)
    for _ in range(366 * 24 * 60):
        moment += timedelta(minutes=1)
        at_time = moment.minute in minutes and moment.hour in hours
        if at_time and moment.day in days and moment.month in months and moment.isoweekday() % 7 in weekdays:
            break
    return _time(moment)


def _cron_field(text: str, low: int, high: int) -> set[int]:
    values = set()
    for part in text.upper().split(","):
        span, _, step = part.partition("/")
        first, _, last = (str(low), "-", str(high)) if span == "*" else span.partition("-")
        first, last = (WEEKDAYS.index(word) if word in WEEKDAYS else int(word) for word in (first, last or first))
        if not low <= first <= last <= high:
            raise ValueError(part)
        values |= set(range(first, last + 1, int(step or 1)))
    return values


def _place(task: Task) -> str:
    """Return where a task is in the job, with the service's names of iterations."""
    return re.sub(r"/(\d+)(?=/)", r"-iteration-\1", task.path)


def _number() -> str:
    return str(10**18 + secrets.randbelow(8 * 10**18))  # the service's numbers fill an int64


def _now() -> str:
    return _time(datetime.now(UTC))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _error(status: int, message: str) -> bytes:
    error = {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN")}
    return json.dumps({"error": error}).encode()


def _merged(reply: Any, changes: Any) -> Any:
    """Return an answer with other values in some of its places; a list's are all its own."""
    if isinstance(reply, dict) and isinstance(changes, dict):
        return reply | {key: _merged(reply.get(key), value) for key, value in changes.items()}
    if isinstance(reply, list) and isinstance(changes, dict):
        return [_merged(each, changes) for each in reply]
    return reply if changes is None else changes


class _Handler(BaseHTTPRequestHandler):
    service: _Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/_"):
            with _LOCK:
                reply = self._control(json.loads(raw) if raw else None)
            self._send(200, json.dumps(reply).encode())
            return
        is_storage = not self.path.startswith(("/v1/", "/v1beta1/", "/v2/"))
        body = json.loads(raw) if raw and not is_storage else None
        with _LOCK:
            self.service.requests.append((self.command, self.path, body))
            fault = self.service.take_fault(self.command, self.path)
        status, content = 200, b""
        if not fault or fault.get("act") or (fault["status"] == 200 and "body" not in fault):
            if is_storage:
                status, content = self.service.forward(self.command, self.path, self.headers, raw)
            else:
                with _LOCK:
                    status, content = self._answered(body, fault.get("merge"))
        if fault:
            self._go_wrong(fault, status, content)
        else:
            self._send(status, content)

    do_POST = do_DELETE = do_PATCH = do_PUT = do_GET

    def _control(self, asked: Any) -> Any:
        match self.path:
            case "/_requests":
                return self.service.requests
            case "/_jobs":
                return self.service.jobs()
            case "/_cancel_all":
                self.service.cancel_all()
            case "/_run_schedule":
                return self.service.run_schedule(asked)
            case "/_forget":
                self.service.forget(asked)
            case "/_mend":
                self.service.faults.clear()
            case "/_faults":
                self.service.faults.append({"times": 1, "after": 0} | asked)
        return {}

    def _answered(self, body: Any, changes: Any) -> tuple[int, bytes]:
        try:
            reply = self.service.answer(self.command, self.path, body)
        except Refusal as refusal:
            return refusal.status, _error(refusal.status, str(refusal))
        return 200, json.dumps(_merged(reply, changes)).encode()

    def _go_wrong(self, fault: dict[str, Any], status: int, content: bytes) -> None:
        """Answer a request as a fault says."""
        time.sleep(fault.get("hang", 0))
        if fault["status"] != 200:
            status, content = fault["status"], _error(fault["status"], fault.get("message", "A fault on demand."))
        content = fault["body"].encode() if "body" in fault else content
        if fault.get("drop"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif "cut" in fault:
            self.close_connection = True
            self._send(status, content, fault["cut"])
        else:
            self._send(status, content)

    def _send(self, status: int, content: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        with contextlib.suppress(ConnectionError):  # the other side has given up
            self.end_headers()
            self.wfile.write(content[:sent])

    def log_message(self, *_: Any) -> None:
        """Keep standard error for what goes wrong."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--folder", type=Path, required=True, help="where the jobs run")
    parser.add_argument("--storage", required=True, help="URL of the Cloud Storage emulator")
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # for the tasks
    os.environ |= {"STORAGE_EMULATOR_HOST": arguments.storage} | empty_wheels(arguments.folder / "wheels")
    service = _Service(arguments.folder, arguments.storage)
    http = ThreadingHTTPServer(("127.0.0.1", arguments.port), type("Handler", (_Handler,), {"service": service}))
    service.url = f"http://127.0.0.1:{http.server_port}"
    print(service.url, flush=True)
    try:
        http.serve_forever()
    finally:
        service.close()


if __name__ == "__main__":
    main()
