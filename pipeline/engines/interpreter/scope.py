"""Scope: what the inputs of a DAG's tasks resolve to."""

from dataclasses import dataclass
from typing import Any

from pipeline.engines.interpreter import conditions
from pipeline.engines.interpreter.placeholders import Job, expanded
from pipeline.engines.interpreter.values import FAILED, SKIPPED, Ended, SpecError, Values, shortened, text, typed

_CHANNEL = "pipelinechannel--"  # how the compiler names what a DAG is handed
_SOURCES = ("taskOutputParameter", "taskOutputArtifact", "taskFinalStatus")


def upstream(task: dict[str, Any]) -> set[str]:
    """Return the tasks of the same DAG that a task waits for."""
    inputs = task.get("inputs", {})
    sources = (*inputs.get("parameters", {}).values(), *inputs.get("artifacts", {}).values())
    producers = {source[kind]["producerTask"] for source in sources for kind in _SOURCES if kind in source}
    return producers | {*task.get("dependentTasks", ())}


def arguments(component: dict[str, Any], given: dict[str, Any]) -> Values:
    """Return the inputs of a pipeline: the values that are given, else the defaults, else None where it is optional.

    Raises:
        SpecError: a value is missing, unknown, or of another type.
    """
    defined = component.get("inputDefinitions", {})
    artifacts = [name for name, spec in defined.get("artifacts", {}).items() if not spec.get("isOptional")]
    if artifacts:
        raise SpecError(f"the pipeline takes artifacts, {', '.join(artifacts)}, which a run cannot be given")
    parameters = defined.get("parameters", {})
    missing = [name for name, spec in parameters.items() if name not in given and not _is_optional(spec)]
    if missing:
        raise SpecError(f"its parameter {', '.join(missing)} has no value")
    if unknown := sorted(given.keys() - parameters.keys()):
        raise SpecError(
            f"the pipeline has no parameter {', '.join(unknown)}; it has: {', '.join(parameters) or 'none'}"
        )
    return Values(completed(component, dict(given), "its parameter"))


