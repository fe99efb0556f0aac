"""The tasks of a job, as its details have them, in the record of its run."""

import contextlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from pipeline import RequestError, graph
from pipeline.engines import Progress, vertex_fused
from pipeline.engines.vertex_failures import Failures
from pipeline.engines.vertex_service import state_of
from pipeline.engines.vertex_waiting import Watch
from pipeline.fusing import records
from pipeline.runs import SPEC, Run, State, Task

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
NOT_BEGUN = {"PENDING", "NOT_TRIGGERED"}
ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELLED", "NOT_TRIGGERED"}


@dataclass
class _Followed:
    """A task that has started."""

    task: Task
    node: graph.Node
    is_told: bool = False  # that it has started


class JobTasks:
    """The tasks of one job while it is followed."""

    def __init__(self, run: Run, nodes: list[graph.Node], progress: Progress, failures: Failures, watch: Watch):
        """Make the tasks of a job.

        Args:
            run: The record of the job.
            nodes: The tasks of its spec.
            progress: Is told of each task.
            failures: Says why one has failed.
            watch: Looks after those that do not get on.
        """
        self._run, self._progress, self._failures, self._watch = run, progress, failures, watch
        self._nodes = {name: node for node in nodes for name in (node.display_name, node.name)}
        self._tasks: dict[int, _Followed] = {}
        self._unknown: set[tuple[int, str]] = set()  # states that the user has been told of
        self._n_places = Counter(node.name for node in nodes)
        self._root = ""  # the gs:// folder of the job

    def update(self, job: Any) -> None:
        """Take in what a look at the job has shown."""
        self._root = job.runtime_config.gcs_output_directory
        details = {detail.task_id: detail for detail in job.job_detail.task_details}
        groups = _Groups(details, self._loops)
        for task_id, detail in details.items():
            node, name = self._nodes.get(detail.task_name), state_of(detail)
            if node is None:
                continue
            state = TASK_STATES.get(name)
            if state is None and name not in NOT_BEGUN and (task_id, name) not in self._unknown:
                self._unknown.add((task_id, name))
                self._progress.note(f"{node.name} is in {name}, which is unknown here. Watching on.")
            followed = self._tasks.get(task_id)
            if state is not None:
                followed = self._followed(task_id, detail, node, groups)
                if followed.task.state == "running" and state != "running":
                    self._end(followed, detail, state, is_cached=name == "SKIPPED")
            if name == "RUNNING" or (name == "PENDING" and self._is_next(detail, details)):
                self._watch.look(followed.task.title if followed else node.name, detail, main_job(detail))

    @cached_property
    def _spec(self) -> dict[str, Any]:
        """The spec, {} where it is gone."""
        with contextlib.suppress(RequestError):
            return graph.load(self._run.folder / SPEC)
        return {}

    @cached_property
    def _fusions(self) -> dict[str, graph.Fusion]:
        """What the fused tasks of the spec run, by their names."""
        return graph.fusions(self._spec) if self._spec else {}

    @cached_property
    def _of_spec(self) -> dict[str, dict[str, Any]]:
        """The tasks and the groups of the spec by their names."""
        components = (self._spec.get("root", {}), *self._spec.get("components", {}).values())
        return {name: task for each in components for name, task in each.get("dag", {}).get("tasks", {}).items()}

    @cached_property
    def _loops(self) -> set[str]:
        return {name for name, task in self._of_spec.items() if {"parameterIterator", "artifactIterator"} & {*task}}

    def _is_next(self, detail: Any, details: dict[int, Any]) -> bool:
        """Return whether all that a task depends on has ended, so that it waits for nothing but a machine."""
        ended = {
            other.task_name
            for other in details.values()
            if other.parent_task_id == detail.parent_task_id and state_of(other) in ENDED
        }
        return ended.issuperset(self._of_spec.get(detail.task_name, {}).get("dependentTasks", ()))

    def _followed(self, task_id: int, detail: Any, node: graph.Node, groups: "_Groups") -> _Followed:
        """Return a task that has started, with what is known by now; of one that has ended nothing changes."""
        followed, is_new = self._tasks.get(task_id), task_id not in self._tasks
        followed = followed or _Followed(Task(name=node.name), node)
        task = followed.task
        if task.state != "running":
            return followed
        others = [other.task for other in self._tasks.values() if other is not followed]
        numbers, names = groups.around(detail)
        path = "/".join([*names, _file_name(node.name)])
        task.path = path if path not in {other.path for other in others} else f"{path}_{task_id}"
        if node.in_loop:
            task.item = _item(detail, node, numbers)
        alike = [other for other in others if (other.name, str(other.item)) == (task.name, str(task.item))]
        for other in alike:
            other.ambiguous = True
        is_unsettled = node.in_loop and task.item is None
        task.ambiguous = bool(alike) or is_unsettled or len(numbers) > 1 or self._n_places[node.name] > 1
        if is_new:
            self._tasks[task_id] = followed
            self._run.start(task)
        if not followed.is_told and not (is_new and is_unsettled):  # its inputs may come a look later
            followed.is_told = True
            self._progress.started(task)
        self._tell_retries(followed, detail)
        return followed

    def _tell_retries(self, followed: _Followed, detail: Any) -> None:
        failed = failed_jobs(detail)
        # the error of a state that is not final is one that the system tries again for
        reasons = [
            status.error.message
            for status in detail.pipeline_task_status
            if status.error.message and state_of(status) != "FAILED"
        ]
        number, task = len(failed) or len(reasons), followed.task
        if number <= task.retries:
            return
        task.retries = number
        by_log = self._failures.reason(failed[-1], followed.node.step) if failed and not reasons else ""
        task.retried_for = (reasons[-1] if reasons else by_log) or None
        self._run.save()
        self._progress.note(f"{task.title} {task.retried}: {task.retried_for or 'the service does not say why'}")

    def _end(self, followed: _Followed, detail: Any, state: State, *, is_cached: bool) -> None:
        task, run = followed.task, self._run
        run.keep_inputs(task, _inputs(detail))
        outputs = {name: list_.artifacts[0] for name, list_ in detail.outputs.items() if list_.artifacts}
        artifacts = {name: _artifact(artifact) for name, artifact in outputs.items()}
        values = _values(detail, "output:")
        if detail.start_time and detail.end_time:
            task.seconds = round((detail.end_time - detail.start_time).total_seconds(), 3)
        if state == "failed":
            self._failures.explain(task, followed.node.step, detail.error.message, main_job(detail))
        ended = task.model_copy(update={"state": state, "cached": is_cached})
        ran = self._steps(ended, detail) if task.name in self._fusions else []
        task.state, task.cached = state, is_cached  # last, so that what fails above is done again
        if not (ran and records.take(ran, task, run, self._progress)):
            run.end(task, artifacts, values)
            self._progress.ended(task)

    def _steps(self, task: Task, detail: Any) -> list[records.Ran]:
        """Return the steps of a fused task that has ended."""
        listed = (*detail.inputs.items(), *detail.outputs.items())
        places = {name: [artifact.uri for artifact in list_.artifacts] for name, list_ in listed}
        folder = f"{detail.task_name}_{detail.task_id}"
        return vertex_fused.steps(self._fusions[task.name], task, places, self._root, folder)


