"""Errors have one door: whatever goes wrong, a command ends with a few lines and the right status."""

import errno
import os
import re
import subprocess
import sys

import pytest

from pipeline import ROOT, RequestError, StartedError, __main__, command_line, runs, started, storage
from pipeline.texts import printable, shortened, words

FAST = ("--identifier", "x", "--data", "sample:50", "--set", "max_iter=2")


def shell(command, runs_dir, cwd=ROOT):
    """Run a line of the shell, in which $RUN stands for a fast run of the command line."""
    run = f"{sys.executable} {ROOT / 'run.py'} {' '.join(FAST)}"
    environment = os.environ | {"RUN": run, "COVERTYPE_RUNS_DIR": str(runs_dir)}
    return subprocess.run(["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=90)


@pytest.mark.parametrize(
    "streams", ["<&- >&- 2>&-", *(pytest.param(one, marks=pytest.mark.slow) for one in (">&-", "2>&-"))]
)
@pytest.mark.slow
def test_run_with_closed_streams_is_recorded(tmp_path, streams):
    done = shell(f"$RUN {streams}", tmp_path)
    assert (done.returncode, runs.load("x", "latest", tmp_path).status) == (0, "succeeded"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_run_whose_reader_has_gone_goes_on_and_has_its_own_status(tmp_path):
    done = shell("set -o pipefail; $RUN 2>&1 | head -1", tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    done = shell("set -o pipefail; $RUN --json 2>/dev/full | true", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len([*tmp_path.glob("x/2*")]) == 2
    assert runs.load("x", "latest", tmp_path).status == "succeeded"


@pytest.mark.slow
def test_result_that_cannot_be_written_is_told(tmp_path):
    done = shell("$RUN --quiet >/dev/full", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch("Error: standard output cannot be written: the disk is full: .*\n", done.stderr)
    assert runs.load("x", "latest", tmp_path).status == "succeeded"


@pytest.mark.parametrize("folder", ["/proc/x", "/etc/passwd", "/dev/null/x", "a" * 300, "loop"])
def test_folder_of_runs_that_cannot_be_is_told(tmp_path, folder):
    (tmp_path / "loop").symlink_to("loop")
    refused = shell("$RUN", folder if "/" in folder else tmp_path / folder)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "COVERTYPE_RUNS_DIR" in refused.stderr or "Its links lead nowhere" in refused.stderr
    assert all(len(line) < 400 for line in refused.stderr.splitlines())


def test_current_folder_that_is_gone_is_told(tmp_path):
    (tmp_path / "gone").mkdir()
    done = shell("rmdir $PWD; $RUN", tmp_path / "runs", tmp_path / "gone")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The current folder cannot be used: No such file or directory.")


@pytest.mark.parametrize("number", [*errno.errorcode])
def test_every_error_of_the_system_leaves_in_a_line(capsys, number, tmp_path):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number), str(tmp_path / "a"))

    def fails_later(*_, **__):
        with started():
            fails()

    for app, expected in ((fails, 2), (fails_later, 1)):
        assert command_line(app, []) == expected
        told = capsys.readouterr().err
        assert told.startswith("Error: ")
        assert told.count("\n") == 1
        assert str(tmp_path / "a") in told


def test_what_to_do_is_told():
    path = "/a\x1b]0;own\x07/" + "b" * 300
    told = words(OSError(errno.EROFS, "Read-only file system", path))
    assert re.fullmatch(r"/a\\x1b\]0;own\\x07/b+…b+: Read-only file system\. COVERTYPE_RUNS_DIR names .*", told)
    assert words(OSError(errno.EMFILE, "Too many open files")).endswith("ulimit -n 1024")
    full = words(OSError(errno.ENOSPC, "No space left on device", "a"))
    assert full == "the disk is full: [Errno 28] No space left on device: 'a'. Free some space and run again."
    assert words(OSError("odd")) == "OSError: odd"
    assert "memory" in words(MemoryError())
    assert "nested too deeply" in words(RecursionError())


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (RequestError("wrong \x1b[31mred"), 2, r"Error: wrong \\x1b\[31mred\n"),
        (StartedError("it broke"), 1, "Error: it broke\n"),
        (MemoryError(), 2, "Error: the memory ran out.*\n"),
        (SystemExit(3), 3, ""),
        (SystemExit("no more"), 1, "Error: no more\n"),
        (EOFError(), 1, "Error: this should not have happened: EOFError\nLog: .*\n"),
    ],
)
def test_error_has_its_status_and_its_words(capsys, tmp_path, monkeypatch, error, status, told):
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path))

    def fails(*_, **__):
        raise error

    assert command_line(fails, []) == status
    assert re.fullmatch(told, capsys.readouterr().err)


@pytest.mark.parametrize("writable", [True, False])
def test_error_of_ours_is_told_with_a_log(capsys, tmp_path, monkeypatch, writable):
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path) if writable else "/proc/x")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert command_line(lambda *_, **__: {}["key"], []) == 1
    told = capsys.readouterr().err
    log = next(tmp_path.glob(".errors/*.log" if writable else "*.log"))
    assert told == f"Error: this should not have happened: KeyError: 'key'\nLog: {log}\n"
    assert "KeyError: 'key'" in log.read_text()


def test_error_of_the_command_line_itself_is_told_in_two_lines(local_run):
    refused = local_run("--identifier", "x", "--" + "n" * 5_000)
    assert refused.status == 2
    assert re.fullmatch("Error: No such option: --n+…n+\nTry: .* --help\n", refused.err)
    assert len(refused.err) < 500


def test_values_are_shown_short_and_without_control_characters():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert shortened(deep) == "<list>"
    assert shortened(10**5_000) == "<int>"
    assert shortened("a" * 100) == f"'{'a' * 58}…"
    assert printable("a\tb\x9b1\nc\udcff é") == "a\tb\\x9b1\nc\\udcff é"
    assert len(printable("a" * 1_000, 30)) == 30


def test_start_up_stays_light():
    code = "import pipeline.texts, pipeline.streams, sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"typer", "rich", "pydantic", "json", "tempfile"} & {*printed.stdout.split()}


@pytest.mark.parametrize("place", ["gs://no-such-bucket-of-anyone/model"])
@pytest.mark.parametrize("verb", [["serve", "x", "--model"], ["predict", "x", "rows.csv", "-o", "out.csv", "--model"]])
def test_what_lies_in_a_bucket_needs_credentials_and_says_so(verb, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    storage.client.cache_clear()
    (tmp_path / "rows.csv").write_text("a\n1\n")
    assert __main__.main([*verb, place]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"Error: The model {place} cannot be read: ")
    assert "gcloud auth application-default login" in told
