"""A stand-in for Vertex AI Pipelines over REST that runs what is submitted, for the real SDK.

The SDK talks to it with api_transport="rest" and api_endpoint=server.url. It is a process of its own, as the service
is. Jobs run one after another through the machinery of the local engine, in DIR/<job id>; their artifacts go to a Cloud
Storage emulator.

    python -m pipeline.tests.vertex_server --port 0 --folder DIR --storage URL
"""

import argparse
import base64
import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zoneinfo
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.aiplatform_v1beta1.types import Schedule
from google.protobuf import json_format

from pipeline import ROOT
from pipeline.tests.vertex_jobs import ENDED, PlayedJob, listed_entries
from pipeline.tests.vertex_jobs import LOCK as _LOCK
from pipeline.tests.vertex_jobs import as_text as _time
from pipeline.tests.vertex_jobs import checked_spec as _checked_spec
from pipeline.tests.vertex_jobs import now as _now
from pipeline.tests.vertex_jobs import number as _number
from pipeline.tests.vertex_metadata import Metadata
from pipeline.tests.vertex_registry import PROJECT_NUMBER, Refusal, Registry
from pipeline.tests.vertex_registry import check as _check
from pipeline.tests.wheels import empty_wheels

REGIONS = ("us-central1", "europe-west1")
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
STATUS |= {409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class VertexServer:
    """The server in a process of its own, while the context lasts."""

    def __init__(self, folder: Path, storage_url: str, *, installs: bool = False):
        self._command = [sys.executable, "-m", "pipeline.tests.vertex_server"]
        self._command += ["--folder", str(Path(folder).resolve()), "--storage", storage_url]
        self._command += ["--installs"] if installs else []

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

    def play(self, kind: str, task: str, times: int = 1) -> None:
        """Have the next attempts of tasks of a name meet something; see pipeline.tests.vertex_jobs.

        Args:
            kind: lost, quota, image, memory, or waits with seconds, such as "waits 0.5".
            task: Name of the tasks.
            times: How many attempts.
        """
        self._ask("/_play", json.dumps({"kind": kind, "task": task, "times": times}).encode())

    def keep_secret(self, name: str, value: str) -> None:
        """Keep a secret of Secret Manager, projects/P/secrets/S."""
        self._ask("/_secret", json.dumps([name, value]).encode())

    def forget_all(self) -> None:
        """Empty the cache, and take back what tasks were to meet."""
        self._ask("/_forget_all", b"")

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


class _Service:
    """What the server keeps: jobs, schedules, faults and requests."""

    def __init__(self, folder: Path, storage_url: str, installs: bool):
        self.folder, self.installs = folder.resolve(), installs
        self._storage_url = storage_url
        options = {"api_endpoint": storage_url}
        self.client = storage.Client(project="any", credentials=AnonymousCredentials(), client_options=options)
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.url = ""  # the server's own, where Google's operators ask
        self.registry = Registry(self.client, _now)
        self.metadata = Metadata(_now)
        self.cache: dict[str, Path] = {}  # the folders that tasks have written, by what they are taken for the same by
        self.addresses: dict[str, str] = {}  # where in the bucket the outputs of tasks lie, by their folders here
        self.secrets: dict[str, str] = {}
        self._plays: list[dict[str, Any]] = []
        self._jobs: dict[tuple[str, str], PlayedJob] = {}
        self._schedules: dict[tuple[str, str], dict[str, Any]] = {}
        self._waiting: queue.Queue[PlayedJob | None] = queue.Queue()
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

    def play(self, asked: dict[str, Any]) -> None:
        """Remember what the next tasks of a name are to meet."""
        self._plays += [asked] * asked.get("times", 1)

    def played(self, name: str) -> str:
        """Return what the next attempt of a task of a name is to meet, an empty text for nothing."""
        with _LOCK:
            found = next((play for play in self._plays if play["task"] == name), None)
            if found:
                self._plays.remove(found)
        return found["kind"] if found else ""

    def contexts(self, job: str, pipeline: str) -> dict[str, Any]:
        """Return the metadata contexts of a job, as its details have them."""
        return self.metadata.of_job(job, pipeline)

    def forget_all(self) -> None:
        """Forget what a test before has left to the next: what tasks have put out, and what tasks are to meet."""
        self.cache.clear()
        self._plays.clear()

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
            wanted = re.findall(r'job_id="(\d+)"', body.get("filter", ""))
            found = [job for number in wanted if (job := self._custom_job(number))]
            return listed_entries([entry for job in found for entry in job.entries()], body)
        if secret := re.fullmatch(r"/v1/(projects/[^/]+/secrets/[^/]+)/versions/latest:access", url.path):
            if secret[1] not in self.secrets:
                raise Refusal(403, f"Permission 'secretmanager.versions.access' denied for resource '{secret[1]}'.")
            data = base64.b64encode(self.secrets[secret[1]].encode()).decode()
            return {"name": f"{secret[1]}/versions/1", "payload": {"data": data}}
        if custom := re.fullmatch(r"/v1/projects/[^/]+/locations/[^/]+/customJobs/(\d+)", url.path):
            if not (job := self._custom_job(custom[1])):
                raise Refusal(404, f"{url.path.removeprefix('/v1/')} was not found.")
            return job.shown()
        if (reply := self.metadata.answer(method, url.path, query, body)) is not None:
            return reply
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

    def _custom_job(self, number: str) -> Any:
        return next((found for job in self._jobs.values() if (found := job.custom_job(number))), None)

    def _create_job(self, project: str, location: str, job_id: str, body: dict[str, Any]) -> dict[str, Any]:
        _check(re.fullmatch("[a-z][-a-z0-9]{0,127}", job_id), "pipeline_job_id", f"Invalid id: {job_id!r}.")
        job = PlayedJob(project, location, job_id, body, self)
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
            case "/_secret":
                self.service.secrets |= dict([asked])
            case "/_play":
                self.service.play(asked)
            case "/_forget_all":
                self.service.forget_all()
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
    parser.add_argument("--installs", action="store_true", help="run whole commands, without a network")
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # for the tasks
    os.environ |= {"STORAGE_EMULATOR_HOST": arguments.storage} | empty_wheels(arguments.folder / "wheels")
    service = _Service(arguments.folder, arguments.storage, arguments.installs)
    http = ThreadingHTTPServer(("127.0.0.1", arguments.port), type("Handler", (_Handler,), {"service": service}))
    service.url = f"http://127.0.0.1:{http.server_port}"
    os.environ["SECRET_MANAGER_EMULATOR"] = service.url
    print(service.url, flush=True)
    try:
        http.serve_forever()
    finally:
        service.close()


if __name__ == "__main__":
    main()
