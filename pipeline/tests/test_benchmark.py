"""The benchmark: its rows, its plain script, what it measures, and what it says."""

import json
import re
import subprocess
import sys

import joblib
import pandas as pd
import pytest

from pipeline import ROOT, RequestError, compiler
from pipeline.benchmark import METRICS, PARAMETERS, command, measuring, minimal, tables
from pipeline.benchmark import rows as making

LABEL = "Cover_Type"


@pytest.fixture
def table(rows, tmp_path):
    path = tmp_path / "rows.csv"
    rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("count", [14, 1_000, 5_000])
def test_made_rows_are_as_many_as_asked_for_with_the_same_columns_and_classes(
    rows, table, tmp_path, monkeypatch, count
):
    monkeypatch.setattr(making, "CHUNK", 900)
    made = pd.read_csv(making.make_rows(table, LABEL, count, tmp_path / "made.csv"))

    assert len(made) == count
    assert [*made] == [*rows]
    assert (made.dtypes == pd.read_csv(table).dtypes).all()  # whole numbers are whole
    assert made[LABEL].value_counts().min() >= 2
    assert {*made[LABEL]} == {*rows[LABEL]}
    assert {*made["Soil_Type"]} <= {*rows["Soil_Type"]}
    assert made["Elevation"].between(rows["Elevation"].min(), rows["Elevation"].max()).all()
    assert made["Elevation"].mean() == pytest.approx(rows["Elevation"].mean(), rel=0.1)


