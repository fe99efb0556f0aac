"""What the engine costs: the same training as a plain script, by the engine, and by kfp.local as it comes.

    python -m pipeline.benchmark plain SOURCE LABEL FOLDER
    python -m pipeline.benchmark stock SPEC PARAMETERS.json FOLDER

These two are the processes of contestants. This module imports little by itself, so that they start with no more than
a script of their own would.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import runpy
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import ROOT, RequestError

if TYPE_CHECKING:
    import pandas as pd

PLAIN, COLD, CACHED, STOCK = "plain script", "engine, cold", "engine, fully cached", "kfp.local as it comes"
PARAMETERS = "parameters.json"
METRICS = "metrics.json"
CHUNK = 200_000  # rows that are made at once
SAMPLING = 0.05  # seconds between two looks at the memory
# cores that others may keep busy; what is used after the last look counts as theirs, 0.1 in a run of a second
QUIET = 0.2
MB = 1_000_000


class ContestantFailed(Exception):
    """A contestant ended with another status than 0; the message has the last lines that it printed."""


@dataclass(frozen=True)
class Measured:
    """What one run of a command took."""

    seconds: float  # wall time from the start of its process to the end
    peak_bytes: int  # largest sum of the memory of the process and its descendants at one time
    written_bytes: int  # of new files in its folder when it ended, several links to one file counted once
    others: float  # cores that other processes kept busy meanwhile


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
    contestants: list[Contestant]  # the plain script first
    start_up: dict[str, list[float]]  # seconds by command
    notes: list[str]


def benchmark(data: str, label: str, rows: int | None = None, runs: int = 3, stock: bool = False) -> Benchmark:
    """Measure the contestants on the same rows, one after another, round by round, so that all meet the same machine.

    Everything is written below the folder for temporary files, which TMPDIR names, and removed in the end. One run of
    the engine that is not counted warms its cache and the machine's.

    Args:
        data: What --data takes, as long as it is one file on this machine.
        label: Column that holds the classes.
        rows: Number of rows to make from the data; None to take it as it is.
        runs: Number of rounds, at least 1.
        stock: Whether kfp.local as it comes takes part; its pip asks the network for nothing that is installed here.

    Raises:
        RequestError: the data is no such file, or too few rows or rounds were asked for.
        ContestantFailed: a contestant failed; what was measured until then is lost.
    """
    from pipeline import compiler, sources
    from pipeline.settings import settle

    if runs < 1:
        raise RequestError(f"--runs {runs}: expected at least 1.")
    source = sources.resolve(data, label, settle().runs_dir / ".data")
    if len(source.files) != 1:
        raise RequestError(f"--data {data}: the plain script reads one file on this machine. Name one.")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        work, file = Path(temporary), source.files[0].resolve()
        if rows is not None:
            _tell(f"Making {rows:,} rows from {data}")
            file = make_rows(file, label, rows, work / "rows.csv")
        definition = compiler.load("training")
        given = {"source": str(file), "fingerprint": sources.fingerprint(file), "label": label}
        (work / PARAMETERS).write_text(json.dumps(compiler.resolved(definition, given)), encoding="utf-8")
        contestants = _contestants(work, file, label)
        if stock:
            compiler.compile_pipeline(definition, work / "stock.yaml", caching=False)
            command = _this_module("stock", work / "stock.yaml", work / PARAMETERS, work / "stock")
            contestants.append(Contestant(STOCK, command, work / "stock"))
        _compete(contestants, work, runs)
        start_up = _start_up(work, runs)
    asked = ["--data", data, "--label", label, "--runs", str(runs), *(["--stock"] if stock else [])]
    asked += [] if rows is None else ["--rows", str(rows)]
    facts = _machine() | {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Rows": f"{contestants[1].rows:,}",
        "Command": f"`python -m pipeline benchmark {shlex.join(asked)}`",
    }
    return Benchmark(facts, contestants, start_up, _notes(contestants))


def markdown(found: Benchmark) -> str:
    """Render what was found as Markdown: times in seconds, sizes in MB of 1,000,000 bytes, ratios to the first one."""
    plain = found.contestants[0]
    costs, figures = [], []
    for contestant in found.contestants:
        seconds = [run.seconds for run in contestant.measured]
        row = [contestant.name, f"{statistics.median(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}"]
        for size in ("peak_bytes", "written_bytes"):
            row.append(f"{statistics.median(getattr(run, size) for run in contestant.measured) / MB:,.1f}")
        for cost in ("seconds", "peak_bytes"):
            row.append(f"{_ratio(cost, contestant, plain):.2f}")
        row.append(f"{max(run.others for run in contestant.measured):.2f}")
        costs.append(row)
        if contestant.figures:
            shown = (f"{contestant.figures[name]:.6f}" for name in ("accuracy", "macro_f1"))
            figures.append([contestant.name, *shown])
    start_up = [[f"`{command}`", f"{statistics.median(seconds):.2f}"] for command, seconds in found.start_up.items()]
    heads = [
        "seconds",
        "min",
        "max",
        "peak memory, MB",
        "written, MB",
        "time ÷ plain",
        "memory ÷ plain",
        "others, cores",
    ]
    parts = [
        [f"- {name}: {fact}" for name, fact in found.facts.items()],
        _table(["contestant", *heads], costs),
        _table(["model of", "accuracy", "macro-F1"], figures),
        _table(["start-up", "seconds"], start_up),
        [f"- {note}" for note in found.notes],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def measure(command: list[str], folder: Path, log: Path) -> Measured:
    """Run a command to its end and return what it took.

    Args:
        command: The command; it runs in the checkout, with folder as its runs folder.
        folder: Existing folder that it writes to.
        log: Text file to write what it prints to.

    Raises:
        ContestantFailed: it ended with another status than 0.
    """
    before, largest, own, ended = {*_files(folder)}, 0, 0.0, threading.Event()

    def watch(pid: int) -> None:
        nonlocal largest, own
        pause = 0.0
        while not ended.wait(pause):
            started = time.perf_counter()
            held, used = look(pid)
            largest, own = max(largest, held), max(own, used)
            # of large processes a look takes long: it is to cost no more than a quarter of a core
            pause = max(SAMPLING, 3 * (time.perf_counter() - started))

    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(folder)}
    busy, watching = _busy(), time.process_time()
    with log.open("w", encoding="utf-8") as printed:
        since = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT
        )
        watcher = threading.Thread(target=watch, args=[process.pid])
        watcher.start()
        try:
            status = process.wait()  # with a timeout it would look for the end only now and then
            seconds = time.perf_counter() - since
        finally:
            process.terminate()  # after Ctrl-C; one that has ended is left alone
            ended.set()
            watcher.join()
    if status:
        last = log.read_text("utf-8", errors="replace").splitlines()[-20:]
        raise ContestantFailed("\n".join([f"{shlex.join(command)} ended with status {status}. It printed:", *last]))
    others = _busy() - busy - (time.process_time() - watching) - own
    written = sum(size for file, size in _files(folder).items() if file not in before)
    return Measured(seconds, largest, written, max(0.0, others / seconds))


def look(pid: int) -> tuple[int, float]:
    """Return the bytes of memory that a process and all its descendants hold, and the CPU seconds that they have used.

    Pages that processes share are divided among them (PSS); where the system does not tell, they count in each (RSS).
    """
    import psutil

    held, used = 0, 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()  # with those of its children that have ended
                used += times.user + times.system + times.children_user + times.children_system
                try:
                    held += process.memory_full_info().pss
                except (AttributeError, psutil.AccessDenied):
                    held += process.memory_info().rss
    return held, used


def _busy() -> float:
    """Return the seconds that the cores of this process have been busy, with whatever, since the machine started."""
    import psutil

    cores = psutil.cpu_times(percpu=True)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(cores))
    return sum(sum(cores[core]) - cores[core].idle - getattr(cores[core], "iowait", 0) for core in allowed)


def make_rows(source: Path, label: str, rows: int, target: Path, seed: int = 0) -> Path:
    """Write a CSV file of any number of rows like those of a table: repeated, with other numbers.

    Each number moves by a Gaussian of a twentieth of its column's standard deviation, within the column's range, and
    whole numbers stay whole. The label, text and missing values stay. The classes are the same in any number of rows.

    Args:
        source: CSV, gzipped CSV or Parquet file.
        label: Column that holds the classes.
        rows: Number of rows to write.
        target: File to write.
        seed: Seed of the order and of the numbers.

    Returns:
        The target.

    Raises:
        RequestError: there are too few rows for two of each class.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    frame, rng = _read(source), np.random.default_rng(seed)
    for name in frame.select_dtypes("category"):  # which Arrow does not write as CSV
        frame[name] = frame[name].astype(object)
    rare_first = rng.permutation(len(frame))
    early = frame[label].iloc[rare_first].groupby(frame[label].iloc[rare_first]).cumcount().to_numpy() < 2
    if rows < early.sum():
        raise RequestError(f"--rows {rows:,}: expected at least {early.sum():,}, two for each class.")
    order = np.concatenate([rare_first[early], rare_first[~early]])
    numbers = [name for name in frame if name != label and frame[name].dtype.kind in "iuf"]
    low, high, deviation = frame[numbers].min(), frame[numbers].max(), frame[numbers].std().fillna(0)
    schema = pa.Schema.from_pandas(frame, preserve_index=False)
    with csv.CSVWriter(target, schema) as writer:
        for start in range(0, rows, CHUNK):
            part = frame.iloc[order[np.arange(start, min(start + CHUNK, rows)) % len(order)]].copy()
            for name in numbers:
                moved = part[name] + rng.normal(scale=deviation[name] / 20, size=len(part))
                moved = moved.round() if frame[name].dtype.kind in "iu" else moved
                part[name] = moved.clip(low[name], high[name]).astype(frame[name].dtype)
            writer.write_table(pa.Table.from_pandas(part, schema, preserve_index=False))
    return target