@dataclass
class Scope:
    """One DAG while it runs: its inputs, and how those of its tasks have ended that have."""

    given: Values
    ended: dict[str, Ended]
    job: Job
    outer: "Scope | None" = None  # that of the DAG around this one

    def inputs(self, name: str, path: str, task: dict[str, Any], component: dict[str, Any]) -> Values:
        """Return the inputs of a task all of whose upstream tasks have ended.

        Args:
            name: Name of the task.
            path: The names of its DAGs and loops and its own.
            task: The task.
            component: Its component.

        Raises:
            SpecError: an input has no value, or one of another type.
        """
        defined, sources = component.get("inputDefinitions", {}), task.get("inputs", {})
        parameters = self._parameters(name, path, sources.get("parameters", {}), component)
        found = Values(completed(component, parameters, "its input"))
        for key, source in sources.get("artifacts", {}).items():
            artifacts = self._artifacts(source)
            if artifacts is not None:
                found.artifacts[key] = artifacts
            elif not defined.get("artifacts", {}).get(key, {}).get("isOptional"):
                raise SpecError(f"its input {key} has no artifact{self._why(source)}")
        return found

    def _parameters(self, name: str, path: str, sources: dict[str, Any], component: dict[str, Any]) -> dict[str, Any]:
        defined, is_dag = component.get("inputDefinitions", {}).get("parameters", {}), "dag" in component
        found, constants = {}, []
        for key, source in sources.items():
            if "runtimeValue" in source:
                found[key] = source["runtimeValue"].get("constant")
                constants.append(key)
                continue
            is_there, value = self._parameter(source)
            if is_there and value is not None and (selector := source.get("parameterExpressionSelector")):
                value = conditions.selected(selector, value)
            if is_there and value is not None:
                found[key] = value
            elif not (_is_optional(defined.get(key, {})) or is_dag):
                raise SpecError(f"its input {key} has no value{self._why(source)}")
        for key in constants:
            found[key] = expanded(found[key], self.job.names(name, path), found)
        return found

    def _parameter(self, source: dict[str, Any]) -> tuple[bool, Any]:
        """Return whether a source has a value, and the value."""
        if key := source.get("componentInputParameter"):
            if key in self.given.parameters:
                return True, self.given.parameters[key]
            return self._channel(key)
        if producer := source.get("taskOutputParameter"):
            values, key = self.ended[producer["producerTask"]].outputs.parameters, producer["outputParameterKey"]
            return key in values, values.get(key)
        return True, self._final_status(source["taskFinalStatus"]["producerTask"])

    def _channel(self, name: str) -> tuple[bool, Any]:
        """Return whether a channel that a DAG was not handed has a value in those around it, and the value.

        KFP's compiler hands on what it finds in an f-string under its name only: the item of a loop, or what a loop
        in an exit handler is over, is missing in the DAGs between. A channel has one name in a whole pipeline.
        """
        scope: Scope | None = self
        while scope:
            values = scope.given.parameters
            for key in (name, name.removeprefix(_CHANNEL)):
                if key in values:
                    return True, values[key]
            for task, how in scope.ended.items():
                key = name.removeprefix(f"{_CHANNEL}{task}-")
                if key in how.outputs.parameters:
                    return True, how.outputs.parameters[key]
            scope = scope.outer
        base, is_field, key = name.rpartition("-subvar-")
        if is_field:
            found, item = self._channel(base)
            if found and isinstance(item, dict) and key in item:
                return True, item[key]
        return False, None

    def _artifacts(self, source: dict[str, Any]) -> list[dict[str, Any]] | None:
        if "componentInputArtifact" in source:
            return self.given.artifacts.get(source["componentInputArtifact"])
        producer = source["taskOutputArtifact"]
        return self.ended[producer["producerTask"]].outputs.artifacts.get(producer["outputArtifactKey"])

    def _final_status(self, producer: str) -> dict[str, Any]:
        """Return a task's PipelineTaskFinalStatus."""
        ended = self.ended[producer]
        return {
            "state": ended.state,
            "pipelineJobResourceName": self.job.resource_name,
            "pipelineTaskName": producer,
            "error": {"code": 9, "message": ended.error} if ended.state == FAILED else {},
        }

    def _why(self, source: dict[str, Any]) -> str:
        """Return why a source has no value, where a task was to give it."""
        producer = (source.get("taskOutputParameter") or source.get("taskOutputArtifact") or {}).get("producerTask")
        if producer is None:
            return ""
        how = {FAILED: "failed", SKIPPED: "was skipped"}.get(self.ended[producer].state, "has not put it out")
        return f": {producer} {how}"


def _is_optional(spec: dict[str, Any]) -> bool:
    return bool(spec.get("isOptional")) or "defaultValue" in spec


def completed(component: dict[str, Any], found: dict[str, Any], what: str) -> dict[str, Any]:
    """Return parameters as the component defines them: of its types, and with its defaults.

    A step is not handed an optional one without a default; a DAG is handed None, which its tasks may name. What a DAG
    lacks is told by the task that needs it: the compiler defines inputs of DAGs that only what is inside them gives.

    Args:
        component: The component.
        found: Its parameters so far, which are changed.
        what: What a message calls one of them.

    Raises:
        SpecError: one has no value, or one of another type.
    """
    for key, spec in component.get("inputDefinitions", {}).get("parameters", {}).items():
        kind = spec.get("parameterType", "")
        try:
            if found.get(key) is not None:
                found[key] = typed(found[key], kind)
            elif "defaultValue" in spec:
                found[key] = typed(spec["defaultValue"], kind)
            elif "dag" in component and spec.get("isOptional"):
                found[key] = None
            elif not (spec.get("isOptional") or kind == "TASK_CONFIG" or "dag" in component):
                raise SpecError("it has no value")
        except SpecError as error:
            raise SpecError(f"{what} {key}: {error}") from None
        allowed = spec.get("literals")
        if allowed and found.get(key) is not None and found[key] not in allowed:
            choice = ", ".join(map(text, allowed))
            raise SpecError(f"{what} {key}: expected one of {choice}, not {shortened(found[key])}")
    return found
