"""An end is an end: whatever ends a command ends all that it has started, and its record says so."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from pipeline import ROOT, console, ending, engines, history, runs

STAYING = """
from kfp import dsl


@dsl.component(base_image="python:3.11")
def stay(folder: str):
    import pathlib
    import subprocess
    import tempfile
    import time

    apart = subprocess.Popen(["sleep", "300"], start_new_session=True)
    pathlib.Path(folder, "apart").write_text(str(apart.pid))
    with open(tempfile.mkstemp()[1], "w") as file:
        file.write("to be swept")
    print("stays", flush=True)
    time.sleep(300)


@dsl.pipeline(name="staying")
def staying(folder: str):
    stay(folder=folder)
"""


@pytest.fixture
def staying(tmp_path):
    """Start a run whose step stays, has a process in a session of its own, and a temporary file; it is begun anew."""
    (tmp_path / "own.py").write_text(STAYING)
    (tmp_path / "temporary").mkdir()
    processes = []

    def start():
        environment = {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs"), "TMPDIR": str(tmp_path / "temporary")}
        named = ["--identifier", "x", "--pipeline", f"{tmp_path}/own.py:staying", "--set", f"folder={tmp_path}"]
        process = subprocess.Popen(
            [sys.executable, "run.py", *named],
            cwd=ROOT,
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        logs = "runs/x/2*/logs/stay.log"
        wait_for(lambda: sum("stays" in log.read_text() for log in tmp_path.glob(logs)) == len(processes), 60)
        started = [*psutil.Process(process.pid).children(recursive=True)]
        apart = psutil.Process(int((tmp_path / "apart").read_text()))
        return process, {*started, apart}

    yield start
    for process in processes:
        process.kill()


def wait_for(happened, seconds):
    until = time.monotonic() + seconds
    while not happened() and time.monotonic() < until:
        time.sleep(0.01)
    assert happened()


def alive(processes):
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def left_behind(tmp_path):
    return [*(tmp_path / "temporary").iterdir(), *tmp_path.glob("runs/x/2*/tmp"), *tmp_path.glob("runs/**/.*.tmp")]


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([signal.SIGINT] * 10, "interrupted by Ctrl-C"),
        ([signal.SIGTERM, signal.SIGINT], "ended by SIGTERM"),
        ([signal.SIGHUP], "ended by SIGHUP: its terminal was closed"),
    ],
)
def test_first_signal_ends_all_that_was_started(staying, tmp_path, numbers, reason):
    process, started = staying()
    begun = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.01)
    shown = process.communicate(timeout=10)[1]
    wait_for(lambda: not alive(started), 2 - (time.monotonic() - begun))
    assert process.returncode == 130
    assert Counter(shown.splitlines())[f"Error: {reason}"] == 1
    assert not re.search("Traceback|race condition", shown)
    record = runs.load("x", "latest", tmp_path / "runs")
    assert (record.status, record.error, record.tasks[0].state) == ("cancelled", reason, "cancelled")
    wait_for(lambda: not left_behind(tmp_path), 2)


def test_run_whose_process_was_killed_is_lost_and_the_next_one_sweeps(staying, tmp_path, capsys):
    process, started = staying()
    (record,) = history.of(tmp_path / "runs", "x")[0]
    assert record.status == "running"
    process.kill()
    wait_for(lambda: not alive(started), 2)
    record = runs.load("x", "latest", tmp_path / "runs")
    assert (record.status, record.tasks[0].state) == ("lost", "lost")
    assert re.match(
        rf"the process {process.pid} of \S+ on \S+ ended without a word; it was last heard of", record.error
    )
    console.show_history(*history.of(tmp_path / "runs", "x"))
    assert re.search(rf"{record.run_id} .*lost", capsys.readouterr().out)
    assert json.loads((record.folder / "run.json").read_text())["status"] == "running"  # nobody has written since

    wait_for(lambda: not [*(tmp_path / "temporary").iterdir()], 2)
    assert [*record.temporary.glob("tmp*")]
    (record.folder / ".0123abcd.tmp").touch()
    second, _ = staying()
    assert not record.temporary.exists()
    assert [path.parent.parent.parent for path in left_behind(tmp_path)] == [tmp_path / "runs"]  # that of the second
    second.send_signal(signal.SIGTERM)
    second.wait(10)


def test_signal_before_a_run_has_begun_ends_the_command_in_one_line(tmp_path):
    environment = {**os.environ, "COVERTYPE_RUNS_DIR": str(tmp_path / "runs"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "run.py", "--identifier", "x", "--data", "sample:900000"]  # takes its time to be drawn
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert "Engine" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=10)[1]
    assert (process.returncode, shown) == (130, "Error: interrupted by Ctrl-C.\n")
    assert not [*tmp_path.glob("runs/x/*")]


def test_ignored_hangup_stays_ignored(staying, tmp_path):
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; it is inherited
    try:
        process, _ = staying()
    finally:
        signal.signal(signal.SIGHUP, former)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130


def test_signal_while_a_thread_is_started_does_not_wait_for_its_lock():
    """Found by random signals: the main thread takes threading's lock whenever it starts one."""
    code = (
        "import os, signal, threading\n"
        "from pipeline import ending\n"
        "with ending.by_signals(), threading._active_limbo_lock:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=10)
    assert done.returncode == 1
    assert done.stderr.endswith("Interrupted: interrupted by Ctrl-C\n")


def test_error_that_an_interrupt_has_caused_is_none_of_the_run(tmp_path, monkeypatch):
    (tmp_path / "spec.yaml").write_text("{}")
    data = runs.Data(source="none", fingerprint="")
    run = runs.new(tmp_path, "x", pipeline="training", engine="local", parameters={}, data=data)
    run.begin(tmp_path / "spec.yaml")
    monkeypatch.setattr(ending, "came", True)

    def watch():
        run.interrupt("interrupted by Ctrl-C")
        raise RuntimeError("cannot join thread before it is started")

    assert engines.record(watch, run, console.Lines()) == "cancelled"
    assert runs.read(run.folder).error == "interrupted by Ctrl-C"


def test_signal_while_a_run_is_concluded_leaves_it_whole(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline import console, ending, engines, results, runs\n"
        "def conclude(run):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    run.metrics = {'loss': 1}\n"
        "    return []\n"
        "results.conclude = conclude\n"
        "data = runs.Data(source='none', fingerprint='')\n"
        "run = runs.new(Path(sys.argv[1]), 'x', pipeline='p', engine='local', parameters={}, data=data)\n"
        "run.begin('{}')\n"
        "with ending.by_signals():\n"
        "    engines.record(lambda: 'succeeded', run, console.Lines())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=10)
    assert done.stderr.endswith("Interrupted: ended by SIGTERM\n")
    run = runs.load("x", "latest", tmp_path)
    assert (run.status, run.metrics) == ("succeeded", {"loss": 1})


def test_signals_in_the_midst_of_the_handling_of_the_first_are_ignored():
    """Found by random signals: the next came before the first had set its own handling aside."""
    code = (
        "import os, signal, sys\n"
        "from pipeline import ending\n"
        "def trace(frame, event, _):\n"
        "    if event == 'line' and frame.f_code.co_name == 'end':\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return trace\n"
        "with ending.by_signals():\n"
        "    sys.settrace(trace)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=10)
    assert done.returncode == 1
    assert "Interrupted: " in done.stderr.splitlines()[-1]
