"""A tireless tester: runs that are killed, interrupted and crowded at random instants. Each fault is printed.

    python -m pipeline.tests.chaos kills --rounds 300 --seed 1
    python -m pipeline.tests.chaos crowds --rounds 100

The seed is printed; the same seed makes the same choices, though not the same instants of the machine.
"""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import psutil
import typer

from pipeline import ROOT, RequestError, runs

MARK = "COVERTYPE_CHAOS"  # in the environment of all that a round starts
SECONDS = 2.0  # after which no process of a run may be left
OF_CACHED = 0.3  # of the time that a run takes is what one takes whose tasks are all cached
RUN = ("--identifier", "chaos", "--data", "sample:1000", "--set", "max_iter=3")
ENDS = {  # signals to the command, in their order; the last two cannot be handled
    "Ctrl-C": [signal.SIGINT],
    "Ctrl-C twice": [signal.SIGINT] * 2,
    "Ctrl-C ten times": [signal.SIGINT] * 10,
    "SIGTERM": [signal.SIGTERM],
    "SIGTERM and Ctrl-C": [signal.SIGTERM, signal.SIGINT],
    "SIGHUP": [signal.SIGHUP],
    "SIGHUP and SIGTERM": [signal.SIGHUP, signal.SIGTERM],
    "kill -9": [signal.SIGKILL],
    "kill -9 of the group": [signal.SIGKILL],
}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Rounds = Annotated[int, typer.Option(help="How many rounds.")]
Seconds = Annotated[float, typer.Option(help="No round begins after this time.")]
Seed = Annotated[int | None, typer.Option(help="Of what is drawn; by default another each time.")]


@dataclasses.dataclass
class Chaos:
    """Rounds in one folder of runs, and what went wrong in them."""

    folder: Path
    random: random.Random
    faults: list[str] = dataclasses.field(default_factory=list)
    counts: Counter = dataclasses.field(default_factory=Counter)

    @property
    def runs_dir(self) -> Path:
        """The folder of all runs."""
        return self.folder / "runs"

    def start(self, name: str, *arguments: str) -> subprocess.Popen:
        """Start run.py in a group of its own, with a folder of its own for temporary files."""
        temporary = self.folder / "tmp" / name
        temporary.mkdir(parents=True)
        settings = {
            "COVERTYPE_RUNS_DIR": str(self.runs_dir),
            "TMPDIR": str(temporary),
            MARK: name,
            "PYTHONFAULTHANDLER": "1",
        }
        with (self.folder / f"{name}.err").open("wb") as told:
            return subprocess.Popen(
                [sys.executable, "run.py", *RUN, *arguments],
                cwd=ROOT,
                env={**os.environ, **settings},
                stdout=subprocess.DEVNULL,
                stderr=told,
                start_new_session=True,
            )

    def told(self, name: str) -> str:
        """Return what the command of a round has said on standard error."""
        return (self.folder / f"{name}.err").read_text()

    def check(self, right: bool, name: str, fault: str) -> None:
        """Remember a fault."""
        if not right:
            self.faults.append(f"{name}: {fault}")
            print(f"fault in {name}: {fault}\n{self.told(name)[-6000:]}", flush=True)

    def check_ended(self, name: str) -> None:
        """Check that all processes of a round end in time, and that they leave no temporary file."""
        until = time.monotonic() + SECONDS
        while (left := marked(name)) and time.monotonic() < until:
            time.sleep(0.02)
        self.check(not left, name, f"runs on: {left}")
        temporary = self.folder / "tmp" / name
        files = sorted(path.name for path in temporary.iterdir())
        self.check(not files, name, f"temporary files are left: {files}")
        shutil.rmtree(temporary)

    def records(self) -> dict[str, runs.Run]:
        """Return all runs by their ids; one that cannot be read is a fault."""
        found = {}
        for folder in sorted((self.runs_dir / "chaos").glob("2*")):
            try:
                found[folder.name] = runs.read(folder)
            except RequestError as error:
                self.faults.append(str(error))
                print(error, flush=True)
        return found

    def check_latest(self, name: str) -> None:
        """Check that the link and the verbs agree on the latest run."""
        link = os.readlink(self.runs_dir / "chaos" / "latest")
        largest = runs.load("chaos", "latest", self.runs_dir).run_id
        self.check(link == largest == max(self.records()), name, f"latest is {link}, and for the verbs {largest}")

    def figures(self, name: str) -> dict:
        """Run to the end, check that it succeeded, and return the figures."""
        status = self.start(name).wait()
        self.check(status == 0, name, f"exit status {status}")
        self.check_ended(name)
        self.check_latest(name)
        return runs.load("chaos", "latest", self.runs_dir).metrics


