"""The executor of a lightweight component: what it is handed, KFP's ExecutorInput, and what it has put out."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from pipeline import files
from pipeline.engines.interpreter.values import SpecError, Values, not_finite, shortened, typed

OUTPUT_FILE = "executor_output.json"  # in the task's folder; kfp's executor writes it


@dataclass(frozen=True)
class Command:
    """What a task is to execute: the command of a lightweight component, without its pip lines."""

    step: str  # name of its executor, without exec-
    source: str  # Python module with the step in it
    function: str
    executor_input: dict[str, Any]
    environment: dict[str, str]  # that the pipeline sets


def is_lightweight(container: Mapping[str, Any]) -> bool:
    """Return whether a container is a lightweight component's: a function whose source the spec carries."""
    command, args = container.get("command", ()), container.get("args", ())
    flags = {"--executor_input", "--function_to_execute"}
    return flags <= {*args} and len(command) > 1 and "kfp.dsl.executor_main" in command[-2]


def function(container: Mapping[str, Any]) -> str:
    """Return the name of the function that a lightweight component executes."""
    args = container["args"]
    return str(args[args.index("--function_to_execute") + 1])


def executor_input(component: Mapping[str, Any], inputs: Values, folder: Path) -> dict[str, Any]:
    """Return the ExecutorInput of a task.

    Args:
        component: The component of the task.
        inputs: The inputs of the task.
        folder: Folder of the task's outputs.
    """
    defined = component.get("outputDefinitions", {})
    outputs: dict[str, Any] = {"outputFile": str(folder / OUTPUT_FILE)}
    if parameters := defined.get("parameters"):
        outputs["parameters"] = {key: {"outputFile": str(folder / key)} for key in parameters}
    if artifacts := defined.get("artifacts"):
        outputs["artifacts"] = {
            key: {"artifacts": [_artifact(key, spec, str(folder / key))]} for key, spec in artifacts.items()
        }
    return {"inputs": inputs_of(inputs), "outputs": outputs}


def inputs_of(inputs: Values) -> dict[str, Any]:
    """Return inputs as KFP's ExecutorInput.Inputs."""
    artifacts = {key: {"artifacts": listed} for key, listed in inputs.artifacts.items()}
    return {"parameterValues": inputs.parameters} | ({"artifacts": artifacts} if artifacts else {})


@with_config(ConfigDict(extra="allow"))
class _ArtifactType(TypedDict, total=False):
    """KFP's ArtifactTypeSchema."""

    schemaTitle: str


@with_config(ConfigDict(extra="allow"))
class _RuntimeArtifact(TypedDict, total=False):
    """KFP's message of this name."""

    name: str
    type: _ArtifactType
    uri: str
    metadata: dict[str, Any]


class ArtifactList(BaseModel):
    """KFP's message of this name."""

    artifacts: list[_RuntimeArtifact]


class _Written(BaseModel):
    """KFP's ExecutorOutput."""

    parameters: dict[str, Any] = Field(default_factory=dict, alias="parameterValues")
    artifacts: dict[str, ArtifactList] = Field(default_factory=dict)


def outputs(component: Mapping[str, Any], folder: Path) -> Values:
    """Return what a task has put out, from its executor's output file and the files of its parameters.

    Args:
        component: The component of the task.
        folder: Folder of the task's outputs.

    Raises:
        SpecError: an output is not what the component defines, or holds what JSON cannot.
    """
    written = _Written()
    try:
        if (folder / OUTPUT_FILE).exists():
            written = files.read(folder / OUTPUT_FILE, _Written)
        texts = {
            key: files.text(folder / key)  # of an OutputPath
            for key in component.get("outputDefinitions", {}).get("parameters", {})
            if key not in written.parameters and (folder / key).is_file()
        }
    except files.Damaged as error:
        raise SpecError(f"what it has put out cannot be read: {error}") from None
    defined, found = component.get("outputDefinitions", {}), Values()
    for key, spec in defined.get("parameters", {}).items():
        if key in written.parameters:
            value = written.parameters[key]
        elif key in texts:
            value = texts[key]
        else:
            continue
        _check(value, f"its output {key}")
        try:
            found.parameters[key] = typed(value, spec.get("parameterType", ""))
        except SpecError as error:
            raise SpecError(f"its output {key}: {error}") from None
    for key, spec in defined.get("artifacts", {}).items():
        listed = written.artifacts[key].artifacts if key in written.artifacts else [{}]
        found.artifacts[key] = [_artifact(key, spec, str(folder / key)) | each for each in listed]
        for artifact in found.artifacts[key]:
            _check(artifact["metadata"], f"the metadata of its output {key}")
            _fetch_custom(artifact)
    return found


def _artifact(name: str, spec: Mapping[str, Any], uri: str) -> dict[str, Any]:
    """Return an output artifact as a RuntimeArtifact."""
    return {"name": name, "type": spec.get("artifactType", {}), "uri": uri, "metadata": dict(spec.get("metadata", {}))}


def _check(value: Any, name: str) -> None:
    if told := not_finite(value, name):
        raise SpecError(f"{told}, which JSON cannot hold. Put out a finite number, or none.")


def _fetch_custom(artifact: dict[str, Any]) -> None:
    """Bring what a step has written to a path of its own to the artifact's address, as a service does."""
    custom = artifact.pop("custom_path", None)
    source, target = Path(custom or ""), Path(artifact["uri"])
    if not custom or not source.exists() or "://" in artifact["uri"] or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)


def checked(found: Values, component: Mapping[str, Any]) -> Values:
    """Return outputs that came from elsewhere, such as a cache, if they are what the component defines.

    Raises:
        SpecError: one is missing, unknown or of another type.
    """
    defined = component.get("outputDefinitions", {})
    parameters, artifacts = defined.get("parameters", {}), defined.get("artifacts", {})
    if not found.parameters.keys() <= parameters.keys() or found.artifacts.keys() != artifacts.keys():
        raise SpecError(f"expected the outputs {', '.join((*parameters, *artifacts))}")
    for key, value in found.parameters.items():
        if typed(value, parameters[key].get("parameterType", "")) != value:
            raise SpecError(f"the output {key} is {shortened(value)}")
    for key, listed in found.artifacts.items():
        if any(artifact["type"] != artifacts[key].get("artifactType", {}) for artifact in listed):
            raise SpecError(f"the output {key} is of another type")
        if len(listed) != 1 and not artifacts[key].get("isArtifactList"):
            raise SpecError(f"the output {key} is {len(listed)} artifacts")
    return found
