import json
import random
from pathlib import Path

import pytest

from pipeline import compare, console, report, results, runs
from pipeline.tests import mutations

FIGURES = {"accuracy": 0.5, "macro_f1": 0.5, "rows": {"a": 1}, "precision": {"a": 1.0}, "recall": {"a": 1.0}}


@pytest.mark.slow
def test_damaged_files_are_read_or_refused():
    found = mutations.damage(100, seed=13, seconds=30)
    assert not found.faults
    assert {name.split()[0] for name in found.counts} == {
        "cache",
        "inputs",
        "pipeline.yaml",
        "pyproject.toml",
        "run.json",
        "schema",
    }
    assert sum(count for name, count in found.counts.items() if name.endswith("refused")) > 50


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_whatever_is_drawn():
    assert not mutations.damage(100_000, seed=random.randrange(1 << 32), seconds=45).faults


@pytest.fixture
def record(tmp_path):
    """Make a run whose record has a value in each place that may hold any."""

    def make(value, name="2" * 8 + "T000000-0000"):
        folder = tmp_path / "x" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(
            json.dumps(
                {
                    "identifier": "x",
                    "run_id": name,
                    "pipeline": "training",
                    "engine": "local",
                    "status": "succeeded",
                    "started": "2026-01-01T00:00:00Z",
                    "parameters": {"max_iter": value, "\x1b[31m": 1},
                    "data": {"source": "\x1b]0;own\x07", "fingerprint": "f" * 5_000, "rows": 10**30},
                    "git": {"commit": "\x9b31m", "dirty": None},
                    "versions": {"python": "\u202e" + "3" * 5_000},
                    "tasks": [{"name": "a", "item": value, "values": {"out": value}, "seconds": 1e300}],
                    "outputs": {"out": value},
                    "metrics": FIGURES | {"f1": {"a": value}, "accuracy": value, "loss": value, "of": {"each": value}},
                }
            )
        )
        return runs.read(folder)

    return make


@pytest.mark.parametrize(
    "value", [value for value in mutations.OTHERS if value != "\ud800"], ids=lambda value: ascii(value)[:20]
)
def test_values_of_any_type_are_shown(record, value, capsys):
    pair = [record(value), record(0.5, "2" * 8 + "T000000-0001")]
    console.show_history([*pair], [])
    console.show_history([*reversed(pair)], [])
    for run, former in (pair, pair[::-1]):
        console.show_result(run)
        console.show_json(run)
        console.show_comparison(run, former, compare.compare(run, former))
        assert "</section>" in report.complete("<!-- verdict --><!-- run -->", run, former)
        assert results.figures(run) is not None
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*text}
    assert all(len(line) < 1_000 for line in shown.out.splitlines() if not line.startswith("{"))  # the record is whole


def test_place_that_no_file_can_have_is_outside_of_a_run(record, tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    for place in ("a\0b", "x" * 300, str(tmp_path / "circle")):
        assert not record(1).holds(Path(place))
