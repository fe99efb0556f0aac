"""Modules that travel with a step: what the engines and the checks make of them."""

import importlib
import sys
from pathlib import Path

import pytest
from kfp import components, dsl, local

from pipeline import check, compiler, console, engines, graph, runs
from pipeline.check import Description
from pipeline.engines.local import LocalEngine
from pipeline.settings import Settings

STEP = """
from kfp import dsl
from steps.shipping import ships


@ships("orchard.trees")
@dsl.component(base_image="python:3.11")
def plant(kind: str) -> str:
    from orchard.trees.kinds import planted

    return planted(kind)
"""
KINDS = '''"""Kinds of trees."""


def planted(kind):
    if kind == "palm":
        raise ValueError("palms do not grow here")
    return {"oak": "acorn"}[kind]
'''


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Make a pipeline of one step that ships a package, whose module has this text."""

    def make(text=KINDS):
        (tmp_path / "orchard" / "trees").mkdir(parents=True)
        for folder in ("orchard", "orchard/trees"):
            (tmp_path / folder / "__init__.py").touch()
        (tmp_path / "orchard" / "trees" / "kinds.py").write_text(text)
        (tmp_path / "orchard_step.py").write_text(STEP)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        step = importlib.import_module("orchard_step").plant

        @dsl.pipeline(name="planting")
        def planting(kind: str) -> str:
            return step(kind=kind).output

        compiler.compile_pipeline(planting, tmp_path / "spec.yaml")
        return tmp_path / "spec.yaml"

    yield make
    for name in [name for name in sys.modules if name.startswith("orchard")]:
        del sys.modules[name]


def run(spec, kind, folder, isolated=False):
    data = runs.Data(source="none", fingerprint="")
    record = runs.new(folder, "x", pipeline="x", engine="local", parameters={"kind": kind}, data=data)
    record.begin(spec)
    engine = LocalEngine(Settings(runs_dir=folder), isolated=isolated)
    engines.execute(engine, {"kind": kind}, record, console.Lines())
    return record


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("oak", None),
        ("palm", "palms do not grow here"),  # a shipped module's own word is the step's
        ("elm", 'KeyError: \'elm\'\n  orchard/trees/kinds.py:7 in planted: return {"oak": "acorn"}[kind]'),
    ],
)
@pytest.mark.parametrize("isolated", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_step_runs_with_its_modules_and_an_error_in_one_names_its_line(plant, tmp_path, kind, error, isolated):
    task = run(plant(), kind, tmp_path / "runs", isolated).tasks[0]
    assert (task.state, task.error) == ("failed" if error else "succeeded", error)
    if error:
        assert "Traceback" in Path(task.log).read_text()


def test_second_run_is_cached_and_one_with_a_changed_module_is_not(plant, tmp_path):
    spec = plant()
    assert [run(spec, "oak", tmp_path / "runs").tasks[0].cached for _ in range(2)] == [False, True]
    spec.write_text(spec.read_text().replace("acorn", "seed"))
    assert not run(spec, "oak", tmp_path / "runs").tasks[0].cached


def test_check_names_the_shipped_module_that_lacks_a_name(plant):
    spec = graph.load(plant(KINDS.replace('"acorn"', "ACORN")))
    made = {made.name: made for made in check.of_spec(spec, {"kind": "oak"}, Description(reason="none"))}
    assert made["steps"].state == "failed"
    assert made["steps"].detail.startswith("plant, in orchard/trees/kinds.py, names ACORN, which its shipped source")


@pytest.mark.slow
def test_kfp_local_as_it_comes_runs_a_step_with_its_modules(plant, tmp_path):
    spec = plant()
    for name in [name for name in sys.modules if name.startswith("orchard")]:
        del sys.modules[name]
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "outputs"))
    task = components.load_component_from_file(str(spec))(kind="oak")
    assert task.output == "acorn"


RIGHT = {
    "a property with a setter": "class Box:\n    size = 2\n    twice = size * 2\n"
    "    @property\n    def v(self): return 1\n    @v.setter\n    def v(self, value): self.w = value\n",
    "a name made global": "def first():\n    global made\n    made = 1\ndef second(): return made\n",
    "a comprehension and a walrus": "def f(): return [y for x in range(3) if (y := x)]\n",
    "a class's own name": "class A:\n    def copy(self): return A()\n",
    "a star of kfp": "from kfp.dsl import *\ndef f(data: Input[Dataset]): return data.path\n",
    "an import in a branch": "try:\n    import json\nexcept ImportError:\n    json = None\ndef f(): return json\n",
    "what a module has by itself": "def f(): return __name__, __file__\n",
    "an error and a match": "def f(x):\n    try:\n        match x:\n            case {'a': y, **rest}: return y, rest\n"
    "    except ValueError as e: return e\n",
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_names_nothing_that_is_missing(name):
    assert check.unresolved_names(RIGHT[name]) == set()


@pytest.mark.parametrize(
    "source",
    ["def f(): return THERE\n", "class A:\n    x = THERE\n", "x = [THERE for _ in ()]\n", "def f(x=THERE): ...\n"],
)
def test_name_that_exists_only_at_home_is_found(source):
    assert check.unresolved_names(source) == {"THERE"}
