"""A pipeline, a profile and an engine make one spec file; parameters are converted and checked against it."""

import contextlib
import difflib
import inspect
import json
import math
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.compiler import pipeline_spec_builder
from kfp.dsl.base_component import BaseComponent
from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType, PipelineSpec

from pipeline import RequestError, machines, packages
from pipeline.fusing.joining import fuse
from pipeline.loading import load as load  # a pipeline, by its name
from pipeline.models import PARAMETERS
from pipeline.parameters import Range, range_of
from pipeline.target import HERE, Target
from pipeline.texts import printable, shortened

MOST_SHOWN = 80  # characters of an assignment in a message
MOST_NESTED = 30  # levels of JSON: protocol buffers take 100 of their own, of which a level is two or three
MOST_DIGITS = 40
MOST_WHOLE = 2**53  # the service carries numbers as doubles, which have no larger whole ones exactly
WHOLE = Range(f"from -{MOST_WHOLE:,} to {MOST_WHOLE:,}", -MOST_WHOLE, MOST_WHOLE, is_open=False)

# parameters that a flag of its own settles where the pipeline takes a table, and that flag
FLAGS = {
    "source": "--data",
    "fingerprint": "--data",
    "label": "--label",
    "champion": "--identifier",
    "side_by_side": "--parallelism",
}
MODEL_FLAGS = dict.fromkeys(sorted(PARAMETERS), "--model")  # the same where it takes a trained model
SEARCH_FLAGS = dict.fromkeys(("from_search", "members"), "--from-search")  # and where it takes what a search has found


# tasks that put out a model, and whether it is promoted
PROMOTING = frozenset({"promote-model", "take-champion"})


def takes_table(pipeline: BaseComponent) -> bool:
    """Return whether a pipeline reads the table of --data; parameters of another are its own, whatever their names."""
    return {"source", "fingerprint"} <= (pipeline.component_spec.inputs or {}).keys()


def promotes(pipeline: BaseComponent) -> bool:
    """Return whether tasks that follow the promotion of a model can be added to a pipeline."""
    return hasattr(pipeline, "pipeline_func") and not PROMOTING.isdisjoint(pipeline.pipeline_spec.root.dag.tasks)


def takes_model(pipeline: BaseComponent) -> bool:
    """Return whether a pipeline uses the trained model of --model."""
    return MODEL_FLAGS.keys() <= (pipeline.component_spec.inputs or {}).keys()


def takes_search(pipeline: BaseComponent) -> bool:
    """Return whether a pipeline takes what the search of --from-search has found."""
    return SEARCH_FLAGS.keys() <= (pipeline.component_spec.inputs or {}).keys()


def compile_pipeline(
    pipeline: BaseComponent, path: Path, target: Target = HERE, *, defaults: dict[str, Any] | None = None
) -> None:
    """Write the spec of a pipeline to a .yaml or .json file; see compiled.

    Raises:
        RequestError: the file cannot be written or its name has another ending.
    """
    if path.suffix not in (".yaml", ".json"):
        raise RequestError(
            f"A spec is a .yaml or a .json file, not {shortened(path.name)}. Name it with one of these endings."
        )
    text = compiled(pipeline, target, defaults=defaults, ending=path.suffix)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        shown = printable(str(path), 2 * MOST_SHOWN)
        raise RequestError(f"Cannot write {shown}: {error.strerror}. Name a file in a folder that exists.") from error


def compiled(
    pipeline: BaseComponent,
    target: Target = HERE,
    *,
    defaults: dict[str, Any] | None = None,
    ending: str = ".yaml",
) -> str:
    """Return the spec of a pipeline as one YAML or JSON document.

    Args:
        pipeline: A function decorated with @dsl.pipeline.
        target: What it is compiled for.
        defaults: Values that replace the defaults of the pipeline's parameters.
        ending: .yaml or .json.

    Raises:
        RequestError: the pipeline has what JSON does not take.
    """
    spec = pipeline_spec_builder.modify_pipeline_spec_with_override(pipeline.pipeline_spec, None, defaults)
    if target.engine != "local":
        machines.set_machines(spec, target.profile)
        if target.parallelism:
            machines.limit_loops(spec, target.parallelism)
    if not target.caching:
        for task in machines.tasks(spec):
            task.caching_options.enable_cache = False
    return _text(pipeline, spec, ending, target)


