"""How large --executor_input is on the service: one argument of a task's command, with all that the task is given.

It holds the values of the parameters and, of each artifact, the address and the metadata. This machine passes no such
argument, so that what is too large there works here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

MAX_BYTES = 131_071  # of one argument of a command: MAX_ARG_STRLEN of linux/binfmts.h
# of an artifact beside its metadata: its address below the root of the job, its name in ML Metadata, and its type
ADDRESS_BYTES = 600
ARTIFACT_BYTES = 1_000  # of one whose metadata is not known before, such as one of many that were collected
TABLE_BYTES = 600  # of the metadata of a table or a model beside that: roles of columns, words for what is missing
FIGURES_BYTES = 450  # of a class among Metrics: nine figures with their names


def size_of(executor_input: Mapping[str, Any]) -> int:
    """Return how many bytes an ExecutorInput of this machine has on the service, where addresses are longer."""
    parts = (executor_input.get("inputs", {}), executor_input.get("outputs", {}))
    n_artifacts = sum(len(listed["artifacts"]) for part in parts for listed in part.get("artifacts", {}).values())
    return _n_bytes(executor_input) + n_artifacts * ADDRESS_BYTES


def estimates(
    spec: Mapping[str, Any], parameters: Mapping[str, Any], classes: Mapping[str, int] | None = None
) -> Iterator[tuple[str, int]]:
    """Yield the tasks of a spec with the bytes that their arguments will have, as far as that is known before.

    What a step will put out, as a parameter or into metadata, is not: an artifact counts with some hundred bytes.

    Args:
        spec: The compiled spec.
        parameters: Values of the pipeline's parameters, those without a default among them.
        classes: The classes of the table with their counts, which go along in metadata, and which a loop over what a
            step finds has as many iterations as; none, where they are not known.
    """
    yield from _of_dag(spec, spec["root"], with_defaults(spec["root"], parameters), classes or {}, "")


def _of_dag(
    spec: Mapping[str, Any], dag: Mapping[str, Any], known: Mapping[str, Any], classes: Mapping[str, int], within: str
) -> Iterator[tuple[str, int]]:
    tasks = dag["dag"].get("tasks", {})
    for name, task in tasks.items():
        component, path = spec["components"][task["componentRef"]["name"]], f"{within}{name}"
        inputs = task.get("inputs", {})
        given = _values(inputs.get("parameters", {}), known)
        values = with_defaults(component, given | _longest_item(task, given))
        if "dag" in component:
            yield from _of_dag(spec, component, values, classes, f"{path}/")
            continue
        n_bytes = _n_bytes(values)
        defined = component.get("inputDefinitions", {}).get("artifacts", {})
        for key, source in inputs.get("artifacts", {}).items():
            number = 1
            if producer := source.get("taskOutputArtifact"):
                of, output = tasks[producer["producerTask"]], producer["outputArtifactKey"]
                number = n_artifacts(spec, of, output, len(classes) or 1)
            title = defined.get(key, {}).get("artifactType", {}).get("schemaTitle", "")
            n_bytes += number * ARTIFACT_BYTES + (_metadata(title, classes) if number == 1 else 0)
        outputs = component.get("outputDefinitions", {})
        yield path, n_bytes + ARTIFACT_BYTES * sum(len(of_kind) for of_kind in outputs.values())


def _metadata(schema_title: str, classes: Mapping[str, int]) -> int:
    """Return the bytes of the metadata of a table, a model or figures, which name the classes."""
    if schema_title == "system.Metrics":
        return FIGURES_BYTES * len(classes)
    return TABLE_BYTES + _n_bytes(classes) if schema_title in ("system.Dataset", "system.Model") else 0


def with_defaults(component: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a component's parameters, the defaults where none are given."""
    defined = component.get("inputDefinitions", {}).get("parameters", {})
    return {key: each["defaultValue"] for key, each in defined.items() if "defaultValue" in each} | dict(values)


def _values(inputs: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a task, None for what an earlier one will put out."""
    return {
        key: each["runtimeValue"].get("constant")
        if "runtimeValue" in each
        else known.get(each.get("componentInputParameter"))
        for key, each in inputs.items()
    }


def _longest_item(task: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the largest item of a loop under the name of the input that takes it; nothing where it is not known."""
    iterator = task.get("parameterIterator")
    if not iterator:
        return {}
    raw = iterator.get("items", {}).get("raw")
    items = json.loads(raw) if raw else given.get(iterator.get("items", {}).get("inputParameter"))
    return {iterator["itemInput"]: max(items, key=_n_bytes)} if isinstance(items, list) and items else {}


def n_artifacts(spec: Mapping[str, Any], task: Mapping[str, Any], key: str, items: int = 1) -> int:
    """Return how many artifacts an output of a task holds at least.

    Args:
        spec: The compiled spec.
        task: The task.
        key: Name of the output.
        items: Iterations of a loop over what will be found.
    """
    component = spec["components"][task["componentRef"]["name"]]
    if "dag" not in component:
        return 1
    raw = task.get("parameterIterator", {}).get("items", {}).get("raw")
    number = len(json.loads(raw)) if raw else items if "parameterIterator" in task else 1
    selectors = component["dag"].get("outputs", {}).get("artifacts", {}).get(key, {}).get("artifactSelectors", ())
    inner = []
    for selector in selectors:
        producer = component["dag"]["tasks"][selector["producerSubtask"]]
        may_be_skipped = len(selectors) == 1 and "condition" in producer.get("triggerPolicy", {})
        inner.append(0 if may_be_skipped else n_artifacts(spec, producer, selector["outputArtifactKey"], items))
    return number * min(inner, default=0)  # of several, OneOf takes the one that has run


def _n_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
