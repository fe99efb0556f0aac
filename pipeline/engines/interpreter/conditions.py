"""Conditions and selectors: CEL over a task's inputs, by Google's own implementation."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pipeline.engines.interpreter.values import SpecError, shortened, text


def is_met(condition: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether a trigger policy's condition holds for the parameters of a task.

    Raises:
        SpecError: it cannot be evaluated: a value is missing, or of a type that it cannot be compared with.
    """
    value = _evaluated(condition, {"inputs": {"parameter_values": dict(parameters)}})
    if not isinstance(value, bool):
        raise SpecError(f"the condition {condition} is {shortened(value)}, neither true nor false")
    return value


def selected(selector: str, value: Any) -> Any:
    """Return the part of a parameter that its expression selector names: parseJson(string_value)["a"].

    Raises:
        SpecError: the value has no such part.
    """
    return _evaluated(selector, {"string_value": text(value), "struct_value": value, "list_value": value})


def _evaluated(expression: str, data: dict[str, Any]) -> Any:
    from cel_expr_python import cel

    try:
        value = _compiled(expression).eval(data=data)
    except RuntimeError as error:  # it is no CEL
        raise SpecError(f"the expression {expression} cannot be read: {_first(str(error))}") from None
    if value.type() == cel.Type.ERROR:
        raise SpecError(f"the expression {expression} cannot be evaluated: {_first(value.plain_value())}")
    return value.plain_value()


@cache
def _compiled(expression: str) -> Any:
    return _environment().compile(expression)


@cache
def _environment() -> Any:
    from cel_expr_python import cel

    any_value, string = cel.Type.DYN, cel.Type.STRING
    parse_json = cel.Overload("parse_json", any_value, [string], is_member=False, impl=json.loads)
    return cel.NewEnv(
        variables={"inputs": any_value, "string_value": string, "struct_value": any_value, "list_value": any_value},
        functions=[cel.FunctionDecl("parseJson", [parse_json])],
    )


def _first(message: str) -> str:
    """Return the first line of CEL's message without its code."""
    return message.splitlines()[0].partition(": ")[2] or message
