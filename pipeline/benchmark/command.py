"""The command: contestants that do the same work, measured round by round on the same rows."""

import importlib.metadata
import json
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from pipeline import CORES, ROOT, RequestError, compiler, console, sources
from pipeline.benchmark import METRICS, PARAMETERS
from pipeline.benchmark.measuring import ContestantFailed, Measured, measure
from pipeline.benchmark.rows import make_rows
from pipeline.settings import settle
from pipeline.target import Target
from pipeline.texts import shortened
from steps.tables import fingerprints

NEVER_CACHED = "promote-model"  # the champion may be another each time
PLAIN, MINIMAL = "plain script", "minimal script"
COLD, CACHED, STOCK = "engine, cold", "engine, fully cached", "kfp.local as it comes"
MB = 1_000_000
MOST_RUNS, MOST_ROWS = 1_000, 1_000_000_000


@dataclass
class Contestant:
    """A command that does the work, and what its runs took."""

    name: str
    command: list[str]
    folder: Path  # that it writes to
    keeps_folder: bool = False  # from run to run
    measured: list[Measured] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)  # of the model, each between 0 and 1
    rows: int = 0  # this and the one below are known of the engine only
    not_cached: list[list[str]] = field(default_factory=list)  # for each round the tasks that were executed


@dataclass(frozen=True)
class Benchmark:
    """What benchmark() found out."""

    facts: dict[str, str]
    contestants: list[Contestant]  # the plain script first, then the minimal one
    start_up: dict[str, list[float]]  # seconds by command
    prediction: dict[str, list[float]]  # rows per second of predict_proba, and of batch prediction; empty if not asked


def benchmark(
    data: str, label: str, rows: int | None = None, runs: int = 3, stock: bool = False, prediction: bool = False
) -> Benchmark:
    """Measure the contestants on the same rows, one after another, round by round, so that all meet the same machine.

    Everything is written below the folder for temporary files, which TMPDIR names, and removed in the end. One run of
    the engine that is not counted warms its cache and the machine's.

    Args:
        data: What --data takes, as long as it is one file on this machine.
        label: Column that holds the classes.
        rows: Number of rows to make from the data, to 1,000,000,000; None to take it as it is.
        runs: Number of rounds, from 1 to 1,000.
        stock: Whether kfp.local as it comes takes part; its pip asks the network for nothing that is installed here.
        prediction: Whether batch prediction is measured, too, by the model of the engine's last run.

    Raises:
        RequestError: the data is no such file, or too few rows or rounds were asked for.
        ContestantFailed: a contestant failed; what was measured until then is lost.
    """
    if not 1 <= runs <= MOST_RUNS:
        raise RequestError(f"--runs {shortened(runs)}: expected at least 1, and at most {MOST_RUNS:,}.")
    if rows is not None and not 1 <= rows <= MOST_ROWS:
        raise RequestError(f"--rows {shortened(rows)}: expected at least 1, and at most {MOST_ROWS:,}.")
    source = sources.resolve(data, label, settle().runs_dir / ".data")
    if len(source.files) != 1:
        raise RequestError(f"--data {data}: the plain script reads one file on this machine. Name one.")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        work, file = Path(temporary), source.files[0].resolve()
        if rows is not None:
            console.show(f"Making {rows:,} rows from {data}")
            file = make_rows(file, label, rows, work / "rows.csv")
        definition = compiler.load("training")
        given = {"source": str(file), "fingerprint": fingerprints.sha256(str(file)), "label": label}
        (work / PARAMETERS).write_text(json.dumps(compiler.resolved(definition, given)), encoding="utf-8")
        contestants = _contestants(work, file, label)
        if stock:
            compiler.compile_pipeline(definition, work / "stock.yaml", Target(caching=False))
            command = _module("stock", work / "stock.yaml", work / PARAMETERS, work / "stock")
            contestants.append(Contestant(STOCK, command, work / "stock"))
        _compete(contestants, work, runs)
        start_up = _start_up(work, runs)
        speeds = _prediction(work, file, runs) if prediction else {}
    asked = ["--data", data, "--label", label, "--runs", str(runs), *(["--stock"] if stock else [])]
    asked += ["--prediction"] if prediction else []
    asked += [] if rows is None else ["--rows", str(rows)]
    facts = machine() | {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Rows": f"{contestants[2].rows:,}",
        "Command": f"`python -m pipeline benchmark {shlex.join(asked)}`",
    }
    return Benchmark(facts, contestants, start_up, speeds)


