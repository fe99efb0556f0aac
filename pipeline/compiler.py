"""A pipeline, a profile and an engine make one spec file; parameters are converted and checked against it."""

import difflib
import importlib
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from kfp.compiler import pipeline_spec_builder
from kfp.dsl.base_component import BaseComponent
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, PipelineSpec, PipelineTaskSpec

from pipeline import PIPELINES, RequestError, profiles

# parameters that a flag of its own settles, and that flag
FLAGS = {"source": "--data", "fingerprint": "--data", "label": "--label"}


def load(name: str) -> BaseComponent:
    """Return the pipeline of that name.

    Raises:
        RequestError: there is none.
    """
    if name not in PIPELINES:
        raise RequestError(f"--pipeline {name!r} is none of the pipelines: {', '.join(PIPELINES)}.")
    module, function = PIPELINES[name].split(":")
    return getattr(importlib.import_module(module), function)


def compile_pipeline(
    pipeline: BaseComponent,
    path: Path,
    engine: str = "local",
    profile: str = "standard",
    *,
    caching: bool = True,
    defaults: dict[str, Any] | None = None,
) -> None:
    """Write the spec of a pipeline as one YAML or JSON document.

    Args:
        pipeline: A function decorated with @dsl.pipeline.
        path: File to write, .yaml or .json.
        engine: local leaves out the machines and the retries; every task runs here, once.
        profile: Name of the profile that gives each step its machine and its retries.
        caching: Whether tasks may take their results from the engine's cache.
        defaults: Values that replace the defaults of the pipeline's parameters.

    Raises:
        RequestError: the file cannot be written or its name has another ending.
    """
    if path.suffix not in (".yaml", ".json"):
        raise RequestError(f"A spec is a .yaml or a .json file, not {path.name!r}. Name it with one of these endings.")
    spec = pipeline_spec_builder.modify_pipeline_spec_with_override(pipeline.pipeline_spec, None, defaults)
    if engine != "local":
        _set_machines(spec, profile)
    if not caching:
        for task in _tasks(spec):
            task.caching_options.enable_cache = False
    try:
        # libyaml's dumper: Python's own goes through the steps' sources character by character
        dump_all = partial(yaml.dump_all, Dumper=yaml.CDumper)
        with warnings.catch_warnings(), patch.object(yaml, "dump_all", dump_all):
            warnings.filterwarnings("ignore", "Compiling to JSON", DeprecationWarning)
            pipeline_spec_builder.write_pipeline_spec_to_file(
                spec, pipeline.description, pipeline.platform_spec, str(path)
            )
    except OSError as error:
        raise RequestError(f"Cannot write {path}: {error.strerror}. Name a file in a folder that exists.") from error


def _set_machines(spec: PipelineSpec, profile: str) -> None:
    for label, executor in spec.deployment_spec["executors"].items():
        if "container" in executor:
            limits = profiles.machine(profile, label.removeprefix("exec-"))
            executor["container"]["resources"] = {
                "resourceCpuLimit": str(limits.cpus),
                "resourceMemoryLimit": f"{limits.memory_gb}G",
                "cpuLimit": limits.cpus,  # the same for services older than the two above
                "memoryLimit": limits.memory_gb,
            }
    for task in _tasks(spec):
        executor_label = spec.components[task.component_ref.name].executor_label
        retries = profiles.retries(executor_label.removeprefix("exec-"))
        if executor_label and retries:
            policy = task.retry_policy
            policy.max_retry_count, policy.backoff_factor = retries, 2.0
            policy.backoff_duration.seconds, policy.backoff_max_duration.seconds = 60, 3600


def _tasks(spec: PipelineSpec) -> Iterator[PipelineTaskSpec]:
    for component in (spec.root, *spec.components.values()):
        yield from component.dag.tasks.values()


def arguments(pipeline: BaseComponent, assignments: Sequence[str]) -> dict[str, Any]:
    """Convert KEY=VALUE texts to the types of a pipeline's parameters.

    Raises:
        RequestError: a text has no =, names no parameter or one that has a flag, or its value has another type.
    """
    known = {
        name: parameter
        for name, parameter in pipeline.pipeline_spec.root.input_definitions.parameters.items()
        if name not in FLAGS
    }
    converted = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise RequestError(f"--set takes KEY=VALUE, not {assignment!r}. For example: --set max_iter=300")
        if name in FLAGS:
            raise RequestError(f"--set {assignment}: {name} follows from {FLAGS[name]}. Use that flag.")
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {nearest[0]}?" if nearest else ""
            raise RequestError(
                f"--set {assignment}: the pipeline has no parameter {name!r}.{hint}\n"
                f"Its parameters are: {', '.join(sorted(known))}."
            )
        converted[name] = _convert(assignment, text, known[name].parameter_type)
        condition = getattr(sys.modules[pipeline.pipeline_func.__module__], "CONDITIONS", {}).get(name)
        if condition and not condition[1](converted[name]):
            raise RequestError(f"--set {assignment}: expected a value {condition[0]}.")
    return converted


def _convert(assignment: str, text: str, parameter_type: int) -> Any:
    if "{{$" in text:
        raise RequestError(f"--set {assignment}: KFP would expand the {{{{$ in this text. Use another value.")
    if parameter_type == ParameterType.STRING:
        return text
    if parameter_type == ParameterType.LIST and not text.lstrip().startswith("["):
        return [text] if text else []
    expected, convert = CONVERSIONS[parameter_type]
    try:
        return convert(text)
    except (ValueError, KeyError):
        raise RequestError(f"--set {assignment}: expected {expected}, not {text!r}.") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _json(kind: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError
        return value

    return convert


CONVERSIONS: dict[int, tuple[str, Callable[[str], Any]]] = {
    ParameterType.NUMBER_INTEGER: ("a whole number", int),
    ParameterType.NUMBER_DOUBLE: ("a number", _finite),
    ParameterType.BOOLEAN: ("true or false", lambda text: {"true": True, "false": False}[text.lower()]),
    ParameterType.LIST: ("a JSON list", _json(list)),
    ParameterType.STRUCT: ("a JSON object", _json(dict)),
}


def resolved(pipeline: BaseComponent, given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters in the order of the signature: those given, else the defaults."""
    return {name: given.get(name, parameter.default) for name, parameter in pipeline.component_spec.inputs.items()}
