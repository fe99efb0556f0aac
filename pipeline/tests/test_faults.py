"""Faults of the local engine, provoked for real: signals, a full disk, a package that a step forgot."""

import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from kfp import dsl

from pipeline import ROOT, RequestError, compiler, console, engines, graph, runs
from pipeline.engines import isolated, warm
from pipeline.engines.local import LocalEngine
from pipeline.graph import Install
from pipeline.settings import Settings
from pipeline.tests.test_process import execute  # noqa: F401

SLOW = ("--identifier", "x", "--data", "sample:20000", "--set", "max_iter=400")


@pytest.fixture
def started(tmp_path):
    """Start the command in a process of its own and wait until it shows something."""
    processes = []

    def start(until, *arguments):
        environment = os.environ | {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
        command = [sys.executable, "run.py", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        shown = ""
        while not re.search(until, shown):
            line = process.stderr.readline()
            assert line, shown
            shown += line
        return process

    yield start
    for process in processes:
        process.kill()


def descendants(process):
    return psutil.Process(process.pid).children(recursive=True)


def living(processes, timeout):
    """Return which processes have not ended after some seconds; one that only waits to be asked for its status has."""
    _, alive = psutil.wait_procs(processes, timeout=timeout)
    return [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def record_of(tmp_path):
    return json.loads(next((tmp_path / "runs" / "x").glob("2*/run.json")).read_text())


@pytest.mark.slow
def test_ctrl_c_ends_every_process_and_the_next_run_goes_on_from_there(started, tmp_path, local_run):
    process = started(r"train-model\[\d\] +started", *SLOW)
    children = descendants(process)
    assert len(children) >= 2
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=10)[1]
    assert time.monotonic() - begun < 2
    assert process.returncode == 130
    assert "Traceback" not in shown
    assert "Error: interrupted by Ctrl-C" in shown
    assert living(children, timeout=2) == []

    record = record_of(tmp_path)
    assert record["status"] == "cancelled"
    assert {task["state"] for task in record["tasks"]} == {"succeeded", "cancelled"}
    finished = {task["name"] for task in record["tasks"] if task["state"] == "succeeded"}
    again = local_run(*SLOW[:-1], "max_iter=5")
    assert again.status == 0
    assert {task["name"] for task in again.record["tasks"] if task["cached"]} == finished & {
        "prepare-data",
        "split-data",
        "preprocess",
    }


@pytest.mark.slow
def test_task_that_is_killed_is_told_with_the_signal_and_the_item(started, tmp_path):
    process = started(r"train-model\[\d\] +started", *SLOW)
    tasks = []
    while not tasks:  # they are children of the warm process
        tasks = [child for child in descendants(process) if child.ppid() != process.pid]
    tasks[0].kill()
    shown = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert re.search(r"Error: train-model\[\d\] failed: killed by SIGKILL, which often means that the memory", shown)
    states = [task["state"] for task in record_of(tmp_path)["tasks"] if task["name"] == "train-model"]
    assert states.count("failed") == 1
    assert len(states) < 7  # nothing new was started


@pytest.mark.slow
def test_warm_process_that_is_killed_is_told_and_the_next_run_has_another(started, tmp_path, local_run):
    process = started(r"train-model\[\d\] +started", *SLOW)
    while not (warm := [child for child in psutil.Process(process.pid).children() if child.children()]):
        time.sleep(0.01)
    warm[0].kill()
    shown = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert re.search(r"Error: train-model\[\d\] failed: .*has ended, which often means that the memory ran out", shown)
    assert "Traceback" not in shown
    assert record_of(tmp_path)["status"] == "failed"
    assert local_run(*SLOW[:-1], "max_iter=5").status == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "limit", "told"),
    [
        (resource.RLIMIT_NOFILE, 14, "Too many open files"),
        (resource.RLIMIT_FSIZE, 20_000, "File too large|SIGXFSZ"),
    ],
)
def test_what_is_scarce_is_named_and_the_run_is_recorded(tmp_path, what, limit, told):
    command = [sys.executable, "run.py", "--identifier", "x", "--data", "sample:2000", "--set", "max_iter=2"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "COVERTYPE_RUNS_DIR": str(tmp_path / "runs")},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(what, (limit, limit)),
    )
    assert done.returncode in (1, 2)
    assert re.search(f"Error: .*({told})", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert [json.loads(path.read_text())["status"] for path in tmp_path.glob("runs/x/2*/run.json")] in ([], ["failed"])
    assert not [*tmp_path.glob("runs/**/*.tmp"), *tmp_path.glob("runs/x/*/tmp")]


def test_memory_that_runs_out_is_named(execute):  # noqa: F811
    record = execute(eating)
    assert record.tasks[0].error.startswith("MemoryError")


@dsl.component(base_image="python:3.11")
def eat():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (10**10, 10**10))
    bytearray(10**11)


@dsl.pipeline(name="eating")
def eating():
    eat()


