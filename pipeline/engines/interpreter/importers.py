"""Importers: artifacts that lie where the pipeline says, and are made by no task of it."""

from collections.abc import Mapping
from typing import Any

from pipeline.engines.interpreter.placeholders import expanded
from pipeline.engines.interpreter.values import SpecError, Values


def imported(
    importer: Mapping[str, Any], component: Mapping[str, Any], inputs: Values, names: Mapping[str, str]
) -> Values:
    """Return the artifact that an importer stands for; it is not looked at.

    Args:
        importer: ImporterSpec of the proto.
        component: The component of the task.
        inputs: The inputs of the task.
        names: What the placeholders of the task stand for.

    Raises:
        SpecError: the address is empty, or the metadata name an input that there is not.
    """
    source = importer["artifactUri"]
    if "constant" in source:
        uri = expanded(source["constant"], names, inputs.parameters)
    else:
        uri = inputs.parameters.get(source["runtimeParameter"])
    if not uri:
        raise SpecError("the address of the artifact to import is empty")
    (name,) = component["outputDefinitions"]["artifacts"]
    artifact = {
        "name": name,
        "type": importer["typeSchema"],
        "uri": uri,
        "metadata": expanded(importer.get("metadata", {}), names, inputs.parameters),
    }
    return Values(artifacts={name: [artifact]})
