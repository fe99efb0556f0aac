"""Who is told when a run ends: --notify.

On Vertex AI the spec gets an exit handler, so that the runs of a schedule tell, too: whatever the pipeline is, its
tasks become those of one sub-pipeline, and behind that, however it ends, follow the step notify and Google's operator
for e-mails. Here the command itself tells when the run has ended, by the modules of the same step.

The address of a webhook is a secret. A spec, a record or a line of output never has more of it than its host.
"""

import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from pipeline import RequestError, ending
from pipeline.loading import short_name
from pipeline.runs import Run
from pipeline.settings import Settings
from steps import notices
from steps.environment import BASE_IMAGE
from steps.notices import Ending, Undelivered, shown
from steps.notify import notify

WHOLE = "exit-handler-1"  # as KFP names the sub-pipeline
TASK = "notify"
AT_ONCE = 0.8  # seconds in which a message is to be on its way where a signal ends the command


@dataclass(frozen=True)
class Notice:
    """What the exit handler of a job is to know."""

    secrets: tuple[str, ...]
    mails: tuple[str, ...]
    pipeline: str
    identifier: str
    api: str  # address of Vertex AI in the region


def notice(settings: Settings, pipeline: str) -> Notice | None:
    """Return what the exit handler of a job is to know; None where nobody is to be told, or no job is made.

    Raises:
        RequestError: an address is of no use to a job.
    """
    check(settings)
    if not settings.notify or settings.chosen_engine()[0] == "local":
        return None
    settings.require("region")
    mails = tuple(each for each in settings.notify if is_mail(each))
    secrets = tuple(each for each in settings.notify if each not in mails)
    return Notice(secrets, mails, short_name(pipeline), settings.required("identifier"), settings.address_of_vertex)


def check(settings: Settings) -> None:
    """Refuse addresses that would be of no use, or in the open, where the run is to be.

    Raises:
        RequestError: there is one.
    """
    is_here = settings.chosen_engine()[0] == "local"
    for address in settings.notify:
        if is_here and is_mail(address):
            raise RequestError(
                f"--notify {address}: e-mails are sent by Vertex AI only, and this run is here. Leave it out, or give "
                "--engine vertex or the address of a webhook."
            )
        if not is_here and not (is_mail(address) or address.startswith("secret:")):
            raise RequestError(
                f"--notify {shown(address)}: on Vertex AI it would stand in the spec, where all who see the job read "
                'it, or be known here only.\nKeep it as a secret, and name that: printf %s "$URL" | gcloud secrets '
                "create NAME --data-file=-\nThen: --notify secret:projects/PROJECT/secrets/NAME"
            )
        if is_here and address.startswith("env:"):
            try:
                notices.resolved(address)
            except Undelivered as why:
                raise RequestError(f"--notify {address}: {why}. Set it to the address of a webhook.") from None


def is_mail(address: str) -> bool:
    """Return whether an address is one of e-mail."""
    return bool(re.fullmatch(r"[^@\s:/]+@[^@\s:/]+", address))


def notifying(spec: dict[str, Any], notice: Notice) -> dict[str, Any]:
    """Return a spec whose tasks are followed by those that tell how they have ended."""
    components, root = dict(spec.get("components", {})), spec["root"]
    name = next(each for number in range(len(components) + 1) if (each := f"comp-whole-{number + 1}") not in components)
    components[name] = root
    inputs = root.get("inputDefinitions", {})
    whole = {
        "componentRef": {"name": name},
        "taskInfo": {"name": WHOLE},
        "inputs": {
            kind: {key: {of_component: key} for key in inputs[kind]}
            for kind, of_component in (
                ("parameters", "componentInputParameter"),
                ("artifacts", "componentInputArtifact"),
            )
            if inputs.get(kind)
        },
    }
    tasks: dict[str, Any] = {WHOLE: whole}
    executors = dict(spec.get("deploymentSpec", {}).get("executors", {}))
    for component in _handlers(notice):
        added = json_format.MessageToDict(component.pipeline_spec)
        (task_name,) = (each for each in added["root"]["dag"]["tasks"] if each != WHOLE)
        task = added["root"]["dag"]["tasks"][task_name] | {"cachingOptions": {}}
        of_task = added["components"][task["componentRef"]["name"]]
        key = task["componentRef"]["name"]
        while key in components:
            key += "-of-exit"
        executor = added["deploymentSpec"]["executors"][of_task["executorLabel"]]
        label = f"exec-{key.removeprefix('comp-')}"
        if task_name == TASK:  # small, and tried again, since nothing else would tell
            limits = {"resourceCpuLimit": "1", "cpuLimit": 1.0, "resourceMemoryLimit": "4G", "memoryLimit": 4.0}
            executor["container"]["resources"] = limits
            task["retryPolicy"] = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0}
        executors[label] = executor
        components[key] = of_task | {"executorLabel": label}
        tasks[task_name] = task | {"componentRef": {"name": key}}
    dag: dict[str, Any] = {"tasks": tasks}
    if outputs := _outputs(root):
        dag["outputs"] = outputs
    new_root = {key: value for key, value in root.items() if key != "dag"} | {"dag": dag}
    return spec | {"root": new_root, "components": components, "deploymentSpec": {"executors": executors}}