class Dumper(yaml.CSafeDumper):
    """Writes text of several lines as they are, so that a step reads as its source; by libyaml, which is fast."""


def _represent_text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _represent_text)


def _text(pipeline: BaseComponent, spec: PipelineSpec, ending: str, target: Target) -> str:
    """Return a spec as kfp's compiler has it: as YAML with what the pipeline is in comments, or as JSON."""
    content = json_format.MessageToDict(spec)
    if target.fuse:
        content = fuse(content)
    if target.notice:
        from pipeline.notifying import notifying

        content = notifying(content, target.notice)
    content = packages.applied(content, target)
    platform = json_format.MessageToDict(pipeline.platform_spec)
    if ending == ".json":
        if platform:
            raise RequestError(
                f"{pipeline.name} has settings of a platform, which a .json file does not take. Name a .yaml."
            )
        return json.dumps(content, indent=2, sort_keys=True)
    comments = pipeline_spec_builder.extract_comments_from_pipeline_spec(content, pipeline.description)
    lines = (line if line.startswith("#") else f"# {line}" for line in comments.splitlines())  # of defaults, too
    documents = [content, platform] if platform else [content]
    written = yaml.dump_all(documents, Dumper=Dumper, sort_keys=True, allow_unicode=True, width=120)
    return "\n".join([*lines, written])


def arguments(pipeline: BaseComponent, assignments: Sequence[str]) -> dict[str, Any]:
    """Convert KEY=VALUE texts to the types of a pipeline's parameters.

    Raises:
        RequestError: a text has no =, names no parameter or one that has a flag, or its value has another type.
    """
    flags = FLAGS if takes_table(pipeline) else {}
    flags = flags | (MODEL_FLAGS if takes_model(pipeline) else {}) | (SEARCH_FLAGS if takes_search(pipeline) else {})
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    known = {name: parameter for name, parameter in parameters.items() if name not in flags}
    items = _types_of_items(pipeline)
    converted: dict[str, Any] = {}
    for assignment in assignments:
        shown = f"--set {printable(assignment, MOST_SHOWN)}"
        name, equals, text = assignment.partition("=")
        if not equals:
            raise RequestError(f"--set takes KEY=VALUE, not {shortened(assignment)}. For example: --set max_iter=300")
        if name in flags:
            raise RequestError(f"{shown}: {name} follows from {flags[name]}. Use that flag.")
        if name not in known:
            nearest = difflib.get_close_matches(name[:MOST_SHOWN], known, n=1)
            hint = f" Did you mean {nearest[0]}?" if nearest else ""
            raise RequestError(
                f"{shown}: the pipeline has no parameter {shortened(name)}.{hint}\n"
                f"Its parameters are: {', '.join(sorted(known)) or 'none'}."
            )
        kind = known[name].parameter_type
        if name in converted and kind != ParameterType.LIST:
            raise RequestError(f"{shown}: {name} is given twice. Leave one out.")
        try:
            value = _convert(text, kind, items.get(name))
            _check_text(value)
        except WrongValue as wrong:
            raise RequestError(f"{shown}: {wrong}") from None
        limits = _limits(known[name].description, kind)
        if limits and value not in limits:
            raise RequestError(f"{shown}: expected a value {limits.text}.")
        converted[name] = converted.get(name, []) + value if kind == ParameterType.LIST else value
    return converted


def _limits(description: str, kind: int) -> Range | None:
    found = range_of(description) if kind in NUMBERS else None
    return found or (WHOLE if kind == ParameterType.NUMBER_INTEGER else None)


class WrongValue(Exception):
    """A value does not fit its parameter; the message says why."""


def _types_of_items(pipeline: BaseComponent) -> dict[str, type]:
    """Return the type of the items of each List[…] parameter, which a spec alone does not tell."""
    function = getattr(pipeline, "pipeline_func", getattr(pipeline, "python_func", None))
    annotations = (
        {name: found.annotation for name, found in inspect.signature(function).parameters.items()} if function else {}
    )
    of_items: dict[str, type] = {}
    for name, annotation in annotations.items():
        lists = (each for each in (annotation, *typing.get_args(annotation)) if typing.get_origin(each) is list)
        items = typing.get_args(next(lists, None))  # of Optional[List[int]] too
        kind = typing.get_origin(items[0]) or items[0] if items else None
        if isinstance(kind, type):
            of_items[name] = kind
    return of_items


