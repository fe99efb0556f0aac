"""The presets and the search beside the workshop's XGBoost: python -m pipeline.benchmark.presets rows.csv:kind"""

import argparse
import json
import shlex
import statistics
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import RequestError, console
from pipeline.benchmark import METRICS
from pipeline.benchmark.command import machine
from pipeline.benchmark.measuring import ContestantFailed, Measured, measure
from pipeline.benchmark.rivals import TABLES, run_py, table_of
from pipeline.benchmark.tables import table, tell_if_disturbed
from pipeline.benchmark.workshop import N_TREES

SEARCH, XGBOOST = "search", "XGBoost"
CONTESTANTS = ("fast", "balanced", "best", SEARCH, XGBOOST)
IDENTIFIER = "presets"


def main(arguments: list[str]) -> int:
    """Print accuracy and macro-F1 of each contestant and seed, and its seconds, as a table of Markdown.

    For each seed all contestants run one after another, so that they meet the same machine.
    """
    given = _parser().parse_args(arguments)
    seeds = [*dict.fromkeys(given.seeds)]
    found: dict[str, list[tuple[str, Measured]]] = {name: [] for name in given.contestants}
    try:
        if not given.minutes > 0:
            raise RequestError(f"--minutes {given.minutes}: expected a number above 0.")
        frame, label = table_of(given.table)
        with TemporaryDirectory(prefix="presets-") as folder:
            file = Path(folder, "table.csv")
            frame.to_csv(file, index=False)
            for seed, name in product(seeds, found):
                work = Path(folder, f"{name}-{seed}")
                work.mkdir()
                taken = measure(_command(name, file, label, seed, given.minutes, work), work, file.with_suffix(".log"))
                found[name].append((_figures(name, work), taken))
                shown = f"{found[name][-1][0]} {taken.seconds:8.1f} s, others {taken.others:.2f} cores"
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
    print(*_table(found, seeds), sep="\n")
    others = max(taken.others for of_seeds in found.values() for _, taken in of_seeds)
    tell_if_disturbed(others)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipeline.benchmark.presets", description=__doc__)
    parser.add_argument("table", help=TABLES)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=["fast", "balanced", XGBOOST])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="each gives a split of its own")
    parser.add_argument("--minutes", type=float, default=3.0, help="of the search")
    return parser


def _command(name: str, file: Path, label: str, seed: int, minutes: float, work: Path) -> list[str]:
    if name == XGBOOST:
        return [sys.executable, "-m", "pipeline.benchmark.workshop", str(file), label, str(seed), str(work)]
    if name == SEARCH:
        return run_py(IDENTIFIER, file, label, "search", seed=seed, minutes=minutes)
    return run_py(IDENTIFIER, file, label, seed=seed, preset=name)


def _figures(name: str, work: Path) -> str:
    """Return accuracy and macro-F1 on the test rows of what a contestant has left in its folder."""
    if name == XGBOOST:
        figures = json.loads((work / METRICS).read_text("utf-8"))
    else:
        figures = json.loads((work / IDENTIFIER / "latest" / "run.json").read_text("utf-8"))["metrics"]
    return f"{figures['accuracy']:.4f} / {figures['macro_f1']:.4f}"


def _table(found: dict[str, list[tuple[str, Measured]]], seeds: list[int]) -> list[str]:
    rows = []
    for name, of_seeds in found.items():
        seconds = [taken.seconds for _, taken in of_seeds]
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        rows.append([name, *(shown for shown, _ in of_seeds), spread])
    return table(["accuracy / macro-F1", *(f"seed {seed}" for seed in seeds), "seconds"], rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
