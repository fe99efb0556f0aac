"""What the tests share: rows, artifacts, and runs of the command line."""

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from kfp import dsl

import run
from pipeline.covertype import simulate


@pytest.fixture(scope="session")
def simulated() -> pd.DataFrame:
    return simulate(1_400)


@pytest.fixture
def rows(simulated: pd.DataFrame) -> pd.DataFrame:
    """Simulated rows of all seven classes."""
    return simulated.copy()


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[..., dsl.Artifact]:
    """Make an artifact in a folder of the test: artifact(dsl.Dataset), with content if a frame is given."""

    numbers = itertools.count()

    def make(kind: type[dsl.Artifact], frame: pd.DataFrame | None = None, **metadata: object) -> dsl.Artifact:
        made = kind(uri=str(tmp_path / f"artifact-{next(numbers)}"), metadata=metadata)
        if frame is not None:
            frame.to_parquet(made.path)
        return made

    return make


@pytest.fixture
def local_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., object]:
    """Run the command line in a folder of the test; returns its status, output, run folder and run.json."""
    runs_dir = tmp_path / "runs"
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(runs_dir))

    def command(*arguments: str) -> SimpleNamespace:
        status = run.main([*arguments])
        captured = capsys.readouterr()
        folder = next(iter(runs_dir.glob("*/latest")), runs_dir / "none").resolve()
        record = folder / "run.json"
        return SimpleNamespace(
            status=status,
            out=captured.out,
            err=captured.err,
            folder=folder,
            record=json.loads(record.read_text("utf-8")) if record.exists() else None,
        )

    return command


@pytest.fixture(scope="session")
def covertype_csv() -> Path:
    """The real rows, where COVERTYPE_CSV names them."""
    if "COVERTYPE_CSV" not in os.environ:
        pytest.skip("COVERTYPE_CSV does not name the real rows")
    return Path(os.environ["COVERTYPE_CSV"]).resolve(strict=True)
