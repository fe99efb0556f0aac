"""What this machine can do of what a spec asks, told before anything starts; and what stands in for the rest."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline import RequestError
from pipeline.engines.interpreter.executor import is_lightweight
from pipeline.engines.interpreter.placeholders import Job
from pipeline.engines.interpreter.values import Values

_GOOGLE = "google_cloud_pipeline_components."


def leaves(spec: Mapping[str, Any], component: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the tasks of a component that execute something, each by its path, its name and its executor.

    Args:
        spec: The compiled pipeline.
        component: A component with a DAG, such as the root.
        path: The names of the DAGs around it.
    """
    for name, task in component["dag"].get("tasks", {}).items():
        inner, below = spec["components"][task["componentRef"]["name"]], f"{path}/{name}".lstrip("/")
        if "dag" in inner:
            yield from leaves(spec, inner, below)
        else:
            yield below, name, inner["executorLabel"]


def check(spec: Mapping[str, Any], note: Callable[[str], None]) -> None:
    """Check that every task of a pipeline can run on this machine.

    Args:
        spec: The compiled pipeline.
        note: Is told what will run in another way than the spec asks.

    Raises:
        RequestError: a task cannot run here.
    """
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    for path, _, label in leaves(spec, spec["root"]):
        executor = executors.get(label, {})
        if "importer" in executor:
            continue
        container = executor.get("container")
        if container is None:
            raise RequestError(f"The task {path} has no container and is no importer. This machine runs neither.")
        if stand_in(container):
            note(f"{path}: {STAND_INS[_module(container)][0]}")
        elif _module(container).startswith(_GOOGLE):
            raise RequestError(
                f"The task {path} is an operator of google-cloud-pipeline-components, which runs on Google Cloud.\n"
                "Run the pipeline there, with --engine vertex, or leave the task out here."
            )
        elif not is_lightweight(container):
            raise RequestError(
                f"The task {path} runs the container image {container.get('image')!r}. This machine runs lightweight "
                "components only:\nfunctions with @dsl.component. Run the pipeline with --engine vertex, or write the "
                "task as such a function."
            )
        elif "accelerator" in container.get("resources", {}) and not _has_accelerator():
            note(f"{path}: the pipeline asks for an accelerator; this machine has none, the task runs on its CPUs")


def stand_in(container: Mapping[str, Any]) -> Callable[[Values, Job], str] | None:
    """Return what stands in for a container that cannot run here, None where nothing does.

    It is called with the task's inputs and the job, and returns what is shown.
    """
    return STAND_INS.get(_module(container), (None, None))[1]


def _module(container: Mapping[str, Any]) -> str:
    """Return the module of google-cloud-pipeline-components that a container runs, an empty text for none."""
    parts = (*container.get("command", ()), *container.get("args", ()))
    return next((part for part in parts if isinstance(part, str) and part.startswith(_GOOGLE)), "")


def _has_accelerator() -> bool:
    return os.path.exists("/dev/nvidia0") or shutil.which("nvidia-smi") is not None


def _email(inputs: Values, job: Job) -> str:
    """Return the e-mail that VertexNotificationEmailOp sends."""
    status = inputs.parameters["pipeline_task_final_status"]
    message = status.get("error", {}).get("message")
    recipients = ", ".join(inputs.parameters["recipients"])
    told = f": {message}" if message else ""
    return f"E-mail to {recipients}: {status['pipelineTaskName']} of {job.name} has ended: {status['state']}{told}"


# by the module that the container runs: what is done instead, in words, and the function that does it
STAND_INS: dict[str, tuple[str, Callable[[Values, Job], str]]] = {
    f"{_GOOGLE}container.v1.vertex_notification_email.executor": (
        "its e-mail is shown here instead of sent",
        _email,
    ),
}