def marked(name: str) -> list[str]:
    """Return the processes of a round."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except (psutil.Error, OSError):
            continue
    return found


def kill_one(chaos: Chaos, name: str, longest: float) -> None:
    """Start two runs or one and end each at a random instant."""
    started = {}
    for number in range(chaos.random.choice([1, 1, 2])):
        cold = ["--no-cache"] if chaos.random.random() < 0.6 else []
        own, instant = f"{name}-{number}", chaos.random.uniform(0, longest if cold else longest * OF_CACHED)
        started[own] = (chaos.start(own, *cold), chaos.random.choice([*ENDS]), instant)
    begun = time.monotonic()
    for own, (process, how, instant) in sorted(started.items(), key=lambda item: item[1][2]):
        time.sleep(max(0.0, begun + instant - time.monotonic()))
        sent = end(chaos, process, how)
        chaos.counts[how if sent else "had ended before"] += 1
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it prints where each thread is
            process.wait()
            chaos.check(False, own, f"the command itself runs on after {how}")
            status = -signal.SIGKILL
        chaos.check_ended(own)
        told = chaos.told(own)
        is_ours = "run.py" in told  # else it is of Python's own start
        chaos.check("Traceback" not in told or not is_ours, own, f"a traceback after {how}")
        expected = {0, 130, -signal.SIGKILL} | {-number for number in ENDS[how]}
        if "init_import_site" in told:  # Python ends so where its own start is interrupted
            expected.add(1)
        chaos.check(status in expected, own, f"exit status {status} after {how}")
        check_record(chaos, own, how, status)


def end(chaos: Chaos, process: subprocess.Popen, how: str) -> bool:
    """Send the signals of an end with random gaps; return whether the process was there for the first."""
    is_there = process.poll() is None
    for number in ENDS[how]:
        if process.poll() is not None:
            break
        if how.endswith("group"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        time.sleep(chaos.random.choice([0, 0.001, 0.01, 0.03, 0.1]))
    return is_there


def check_record(chaos: Chaos, name: str, how: str, status: int) -> None:
    """Check that the record of a run says how it ended."""
    folders = [Path(line.split()[1]).name for line in chaos.told(name).splitlines() if line.startswith("Run ")]
    if not folders:
        return  # it did not begin
    record = runs.read(chaos.runs_dir / "chaos" / folders[0])
    chaos.counts[f"record {record.status}"] += 1
    expected = {0: {"succeeded"}, 130: {"cancelled"}}.get(status, {"lost", "succeeded"})
    if status == 130 and record.status == "succeeded":  # the signal came while the result was shown
        return
    chaos.check(record.status in expected, name, f"{record.status} in the record, exit status {status} after {how}")


@app.command()
def kills(rounds: Rounds = 300, seconds: Seconds = 3600, seed: Seed = None) -> None:
    """End runs by signals at random instants; afterwards a run has the same figures as before."""

    def prepare(chaos: Chaos) -> Callable[[str], None]:
        begun = time.monotonic()
        figures = chaos.figures("first")
        longest = time.monotonic() - begun

        def one(name: str) -> None:
            kill_one(chaos, name, longest)
            if chaos.random.random() < 0.1:
                chaos.check(chaos.figures(f"{name}-after") == figures, f"{name}-after", "other figures")

        return one

    play("kills", prepare, rounds, seconds, seed)


@app.command()
def crowds(rounds: Rounds = 100, seconds: Seconds = 3600, seed: Seed = None) -> None:
    """Start four runs of one identifier at once, round after round."""

    def prepare(chaos: Chaos) -> Callable[[str], None]:
        figures = chaos.figures("first")

        def one(name: str) -> None:
            before = {*chaos.records()}
            started = {f"{name}-{number}": chaos.start(f"{name}-{number}") for number in range(4)}
            for own, process in started.items():
                status = process.wait()
                chaos.check(status == 0, own, f"exit status {status}")
                chaos.check_ended(own)
            records = {run_id: run for run_id, run in chaos.records().items() if run_id not in before}
            chaos.check(len(records) == 4, f"{name}-0", f"{len(records)} new runs")
            same = all(run.metrics == figures and run.status == "succeeded" for run in records.values())
            chaos.check(same, f"{name}-0", f"not the same: {[(run.status, run.metrics) for run in records.values()]}")
            chaos.check_latest(f"{name}-0")
            chaos.counts["runs"] += len(records)

        return one

    play("crowds", prepare, rounds, seconds, seed)


def play(what: str, prepare: Callable[[Chaos], Callable[[str], None]], rounds: int, seconds: float, seed: int | None):
    """Play rounds in a folder of their own, print the counts, and exit with 1 if there were faults."""
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"{what}: seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        chaos = Chaos(Path(folder), random.Random(seed))
        begun = time.monotonic()
        one = prepare(chaos)
        n_played = 0
        while n_played < rounds and time.monotonic() < begun + seconds:
            one(f"round-{n_played}")
            n_played += 1
    print(f"{what}: {n_played} rounds in {time.monotonic() - begun:.0f} s, {len(chaos.faults)} faults")
    print(json.dumps(dict(sorted(chaos.counts.items()))))
    raise typer.Exit(bool(chaos.faults))


if __name__ == "__main__":
    app()
