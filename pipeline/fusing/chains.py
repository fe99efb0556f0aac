"""Which tasks of a DAG can become one: chains on one machine size that nobody beside them waits for in between."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from pipeline.engines.interpreter.executor import is_lightweight
from pipeline.engines.interpreter.iterators import iterates
from pipeline.engines.interpreter.scope import upstream
from pipeline.graph import packages

Spec = Mapping[str, Any]
# parameters that the service makes for each task by itself
OF_ONE_TASK = ("TASK_FINAL_STATUS", "TASK_CONFIG")


@dataclass(frozen=True)
class Group:
    """Tasks of a DAG that become one, in their order; or one loop, whose iterations do."""

    tasks: tuple[str, ...]
    is_loop: bool = False


def groups(spec: Spec, dag: Spec) -> list[Group]:
    """Return the groups of a DAG's tasks that become one task each.

    A task joins the chain before it if it runs on the same machine, image and variables, waits for the chain's last
    task and for nothing that was not there when the chain began, and if all that wait for the chain wait for it, too.
    The iterations of a loop become one task if they run on the machine of a task that the loop waits for, or that
    waits for it.
    """
    tasks = dag.get("tasks", {})
    before = {name: upstream(task) & tasks.keys() for name, task in tasks.items()}
    after = {name: {other for other in tasks if name in before[other]} for name in tasks}
    marks = {name: _mark(spec, task) for name, task in tasks.items()}
    # what a loop has collected is handed on to tasks only
    returned = {
        selector["producerSubtask"]
        for artifact in dag.get("outputs", {}).get("artifacts", {}).values()
        for selector in artifact["artifactSelectors"]
    }
    loops = [
        name
        for name, task in sorted(tasks.items())
        if (mark := _mark_of_loop(spec, task)) and mark in {marks[other] for other in before[name] | after[name]}
        if all(marks[other] for other in _takers(name, tasks)) and name not in returned
    ]
    chains: list[list[str]] = []
    for name in in_order(tasks):
        if marks[name] is None:
            continue
        chain = next((chain for chain in chains if _joins(spec, name, chain, tasks, marks, before, after)), None)
        if chain is None:
            chains.append([name])
        else:
            chain.append(name)
    unpacking = {other for name in loops for other in _takers(name, tasks)}  # what was collected comes as one artifact
    found = [Group(tuple(chain)) for chain in chains if len(chain) > 1 or chain[0] in unpacking]
    return found + [Group((name,), is_loop=True) for name in loops]


def in_order(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tasks of a DAG, each behind those that it waits for."""
    before = {name: sorted(upstream(tasks[name]) & tasks.keys()) for name in sorted(tasks)}
    return {name: tasks[name] for name in TopologicalSorter(before).static_order()}


def _joins(
    spec: Spec,
    name: str,
    chain: list[str],
    tasks: Mapping[str, Any],
    marks: Mapping[str, str | None],
    before: Mapping[str, set[str]],
    after: Mapping[str, set[str]],
) -> bool:
    if marks[name] != marks[chain[0]] or chain[-1] not in before[name]:
        return False
    if not before[name] <= {*chain} | _all(chain[0], before):
        return False
    waiting = {other for member in chain for other in after[member]} - {*chain, name}
    return waiting <= _all(name, after) and _agree(spec, [tasks[each] for each in (*chain, name)])


def _all(name: str, following: Mapping[str, set[str]]) -> set[str]:
    """Return all that are before a task, or all that are after it."""
    found: set[str] = set()
    to_see = [name]
    while to_see:
        new = following[to_see.pop()] - found
        found |= new
        to_see += new
    return found


def _takers(loop: str, tasks: Mapping[str, Any]) -> set[str]:
    """Return the tasks that take artifacts which a loop has collected."""
    return {
        name
        for name, task in tasks.items()
        for source in task.get("inputs", {}).get("artifacts", {}).values()
        if source.get("taskOutputArtifact", {}).get("producerTask") == loop
    }


def _mark(spec: Spec, task: Spec) -> str | None:
    """Return what tasks must share to become one, None for a task that stays alone."""
    component = spec["components"][task["componentRef"]["name"]]
    executor = spec["deploymentSpec"]["executors"].get(component.get("executorLabel"), {})
    container = executor.get("container", {})
    if (
        not is_lightweight(container)
        or iterates(task)
        or not task.get("triggerPolicy", {}).items() <= {("strategy", "ALL_UPSTREAM_TASKS_SUCCEEDED")}
    ):
        return None
    inputs, outputs = component.get("inputDefinitions", {}), component.get("outputDefinitions", {})
    if any(each.get("parameterType") in OF_ONE_TASK for each in inputs.get("parameters", {}).values()):
        return None
    if any(each.get("isArtifactList") for each in outputs.get("artifacts", {}).values()):
        return None
    sources = task.get("inputs", {})
    told = json.dumps([*sources.get("parameters", {}).values(), container.get("env", [])])
    # a text that the engine makes for this one task, of its inputs or its name
    if any(
        part in told for part in ("{{$.inputs", "{{$.pipeline_task", "parameterExpressionSelector", "taskFinalStatus")
    ):
        return None
    if any("artifactExpressionSelector" in each for each in sources.get("artifacts", {}).values()):
        return None
    return json.dumps([container.get(part) for part in ("image", "resources", "env")], sort_keys=True)


def _mark_of_loop(spec: Spec, task: Spec) -> str | None:
    """Return the mark of a loop's tasks, None where its iterations cannot become one task."""
    component = spec["components"][task["componentRef"]["name"]]
    inner = component.get("dag", {}).get("tasks", {})
    if "parameterIterator" not in task or not inner or "retryPolicy" in task or task.get("triggerPolicy"):
        return None
    if any("parameterExpressionSelector" in json.dumps(each.get("inputs", {})) for each in (task, *inner.values())):
        return None
    outputs = component["dag"].get("outputs", {})
    if any(len(each["artifactSelectors"]) != 1 for each in outputs.get("artifacts", {}).values()):
        return None
    if any("valueFromOneof" in each for each in outputs.get("parameters", {}).values()):
        return None
    marks = {_mark(spec, each) for each in inner.values()}
    if len(marks) > 1 or None in marks or not _agree(spec, [*inner.values()]):
        return None
    return marks.pop()


def _agree(spec: Spec, tasks: list[Spec]) -> bool:
    """Return whether the packages of tasks can be installed together: none of them in two versions."""
    asked: dict[str, str] = {}
    for task in tasks:
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        for package in packages(spec["deploymentSpec"]["executors"][label]["container"]):
            name = package.partition("==")[0].partition("[")[0].strip().lower().replace("_", "-")
            if asked.setdefault(name, package) != package:
                return False
    return True
