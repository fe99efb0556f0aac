"""The seam into kfp.local 2.17.0: its orchestrator runs the graph, ours runs each task.

kfp.local offers no place to hand in a task runner: it compares runner classes by exact type and looks its handler up
by name (kubeflow/pipelines, sdk/python/kfp/local). So for the time of a run, and only here, some of its names stand
for ours. A new version of kfp that moves one of them fails in pipeline/tests/test_orchestrator.py.
"""

import contextlib
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from google.protobuf import json_format
from kfp.local import (
    SubprocessRunner,
    executor_input_utils,
    logging_utils,
    placeholder_utils,
    subprocess_task_handler,
    utils,
)
from kfp.local import cache as cache_module
from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor
from kfp.local.status import Status
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from pipeline.engines.cache import ContentCache
from pipeline.runs import Task

# name of the folder of artifacts below the pipeline root
ARTIFACTS = "artifacts"


class Hooks:
    """What a run does for each task; the orchestrator calls it from several threads."""

    def prepared(self, task: Task, inputs: dict[str, Any]) -> None:
        """A task's inputs are there, KFP's ExecutorInput.Inputs; it is executed next or found in the cache."""

    def execute(self, task: Task, command: "Command", width: int) -> bool:
        """Execute a task and return whether it succeeded.

        Args:
            task: The task.
            command: What it is to execute.
            width: How many tasks like it may run at once: the iterations of the loops around it.
        """
        raise NotImplementedError

    def ended(self, task: Task, succeeded: bool, outputs: dict[str, Any]) -> None:
        """A task has ended, or was found in the cache; outputs are parameters and artifacts by name."""


class Command:
    """The command of a lightweight component, taken apart; its pip lines are left behind."""

    def __init__(self, command: list[str], environment: dict[str, str]):
        place = command.index("--executor_input")
        self.source: str = command[place - 1]
        self.executor_input: dict[str, Any] = json.loads(command[place + 1])
        self.function: str = command[command.index("--function_to_execute") + 1]
        self.environment = environment


def run_graph(
    spec: PipelineSpec,
    parameters: dict[str, Any],
    folder: Path,
    hooks: Hooks,
    cores: int = 2,
    cache_dir: Path | None = None,
) -> bool:
    """Run the tasks of a compiled pipeline and return whether all of them succeeded.

    Args:
        spec: The compiled pipeline.
        parameters: Values of its parameters.
        folder: Artifacts are written to artifacts/<task>/ in it, and kfp's own log to logs/orchestrator.log.
        hooks: Is called for each task.
        cores: How many iterations of a loop may run at once.
        cache_dir: Folder of the cache, for tasks that are not to bypass it; None for no cache.

    Raises:
        Exception: the first that a hook raised; no task is begun after it.
    """
    errors: list[Exception] = []
    with _seam(hooks, folder, cores, cache_dir, errors), _kfp_log(folder / "logs" / "orchestrator.log"):
        _, status = enhanced_dag_orchestrator.run_enhanced_dag(
            pipeline_resource_name=ARTIFACTS,
            dag_component_spec=spec.root,
            executors={
                name: utils.struct_to_executor_spec(executor)
                for name, executor in spec.deployment_spec["executors"].items()
            },
            components=dict(spec.components.items()),
            dag_arguments=parameters,
            pipeline_root=str(folder),
            runner=SubprocessRunner(use_venv=False),
            unique_pipeline_id=folder.name,
            fail_stack=[],
        )
    if errors:
        raise errors[0]
    return status == Status.SUCCESS


