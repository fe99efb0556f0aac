"""The search beside AutoGluon on the same rows: python -m pipeline.benchmark.rivals --python PATH iris rows.csv:kind"""

import argparse
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn import datasets
from sklearn.metrics import accuracy_score, f1_score

from pipeline import RequestError, console
from pipeline.benchmark import TEST_SIZE
from pipeline.benchmark.command import MB, machine
from pipeline.benchmark.measuring import ContestantFailed, measure
from pipeline.benchmark.rows import read_table
from pipeline.benchmark.tables import table, tell_if_disturbed
from steps.splitting import share_of_each_class

BUNDLED = ("breast_cancer", "digits", "iris", "wine")  # scikit-learn's
TABLES = f"FILE:LABEL, or one of {', '.join(BUNDLED)}"  # what is asked for
DEFAULT, SEARCH, AUTOGLUON = "default", "search", "AutoGluon"
CONTESTANTS = (DEFAULT, SEARCH, AUTOGLUON)
PRESET = "medium_quality"  # AutoGluon's
IDENTIFIER = "rivals"
FITTING = Path(__file__).with_name("autogluon_fit.py")


@dataclass(frozen=True)
class Told:
    """What a contestant is told of a table."""

    table: Path  # all rows
    train: Path
    test: Path  # for the figures only
    label: str
    seed: int
    minutes: float


@dataclass(frozen=True)
class Found:
    """How one contestant did on the test rows of a table."""

    accuracy: float
    macro_f1: float
    seconds: float  # of its whole process
    megabytes: float  # of all that it needs to predict
    others: float  # cores that other processes kept busy meanwhile

    @property
    def mean(self) -> float:
        """The mean of accuracy and macro-F1, which the search makes large."""
        return (self.accuracy + self.macro_f1) / 2


def main(arguments: list[str]) -> int:
    """Print what each contestant makes of each table, and their mean ranks, as Markdown."""
    given = _parser().parse_args(arguments)
    try:
        if not given.minutes > 0:
            raise RequestError(f"--minutes {given.minutes}: expected a number above 0.")
        versions = _versions(given.python)
        print(*(f"- {name}: {fact}" for name, fact in _facts(arguments, versions).items()), "", sep="\n")
        heads = [f"{name}, {what}" for what in ("accuracy", "macro-F1", "seconds", "MB") for name in CONTESTANTS]
        print(*table(["table", "rows", "classes", *heads], []), sep="\n", flush=True)
        found = []
        for name in given.tables:
            with TemporaryDirectory(prefix="rivals-") as folder:
                size, of_table = _compared(name, given, Path(folder))
            found.append(of_table)
            print(_row(name, size, of_table), flush=True)
    except (RequestError, ContestantFailed) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    print("", *ranks(found), sep="\n")
    others = max(of_one.others for of_table in found for of_one in of_table.values())
    tell_if_disturbed(others)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipeline.benchmark.rivals", description=__doc__)
    parser.add_argument("tables", nargs="+", help=f"of each table {TABLES}")
    parser.add_argument("--python", required=True, help="interpreter of an environment that has autogluon.tabular")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the search, and of AutoGluon")
    parser.add_argument("--seed", type=int, default=0, help="of the split, and of all that is drawn")
    return parser


def _versions(python: str) -> dict[str, str]:
    """Return the versions of AutoGluon and of the learners that it finds in its environment."""
    try:
        done = subprocess.run([python, "-I", str(FITTING), "versions"], capture_output=True, text=True)
        wrong = (done.stderr.splitlines() or ["nothing"])[-1] if done.returncode else ""
    except OSError as error:
        wrong = str(error)
    if wrong:
        raise RequestError(f"--python {python}: expected a Python that imports autogluon.tabular; it says: {wrong}")
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _facts(arguments: list[str], versions: dict[str, str]) -> dict[str, str]:
    found = machine()
    of_rival = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    absent = ", ".join(name for name, version in versions.items() if not version)
    return found | {
        "AutoGluon": f"`{PRESET}`; {of_rival}" + (f"; without {absent}" if absent else ""),
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Command": f"`python -m pipeline.benchmark.rivals {shlex.join(arguments)}`",
    }


def _compared(name: str, given: argparse.Namespace, folder: Path) -> tuple[tuple[int, int], dict[str, Found]]:
    frame, label = table_of(name)
    told = divided(frame, label, folder, given.seed, given.minutes)
    found = {}
    for contestant in CONTESTANTS:
        work = folder / contestant
        work.mkdir()
        taken = measure(command(contestant, told, work, given.python), work, folder / "printed.log")
        predicted, size = _of_autogluon(work) if contestant == AUTOGLUON else _of_pipeline(work, told)
        true = pd.read_csv(told.test, dtype={told.label: str})[told.label]
        figures = accuracy_score(true, predicted), f1_score(true, predicted, average="macro", labels=true.unique())
        found[contestant] = Found(*figures, taken.seconds, size / MB, taken.others)
        shown = f"{figures[0]:.4f} {figures[1]:.4f} {taken.seconds:8.1f} s, others {taken.others:.2f} cores"
        console.show(f"{name:<24} {contestant:<12} {shown}")
    return (len(frame), frame[label].nunique()), found


