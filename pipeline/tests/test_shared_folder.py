"""A folder of runs that people and processes share."""

import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from pipeline import ROOT, RequestError, files, history, run_folders, runs
from pipeline.runs import Data


@pytest.fixture
def begin(tmp_path):
    """Begin a run of the identifier x."""
    (tmp_path / "spec.yaml").write_text("{}")

    def begun():
        data = Data(source="none", fingerprint="")
        run = runs.new(tmp_path / "runs", "x", pipeline="training", engine="local", parameters={}, data=data)
        run.begin(tmp_path / "spec.yaml")
        return run

    return begun


def latest(tmp_path):
    """What the link says, which is what the verbs say."""
    name = os.readlink(tmp_path / "runs" / "x" / "latest")
    assert name == runs.load("x", "latest", tmp_path / "runs").run_id
    return name


@pytest.mark.slow
def test_discarding_a_run_takes_no_other(begin, tmp_path):
    """Runs begin while others are discarded under the same identifier."""
    stopped = threading.Event()

    def discard():
        while not stopped.is_set():
            assert runs.discard(begin())

    thread = threading.Thread(target=discard)
    thread.start()
    begun = []
    for _ in range(150):
        begun.append(begin())
        begun[-1].finish("succeeded")
    stopped.set()
    thread.join()
    assert [run.folder for run in begun if not (run.folder / "run.json").exists()] == []
    assert [run.run_id for run in begun] == sorted(run.run_id for run in begun)
    assert latest(tmp_path) == begun[-1].run_id
    assert {path.name for path in (tmp_path / "runs" / "x").iterdir()} == {"latest", *(run.run_id for run in begun)}


def test_latest_is_the_last_to_begin_even_where_the_clock_was_set_back(begin, tmp_path, monkeypatch):
    first = begin()

    class Yesterday(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) - timedelta(days=1)

    monkeypatch.setattr(runs, "datetime", Yesterday)
    second = begin()
    assert second.run_id > first.run_id
    assert second.started < first.started
    assert latest(tmp_path) == second.run_id
    assert runs.load("x", "previous", tmp_path / "runs").run_id == first.run_id


def test_id_after_the_last_of_a_second():
    assert run_folders.id_after("20261231T235959-00ff") == "20261231T235959-0100"
    assert run_folders.id_after("20261231T235959-ffff") == "20270101T000000-0000"


def test_what_is_no_run_is_none_of_the_runs(begin, tmp_path, capsys):
    run = begin()
    for name in ("notes", "20260101", ".begin-0000"):
        (run.folder.parent / name).mkdir()
    assert runs.folders(tmp_path / "runs", "x") == [run.folder]
    for identifier in ("y", "/etc", "../runs/y", ""):
        (tmp_path / "runs" / "y" / "a").mkdir(parents=True, exist_ok=True)
        with pytest.raises(RequestError, match=r"There are no runs of .*There are runs of: x\."):
            history.of(tmp_path / "runs", identifier)


def test_record_in_the_folder_of_another_run_is_refused(begin, tmp_path):
    run = begin()
    written = json.loads((run.folder / "run.json").read_text())
    for name, value in (("identifier", "../../evil"), ("run_id", "20260101T000000-0000")):
        (run.folder / "run.json").write_text(json.dumps(written | {name: value}))
        with pytest.raises(RequestError, match="it is that of another run"):
            runs.load("x", "latest", tmp_path / "runs")


@pytest.mark.parametrize("umask", [0o002, *(pytest.param(umask, marks=pytest.mark.slow) for umask in (0o022, 0o077))])
@pytest.mark.slow
def test_modes_follow_the_umask(tmp_path, umask):
    command = [sys.executable, "run.py", "--identifier", "x", "--data", "sample:200", "--set", "max_iter=1"]
    environment = {**os.environ, "COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, umask=umask)
    strange = {}
    for path in (tmp_path / "runs").rglob("*"):
        expected = (0o777 if path.is_dir() else 0o666) & ~umask
        if not path.is_symlink() and (mode := stat.S_IMODE(path.stat().st_mode)) != expected:
            strange[str(path.relative_to(tmp_path))] = oct(mode)
    assert strange == {}


@pytest.fixture
def another_user():
    """Run run.py as another user, who may read all and write what the modes allow."""
    allowed = ["--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search"]
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *allowed]
    try:
        subprocess.run([*user, sys.executable, "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("it takes root and setpriv to be another user")

    def run(runs_dir, umask):
        command = [*user, sys.executable, "run.py", "--identifier", "x", "--data", "sample:200", "--set", "max_iter=1"]
        environment = {**os.environ, "COVERTYPE_RUNS_DIR": str(runs_dir), "HOME": "/nonexistent"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, umask=umask)

    return run


@pytest.mark.slow
def test_two_users_share_runs_and_cache(another_user, local_run, tmp_path):
    former = os.umask(0)
    try:
        tmp_path.chmod(0o755)
        for parent in (tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(0o755)
        assert local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=1").status == 0
        done = another_user(tmp_path / "runs", 0)
    finally:
        os.umask(former)
    assert done.returncode == 0, done.stderr
    second = runs.load("x", "latest", tmp_path / "runs")
    assert [task.name for task in second.tasks if not task.cached] == ["promote-model"]
    assert second.folder.stat().st_uid == 65534
    third = local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=1")
    assert third.status == 0
    assert [task["name"] for task in third.record["tasks"] if not task["cached"]] == ["promote-model"]


@pytest.mark.slow
def test_folder_of_another_user_is_told_in_words(another_user, local_run, tmp_path):
    assert local_run("--identifier", "x", "--data", "sample:200", "--set", "max_iter=1").status == 0
    done = another_user(tmp_path / "runs", 0o022)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "Permission denied" in done.stderr


def test_file_that_is_read_is_a_regular_one(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, reason in ((tmp_path / "fifo", "no regular file"), (tmp_path, "no regular"), ("/dev/zero", "no regular")):
        with pytest.raises(files.Damaged, match=reason):
            files.text(path if path != "/dev/zero" else type(tmp_path)(path))
    (tmp_path / "deep").write_text("[" * 10_000 + "]" * 10_000)
    with pytest.raises(files.Damaged, match="recursion"):
        files.read(tmp_path / "deep", list)
