"""The process of a task is as KFP's executor gives it, and what it cannot put out is told by its name."""

from pathlib import Path

import pytest
from kfp import dsl
from kfp.dsl import Metrics, Output

from pipeline import RequestError, compiler, console, engines, runs
from pipeline.engines.local import LocalEngine
from pipeline.settings import Settings


@pytest.fixture
def execute(tmp_path):
    def run(step_or_pipeline, times=1, **parameters):
        pipeline = step_or_pipeline
        compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml")
        records = []
        for number in range(times):
            data = runs.Data(source="none", fingerprint="")
            record = runs.new(tmp_path, f"x{number}", pipeline="x", engine="local", parameters={}, data=data)
            record.begin(tmp_path / "spec.yaml")
            engines.execute(LocalEngine(Settings(runs_dir=tmp_path)), parameters, record, console.Lines())
            records.append(record)
        return records if times > 1 else records[0]

    return run


def square(x):
    return x * x


@dsl.component(base_image="python:3.11", additional_funcs=[square])
def pooled() -> int:
    import pickle
    from multiprocessing import Pool, get_context

    assert pickle.loads(pickle.dumps(square))(3) == 9
    with get_context("spawn").Pool(1) as spawned:
        assert spawned.map(square, [4]) == [16]
    with Pool(2) as pool:
        return sum(pool.map(square, range(4)))


@dsl.component(base_image="python:3.11")
def quoted_hints() -> str:
    from dataclasses import dataclass

    @dataclass
    class Split:
        name: "str"

    return Split("train").name


@dsl.component(base_image="python:3.11")
def logs_and_hooks() -> str:
    import atexit
    import logging

    atexit.register(print, "at the very end")
    logging.info("seen at the level of KFP")
    return "done"


@dsl.component(base_image="python:3.11")
def leaves_a_child() -> str:
    import os
    import time

    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    return str(pid)


@dsl.pipeline(name="processes")
def processes() -> int:
    quoted_hints()
    logs_and_hooks()
    leaves_a_child()
    return pooled().output


def test_a_step_may_fork_spawn_pickle_log_and_hook(execute):
    record = execute(processes)
    assert {task.name: (task.state, task.error) for task in record.tasks} == dict.fromkeys(
        ("quoted-hints", "logs-and-hooks", "leaves-a-child", "pooled"), ("succeeded", None)
    )
    assert record.outputs == {"Output": 14}
    assert record.seconds < 30  # the child that was left behind was not waited for
    log = Path(next(task.log for task in record.tasks if task.name == "logs-and-hooks")).read_text()
    assert "seen at the level of KFP" in log
    assert "at the very end" in log


@dsl.component(base_image="python:3.11", packages_to_install=["numpy==2.4.6"])
def puts_out(what: str, metrics: Output[Metrics]) -> float:
    import numpy

    if what == "metric":
        metrics.log_metric("loss", float("nan"))
    if what == "metadata":
        metrics.metadata["count"] = numpy.int64(3)
    return float("inf") if what == "value" else 1.0


@dsl.pipeline(name="putting-out")
def putting_out(what: str):
    puts_out(what=what)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("metric", "the metadata of metrics: loss is nan"),
        ("metadata", "the metadata of metrics: count is np.int64(3), a numpy.int64"),
        ("value", "the returned value is inf"),
    ],
)
def test_what_json_cannot_hold_is_told_by_its_name(execute, what, told):
    task = execute(putting_out, what=what).tasks[0]
    assert task.state == "failed"
    assert told in task.error
    assert "test_process.py" in task.error or what == "value"


@dsl.component(base_image="python:3.11")
def places(job: str, resource: str, task: str, created: str) -> str:
    return f"{job}|{resource}|{task}|{created}"


@dsl.pipeline(name="placing")
def placing() -> str:
    return places(
        job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        resource=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
        task=dsl.PIPELINE_TASK_NAME_PLACEHOLDER,
        created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
    ).output


def test_placeholders_have_values_and_those_of_a_run_miss_the_cache(execute):
    first, second = execute(placing, times=2)
    for record in (first, second):
        parts = record.outputs["Output"].split("|")
        assert all(parts)
        assert "{{$" not in record.outputs["Output"]
        assert parts[2] == "places"
    assert not second.tasks[0].cached


@dsl.container_component
def in_a_container():
    return dsl.ContainerSpec(image="alpine:3.20", command=["echo"])


@dsl.pipeline(name="containing")
def containing():
    quoted_hints()
    in_a_container()


def test_what_cannot_run_here_is_told_before_anything_starts(execute, tmp_path):
    with pytest.raises(RequestError, match=r"The task in-a-container runs the container image 'alpine:3\.20'"):
        execute(containing)
    assert not [*tmp_path.glob("x0/2*")]


@dsl.component(base_image="python:3.11")
def nap(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


@dsl.pipeline(name="napping")
def napping():
    for _ in range(4):
        nap(seconds=0.5)


def test_independent_tasks_run_side_by_side(tmp_path):
    compiler.compile_pipeline(napping, tmp_path / "spec.yaml")
    data = runs.Data(source="none", fingerprint="")
    record = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters={}, data=data)
    record.begin(tmp_path / "spec.yaml")
    engines.execute(LocalEngine(Settings(runs_dir=tmp_path), slots=4), {}, record, console.Lines())
    starts = [task.seconds for task in record.tasks]
    assert len(starts) == 4
    assert sum(starts) > 1.2 * record.seconds  # one after another, they would take as long as the run
