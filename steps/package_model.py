"""Make the folder that is registered: all that a container needs to serve the model without a package index."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from steps.environment import BASE_IMAGE


@dsl.component(base_image=BASE_IMAGE)
def package_model(
    model: Input[Model],
    container: str,
    labels: str,
    package: Output[Artifact],
) -> NamedTuple("Outputs", [("labels", dict), ("description", str)]):
    """Copy the model's folder, collect its wheels beside it, and say how a container serves it.

    Args:
        model: Folder of the promoted model.
        container: The container that serves it, a ModelContainerSpec of Vertex AI as JSON.
        labels: Labels of the version, as JSON; the run's is added.

    Returns:
        package: The folder; the container stands in its metadata as containerSpec, where ModelUploadOp looks for it.
        labels: All labels of the version.
        description: What the version is, with its figures, in one line.
    """
    import json
    import re
    import shutil
    from pathlib import Path

    folder = Path(package.path)
    shutil.copytree(model.path, folder, dirs_exist_ok=True)
    facts = json.loads((folder / "model.json").read_text("utf-8"))

    package.metadata["containerSpec"] = json.loads(container)
    figures = facts["figures"]
    shown = [f"{name} {figures[name]:.4f}" for name in ("macro_f1", "accuracy") if name in figures]
    per_class = [f"{name} {f1:.3f}" for name, f1 in figures.get("f1", {}).items() if f1 is not None]
    rows = facts["rows"]
    parts = [
        f"Run {facts['run']} of {facts['identifier']}: {', '.join(shown)}",
        f"F1 {', '.join(per_class)}" if per_class else "",
        f"{rows['train']:,} training and {rows['test']:,} test rows of {facts['source']}",
        f"label {facts['label']}",
        f"SHA-256 {facts['sha256']}",
    ]
    # ModelUploadOp puts the text between the quotes of its JSON as it is
    description = re.sub(r'["\\\x00-\x1f\x7f]', "'", "; ".join(filter(None, parts)))[:2000]
    run = re.sub(r"[^a-z0-9_-]", "-", facts["run"].lower())[:63]
    return json.loads(labels) | {"run": run}, description
