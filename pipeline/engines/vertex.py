"""The Vertex AI engine: the compiled spec as a PipelineJob, submitted, followed, cancelled and scheduled."""

import contextlib
import importlib.metadata
import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml
from google.api_core import exceptions as api

from pipeline import RequestError, check, graph, runs, sources
from pipeline.check import Check, Description, make
from pipeline.engines import Progress, vertex_checks, vertex_schedules
from pipeline.engines.interpreter import SUCCEEDED, Ended, Values
from pipeline.engines.interpreter.results import addressed, of_dag, of_loop
from pipeline.engines.interpreter.values import SpecError, typed
from pipeline.engines.vertex_failures import Failures
from pipeline.engines.vertex_rerun import Again
from pipeline.engines.vertex_schedules import Schedules
from pipeline.engines.vertex_service import (
    Service,
    first_line,
    is_own,
    label,
    may_have_arrived,
    may_pass,
    named,
    state_of,
)
from pipeline.engines.vertex_tasks import JobTasks, plain
from pipeline.engines.vertex_waiting import Watch
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
GOING_ON = {f"PIPELINE_STATE_{name}" for name in ("QUEUED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")}
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
            **({"environment": run.environment} if run.environment else {}),
        }
        return {key: label(value or "") for key, value in labels.items()}

    def url(self, job_id: str) -> str:
        """Return the web address of a job."""
        place = f"locations/{self.settings.region}/pipelines/runs/{job_id}"
        return f"https://console.cloud.google.com/vertex-ai/{place}?project={self.settings.project}"

    # before a submission

    def place(self, source: Source) -> tuple[Source, str]:
        """Upload files into the bucket, unless they are there; see pipeline.engines.Engine."""
        with self.service.told("the data was not uploaded"):
            placed, sent = self.service.retried(
                "upload the data", lambda: sources.upload(source, self.settings.required("bucket")), limit=math.inf
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
            *vertex_checks.online(self.service, spec, run.parameters, described.schema),
        ]

    # a run

    def run(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
        """Submit a compiled pipeline and follow it to its end; see pipeline.engines.Engine."""
        is_there = self.submit(spec, parameters, run, progress)
        progress.submitted(run)
        if not (is_there and self.wait):
            if self.settings.timeout is not None:  # a pipeline job has no limit of its own at the service
                progress.note("note: --timeout has no effect on a job that nothing follows.")
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
        job = self._job(spec, parameters, run)
        if not self._begin(job, run):
            return False
        if experiment:
            try:
                self.service.retried("log to the experiment", lambda: job.associate(experiment))
            except Exception as error:  # the job runs all the same
                progress.note(f"note: the job is not in the experiment {run.identifier}: {first_line(error)}")
        return True

    def _begin(self, job: "Job | Again", run: Run) -> bool:
        """Create the job of a run, once its name is recorded; see submit."""
        job_id = self.job_id(run)
        run.job, run.url = f"{self.service.parent}/pipelineJobs/{job_id}", self.url(job_id)
        try:
            run.save()
        except OSError:  # nothing has been asked for
            run.job = run.url = None
            raise
        return self._create(job, run)

    def _create(self, job: "Job | Again", run: Run) -> bool:
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
                    self._look_for(_name(run))
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
        former, tasks = run.model_copy(), None
        told: set[str] = set()
        is_whole = is_late = False  # whether an answer has been taken in, and whether the job takes too long
        failures = Failures(self.service, run)
        watch = Watch(self.service, failures.logs, progress)

        def take_in(job: Any) -> SimpleNamespace:
            nonlocal tasks
            named(job.name)
            if tasks is None:  # in place of what was known when it was followed before
                run.tasks, run.status, run.error = [], "running", None
                tasks = JobTasks(run, nodes, progress, failures, watch)
            tasks.update(job)
            watch.look_at_job(job)
            return SimpleNamespace(
                state=state_of(job), created=job.create_time, end=job.end_time, message=job.error.message
            )

        while True:
            try:
                seen = self._get(_name(run), read=take_in, attempts=N_TRIES)
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
            if not is_late and self._is_late(seen.created):
                is_late = self._end_late(run, progress)
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
        if ended == "cancelled" and is_late:
            run.error = f"the job took longer than --timeout {self.settings.timeout:g} hours and was cancelled."
        return ended

    def _is_late(self, created: datetime | None) -> bool:
        """Return whether a job has taken longer than the settings allow, none that has no limit."""
        limit = self.settings.timeout
        return limit is not None and created is not None and datetime.now(UTC) - created > timedelta(hours=limit)

    def _end_late(self, run: Run, progress: Progress) -> bool:
        """Cancel a job that has taken too long, and return whether it was asked for."""
        progress.note(f"The job takes longer than --timeout {self.settings.timeout:g} hours. Cancelling it.")
        try:
            self.cancel(_name(run))
        except RequestError as error:  # it may have ended just now
            progress.note(f"note: {error}")
        return True

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
                if not may_be_asked or "CANCEL" not in self._get(name, read=state_of):
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
        name = self.resource_name(job)
        if run := runs.of_job(self.settings.runs_dir, name):
            return run
        run, spec = self._record(job, self._read(job, name))
        run.job, run.url = name, self.url(name.rpartition("/")[2])
        run.begin(spec)
        return run

    def recorded_again(self, job: str) -> tuple[Run, Any]:
        """Return the record of a new run that is to do the same as a job, and that job.

        Raises:
            RequestError: there is no such job, the service cannot be asked, or nothing of the job may be cached.
        """
        name = self.resource_name(job)
        former = self._read(job, name)
        run, spec = self._record(job, former)
        if own := runs.of_job(self.settings.runs_dir, name):  # which knows more of it than the labels
            data = runs.Data(source=own.data.source, fingerprint=own.data.fingerprint)
            run = runs.new(
                self.settings.runs_dir,
                **own.model_dump(include={"identifier", "pipeline", "engine", "environment", "profile", "parameters"}),
                data=data,
            )
            run.git = own.git
        loaded = graph.parsed(spec)
        dags = [component.get("dag", {}) for component in (loaded["root"], *loaded.get("components", {}).values())]
        tasks = [task for dag in dags for task in dag.get("tasks", {}).values()]
        if not any(task.get("cachingOptions", {}).get("enableCache") for task in tasks):
            raise RequestError(
                f"Caching is off in the job {job}, as by --no-cache or a schedule: nothing of it can be taken over.\n"
                "Run it anew: python run.py"
            )
        run.begin(spec)
        return run, former

    def run_again(self, former: Any, run: Run, nodes: list[graph.Node], progress: Progress) -> State:
        """Start a job again, the tasks that have succeeded being taken from the service's cache, and follow it.

        Raises:
            RequestError: the service refused it or could not be reached, and no job was created.
        """
        again = Again(self.service, former, self.job_id(run), label(run.run_id))
        is_there = self._begin(again, run)
        progress.submitted(run)
        return self.follow(run, nodes, progress, is_new=True) if is_there else "running"

    def _read(self, job: str, name: str) -> Any:
        with self.service.told(f"the job {job} cannot be read"):
            return self._get(name)

    def _record(self, job: str, found: Any) -> tuple[Run, str]:
        """Return a record for a job by what the service has of it, which is not begun, and the spec.

        Raises:
            RequestError: it has no spec.
        """
        labels, parameters = dict(found.labels), plain(found.runtime_config.parameter_values) or {}
        data = {key: value for key, value in parameters.items() if isinstance(value, str)}
        spec = yaml.safe_dump(plain(found.pipeline_spec))
        try:
            loaded = graph.parsed(spec)
            graph.check(loaded)
            graph.nodes(loaded)
        except Exception:  # none, or half of one
            url = self.url(job.rpartition("/")[2])
            raise RequestError(
                f"The job {job} has no pipeline spec of its own to follow it by. Look at it there: {url}"
            ) from None
        run = runs.new(
            self.settings.runs_dir,
            identifier=_checked(labels.get("identifier"), _identifier) or "elsewhere",
            pipeline=_checked(labels.get("pipeline"), _label_value) or "elsewhere",
            engine="vertex",
            environment=_checked(labels.get("environment"), _identifier),
            profile=labels.get("profile") if labels.get("profile") in PROFILES else None,
            parameters=parameters,
            data=runs.Data(source=data.get("source", ""), fingerprint=data.get("fingerprint", "")),
        )
        commit = labels.get("git_commit")  # of the checkout that it was submitted from
        known = commit not in (None, "", "unknown")
        run.git = runs.Git(commit=commit if known else None, dirty=labels.get("git_dirty") == "true" if known else None)
        return run, spec

    def _get(self, name: str, read: Callable[[Any], Any] = lambda job: job, attempts: int = 5) -> Any:
        jobs = self.service.jobs  # made before the time of the call begins
        return self.service.retried(
            "look at the job", lambda: jobs.get_pipeline_job(name=name), read=read, attempts=attempts
        )

    # schedules

    def schedule(self, spec: Path, parameters: dict[str, Any], run: Run) -> tuple[str, list[datetime]]:
        """Create a schedule of a job; see pipeline.engines.vertex_schedules."""
        labels = vertex_schedules.labels(self.labels(run))
        job = self._job(spec, parameters, run, folder=vertex_schedules.FOLDER, labels=labels)
        return Schedules(self.service).create(job, run)

    def unschedule(self, identifier: str, pipeline: str) -> int:
        """Remove the schedules of a pipeline under an identifier and return how many there were."""
        return Schedules(self.service).remove(identifier, pipeline)


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


def _name(run: Run) -> str:
    """Return the whole name of a run's job.

    Raises:
        RequestError: it has none.
    """
    if run.job is None:
        raise RequestError(f"The run {run.run_id} has no job at the service.")
    return run.job
