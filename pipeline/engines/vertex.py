"""The Vertex AI engine: the compiled spec as a PipelineJob, submitted, followed, cancelled and scheduled."""

import contextlib
import importlib.metadata
import math
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml
from google.api_core import exceptions as api

from pipeline import RequestError, check, graph, runs, sources
from pipeline.check import Check, Description, make
from pipeline.engines import Progress, vertex_checks, vertex_schedules
from pipeline.engines.interpreter import SUCCEEDED, Ended, Values
from pipeline.engines.interpreter.results import addressed, of_dag, of_loop
from pipeline.engines.interpreter.values import SpecError, typed
from pipeline.engines.vertex_schedules import Schedules
from pipeline.engines.vertex_service import Service, first_line, is_own, label, may_have_arrived, may_pass, named
from pipeline.loading import short_name
from pipeline.profiles import PROFILES
from pipeline.runs import Run, State, Task
from pipeline.settings import Settings, _identifier
from pipeline.sources import Source

if TYPE_CHECKING:
    from pipeline.engines.vertex_job import Job

JOB_STATES: dict[str, State] = {
    "PIPELINE_STATE_SUCCEEDED": "succeeded",
    "PIPELINE_STATE_FAILED": "failed",
    "PIPELINE_STATE_CANCELLED": "cancelled",
}
# SKIPPED is what a hit of the service's cache shows as; one that is PENDING or was NOT_TRIGGERED has not started
TASK_STATES: dict[str, State] = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "succeeded",
    "FAILED": "failed",
    "CANCEL_PENDING": "cancelled",
    "CANCELLING": "cancelled",
    "CANCELLED": "cancelled",
}
GOING_ON = {f"PIPELINE_STATE_{name}" for name in ("QUEUED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")}
NOT_BEGUN = {"PENDING", "NOT_TRIGGERED"}
N_LOG_LINES = 20
N_TRIES = 20  # to look at a job, one after another in vain, before it is left alone: about a quarter of an hour
N_LOOKS = 3  # for a job whose creation was not answered, before it is taken as not there


