"""The Vertex AI engine: the compiled spec as a PipelineJob, submitted, followed, cancelled and scheduled."""

import importlib.metadata
import re
import time
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import requests
import yaml
from cronsim import CronSim
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from pipeline import RequestError, check, graph, runs, sources
from pipeline.check import Check, make
from pipeline.engines import Progress, vertex_checks
from pipeline.engines.interpreter import SUCCEEDED, Ended, Values
from pipeline.engines.interpreter.results import addressed, of_dag, of_loop
from pipeline.engines.interpreter.values import typed
from pipeline.engines.vertex_service import PASSING, Service, first_line
from pipeline.loading import short_name
from pipeline.runs import Run, State, Task
from pipeline.settings import Settings
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
N_LOG_LINES = 20


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
        return {key: _label(value) for key, value in labels.items()}

    def url(self, job_id: str) -> str:
        """Return the web address of a job."""
        place = f"locations/{self.settings.region}/pipelines/runs/{job_id}"
        return f"https://console.cloud.google.com/vertex-ai/{place}?project={self.settings.project}"

    # before a submission

    def place(self, source: Source) -> tuple[Source, str]:
        """Upload files into the bucket, unless they are there; see pipeline.engines.Engine."""
        with self.service.told("the data was not uploaded"):
            placed, sent = self.service.retried(lambda: sources.upload(source, self.settings.bucket))
        return placed, f"{'uploaded to' if sent else 'is in'} {placed.uri}" if source.files else ""

    def place_file(self, uri: str) -> str:
        """Upload a file into the bucket, unless it is there; see pipeline.engines.Engine."""
        with self.service.told("the earlier run's schema was not uploaded"):
            return self.service.retried(
                lambda: sources.place_file(uri, self.settings.bucket, self.settings.runs_dir / ".data")
            )

    def checks(self, spec: dict[str, Any], run: Run, source: Source) -> list[Check]:
        """Check the names of the job, then what needs credentials and a network; see pipeline.engines.Engine."""
        names = (self.job_id(run), _display_name(run.identifier, run.pipeline), self.labels(run))
        return [
            make("names", lambda: check.of_names(*names)),
            Check("data", "passed", source.description),  # it was found, or there would be no source
            *vertex_checks.online(self.service),
        ]

    # a run

    def run(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
        """Submit a compiled pipeline and follow it to its end; see pipeline.engines.Engine."""
        self.submit(spec, parameters, run)
        progress.submitted(run)
        return self.follow(run, graph.nodes(graph.load(spec)), progress) if self.wait else "running"

    def submit(self, spec: Path, parameters: dict[str, Any], run: Run) -> None:
        """Submit a compiled pipeline.

        Raises:
            RequestError: the service refused it or could not be reached, and no job was created.
        """
        job_id = self.job_id(run)
        with self.service.told("the submission failed"):
            experiment = self.service.sdk.Experiment.get_or_create(run.identifier) if self.experiment else None
            job = self._job(spec, parameters, run, job_id)
            tries = 0

            def create() -> None:
                nonlocal tries
                tries += 1
                try:
                    job.submit(self.settings.service_account, experiment)
                except api.Conflict:
                    if tries == 1:
                        raise  # else an earlier try got through, though its answer did not

            self.service.retried(create)
        run.job, run.url = f"{self.service.parent}/pipelineJobs/{job_id}", self.url(job_id)
        run.save()

    def _job(self, spec: Path, parameters: dict[str, Any], run: Run, job_id: str) -> "Job":
        assert self.service.sdk  # it settles where the job goes
        from pipeline.engines.vertex_job import Job

        return Job(
            display_name=_display_name(run.identifier, run.pipeline),
            template_path=str(spec),
            job_id=job_id,
            pipeline_root=f"gs://{self.settings.bucket}/{run.identifier}/{run.run_id}",
            parameter_values=parameters,
            enable_caching=None if self.caching else False,  # None leaves each task's own setting
            labels=self.labels(run),
            failure_policy="fast",
        )

    def follow(self, run: Run, nodes: list[graph.Node], progress: Progress) -> State:
        """Follow a job to its end, record its tasks, and return how it ended.

        Raises:
            RequestError: the job is recorded to its end and cannot be asked again; nothing of the record has changed.
        """
        tasks: dict[int, Task] | None = None
        while True:
            try:
                job = self._get(run.job)
            except (*PASSING, api.GoogleAPICallError, auth.GoogleAuthError) as error:
                if run.status != "running":
                    raise RequestError(f"the job cannot be watched again: {first_line(error)}") from None
                run.error = f"the job cannot be watched any more: {first_line(error)}"
                return "running"
            if tasks is None:  # in place of what was known when it was followed before
                tasks, run.tasks, run.status, run.error = {}, [], "running", None
            self._update(job, nodes, tasks, run, progress)
            if job.state.name in JOB_STATES:
                break
            if job.state.name == "PIPELINE_STATE_PAUSED":
                run.error = f"the job is paused. Resume it at {run.url} and follow it again."
                return "running"
            time.sleep(self.settings.poll_seconds)
        run.finished = job.end_time
        spec = graph.load(run.folder / runs.SPEC)
        succeeded = {task.path: task for task in run.tasks if task.state == "succeeded"}
        run.outputs = addressed(_returned(spec, spec["root"], succeeded), spec["root"])
        if job.error.message and not any(task.state == "failed" for task in tasks.values()):
            run.error = job.error.message
        return JOB_STATES[job.state.name]

    def cancel(self, job: str) -> None:
        """Ask the service to cancel a job."""
        with self.service.told("the job was not cancelled"):
            self.service.retried(lambda: self.service.jobs.cancel_pipeline_job(name=self.resource_name(job)))

    def resource_name(self, job: str) -> str:
        """Return the whole name of a job that is named by its id or its whole name."""
        return job if "/" in job else f"{self.service.parent}/pipelineJobs/{job}"

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
        labels = dict(found.labels)
        parameters = _plain(found.runtime_config.parameter_values)
        run = runs.new(
            runs_dir,
            identifier=labels.get("identifier", "elsewhere"),
            pipeline=labels.get("pipeline", found.display_name),
            engine="vertex",
            profile=labels.get("profile"),
            parameters=parameters,
            data=runs.Data(source=parameters.get("source", ""), fingerprint=parameters.get("fingerprint", "")),
            job=name,
            url=self.url(name.rpartition("/")[2]),
        )
        with TemporaryDirectory() as folder:
            spec = Path(folder, runs.SPEC)
            spec.write_text(yaml.safe_dump(_plain(found.pipeline_spec)), encoding="utf-8")
            try:
                graph.load(spec)
            except RequestError:
                raise RequestError(
                    f"The job {job} has no pipeline spec of its own to follow it by. Look at it there: {run.url}"
                ) from None
            run.begin(spec)
        return run

    def _get(self, name: str) -> Any:
        return self.service.retried(lambda: self.service.jobs.get_pipeline_job(name=name), attempts=20)

    def _update(self, job: Any, nodes: list[graph.Node], tasks: dict[int, Task], run: Run, progress: Progress) -> None:
        by_name = {name: node for node in nodes for name in (node.display_name, node.name)}
        details = {detail.task_id: detail for detail in job.job_detail.task_details}
        titles = {task.title for task in run.tasks}
        for task_id, detail in details.items():
            node, state = by_name.get(detail.task_name), TASK_STATES.get(detail.state.name)
            if node is None or state is None:
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
                task.state, task.cached = state, detail.state.name == "SKIPPED"
                if detail.start_time and detail.end_time:
                    task.seconds = round((detail.end_time - detail.start_time).total_seconds(), 3)
                if state == "failed":
                    self._explain(task, detail, run)
                outputs = {name: list_.artifacts[0] for name, list_ in detail.outputs.items() if list_.artifacts}
                values = _values(detail, "output:")
                run.end(task, {name: _artifact(artifact) for name, artifact in outputs.items()}, values)
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
        try:
            entries = (
                self.service.session.post(f"{base}/v2/entries:list", json=body, timeout=30).json().get("entries", [])
            )
        except (requests.RequestException, auth.GoogleAuthError, ValueError):
            return []
        return [entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", "") for entry in entries[::-1]]

    # schedules

    def schedule(self, spec: Path, parameters: dict[str, Any], run: Run) -> tuple[str, list[datetime]]:
        """Create a schedule of a job in place of the identifier's former one for this pipeline.

        Args:
            spec: The compiled pipeline.
            parameters: Values of its parameters.
            run: Names the job and its folder.

        Returns:
            The name of the schedule and its next three times.
        """
        cron, timezone = self.settings.schedule, self.settings.timezone
        name = _schedule_name(run.identifier, run.pipeline)
        with self.service.told("the schedule was not created"):
            former = self._schedules(run.identifier, run.pipeline)
            job = self._job(spec, parameters, run, self.job_id(run))
            created = self.service.sdk.PipelineJobSchedule(job, display_name=name)
            created.create(
                f"TZ={timezone} {cron}",
                max_concurrent_run_count=1,
                service_account=self.settings.service_account,
            )
            for schedule in former:
                schedule.delete()
        return created.resource_name, [*islice(CronSim(cron, datetime.now(ZoneInfo(timezone))), 3)]

    def unschedule(self, identifier: str, pipeline: str) -> int:
        """Delete the schedules of a pipeline under an identifier and return how many there were."""
        with self.service.told("the schedule was not removed"):
            schedules = self._schedules(identifier, pipeline)
            for schedule in schedules:
                schedule.delete()
        return len(schedules)

    def _schedules(self, identifier: str, pipeline: str) -> list[Any]:
        wanted = f'display_name="{_schedule_name(identifier, pipeline)}"'
        found = self.service.retried(lambda: self.service.sdk.PipelineJobSchedule.list(filter=wanted))
        # the name of one identifier and pipeline may be that of two others
        labels = {"identifier": _label(identifier), "pipeline": _label(short_name(pipeline))}
        jobs = [schedule.gca_resource.create_pipeline_job_request.pipeline_job for schedule in found]
        return [
            schedule for schedule, job in zip(found, jobs, strict=True) if labels.items() <= dict(job.labels).items()
        ]


def _label(value: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "_", value.lower())[:63]


def _display_name(identifier: str, pipeline: str) -> str:
    return f"{identifier} {short_name(pipeline)}"


def _schedule_name(identifier: str, pipeline: str) -> str:
    return f"{identifier}-{short_name(pipeline)}"


def _loop_item(node: graph.Node, detail: Any, details: dict[int, Any]) -> Any:
    """Return the loop item of a task: the input that takes it, else the place that ends the iteration's name."""
    if not node.in_loop:
        return None
    item = dict(detail.execution.metadata or {}).get(f"input:{node.item_input}")
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
            there = {key: value for key, value in tasks[path].values.items() if key in kinds}
            values = {key: typed(value, kinds[key]["parameterType"]) for key, value in there.items()}
            artifacts = {key: [{"uri": uri}] for key, uri in tasks[path].outputs.items()}
            ended[name] = Ended(SUCCEEDED, Values(values, artifacts))
    return of_dag(component, ended)


def _path(node: graph.Node, detail: Any, details: dict[int, Any]) -> str:
    """Return the path of a task: the names of the groups around it, of an iteration its number, and its own."""
    groups = []
    group = details.get(detail.parent_task_id)
    while group is not None and (outer := details.get(group.parent_task_id)) is not None:
        iteration = re.fullmatch(rf"{re.escape(outer.task_name)}\D*(\d+)", group.task_name)
        groups.append(iteration[1] if iteration else group.task_name)
        group = outer
    return "/".join((*reversed(groups), node.name))


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
