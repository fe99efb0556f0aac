"""How many iterations the loops of a spec have, as far as that is known before a run."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline import graph
from pipeline.arguments import with_defaults
from pipeline.fusing.plans import Plan
from pipeline.fusing.running import key
from steps.searching.rungs import n_next

if TYPE_CHECKING:
    from steps.tables.schema import Schema

Found = Mapping[str, int]  # how many items a step puts out that a loop may go over, by the step's name
MOST_CANDIDATES = 200  # of a search; see propose-candidates
AT_MOST = {"choose-candidates", "choose-models"}  # steps of a search that may put out fewer


def found_before(spec: dict[str, Any], parameters: dict[str, Any], schema: "Schema | None" = None) -> Found:
    """Return how many items the steps of a spec will put out, of those of which that is known.

    Args:
        spec: The compiled spec.
        parameters: Values of the pipeline's parameters, those without a default among them.
        schema: What was seen of the table; None where it was not read.
    """
    known = with_defaults(spec["root"], parameters)
    found: dict[str, int] = {}
    for task in spec["root"]["dag"]["tasks"].values():
        for step, given in _steps(spec, task, known):
            if step == "prepare-data" and schema:
                found[step] = len(schema.model_codes(given.get("preset") or "fast"))
            elif step == "propose-candidates" and given.get("candidates"):
                found[step] = int(given["candidates"])
            elif step == "take-members" and given.get("members"):
                with contextlib.suppress(ValueError, KeyError, TypeError):  # of a text that is not a search's
                    found[step] = len(json.loads(given["members"])["members"])
    if "propose-candidates" in found:
        found |= dict.fromkeys(AT_MOST, n_next(found["propose-candidates"]))
    return found


def side_by_side(spec: dict[str, Any]) -> int:
    """Return how many candidates of a search a service runs side by side: each is on a machine of its own."""
    dag = spec["root"]["dag"]
    for task in dag["tasks"].values():
        if producer_of(spec, dag, task) == "propose-candidates":
            return int(task.get("iteratorPolicy", {}).get("parallelismLimit", 0)) or MOST_CANDIDATES
    return 1  # the loop has become one task


def _steps(
    spec: dict[str, Any], task: dict[str, Any], known: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the steps of a task, several of a fused one, with the values of their parameters that are known."""
    component = spec["components"][task["componentRef"]["name"]]
    if "executorLabel" not in component:
        return
    given = {
        name: source["runtimeValue"].get("constant")
        if "runtimeValue" in source
        else known.get(source.get("componentInputParameter"))
        for name, source in task.get("inputs", {}).get("parameters", {}).items()
    }
    values = with_defaults(component, given)
    plan = _plan(spec, component)
    if not plan:
        yield component["executorLabel"].removeprefix("exec-"), values
    for step in plan["steps"] if plan else ():
        taken = step["inputs"]["parameters"].items()
        yield step["executor"], {name: values.get(source["outer"]) for name, source in taken if "outer" in source}


def _plan(spec: dict[str, Any], component: dict[str, Any]) -> Plan | None:
    return graph.plan_of(spec["deploymentSpec"]["executors"][component["executorLabel"]].get("container", {}))


def producer_of(spec: dict[str, Any], dag: dict[str, Any], task: dict[str, Any]) -> str:
    """Return the name of the step that puts out what a loop goes over, in a fused task too; "" where none does."""
    given = task.get("inputs", {}).get("parameters", {})
    items = task.get("parameterIterator", {}).get("items", {})
    produced = given.get(items.get("inputParameter"), {}).get("taskOutputParameter")
    component = produced and spec["components"][dag["tasks"][produced["producerTask"]]["componentRef"]["name"]]
    if not component or "executorLabel" not in component:
        return ""
    plan = _plan(spec, component)
    if not plan:
        return str(component["executorLabel"]).removeprefix("exec-")
    put_out = produced["outputParameterKey"]
    of = {key(step["name"], output): step for step in plan["steps"] for output in step["outputs"]["parameters"]}
    return of[put_out]["executor"] if put_out in of else ""


def n_items(
    spec: dict[str, Any], dag: dict[str, Any], task: dict[str, Any], known: Mapping[str, Any], found: Found
) -> int | None:
    """Return how many iterations a task has, one where it is no loop; None where it is not known before.

    Args:
        spec: The compiled spec.
        dag: The DAG that the task is in.
        task: The task.
        known: Values of the DAG's parameters.
        found: What steps will put out.
    """
    iterator = task.get("parameterIterator") or task.get("artifactIterator")
    if not iterator:
        return 1
    given = task.get("inputs", {}).get("parameters", {}).get(iterator["items"].get("inputParameter"), {})
    raw = iterator["items"].get("raw")
    items = json.loads(raw) if raw else known.get(given.get("componentInputParameter"))
    return len(items) if isinstance(items, list) else found.get(producer_of(spec, dag, task))
