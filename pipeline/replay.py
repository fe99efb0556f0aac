"""One task of a run again: alone, in this process, on its real inputs, with the code as it is now."""

import json
import os
import pdb
import re
import tempfile
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pydantic import BaseModel, ConfigDict, Field

from pipeline import RequestError, compiler, files, graph, models, runs, storage
from pipeline.engines import worker
from pipeline.engines.interpreter import Job, Values, scope
from pipeline.engines.interpreter.executor import ArtifactList, executor_input
from pipeline.engines.interpreter.placeholders import expanded
from pipeline.engines.interpreter.values import SpecError
from pipeline.engines.local import n_threads, origins
from pipeline.runs import Name, Run, Task

WITHOUT_FILES = ("system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics")


@dataclass(frozen=True)
class Replay:
    """A task made ready to run again."""

    task: Task
    folder: Path  # of its outputs and of inputs that were fetched
    work: worker.Work


def prepare(run: Run, title: str) -> Replay:
    """Make a task of a run ready to run again, into a folder of its own.

    Args:
        run: The run, of any engine and state.
        title: Name of the task, in a loop with the item, train-model[3], or its path.

    Raises:
        RequestError: there is no such task, its inputs are gone, or the step is not what it was.
    """
    task = run.task(title)
    inputs = _kept(run, task)
    container, component = _step(run, task)
    _check_inputs(component, inputs, title)
    now = datetime.now(UTC)
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", task.title)[:80].strip("-")
    folder = run.folder.parent.parent / ".replays" / run.identifier / f"{now:%Y%m%dT%H%M%S%f}-{name}"
    artifacts: dict[str, list[dict[str, Any]]] = {
        name: [{**artifact} for artifact in given.artifacts] for name, given in inputs.artifacts.items()
    }
    for name, listed in artifacts.items():
        for place, artifact in enumerate(listed):
            try:
                artifact["uri"] = str(run.here(_place(run, artifact), folder / "inputs" / f"{name}-{place}"))
            except RequestError as error:
                if artifact.get("type", {}).get("schemaTitle") in WITHOUT_FILES:
                    continue
                raise RequestError(f"{error} It was an input of {title}; replay the task that wrote it.") from None
    folder.mkdir(parents=True, exist_ok=True)
    parameters = _typed(component, inputs.parameters, title)
    if {"source", "fingerprint"} <= parameters.keys():
        parameters["fingerprint"] = ""  # the table is read as it is now, which may have been mended
    if parameters.get("champion"):  # nothing is promoted by a replay
        parameters["champion"] = models.copied_champion(parameters["champion"], folder)
    values = Values(parameters, artifacts)
    source = container["command"][-1]
    work = worker.Work(
        source=source,
        function=graph.function(container),
        executor_input=executor_input(component, values, folder),
        log=str(folder / "error.log"),
        environment=_environment(container, run, task, values),
        threads=n_threads(),
        origins=origins(source),
        user_folder=os.getcwd(),
    )
    return Replay(task, folder, work)


def execute(replay: Replay, *, debug: bool = False) -> str | None:
    """Run the task; if it raises, write the traceback to error.log and return what to tell the user.

    Args:
        replay: The task.
        debug: Whether to stop in the debugger where the step failed.
    """
    work = replay.work
    try:
        with patch.dict(os.environ, work.environment):
            worker.call(work)
    except worker.OutputError as error:
        return str(error)
    except (Exception, SystemExit) as error:
        if worker.is_success(error):
            return None
        Path(work.log).write_text(traceback.format_exc(), encoding="utf-8")
        if debug:
            traceback.print_exc()
            pdb.post_mortem(_own(error, work))
        return worker.explain(error, work)
    return None


