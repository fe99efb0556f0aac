"""How cost grows with a table, beside a plain script: python -m pipeline.benchmark.growth columns texts classes rows"""

import csv
import json
import math
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import RequestError, compiler
from pipeline.benchmark import METRICS, PARAMETERS
from pipeline.benchmark.command import MB, machine
from pipeline.benchmark.measuring import ContestantFailed, Measured, measure
from pipeline.benchmark.rows import make_rows

LABEL = "kind"
CHUNK = 5_000  # rows that are written at once


@dataclass(frozen=True)
class Shape:
    """A kind of table, by the sizes that it is measured in."""

    unit: str  # of the sizes
    sizes: tuple[int, int]
    make: Callable[[int, Path], object]  # writes a CSV file of that size
    label: str = LABEL


@dataclass(frozen=True)
class Cost:
    """What both contestants took on one table."""

    engine: Measured
    plain: Measured
    figures: tuple[float, float]  # macro-F1 of the engine's model and of the plain script's

    @property
    def cells(self) -> list[str]:
        """What a line of the table says of it."""
        cells = []
        for cost, unit, digits in (("seconds", 1, 1), ("peak_bytes", MB, 0)):
            own, of_plain = getattr(self.engine, cost) / unit, getattr(self.plain, cost) / unit
            cells += [f"{own:,.{digits}f}", f"{of_plain:,.{digits}f}", f"{own / of_plain:.2f}"]
        step, n_bytes = max(self.engine.of_logs.items(), key=lambda pair: pair[1], default=("", 0))
        cells += [step, f"{n_bytes / MB:,.0f}", *(f"{figure:.3f}" for figure in self.figures)]
        return [*cells, f"{max(self.engine.others, self.plain.others):.2f}"]


def columns(n_rows: int, target: Path) -> None:
    """Write 2,000 columns of numbers, ten of which tell two classes."""
    rng = np.random.default_rng(0)
    weights = np.r_[rng.normal(size=10), np.zeros(1_990)]

    def chunk(n: int) -> pd.DataFrame:
        numbers = rng.normal(size=(n, 2_000)).round(4)
        kinds = np.where(numbers @ weights + rng.normal(size=n) > 0, "above", "below")
        return pd.DataFrame(numbers).add_prefix("number_").assign(**{LABEL: kinds})

    _write(n_rows, target, chunk)


def texts(n_rows: int, target: Path) -> None:
    """Write 20 columns of texts of three to eight words; three of the columns tell three classes."""
    rng = np.random.default_rng(0)
    letters = np.array([*"abcdefghijklmnoprstuvwz"])
    words = np.array(["".join(rng.choice(letters, rng.integers(3, 10))) for _ in range(5_000)])
    shares = 1 / np.arange(1, len(words) + 1)
    shares /= shares.sum()

    def chunk(n: int) -> pd.DataFrame:
        kinds = rng.integers(3, size=n)
        frame = {}
        for place in range(20):
            drawn = rng.choice(words, size=(n, 8), p=shares)
            if place < 3:
                told = rng.random(n) < 0.5
                drawn[told, 0] = words[1_000 + 10 * kinds[told] + rng.integers(10, size=told.sum())]
            n_words = rng.integers(3, 9, size=n)
            frame[f"text_{place}"] = [" ".join(row[:k]) for row, k in zip(drawn, n_words, strict=True)]
        return pd.DataFrame(frame | {LABEL: np.array(["one", "two", "three"])[kinds]})

    _write(n_rows, target, chunk)