class _Groups:
    """The DAGs of a job: which of them are iterations of a loop, and the how manieth."""

    def __init__(self, details: dict[int, Any], loops: set[str]):
        self._details, self._loops = details, loops

    def around(self, detail: Any) -> tuple[list[int], list[str]]:
        """Return the numbers of the iterations around a task, and the names of all groups around it as paths have them.

        Of an iteration it is the number, by its name, else by its place among those of its loop, the first to begin
        being the first.
        """
        numbers: list[int] = []
        names: list[str] = []
        chain = self._chain(detail)
        is_iteration = False  # whether the outer one is
        for outer, group in pairwise(chain):
            named = re.fullmatch(rf"{re.escape(outer.task_name)}-iteration-(\d+)", group.task_name)
            is_iteration = bool(named) or (outer.task_name in self._loops and not is_iteration)
            if is_iteration:
                numbers.append(int(named[1]) if named else self._places[group.task_id])
                names.append(str(numbers[-1]))
            elif group is not detail:
                names.append(_file_name(group.task_name))
        return numbers, names

    def _chain(self, detail: Any) -> list[Any]:
        """Return what is around a task, from the root to itself."""
        chain = [detail]
        while (outer := self._details.get(chain[0].parent_task_id)) is not None and len(chain) <= len(self._details):
            chain.insert(0, outer)
        return chain

    @cached_property
    def _places(self) -> dict[int, int]:
        """The place of each task among those beside it that have its name, by the time of their beginning."""
        alike: dict[tuple[int, str], list[tuple[float, int]]] = {}
        for task_id, detail in self._details.items():
            of = alike.setdefault((detail.parent_task_id, detail.task_name), [])
            of.append((_seconds(detail.create_time), task_id))
        by_time = (sorted(of, key=lambda each: each[0]) for of in alike.values())
        return {task_id: place for of in by_time for place, (_, task_id) in enumerate(of)}


def _seconds(moment: Any) -> float:
    return moment.timestamp() if moment else 0.0


def _file_name(name: str) -> str:
    """Return a name of the service's as one of a file here."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100].lstrip(".") or "_"


def main_job(detail: Any) -> str:
    """Return the name of the custom job that a task runs in, "" where there is none."""
    of = detail.executor_detail
    return str(of.container_detail.main_job or of.custom_job_detail.job)


def failed_jobs(detail: Any) -> list[str]:
    """Return the names of the custom jobs of a task's attempts that failed before the present one."""
    executor = detail.executor_detail
    failed = [*executor.container_detail.failed_main_jobs, *executor.custom_job_detail.failed_jobs]
    return [job for job in dict.fromkeys(failed) if job != main_job(detail)]


def _item(detail: Any, node: graph.Node, numbers: list[int]) -> Any:
    """Return the item of a task's loop: its input, None until that is there; of a task that takes none its number."""
    if node.item_input is None:
        return numbers[-1] if numbers else None
    item = _values(detail, "input:").get(node.item_input)
    return int(item) if isinstance(item, float) and item.is_integer() else item


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
                        "metadata": plain(artifact.metadata or {}),
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
    metadata = plain(detail.execution.metadata or {})
    return {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}


def _artifact(artifact: Any) -> SimpleNamespace:
    return SimpleNamespace(
        uri=artifact.uri, metadata=plain(artifact.metadata or {}), schema_title=artifact.schema_title
    )


def plain(value: Any) -> Any:
    """Turn the protobuf maps and lists of an artifact's metadata into Python's own."""
    if hasattr(value, "items"):
        return {key: plain(inner) for key, inner in value.items()}
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        return [plain(inner) for inner in value]
    return value
