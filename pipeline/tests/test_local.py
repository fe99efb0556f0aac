"""The local engine on small pipelines of its own."""

import ast
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kfp import dsl

from pipeline import PIPELINES, ROOT, compiler, console, engines, graph, runs
from pipeline.engines import local, warm
from pipeline.engines.local import LocalEngine
from pipeline.settings import Settings
from pipeline.target import Target


@dsl.component(base_image="python:3.11")
def print_and_return(text: str) -> str:
    import os
    import sys

    print("printed:", text)
    print("to standard error", file=sys.stderr)
    os.write(1, b"past Python's buffers\n")
    return text


@dsl.component(base_image="python:3.11")
def end_itself(how: str):
    import os
    import signal
    import sys

    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise KeyError("no such thing")
    if how == "refuse":
        raise ValueError("what came is not what was expected")
    if how == "library":
        float("x")


@dsl.pipeline(name="printing")
def printing():
    for number in range(2):
        with dsl.ParallelFor(["a b", "c/d"]) as text:
            print_and_return(text=f"{text} {number}")


@dsl.pipeline(name="ending-in-a-loop")
def ending_in_a_loop():
    with dsl.ParallelFor(["stay", "raise"]) as how:
        end_itself(how=how)


@dsl.pipeline(name="ending")
def ending(how: str):
    end_itself(how=how)


@pytest.fixture
def execute(tmp_path):
    def run(pipeline, **parameters):
        data = runs.Data(source="none", fingerprint="")
        record = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters=parameters, data=data)
        compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml")
        record.begin(tmp_path / "spec.yaml")
        engines.execute(LocalEngine(Settings(runs_dir=tmp_path)), parameters, record, console.Lines())
        return record

    return run


def test_everything_that_a_task_prints_is_in_its_own_log(execute):
    record = execute(printing)
    assert record.status == "succeeded"
    for title, text in (("print-and-return[a b]", "a b 0"), ("print-and-return-2[c/d]", "c/d 1")):
        log = Path(record.task(title).log).read_text()
        assert f"printed: {text}\n" in log
        assert "to standard error\n" in log
        assert "past Python's buffers\n" in log


def line_of(text):
    """Where this file says something, as a failure names it."""
    lines = Path(__file__).read_text().splitlines()
    number = next(place for place, line in enumerate(lines, 1) if text in line)
    return f"{os.path.relpath(__file__)}:{number} in end_itself: {lines[number - 1].strip()}"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("kill", "killed by SIGKILL, which often means that the memory ran out"),
        ("exit", f"SystemExit: 3\n  {line_of('sys.exit(3)')}"),
        ("raise", f"KeyError: 'no such thing'\n  {line_of('raise KeyError(')}"),
        ("refuse", "what came is not what was expected"),  # a step's own word stands alone
        ("library", f"ValueError: could not convert string to float: 'x'\n  {line_of('float(')}"),
    ],
)
def test_task_that_ends_itself_fails_the_run_with_the_cause(execute, how, message):
    record = execute(ending, how=how)
    assert (record.status, record.tasks[0].state, record.tasks[0].error) == ("failed", "failed", message)
    if how not in ("kill", "library"):
        assert "Traceback" in Path(record.tasks[0].log).read_text()


def test_failure_in_a_loop_is_told_with_its_item(execute, capsys):
    record = execute(ending_in_a_loop)
    assert {task.item: task.state for task in record.tasks} == {"stay": "succeeded", "raise": "failed"}
    console.show_result(record)
    where = line_of("raise KeyError(")
    assert f"Error: end-itself[raise] failed: KeyError: 'no such thing'\n  {where}\nLog: " in capsys.readouterr().err


