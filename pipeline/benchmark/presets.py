"""The presets and the search beside the workshop's XGBoost: python -m pipeline.benchmark.presets rows.csv kind"""

import argparse
import json
import shlex
import statistics
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import RequestError, console
from pipeline.benchmark import METRICS
from pipeline.benchmark.command import machine
from pipeline.benchmark.measuring import ContestantFailed, Measured, measure
from pipeline.benchmark.rows import read_table
from pipeline.benchmark.tables import QUIET, table
from pipeline.benchmark.workshop import N_TREES, TEST_SIZE

SEARCH, XGBOOST = "search", "XGBoost"
CONTESTANTS = ("fast", "balanced", "best", SEARCH, XGBOOST)
IDENTIFIER = "presets"


def main(arguments: list[str]) -> int:
    """Print accuracy and macro-F1 of each contestant and seed, and its seconds, as a table of Markdown.

    For each seed all contestants run one after another, so that they meet the same machine.
    """
    given = _parser().parse_args(arguments)
    found: dict[str, list[tuple[str, Measured]]] = {name: [] for name in given.contestants}
    try:
        _check(given)
        for seed in given.seeds:
            for name, of_seeds in found.items():
                with TemporaryDirectory(prefix="presets-") as folder:
                    of_seeds.append(_measured(name, given, seed, Path(folder)))
                figures, taken = of_seeds[-1]
                shown = f"{figures} {taken.seconds:8.1f} s, others {taken.others:.2f} cores"
                console.show(f"seed {seed:<4} {name:<10} {shown}")
    except (RequestError, ContestantFailed) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    facts = machine()
    if XGBOOST in found:
        facts[XGBOOST] = f"{version('xgboost-cpu')}, {N_TREES} trees of each class against the rest, its defaults else"
    facts |= {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Command": f"`python -m pipeline.benchmark.presets {shlex.join(arguments)}`",
    }
    print(*(f"- {name}: {fact}" for name, fact in facts.items()), "", sep="\n")
    print(*_table(found, given.seeds), sep="\n")
    others = max(taken.others for of_seeds in found.values() for _, taken in of_seeds)
    if others > QUIET:
        print(f"\n- The machine was not quiet: others kept up to {others:.1f} cores busy. Measure on a quiet one.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipeline.benchmark.presets", description=__doc__)
    parser.add_argument("file", type=Path, help="CSV, gzipped CSV or Parquet file")
    parser.add_argument("label", help="its column with the classes")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=["fast", "balanced", XGBOOST])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="each gives a split of its own")
    parser.add_argument("--minutes", type=float, default=3.0, help="of the search")
    return parser


def _check(given: argparse.Namespace) -> None:
    if not given.file.is_file():
        raise RequestError(f"{given.file}: expected a file on this machine; there is none.")
    if given.label not in (columns := read_table(given.file).columns):
        raise RequestError(f"{given.label}: expected a column of the table as label, which has {', '.join(columns)}.")
    if not given.minutes > 0:
        raise RequestError(f"--minutes {given.minutes}: expected a number above 0.")


def _measured(name: str, given: argparse.Namespace, seed: int, folder: Path) -> tuple[str, Measured]:
    """Run a contestant; return its accuracy and macro-F1 on the test rows, and what it took."""
    file = given.file.resolve()
    if name == XGBOOST:
        command = ["-m", "pipeline.benchmark.workshop", str(file), given.label, str(seed), str(folder)]
    else:
        sets = [f"seed={seed}", f"test_size={TEST_SIZE}"]
        sets += [f"minutes={given.minutes}" if name == SEARCH else f"preset={name}"]
        command = ["run.py", "--identifier", IDENTIFIER, "--engine", "local", "--no-cache"]
        command += ["--data", str(file), "--label", given.label, *(["--pipeline", "search"] if name == SEARCH else [])]
        command += [part for setting in sets for part in ("--set", setting)]
    with TemporaryDirectory(prefix="printed-") as printed:
        taken = measure([sys.executable, *command], folder, Path(printed, "printed.log"))
    if name == XGBOOST:
        figures = json.loads((folder / METRICS).read_text("utf-8"))
    else:
        figures = json.loads((folder / IDENTIFIER / "latest" / "run.json").read_text("utf-8"))["metrics"]
    return f"{figures['accuracy']:.4f} / {figures['macro_f1']:.4f}", taken


def _table(found: dict[str, list[tuple[str, Measured]]], seeds: list[int]) -> list[str]:
    rows = []
    for name, of_seeds in found.items():
        seconds = [taken.seconds for _, taken in of_seeds]
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        rows.append([name, *(shown for shown, _ in of_seeds), spread])
    return table(["accuracy / macro-F1", *(f"seed {seed}" for seed in seeds), "seconds"], rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
