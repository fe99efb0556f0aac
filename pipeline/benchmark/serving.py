"""What the server of a model takes: single rows at a steady rate, long requests beside the model, many clients."""

import contextlib
import http.client
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from pipeline import ROOT, RequestError, console, models, sources
from pipeline.benchmark.command import MB, MOST_RUNS, machine
from pipeline.benchmark.measuring import ContestantFailed, busy, measure
from pipeline.benchmark.rows import read_table
from pipeline.benchmark.tables import QUIET
from pipeline.settings import settle
from pipeline.texts import shortened
from steps.model_folder import load_model, read_facts
from steps.serve import (
    HEALTH,
    PREDICT,
)  # with its environment: the threads of both wait for one another in the same way

HOST = "127.0.0.1"
RATE, SECONDS_AT_RATE = 20, 10  # requests a second, and for how long in each round
LONG, N_LONG = 1_000, 10  # rows of a request, and such requests in each round
CLIENTS = 16
WARM = 5  # seconds after which the memory is looked at
SECONDS_TO_START = 120
SERVING = re.compile(r"^Serving .* on port (\d+)$", re.MULTILINE)  # as steps.serve says it


@dataclass
class Served:
    """What was measured."""

    facts: dict[str, str]
    ready: float = 0.0  # seconds from the start of the process to its first answer, its packages being installed
    single: list[float] = field(default_factory=list)  # seconds of each request of one row, from when it was due
    long: list[float] = field(default_factory=list)  # of each request of 1,000 rows
    plain: list[float] = field(default_factory=list)  # of predict_proba on the same rows, in turn with it
    clients: list[float] = field(default_factory=list)  # of each request of all clients
    errors: int = 0  # of the clients
    seconds: float = 0.0  # that they asked for
    memory: list[int] = field(default_factory=list)  # bytes of the server, each second meanwhile
    others: float = 0.0  # cores that other processes kept busy meanwhile


def benchmark_serving(data: str, label: str, runs: int = 5, seconds: float = 60) -> Served:
    """Train a model, serve it on this machine, and measure the server.

    Args:
        data: What --data takes, as long as it is one file on this machine.
        label: Column that holds the classes.
        runs: Number of rounds of single rows and long requests, from 1 to 1,000.
        seconds: For how long the clients ask.

    Raises:
        RequestError: the data is no such file, or too few rounds were asked for.
        ContestantFailed: the training failed, or the server did not start or ended.
    """
    if not 1 <= runs <= MOST_RUNS:
        raise RequestError(f"--runs {shortened(runs)}: expected at least 1, and at most {MOST_RUNS:,}.")
    source = sources.resolve(data, label, settle().runs_dir / ".data")
    if len(source.files) != 1:
        raise RequestError(f"--data {data}: the rows are read of one file on this machine. Name one.")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        work, file = Path(temporary), source.files[0].resolve()
        console.show("training")
        named = ["--identifier", "bench", "--engine", "local", "--data", str(file), "--label", label]
        measure([sys.executable, "run.py", *named], work, work / "printed.log")
        folder = models.find(settle(identifier="bench", runs_dir=work)).folder
        return _measured(folder, file, work, runs, seconds, f"--data {shlex.quote(data)} --label {shlex.quote(label)}")


def _measured(folder: str, file: Path, work: Path, runs: int, seconds: float, asked: str) -> Served:
    facts = read_facts(folder)
    frame = read_table(file)[list(facts["columns"])]
    frame = frame.sample(min(len(frame), 20 * LONG), random_state=0)
    rows = json.loads(frame.to_json(orient="records", date_format="iso"))
    singles = [json.dumps({"instances": [row]}) for row in rows]
    long = frame.iloc[:LONG]
    found = Served(
        machine()
        | {
            "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "Model": f"{len(facts['classes'])} classes of {facts['rows']['train']:,} rows, {len(rows[0])} columns",
            "Command": f"`python -m pipeline benchmark --serving {asked} --runs {runs}`",
        }
    )
    model = load_model(folder)
    model.predict_proba(long)
    with _server(folder, work / "server.log") as (process, port, found.ready):
        used, since, others = _used(process), time.perf_counter(), busy()
        for number in range(1, runs + 1):
            console.show(f"round {number} of {runs}: single rows")
            found.single += _at_rate(port, singles)
            console.show(f"round {number} of {runs}: {LONG:,} rows")
            with _asking(port) as ask:
                body = json.dumps({"instances": rows[:LONG]})
                for _ in range(N_LONG):
                    found.long.append(_timed(partial(ask, body)))
                    found.plain.append(_timed(lambda: model.predict_proba(long)))
        console.show(f"{CLIENTS} clients for {seconds:.0f} s")
        _with_clients(found, port, process, singles, seconds)
        spent = time.perf_counter() - since
        found.others = max(0.0, (busy() - others - (_used(process) - used)) / spent)
    return found


def _used(server: psutil.Process) -> float:
    """Return the CPU seconds of this process and the server."""
    times = server.cpu_times()
    return time.process_time() + times.user + times.system


