"""A parameter has one home, the step that takes it: its default, what it is, and its range.

The default stands in the step's signature; the description with its range stands in the step's docstring:

    max_leaf_nodes: Largest number of leaves of a tree, from 2 to 100,000.

A pipeline inherits both by @parameters_of, and what it describes or gives a default itself stays its own. The range is
what ends the first clause of the description after a comma:

    at least 2 | above 0 | between 0 and 1 (without the two) | from 1 to 10,000 (with both)

A clause ends at a semicolon or a full stop. So a range holds for any pipeline, also one that is a compiled spec only.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kfp.dsl.base_component import BaseComponent
from kfp.dsl.structures import InputSpec
from kfp.dsl.types import type_utils

Function = TypeVar("Function", bound=Callable[..., object])
NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
RANGE = re.compile(
    rf", (?P<text>at least (?P<least>{NUMBER})|above (?P<above>{NUMBER})"
    rf"|between (?P<after>{NUMBER}) and (?P<before>{NUMBER})|from (?P<first>{NUMBER}) to (?P<last>{NUMBER}))$"
)


@dataclass(frozen=True)
class Range:
    """The numbers that a parameter takes."""

    text: str  # as it is written
    low: float
    high: float
    is_open: bool  # whether the two ends are left out

    def __contains__(self, number: float) -> bool:
        return self.low < number < self.high if self.is_open else self.low <= number <= self.high


def range_of(description: str) -> Range | None:
    """Return the range that a parameter's description ends its first clause with; None where it has none."""
    first_clause = re.split(r"[;.](?:\s|$)", description, maxsplit=1)[0]
    found = RANGE.search(" ".join(first_clause.split()))
    if found is None:
        return None
    ends = {name: float(text.replace(",", "")) for name, text in found.groupdict().items() if text and name != "text"}
    low = ends.get("least", ends.get("above", ends.get("after", ends.get("first", 0.0))))
    high = ends.get("before", ends.get("last", float("inf")))
    return Range(found["text"], low, high, is_open="above" in ends or "after" in ends)


def parameters_of(*steps: BaseComponent) -> Callable[[Function], Function]:
    """Let a pipeline function inherit what its parameters are from its steps; it stands below @dsl.pipeline.

    A parameter without a default of its own gets that of the first of the steps that takes an input of its name, and
    one without a description in the docstring gets that step's. One that no step gives a default stays required, and
    stands before all that have one.

    Args:
        steps: The steps, in the order in which they are asked.
    """

    inputs: dict[str, InputSpec] = {}
    for step in reversed(steps):
        given = (step.component_spec.inputs or {}).items()
        inputs |= {name: found for name, found in given if type_utils.is_parameter_type(found.type)}

    def inherit(function: Function) -> Function:
        signature = inspect.signature(function)
        parameters = [
            parameter.replace(default=inputs[name].default)
            if parameter.default is parameter.empty and name in inputs and inputs[name].optional
            else parameter
            for name, parameter in signature.parameters.items()
        ]
        try:
            function.__dict__["__signature__"] = signature.replace(parameters=parameters)
        except ValueError:
            required = ", ".join(parameter.name for parameter in parameters if parameter.default is parameter.empty)
            raise ValueError(f"{function.__name__}: parameters without a default come first: {required}.") from None
        doc = inspect.getdoc(function) or ""
        function.__doc__ = _with_arguments(
            doc,
            {
                name: " ".join(inputs[name].description.split())
                for name in signature.parameters
                if name in inputs and inputs[name].description and not re.search(rf"^ +{name}\b.*:", doc, re.MULTILINE)
            },
        )
        return function

    return inherit


def _with_arguments(doc: str, described: dict[str, str]) -> str:
    """Return a docstring with more parameters at the beginning of its section of arguments."""
    if not described:
        return doc
    head, section, rest = doc.partition("Args:\n")
    indent = rest[: len(rest) - len(rest.lstrip(" "))] if section else "    "
    text = "\n".join(f"{indent}{name}: {description}" for name, description in described.items())
    if section:
        return f"{head}{section}{text}\n{rest}"
    head, section, rest = doc.partition("Returns:\n")
    return f"{head.rstrip()}\n\nArgs:\n{text}\n\n{section}{rest}".strip()
