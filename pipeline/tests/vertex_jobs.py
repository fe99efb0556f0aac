"""The jobs of the Vertex AI of the tests, played as the service runs and shows them, with what is unpleasant there.

- The number of a task fills an int64 and is as often negative. A task is shown as PENDING at the first look at it, and
  without its inputs at the next.
- All iterations of a loop have the loop's own name.
- A retry meets what the attempt before has left, at the same place; pauses between them are shorter than asked for.
- A task whose inputs, component and pipeline's name have been seen before is skipped: its outputs are those of then.
- A custom job's log has lines of the worker and of the service's own, which come last.

What a test can ask for beside that, of the next task of a name, by VertexServer.play:

- lost: its machine is lost once its step has done all, and the system tries it again
- quota: there is no job, since a quota is too small
- image: the job's image cannot be pulled
- memory: the service ends the job for its memory
- waits: its job waits for a machine for some seconds
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from google.cloud import storage
from google.protobuf import json_format
from kfp.local import placeholder_utils
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, PipelineSpec

from pipeline import ROOT
from pipeline.engines import warm
from pipeline.engines.interpreter import ARTIFACTS, FAILED, SKIPPED, SUCCEEDED, Command, Ended, Job
from pipeline.engines.interpreter import run as run_graph
from pipeline.engines.local import Tasks
from pipeline.graph import GOOGLE_IMAGE
from pipeline.runs import Run, Task
from pipeline.tests.vertex_registry import PROJECT_NUMBER, Refusal, check, check_labels

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
SHORTER = 600  # by which the pauses before retries are divided
WORKER = "workerpool0-0"
EXITED = (
    "The replica workerpool0-0 exited with a non-zero status of 1. To find out more about why your job exited please "
    "check the logs: https://console.cloud.google.com/logs/viewer?project={project}&resource=ml_job%2Fjob_id%2F{job}"
    "&advancedFilter=resource.type%3D%22ml_job%22%0Aresource.labels.job_id%3D%22{job}%22"
)
LOW_ON_MEMORY = "Replicas low on memory: workerpool0. Specify a machine with larger memory and try again."
NO_IMAGE = "Failed to pull image {image!r}: denied: Permission artifactregistry.repositories.downloadArtifacts denied"
QUOTA = (
    "com.google.cloud.ai.platform.common.errors.AiPlatformException: code=RESOURCE_EXHAUSTED, message=The following "
    "quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_training_cpus, cause=null; Failed to "
    f"handle the pipeline task. Task: Project number: {PROJECT_NUMBER}, Job id: {{job}}, Task id: {{task_id}}, Task "
    "name: {name}, Task state: DRIVER_SUCCEEDED, Execution name: {execution}"
)
RETRIED = "Internal error occurred for the current attempt. System is retrying."
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
LOCK = threading.RLock()  # of all that replies show


@dataclass
class CustomJob:
    """The job of one attempt of a task."""

    name: str
    task: str
    log: Path  # of the task, all attempts
    begin: int = 0  # where in it this attempt's begins
    end: int | None = None
    state: str = "PENDING"
    message: str = ""  # of its error
    created: str = ""
    times: dict[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return the job as the service shows it."""
        error = {"error": {"code": 9, "message": self.message}} if self.message else {}
        named = {"name": self.name, "displayName": self.task, "state": f"JOB_STATE_{self.state}"}
        return named | {"createTime": self.created} | self.times | error

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of its log, the oldest first."""
        written = self.log.read_bytes()[self.begin : self.end].decode(errors="replace") if self.log.exists() else ""
        lines = [("service", "INFO", "Waiting for training program to start.")]
        # there a step's source is a file
        told = re.sub(r'File "<(?!frozen)\w+>"', 'File "/tmp/tmp.P2xq/ephemeral_component.py"', written)
        lines += [(WORKER, "INFO", line) for line in told.splitlines() if line]
        if self.state in ENDED:
            status, reason = (0, "SUCCEEDED") if self.state == "SUCCEEDED" else (1, "SUBPROCESS_EXCEPTION")
            lines.append((WORKER, "INFO", f"Task completed. Exit code ({status}). Exit reason ({reason})"))
            lines += [("service", "ERROR", self.message)] if self.message else []
            ending = "Job completed successfully." if self.state == "SUCCEEDED" else "Job failed."
            closing = ("Tearing down training program.", "Finished tearing down training program.", ending)
            lines += [("service", "INFO", line) for line in closing]
        labels = {"project_id": PROJECT_NUMBER, "job_id": self.name.rpartition("/")[2]}
        return [
            {
                "insertId": f"{place:06}",
                "logName": f"projects/{PROJECT_NUMBER}/logs/{source}",
                "timestamp": self.times.get("startTime", self.created),
                "severity": severity,
                "resource": {"type": "ml_job", "labels": labels | {"task_name": source}},
            }
            | ({"textPayload": line} if source == "service" else {"jsonPayload": {"message": line}})
            for place, (source, severity, line) in enumerate(lines)
        ]


class PlayedJob(Tasks):
    """A pipeline job as the service shows it, and the hooks of its run, which keep it up to date."""

    def __init__(self, project: str, location: str, job_id: str, body: dict[str, Any], service: Any):
        self._spec = checked_spec(body)
        self._components = (self._spec.root, *self._spec.components.values())
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
        self._project, self._number = project, number()
        self._parent = f"projects/{PROJECT_NUMBER}/locations/{location}"
        self._details: dict[str, dict[str, Any]] = {}  # by place, like for-loop-1-iteration-0/train-model
        self._looks: dict[str, int] = {}  # at a task, by its number
        self._custom_jobs: dict[str, CustomJob] = {}  # by their numbers
        self._google: dict[str, list[str]] = {}  # the commands of Google's own operators, by their steps
        self._messages: dict[str, str] = {}  # why tasks have failed, by their places
        self.reply = body | {
            "name": f"{self._parent}/pipelineJobs/{job_id}",
            "labels": body.get("labels", {}) | {"vertex-ai-pipelines-run-billing-id": self._number},
            "createTime": now(),
        }
        self.state = "PENDING"
        self._parameters = _parameters(self._spec, body["runtimeConfig"].get("parameterValues", {}))
        self._detail("", job_id, "system.Run", self._parameters)

    @property
    def state(self) -> str:
        return self.reply["state"].removeprefix("PIPELINE_STATE_")

    @state.setter
    def state(self, state: str) -> None:
        self.reply |= {"state": f"PIPELINE_STATE_{state}", "updateTime": now()}
        if state in ("RUNNING", *ENDED):
            self.reply["startTime" if state == "RUNNING" else "endTime"] = now()

    def shown(self) -> dict[str, Any]:
        """Return the job with its tasks, which lists of jobs leave out."""
        contexts = self._service.contexts(self.reply["name"], self._spec.pipeline_info.name)
        return self.reply | {"jobDetail": contexts | {"taskDetails": [*map(self._shown, self._details.values())]}}

    def _shown(self, detail: dict[str, Any]) -> dict[str, Any]:
        """Return what a look at a task shows, which lags behind while it runs."""
        looks = self._looks[detail["taskId"]] = self._looks.get(detail["taskId"], -1) + 1
        is_step = detail["execution"]["schemaTitle"] == "system.ContainerExecution"
        if not is_step or looks > 1 or detail["state"] != "RUNNING":
            return detail
        if looks == 1:
            return detail | {"inputs": {}, "execution": detail["execution"] | {"metadata": {}}}
        kept = ("taskId", "parentTaskId", "taskName", "taskUniqueName", "createTime")
        statuses = detail["pipelineTaskStatus"][:1]
        return {key: detail[key] for key in kept} | {"state": "PENDING", "pipelineTaskStatus": statuses}

    def custom_job(self, job: str) -> CustomJob | None:
        """Return a custom job by its number."""
        return self._custom_jobs.get(job)

    def run(self) -> None:
        """Run the job to its end."""
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        spec = json_format.MessageToDict(self._spec)
        for component in (spec["root"], *spec.get("components", {}).values()):
            for task in component.get("dag", {}).get("tasks", {}).values():
                for pause in task.get("retryPolicy", {}).keys() & {"backoffDuration", "backoffMaxDuration"}:
                    seconds = float(task["retryPolicy"][pause].removesuffix("s"))
                    task["retryPolicy"][pause] = f"{seconds / SHORTER:.3f}s"
        for label, executor in spec["deploymentSpec"]["executors"].items():
            container = executor.get("container", {})
            if container.get("image", "").startswith(GOOGLE_IMAGE):
                self._google[label.removeprefix("exec-")] = [*container["command"], *container["args"]]
                executor["container"] = STAND_IN
        containers = [each["container"] for each in spec["deploymentSpec"]["executors"].values() if "container" in each]
        variables = [variable for container in containers for variable in container.get("env", ())]
        try:
            mounts = {value: self._mounted(value) for value in {variable["value"] for variable in variables}}
            for variable in variables:
                variable["value"] = mounts[variable["value"]]
            # champion.json is no file of the mount: it is read and written as an object
            parameters = {
                name: value if name == "champion" else self._mounted(value) for name, value in self._parameters.items()
            }
            executors = self._spec.deployment_spec["executors"].values()
            sources = [executor["container"]["command"][-1] for executor in executors if "container" in executor]
            warm.preload(source for source in sources if not source.startswith("google_cloud"))
            names = Job(self._folder.name, self.reply["name"], self._number, str(self._folder), now())
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

    # a task

    def prepared(self, task: Task, inputs: dict[str, Any]) -> None:
        """The inputs are shown with the task once it is executed."""

    def execute(self, task: Task, command: Command, width: int) -> bool:
        folder, left = Path(command.executor_input["outputs"]["outputFile"]).parent, self._folder / "left" / task.path
        with LOCK:
            detail = self._begun(task, command)
            key = self._key(task, command)
            former = self._service.cache.get(key)
        if former:
            shutil.copytree(former, folder, dirs_exist_ok=True)
            detail["state"] = "SKIPPED"
            return True
        while True:
            if left.exists():
                shutil.copytree(left, folder, dirs_exist_ok=True)
            ok, is_lost = self._attempt(task, command, width, detail)
            if not ok:
                shutil.copytree(folder, left, dirs_exist_ok=True)
            if not is_lost or self.stopping:
                break
            self._again(detail, RETRIED)
        if ok and key:
            self._service.cache[key] = folder
        return ok

    def _attempt(self, task: Task, command: Command, width: int, detail: dict[str, Any]) -> tuple[bool, bool]:
        """Run a task once; return whether it succeeded, and whether the system tries it again if not."""
        place, kind = _place(task), self._service.played(task.name)
        if kind == "quota":
            execution = detail["execution"]["name"]
            names = {"job": self._number, "task_id": detail["taskId"], "name": task.name, "execution": execution}
            self._messages[place] = QUOTA.format(**names)
            return False, False
        with LOCK:
            job = self._custom_job(task, detail)
        if kind.startswith("waits"):
            until = time.monotonic() + float(kind.partition(" ")[2])
            while time.monotonic() < until and not self.stopping:
                time.sleep(0.02)
        job.state, job.times["startTime"] = "RUNNING", now()
        refused = {"memory": LOW_ON_MEMORY, "image": NO_IMAGE.format(image="python:3.11")}.get(kind)
        ok = refused is None and super().execute(task, command, width) and kind != "lost"
        job.end = job.log.stat().st_size if job.log.exists() else None
        job.state, job.times["endTime"] = "SUCCEEDED" if ok else "FAILED", now()
        if not ok:
            job.message = refused or EXITED.format(project=PROJECT_NUMBER, job=job.name.rpartition("/")[2])
            self._messages[place] = job.message
        return ok, kind == "lost"

    def _begun(self, task: Task, command: Command) -> dict[str, Any]:
        """Return the detail of a task that is to run, with its inputs."""
        given = command.executor_input.get("inputs", {})
        mount = f"{self._folder}/gcs/"
        inputs = {
            name: value.replace(mount, "gs://") if isinstance(value, str) else value
            for name, value in given.get("parameterValues", {}).items()
        }
        detail = self._detail(_place(task), task.name, "system.ContainerExecution", inputs)
        root = self.reply["runtimeConfig"]["gcsOutputDirectory"].rstrip("/")
        home = f"{root}/{PROJECT_NUMBER}/{self._folder.name}/{task.name}_{detail['taskId']}"
        self._service.addresses[str(self._folder / ARTIFACTS / task.path)] = home
        detail["inputs"] = {
            name: {"artifacts": [self._input(artifact) for artifact in listed["artifacts"]]}
            for name, listed in given.get("artifacts", {}).items()
        }
        return detail

    def _custom_job(self, task: Task, detail: dict[str, Any]) -> CustomJob:
        job = f"{self._parent}/customJobs/{number()}"
        detail.setdefault("executorDetail", {"containerDetail": {}})["containerDetail"]["mainJob"] = job
        log = self._run.log(task)
        begin = log.stat().st_size if log.exists() else 0
        made = CustomJob(job, task.name, log, begin, created=now())
        self._custom_jobs[job.rpartition("/")[2]] = made
        return made

    def _key(self, task: Task, command: Command) -> str:
        """Return what the service takes a task for the same by, an empty text where it may not be cached."""
        dag = self._spec.root.dag
        for part in task.path.split("/"):
            if part in dag.tasks:
                found = dag.tasks[part]
                component = self._spec.components[found.component_ref.name]
                dag = component.dag
        if not found.caching_options.enable_cache or command.step in self._google:
            return ""
        artifacts = command.executor_input["inputs"].get("artifacts", {})
        inputs = {
            "parameters": command.executor_input["inputs"].get("parameterValues", {}),
            "artifacts": {
                name: [self._address(each["uri"]) for each in of["artifacts"]] for name, of in artifacts.items()
            },
        }
        text = json.dumps(inputs, sort_keys=True).replace(str(self._folder), "")
        executor = json_format.MessageToDict(self._spec.deployment_spec["executors"][component.executor_label])
        outputs = json_format.MessageToDict(component.output_definitions)
        return json.dumps([self._spec.pipeline_info.name, executor, outputs, text], sort_keys=True)

    def retrying(self, task: Task, error: str, seconds: float, left: int) -> None:
        with LOCK:
            if detail := self._details.get(_place(task)):
                self._again(detail, "")
            for place in [place for place in self._details if place.startswith(f"{_place(task)}/")]:
                del self._details[place]

    def _again(self, detail: dict[str, Any], message: str) -> None:
        """Show that an attempt of a task has failed and another is to come; the system says why it retries itself."""
        with LOCK:
            container = detail.get("executorDetail", {}).get("containerDetail", {})
            if job := container.pop("mainJob", None):
                container.setdefault("failedMainJobs", []).append(job)
            error = {"error": {"code": 13, "message": message}} if message else {}
            detail["pipelineTaskStatus"] += [
                {"updateTime": now(), "state": "PENDING"} | error,
                {"updateTime": now(), "state": "RUNNING"},
            ]

    def _process(self, work: Any, command: Command) -> tuple[int, str]:
        """Run a task, one of Google's own operators with its own code."""
        if command.step not in self._google:
            play = self._installed if self._service.installs else super()._process
            return play(replace(work, origins={}), command)  # the service knows nothing of the files of this checkout
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
        with open(work.log, "ab") as log:
            process = subprocess.Popen(asked, cwd=ROOT, env=environment, stdout=log, stderr=log)
            with self._watched(process):
                return process.wait(), ""

    def _installed(self, work: Any, command: Command) -> tuple[int, str]:
        """Run the whole command of a task's container, in an environment of its own that has pip only.

        It has no network. One that speaks with Cloud Storage, whose emulator is at this machine, installs without.
        """
        executors = json_format.MessageToDict(self._spec.deployment_spec)["executors"]
        container = executors[f"exec-{command.step}"]["container"]
        home = self._folder / "machines" / secrets.token_hex(4)
        subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
        given = json.dumps(command.executor_input)
        args = [given if arg == "{{$}}" else arg for arg in container["args"]]
        installing, program = container["command"][:-4], [*container["command"][-4:], *args]
        cut_off = ["unshare", "-rn", *installing]
        speaks = any("google-cloud-storage" in word for word in installing)
        environment = {"PATH": f"{home}/venv/bin:/usr/bin:/bin", "HOME": str(home), "PIP_CONFIG_FILE": os.devnull}
        environment["PIP_RETRIES"] = "0"  # what cannot be reached never will be
        environment |= {"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"], **command.environment}
        for words in ([*cut_off, "true"], program) if speaks else ([*cut_off, *program],):
            with open(work.log, "ab") as log:
                process = subprocess.Popen(words, cwd=home, env=environment, stdout=log, stderr=log)
                with self._watched(process):
                    if exit_code := process.wait():
                        return exit_code, ""
        return 0, ""

    def ended(self, task: Task, how: Ended) -> None:
        artifacts = {
            name: [
                {
                    "name": f"{self._parent}/metadataStores/default/artifacts/{number()}",
                    "displayName": name,
                    "uri": self._uploaded(artifact["uri"]),
                    "schemaTitle": artifact["type"].get("schemaTitle", ""),
                    "metadata": artifact["metadata"],
                }
                for artifact in listed
            ]
            for name, listed in how.outputs.artifacts.items()
        }
        if how.state == FAILED:  # what it has written by then is in the bucket all the same
            for left in (self._folder / ARTIFACTS / task.path).glob("*"):
                self._uploaded(str(left))
        with LOCK:
            detail = self._detail(_place(task), task.name, "system.ContainerExecution", {})
            detail["outputs"] = {name: {"artifacts": listed} for name, listed in artifacts.items()}
            outputs = {f"output:{name}": value for name, value in how.outputs.parameters.items()}
            detail["execution"]["metadata"] |= outputs
            failed = "CANCELLED" if self.stopping else "FAILED"
            done = "SKIPPED" if detail["state"] == "SKIPPED" else "SUCCEEDED"
            state = {SUCCEEDED: done, SKIPPED: "NOT_TRIGGERED"}.get(how.state, failed)
            self._end(detail, state, self._messages.get(_place(task)) or how.error or "")

    # what is shown

    def _detail(self, place: str, name: str, schema: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the detail of a task, a group or the root, new ones as running."""
        if place in self._details:
            return self._details[place]
        detail: dict[str, Any] = {"taskId": _task_number(), "taskName": name, "taskUniqueName": name}
        if place:
            outside, _, own = place.rpartition("/")
            iteration = re.fullmatch(r"(.+)-iteration-(\d+)", own)
            above = "/".join(filter(None, (outside, iteration[1]))) if iteration else outside
            group = self._detail(above, above.rpartition("/")[2], "system.DagExecution", {})
            detail["parentTaskId"] = group["taskId"]
            outer = f"{group['taskUniqueName']}." if above else ""
            detail["taskUniqueName"] = f"{outer}{name}"
            if iteration and int(iteration[2]):  # they begin in their order
                self._detail(f"{above}-iteration-{int(iteration[2]) - 1}", "", "system.DagExecution", {})
            if iteration:
                detail["taskName"] = iteration[1]
        begun = now()
        titles = {key: task.task_info.name for each in self._components for key, task in each.dag.tasks.items()}
        self._details[place] = detail | {
            "state": "RUNNING",
            "createTime": begun,
            "startTime": begun,
            "pipelineTaskStatus": [{"updateTime": begun, "state": state} for state in ("PENDING", "RUNNING")],
            "execution": {
                "name": f"{self._parent}/metadataStores/default/executions/{number()}",
                "displayName": titles.get(name, name),
                "schemaTitle": schema,
                "metadata": {f"input:{parameter}": value for parameter, value in inputs.items()},
            },
        }
        return self._details[place]

    def _end(self, detail: dict[str, Any], state: str, message: str) -> None:
        error = {"error": {"code": 9, "message": message}} if state == "FAILED" else {}
        detail |= {"state": state, "endTime": now()} | error
        detail["pipelineTaskStatus"].append({"updateTime": detail["endTime"], "state": state} | error)

    def _end_groups(self) -> None:
        for place, detail in reversed(self._details.items()):  # the inner ones first
            if place and detail["state"] == "RUNNING":
                states = {inner["state"] for inner in self._inside(detail)}
                state = next((state for state in ("FAILED", "CANCELLED") if state in states), "SUCCEEDED")
                state = "NOT_TRIGGERED" if states == {"NOT_TRIGGERED"} else state
                self._end(detail, state, self._failures(detail))

    def _inside(self, detail: dict[str, Any]) -> list[dict[str, Any]]:
        return [inner for inner in self._details.values() if inner.get("parentTaskId") == detail["taskId"]]

    def _failures(self, detail: dict[str, Any]) -> str:
        failed = [inner["taskName"] for inner in self._inside(detail) if inner["state"] == "FAILED"]
        return DAG_FAILED.format(", ".join(failed))

    def _finish(self, state: str, error: str | None = None) -> None:
        with LOCK:
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
            "name": f"{self._parent}/metadataStores/default/artifacts/{number()}",
            "displayName": artifact["name"],
            "uri": self._address(artifact["uri"]),
            "schemaTitle": artifact["type"]["schemaTitle"],
            "metadata": artifact.get("metadata", {}),
        }

    def _address(self, uri: str) -> str:
        """Return where in the bucket a task's file lies that is at this path here."""
        if "://" in uri:  # an importer's
            return uri
        for folder in Path(uri).parents:
            if home := self._service.addresses.get(str(folder)):
                return f"{home}/{Path(uri).relative_to(folder).as_posix()}"
        return uri

    def _uploaded(self, uri: str) -> str:
        local, target = Path(uri), self._address(uri)
        if target == uri or not local.is_relative_to(self._folder):  # what is taken from the cache is there
            return target
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


TERM = re.compile(r'(-|NOT +)?([\w.]+) *(>=|=|:) *(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?: +AND(?= ))?\s*')
SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL")


def listed_entries(entries: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
    """Return a page of the entries of a log that a filter takes, as Cloud Logging does."""
    query, found, at = asked.get("filter", ""), entries, 0
    while at < len(query):
        term = TERM.match(query, at)
        check(term, "filter", f"Unparseable filter: {query[at:]!r}.")
        at = term.end()
        found = [entry for entry in found if _holds(entry, *term.group(2, 3), term[4] or term[5]) != bool(term[1])]
    if asked.get("orderBy") == "timestamp desc":
        found = found[::-1]
    start, size = int(asked.get("pageToken", 0)), asked.get("pageSize", 50)
    following = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
    return {"entries": found[start : start + size]} | following


def _holds(entry: dict[str, Any], name: str, operator: str, value: str) -> bool:
    has: Any = entry
    for part in name.split("."):
        has = has.get(part, "") if isinstance(has, dict) else ""
    if operator == ">=":
        check(name == "severity" and value in SEVERITIES, "filter", f"Unparseable filter: {name}>={value}.")
        return SEVERITIES.index(has) >= SEVERITIES.index(value)
    return value in has if operator == ":" else has == value


def checked_spec(body: dict[str, Any]) -> PipelineSpec:
    """Return the spec of a job, if the service would take what the job says."""
    check(len(body.get("displayName", "")) <= 128, "display_name", "The length must be at most 128.")
    check_labels(body.get("labels", {}))
    runtime = body.get("runtimeConfig", {})
    directory = runtime.get("gcsOutputDirectory", "")
    check(re.match("gs://[^/]+", directory), "runtime_config", f"Invalid output directory: {directory!r}.")
    try:
        spec = json_format.ParseDict(body.get("pipelineSpec", {}), PipelineSpec())
    except (json_format.ParseError, ValueError, TypeError) as error:
        raise Refusal(400, f"Invalid pipeline spec: {error}") from error
    name = spec.pipeline_info.name
    check(re.fullmatch("[a-z0-9][a-z0-9-]{0,127}", name), "pipeline_spec", f"Invalid pipeline name: {name!r}.")
    known, given = spec.root.input_definitions.parameters, runtime.get("parameterValues", {})
    for parameter in given:
        check(parameter in known, "runtime_config", f"Unknown parameter: {parameter!r}.")
    for parameter, definition in known.items():
        has_value = parameter in given or definition.is_optional or definition.HasField("default_value")
        check(has_value, "runtime_config", f"Parameter {parameter!r} has no value.")
    return spec


def _parameters(spec: PipelineSpec, given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters; JSON from protobuf has one kind of number."""
    values = {}
    for name, definition in spec.root.input_definitions.parameters.items():
        if name in given or definition.HasField("default_value"):
            value = given.get(name, json_format.MessageToDict(definition.default_value))
            values[name] = int(value) if definition.parameter_type == ParameterType.NUMBER_INTEGER else value
    return values


def _place(task: Task) -> str:
    """Return where a task is in the job, its iterations with names of their own."""
    return re.sub(r"/(\d+)(?=/)", r"-iteration-\1", task.path)


def number() -> str:
    return str(10**18 + secrets.randbelow(8 * 10**18))  # the service's numbers fill an int64


def _task_number() -> str:
    """Return the number of a task, an int64, which may be negative."""
    return secrets.choice(("", "-")) + number()


def now() -> str:
    return as_text(datetime.now(UTC))


def as_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
