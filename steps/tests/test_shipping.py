"""How modules travel with a step."""

import importlib
import subprocess
import sys

import pytest

from steps import shipping
from steps.shipping import shipped_files, ships

STEP = """
from kfp import dsl
from steps.shipping import ships


@ships("grove.trees")
@dsl.component(base_image="python:3.11")
def count(n: int) -> str:
    from grove.trees import planted
    from grove.trees.kinds import KINDS

    return planted(n, KINDS)
"""
# quotes, backslashes, characters beyond ASCII, and a data file that is read beside the module
INIT = '''"""Trees."""

import pkgutil
import re


def planted(n, kinds):
    """Say what was planted, in "words" and 'quotes'."""
    greeting = pkgutil.get_data(__package__, "greeting.txt").decode().strip()
    return re.sub(r"\\s+", " ", f"{greeting}:\\t{n} {kinds[-1]} → {__file__}")
'''


@pytest.fixture
def grove(tmp_path, monkeypatch):
    """Write a package and a step that ships a part of it; returns the step."""
    package = tmp_path / "grove" / "trees"
    (package / "tests").mkdir(parents=True)
    (tmp_path / "grove" / "__init__.py").write_text("raise RuntimeError('the parent is not needed')\n")
    (package / "__init__.py").write_text(INIT)
    (package / "kinds.py").write_text("KINDS = ['oak', 'ünïcödé']\n")
    (package / "greeting.txt").write_text("It's {here}\n")
    (package / "tests" / "test_trees.py").write_text("assert False\n")
    (tmp_path / "grove_step.py").write_text(STEP)
    monkeypatch.syspath_prepend(tmp_path)

    def made():
        (tmp_path / "grove" / "__init__.py").write_text("")
        importlib.invalidate_caches()
        for name in [name for name in sys.modules if name.startswith("grove")]:
            del sys.modules[name]
        step = importlib.import_module("grove_step").count
        (tmp_path / "grove" / "__init__.py").write_text("raise RuntimeError('the parent is not needed')\n")
        return step

    yield made
    for name in [name for name in sys.modules if name.startswith("grove")]:
        del sys.modules[name]


def source(step):
    return step.component_spec.implementation.container.command[-1]


def executed(step, folder):
    """Run a shipped source where nothing of its home exists."""
    (folder / "elsewhere").mkdir(exist_ok=True)
    (folder / "elsewhere" / "ephemeral.py").write_text(source(step), encoding="utf-8")
    command = [sys.executable, "-c", "import ephemeral; print(ephemeral.count(3))"]
    done = subprocess.run(command, cwd=folder / "elsewhere", capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_step_imports_what_it_ships_and_reads_its_data(grove, tmp_path):
    step = grove()
    assert executed(step, tmp_path) == "It's {here}: 3 ünïcödé → grove/trees/__init__.py"
    assert shipped_files(source(step)) == {
        "grove/__init__.py": "",
        "grove/trees/__init__.py": INIT,
        "grove/trees/greeting.txt": "It's {here}\n",
        "grove/trees/kinds.py": "KINDS = ['oak', 'ünïcödé']\n",
    }
    assert INIT in source(step)  # readable as it stands


def test_same_modules_give_the_same_source_and_changed_ones_another(grove, tmp_path):
    first = source(grove())
    assert source(grove()) == first
    (tmp_path / "grove" / "trees" / "kinds.py").write_text("KINDS = ['beech']\n")
    assert source(grove()) != first


@pytest.mark.parametrize(
    "text", ["# '''\n", "# {{$.inputs}}\n", "#\r\n", "x = '''a'''\n", "# " + "long" * 30_000 + "\n"]
)
def test_text_of_any_kind_and_length_arrives(grove, tmp_path, text):
    (tmp_path / "grove" / "trees" / "kinds.py").write_bytes(f"{text}KINDS = ['oak']\n".encode())
    step = grove()
    assert executed(step, tmp_path).startswith("It's {here}: 3 oak")
    assert len(source(step).encode()) < 131_071
    assert "{{$" not in source(step)
    assert shipped_files(source(step))["grove/trees/kinds.py"].splitlines() == [*text.splitlines(), "KINDS = ['oak']"]


def test_module_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"@ships\('steps.trees'\): there is no module steps\.trees\."):
        shipping._texts(("steps.trees",))


def test_step_that_ships_nothing_has_no_texts():
    assert shipped_files("def step(): ...") == {}
    assert ships.__doc__
