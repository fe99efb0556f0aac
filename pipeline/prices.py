"""What a run on Vertex AI takes and costs: an estimate before it, and what it has used.

Prices are on demand, in USD and of us-central1; other regions have others. Here is all that is assumed, each figure
with its date and source; no bill was seen.
"""

import math
import re
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from pipeline import graph, profiles
from pipeline.arguments import with_defaults
from pipeline.graph import GOOGLE_IMAGE
from pipeline.loops import AT_MOST, Found, n_items, producer_of
from pipeline.profiles import Machine
from pipeline.runs import Run, Used


@dataclass(frozen=True)
class Price:
    """One figure in USD."""

    usd: float
    date: str
    source: str


REGION = "us-central1"
# each read where others quote the source, not there
OF_A_RUN = Price(0.03, "2026-11-25", "https://cloud.google.com/vertex-ai/pricing, a run of Vertex AI Pipelines")
CPU_HOUR = Price(0.02181159, "2026-09-25", "Cloud Billing Catalog, E2 Instance Core running in Americas")
GB_HOUR = Price(0.00292353, "2026-09-25", "Cloud Billing Catalog, E2 Instance Ram running in Americas")
# An hour of n1-standard-4 in custom training was 0.21849885 on 2026-09-08, https://cloud.google.com/vertex-ai/pricing:
# 1.15 times the 0.189999 of Compute Engine. That e2 costs as much more there is inferred.
MARKUP = 1.15
DATE = min(price.date for price in (OF_A_RUN, CPU_HOUR, GB_HOUR))
# From the service's asking for a machine until the step's own code runs, its packages installed: a guess for planning,
# as no figure of it was found.
START_MINUTES = (2, 3)

_SIZES = {"highcpu": (1, (2, 4, 8, 16, 32)), "standard": (4, (2, 4, 8, 16, 32)), "highmem": (8, (2, 4, 8, 16))}
E2 = {f"e2-{family}-{cpus}": Machine(cpus, cpus * gb) for family, (gb, sizes) in _SIZES.items() for cpus in sizes}
DEFAULT = "e2-standard-4"  # of a task that asks for nothing
UNKNOWN = ""  # type of a machine that there is no price of
_UNITS = {"": 1e-9, "k": 1e-6, "m": 1e-3, "g": 1, "t": 1e3}


@dataclass(frozen=True)
class Estimate:
    """What the machines of a run take at least: their starts. The steps' own work comes on top."""

    starts: int
    in_series: int  # of them in the longest chain
    hour: float  # USD of an hour of all machines together
    unpriced: tuple[str, ...] = ()  # steps whose machines have no known price
    open_loops: tuple[str, ...] = ()  # counted as one iteration, since what they go over is not known before
    is_most: bool = False  # whether loops may have fewer iterations

    @property
    def minutes(self) -> tuple[int, int]:
        """How long it takes at least, and with slower starts."""
        least, most = START_MINUTES
        return self.in_series * least, self.in_series * most

    @property
    def usd(self) -> tuple[float, float]:
        """What it costs at least, and with slower starts."""
        least, most = (OF_A_RUN.usd + self.hour * minutes / 60 for minutes in START_MINUTES)
        return least, most

    @property
    def brief(self) -> str:
        """Starts, minutes and money, without what is assumed."""
        least, most = self.minutes
        cheap, dear = map(shown, self.usd)
        cost = cheap if cheap == dear else f"{cheap} to {dear}"
        without = f", without {', '.join(self.unpriced)}, of whose machines no price is known" if self.unpriced else ""
        starts = f"{self.starts:,} start{'' if self.starts == 1 else 's'}"
        if self.open_loops:
            starts = f"at least {starts}, {', '.join(self.open_loops)} once for an item that is not known before"
        elif self.is_most:
            starts = f"at most {starts}"
        return f"{starts}, {self.in_series:,} in series: about {least:,} to {most:,} min and {cost}{without}"

    def __str__(self) -> str:
        return (
            f"{self.brief}; the steps' own work comes on top\n"
            f"(assumed: {START_MINUTES[0]} to {START_MINUTES[1]} min a start; {OF}; what is cached starts no machine)"
        )


# what is said of the costs in a leaderboard, with the machine and the prices
CANDIDATES_COST = "Cost: estimated, as if the seconds were those of {}; the starts of machines are not in it"
OF = f"prices on demand of {DATE}, {REGION}"


def shown(usd: float) -> str:
    """Return an amount as it is shown."""
    if 0 < usd < 1e-4:
        return "<$0.0001"
    return f"${usd:.{2 if usd >= 0.1 else 3 if usd >= 0.01 else 4}f}"


def estimate(spec: dict[str, Any], parameters: dict[str, Any], found: Found | None = None) -> Estimate:
    """Return what a run of a compiled spec takes at least.

    Args:
        spec: The compiled spec; all branches of its conditions count.
        parameters: Values of the pipeline's parameters, those without a default among them.
        found: How many items steps will put out that loops go over; see pipeline.loops.
    """
    types, known = _types(spec), with_defaults(spec["root"], parameters)
    uncertain: dict[str, bool] = {}  # steps in loops, and whether they are counted as often as they may run at most
    steps, in_series = _of_dag(spec, spec["root"]["dag"], types, known, found or {}, uncertain)
    unpriced = sorted({step for step in steps if types[step] == UNKNOWN})
    open_loops = tuple(step for step, is_most in uncertain.items() if not is_most)
    hour = sum(number * hourly(types[step]) for step, number in steps.items() if types[step] != UNKNOWN)
    return Estimate(sum(steps.values()), in_series, hour, tuple(unpriced), open_loops, any(uncertain.values()))