def _outputs(root: dict[str, Any]) -> dict[str, Any]:
    """Return where the outputs of a pipeline come from, once its tasks are those of the one sub-pipeline."""
    defined = root.get("outputDefinitions", {})
    parameters = {
        name: {"valueFromParameter": {"producerSubtask": WHOLE, "outputParameterKey": name}}
        for name in defined.get("parameters", {})
    }
    artifacts = {
        name: {"artifactSelectors": [{"producerSubtask": WHOLE, "outputArtifactKey": name}]}
        for name in defined.get("artifacts", {})
    }
    return ({"parameters": parameters} if parameters else {}) | ({"artifacts": artifacts} if artifacts else {})


@dsl.component(base_image=BASE_IMAGE)
def _nothing() -> None:
    """Stand for the tasks that are told of."""


def _handlers(notice: Notice) -> list[BaseComponent]:
    """Return pipelines whose exit handlers are those that a spec gets, so that KFP itself writes them."""
    made: list[BaseComponent] = []
    if notice.secrets:

        @dsl.pipeline(name="told")
        def by_webhook() -> None:
            told = notify(
                addresses=list(notice.secrets),
                pipeline=notice.pipeline,
                identifier=notice.identifier,
                api=notice.api,
            )
            told.set_display_name("Notify")
            with dsl.ExitHandler(told):
                _nothing()

        made.append(by_webhook)
    if notice.mails:
        try:
            from google_cloud_pipeline_components.v1.vertex_notification_email import VertexNotificationEmailOp
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("google_cloud_pipeline_components"):
                raise
            raise RequestError(
                "--notify with an e-mail address needs google-cloud-pipeline-components, which is not installed here. "
                "Install what pyproject.toml names: pip install ."
            ) from None

        @dsl.pipeline(name="told")
        def by_mail() -> None:
            told = VertexNotificationEmailOp(recipients=list(notice.mails))
            told.set_display_name("Notify by e-mail")
            with dsl.ExitHandler(told):
                _nothing()

        made.append(by_mail)
    return made


def tell(settings: Settings, run: Run) -> list[str]:
    """Tell how a run has ended here, and return why messages were not delivered.

    One that a signal ends has no time for a second try.
    """
    ended = Ending(
        pipeline=short_name(run.pipeline),
        identifier=run.identifier,
        run=run.run_id,
        state=run.status,
        error=failure(run),
        seconds=run.seconds,
        figures=notices.figures_of(run.metrics or {}),
    )
    hurry: dict[str, Any] = {"tries": 1, "time_limit": AT_ONCE} if ending.came else {}
    problems = []
    for address in settings.notify:
        try:
            notices.send(address, ended, **hurry)
        except Undelivered as why:
            problems.append(str(why))
    return problems


def undelivered(run: Run) -> list[str]:
    """Return why the exit handler of a job could not deliver messages."""
    told = (task.values.get("Output") for task in run.tasks if task.name == TASK)
    return [text for text in told if isinstance(text, str) and text]


def failure(run: Run) -> str:
    """Return what has failed, as the console tells it."""
    failed = [task for task in run.tasks if task.state == "failed"]
    told = [f"{task.title} failed: {task.error or 'it ended without a message'}" for task in failed]
    return "\n".join([*told, *([run.error] if run.error else [])])