def _row(name: str, size: tuple[int, int], found: dict[str, Found]) -> str:
    shown = [f"{getattr(of_one, what):.4f}" for what in ("accuracy", "macro_f1") for of_one in found.values()]
    shown += [f"{of_one.seconds:.0f}" for of_one in found.values()]
    shown += [f"{of_one.megabytes:.1f}" for of_one in found.values()]
    return f"| {' | '.join([Path(name.rpartition(':')[0] or name).name, *(f'{n:,}' for n in size), *shown])} |"


def ranks(found: list[dict[str, Found]]) -> list[str]:
    """Return the mean rank of each contestant as a table of Markdown: 1 is best, and those that are alike share ranks.

    Args:
        found: Of each table what each contestant has made of it.
    """
    rows = []
    for what in ("accuracy", "macro_f1", "mean"):
        figures = np.array([[getattr(of_table[name], what) for name in CONTESTANTS] for of_table in found])
        means = rankdata(-figures.round(9), axis=1).mean(axis=0)
        against = figures[:, CONTESTANTS.index(SEARCH)] - figures[:, CONTESTANTS.index(AUTOGLUON)]
        counts = [(against > 1e-9).sum(), (abs(against) <= 1e-9).sum(), (against < -1e-9).sum()]
        rows.append([what.replace("_f1", "-F1"), *(f"{mean:.2f}" for mean in means), *map(str, counts)])
    better = [f"{SEARCH} {how} {AUTOGLUON}" for how in ("before", "even with", "behind")]
    return table([f"mean rank of {len(found)} tables", *CONTESTANTS, *better], rows)


def table_of(name: str) -> tuple[pd.DataFrame, str]:
    """Return the rows of a table that have a label, and the label's name; of each class there are two or more."""
    if name in BUNDLED:
        return getattr(datasets, f"load_{name}")(as_frame=True).frame, "target"
    file, colon, label = name.rpartition(":")
    if not colon or not Path(file).is_file():
        raise RequestError(f"{name}: expected FILE:LABEL with a file on this machine, or {', '.join(BUNDLED)}.")
    frame = read_table(Path(file))
    if label not in frame:
        raise RequestError(f"{name}: expected a column of the table as label, which has {', '.join(map(str, frame))}.")
    kept = frame.groupby(label)[label].transform("size") >= 2  # never of a row without a label
    if not kept.all():
        console.show(f"{name}: {(~kept).sum():,} rows without a label, or the only ones of their class, are left out")
    return frame[kept].reset_index(drop=True), label


def divided(frame: pd.DataFrame, label: str, folder: Path, seed: int, minutes: float) -> Told:
    """Write the table and the two parts that the pipeline's split makes of it, which AutoGluon reads."""
    held = share_of_each_class(frame[label], TEST_SIZE, seed)
    told = Told(folder / "table.csv", folder / "train.csv", folder / "test.csv", label, seed, minutes)
    for file, rows in ((told.table, frame), (told.train, frame[~held]), (told.test, frame[held])):
        rows.to_csv(file, index=False)
    return told


def command(contestant: str, told: Told, work: Path, python: str) -> list[str]:
    """Return the command of a contestant, which writes to the folder work."""
    if contestant == AUTOGLUON:
        asked = [told.train, told.test, told.label, 60 * told.minutes, PRESET, work]
        return [python, "-I", str(FITTING), *map(str, asked)]
    if contestant == SEARCH:
        return run_py(IDENTIFIER, told.table, told.label, "search", seed=told.seed, minutes=told.minutes)
    return run_py(IDENTIFIER, told.table, told.label, seed=told.seed)


def run_py(identifier: str, file: Path, label: str, pipeline: str = "training", **values: object) -> list[str]:
    """Return the command of a run here that trains anew, with the test rows of the benchmark and some parameters."""
    asked = ["--identifier", identifier, "--pipeline", pipeline, "--engine", "local", "--no-cache"]
    asked += ["--data", str(file), "--label", label]
    given = {"test_size": TEST_SIZE} | values
    return [sys.executable, "run.py", *asked, *(f"--set={name}={value}" for name, value in given.items())]


def _of_pipeline(work: Path, told: Told) -> tuple[list[str], int]:
    """Return what the run's model predicts of the test rows, and its size."""
    record = json.loads((work / IDENTIFIER / "latest" / "run.json").read_text("utf-8"))
    test = read_table(told.test)
    predicted = joblib.load(record["model"]).predict(test)
    accuracy = accuracy_score(test[told.label].astype(str), predicted.astype(str))
    if abs(accuracy - record["metrics"]["accuracy"]) > 1e-6:
        raise ContestantFailed(
            f"The run has an accuracy of {record['metrics']['accuracy']}, and on the test rows of the benchmark its "
            f"model has {accuracy}: both have not split the table alike. Give a table that the pipeline takes whole."
        )
    return [str(name) for name in predicted], Path(record["model"]).stat().st_size


def _of_autogluon(work: Path) -> tuple[list[str], int]:
    predicted = pd.read_csv(work / "predicted.csv", dtype=str, keep_default_na=False)
    return predicted.iloc[:, 0].tolist(), json.loads((work / "size.json").read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