@contextlib.contextmanager
def _server(folder: str, log: Path) -> Iterator[tuple[psutil.Process, int, float]]:
    """Start a server as a container does once its packages are installed; gives it, its port, and the seconds taken."""
    environment = os.environ | {"AIP_STORAGE_URI": str(folder), "AIP_HTTP_PORT": "0"}
    since = time.perf_counter()
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "steps.serve"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    try:
        while not (told := SERVING.search(log.read_text("utf-8", errors="replace"))):
            if process.poll() is not None or time.perf_counter() - since > SECONDS_TO_START:
                raise ConnectionError
            time.sleep(0.01)
        with _asking(port := int(told[1])) as ask:
            ask(None)
        yield psutil.Process(process.pid), port, time.perf_counter() - since
    except (OSError, http.client.HTTPException, psutil.Error):
        last = log.read_text("utf-8", errors="replace").splitlines()[-20:]
        raise ContestantFailed("\n".join(["The server does not answer. It printed:", *last])) from None
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _asking(port: int) -> Iterator[Callable[[str | None], None]]:
    """Give a client that keeps its connection: it sends instances, or without any asks whether the server is ready.

    Raises:
        ContestantFailed: an answer was an error.
    """
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=60)) as connection:

        def ask(body: str | None) -> None:
            connection.request(*(("GET", HEALTH) if body is None else ("POST", PREDICT, body)))
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise ContestantFailed(f"The server answered {answer.status}: {content[:500]!r}")

        yield ask


def _timed(action: Callable[[], object]) -> float:
    since = time.perf_counter()
    action()
    return time.perf_counter() - since


def _at_rate(port: int, bodies: list[str]) -> list[float]:
    """Return the seconds of requests at a steady rate, each from when it was due: a late one makes others late."""
    taken, begin = [], time.perf_counter()
    with _asking(port) as ask:
        for number in range(round(RATE * SECONDS_AT_RATE)):
            due = begin + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            ask(bodies[number % len(bodies)])
            taken.append(time.perf_counter() - due)
    return taken


def _with_clients(found: Served, port: int, server: psutil.Process, bodies: list[str], seconds: float) -> None:
    """Let clients ask as fast as they are answered, and look at the server's memory meanwhile."""
    begin, ended = time.perf_counter(), threading.Event()

    def client(number: int) -> tuple[list[float], int]:
        taken: list[float] = []
        errors = 0
        while time.perf_counter() - begin < seconds:
            try:
                with _asking(port) as ask:
                    while time.perf_counter() - begin < seconds:
                        taken.append(_timed(lambda: ask(bodies[(number + CLIENTS * len(taken)) % len(bodies)])))
            except (ContestantFailed, OSError, http.client.HTTPException):
                errors += 1
        return taken, errors

    def watch() -> None:
        while not ended.wait(1):
            with contextlib.suppress(psutil.Error):
                found.memory.append(server.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for taken, errors in pool.map(client, range(CLIENTS)):
            found.clients += taken
            found.errors += errors
    found.seconds = time.perf_counter() - begin
    ended.set()
    watcher.join()


def markdown(found: Served) -> str:
    """Render what was measured as Markdown, beside what is asked of it."""
    ratio = statistics.median(long / plain for long, plain in zip(found.long, found.plain, strict=True))
    first, last = found.memory[min(WARM, len(found.memory)) - 1], found.memory[-1]
    rows = [
        ["ready, its packages being installed", f"{found.ready:.1f} s", "5 s"],
        *_of(f"single row, {RATE} a second", found.single, "15 ms", "40 ms"),
        [f"{LONG:,} rows, median", f"{_ms(found.long, 50)}", ""],
        ["`predict_proba` on them, median", f"{_ms(found.plain, 50)}", ""],
        ["their ratio, median of the requests", f"{ratio:.2f}", "3"],
        [f"{CLIENTS} clients, requests a second", f"{len(found.clients) / found.seconds:,.0f}", ""],
        *_of(f"{CLIENTS} clients", found.clients, "", ""),
        [f"{CLIENTS} clients, errors in {found.seconds:.0f} s", f"{found.errors:,}", "0"],
        [f"memory after {WARM} s, MB", f"{first / MB:,.0f}", ""],
        ["memory at the end, MB", f"{last / MB:,.0f}", "the same"],
        ["others, cores", f"{found.others:.2f}", ""],
    ]
    lines = [f"| {' | '.join(row)} |" for row in (["server", "measured", "at most"], ["---", "---:", "---:"], *rows)]
    notes = [
        "Times of a single row are from when it was due; MB are 1,000,000 bytes. Client and server share the cores."
    ]
    if found.others > QUIET:
        notes.append(f"The machine was not quiet: others kept {found.others:.1f} cores busy. Do not trust the times.")
    parts = [[f"- {name}: {fact}" for name, fact in found.facts.items()], lines, [f"- {note}" for note in notes]]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _of(what: str, seconds: list[float], *most: str) -> list[list[str]]:
    return [[f"{what}, p{share}", _ms(seconds, share), at_most] for share, at_most in zip((50, 99), most, strict=True)]


def _ms(seconds: list[float], share: int) -> str:
    return f"{np.percentile(seconds, share) * 1e3:,.1f} ms"