def test_seed_decides_the_made_numbers(table, tmp_path):
    made = [making.make_rows(table, LABEL, 3_000, tmp_path / f"{n}.csv", seed=n // 2).read_text() for n in range(3)]
    assert made[0] == made[1] != made[2]
    repeated = pd.read_csv(tmp_path / "0.csv").duplicated().mean()
    assert repeated < 0.01


def test_missing_values_text_and_categories_of_parquet_stay_as_they_are(rows, tmp_path):
    rows["share"] = [None, 0.25, 0.5, 0.75] * 350
    rows["note"] = ["a, b", None, '"c"', "é"] * 350
    rows[LABEL] = rows[LABEL].map("kind {}".format).astype("category")
    rows.to_parquet(tmp_path / "rows.parquet")
    made = pd.read_csv(making.make_rows(tmp_path / "rows.parquet", LABEL, 1_400, tmp_path / "made.csv"))
    assert made[[LABEL, "note"]].value_counts(dropna=False).to_dict() == pytest.approx(
        rows[[LABEL, "note"]].value_counts(dropna=False).loc[lambda n: n > 0].to_dict(), nan_ok=True
    )
    assert made["share"].isna().sum() == 350
    assert made["share"].nunique() > 500


def test_too_few_rows_are_refused(table, tmp_path):
    with pytest.raises(RequestError, match="--rows 13: expected at least 14, two for each class"):
        making.make_rows(table, LABEL, 13, tmp_path / "made.csv")


@pytest.mark.slow
def test_plain_script_has_the_figures_of_the_engine_and_imports_no_kfp(table, local_run, tmp_path):
    given = ("max_iter=3", "test_size=0.25", "balance_classes=true", "seed=3")
    done = local_run("--identifier", "x", "--data", str(table), *(part for text in given for part in ("--set", text)))
    assert done.status == 0, done.err

    folder = tmp_path / "plain"
    folder.mkdir()
    definition = compiler.load("training")
    parameters = compiler.resolved(definition, compiler.arguments(definition, given))
    (folder / PARAMETERS).write_text(json.dumps(parameters))
    code = (
        "import sys; from pathlib import Path; from pipeline.benchmark.plain import main\n"
        f"main(Path({str(table)!r}), {LABEL!r}, Path({str(folder)!r}))\n"
        "sys.exit('kfp' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

    metrics = json.loads((folder / METRICS).read_text())
    for name, value in done.record["metrics"].items():
        assert metrics[name] == pytest.approx(value, abs=1e-12), name
    assert 0.5 < metrics["accuracy"] < 1
    # the pages differ only in what the engine knows of the source
    engine, plain = (
        page.read_text("utf-8").split('<section id="data">')[0]
        for page in (done.folder / "artifacts" / "evaluate-model" / "report", folder / "report.html")
    )
    assert plain == engine
    assert 'id="slices"' in plain
    assert (folder / "model.joblib").stat().st_size > 10_000


def test_minimal_script_measures_all_classes_and_leaves_out_what_no_tree_takes(rows, tmp_path):
    rows["note"] = [f"number {row}" for row in range(len(rows))]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    definition = compiler.load("training")
    parameters = compiler.resolved(definition, compiler.arguments(definition, ("max_iter=3",)))
    (tmp_path / PARAMETERS).write_text(json.dumps(parameters))
    minimal.main(tmp_path / "rows.csv", LABEL, tmp_path)

    figures = json.loads((tmp_path / METRICS).read_text())
    assert 0.3 < figures["accuracy"] < 1
    assert len(figures["confusion"]) == 7
    model = joblib.load(tmp_path / "model.joblib")
    assert [*model.estimators_[0].feature_names_in_] == [name for name in rows if name not in (LABEL, "note")]


def test_memory_of_a_grandchild_is_counted_and_shared_pages_once(tmp_path):
    """Two forks share 200 MB: counted in each they would be 400 MB and more."""
    code = (
        "import os, subprocess, sys, time\n"
        "if len(sys.argv) == 1:\n"
        "    subprocess.run([sys.executable, __file__, 'grandchild'], check=True)\n"
        "else:\n"
        "    held = bytearray(os.urandom(1)) * 200_000_000\n"
        "    child = os.fork()\n"
        "    time.sleep(0.6)\n"
        "    child and os.wait()\n"
    )
    (tmp_path / "parent.py").write_text(code)
    folder = tmp_path / "out"
    folder.mkdir()
    taken = measuring.measure([sys.executable, str(tmp_path / "parent.py")], folder, tmp_path / "log")
    assert taken.peak_bytes >= 200_000_000
    assert taken.peak_bytes < 350_000_000 or sys.platform != "linux"  # elsewhere shared pages cannot be told
    assert 0.6 <= taken.seconds < 5
    assert taken.written_bytes == 0


def test_cores_that_others_keep_busy_are_told_from_its_own(tmp_path):
    (tmp_path / "out").mkdir()
    spin = "import time; end = time.perf_counter() + 1\nwhile time.perf_counter() < end: pass"
    command = [sys.executable, "-c", spin]
    alone = measuring.measure(command, tmp_path / "out", tmp_path / "log")
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        disturbed = measuring.measure(command, tmp_path / "out", tmp_path / "log")
    finally:
        other.kill()
        other.wait()
    assert disturbed.others > 0.25  # on one core they share it
    assert alone.others >= 0  # how busy the machine is by itself is not for a test to say


def test_written_bytes_are_of_new_files_and_links_count_once(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_bytes(bytes(1000))
    code = (
        "import os\n"
        "new = os.path.join(os.environ['COVERTYPE_RUNS_DIR'], 'deep')\n"
        "os.mkdir(new)\n"
        "open(f'{new}/a', 'wb').write(bytes(500))\n"
        "os.link(f'{new}/a', f'{new}/b')\n"
        "os.link(f'{new}/../old', f'{new}/c')\n"
        "os.symlink('a', f'{new}/d')\n"
    )
    taken = measuring.measure([sys.executable, "-c", code], tmp_path / "out", tmp_path / "log")
    assert taken.written_bytes == 500


def test_contestant_that_fails_is_told_with_its_last_lines(tmp_path):
    command = [sys.executable, "-c", "print(*range(99), sep='\\n'); raise SystemExit('no more trees')"]
    with pytest.raises(measuring.ContestantFailed, match=r"ended with status 1. It printed:\n80\n") as failed:
        measuring.measure(command, tmp_path, tmp_path / "log")
    assert str(failed.value).endswith("98\nno more trees")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"data": "missing.csv"}, "there is no such file"),
        ({"data": "sample:50", "runs": 0}, "--runs 0: expected at least 1"),
        ({"data": "sample:50", "runs": 10**9}, "--runs 1000000000: expected at least 1, and at most 1,000"),
        ({"data": "sample:50", "rows": 10**100}, "000…: expected at least 1, and at most 1,000,000,000"),
        ({"data": "*.csv"}, "reads one file on this machine"),
    ],
)
def test_wrong_request_is_refused_before_anything_is_measured(asked, message, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "runs"))
    (tmp_path / "more.csv").write_bytes(table.read_bytes())
    with pytest.raises(RequestError, match=re.escape(message)):
        command.benchmark(label=LABEL, **asked)


