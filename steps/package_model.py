"""Make the folder that is registered: all that a container needs to serve the model without a package index."""

from typing import List, NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from steps.environment import BASE_IMAGE
from steps.shipping import ships


@ships("steps.serving.wheels")
@dsl.component(base_image=BASE_IMAGE)
def package_model(
    model: Input[Model],
    container: str,
    packages: List[str],
    labels: str,
    package: Output[Artifact],
) -> NamedTuple("Outputs", [("labels", dict), ("description", str)]):  # type: ignore[valid-type]
    """Copy the model's folder, collect its wheels beside it, and say how a container serves it.

    Args:
        model: Folder of the promoted model, with the SHA-256 of its file in the metadata.
        container: The container that serves it, a ModelContainerSpec of Vertex AI as JSON; "" for none.
        packages: Pinned packages of the server itself.
        labels: Labels of the version, as JSON; the run's is added.

    Returns:
        package: The folder; the container stands in its metadata as containerSpec, where ModelUploadOp looks for it.
            Without a container there is nothing in it.
        labels: All labels of the version.
        description: What the version is, with its figures, in one line.
    """
    import json
    import re
    import shutil
    from pathlib import Path

    from steps.serving.wheels import collect

    sha256 = model.metadata["sha256"]
    if container:
        shutil.rmtree(package.path, ignore_errors=True)  # anew, whatever a lost attempt has left there
        shutil.copytree(model.path, package.path)
        print(*collect(package.path, packages), sep="\n")
        spec = json.loads(container)
        spec["env"].append({"name": "MODEL_SHA256", "value": sha256})
        package.metadata["containerSpec"] = spec

    facts = json.loads(Path(model.path, "model.json").read_text("utf-8"))
    figures, rows = facts["figures"], facts["rows"]
    names = ("macro_f1", "accuracy", "r2", "mean_absolute_error")
    overall = [f"{name} {figures[name]:.4f}" for name in names if name in figures]
    of_classes = [f"{name}: {f1:.3f}" for name, f1 in figures.get("f1", {}).items() if f1 is not None]
    parts = [
        f"{facts['run']}: {', '.join(overall)}",
        *([f"F1 of {', '.join(of_classes)}"] if of_classes else []),
        f"{rows['train']:,} training and {rows['test']:,} test rows of {facts['source']}",
        f"label {facts['label']}",
        f"SHA-256 {sha256} of {model.uri}",
    ]
    # ModelUploadOp puts the text between the quotes of its JSON as it is
    description = re.sub(r'["\\\x00-\x1f\x7f]', "'", "; ".join(parts))[:2000]
    run = re.sub(r"[^a-z0-9_-]", "-", facts["run"].lower())  # the name of the job, or of another engine's run
    own_id = re.search(r"\d{8}t\d{6}-[0-9a-f]{4}$", run)
    return json.loads(labels) | {"run": own_id[0] if own_id else run[-63:]}, description