def test_error_of_the_engine_itself_is_recorded_with_its_traceback(execute, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("the interpreter broke")

    monkeypatch.setattr("pipeline.engines.local.run_graph", broken)
    record = execute(ending, how="raise")
    assert (record.status, record.error) == ("failed", "RuntimeError: the interpreter broke")
    assert "Traceback" in (record.folder / "logs" / "error.log").read_text()
    console.show_result(record)
    assert "Error: RuntimeError: the interpreter broke\nLog: " in capsys.readouterr().err


@dsl.component(base_image="python:3.11")
def count_threads(number: int) -> str:
    import os

    return os.environ["OMP_NUM_THREADS"]


@dsl.pipeline(name="counting")
def counting():
    count_threads(number=0)
    with dsl.ParallelFor([1, 2, 3]) as number:
        count_threads(number=number)


@pytest.mark.parametrize("cores", [1, 2, 4, 8])
def test_threads_of_tasks_that_run_at_once_leave_a_core_to_others(execute, monkeypatch, cores):
    monkeypatch.setattr(local, "CORES", cores)
    record = execute(counting)
    outputs = {path.parent: json.loads(path.read_text()) for path in record.folder.rglob("executor_output.json")}
    counts = {folder.name: output["parameterValues"]["Output"] for folder, output in outputs.items()}
    alone, of_three = {1: ("1", "1"), 2: ("1", "1"), 4: ("3", "1"), 8: ("7", "2")}[cores]
    assert counts == {"count-threads": alone, "count-threads-2": of_three}


def test_one_thread_parses_at_a_time(monkeypatch):
    """In some versions of Python parsers of two threads break each other, in few of their calls."""
    parse, parsing, alone = ast.parse, threading.Lock(), []

    def slow_parse(source):
        is_alone = parsing.acquire(blocking=False)
        alone.append(is_alone)
        time.sleep(0.01)
        if is_alone:
            parsing.release()
        return parse(source)

    with monkeypatch.context() as patch, ThreadPoolExecutor(4) as threads:
        patch.setattr(ast, "parse", slow_parse)
        found = list(threads.map(local.origins, (f"def f{n}(): ..." for n in range(8))))
    assert found == [{}] * 8
    assert len(alone) >= 8
    assert all(alone)


def test_tasks_run_where_there_is_no_process_to_fork_from(execute, monkeypatch):
    monkeypatch.setattr(warm, "START_METHOD", "spawn")
    assert execute(printing).status == "succeeded"


@pytest.mark.slow
def test_script_without_a_main_guard_is_not_run_again_by_each_task(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "print('the script runs')\n"
        "import run\n"
        "run.main(['--identifier', 'x', '--data', 'sample:50', '--set', 'max_iter=1'])\n"
    )
    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("the script runs") == 1
    assert "accuracy" in done.stdout


@dsl.component(base_image="python:3.11")
def imported_there() -> list[str]:
    import sys

    return [*sys.modules]


@dsl.pipeline(name="imported")
def imported():
    imported_there()


def test_warm_process_has_imported_what_tasks_start_with(execute):
    """Without the worker in it, each task would import kfp's executor anew."""
    warm.preload(["import decimal, joblib\nfrom steps.tables import files\nimport kfp"])
    modules = {*execute(imported).tasks[0].values["Output"]}
    assert {warm.WORKER, "joblib"} <= modules
    assert not {"kfp.compiler", "steps.tables"} & modules


@dsl.component(base_image="python:3.11")
def nap() -> str:
    import time

    time.sleep(1)
    return "rested"


@dsl.pipeline(name="four-naps")
def four_naps():
    for _ in range(4):
        nap()


def test_independent_tasks_run_side_by_side(execute, monkeypatch):
    monkeypatch.setattr(local, "CORES", 4)
    record = execute(four_naps)
    assert record.status == "succeeded"
    assert record.seconds < 3  # one by one they take four


@dsl.pipeline(name="inner")
def inner(text: str):
    print_and_return(text=text)


@dsl.pipeline(name="many-of-one-name")
def many_of_one_name():
    inner(text="first")
    inner(text="second")
    with dsl.ParallelFor(["a", "a"]) as text:
        end_itself(how=text)


def test_task_is_named_by_its_path_where_its_name_is_not_enough(execute, capsys):
    console.show_progress(True)  # another test may have had it off
    record = execute(many_of_one_name)
    titles = {task.title for task in record.tasks}
    paths = {"inner/print-and-return", "inner-2/print-and-return"}
    assert titles == paths | {"for-loop-2/0/end-itself", "for-loop-2/1/end-itself"}
    assert "inner-2/print-and-return" in capsys.readouterr().err
    assert record.task("inner/print-and-return").path == "inner/print-and-return"
    for path, text in zip(sorted(paths, key=len), ("first", "second"), strict=True):
        assert f"printed: {text}" in (record.folder / "logs" / f"{path}.log").read_text()
        assert json.loads((record.folder / "inputs" / f"{path}.json").read_text())["parameterValues"] == {"text": text}


def test_older_record_without_paths_is_read(execute):
    record = execute(ending, how="none")
    written = json.loads((record.folder / "run.json").read_text())
    del written["outputs"]
    for task in written["tasks"]:
        for key in ("path", "ambiguous", "reason"):
            del task[key]
    (record.folder / "run.json").write_text(json.dumps(written))
    assert runs.read(record.folder).task("end-itself").title == "end-itself"


@pytest.mark.parametrize("name", PIPELINES)
def test_what_a_pipeline_imports_is_known_before_it_is_compiled(name, tmp_path):
    compiler.compile_pipeline(compiler.load(name), tmp_path / "spec.yaml", Target())
    containers = graph.containers(graph.load(tmp_path / "spec.yaml")).values()
    needed = {module for each in containers for text in graph.sources(each).values() for module in warm._imported(text)}
    found = {module for text in warm.sources_of(f"pipeline.{name}") for module in warm._imported(text)}
    assert needed - found <= {"kfp.dsl.*", "typing.*"}  # of what KFP puts in front of each step
    assert "fastapi" not in found  # which only serving imports