def _module(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"pipeline.benchmark.{name}", *map(str, arguments)]


def _contestants(work: Path, file: Path, label: str) -> list[Contestant]:
    engine = [sys.executable, "run.py", "--identifier", "bench", "--engine", "local"]
    table = ["--data", str(file), "--label", label]
    return [
        Contestant(PLAIN, _module("plain", file, label, work / "plain"), work / "plain"),
        Contestant(MINIMAL, _module("minimal", file, label, work / "minimal"), work / "minimal"),
        Contestant(COLD, [*engine, "--no-cache", *table], work / "cold"),
        Contestant(CACHED, [*engine, *table], work / "cached", keeps_folder=True),
    ]


def _compete(contestants: list[Contestant], work: Path, runs: int) -> None:
    log = work / "printed.log"
    for contestant in contestants:
        contestant.folder.mkdir()
        if contestant.keeps_folder:
            console.show(f"{'warming':<15} {contestant.name}")
            measure(contestant.command, contestant.folder, log)
    for number in range(1, runs + 1):
        for contestant in contestants:
            if not contestant.keeps_folder:
                shutil.rmtree(contestant.folder)
                contestant.folder.mkdir()
            if contestant.name in (PLAIN, MINIMAL):
                shutil.copy(work / PARAMETERS, contestant.folder)
            taken = measure(contestant.command, contestant.folder, log)
            contestant.measured.append(taken)
            _take_figures(contestant)
            cost = f"{taken.seconds:8.1f} s {taken.peak_bytes / MB:8,.0f} MB, others {taken.others:.2f} cores"
            console.show(f"round {number} of {runs:<4} {contestant.name:<24}{cost}")


def _take_figures(contestant: Contestant) -> None:
    metrics = contestant.folder / METRICS
    record = contestant.folder / "bench" / "latest" / "run.json"
    if metrics.exists():
        contestant.figures = json.loads(metrics.read_text("utf-8"))
    elif record.exists():
        run = json.loads(record.read_text("utf-8"))
        contestant.figures, contestant.rows = run["metrics"], run["data"]["rows"]
        executed = [task["name"] for task in run["tasks"] if not task["cached"] and task["name"] != NEVER_CACHED]
        contestant.not_cached.append(executed)


def _start_up(work: Path, runs: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {"run.py --help": [], "run.py --compile-only spec.yaml": []}
    console.show("start-up")
    for _ in range(runs):
        for arguments, taken in seconds.items():
            command = [sys.executable, str(ROOT / "run.py"), *arguments.split()[1:]]
            since = time.perf_counter()
            done = subprocess.run(command, cwd=work, capture_output=True, text=True)
            taken.append(time.perf_counter() - since)
            if done.returncode:
                raise ContestantFailed(f"{arguments} ended with status {done.returncode}. It printed:\n{done.stderr}")
    return {f"python {arguments}": taken for arguments, taken in seconds.items()}


def _prediction(work: Path, file: Path, runs: int) -> dict[str, list[float]]:
    console.show("prediction")
    model = work / "cached" / "bench" / "latest" / "artifacts" / "promote-model" / "model"
    (work / "prediction").mkdir()
    measure(_module("prediction", model, file, work / "prediction", runs), work / "prediction", work / "printed.log")
    measured: dict[str, list[float]] = json.loads((work / "prediction" / "prediction.json").read_text("utf-8"))
    return measured


def machine() -> dict[str, str]:
    """Return what is measured on."""
    versions = (f"{package} {importlib.metadata.version(package)}" for package in ("scikit-learn", "kfp"))
    return {
        "Machine": f"{CORES} cores, {psutil.virtual_memory().total / 1e9:.1f} GB of memory, {platform.platform()}",
        "Versions": f"Python {platform.python_version()}, {', '.join(versions)}",
    }