def classes(n_rows: int, target: Path) -> None:
    """Write 20 columns of numbers around 60 centres, one a class."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 20))

    def chunk(n: int) -> pd.DataFrame:
        kinds = rng.integers(60, size=n)
        numbers = (centres[kinds] + rng.normal(scale=0.7, size=(n, 20))).round(4)
        return pd.DataFrame(numbers).add_prefix("number_").assign(**{LABEL: [f"class {kind:02}" for kind in kinds]})

    _write(n_rows, target, chunk)


def _write(n_rows: int, target: Path, chunk: Callable[[int], pd.DataFrame]) -> None:
    with target.open("w", encoding="utf-8", newline="") as file:
        for start in range(0, n_rows, CHUNK):
            part = chunk(min(CHUNK, n_rows - start))
            part.to_csv(file, index=False, header=start == 0, quoting=csv.QUOTE_MINIMAL)


def main(named: list[str]) -> None:
    """Print a table of seconds and memory of the engine and of the plain script, and their exponents.

    Args:
        named: Shapes, of SHAPES, or rows=FILE:LABEL, a table to make the rows from; @2000,4000 behind one sets its
            sizes. max_iter=10 lets both train fewer trees, where the memory is what is asked for.

    Raises:
        RequestError: there is no such shape.
    """
    given = dict(name.split("=", 1) for name in named if name.startswith("max_iter="))
    chosen = [name for name in named if not name.startswith("max_iter=")]
    shapes = [shape_of(name) for name in chosen]
    for name, fact in machine().items():
        print(f"- {name}: {fact}")
    print(f"- Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    print(f"- Command: `python -m pipeline.benchmark.growth {shlex.join(named)}`\n")
    heads = ["table", "engine, s", "plain, s", "÷ plain", "engine, MB", "plain, MB", "÷ plain"]
    heads += ["largest step", "MB", "macro-F1, engine", "plain", "others, cores"]
    print("|", " | ".join(heads), "|")
    print("| --- |", " | ".join(["---:"] * (len(heads) - 1)), "|", flush=True)
    for name, shape in zip(chosen, shapes, strict=True):
        taken = []
        for size in shape.sizes:
            taken.append(run(shape, size, **given))
            print(f"| {size:,} {shape.unit} | {' | '.join(taken[-1].cells)} |", flush=True)
        step = math.log(shape.sizes[1] / shape.sizes[0])
        grown = [
            math.log(getattr(after, cost) / getattr(before, cost)) / step
            for cost in ("seconds", "peak_bytes")
            for before, after in ((taken[0].engine, taken[1].engine), (taken[0].plain, taken[1].plain))
        ]
        shown = [f"{exponent:.2f}" for exponent in grown]
        cells = (*shown[:2], "", *shown[2:], *[""] * 6)
        print(f"| exponent of {re.split('[=@]', name)[0]} | {' | '.join(cells)} |", flush=True)


def run(shape: Shape, size: int, max_iter: str = "") -> Cost:
    """Make a table and let the plain script and the engine train on it, each once and in processes of its own.

    Tells on standard error what each step of the engine took at most.
    """
    with tempfile.TemporaryDirectory(prefix="growth-") as temporary:
        work = Path(temporary)
        file, plain, engine = work / "rows.csv", work / "plain", work / "engine"
        shape.make(size, file)
        for folder in (plain, engine):
            folder.mkdir()
        given: dict[str, object] = {"source": str(file), "fingerprint": "", "label": shape.label}
        given |= {"max_iter": int(max_iter)} if max_iter else {}
        parameters = compiler.resolved(compiler.load("training"), given)
        (plain / PARAMETERS).write_text(json.dumps(parameters), encoding="utf-8")
        asked = ["--identifier", "growth", "--engine", "local", "--no-cache"]
        asked += ["--data", str(file), "--label", shape.label]
        asked += ["--set", f"max_iter={max_iter}"] if max_iter else []
        of_engine = measure([sys.executable, "run.py", *asked], engine, work / "printed.log")
        record = json.loads((engine / "growth" / "latest" / "run.json").read_text("utf-8"))
        seconds: dict[str, float] = {}
        for task in record["tasks"]:
            seconds[task["name"]] = seconds.get(task["name"], 0) + task["seconds"]
        for step, taken in seconds.items():
            held = of_engine.of_logs.get(step, 0)
            print(f"{size:,} {shape.unit}: {step} {taken:.1f} s, {held / MB:,.0f} MB", file=sys.stderr, flush=True)
        shutil.rmtree(engine)
        script = [sys.executable, "-m", "pipeline.benchmark.plain", str(file), shape.label, str(plain)]
        of_plain = measure(script, plain, work / "printed.log")
        figures = json.loads((plain / METRICS).read_text("utf-8"))
    return Cost(of_engine, of_plain, (record["metrics"]["macro_f1"], figures["macro_f1"]))


def shape_of(name: str) -> Shape:
    """Return a shape by its name.

    Raises:
        RequestError: there is no such shape.
    """
    name, _, sizes = name.partition("@")
    kind, _, table = name.partition("=")
    if kind == "rows" and ":" in table:
        file, _, label = table.rpartition(":")
        made = lambda n_rows, target: make_rows(Path(file), label, n_rows, target)  # noqa: E731
        shape = Shape("rows like those of the table", (581_012, 5_810_120), made, label)
    elif name in SHAPES:
        shape = SHAPES[name]
    else:
        raise RequestError(f"{name} is no shape. Take {', '.join(SHAPES)} or rows=FILE:LABEL.")
    if not sizes:
        return shape
    if not re.fullmatch("[1-9][0-9]*,[1-9][0-9]*", sizes) or len({*sizes.split(",")}) < 2:
        raise RequestError(f"@{sizes}: expected two sizes, such as @2000,4000.")
    smaller, larger = sorted(map(int, sizes.split(",")))
    return replace(shape, sizes=(smaller, larger))


SHAPES = {
    "columns": Shape("rows of 2,000 columns", (10_000, 20_000), columns),
    "texts": Shape("rows of 20 texts", (25_000, 50_000), texts),
    "classes": Shape("rows of 60 classes", (10_000, 20_000), classes),
}


if __name__ == "__main__":
    try:
        main(sys.argv[1:] or [*SHAPES])
    except (RequestError, ContestantFailed) as error:
        sys.exit(f"Error: {error}")