def outputs(replay: Replay) -> dict[str, Any]:
    """Return what the task has put out: parameters by name, and the path of each artifact."""
    file = Path(replay.work.executor_input["outputs"]["outputFile"])
    if not file.exists():  # of a step that ended by sys.exit(0)
        return {}
    there = json.loads(file.read_text("utf-8"))
    artifacts = {name: given["artifacts"][0]["uri"] for name, given in there.get("artifacts", {}).items()}
    parameters: dict[str, Any] = there.get("parameterValues", {})
    return parameters | artifacts


class _Inputs(BaseModel):
    """KFP's ExecutorInput.Inputs."""

    model_config = ConfigDict(populate_by_name=True)

    parameters: dict[str, Any] = Field(default_factory=dict, alias="parameterValues")
    artifacts: dict[Name, ArtifactList] = Field(default_factory=dict)


def _kept(run: Run, task: Task) -> _Inputs:
    path = run.inputs(task)
    try:
        return files.read(path, _Inputs)
    except files.Damaged as error:
        raise RequestError(
            f"The inputs of {task.title} cannot be read from {path}: {error}.\n"
            "Without them the task cannot be replayed; start a new run, whose inputs are kept."
        ) from None


def _step(run: Run, task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the container and the component of a task's step as the pipeline has them now."""
    then = graph.nodes(graph.load(run.folder / runs.SPEC))
    step = next((step.step for node in then for step in node.steps if step.name == task.name), task.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, runs.SPEC)
        compiler.compile_pipeline(compiler.load(run.pipeline), path)
        now = graph.load(path)
    containers = graph.containers(now)
    if step not in containers:
        raise RequestError(
            f"The pipeline {run.pipeline} has no step {step!r} any more. It has: {', '.join(containers)}."
        )
    components = now["components"].values()
    return containers[step], next(found for found in components if found.get("executorLabel") == f"exec-{step}")


def _typed(component: dict[str, Any], parameters: dict[str, Any], title: str) -> dict[str, Any]:
    """Return parameters as the step takes them now, of its types and with its defaults."""
    try:
        return scope.completed(component, dict(parameters), "the input")
    except SpecError as error:
        raise RequestError(f"The task {title} cannot run on what it was given: {error}. Start a new run.") from None


def _environment(container: dict[str, Any], run: Run, task: Task, inputs: Values) -> dict[str, str]:
    """Return the variables that the pipeline sets for a task."""
    name = graph.load(run.folder / runs.SPEC)["pipelineInfo"]["name"]
    job = Job.of_run(name, run.run_id, str(run.folder), run.started)
    names = job.names(task.name, task.path)
    return {
        each["name"]: expanded(each.get("value", ""), names, inputs.parameters) for each in container.get("env", ())
    }


def _place(run: Run, artifact: dict[str, Any]) -> str:
    """Return where an input of a task is: in the run, in a bucket, or where a task of the run says that its output is.

    Raises:
        RequestError: it is anywhere else, and the step might execute what it finds there.
    """
    uri = str(artifact.get("uri"))
    if storage.is_object(uri) or run.holds(Path(uri)) or any(uri in task.outputs.values() for task in run.tasks):
        return uri
    raise RequestError(f"The file {uri} is not of the run {run.run_id}.")


def _check_inputs(component: dict[str, Any], inputs: _Inputs, title: str) -> None:
    """Check that all that the step needs now was there then."""
    defined = component.get("inputDefinitions", {})
    missing = [
        name
        for kind, given in (("parameters", inputs.parameters), ("artifacts", inputs.artifacts))
        for name, spec in defined.get(kind, {}).items()
        if not (spec.get("isOptional") or "defaultValue" in spec) and name not in given
    ]
    if missing:
        raise RequestError(
            f"The step of {title} now needs {', '.join(sorted(missing))}, which the run did not have. Start a new run."
        )


def _own(error: BaseException, work: worker.Work) -> Any:
    """Return the traceback of an error up to the last line of the step's own, where the debugger is to stop."""
    own_files = worker.own_files(work)
    trace = last = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename in own_files:
            last = trace
        trace = trace.tb_next
    if last:
        last.tb_next = None
    return error.__traceback__
