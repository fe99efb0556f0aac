import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from pipeline import console
from pipeline.graph import Node
from pipeline.runs import Data, Git, Run, Task

FAST = ("--identifier", "x", "--data", "sample:100", "--set", "max_iter=1")


def test_quiet_shows_the_result_only(local_run):
    done = local_run(*FAST, "--quiet")
    assert done.err == ""
    assert done.out.startswith("training of x, test rows")
    assert "cached" in local_run(*FAST).err  # the next command shows its progress


def test_json_prints_the_record_and_nothing_else(local_run, tmp_path):
    done = local_run(*FAST, "--json")
    assert json.loads(done.out) == done.record
    assert "started" in done.err
    (tmp_path / "rows.csv").write_text("size,kind\n1,a\n2,b\n3,\n")
    failed = local_run(
        "--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--label", "kind", "--json", "--quiet"
    )
    assert failed.status == 1
    assert json.loads(failed.out)["status"] == "failed"
    assert "1 of 3 rows have no label" in failed.err


@pytest.mark.parametrize("flag", [("--check",), ("--compile-only", "spec.yaml")])
def test_json_of_what_runs_nothing_is_refused(local_run, flag):
    refused = local_run("--identifier", "x", "--json", *flag)
    assert refused.status == 2
    assert "--json prints the record of a run" in refused.err


@pytest.fixture
def shown(monkeypatch):
    """Show the live table of a run on a terminal of 20 lines."""

    def show(tasks):
        run = Run(
            identifier="x",
            run_id="1",
            pipeline="training",
            engine="local",
            started=datetime.now(UTC),
            parameters={},
            data=Data(source="", fingerprint=""),
            git=Git(commit=None, dirty=None),
            versions={},
            tasks=tasks,
        )
        nodes = [Node(name, name, name, name == "train", None) for name in ("prepare", "train", "evaluate")]
        terminal = Console(file=StringIO(), width=80, height=20)
        monkeypatch.setattr(console, "progress_console", terminal)
        terminal.print(console.LiveTable(run, nodes))
        return [line.split() for line in terminal.file.getvalue().splitlines()]

    return show


def test_live_table_has_a_line_for_each_task_and_item(shown):
    prepare = Task(name="prepare", state="succeeded", seconds=1.5, cached=True)
    items = [Task(name="train", item=code, state="failed", seconds=2.0) for code in range(2)]
    assert shown([prepare, *items]) == [
        ["task", "item", "state", "seconds"],
        ["prepare", "cached", "1.5"],
        ["train", "0", "failed", "2.0"],
        ["train", "1", "failed", "2.0"],
        ["evaluate", "waiting"],
    ]


def test_live_table_of_a_long_loop_folds_what_has_ended_to_fit_the_terminal(shown):
    ended = [Task(name="train", item=code, state="succeeded", seconds=2.0) for code in range(58)]
    running = [Task(name="train", item=code) for code in (58, 59)]
    lines = shown([*ended, *running])
    assert lines[2:] == [
        ["train", "58", "items", "succeeded", "116.0"],
        ["train", "58", "running"],
        ["train", "59", "running"],
        ["evaluate", "waiting"],
    ]
