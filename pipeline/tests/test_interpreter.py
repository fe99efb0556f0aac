"""The seam into kfp.local: these fail when a new version of kfp moves what ours stands for."""

import threading

import pytest
from kfp import dsl
from kfp.local import cache, executor_input_utils, logging_utils, placeholder_utils, subprocess_task_handler
from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor

from pipeline.engines.orchestrator import Hooks, run_graph


class Recorder(Hooks):
    """Executes nothing and remembers what it was told."""

    def __init__(self, succeed=True):
        self.succeed, self.told = succeed, []

    def execute(self, task, command, width):
        self.told.append(("execute", task.title, command.function, width))
        self.command = command
        return self.succeed

    def ended(self, task, succeeded, outputs):
        self.told.append(("ended", task.title, succeeded))


@dsl.component(base_image="python:3.11", packages_to_install=["six==1.17.0"])
def greet(name: str, letter: dsl.Output[dsl.Artifact]):
    """Greet."""


@dsl.pipeline(name="greetings")
def greetings(name: str = "python3 {x}"):
    with dsl.ParallelFor(["one", "two"]) as number:
        greet(name=f"{name} {number}")


@dsl.pipeline(name="alone")
def alone():
    greet(name="one")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path


def test_seam_hands_every_task_to_the_hooks(folder):
    hooks = Recorder()
    assert run_graph(greetings.pipeline_spec, {}, folder, hooks)
    for title in ("greet[one]", "greet[two]"):
        assert [told for told in hooks.told if told[1] == title] == [
            ("execute", title, "greet", 2),
            ("ended", title, True),
        ]


def test_command_is_taken_apart_and_its_pip_lines_left_behind(folder):
    hooks = Recorder()
    run_graph(greetings.pipeline_spec, {}, folder, hooks)
    assert "def greet(name: str" in hooks.command.source
    assert "pip install" not in hooks.command.source
    values = hooks.command.executor_input["inputs"]["parameterValues"]
    assert values["name"] in ("python3 {x} one", "python3 {x} two")
    assert str(folder / "artifacts") in hooks.command.executor_input["outputs"]["outputFile"]


def test_task_that_fails_fails_the_run(folder):
    assert not run_graph(greetings.pipeline_spec, {}, folder, Recorder(succeed=False))


@pytest.mark.parametrize("pipeline", [greetings, alone], ids=["in a loop", "alone"])
def test_error_of_a_hook_is_raised_and_nothing_begins_after_it(folder, pipeline):
    class Broken(Recorder):
        def execute(self, task, command, width):
            super().execute(task, command, width)
            raise RuntimeError("ours")

    hooks = Broken()
    with pytest.raises(RuntimeError, match="ours"):
        run_graph(pipeline.pipeline_spec, {}, folder, hooks, cores=1)
    assert len(hooks.told) == 1


def test_seam_leaves_kfp_as_it_was_and_the_terminal_quiet(folder, capfd):
    names = [
        (task_executor, "execute_single_task"),
        (subprocess_task_handler, "SubprocessTaskHandler"),
        (placeholder_utils, "replace_placeholders"),
        (enhanced_dag_orchestrator, "ParallelExecutor"),
        (cache, "get_local_cache"),
        (executor_input_utils, "construct_local_task_root"),
        (logging_utils, "local_logger_context"),
        (logging_utils, "indented_print"),
    ]
    before = [getattr(module, name) for module, name in names]
    run_graph(greetings.pipeline_spec, {}, folder, Recorder())
    assert [getattr(module, name) for module, name in names] == before
    assert capfd.readouterr() == ("", "")
    assert "greet" in (folder / "logs" / "orchestrator.log").read_text()


@dsl.pipeline(name="wide")
def wide():
    with dsl.ParallelFor([1, 2, 3, 4, 5]) as number:
        greet(name=f"{number}")


@pytest.mark.parametrize(("cores", "at_once"), [(1, 1), (2, 2), (4, 4), (16, 5)])
def test_loops_use_all_cores(folder, cores, at_once):
    """kfp.local runs two iterations at once on any machine."""
    together = threading.Barrier(at_once)  # breaks unless as many tasks as this come to it at the same time

    class Meeting(Recorder):
        def execute(self, task, command, width):
            if len(self.told) < at_once:
                self.told.append(width)
                together.wait(timeout=10)
            return True

    hooks = Meeting()
    assert run_graph(wide.pipeline_spec, {}, folder, hooks, cores=cores)
    assert [told for told in hooks.told if isinstance(told, int)] == [at_once] * at_once


@dsl.pipeline(name="nested")
def nested():
    with dsl.ParallelFor([1, 2]), dsl.ParallelFor([1, 2, 3]):
        greet(name="x")


def test_iterations_of_nested_loops_share_the_cores(folder):
    hooks = Recorder()
    assert run_graph(nested.pipeline_spec, {}, folder, hooks, cores=16)
    assert {told[3] for told in hooks.told if told[0] == "execute"} == {6}