def test_warm_process_that_never_answers_is_given_up(tmp_path, monkeypatch, execute):  # noqa: F811
    (tmp_path / "never_imported.py").write_text("import time\ntime.sleep(300)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(warm, "MAX_START_SECONDS", 1.0)
    warm._end()
    try:
        record = execute(importing)
    finally:
        warm._preloaded.discard("never_imported")
        warm._end()
    assert "the process that it was forked from has ended" in record.tasks[0].error


@dsl.component(base_image="python:3.11")
def import_it():
    import never_imported

    assert never_imported


@dsl.pipeline(name="importing")
def importing():
    import_it()


@pytest.mark.slow
def test_no_process_outlives_a_run_that_is_killed(started):
    process = started(r"train-model\[\d\] +started", *SLOW)
    children = descendants(process)
    process.kill()
    assert living(children, timeout=5) == []


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="making a small disk takes root")
def test_full_disk_ends_with_one_clear_line(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        environment = os.environ | {"COVERTYPE_RUNS_DIR": str(disk / "runs")}
        command = [sys.executable, "run.py", "--identifier", "x", "--data", "sample:20000"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        told = [line for line in done.stderr.splitlines() if "disk is full" in line]
        assert 1 <= len(told) <= 2  # of the tasks that ran side by side
        assert all("Free some space and run again." in line for line in told)
        assert record_of(disk)["status"] == "failed"
        assert not [*disk.glob("runs/x/*/tmp"), *disk.glob("runs/**/*.tmp")]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@dsl.component(base_image="python:3.11", packages_to_install=["six==1.17.0"])
def has_its_package() -> str:
    import six

    return six.__version__


@dsl.component(base_image="python:3.11")
def forgot_its_package():
    import numpy

    print(numpy.__version__)


@dsl.pipeline(name="isolated")
def isolated_pipeline():
    forgot_its_package().after(has_its_package())


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    return tmp_path_factory.mktemp("environments")


def test_step_that_forgot_a_package_fails_alone_as_it_would_in_the_cloud(tmp_path, capsys):
    data = runs.Data(source="none", fingerprint="")
    compiler.compile_pipeline(isolated_pipeline, tmp_path / "spec.yaml")
    for isolate, state in ((False, "succeeded"), (True, "failed")):
        record = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters={}, data=data)
        record.begin(tmp_path / "spec.yaml")
        engine = LocalEngine(Settings(runs_dir=tmp_path), isolated=isolate)
        engines.execute(engine, {}, record, console.Lines())
        assert not any(task.cached for task in record.tasks)  # what ran with the packages of here proves nothing
        assert [task.state for task in record.tasks] == ["succeeded", state]
    assert record.tasks[1].error.startswith(
        "ModuleNotFoundError: No module named 'numpy'\n  pipeline/tests/test_faults.py:"
    )
    assert capsys.readouterr().err.count("Installing six==1.17.0\n") == 1
    # each set of packages has its environment, built once
    built = {path: path.stat().st_ctime_ns for path in (tmp_path / ".environments").iterdir()}
    assert len(built) == 2
    containers = graph.containers(graph.load(tmp_path / "spec.yaml")).values()
    (container,) = [container for container in containers if graph.packages(container) == ("six==1.17.0",)]
    python = isolated.environment(graph.installs(container), tmp_path / ".environments")
    assert {path: path.stat().st_ctime_ns for path in python.parents[2].iterdir()} == built
    listed = subprocess.run(
        [python, "-I", "-c", "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.split() == ["kfp", "six"]
    kept = (python.parents[1] / "requirements.txt").read_text()  # what it was installed by
    assert re.findall(r"^(\S+)==\S+ \\\n +--hash=sha256:[0-9a-f]{64}", kept, re.MULTILINE) == ["six", "kfp"]


def test_environment_is_for_whom_the_umask_says_and_what_has_no_hash_is_told(tmp_path):
    folder, old = tmp_path / "own", tmp_path / "e" / "building-old"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "own"\nversion = "1"\n[tool.setuptools]\npackages = []\n')
    old.mkdir(parents=True)
    os.utime(old, (1, 1))
    told, former = [], os.umask(0o027)
    try:
        python = isolated.environment([Install((), (str(folder),))], tmp_path / "e", told.append)
    finally:
        os.umask(former)
    assert told == [f"Installing {folder}", f"Installing without a hash, as it has none: {folder}"]
    assert stat.S_IMODE(python.parents[1].stat().st_mode) == 0o750
    assert not old.exists()


def test_package_that_does_not_exist_is_told_and_nothing_is_started(tmp_path):
    with pytest.raises(RequestError, match="--isolated: the packages of a step cannot be installed:\n") as told:
        isolated.environment([Install((), ("six==99.99.99",))], tmp_path)
    assert str(told.value).count("\n") <= 4
    assert [*tmp_path.iterdir()] == []


def test_log_of_every_task_is_named_in_the_record(local_run):
    done = local_run("--identifier", "x", "--data", "sample:100", "--set", "max_iter=1")
    assert all(Path(task["log"]).is_file() for task in done.record["tasks"])
