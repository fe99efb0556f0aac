"""How many CPUs the tasks of a spec hold at once, which a project has a quota for."""

import math
import re
from dataclasses import dataclass
from typing import Any

from pipeline import graph, prices
from pipeline.graph import GOOGLE_IMAGE
from pipeline.loops import Found, n_items


@dataclass(frozen=True)
class Need:
    """What the tasks that run side by side hold together."""

    least: int = 0  # CPUs
    most: int = 0  # where the service gives the next larger machine for one of 2 CPUs, which is not known
    loops: tuple[str, ...] = ()  # of which one iteration is counted, as how many there are is not known

    def __add__(self, other: "Need") -> "Need":
        return Need(self.least + other.least, self.most + other.most, self.loops + other.loops)


def at_once(
    spec: dict[str, Any],
    found: Found | None = None,
    parallelism: int | None = None,
    parameters: dict[str, Any] | None = None,
) -> Need:
    """Return what the tasks of a spec hold at once, each starting as soon as those that it depends on have ended.

    Args:
        spec: The compiled spec.
        found: How many items steps will put out that loops go over; see pipeline.loops.
        parallelism: How many iterations of a loop run at once at most, beside what the spec says.
        parameters: Values of the pipeline's parameters.
    """
    return _of_dag(spec, spec["root"]["dag"], found or {}, parallelism, parameters or {})


def _of_dag(
    spec: dict[str, Any],
    dag: dict[str, Any],
    found: Found,
    parallelism: int | None,
    known: dict[str, Any],
) -> Need:
    tasks = dag.get("tasks", {})
    depths: dict[str, int] = {}
    levels: dict[int, Need] = {}

    def depth(name: str) -> int:
        if name not in depths:
            before = tasks[name].get("dependentTasks", ())
            depths[name] = 1 + max(map(depth, tasks.keys() & {*before}), default=0)
        return depths[name]

    for name, task in tasks.items():
        needed = _of_task(spec, dag, name, task, found, parallelism, known)
        levels[depth(name)] = levels.get(depth(name), Need()) + needed
    largest = max(levels.values(), key=lambda need: need.most, default=Need())
    return Need(largest.least, largest.most, tuple(loop for need in levels.values() for loop in need.loops))


def _of_task(
    spec: dict[str, Any],
    dag: dict[str, Any],
    name: str,
    task: dict[str, Any],
    found: Found,
    parallelism: int | None,
    known: dict[str, Any],
) -> Need:
    component = spec["components"][task["componentRef"]["name"]]
    if "dag" not in component:
        return _of_container(spec["deploymentSpec"]["executors"].get(component["executorLabel"], {}).get("container"))
    inner = _of_dag(spec, component["dag"], found, parallelism, {})
    if not {"parameterIterator", "artifactIterator"} & task.keys():
        return inner
    number = n_items(spec, dag, task, known, found)
    limits = [int(task.get("iteratorPolicy", {}).get("parallelismLimit", 0)), parallelism]
    count = min([1 if number is None else number, *(limit for limit in limits if limit)])
    loops = (name,) if number is None else ()
    return Need(inner.least * count, inner.most * count, inner.loops + loops)


def _of_container(container: dict[str, Any] | None) -> Need:
    """Return the CPUs of the smallest machine of type E2 that a container fits on, as the service takes the nearest."""
    if container is None or container.get("image", "").startswith(GOOGLE_IMAGE):  # it has no machine of its own
        return Need()
    limits = graph.limits(container.get("resources", {}))
    kind = prices.machine_type(limits["cpus"], limits["memory"])
    asked = re.match(r"[0-9.]+", limits["cpus"])
    number = prices.E2[kind].cpus if kind else math.ceil(float(asked[0])) if asked else 0
    return Need(number, 4 if number == 2 else number)