class VertexEngine:
    """Runs compiled pipelines on Vertex AI Pipelines."""

    def __init__(self, settings: Settings, *, wait: bool = True, caching: bool = True, experiment: bool = False):
        self.settings = settings
        self.wait = wait
        self.caching = caching
        self.experiment = experiment
        self.service = Service(settings)

    # names

    def job_id(self, run: Run) -> str:
        """Return the id of a run's job."""
        return f"{run.identifier}-{short_name(run.pipeline)}-{run.run_id}".lower().replace("_", "-")

    def labels(self, run: Run) -> dict[str, str]:
        """Return the labels of a run's job."""
        labels = {
            "identifier": run.identifier,
            "pipeline": short_name(run.pipeline),
            "run_id": run.run_id,
            "engine_version": importlib.metadata.version("google-cloud-aiplatform"),
            "git_commit": run.git.commit or "unknown",
            "git_dirty": str(run.git.dirty),
            "profile": run.profile,
        }
        return {key: label(value) for key, value in labels.items()}

    def url(self, job_id: str) -> str:
        """Return the web address of a job."""
        place = f"locations/{self.settings.region}/pipelines/runs/{job_id}"
        return f"https://console.cloud.google.com/vertex-ai/{place}?project={self.settings.project}"

    # before a submission

    def place(self, source: Source) -> tuple[Source, str]:
        """Upload files into the bucket, unless they are there; see pipeline.engines.Engine."""
        with self.service.told("the data was not uploaded"):
            placed, sent = self.service.retried(
                "upload the data", lambda: sources.upload(source, self.settings.bucket), limit=math.inf
            )
        return placed, f"{'uploaded to' if sent else 'is in'} {placed.uri}" if source.files else ""

    def place_file(self, uri: str) -> str:
        """Upload a file into the bucket, unless it is there; see pipeline.engines.Engine."""
        with self.service.told("the earlier run's schema was not uploaded"):
            return self.service.retried(
                "upload the schema",
                lambda: sources.place_file(uri, self.settings.bucket, self.settings.runs_dir / ".data"),
                limit=math.inf,
            )

    def place_model(self, folder: str, sha256: str) -> str:
        """Upload a model's folder into the bucket, unless it is there; see pipeline.engines.Engine."""
        with self.service.told("the model was not uploaded"):
            return self.service.retried(
                "upload the model",
                lambda: sources.place_model(folder, sha256, self.settings.bucket, self.settings.runs_dir / ".data"),
                limit=math.inf,
            )

    def checks(self, spec: dict[str, Any], run: Run, source: Source, described: Description) -> list[Check]:
        """Check the names of the job, then what needs credentials and a network; see pipeline.engines.Engine."""
        names = (self.job_id(run), _display_name(run.identifier, run.pipeline), self.labels(run))
        return [
            make("names", lambda: check.of_names(*names)),
            Check("data", "passed", source.description),  # it was found, or there would be no source
            *vertex_checks.of_data(source.uri, self.settings.service_account),
            *vertex_checks.online(self.service, spec, n_classes=described.schema and len(described.schema.classes)),
        ]

    # a run

    def run(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
        """Submit a compiled pipeline and follow it to its end; see pipeline.engines.Engine."""
        is_there = self.submit(spec, parameters, run, progress)
        progress.submitted(run)
        if not (is_there and self.wait):
            return "running"
        return self.follow(run, graph.nodes(graph.load(spec)), progress, is_new=True)

    def submit(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> bool:
        """Submit a compiled pipeline, and return whether the job is known to be there; if not, the run's error says so.

        Its name is recorded before the service is asked for it: whatever becomes of the answer, the job can be followed
        and cancelled.

        Raises:
            RequestError: the service refused it or could not be reached, and no job was created.
        """
        with self.service.told("the submission failed"):
            experiment = None
            if self.experiment:
                sdk = self.service.sdk
                experiment = self.service.retried(
                    "find the experiment", lambda: sdk.Experiment.get_or_create(run.identifier)
                )
        job_id = self.job_id(run)
        job = self._job(spec, parameters, run)
        run.job, run.url = f"{self.service.parent}/pipelineJobs/{job_id}", self.url(job_id)
        try:
            run.save()
        except OSError:  # nothing has been asked for
            run.job = run.url = None
            raise
        if not self._create(job, run):
            return False
        if experiment:
            try:
                self.service.retried("log to the experiment", lambda: job.associate(experiment))
            except Exception as error:  # the job runs all the same
                progress.note(f"note: the job is not in the experiment {run.identifier}: {first_line(error)}")
        return True

    def _create(self, job: "Job", run: Run) -> bool:
        """Create the job of a run; see submit."""
        may_be_there = False

        def failed(error: Exception) -> None:
            nonlocal may_be_there
            may_be_there = may_be_there or may_have_arrived(error)

        try:
            self.service.retried("create the job", job.create, read=named, failed=failed)
        except Exception as error:
            exists = isinstance(error, api.Conflict) and not may_pass(error)
            if may_be_there and not exists:
                try:
                    self._look_for(run.job)
                    return True
                except api.NotFound:
                    may_be_there = False
                except Exception:
                    run.error = (
                        f"it is not known whether the job was created: {first_line(error)}\n"
                        "Follow it to see; where there is no such job, nothing was started."
                    )
                    return False
            if not may_be_there:
                run.job = run.url = None
                if exists:
                    raise RequestError(
                        "the submission failed: a job of this id exists. Run the command again for a new id."
                    ) from None
                self.service.refuse("the submission failed", error)
        return True

    def _look_for(self, name: str) -> None:
        for look in range(N_LOOKS):
            try:
                self._get(name)
                return
            except api.NotFound:  # a creation that takes its time may yet end
                if look + 1 == N_LOOKS:
                    raise
            time.sleep(self.settings.poll_seconds)

    def _job(
        self,
        spec: Path,
        parameters: dict[str, Any],
        run: Run,
        *,
        folder: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> "Job":
        """Return the job of a run, with the folder and the labels of the run unless there are others."""
        assert self.service.sdk  # it settles where the job goes
        from pipeline.engines.vertex_job import Job

        job = Job(
            display_name=_display_name(run.identifier, run.pipeline),
            template_path=str(spec),
            job_id=self.job_id(run),
            pipeline_root=f"gs://{self.settings.bucket}/{run.identifier}/{folder or run.run_id}",
            parameter_values=parameters,
            enable_caching=None if self.caching else False,  # None leaves each task's own setting
            labels=labels or self.labels(run),
            encryption_spec_key_name=self.settings.encryption_key,
            failure_policy="fast",
        )
        job.place(self.settings)
        return job

    def follow(self, run: Run, nodes: list[graph.Node], progress: Progress, *, is_new: bool = False) -> State:
        """Follow a job to its end, record its tasks, and return how it ended.

        What cannot be read or is not answered is asked for again; of a job that cannot be watched any more nothing is
        said but that.

        Args:
            run: The record of the job.
            nodes: The tasks of its spec.
            progress: Is told of each task.
            is_new: Whether the job has just been submitted.

        Raises:
            RequestError: the job is recorded to its end and cannot be asked again, or there is no such job; nothing of
                the record has changed.
        """
        former, tasks, told = run.model_copy(), None, set()
        is_whole = False  # whether an answer has been taken in

        def take_in(job: Any) -> SimpleNamespace:
            nonlocal tasks
            named(job.name)
            if tasks is None:  # in place of what was known when it was followed before
                tasks, run.tasks, run.status, run.error = {}, [], "running", None
            self._update(job, nodes, tasks, run, progress, told)
            return SimpleNamespace(state=_state(job), end=job.end_time, message=job.error.message)

        while True:
            try:
                seen = self._get(run.job, read=take_in, attempts=N_TRIES)
            except Exception as error:
                if is_own(error):
                    raise
                is_gone = isinstance(error, api.NotFound)
                reason = f"there is no job {run.job}; it was deleted or never created" if is_gone else None
                reason = reason or self.service.explained(error)
                if not is_whole and not is_new and (is_gone or former.status != "running"):
                    run.tasks, run.status, run.error = former.tasks, former.status, former.error
                    if tasks is not None:
                        run.save()
                    raise RequestError(f"the job cannot be watched again: {reason}") from None
                run.error = f"the job cannot be watched any more: {reason}"
                return "running"
            is_whole = True
            if seen.state in JOB_STATES:
                break
            if seen.state == "PIPELINE_STATE_PAUSED":
                run.error = f"the job is paused. Resume it at {run.url} and follow it again."
                return "running"
            if seen.state not in GOING_ON | told:
                told.add(seen.state)
                progress.note(f"The job is in {seen.state}, which is unknown here. Watching on.")
            time.sleep(self.settings.poll_seconds)
        ended = JOB_STATES[seen.state]
        run.finished = seen.end
        try:
            spec = graph.load(run.folder / runs.SPEC)
            succeeded = {task.path: task for task in run.tasks if task.state == "succeeded"}
            run.outputs = addressed(_returned(spec, spec["root"], succeeded), spec["root"])
        except Exception as error:  # the job has ended as it has
            progress.note(f"note: what the pipeline returns is not recorded: {type(error).__name__}: {error}")
        if ended != "succeeded" and not any(task.state == "failed" for task in run.tasks):
            run.error = seen.message or f"the job was {ended}, and the service gave no reason. Look at {run.url}"
        return ended

    def cancel(self, job: str) -> None:
        """Ask the service to cancel a job."""
        name, may_be_asked = self.resource_name(job), False

        def failed(error: Exception) -> None:
            nonlocal may_be_asked
            may_be_asked = may_be_asked or may_have_arrived(error)

        with self.service.told("the job was not cancelled"):
            try:
                jobs = self.service.jobs
                self.service.retried("cancel the job", lambda: jobs.cancel_pipeline_job(name=name), failed=failed)
            except api.BadRequest:  # it has ended: by an earlier try, where the answer to that was lost
                if not may_be_asked or "CANCEL" not in self._get(name, read=_state):
                    raise

    def resource_name(self, job: str) -> str:
        """Return the whole name of a job that is named by its id or its whole name.

        Raises:
            RequestError: it can be the name of no job.
        """
        name = job if "/" in job else f"{self.service.parent}/pipelineJobs/{job}"
        if not re.fullmatch(r"projects/[\w.:-]+/locations/[\w-]+/pipelineJobs/[\w.-]{1,128}", name, re.ASCII):
            raise RequestError(f"{job!r:.200} is no job: expected its id or projects/P/locations/L/pipelineJobs/ID.")
        return name

    def recorded(self, job: str) -> Run:
        """Return the record of the run that submitted a job; one is made here if it was submitted elsewhere.

        Raises:
            RequestError: there is no such job, or the service cannot be asked.
        """
        name, runs_dir = self.resource_name(job), self.settings.runs_dir
        if run := runs.of_job(runs_dir, name):
            return run
        with self.service.told(f"the job {job} cannot be read"):
            found = self._get(name)
        labels, parameters = dict(found.labels), _plain(found.runtime_config.parameter_values) or {}
        data = {key: value for key, value in parameters.items() if isinstance(value, str)}
        url = self.url(name.rpartition("/")[2])
        spec = yaml.safe_dump(_plain(found.pipeline_spec))
        try:
            loaded = graph.parsed(spec)
            graph.check(loaded)
            graph.nodes(loaded)
        except Exception:  # none, or half of one
            raise RequestError(
                f"The job {job} has no pipeline spec of its own to follow it by. Look at it there: {url}"
            ) from None
        run = runs.new(
            runs_dir,
            identifier=_checked(labels.get("identifier"), _identifier) or "elsewhere",
            pipeline=_checked(labels.get("pipeline"), _label_value) or "elsewhere",
            engine="vertex",
            profile=labels.get("profile") if labels.get("profile") in PROFILES else None,
            parameters=parameters,
            data=runs.Data(source=data.get("source", ""), fingerprint=data.get("fingerprint", "")),
            job=name,
            url=url,
        )
        run.begin(spec)
        return run

    def _get(self, name: str, read: Callable[[Any], Any] = lambda job: job, attempts: int = 5) -> Any:
        jobs = self.service.jobs  # made before the time of the call begins
        return self.service.retried(
            "look at the job", lambda: jobs.get_pipeline_job(name=name), read=read, attempts=attempts
        )

    def _update(
        self,
        job: Any,
        nodes: list[graph.Node],
        tasks: dict[int, Task],
        run: Run,
        progress: Progress,
        told: set[Any],
    ) -> None:
        by_name = {name: node for node in nodes for name in (node.display_name, node.name)}
        details = {detail.task_id: detail for detail in job.job_detail.task_details}
        titles = {task.title for task in run.tasks}
        for task_id, detail in details.items():
            node, name = by_name.get(detail.task_name), _state(detail)
            state = TASK_STATES.get(name)
            if node is None:
                continue
            if state is None:
                if name not in NOT_BEGUN and (task_id, name) not in told:
                    told.add((task_id, name))
                    progress.note(f"{node.name} is in {name}, which is unknown here. Watching on.")
                continue
            task = tasks.get(task_id)
            if task is None:
                task = Task(name=node.name, item=_loop_item(node, detail, details), path=_path(node, detail, details))
                task.ambiguous = task.title in titles
                titles.add(task.title)
                tasks[task_id] = task
                run.start(task)
                progress.started(task)
            if task.state == "running" and state != "running":
                run.keep_inputs(task, _inputs(detail))
                outputs = {name: list_.artifacts[0] for name, list_ in detail.outputs.items() if list_.artifacts}
                artifacts = {name: _artifact(artifact) for name, artifact in outputs.items()}
                values = _values(detail, "output:")
                if detail.start_time and detail.end_time:
                    task.seconds = round((detail.end_time - detail.start_time).total_seconds(), 3)
                if state == "failed":
                    self._explain(task, detail, run)
                task.state, task.cached = state, name == "SKIPPED"  # last, so that what fails above is done again
                run.end(task, artifacts, values)
                progress.ended(task)

    def _explain(self, task: Task, detail: Any, run: Run) -> None:
        """Record why a task failed: the service's message, the last lines of its log, and where the log is."""
        task.error = detail.error.message or "it failed without a message"
        custom_job = detail.executor_detail.container_detail.main_job.rpartition("/")[2]
        if not custom_job:
            return
        query = f'resource.type="ml_job" resource.labels.job_id="{custom_job}"'
        place = f"https://console.cloud.google.com/logs/query;query={quote(query, safe='')}"
        task.log = f"{place}?project={self.settings.project}"
        lines = self._log_lines(query)
        if lines:
            run.log(task).write_text("\n".join(lines) + "\n", encoding="utf-8")
            task.error += "\n" + "\n".join(lines[-3:])

    def _log_lines(self, query: str) -> list[str]:
        """Return the last lines of a log, none where Cloud Logging does not give them."""
        base = self.settings.api_endpoint if self.service.is_local else "https://logging.googleapis.com"
        body = {
            "resourceNames": [f"projects/{self.settings.project}"],
            "filter": query,
            "orderBy": "timestamp desc",
            "pageSize": N_LOG_LINES,
        }

        def read(reply: Any) -> list[str]:
            reply.raise_for_status()
            entries = reply.json().get("entries", [])
            return [
                str(entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", ""))
                for entry in entries[::-1]
            ]

        ask = lambda: self.service.session.post(f"{base}/v2/entries:list", json=body, timeout=30)  # noqa: E731
        try:
            return self.service.retried("read the log of the task", ask, read=read, attempts=3)
        except Exception:  # what it would have told is not needed to go on
            return []

    # schedules

    def schedule(self, spec: Path, parameters: dict[str, Any], run: Run) -> tuple[str, list[datetime]]:
        """Create a schedule of a job; see pipeline.engines.vertex_schedules."""
        labels = vertex_schedules.labels(self.labels(run))
        job = self._job(spec, parameters, run, folder=vertex_schedules.FOLDER, labels=labels)
        return Schedules(self.service).create(job, run)

    def unschedule(self, identifier: str, pipeline: str) -> int:
        """Remove the schedules of a pipeline under an identifier and return how many there were."""
        return Schedules(self.service).remove(identifier, pipeline)


def _state(of: Any) -> str:
    """Return the name of the state of a job or a task; of one that the SDK does not know its number."""
    return getattr(of.state, "name", f"state {of.state}")


def _checked(value: str | None, rule: Callable[[str], str]) -> str | None:
    """Return what a label says, None where it breaks the rule: anybody may have written it."""
    try:
        return rule(value or "")
    except ValueError:
        return None


def _label_value(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,63}", value):
        raise ValueError("expected what a label may hold")
    return value


def _display_name(identifier: str, pipeline: str) -> str:
    return f"{identifier} {short_name(pipeline)}"


def _loop_item(node: graph.Node, detail: Any, details: dict[int, Any]) -> Any:
    """Return the loop item of a task: the input that takes it, else the place that ends the iteration's name."""
    if not node.in_loop:
        return None
    item = _values(detail, "input:").get(node.item_input)
    parent = details.get(detail.parent_task_id)
    if item is None and parent is not None:
        place = re.search(r"(\d+)$", parent.task_name)
        item = int(place[1]) if place else None
    return int(item) if isinstance(item, float) and item.is_integer() else item


def _returned(spec: dict[str, Any], component: dict[str, Any], tasks: dict[str, Task], within: str = "") -> Values:
    """Return what a DAG puts out, by its tasks that have succeeded.

    Args:
        spec: The spec.
        component: The component of the DAG.
        tasks: The tasks of the whole pipeline by their paths.
        within: What the paths of the DAG's own begin with.
    """
    ended: dict[str, Ended] = {}
    for name, task in component["dag"].get("tasks", {}).items():
        inner, path = spec["components"][task["componentRef"]["name"]], f"{within}{name}"
        if {"parameterIterator", "artifactIterator"} & task.keys():
            numbers = {int(found[1]) for each in tasks if (found := re.match(rf"{re.escape(path)}/(\d+)/", each))}
            each_one = [_returned(spec, inner, tasks, f"{path}/{number}/") for number in sorted(numbers)]
            ended[name] = Ended(SUCCEEDED, of_loop(inner, [Ended(SUCCEEDED, values) for values in each_one]))
        elif "dag" in inner:
            ended[name] = Ended(SUCCEEDED, _returned(spec, inner, tasks, f"{path}/"))
        elif path in tasks:
            kinds = inner.get("outputDefinitions", {}).get("parameters", {})
            values = {}
            for key in tasks[path].values.keys() & kinds.keys():
                with contextlib.suppress(SpecError):  # a value of another type is not recorded
                    values[key] = typed(tasks[path].values[key], kinds[key]["parameterType"])
            artifacts = {key: [{"uri": uri}] for key, uri in tasks[path].outputs.items()}
            ended[name] = Ended(SUCCEEDED, Values(values, artifacts))
    return of_dag(component, ended)


def _path(node: graph.Node, detail: Any, details: dict[int, Any]) -> str:
    """Return the path of a task: the names of the groups around it, of an iteration its number, and its own."""
    groups: list[str] = []
    group = details.get(detail.parent_task_id)
    while group is not None and (outer := details.get(group.parent_task_id)) is not None and len(groups) < len(details):
        iteration = re.fullmatch(rf"{re.escape(outer.task_name)}\D*(\d+)", group.task_name)
        groups.append(iteration[1] if iteration else group.task_name)
        group = outer
    # the service's names are those of files here
    names = (re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100] for name in (*reversed(groups), node.name))
    return "/".join(name.lstrip(".") or "_" for name in names)


def _inputs(detail: Any) -> dict[str, Any]:
    """Return the inputs of a task as KFP's ExecutorInput.Inputs."""
    return {
        "parameterValues": _values(detail, "input:"),
        "artifacts": {
            name: {
                "artifacts": [
                    {
                        "name": artifact.name,
                        "uri": artifact.uri,
                        "metadata": _plain(artifact.metadata or {}),
                        "type": {"schemaTitle": artifact.schema_title},
                    }
                    for artifact in list_.artifacts
                ]
            }
            for name, list_ in detail.inputs.items()
        },
    }


def _values(detail: Any, prefix: str) -> dict[str, Any]:
    """Return the parameters of a task that its execution has under a prefix."""
    metadata = _plain(detail.execution.metadata or {})
    return {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}


def _artifact(artifact: Any) -> SimpleNamespace:
    return SimpleNamespace(
        uri=artifact.uri, metadata=_plain(artifact.metadata or {}), schema_title=artifact.schema_title
    )


def _plain(value: Any) -> Any:
    """Turn the protobuf maps and lists of an artifact's metadata into Python's own."""
    if hasattr(value, "items"):
        return {key: _plain(inner) for key, inner in value.items()}
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        return [_plain(inner) for inner in value]
    return value
