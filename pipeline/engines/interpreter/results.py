"""Results: what a DAG puts out of what its tasks have put out, and a loop of what its iterations have."""

from typing import Any

from pipeline.engines.interpreter.values import SUCCEEDED, Ended, Values


def of_dag(component: dict[str, Any], ended: dict[str, Ended]) -> Values:
    """Return the outputs of a DAG; of a OneOf, those of the branch that has run.

    Args:
        component: The component of the DAG.
        ended: How its tasks have ended.
    """
    outputs, found = component["dag"].get("outputs", {}), Values()
    for key, output in outputs.get("parameters", {}).items():
        selectors = output.get("valueFromOneof", {}).get("parameterSelectors") or [output["valueFromParameter"]]
        for selector in selectors:
            put_out = _outputs(ended, selector).parameters
            if selector["outputParameterKey"] in put_out:
                found.parameters[key] = put_out[selector["outputParameterKey"]]
                break
    for key, output in outputs.get("artifacts", {}).items():
        for selector in output.get("artifactSelectors", ()):
            put_out = _outputs(ended, selector).artifacts
            if selector["outputArtifactKey"] in put_out:
                found.artifacts[key] = put_out[selector["outputArtifactKey"]]
                break
    return found


def of_loop(component: dict[str, Any], iterations: list[Ended]) -> Values:
    """Return what a loop has collected: of each output a list in the order of its items, without skipped branches."""
    defined, found = component.get("outputDefinitions", {}), Values()
    for key in defined.get("parameters", {}):
        found.parameters[key] = [
            ended.outputs.parameters[key] for ended in iterations if key in ended.outputs.parameters
        ]
    for key in defined.get("artifacts", {}):
        found.artifacts[key] = [artifact for ended in iterations for artifact in ended.outputs.artifacts.get(key, ())]
    return found


def addressed(outputs: Values, root: dict[str, Any]) -> dict[str, Any]:
    """Return a pipeline's own outputs: its parameters by value, its artifacts by their addresses."""
    defined = root.get("outputDefinitions", {}).get("artifacts", {})
    found = dict(outputs.parameters)
    for name, listed in outputs.artifacts.items():
        addresses = [artifact["uri"] for artifact in listed]
        found[name] = addresses if defined.get(name, {}).get("isArtifactList") else addresses[0]
    return found


def _outputs(ended: dict[str, Ended], selector: dict[str, Any]) -> Values:
    of_task = ended.get(selector["producerSubtask"])
    return of_task.outputs if of_task and of_task.state == SUCCEEDED else Values()