def plain(source: Path, label: str, folder: Path) -> None:
    """Do the work of the training pipeline as a script, with the pipeline's parameters in the folder's parameters.json.

    Writes model.joblib, metrics.json and report.html to the folder. Of two classes scikit-learn trains one model.
    """
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import accuracy_score, average_precision_score, confusion_matrix
    from sklearn.metrics import precision_recall_fscore_support as prf
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from skrub import StringEncoder, TableVectorizer, ToCategorical

    parameters = json.loads((folder / PARAMETERS).read_text("utf-8"))
    seed, forest = parameters["seed"], ("max_iter", "learning_rate", "max_leaf_nodes", "l2_regularization")
    frame = _read(source)
    shuffled = frame[label].sample(frac=1, random_state=seed)  # the pipeline's split, so that the figures compare
    of_class = shuffled.groupby(shuffled, observed=True)
    size = of_class.transform("size")
    held = (of_class.cumcount() < (size * parameters["test_size"]).round().clip(1, size - 1)).reindex(frame.index)
    train, test = frame[~held], frame[held]

    classifier = HistGradientBoostingClassifier(
        **{name: parameters[name] for name in forest},
        min_samples_leaf=min(20, max(1, len(train) // 20)),
        class_weight="balanced" if parameters["balance_classes"] else None,
        categorical_features="from_dtype",
        early_stopping=False,
        random_state=seed,
    )
    encoder = StringEncoder(random_state=seed)
    vectorizer = TableVectorizer(cardinality_threshold=255, low_cardinality=ToCategorical(), high_cardinality=encoder)
    model = make_pipeline(vectorizer, OneVsRestClassifier(classifier)).fit(train.drop(columns=label), train[label])
    joblib.dump(model, folder / "model.joblib")

    features, y, classes = model[:-1].transform(test.drop(columns=label)), test[label].to_numpy(), model.classes_
    predicted = model[-1].predict(features)
    # steps is not imported, since that would import kfp
    diagnosis, report = (runpy.run_path(str(ROOT / "steps" / name)) for name in ("diagnosis.py", "report.py"))
    scores = diagnosis["class_scores"](model[-1], features)
    sums = scores.sum(axis=1, keepdims=True)
    shares = np.divide(scores, sums, out=scores.copy(), where=sums > 0)
    is_class, names = y[:, None] == classes, [str(name) for name in classes]
    per_class = pd.DataFrame(index=names)
    per_class[["precision", "recall", "f1", "rows"]] = np.transpose(prf(y, predicted, labels=classes, zero_division=0))
    per_class["average_precision"] = average_precision_score(is_class, shares, average=None)
    per_class[["rest_precision", "rest_recall", "rest_f1"]] = np.transpose(
        prf(is_class, scores > 0.5, zero_division=0)[:3]
    )
    per_class["rest_average_precision"] = average_precision_score(is_class, scores, average=None)
    confusion = pd.DataFrame(confusion_matrix(y, predicted, labels=classes), index=names, columns=names)
    figures = {"accuracy": float(accuracy_score(y, predicted))}
    figures |= {"macro_f1": per_class["f1"].mean(), "mean_f1": per_class["rest_f1"].mean()}
    metrics = figures | per_class.to_dict() | {"confusion": confusion.to_numpy().tolist()}
    (folder / METRICS).write_text(json.dumps(metrics, indent=2), encoding="utf-8")

    X, codes, codes_pred = test.drop(columns=label), pd.Index(classes).get_indexer(y), shares.argmax(axis=1)
    importance = diagnosis["column_importance"](model[-1], features, codes, model[0].input_to_outputs_)
    columns = [*importance[0].index, *X.columns.difference(importance[0].index, sort=False)]
    slices = diagnosis["failing_slices"](X, codes, codes_pred, len(classes), columns)
    pairs = diagnosis["confused_pairs"](codes, codes_pred, shares.max(axis=1))
    facts = {"Source": source.name, "Label": label, "Classes": len(classes)}
    per_class = per_class.astype({"rows": int})
    page = report["evaluation_report"](X, codes, shares, per_class, figures, importance, slices, pairs, facts)
    (folder / "report.html").write_text(page, encoding="utf-8")


def stock(spec: Path, parameters: Path, folder: Path) -> None:
    """Run a compiled pipeline by kfp.local as it comes: for each task a shell, pip, and a new Python."""
    from kfp import components, local

    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(folder / "outputs"), workspace_root=str(folder / "workspace"))
    components.load_component_from_file(str(spec))(**json.loads(parameters.read_text("utf-8")))


def _read(path: Path) -> "pd.DataFrame":
    """Read a table as most scripts do; the first bytes tell what kind of file it is."""
    import pandas as pd

    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return pd.read_parquet(path)
    return pd.read_csv(path, compression="gzip" if magic[:2] == b"\x1f\x8b" else None)


def _this_module(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pipeline.benchmark", *map(str, arguments)]


def _contestants(work: Path, file: Path, label: str) -> list[Contestant]:
    engine = [sys.executable, "run.py", "--identifier", "bench", "--engine", "local"]
    table = ["--data", str(file), "--label", label]
    return [
        Contestant(PLAIN, _this_module("plain", file, label, work / "plain"), work / "plain"),
        Contestant(COLD, [*engine, "--no-cache", *table], work / "cold"),
        Contestant(CACHED, [*engine, *table], work / "cached", keeps_folder=True),
    ]


def _compete(contestants: list[Contestant], work: Path, runs: int) -> None:
    log = work / "printed.log"
    for contestant in contestants:
        contestant.folder.mkdir()
        if contestant.keeps_folder:
            _tell(f"{'warming':<15} {contestant.name}")
            measure(contestant.command, contestant.folder, log)
    for number in range(1, runs + 1):
        for contestant in contestants:
            if not contestant.keeps_folder:
                shutil.rmtree(contestant.folder)
                contestant.folder.mkdir()
            if contestant.name == PLAIN:
                shutil.copy(work / PARAMETERS, contestant.folder)
            taken = measure(contestant.command, contestant.folder, log)
            contestant.measured.append(taken)
            _take_figures(contestant)
            cost = f"{taken.seconds:8.1f} s {taken.peak_bytes / MB:8,.0f} MB, others {taken.others:.2f} cores"
            _tell(f"round {number} of {runs:<4} {contestant.name:<24}{cost}")


def _take_figures(contestant: Contestant) -> None:
    metrics = contestant.folder / METRICS
    record = contestant.folder / "bench" / "latest" / "run.json"
    if metrics.exists():
        contestant.figures = json.loads(metrics.read_text("utf-8"))
    elif record.exists():
        run = json.loads(record.read_text("utf-8"))
        contestant.figures, contestant.rows = run["metrics"], run["data"]["rows"]
        contestant.not_cached.append([task["name"] for task in run["tasks"] if not task["cached"]])


def _start_up(work: Path, runs: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {"run.py --help": [], "run.py --compile-only spec.yaml": []}
    _tell("start-up")
    for _ in range(runs):
        for arguments, taken in seconds.items():
            command = [sys.executable, str(ROOT / "run.py"), *arguments.split()[1:]]
            since = time.perf_counter()
            done = subprocess.run(command, cwd=work, capture_output=True, text=True)
            taken.append(time.perf_counter() - since)
            if done.returncode:
                raise ContestantFailed(f"{arguments} ended with status {done.returncode}. It printed:\n{done.stderr}")
    return {f"python {arguments}": taken for arguments, taken in seconds.items()}


def _notes(contestants: list[Contestant]) -> list[str]:
    notes = [
        "Seconds are wall time, with min and max; seconds and sizes are medians, ratios the medians of those of the "
        "rounds. Memory is of a process and all its descendants, shared pages counted once; MB are 1,000,000 bytes. "
        "Others are the most cores that other processes kept busy in a round."
    ]
    disturbed = max(run.others for contestant in contestants for run in contestant.measured)
    if disturbed > QUIET:
        notes.append(
            f"The machine was not quiet: others kept up to {disturbed:.1f} cores busy. Do not trust times and their "
            "ratios: rounds do not even this out, since threads that wait for one another, as the plain script's do, "
            "lose many times more than processes of one thread. Measure again on a quiet machine."
        )
    for contestant in contestants:
        for number, names in enumerate(contestant.not_cached, start=1):
            if contestant.name == CACHED and names:
                notes.append(f"{CACHED}, round {number}: not taken from the cache: {', '.join(sorted({*names}))}.")
    return notes


def _machine() -> dict[str, str]:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = (f"{package} {importlib.metadata.version(package)}" for package in ("scikit-learn", "kfp"))
    return {
        "Machine": f"{cores} cores, {psutil.virtual_memory().total / 1e9:.1f} GB of memory, {platform.platform()}",
        "Versions": f"Python {platform.python_version()}, {', '.join(versions)}",
    }


def _ratio(cost: str, contestant: Contestant, plain: Contestant) -> float:
    rounds = zip(contestant.measured, plain.measured, strict=True)
    return statistics.median(getattr(own, cost) / getattr(of_plain, cost) for own, of_plain in rounds)


def _table(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]


def _files(folder: Path) -> dict[tuple[int, int], int]:
    """Return the sizes of the files below a folder; a file with several links is there once."""
    statuses = (path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {(status.st_dev, status.st_ino): status.st_size for status in statuses}


def _tell(message: str) -> None:
    from pipeline import console

    console.show(message)


if __name__ == "__main__":
    work, first, second, folder = sys.argv[1:]
    if work == "plain":
        plain(Path(first), second, Path(folder))
    else:
        stock(Path(first), Path(second), Path(folder))
