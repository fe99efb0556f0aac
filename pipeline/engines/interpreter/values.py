"""What tasks hand each other: parameters as plain JSON values, artifacts as KFP's RuntimeArtifacts."""

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pipeline.texts import shortened as shortened

SUCCEEDED, FAILED, SKIPPED = "SUCCEEDED", "FAILED", "SKIPPED"  # the states that a task may end in


class SpecError(Exception):
    """What the spec asks for is not there, or is not what it says; the message has no task's name."""


@dataclass
class Values:
    """Parameters by name, and artifacts by name: each an ArtifactList as KFP has it, of one artifact or of many."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a task has ended."""

    state: str
    outputs: Values = field(default_factory=Values)
    error: str = ""  # why it failed or was skipped


# of a task that was not started since the run had failed before, or was stopped
HELD_BACK = Ended(SKIPPED, error="the run had ended before")


def text(value: Any) -> str:
    """Return a value as KFP's driver writes it into a string."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{Decimal(repr(value)):f}"
    return json.dumps(value, ensure_ascii=False)


def typed(value: Any, parameter_type: str) -> Any:
    """Return a value as a parameter of a type; None stays None.

    Raises:
        SpecError: the value is none of this type.
    """
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match parameter_type:
        case "STRING":
            return text(value)
        case "NUMBER_INTEGER" if number and (isinstance(value, int) or value.is_integer()):
            return int(value)
        case "NUMBER_DOUBLE" if number:
            try:
                return float(value)
            except OverflowError:
                raise SpecError(f"expected a number of at most 1.8e308, not {shortened(value)}") from None
        case "BOOLEAN" if isinstance(value, bool):
            return value
        case "LIST" if isinstance(value, list):
            return _whole(value)
        case "STRUCT" | "TASK_FINAL_STATUS" | "TASK_CONFIG" if isinstance(value, dict):
            return _whole(value)
        case "NUMBER_INTEGER" | "NUMBER_DOUBLE" | "BOOLEAN" | "LIST" | "STRUCT" if isinstance(value, str):
            return typed(_parsed(value, parameter_type), parameter_type)
        case "NUMBER_INTEGER" | "NUMBER_DOUBLE" | "BOOLEAN" | "LIST" | "STRUCT":
            raise SpecError(f"expected {NAMES[parameter_type]}, not {shortened(value)}")
    return value


def _whole(value: Any) -> Any:
    """Return a list or an object with whole numbers where the backend's JSON has them: a Struct has doubles only."""
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


NAMES = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a list",
    "STRUCT": "an object",
}


def _parsed(value: str, parameter_type: str) -> Any:
    """Read the text of a value that is none: of a file, or of a list of texts that are numbers."""
    try:
        found = json.loads(value.strip().lower() if parameter_type == "BOOLEAN" else value)
    except ValueError:
        found = value
    if isinstance(found, str):
        raise SpecError(f"expected {NAMES[parameter_type]}, not {shortened(value)}")
    return found


def not_finite(value: Any, name: str) -> str | None:
    """Return what in a value JSON cannot hold, by its place, such as "loss is nan"; None if there is nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} is {value}"
    inner: Any = ()
    if isinstance(value, dict):
        inner = ((f"{name}[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, (list, tuple)):
        inner = ((f"{name}[{place}]", each) for place, each in enumerate(value))
    return next((told for place, each in inner if (told := not_finite(each, place))), None)
