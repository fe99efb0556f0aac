"""Start a step or a pipeline of one's own: files that work as they stand, to be changed."""

import ast
import builtins
import keyword
import pkgutil
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from kfp.dsl.base_component import BaseComponent

from pipeline import PIPELINES, ROOT, RequestError, files, loading
from pipeline.texts import shortened

TEMPLATES = f"{__package__}.templates"
# by form: which template becomes which file
FORMS = {
    "training": {
        "training_pipeline.py": "pipeline/{}.py",
        "tests/checks_of_training_pipeline.py": "pipeline/tests/test_{}.py",
        "train_new_pipeline.py": "steps/train_{}.py",
        "tests/test_train_new_pipeline.py": "steps/tests/test_train_{}.py",
    },
    "batch": {
        "batch_pipeline.py": "pipeline/{}.py",
        "tests/checks_of_batch_pipeline.py": "pipeline/tests/test_{}.py",
        "read_new_pipeline.py": "steps/read_{}.py",
        "tests/test_read_new_pipeline.py": "steps/tests/test_read_{}.py",
    },
}
STEP = {"new_step.py": "steps/{}.py", "tests/test_new_step.py": "steps/tests/test_{}.py"}
TESTS = ("steps/tests", "pipeline/tests", "pipeline/templates/tests")  # pytest takes a name in one of them only
DATASET = "system.Dataset"
LONGEST_NAME = 30  # the lines of the templates have room for it
REGISTRY = "pipeline/__init__.py"


@dataclass
class Changes:
    """Files to write, by their paths in the repository; nothing is written before all of them are known."""

    texts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, templates: dict[str, str], name: str, placeholder: str) -> None:
        """Add the files of templates, with a name in the place of another.

        Raises:
            RequestError: one of them is there.
        """
        for template, pattern in templates.items():
            path = Path(pattern.format(name))
            places = [path, path.with_suffix("")]
            places += [Path(folder, path.name) for folder in TESTS if "tests" in path.parts]
            for place in places:
                if (ROOT / place).exists() or str(place) in self.texts:
                    raise RequestError(f"{place} is there, and nothing is overwritten. Take another name.")
            self.texts[str(path)] = _filled(template, name, placeholder)

    def write(self) -> list[str]:
        """Write the files; return their paths."""
        for path, text in self.texts.items():
            files.write(ROOT / path, text)
        return [*self.texts]


def new_step(asked: str, pipeline: str = "") -> Changes:
    """Return what makes a new step.

    Args:
        asked: Name of the step.
        pipeline: The pipeline that it becomes the last task of, as --pipeline names it; "" for none.

    Raises:
        RequestError: the name or the pipeline cannot be taken.
    """
    name, changes = checked_name(asked, "step"), Changes()
    changes.add(STEP, name, "new_step")
    if pipeline:
        path, text, note = _with_task(pipeline, name)
        changes.texts[path] = text
        changes.notes.append(note)
    return changes


def new_pipeline(asked: str, form: str = "training") -> Changes:
    """Return what makes a new pipeline, with the step that is its own, and its line in PIPELINES.

    Raises:
        RequestError: the name or the form cannot be taken.
    """
    if form not in FORMS:
        raise RequestError(f"There is no form {shortened(form)}. Take {' or '.join(FORMS)}.")
    name, changes = checked_name(asked, "pipeline"), Changes()
    if name in PIPELINES:
        raise RequestError(f"There is a pipeline {name} in {REGISTRY}. Take another name.")
    changes.add(FORMS[form], name, "new_pipeline")
    changes.texts[REGISTRY] = _registered((ROOT / REGISTRY).read_text("utf-8"), name)
    return changes


