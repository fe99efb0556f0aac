"""What the tests share: rows, artifacts, and runs of the command line."""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from kfp import dsl

import run
from pipeline import storage
from pipeline.covertype import simulate
from pipeline.tests.played import played_storage, variables
from pipeline.tests.vertex_server import VertexServer

# beside other work on the cores, scikit-learn's threads that wait by spinning make everything several times slower
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


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
def storage_emulator() -> Iterator[str]:
    """A Cloud Storage of this machine; returns its URL."""
    with played_storage("trees") as url:
        yield url


@pytest.fixture(scope="session")
def vertex_server(storage_emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VertexServer]:
    with VertexServer(tmp_path_factory.mktemp("vertex"), storage_emulator) as server:
        yield server


@pytest.fixture
def vertex(
    vertex_server: VertexServer, storage_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[VertexServer]:
    """Point the settings to a Vertex AI of this machine, which runs what is submitted."""
    for name, value in variables(storage_emulator, vertex_server.url, "demo", "trees").items():
        monkeypatch.setenv(name, value)
    storage.client.cache_clear()
    vertex_server.forget_all()
    yield vertex_server
    vertex_server.cancel_all()
    storage.client.cache_clear()  # a test that follows has another


@pytest.fixture(scope="session")
def covertype_csv() -> Path:
    """The real rows, where COVERTYPE_CSV names them."""
    if "COVERTYPE_CSV" not in os.environ:
        pytest.skip("COVERTYPE_CSV does not name the real rows")
    return Path(os.environ["COVERTYPE_CSV"]).resolve(strict=True)
