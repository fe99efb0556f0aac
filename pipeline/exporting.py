"""Each step as a KFP component file: its interface and its source, with the modules and data files that it ships."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp.compiler import pipeline_spec_builder
from kfp.dsl.python_component import PythonComponent

from pipeline import ROOT, RequestError, compiler, files, loading, texts


def steps() -> dict[str, PythonComponent]:
    """Return the steps of steps/ by the names of their functions.

    Raises:
        RequestError: a file there cannot be imported.
    """
    found = {}
    for path in sorted((ROOT / "steps").glob("*.py")):
        module = f"steps.{path.stem}"
        with loading.import_told(f"steps/{path.name}", ROOT):
            values = vars(importlib.import_module(module)).values()
        for step in values:
            if isinstance(step, PythonComponent) and step.python_func.__module__ == module:
                found[step.python_func.__name__] = step
    return found


def export(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write steps as component files, each as NAME.yaml; return the files.

    Args:
        folder: Folder to write them to; it is made.
        names: Names of the steps, such as split_data or split-data; without any all.

    Raises:
        RequestError: there is no such step, or the folder cannot be written to.
    """
    found = steps()
    asked = [name.replace("-", "_") for name in names] or [*found]
    for name in asked:
        if name not in found:
            raise RequestError(f"There is no step {texts.shortened(name)}. The steps are: {', '.join(found)}.")
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(asked):
            files.write(folder / f"{name}.yaml", component(found[name]))
            written.append(folder / f"{name}.yaml")
    except OSError as error:
        raise RequestError(f"Cannot write to {folder}: {error.strerror}. Name another folder.") from None
    return written


def component(step: PythonComponent) -> str:
    """Return a step as the YAML of a component, which kfp.components.load_component_from_file reads."""
    spec = json_format.MessageToDict(step.pipeline_spec)
    for executor in spec["deploymentSpec"]["executors"].values():
        command = executor["container"]["command"]
        if step.description:
            # KFP takes the first docstring of the source as the component's description
            command[-1] = f"{_docstring(step.description)}\n{command[-1]}"
    comments = pipeline_spec_builder.extract_comments_from_pipeline_spec(spec, step.description)
    written = yaml.dump(spec, Dumper=compiler.Dumper, sort_keys=True, allow_unicode=True, width=120)
    return f"{comments}\n{written}"


def _docstring(text: str) -> str:
    is_plain = '"""' not in text and "\\" not in text and not text.endswith('"')
    return f'"""{text}"""' if is_plain else json.dumps(text, ensure_ascii=False)
