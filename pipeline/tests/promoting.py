"""A pipeline whose promote_model decides what it is told and trains nothing, for tests of what follows a promotion."""

from kfp import dsl
from kfp.dsl import Markdown, Model, Output


@dsl.component(base_image="python:3.11")
def promote_model(decides: str, run: str, model: Output[Model], verdict: Output[Markdown]) -> str:
    """Write a folder as promote_model does, with names in it that JSON would have to escape."""
    import hashlib
    import json
    from pathlib import Path

    folder = Path(model.path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.joblib").write_bytes(run.encode())
    (folder / "requirements.txt").write_text("joblib")
    sha256 = hashlib.sha256(run.encode()).hexdigest()
    figures = {"macro_f1": 0.875, "accuracy": 0.9, "f1": {'Krumm"holz\\': 0.5, "Fir\n": None}}
    facts = {"run": run, "sha256": sha256, "figures": figures, "label": "Kind", "classes": ["a", "b"], "columns": {}}
    facts |= {"rows": {"train": 1000, "test": 200}, "source": "rows.csv"}
    (folder / "model.json").write_text(json.dumps(facts))
    model.metadata.update(file="model.joblib", sha256=sha256)
    verdict.metadata.update(verdict=decides, reasons=["it was told so"])
    Path(verdict.path).write_text(decides)
    return decides


@dsl.pipeline(name="promoting")
def promoting(decides: str = "promoted"):
    promote_model(decides=decides, run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER)