def _of_dag(
    spec: dict[str, Any],
    dag: dict[str, Any],
    types: dict[str, str],
    known: dict[str, Any],
    found: Found,
    uncertain: dict[str, bool],
) -> tuple[dict[str, int], int]:
    """Return how often each step of a DAG starts a machine, and how many starts its longest chain has."""
    starts: dict[str, int] = {}
    tasks, chains = dag.get("tasks", {}), {"": 0}
    before = {name: tasks.keys() & task.get("dependentTasks", ()) for name, task in tasks.items()}
    for name in TopologicalSorter(before).static_order():
        task = tasks[name]
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            inner, chain = _of_dag(spec, component["dag"], types, {}, found, uncertain)
            items, at_once = n_items(spec, dag, task, known, found), _parallelism(task)
            number = 1 if items is None else items
            rounds = math.ceil(number / (at_once or number or 1))
            if items is None or producer_of(spec, dag, task) in AT_MOST:
                uncertain |= {step: items is not None and uncertain.get(step, True) for step in inner}
            inner, chain = {step: number * n for step, n in inner.items()}, rounds * chain
        else:
            step = component["executorLabel"].removeprefix("exec-")
            inner, chain = ({step: 1}, 1) if step in types else ({}, 0)
        for step, number in inner.items():
            starts[step] = starts.get(step, 0) + number
        chains[name] = chain + max(chains[each] for each in ("", *before[name]))
    return starts, max(chains.values())


def _parallelism(task: dict[str, Any]) -> int:
    """Return how many iterations may run at once, 0 for all."""
    return int(task.get("iteratorPolicy", {}).get("parallelismLimit", 0))


def _types(spec: dict[str, Any]) -> dict[str, str]:
    """Return the type of the machine of each step that starts one; those of Google's operators start none of ours."""
    executors = spec["deploymentSpec"]["executors"]
    found = {}
    for node in graph.nodes(spec):
        container = executors.get(f"exec-{node.step}", {}).get("container")
        if container and not container.get("image", "").startswith(GOOGLE_IMAGE):
            found[node.step] = UNKNOWN if node.accelerator else machine_type(node.cpus, node.memory)
    return found


def machine_type(cpus: str, memory: str) -> str:
    """Return the e2 type that is nearest to limits as a spec has them: the cheapest that has as much.

    Args:
        cpus: Such as 4 or 500m; empty where the task asks for none.
        memory: Such as 16G or 500Mi; empty where the task asks for none.

    Returns:
        The type, or UNKNOWN where none is as large, or where the limits are parameters.
    """
    if not cpus and not memory:
        return DEFAULT
    try:
        asked = amount(cpus or "0"), amount(memory or "0", is_memory=True)
    except ValueError:
        return UNKNOWN
    fitting = [name for name, machine in E2.items() if machine.cpus >= asked[0] and machine.memory_gb >= asked[1]]
    return min(fitting, key=hourly, default=UNKNOWN)


def amount(text: str, *, is_memory: bool = False) -> float:
    """Return CPUs, or memory in GB.

    Raises:
        ValueError: it is none, such as the name of a parameter.
    """
    found = re.fullmatch(r"([0-9.]+)([KMGTm]?)(i?)B?", text)
    if not found:
        raise ValueError(text)
    number, unit = float(found[1]), found[2]
    if not is_memory:
        return number / 1000 if unit == "m" else number
    # a bare number is one of GB in the field that older services take, and machines count 1,024 as they do 1,000
    return number if unit == "" and number < 1e4 else number * _UNITS[unit.lower()]


def hourly(machine_type: str) -> float:
    """Return the price of an hour of an e2 type in USD."""
    machine = E2[machine_type]
    return MARKUP * (machine.cpus * CPU_HOUR.usd + machine.memory_gb * GB_HOUR.usd)


def of_candidates(profile: str) -> tuple[float, str]:
    """Return the price of a second of a search's candidate in USD, and of which machine and prices it is.

    Args:
        profile: Name of the profile that says on which machine a candidate is tried on the service.
    """
    machine = profiles.machine(profile, "score-candidate")
    kind = machine_type(str(machine.cpus), f"{machine.memory_gb}G")
    return hourly(kind) / 3600, f"{kind}, {OF}"


def used(run: Run, spec: dict[str, Any]) -> Used:
    """Return what a run on the service has used of machines, as far as its tasks tell, and what that costs.

    A task counts from its beginning to its end with the wait for its machine, so that it is rather too much.

    Args:
        run: The run, with its tasks.
        spec: What ran.
    """
    types, steps = _types(spec), {step.name: node.step for node in graph.nodes(spec) for step in node.steps}
    seconds: dict[str, float] = {}
    for task in run.tasks:
        if steps.get(task.name) in types and task.seconds and not task.cached:
            seconds[task.name] = round(seconds.get(task.name, 0.0) + task.seconds, 3)
    machines = {name: types[steps[name]] for name in seconds}
    costs = [seconds[name] / 3600 * hourly(kind) for name, kind in machines.items() if kind != UNKNOWN]
    unpriced = [name for name, kind in machines.items() if kind == UNKNOWN]
    return Used(seconds=seconds, machines=machines, usd=OF_A_RUN.usd + sum(costs), unpriced=unpriced, prices=OF)