def checked_name(asked: str, what: str) -> str:
    """Return a name as that of a module and a function: hyphens become underscores.

    Raises:
        RequestError: it is no such name, or one that Python or every module here has already.
    """
    name = asked.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > LONGEST_NAME or "__" in name or name.endswith("_"):
        raise RequestError(
            f"{shortened(asked)} is no name of a {what}: expected a letter, then letters, digits and hyphens, all "
            f"small, at most {LONGEST_NAME}. For example: keep-recent"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise RequestError(f"{name} is a word of Python's own. Take another name.")
    if hasattr(builtins, name) or name in ("dsl", "kfp", "pinned", "pipeline", "ships", "steps", "test"):
        raise RequestError(f"{name} is the name of something that steps and pipelines use. Take another name.")
    return name


def _filled(template: str, name: str, placeholder: str) -> str:
    """Return the text of a template with a name in the place of its own."""
    text = (pkgutil.get_data(TEMPLATES, template) or b"").decode()
    # a step's or a pipeline's module by its place; what is checked of a pipeline imports none
    text = re.sub(rf"{re.escape(TEMPLATES)}\.(\w+)", r"steps.\1", text)
    text = text.replace(placeholder, name).replace(placeholder.replace("_", "-"), name.replace("_", "-"))
    return _sorted_imports(text)


def _sorted_imports(text: str) -> str:
    """Return a module whose imports from steps are in order, wherever its names have put them."""
    lines = text.splitlines(keepends=True)
    places = [n for n, line in enumerate(lines) if line.startswith("from steps.")]
    for place, line in zip(places, sorted((lines[n] for n in places), key=str.split), strict=True):
        lines[place] = line
    return "".join(lines)


def _registered(text: str, name: str) -> str:
    """Return the module of PIPELINES with one more."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PIPELINES":
            lines = text.splitlines(keepends=True)
            lines.insert(_end(node) - 1, f'    "{name}": "pipeline.{name}:{name}",\n')
            return "".join(lines)
    raise RequestError(f"{REGISTRY} has no PIPELINES = {{…}} to add a line to. Restore it.")


def _with_task(pipeline: str, step: str) -> tuple[str, str, str]:
    """Return a pipeline's file, its text with a step as its last task, and what is to be told of that.

    The step gets the last table among the outputs of the tasks that the function has in no loop or condition.
    """
    definition = loading.load(pipeline)
    function = getattr(definition, "pipeline_func", None)
    if function is None:
        raise RequestError(f"--pipeline {pipeline} is a compiled one, which takes no task. Name its Python.")
    path, module = Path(function.__code__.co_filename), sys.modules[function.__module__]
    text = files.text(path)
    tree = ast.parse(text)
    body = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function.__name__).body
    source = _last_table(body, module)
    if source is None:
        raise RequestError(
            f"No task of {pipeline} puts out a table for {step} to read. Write it without --pipeline, and call it in "
            f"{path.name} yourself."
        )
    task, lines = f"{step}_task", text.splitlines(keepends=True)
    before = next((node for node in body if isinstance(node, ast.Return)), None)
    place = before.lineno - 1 if before else _end(body[-1])
    display_name = step.replace("_", " ").capitalize()
    added = f'    {task} = {step}(rows={source})\n    {task}.set_display_name("{display_name}")\n'
    lines.insert(place, f"{added}\n" if before else f"\n{added}")
    _insert_import(lines, tree, f"from steps.{step} import {step}\n")
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return str(shown), "".join(lines), f"{step} is the last task of {pipeline}, and reads {source}: see {shown}"


def _last_table(body: list[ast.stmt], module: ModuleType) -> str | None:
    """Return the last table that a task of a pipeline function puts out, as the function writes it."""
    found = None
    for node in body:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        target, called = node.targets[0], node.value.func
        component: Any = getattr(module, called.id, None) if isinstance(called, ast.Name) else None
        if isinstance(target, ast.Name) and isinstance(component, BaseComponent):
            outputs = component.component_spec.outputs or {}
            tables = [name for name, output in outputs.items() if str(output.type).startswith(DATASET)]
            tables = [name for name in tables if not outputs[name].is_artifact_list]
            found = f'{target.id}.outputs["{tables[-1]}"]' if tables else found
    return found


def _insert_import(lines: list[str], tree: ast.Module, added: str) -> None:
    """Insert an import from steps among a module's own, in the order that ruff keeps."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    own = [node for node in imports if isinstance(node, ast.ImportFrom) and str(node.module).startswith("steps.")]
    after = [node for node in own if f"from {node.module} " < added] or [
        node for node in imports if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "pipeline"
    ]
    if after:
        lines.insert(_end(after[-1]), added)
    elif own:
        lines.insert(own[0].lineno - 1, added)
    else:
        lines.insert(_end(imports[-1]), f"\n{added}")


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
