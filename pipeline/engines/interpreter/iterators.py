"""Iterators: the items of a loop, and what each of its iterations gets."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from pipeline.engines.interpreter.values import SpecError, Values, shortened, typed

MAX_LENGTH = 60  # of an item that a task is shown with


def iterates(task: Mapping[str, Any]) -> bool:
    """Return whether a task is a loop."""
    return "parameterIterator" in task or "artifactIterator" in task


def iterations(task: dict[str, Any], component: dict[str, Any], inputs: Values) -> list[tuple[Any, Values]]:
    """Return the iterations of a loop, each as what it is shown with and its inputs.

    Args:
        task: The task with the iterator.
        component: What is run for each item.
        inputs: The inputs of the task.

    Raises:
        SpecError: the items are no list.
    """
    if iterator := task.get("artifactIterator"):
        name = iterator["items"]["inputArtifact"]
        if name not in inputs.artifacts:
            raise SpecError(f"a loop needs a list of artifacts, and its input {name} has none")
        artifacts = inputs.artifacts[name]
        return [
            (place, Values(inputs.parameters, inputs.artifacts | {iterator["itemInput"]: [artifact]}))
            for place, artifact in enumerate(artifacts)
        ]
    iterator = task["parameterIterator"]
    name = iterator["itemInput"]
    defined = component.get("inputDefinitions", {}).get("parameters", {}).get(name, {})
    items = [typed(item, defined.get("parameterType", "")) for item in _items(iterator["items"], inputs)]
    return [
        (label(item, place), Values(inputs.parameters | {name: item}, inputs.artifacts))
        for place, item in enumerate(items)
    ]


def parallelism(task: dict[str, Any], n_items: int) -> int:
    """Return how many iterations of a loop may run at once."""
    return int(task.get("iteratorPolicy", {}).get("parallelismLimit", 0)) or n_items


def _items(source: dict[str, Any], inputs: Values) -> list[Any]:
    items = source["raw"] if "raw" in source else inputs.parameters.get(source["inputParameter"])
    if isinstance(items, str):
        with contextlib.suppress(ValueError):
            items = json.loads(items)
    if not isinstance(items, list):
        raise SpecError(f"a loop needs a list of items, not {shortened(items)}")
    return items


def label(item: Any, place: int | None) -> Any:
    """Return an item where it is short, else its place."""
    if isinstance(item, str):
        return item if len(item) <= MAX_LENGTH and item.isprintable() else place
    if isinstance(item, float) and item.is_integer():
        return int(item)
    return item if isinstance(item, (int, float)) else place
