"""Every case of the suite by the local engine; slowly also by kfp.local as it comes and by the played service."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import ROOT, compiler, engines, runs
from pipeline.engines.local import LocalEngine
from pipeline.settings import Settings, settle
from pipeline.target import Target
from pipeline.tests.conformance import artifacts, conditions, failures, graphs, loops, parameters, results  # noqa: F401
from pipeline.tests.conformance.cases import CASES


class Told:
    """Progress that remembers what it was told."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)

    def submitted(self, run): ...

    def started(self, task): ...

    def ended(self, task): ...


def arguments(case, folder):
    return json.loads(json.dumps(case.parameters).replace("<tmp>", str(folder)))


def executed(case, folder, engine, name="local", fuse=False):
    """Run a case by an engine; return its record and what was told."""
    given, told = arguments(case, folder), Told()
    record = runs.new(
        folder / "runs",
        "x",
        pipeline="x",
        engine=name,
        profile="small",
        parameters=given,
        data=runs.Data(source="none", fingerprint=""),
    )
    compiler.compile_pipeline(case.pipeline, folder / "spec.yaml", Target(name, caching=False, fuse=fuse))
    record.begin(folder / "spec.yaml")
    engines.execute(engine, given, record, told)
    return record, told


def returned(record, path):
    """What a task has returned, as it wrote it."""
    written = json.loads((record.folder / "artifacts" / path / "executor_output.json").read_text())
    return written["parameterValues"]["Output"]


def content(value):
    """The content of an artifact's file, a parameter as it is."""
    if isinstance(value, list):
        return [content(each) for each in value]
    return Path(value).read_text() if isinstance(value, str) and Path(value).is_file() else value


def by_state(record):
    found = {}
    for task in record.tasks:
        found.setdefault(task.state, {})[task.path] = task
    return SimpleNamespace(**{state: found.get(state, {}) for state in ("succeeded", "failed", "skipped", "cancelled")})


@pytest.mark.parametrize("name", CASES)
def test_case_is_right_on_this_machine(name, tmp_path):
    case = CASES[name]
    record, told = executed(case, tmp_path, LocalEngine(Settings(runs_dir=tmp_path / "runs")))
    tasks = by_state(record)
    assert record.error is None
    assert set(tasks.succeeded) == set(case.ran)
    for path, value in case.ran.items():
        if value is not ...:
            assert returned(record, path) == value
    assert set(tasks.skipped) == set(case.skipped)
    assert all(task.reason for task in tasks.skipped.values())
    assert set(tasks.failed) == set(case.failed)
    for path, message in case.failed.items():
        assert message in tasks.failed[path].error
    assert tasks.cancelled == {}
    assert record.status == ("failed" if set(case.failed) - set(case.ran) else "succeeded")
    assert {key: content(value) for key, value in record.outputs.items()} == case.outputs
    assert all(any(part in note for note in told.notes) for part in case.says)
    titles = [task.title for task in record.tasks]
    assert len(set(titles)) == len({task.path for task in record.tasks})


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_case_is_right_with_its_chains_joined(name, tmp_path):
    case = CASES[name]
    record, _ = executed(case, tmp_path, LocalEngine(Settings(runs_dir=tmp_path / "runs")), fuse=True)
    tasks = by_state(record)
    assert record.error is None
    assert set(tasks.succeeded) == set(case.ran)
    for path, value in case.ran.items():
        if value is not ...:
            assert tasks.succeeded[path].values["Output"] == value
    assert set(tasks.skipped) == set(case.skipped)
    assert set(tasks.failed) == set(case.failed)
    for path, message in case.failed.items():
        assert message in tasks.failed[path].error
    assert record.status == ("failed" if set(case.failed) - set(case.ran) else "succeeded")
    assert {key: content(value) for key, value in record.outputs.items()} == case.outputs
    titles = [task.title for task in record.tasks]
    assert len(set(titles)) == len({task.path for task in record.tasks})


STOCK = """
import importlib, json, sys
from kfp import dsl, local
module, name, folder, given = sys.argv[1:]
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder, raise_on_error=True)
importlib.import_module(module)
from pipeline.tests.conformance.cases import CASES
try:
    task = CASES[name].pipeline(**json.loads(given))
except RuntimeError as error:
    if "finished with status" not in str(error):
        raise
    print("RESULT", json.dumps(["FAILED", {}]))
    sys.exit()
def content(value):
    if isinstance(value, list):
        return [content(each) for each in value]
    return open(value.path).read() if isinstance(value, dsl.Artifact) else value
print("RESULT", json.dumps(["SUCCEEDED", {key: content(value) for key, value in task.outputs.items()}]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.stock])
def test_case_has_the_outcome_of_kfp_local_as_it_comes(name, tmp_path):
    case = CASES[name]
    given = json.dumps(arguments(case, tmp_path))
    command = [sys.executable, "-c", STOCK, case.pipeline.pipeline_func.__module__, name, str(tmp_path / "root"), given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    told = [line.partition("RESULT ")[2] for line in done.stdout.splitlines() if "RESULT " in line]  # it indents lines
    assert told, done.stderr[-2000:]
    state, outputs = json.loads(told[0])
    assert state == ("FAILED" if set(case.failed) - set(case.ran) else "SUCCEEDED")
    assert outputs == case.outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.vertex])
def test_case_is_right_on_the_played_service(name, tmp_path, vertex):
    case = CASES[name]
    with redirect_stdout(io.StringIO()):
        engine = engines.choose(settle(identifier="x", engine="vertex"), caching=False)
        record, _ = executed(case, tmp_path, engine, name="vertex")
    assert record.status == ("failed" if set(case.failed) - set(case.ran) else "succeeded")
    assert {task.path for task in record.tasks} == {*case.ran, *case.failed}
    assert len({task.title for task in record.tasks}) == len(record.tasks)
    assert record.outputs.keys() == case.outputs.keys()
    values = {key: value for key, value in record.outputs.items() if "gs://" not in str(value)}
    assert values == {key: case.outputs[key] for key in values}