def _convert(text: str, kind: int, item: type | None) -> Any:
    if "{{$" in text:
        raise WrongValue("KFP would expand the {{$ in this text. Use another value.")
    if kind == ParameterType.STRING:
        return text
    if kind == ParameterType.LIST:
        return _list(text, item)
    expected, convert = CONVERSIONS[kind]
    try:
        return convert(text)
    except (ValueError, KeyError):
        raise WrongValue(f"expected {expected}, not {shortened(text)}.") from None


def _list(text: str, item: type | None) -> list[Any]:
    """Convert a JSON list, or one item of it as it is; item is the type of all, None for any."""
    if not text:
        return []
    of_items = OF_ITEMS.get(item, ParameterType.STRING)
    if item is None and not text.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # a spec alone does not tell the type
            return [_json(text)]
    if not text.lstrip().startswith("[") or (item is list and not text.lstrip().startswith("[[")):
        value = _convert(text, of_items, None)
        return [_checked(value) if of_items == ParameterType.NUMBER_INTEGER else value]
    try:
        values: list[Any] = _json(text)
    except ValueError:
        raise WrongValue(f"expected a JSON list, not {shortened(text)}.") from None
    wrong = [value for value in values if item and type(value) is not item and (item, type(value)) != (float, int)]
    if item and wrong:
        expected = "text in quotes" if item is str else CONVERSIONS[of_items][0] if item in OF_ITEMS else item.__name__
        raise WrongValue(f"expected a list whose items are each {expected}, not {shortened(wrong[0])}.")
    return values


def _json(text: str) -> Any:
    """Read JSON as any engine can hand it on.

    Raises:
        ValueError: it is no JSON, or a number is none that JSON has.
        WrongValue: it is nested too deeply.
    """
    try:
        value = json.loads(
            text, parse_constant=_no_number, parse_float=_finite, parse_int=lambda digits: _checked(_integer(digits))
        )
        too_deep = _depth(value) > MOST_NESTED
    except RecursionError:
        too_deep = True
    if too_deep:
        raise WrongValue(f"expected JSON that is nested at most {MOST_NESTED} deep.")
    return value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _check_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise WrongValue("expected text in UTF-8.") from None


def _no_number(text: str) -> float:
    raise ValueError(text)


def _integer(text: str) -> int:
    digits = text.strip().lstrip("+-")
    if len(digits) > MOST_DIGITS and digits.isdigit():  # Python does not read one of thousands of digits
        text = text.strip()[: -len(digits)] + "9" * MOST_DIGITS
    return int(text)


def _checked(value: int) -> int:
    if value not in WHOLE:
        raise WrongValue(f"expected whole numbers {WHOLE.text}.")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _json_object(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


CONVERSIONS: dict[int, tuple[str, Callable[[str], Any]]] = {
    ParameterType.NUMBER_INTEGER: ("a whole number", _integer),
    ParameterType.NUMBER_DOUBLE: ("a number", _finite),
    ParameterType.BOOLEAN: ("true or false", lambda text: {"true": True, "false": False}[text.lower()]),
    ParameterType.STRUCT: ("a JSON object", _json_object),
}
NUMBERS = (ParameterType.NUMBER_INTEGER, ParameterType.NUMBER_DOUBLE)
OF_ITEMS: dict[type | None, int] = {
    str: ParameterType.STRING,
    int: ParameterType.NUMBER_INTEGER,
    float: ParameterType.NUMBER_DOUBLE,
    bool: ParameterType.BOOLEAN,
    dict: ParameterType.STRUCT,
    list: ParameterType.LIST,
}


def resolved(pipeline: BaseComponent, given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters in the order of the signature: those given, else the defaults."""
    return {
        name: given.get(name, parameter.default) for name, parameter in (pipeline.component_spec.inputs or {}).items()
    }
