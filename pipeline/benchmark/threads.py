"""Threads that wait for one another, by how they wait: python -m pipeline.benchmark.threads [0 1 2] [--threads 4]"""

import os
import statistics
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import ExitStack

from pipeline import CORES

ROUNDS = 3
# OpenMP of GNU reads these once, so each is measured in a process of its own
WAITING = {
    "as it comes": {},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    **{f"GOMP_SPINCOUNT={turns}": {"GOMP_SPINCOUNT": f"{turns}"} for turns in (1_000, 10_000, 30_000)},
}
MEASURE = """
import time
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
X, y = make_classification(90_000, 12, n_informative=8, random_state=0)
model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=63, early_stopping=False)
begin = time.perf_counter()
model.fit(X, y)
fitted = time.perf_counter()
for _ in range(40):
    model.predict_proba(X[:4_000])
print(fitted - begin, time.perf_counter() - fitted)
"""


def main(arguments: list[str]) -> None:
    """Print the seconds of a training and of 40 predictions, alone and beside processes that keep a core busy each."""
    parser = ArgumentParser(prog="python -m pipeline.benchmark.threads")
    parser.add_argument("busy", type=int, nargs="*", default=[0, 1, 2], help="processes beside it")
    parser.add_argument("--threads", type=int, nargs="+", default=[CORES], help="threads that it has; the cores")
    given = parser.parse_args(arguments)
    cases = [(1, "", {}), *((threads, name, add) for threads in given.threads for name, add in WAITING.items())]
    print("| busy processes | threads | they wait | training, s | predictions, s |")
    print("| ---: | ---: | --- | ---: | ---: |", flush=True)
    for busy in given.busy:
        with ExitStack() as stack:
            for _ in range(busy):
                beside = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                stack.callback(beside.wait)
                stack.callback(beside.kill)
            for threads, name, add in cases:
                fit, predict = zip(*(measured(threads, add) for _ in range(ROUNDS)), strict=True)
                seconds = f"{statistics.median(fit):.2f} | {statistics.median(predict):.2f}"
                print(f"| {busy} | {threads} | {name} | {seconds} |", flush=True)


def measured(threads: int, add: dict[str, str]) -> tuple[float, float]:
    """Return the seconds of the training and of the predictions in a process with these variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment = inherited | {"OMP_NUM_THREADS": str(threads)} | add
    command = [sys.executable, "-c", MEASURE]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    fit, predict = map(float, output.split())
    return fit, predict


if __name__ == "__main__":
    main(sys.argv[1:])
