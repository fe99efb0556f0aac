"""The process of a task is as KFP's executor gives it, and ends with all that it has started."""

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from kfp import dsl

from pipeline import RequestError, compiler, engines, runs
from pipeline.engines.local import LocalEngine
from pipeline.settings import Settings
from pipeline.target import Target
from pipeline.tests.conformance.test_conformance import Told


@pytest.fixture
def execute(tmp_path):
    """Run a pipeline, and return its record with what was told."""

    def run(pipeline, caching=False, **parameters):
        data = runs.Data(source="none", fingerprint="")
        record = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters=parameters, data=data)
        compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml", Target(caching=caching))
        record.begin(tmp_path / "spec.yaml")
        record._told = Told()
        engines.execute(LocalEngine(Settings(runs_dir=tmp_path)), parameters, record, record._told)
        return record

    return run


def one(step, **arguments):
    """A pipeline of one step that returns what the step does."""

    @dsl.pipeline(name="one")
    def alone():
        step(**arguments)

    return alone


def square(x):
    return x * x


class Split:
    """Nothing: the step defines its own."""


@dsl.component(base_image="python:3.11", additional_funcs=[square])
def pooled(method: str) -> int:
    import multiprocessing

    with multiprocessing.get_context(method).Pool(2) as pool:
        return sum(pool.map(square, range(4)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_functions_of_a_step_go_to_other_processes(execute, method):
    record = execute(one(pooled, method=method))
    assert record.status == "succeeded", record.tasks[0].error


@dsl.component(base_image="python:3.11", additional_funcs=[square])
def pickled() -> int:
    import inspect
    import pickle
    from dataclasses import dataclass

    @dataclass
    class Part:
        name: "str"
        size: "int" = 0

    assert Part("a").size == 0
    assert "x * x" in inspect.getsource(square)
    assert square.__module__ in __import__("sys").modules
    return pickle.loads(pickle.dumps(square))(3)


def test_functions_of_a_step_can_be_pickled_and_its_annotations_quoted(execute):
    record = execute(one(pickled))
    assert record.status == "succeeded", record.tasks[0].error


@dsl.component(base_image="python:3.11")
def logging_and_leaving(mark: str):
    import atexit
    import logging
    import pathlib
    import sys

    logging.info("told by logging")
    atexit.register(pathlib.Path(mark).write_text, "done")
    sys.exit(0)


def test_log_has_info_and_hooks_run_at_the_end(execute, tmp_path):
    record = execute(one(logging_and_leaving, mark=str(tmp_path / "mark")))
    assert record.status == "succeeded"
    assert "INFO]: told by logging" in Path(record.tasks[0].log).read_text()
    assert (tmp_path / "mark").read_text() == "done"


@dsl.component(base_image="python:3.11")
def leaving_a_child(file: str, stay: int):
    import os
    import subprocess
    import time

    child = subprocess.Popen(["sleep", "300"])
    if os.fork() == 0:
        time.sleep(300)
        os._exit(0)
    with open(file, "w") as stream:
        stream.write(str(child.pid))
    time.sleep(stay)


def gone(pid):
    for _ in range(50):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def test_task_does_not_wait_for_what_it_left_and_ends_it(execute, tmp_path):
    begun = time.monotonic()
    record = execute(one(leaving_a_child, file=str(tmp_path / "pid"), stay=0))
    assert record.status == "succeeded"
    assert time.monotonic() - begun < 60
    assert gone(int((tmp_path / "pid").read_text()))


def test_interrupt_ends_what_a_task_has_started(execute, tmp_path):
    def interrupt():
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    record = execute(one(leaving_a_child, file=str(tmp_path / "pid"), stay=300))
    thread.join()
    assert (record.status, record.tasks[0].state) == ("cancelled", "cancelled")
    assert gone(int((tmp_path / "pid").read_text()))


@dsl.component(base_image="python:3.11")
def bad_outputs(how: str, metrics: dsl.Output[dsl.Metrics]) -> float:
    import numpy as np

    if how == "nan":
        metrics.log_metric("loss", float("nan"))
    if how == "numpy":
        metrics.metadata["rows"] = np.int64(3)
    if how == "nested":
        metrics.metadata.update(curve=[{"x": 1.0}, {"x": float("-inf")}])
    return float("inf") if how == "returned" else 1.0


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", "the metadata of metrics: loss is nan"),
        ("numpy", "the metadata of metrics: rows is np.int64(3), a numpy.int64"),
        ("nested", "the metadata of metrics: curve[1]['x'] is -inf"),
        ("returned", "the returned value is inf"),
    ],
)
def test_what_json_cannot_hold_is_named_by_key_and_line(execute, how, message):
    record = execute(one(bad_outputs, how=how))
    assert record.status == "failed"
    assert record.tasks[0].error.startswith(message)
    if how in ("nan", "numpy"):
        line = 'metrics.log_metric("loss", float("nan"))' if how == "nan" else 'metrics.metadata["rows"] = np.int64(3)'
        assert record.tasks[0].error.endswith(line)
        assert "test_process.py:" in record.tasks[0].error


@dsl.container_component
def container_step(text: str):
    return dsl.ContainerSpec(image="alpine:3", command=["echo"], args=[text])


@dsl.container_component
def container_without_args():
    return dsl.ContainerSpec(image="alpine:3", command=["true"])


@dsl.component(base_image="python:3.11")
def harmless():
    pass


@pytest.mark.parametrize("step", [lambda: container_step(text="x"), container_without_args])
def test_container_is_refused_before_anything_starts(execute, tmp_path, step):
    @dsl.pipeline(name="inner")
    def inner():
        step()

    @dsl.pipeline(name="mixed")
    def mixed():
        harmless()
        with dsl.ParallelFor([1, 2]):
            inner()

    with pytest.raises(
        RequestError, match=r"The task for-loop-2/inner/container-\S+ runs the container image 'alpine:3'"
    ):
        execute(mixed)
    assert not [*tmp_path.glob("x/2*")]


def test_operator_of_google_is_refused_and_an_email_is_shown(execute):
    pytest.importorskip("google_cloud_pipeline_components")
    from google_cloud_pipeline_components.v1.custom_job import CustomTrainingJobOp
    from google_cloud_pipeline_components.v1.vertex_notification_email import VertexNotificationEmailOp

    @dsl.pipeline(name="training-there")
    def there():
        CustomTrainingJobOp(display_name="x", worker_pool_specs=[])

    with pytest.raises(RequestError, match="The task custom-training-job is an operator of google-cloud"):
        execute(there)

    @dsl.pipeline(name="mailing")
    def mailing():
        with dsl.ExitHandler(VertexNotificationEmailOp(recipients=["a@b.example"])):
            harmless()

    record = execute(mailing)
    assert record.status == "succeeded"
    (mail,) = [note for note in record._told.notes if note.startswith("E-mail to a@b.example: exit-handler-1")]
    assert mail.endswith("has ended: SUCCEEDED")


def test_accelerator_that_is_not_here_is_told(execute):
    @dsl.pipeline(name="accelerated")
    def accelerated():
        harmless().set_accelerator_type("NVIDIA_TESLA_T4").set_accelerator_limit(1)

    record = execute(accelerated)
    assert record.status == "succeeded"
    assert any("harmless: the pipeline asks for an accelerator" in note for note in record._told.notes)