def test_contestants_alternate_and_the_tables_are_well_formed(tmp_path, monkeypatch, capsys):
    """Of commands that do nothing but leave figures."""
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "runs"))
    tasks = [{"name": "split-data", "cached": True}, {"name": "preprocess", "cached": False}]
    record = {"metrics": {"accuracy": 0.75, "macro_f1": 0.5}, "data": {"rows": 1234}, "tasks": tasks}
    measured, others = [], 0.1

    def measure(command, folder, log):
        measured.append(folder.name)
        latest = folder / "bench" / "latest"
        latest.mkdir(parents=True, exist_ok=True)
        (latest / "run.json").write_text(json.dumps(record))
        if folder.name == "plain":
            assert json.loads((folder / PARAMETERS).read_text())["max_iter"] == 120
            (folder / METRICS).write_text(json.dumps(record["metrics"]))
        seconds = 10.0 * len(measured)
        return measuring.Measured(seconds, 2_000_000 if folder.name == "plain" else 3_000_000, 12_345_678, others)

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "_start_up", lambda work, runs: {"python run.py --help": [0.5, 0.25, 0.75]})
    found = command.benchmark("sample:50", LABEL, runs=2, stock=True)

    assert measured == ["cached", *["plain", "minimal", "cold", "cached", "stock"] * 2]
    assert "round 2 of 2" in capsys.readouterr().err
    text = tables.markdown(found)
    assert "- Rows: 1,234\n" in text
    assert "`python -m pipeline benchmark --data sample:50 --label Cover_Type --runs 2 --stock`" in text
    assert "| plain script | 45.0 | 20.0 | 70.0 | 2.0 | 12.3 | 1.00 | 1.00 | 0.77 | 0.10 |" in text
    assert "| engine, cold | 65.0 | 40.0 | 90.0 | 3.0 | 12.3 | 1.64 | 1.50 | 1.23 | 0.10 |" in text
    assert "| engine, cold | 0.750000 | 0.500000 |" in text
    assert "| `python run.py --help` | 0.50 |" in text
    assert "not quiet" not in text
    assert "engine, fully cached, round 1: not taken from the cache: preprocess." in text
    found_tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(found_tables) == 3
    for lines in found_tables:
        assert len({line.count("|") for line in lines}) == 1
        assert re.fullmatch(r"\| ---( \| ---:)+ \|", lines[1])

    speeds = {"predict_proba": [100.0, 300.0], "batch": [90.0, 210.0]}
    monkeypatch.setattr(command, "_prediction", lambda work, file, runs: speeds)
    text = tables.markdown(command.benchmark("sample:50", LABEL, runs=2, prediction=True))
    assert "--runs 2 --prediction`" in text
    assert "| batch | 150 | 0.80 |" in text

    others = 1.5
    text = tables.markdown(command.benchmark("sample:50", LABEL, runs=1))
    assert "The machine was not quiet: others kept up to 1.5 cores busy. Do not trust times" in text
