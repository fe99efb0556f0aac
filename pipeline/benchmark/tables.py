"""What a benchmark has found out, as Markdown."""

import statistics
from collections.abc import Iterable

from pipeline.benchmark.command import CACHED, MB, Benchmark, Contestant

# cores that others may keep busy; what is used after the last look counts as theirs, 0.1 in a run of a second
QUIET = 0.2


def markdown(found: Benchmark) -> str:
    """Render what was found as Markdown: times in seconds, sizes in MB of 1,000,000 bytes, ratios to the first one."""
    plain, minimal = found.contestants[:2]
    costs, figures = [], []
    for contestant in found.contestants:
        seconds = [run.seconds for run in contestant.measured]
        row = [contestant.name, f"{statistics.median(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}"]
        for size in ("peak_bytes", "written_bytes"):
            row.append(f"{statistics.median(getattr(run, size) for run in contestant.measured) / MB:,.1f}")
        for cost in ("seconds", "peak_bytes"):
            row.append(f"{_ratio(cost, contestant, plain):.2f}")
        row.append(f"{_ratio('seconds', contestant, minimal):.2f}")
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
        "time ÷ minimal",
        "others, cores",
    ]
    speeds = [
        [name, f"{statistics.median(rows):,.0f}", f"{_share(rows, next(iter(found.prediction.values()))):.2f}"]
        for name, rows in found.prediction.items()
    ]
    parts = [
        [f"- {name}: {fact}" for name, fact in found.facts.items()],
        table(["contestant", *heads], costs),
        table(["model of", "accuracy", "macro-F1"], figures),
        table(["start-up", "seconds"], start_up),
        table(["prediction", "rows per second", "÷ predict_proba"], speeds) if speeds else [],
        [f"- {note}" for note in _notes(found.contestants)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


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


def _ratio(cost: str, contestant: Contestant, other: Contestant) -> float:
    rounds = zip(contestant.measured, other.measured, strict=True)
    return float(statistics.median(getattr(own, cost) / getattr(of_other, cost) for own, of_other in rounds))


def _share(rows: list[float], of_plain: list[float]) -> float:
    return statistics.median(own / plain for own, plain in zip(rows, of_plain, strict=True))


def table(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]


def tell_if_disturbed(others: float) -> None:
    """Print as Markdown that the machine was not quiet, where others kept more cores busy than they may."""
    if others > QUIET:
        print(f"\n- The machine was not quiet: others kept up to {others:.1f} cores busy. Measure on a quiet one.")
