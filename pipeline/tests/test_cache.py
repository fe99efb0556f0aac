"""The cache of the local engine: what is taken from it, and what never is."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline import ROOT

ARGUMENTS = ("--identifier", "x", "--data", "sample:300", "--set", "max_iter=2")


def cached(done):
    """The tasks that were taken from the cache."""
    return {task["name"] for task in done.record["tasks"] if task["cached"]}


ALL = {"prepare-data", "split-data", "preprocess", "train-model", "combine-models", "evaluate-model"}


def test_second_run_takes_every_task_from_the_first_and_has_all_files(local_run):
    first, second = (local_run(*ARGUMENTS) for _ in range(2))
    assert cached(first) == set()
    assert cached(second) == ALL
    assert second.record["metrics"] == first.record["metrics"]
    assert second.err.count(" cached ") == 12
    files = [
        {path.relative_to(done.folder) for path in (done.folder / "artifacts").rglob("*") if path.is_file()}
        for done in (first, second)
    ]
    ran_again = Path("artifacts/promote-model/executor_output.json")  # the champion may be another by now
    assert {path for path in files[0] if path.name != "executor_output.json"} == files[1] - {ran_again}
    assert Path(second.record["model"]).is_relative_to(second.folder)


@pytest.mark.slow
def test_cache_outlives_the_run_that_filled_it(local_run):
    shutil.rmtree(local_run(*ARGUMENTS).folder)
    local_run(*ARGUMENTS)
    second = local_run(*ARGUMENTS)
    assert cached(second) == ALL
    shutil.rmtree(next(path for path in second.folder.parent.glob("2*") if path != second.folder))
    assert cached(local_run(*ARGUMENTS)) == ALL


@pytest.mark.slow
def test_no_cache_neither_reads_nor_writes(local_run):
    assert cached(local_run(*ARGUMENTS, "--no-cache")) == set()
    assert cached(local_run(*ARGUMENTS)) == set()
    assert cached(local_run(*ARGUMENTS, "--no-cache")) == set()


def test_changed_parameter_runs_what_depends_on_it(local_run):
    local_run(*ARGUMENTS)
    assert cached(local_run(*ARGUMENTS, "--set", "l2_regularization=2")) == {"prepare-data", "split-data", "preprocess"}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("step", "before", "after", "again"),
    [
        slow("train_model", "=max_iter,", "=max_iter + 1,", {"train-model", "combine-models", "evaluate-model"}),
        slow("evaluate_model", "return evaluation", "return 1.0 * evaluation", {"evaluate-model"}),
        slow("evaluation/page", "Where it fails", "Where it is wrong", {"evaluate-model"}),
        slow("evaluation/page.css", "max-width: 70rem", "max-width: 71rem", {"evaluate-model"}),
        slow("split_data", "test_size, seed,", "test_size, seed + 1,", ALL - {"prepare-data"}),
    ],
)
def test_edited_step_runs_again_with_what_depends_on_it_and_nothing_else(tmp_path, step, before, after, again):
    """A checkout of its own is edited, as its user would."""
    for name in ("run.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("pipeline", "steps"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    command = [sys.executable, "run.py", *ARGUMENTS]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    path = tmp_path / "steps" / (step if "." in step else f"{step}.py")
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    record = json.loads((tmp_path / "runs" / "x" / "latest" / "run.json").read_text())
    assert {task["name"] for task in record["tasks"] if not task["cached"]} == again | {"promote-model"}


@pytest.mark.slow
def test_changed_file_behind_the_same_path_runs_everything(local_run, rows, tmp_path):
    path = tmp_path / "rows.parquet"
    arguments = ("--identifier", "x", "--data", str(path), "--set", "max_iter=2")
    rows.to_parquet(path)
    local_run(*arguments)
    rows.iloc[::-1].to_parquet(path)
    assert cached(local_run(*arguments)) == set()
    rows.to_parquet(path)
    assert cached(local_run(*arguments)) == ALL


def damage_by_deletion(path):
    path.unlink()


def damage_by_truncation(path):
    os.truncate(path, path.stat().st_size // 2)


def damage_by_one_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("artifact", "damage"),
    [
        ("split-data/train", damage_by_one_byte),
        slow("combine-models/model/model.joblib", damage_by_deletion),
        slow("split-data/train", damage_by_deletion),
        slow("split-data/train", damage_by_truncation),
        slow("combine-models/model/model.joblib", damage_by_truncation),
        slow("combine-models/model/model.joblib", damage_by_one_byte),
    ],
)
def test_damaged_artifact_is_made_anew(local_run, artifact, damage):
    first = local_run(*ARGUMENTS)
    damage(first.folder / "artifacts" / artifact)
    second = local_run(*ARGUMENTS)
    assert second.status == 0, second.err
    assert second.record["metrics"] == first.record["metrics"]
    assert artifact.split("/")[0] not in cached(second)
    assert "prepare-data" in cached(second)


@pytest.mark.slow
def test_damaged_entry_is_a_miss(local_run, tmp_path):
    local_run(*ARGUMENTS)
    entries = [*(tmp_path / "runs" / ".cache").glob("*.json")]
    assert len(entries) == 12
    for place, entry in enumerate(entries):
        entry.write_text(("", "{", "[]", '{"x": 1}')[place % 4])
    again = local_run(*ARGUMENTS)
    assert again.status == 0, again.err
    assert cached(again) == set()
    assert cached(local_run(*ARGUMENTS)) == ALL


@pytest.mark.slow
def test_two_runs_at_once_leave_a_cache_that_works(tmp_path, local_run):
    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    statuses = []

    def run():
        command = [sys.executable, "run.py", *ARGUMENTS]
        statuses.append(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0, 0, 0]
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "x").glob("2*/run.json")]
    assert len(records) == 3
    assert all(record["metrics"] == records[0]["metrics"] for record in records)
    assert cached(local_run(*ARGUMENTS)) == ALL
