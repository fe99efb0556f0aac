"""The plan that a fused task carries in its source: its steps, and where the inputs of each come from."""

import ast
import base64
import json
import lzma
from functools import cache
from typing import Any, NotRequired, TypedDict

from steps.shipping import readable

NAME = "FUSED_STEPS"  # of the variable in a fused task's source that holds the plan


class Step(TypedDict):
    """A step of a fused task.

    An input comes from an input of the fused task (outer), from an output of an earlier step (of), or is the item of
    the loop (item). An artifact may be one of a list (list), or stand with others in what a fused loop has left
    (collected). Types are those of the step's component.
    """

    name: str
    function: str
    source: str
    executor: str  # what its executor is called, without exec-
    inputs: dict[str, dict[str, dict[str, Any]]]  # of "parameters" and "artifacts", by name
    outputs: dict[str, dict[str, Any]]  # types of "parameters" and "artifacts", by name


class Loop(TypedDict):
    """The loop whose iterations a fused task runs."""

    name: str
    items: dict[str, Any]  # {"outer": an input} or {"constant": a list}
    type: str  # of an item


class Plan(TypedDict):
    """What a fused task runs, in this order."""

    steps: list[Step]
    returns: list[list[str]]  # step and output of each parameter that the fused task puts out
    loop: NotRequired[Loop]


def packed(plan: Plan) -> str:
    """Return a plan as the Python that has it; sources have much in common, which takes its room once."""
    steps = [step | {"source": readable(step["source"])} for step in plan["steps"]]
    plan = plan | {"steps": steps}
    content = base64.b64encode(
        lzma.compress(json.dumps(plan, sort_keys=True).encode(), preset=9 | lzma.PRESET_EXTREME)
    ).decode()
    return f"import base64, json, lzma\n\n{NAME} = json.loads(lzma.decompress(base64.b64decode({content!r})))\n"


@cache
def of_source(source: str) -> Plan | None:
    """Return the plan that a task's source carries, None for a task that is not fused."""
    if f"\n{NAME} = " not in source:
        return None
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == NAME:
            constants = (part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant))
            content = next(value for value in constants if isinstance(value, str))
            plan: Plan = json.loads(lzma.decompress(base64.b64decode(content)))
            return plan
    return None
