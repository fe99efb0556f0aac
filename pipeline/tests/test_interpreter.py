"""The interpreter by itself: what it tells whoever executes its tasks, and when."""

import threading
import time

import pytest
from google.protobuf import json_format
from kfp import dsl

from pipeline import RequestError
from pipeline.engines.interpreter import SUCCEEDED, Hooks, run


class Recorder(Hooks):
    """Executes nothing and remembers what it was told."""

    def __init__(self, succeed=True):
        self.succeed, self.told = succeed, []

    def execute(self, task, command, width):
        self.told.append(("execute", task.title, command.function, width))
        self.command = command
        return self.succeed

    def ended(self, task, how):
        self.told.append(("ended", task.title, how.state))


def ran(pipeline, folder, hooks, parameters=None, **options):
    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    return run(spec, parameters or {}, folder, hooks, **options).state == SUCCEEDED


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


def test_every_task_is_handed_to_the_hooks(tmp_path):
    hooks = Recorder()
    assert ran(greetings, tmp_path, hooks)
    for title in ("greet[one]", "greet[two]"):
        assert [told for told in hooks.told if told[1] == title] == [
            ("execute", title, "greet", 2),
            ("ended", title, "SUCCEEDED"),
        ]


def test_command_is_taken_apart_and_its_pip_lines_left_behind(tmp_path):
    hooks = Recorder()
    ran(greetings, tmp_path, hooks)
    assert "def greet(name: str" in hooks.command.source
    assert "pip install" not in hooks.command.source
    values = hooks.command.executor_input["inputs"]["parameterValues"]
    assert values["name"] in ("python3 {x} one", "python3 {x} two")
    assert str(tmp_path / "artifacts") in hooks.command.executor_input["outputs"]["outputFile"]


def test_task_that_fails_fails_the_run(tmp_path):
    assert not ran(greetings, tmp_path, Recorder(succeed=False))


@pytest.mark.parametrize("pipeline", [greetings, alone], ids=["in a loop", "alone"])
def test_error_of_a_hook_is_raised_and_nothing_begins_after_it(tmp_path, pipeline):
    class Broken(Recorder):
        def execute(self, task, command, width):
            super().execute(task, command, width)
            raise RuntimeError("ours")

    hooks = Broken()
    with pytest.raises(RuntimeError, match="ours"):
        ran(pipeline, tmp_path, hooks, cores=1)
    assert len(hooks.told) == 1


def test_nothing_is_printed_by_itself(tmp_path, capfd):
    ran(greetings, tmp_path, Recorder())
    assert capfd.readouterr() == ("", "")


@dsl.pipeline(name="wide")
def wide():
    with dsl.ParallelFor([1, 2, 3, 4, 5]) as number:
        greet(name=f"{number}")


@dsl.pipeline(name="side-by-side")
def side_by_side():
    for number in range(5):
        greet(name=f"{number}")


@dsl.pipeline(name="limited")
def limited():
    with dsl.ParallelFor([1, 2, 3, 4, 5], parallelism=2) as number:
        greet(name=f"{number}")


class Meeting(Recorder):
    """Has each task stay for a moment, and counts how many were there at once."""

    def __init__(self):
        super().__init__()
        self._lock, self._there, self.most = threading.Lock(), 0, 0

    def execute(self, task, command, width):
        with self._lock:
            self._there += 1
            self.most = max(self.most, self._there)
        time.sleep(0.1)
        with self._lock:
            self._there -= 1
        return super().execute(task, command, width)


@pytest.mark.parametrize(
    ("pipeline", "cores", "at_once"),
    [(wide, 1, 1), (wide, 2, 2), (wide, 16, 5), (side_by_side, 2, 2), (side_by_side, 16, 5), (limited, 16, 2)],
)
def test_tasks_run_side_by_side_up_to_the_cores_and_the_parallelism_of_their_loop(tmp_path, pipeline, cores, at_once):
    hooks = Meeting()
    assert ran(pipeline, tmp_path, hooks, cores=cores)
    assert hooks.most == at_once
    assert {told[3] for told in hooks.told if told[0] == "execute"} == {1 if pipeline is side_by_side else at_once}


@dsl.pipeline(name="nested")
def nested():
    with dsl.ParallelFor([1, 2]), dsl.ParallelFor([1, 2, 3]):
        greet(name="x")


def test_iterations_of_nested_loops_share_the_cores(tmp_path):
    hooks = Recorder()
    assert ran(nested, tmp_path, hooks, cores=16)
    assert {told[3] for told in hooks.told if told[0] == "execute"} == {6}


@dsl.pipeline(name="long")
def long(numbers: list):
    with dsl.ParallelFor(numbers) as number:
        greet(name=f"{number}")


def test_long_loop_takes_no_more_threads_than_slots(tmp_path):
    class Counting(Recorder):
        most = 0

        def execute(self, task, command, width):
            self.most = max(self.most, threading.active_count())
            return True

    hooks, before = Counting(), threading.active_count()
    assert ran(long, tmp_path, hooks, {"numbers": list(range(3_000))}, cores=2)
    assert hooks.most <= before + 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "its parameter numbers has no value"),
        ({"numbers": 3}, "its parameter numbers: expected a list, not 3"),
        ({"numbers": [], "number": 1}, "has no parameter number; it has: numbers"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_starts(tmp_path, parameters, message):
    hooks = Recorder()
    with pytest.raises(RequestError, match=message):
        ran(long, tmp_path, hooks, parameters)
    assert hooks.told == []
