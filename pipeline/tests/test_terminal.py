import json
import os
import re
import subprocess
import sys

import pytest

from pipeline import ROOT, console, runs
from pipeline import __main__ as verbs
from pipeline.texts import printable, printable_json

RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HOSTILE = "a\x1b]0;own\x07\x9b31m\u202eb"


@pytest.fixture
def table(tmp_path):
    """A table whose file, label, column and classes have what a terminal would act on."""
    path = tmp_path / "rows \x1b[31m.csv"
    rows = "".join(f"{n % 7},{n % 3},c\x1b[{n % 2}m\n" for n in range(60))
    path.write_text(f"{HOSTILE}é,size,k\x1b[2J\n{rows}")
    return "--identifier", "x", "--data", str(path), "--label", "k\x1b[2J", "--set", "max_iter=1"


def test_controls_are_shown_and_lines_stay():
    assert printable("a\x1b[31m\tb\n\x9b\u202e\x7fé") == "a\\x1b[31m\tb\n\\x9b\\u202e\\x7fé"
    value = {"é": "\x1b\x7f\x9b\u202e\ud800😀"}
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        for encoding in ("utf-8", "ascii"):
            shown = printable_json(text, encoding)
            assert not RAW.search(shown)
            assert json.loads(shown.encode(encoding)) == value


def test_names_of_a_table_leave_the_terminal_alone(local_run, table, capsys):
    shown = []
    for extra in (("--check",), (), ("--json",), ("--set", "\x1b[31m=1")):
        done = local_run(*table, *extra)
        assert done.status == (2 if "\x1b[31m=1" in extra else 0), done.err
        shown += [done.out, done.err]
    for verb in (["runs", "x"], ["compare", "x"], ["replay", "x", "latest/split-data"], ["runs", "\x1b[31m"]):
        verbs.main(verb)
        shown += capsys.readouterr()
    verbs.main(["\x1b[31m"])
    local_run("--\x1b[31m")
    shown += capsys.readouterr()
    for text in shown:
        assert not RAW.search(text), text
    assert "\\x1b[31m" in "".join(shown)


def test_records_of_others_leave_the_terminal_alone(local_run, table, capsys):
    done = local_run(*table)
    record = done.record
    record["tasks"][0] |= {"state": "failed", "error": HOSTILE, "log": HOSTILE, "outputs": {"x": HOSTILE}}
    record |= {"status": "failed", "error": HOSTILE, "url": f"https://{HOSTILE}", "engine": HOSTILE, "report": HOSTILE}
    (done.folder / "run.json").write_text(json.dumps(record))
    found = runs.read(done.folder)
    console.show_history([found], [HOSTILE])
    console.show_result(found)
    console.show_outputs({HOSTILE: HOSTILE})
    console.show_json(found)
    for text in capsys.readouterr():
        assert not RAW.search(text)
        assert "\\x1b]0;own" in text


def test_json_of_a_record_that_another_has_damaged_is_told(local_run, table, capsys):
    done = local_run(*table)
    found = runs.read(done.folder)
    (done.folder / "run.json").write_text("{")
    console.show_json(found)
    shown = capsys.readouterr()
    assert json.loads(shown.out) == done.record
    assert "run.json cannot be read: " in shown.err


@pytest.mark.parametrize(
    ("terminal", "flag"),
    [
        pytest.param({"PYTHONIOENCODING": "ascii", "COLUMNS": "1", "LINES": "0"}, "--json", marks=pytest.mark.slow),
        ({"PYTHONIOENCODING": "latin-1", "COLUMNS": "10"}, "--check"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "²"}, "--check"),
        ({"PYTHONIOENCODING": "ascii", "TERMINAL_WIDTH": "x"}, "--help"),
    ],
)
def test_any_terminal_is_written_to(tmp_path, table, terminal, flag):
    environment = {**os.environ, **terminal, "COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    done = subprocess.run([sys.executable, "run.py", *table, flag], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    told = (done.stdout + done.stderr).decode("latin-1" if terminal.get("COLUMNS") == "10" else "ascii")
    assert "Traceback" not in told
    assert not RAW.search(told)
    if flag == "--json":
        assert json.loads(done.stdout)["status"] == "succeeded"
