"""How many CPUs the tasks of a spec hold at once, which a project has a quota for."""

import json
import math
from dataclasses import dataclass
from typing import Any

from pipeline.graph import GOOGLE_IMAGE

PREPARE = "exec-prepare-data"  # whose output holds the classes, over which a loop may go
# of e2-highmem, which has the most memory for its CPUs, and e2-standard; what is larger is none of these
E2 = {2: 16, 4: 32, 8: 64, 16: 128, 32: 128}
DEFAULT_CPUS, DEFAULT_GB = 4, 16  # of a task that asks for nothing


@dataclass(frozen=True)
class Need:
    """What the tasks that run side by side hold together."""

    least: int = 0  # CPUs
    most: int = 0  # where the service gives the next larger machine for one of 2 CPUs, which is not known
    loops: tuple[str, ...] = ()  # of which one iteration is counted, as how many there are is not known

    def __add__(self, other: "Need") -> "Need":
        return Need(self.least + other.least, self.most + other.most, self.loops + other.loops)


def at_once(spec: dict[str, Any], n_classes: int | None = None, parallelism: int | None = None) -> Need:
    """Return what the tasks of a spec hold at once, each starting as soon as those that it depends on have ended.

    Args:
        spec: The compiled spec.
        n_classes: How many classes the table has; None where that is not known.
        parallelism: How many iterations of a loop run at once at most, beside what the spec says.
    """
    return _of_dag(spec, spec["root"]["dag"], n_classes, parallelism)


def _of_dag(spec: dict[str, Any], dag: dict[str, Any], n_classes: int | None, parallelism: int | None) -> Need:
    tasks, depths, levels = dag.get("tasks", {}), {}, {}

    def depth(name: str) -> int:
        if name not in depths:
            before = tasks[name].get("dependentTasks", ())
            depths[name] = 1 + max(map(depth, tasks.keys() & {*before}), default=0)
        return depths[name]

    for name, task in tasks.items():
        needed = _of_task(spec, dag, name, task, n_classes, parallelism)
        levels[depth(name)] = levels.get(depth(name), Need()) + needed
    largest = max(levels.values(), key=lambda need: need.most, default=Need())
    return Need(largest.least, largest.most, tuple(loop for need in levels.values() for loop in need.loops))


def _of_task(
    spec: dict[str, Any],
    dag: dict[str, Any],
    name: str,
    task: dict[str, Any],
    n_classes: int | None,
    parallelism: int | None,
) -> Need:
    component = spec["components"][task["componentRef"]["name"]]
    if "dag" not in component:
        return _of_container(spec["deploymentSpec"]["executors"].get(component["executorLabel"], {}).get("container"))
    inner = _of_dag(spec, component["dag"], n_classes, parallelism)
    if not {"parameterIterator", "artifactIterator"} & task.keys():
        return inner
    number = _n_items(spec, dag, task, n_classes)
    limit = int(task.get("iteratorPolicy", {}).get("parallelismLimit", 0)) or math.inf
    count = min(1 if number is None else number, limit, parallelism or math.inf)
    loops = (name,) if number is None else ()
    return Need(inner.least * count, inner.most * count, inner.loops + loops)


def _n_items(spec: dict[str, Any], dag: dict[str, Any], task: dict[str, Any], n_classes: int | None) -> int | None:
    """Return how many iterations a loop has; None where that is not known before."""
    items = task.get("parameterIterator", {}).get("items", {})
    if "raw" in items:
        return len(json.loads(items["raw"]))
    given = task.get("inputs", {}).get("parameters", {}).get(items.get("inputParameter"), {})
    producer = dag["tasks"].get(given.get("taskOutputParameter", {}).get("producerTask"))
    is_of_classes = producer and spec["components"][producer["componentRef"]["name"]].get("executorLabel") == PREPARE
    return n_classes if is_of_classes else None


def _of_container(container: dict[str, Any] | None) -> Need:
    """Return the CPUs of the smallest machine of type E2 that a container fits on, as the service takes the nearest."""
    if container is None or container.get("image", "").startswith(GOOGLE_IMAGE):  # it has no machine of its own
        return Need()
    resources = container.get("resources", {})
    cpus, memory = resources.get("cpuLimit") or DEFAULT_CPUS, resources.get("memoryLimit") or DEFAULT_GB
    number = next((n for n, gb in E2.items() if n >= cpus and gb >= memory), math.ceil(cpus))
    return Need(number, 4 if number == 2 else number)
