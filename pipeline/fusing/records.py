"""The steps of a fused task that has ended, as tasks of the run: as if each had run by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel, Field

from pipeline import files
from pipeline.engines import Progress
from pipeline.engines.interpreter.executor import ArtifactList
from pipeline.engines.interpreter.iterators import label
from pipeline.fusing.running import RECORD, ROOT
from pipeline.graph import Fusion
from pipeline.runs import Name, Run, State, Task


class _Inputs(BaseModel):
    parameterValues: dict[str, Any] = Field(default_factory=dict)
    artifacts: dict[Name, ArtifactList] = Field(default_factory=dict)


class _Outputs(BaseModel):
    parameters: dict[str, Any] = Field(default_factory=dict)
    artifacts: dict[Name, list[dict[str, Any]]] = Field(default_factory=dict)


class _Step(BaseModel):
    """What has run of a step, as pipeline.fusing.running writes it."""

    name: Name
    place: int | None = None  # of the iteration
    item: Any = None
    state: State
    seconds: float | None = None
    error: str | None = None
    inputs: _Inputs = Field(default_factory=_Inputs)
    outputs: _Outputs = Field(default_factory=_Outputs)


@dataclass(frozen=True)
class Ran:
    """A step of a fused task as a task of its own."""

    task: Task
    inputs: dict[str, Any]  # KFP's ExecutorInput.Inputs
    artifacts: dict[str, SimpleNamespace]  # its output artifacts
    values: dict[str, Any]  # its output parameters


def steps(fusion: Fusion, fused: Task, record: Path, places: Mapping[str, Sequence[str]]) -> list[Ran]:
    """Return the steps of a fused task that has ended.

    Args:
        fusion: What it has run.
        fused: The task, with its final state and its error.
        record: Its record.
        places: The addresses of its own inputs and outputs, by their names.

    Raises:
        Damaged: the record cannot be read, or is none.
    """
    ran = files.read(record, list[_Step])
    places = {ROOT: [uri.rpartition("/")[0] for uri in places.get(RECORD, ())], **places}
    loop = fusion.plan.get("loop")
    is_unique = len({(step.name, str(label(step.item, step.place))) for step in ran}) == len(ran)
    found = []
    for step in ran:
        task = Task(
            name=step.name,
            item=label(step.item, step.place) if loop else fused.item,
            path=_path(fused, fusion, step.name, step.place),
            ambiguous=fusion.is_ambiguous(step.name, fused) or not is_unique,
            state=step.state if step.state != "running" else fused.state,
            seconds=0.0 if fused.cached else step.seconds,
            cached=fused.cached,
            error=step.error if step.state != "running" else fused.error,
            log=fused.log,
        )
        inputs = step.inputs.model_dump()
        outputs = {name: listed[0] for name, listed in step.outputs.artifacts.items() if listed}
        artifacts = {
            name: SimpleNamespace(
                uri=artifact["uri"],
                metadata=artifact.get("metadata", {}),
                schema_title=artifact.get("type", {}).get("schemaTitle", ""),
            )
            for name, artifact in _placed(outputs, places).items()
        }
        found.append(Ran(task, _placed(inputs, places), artifacts, step.outputs.parameters))
    return found


def skipped(fusion: Fusion, fused: Task) -> list[Ran]:
    """Return the steps of a fused task that was skipped."""
    found = []
    for step in fusion.plan["steps"]:
        name = step["name"]
        named = {"name": name, "path": _path(fused, fusion, name), "ambiguous": fusion.is_ambiguous(name, fused)}
        found.append(Ran(fused.model_copy(update=named), {}, {}, {}))
    return found


def take(ran: Sequence[Ran], fused: Task, run: Run, progress: Progress) -> bool:
    """Record the steps of a fused task that has ended in its place, and return whether they tell all of it.

    They do not where it has failed and none of them has: it stays then, as its error is nowhere else.
    """
    is_whole = fused.state != "failed" or any(step.task.state == "failed" for step in ran)
    if is_whole:
        run.remove(fused)
    for step in ran:
        if step.inputs:
            run.keep_inputs(step.task, step.inputs)
        run.start(step.task)
        run.end(step.task, step.artifacts, step.values)
        progress.ended(step.task)
    return is_whole


def _path(fused: Task, fusion: Fusion, name: str, place: int | None = None) -> str:
    """Return the path of a step, as it would be if it had run by itself."""
    within, _, _ = fused.path.rpartition("/")
    loop = fusion.plan.get("loop")
    parts = (within, loop["name"] if loop else "", "" if place is None else str(place), name)
    return "/".join(part for part in parts if part)


def _placed(value: Any, places: Mapping[str, Sequence[str]]) -> Any:
    """Return inputs or outputs with the addresses that the fused task's own have now."""
    if isinstance(value, list):
        return [_placed(each, places) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("of"), str) and value.get("uri") == "":
        name, _, place = value["of"].rpartition("/")
        try:
            uri = places[name][int(place)] + value["below"]
        except (LookupError, ValueError, TypeError):
            raise files.Damaged(f"it names {value['of'][:60]!r}, which the task does not have") from None
        return {key: of for key, of in value.items() if key not in ("of", "below")} | {"uri": uri}
    return {key: _placed(of, places) for key, of in value.items()}