@contextlib.contextmanager
def _seam(hooks: Hooks, folder: Path, cores: int, cache_dir: Path | None, errors: list[Exception]) -> Iterator[None]:
    current = threading.local()  # the orchestrator runs each task from start to end in one thread
    cache = ContentCache(cache_dir, current) if cache_dir else None
    widths: dict[str, int] = {}  # of the iterations of a loop, by their place
    execute_single_task = task_executor.execute_single_task

    def execute_task(**names: Any) -> tuple[dict[str, Any], Status]:
        place = names["pipeline_resource_name"]
        current.task = task = Task(name=names["task_name"], item=_loop_item(place, names["io_store"]))
        current.folder = folder / place / task.name
        current.width = widths.get(place, 1)
        if errors:
            return {}, Status.FAILURE
        try:
            hooks.prepared(task, _inputs(names["task_spec"], names["components"], names["io_store"]))
            outputs, status = execute_single_task(**names)
            hooks.ended(task, status == Status.SUCCESS, outputs)
        except Exception as error:
            errors.append(error)  # of one in a loop kfp logs the message and raises nothing
            raise
        return outputs, status

    class TaskHandler:
        """Stands for kfp's SubprocessTaskHandler, which starts a shell, a new Python and pip for each task."""

        def __init__(self, full_command: list[str], env_vars: dict[str, str] | None = None, **_: Any):
            self.command = Command(full_command, env_vars or {})

        def run(self) -> Status:
            return Status.SUCCESS if hooks.execute(current.task, self.command, current.width) else Status.FAILURE

    class ParallelExecutor(enhanced_dag_orchestrator.ParallelExecutor):
        """Stands for kfp's own, which runs two iterations at once on any machine."""

        def __init__(self):
            super().__init__()
            self.conservative_max = self.max_workers = cores

        def execute_parallel_tasks(self, tasks: Any, pipeline_resource_name: str, **names: Any) -> Any:
            limit = names["parallelism_limit"] or cores
            width = min(len(tasks), limit, cores) * widths.get(pipeline_resource_name, 1)
            widths.update({f"{pipeline_resource_name}/{name}": width for name, _ in tasks})
            return super().execute_parallel_tasks(tasks, pipeline_resource_name, **names)

    def replace_placeholders(full_command: list[str], executor_input_dict: dict[str, Any], **names: Any) -> list[str]:
        # kfp's own expands {{$…}} in the artifacts' metadata too, which hold names from the data
        names["pipeline_job_id"], names["pipeline_task_id"] = names.pop("unique_pipeline_id"), current.task.title
        resolved = placeholder_utils.resolve_self_references_in_executor_input(executor_input_dict, **names)
        return [json.dumps(resolved) if element == "{{$}}" else element for element in full_command]

    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", r"Task .* have no effect in the current local runner", UserWarning)
        for module, name, ours in (
            (task_executor, "execute_single_task", execute_task),
            (subprocess_task_handler, "SubprocessTaskHandler", TaskHandler),
            (enhanced_dag_orchestrator, "ParallelExecutor", ParallelExecutor),
            (cache_module, "get_local_cache", lambda: cache),
            (placeholder_utils, "replace_placeholders", replace_placeholders),
            # kfp's own names the folder after the component, which two tasks may share
            (executor_input_utils, "construct_local_task_root", lambda **_: str(current.folder)),
            # these two swap the root logger's handlers and the print function, and are not safe in threads
            (logging_utils, "local_logger_context", contextlib.nullcontext),
            (logging_utils, "indented_print", contextlib.nullcontext),
        ):
            stack.enter_context(patch.object(module, name, ours))
        yield


def _inputs(task_spec: Any, components: dict[str, Any], io_store: Any) -> dict[str, Any]:
    """Return the inputs of a task, as kfp hands them to its executor."""
    arguments = task_executor.OrchestratorUtils.make_task_arguments(task_spec.inputs, io_store)
    component = components[task_spec.component_ref.name]
    executor_input = executor_input_utils.construct_executor_input(component, arguments, "", False)
    return json_format.MessageToDict(executor_input.inputs)


def _loop_item(resource_name: str, io_store: Any) -> Any:
    """Return the item of the innermost loop that a task runs in, or its place where the body does not take it."""
    _, in_loop, place = resource_name.rpartition("-iteration-")
    if not in_loop:
        return None
    items = (value for name, value in io_store._parent_input_data.items() if "-loop-item" in name)
    item = next(items, int(place))
    # protobuf's Value has one kind of number
    return int(item) if isinstance(item, float) and item.is_integer() else item


@contextlib.contextmanager
def _kfp_log(path: Path) -> Iterator[None]:
    """Send what kfp logs, prints and warns of to a file, since the console shows the same in fewer words."""
    root, handler = logging.getLogger(), logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with handler.stream, contextlib.redirect_stdout(handler.stream):
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
