"""The graph as it runs: DAGs, loops and their tasks, each started once those that it waits for have ended."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.engines.interpreter import conditions, iterators, results, scope, support
from pipeline.engines.interpreter.cache import Cache
from pipeline.engines.interpreter.hooks import Hooks
from pipeline.engines.interpreter.placeholders import Job
from pipeline.engines.interpreter.retries import Retries
from pipeline.engines.interpreter.schedule import Schedule
from pipeline.engines.interpreter.task import Context, TaskRun
from pipeline.engines.interpreter.values import FAILED, HELD_BACK, SKIPPED, SUCCEEDED, Ended, SpecError, Values
from pipeline.runs import Task

Then = Callable[[Ended], None]


class Failure:
    """Whether something has failed in a part of the run: nothing more is begun there after that."""

    def __init__(self, tells: "Failure | None" = None, heeds: "Failure | None" = None):
        """Make that of a part.

        Args:
            tells: That of the part around it, where a failure in here is one, too.
            heeds: That of the part around it, where a failure out there ends this part, too.
        """
        self._tells, self._heeds, self._here = tells, heeds, False

    @property
    def happened(self) -> bool:
        """Whether something has failed that this part is to end for."""
        return self._here or (self._heeds is not None and self._heeds.happened)

    def happen(self) -> None:
        """Note that something has failed here."""
        self._here = True
        if self._tells:
            self._tells.happen()


@dataclass(frozen=True)
class Place:
    """Where in the run a component stands."""

    path: str  # names of the DAGs and numbers of the iterations around it, and its own
    failure: Failure
    loops: int = 0  # how many are around it
    item: Any = None  # of the innermost, or its place
    is_unique: bool = True  # the item among those of its loop
    width: int = 1  # how many like it may run at once, as far as loops say
    around: scope.Scope | None = None  # of the DAG that it is a task of

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def inside(self, name: str, **changes: Any) -> "Place":
        """Return the place of what is inside this one."""
        return replace(self, path=f"{self.path}/{name}".lstrip("/"), **changes)


class Graph:
    """One run of a pipeline; see pipeline.engines.interpreter.run."""

    def __init__(
        self, spec: dict[str, Any], folder: Path, hooks: Hooks, job: Job, cores: int, slots: int, cache: Cache | None
    ):
        self.spec, self.hooks, self.job = spec, hooks, job
        self.cores = cores
        self._context = Context(spec, folder, hooks, job, cache)
        self.schedule = Schedule(slots, lambda: hooks.stopping, hooks.stop)
        self._n_places = Counter(name for _, name, _ in support.leaves(spec, spec["root"]))

    def run(self, given: Values) -> Ended:
        """Run the root to its end."""
        ended: list[Ended] = []
        Dag(self, self.spec["root"], given, Place("", Failure()), ended.append)
        self.schedule.run()
        return ended[0] if ended else HELD_BACK

    def is_held_back(self, place: Place) -> bool:
        """Return whether nothing new may begin at a place."""
        return self.hooks.stopping or self.schedule.error is not None or place.failure.happened

    def component(self, task: dict[str, Any]) -> dict[str, Any]:
        """Return the component of a task."""
        component: dict[str, Any] = self.spec["components"][task["componentRef"]["name"]]
        return component

    def start(self, task: dict[str, Any], inputs: Values, place: Place, then: Then) -> None:
        """Start a task whose inputs are there; a loop's iterations if it is one."""
        if iterators.iterates(task):
            Loop(self, task, inputs, place, then)
        else:
            self.attempt(task, inputs, place, then)

    def attempt(self, task: dict[str, Any], inputs: Values, place: Place, then: Then) -> None:
        """Run a task's component once, and again as often as its retries allow."""
        component, retries = self.component(task), Retries.of(task)
        if "dag" in component:
            self._attempt_dag(component, inputs, place, retries, then)
        else:
            record = self.record(place)
            run = TaskRun(self._context, task, component, inputs, record, place.width)
            self._attempt_step(run, place, retries, then)

    def _attempt_dag(
        self, component: dict[str, Any], inputs: Values, place: Place, retries: Retries, then: Then, number: int = 0
    ) -> None:
        if not retries.count:
            Dag(self, component, inputs, place, then)
            return

        def ended(how: Ended) -> None:
            if how.state == FAILED and number < retries.count and not self.hooks.stopping:
                pause = retries.before(number + 1)
                self.hooks.retrying(self.record(place), how.error, pause, retries.count - number)
                again = (component, inputs, place, retries, then, number + 1)
                self.schedule.later(pause, lambda: self._attempt_dag(*again))
                return
            if how.state == FAILED:
                place.failure.happen()
            then(how)

        # what is tried again has not failed yet, and is tried again though something else has failed
        failure = Failure(heeds=None if number else place.failure)
        Dag(self, component, inputs, replace(place, failure=failure), ended)

    def _attempt_step(self, run: TaskRun, place: Place, retries: Retries, then: Then, number: int = 0) -> None:
        last = number >= retries.count

        def attempt() -> Ended:
            if number == 0 and self.is_held_back(place):
                return HELD_BACK
            return run.attempt(first=number == 0, last=last)

        def ended(how: Ended) -> None:
            if how.state == FAILED and not last and not self.hooks.stopping:
                pause = retries.before(number + 1)
                self.hooks.retrying(run.record, how.error, pause, retries.count - number)
                self.schedule.later(pause, lambda: self._attempt_step(run, place, retries, then, number + 1))
                return
            if how.state == FAILED:
                place.failure.happen()
            then(how)

        self.schedule.work(attempt, ended)

    def fail(self, place: Place, error: str, then: Then) -> None:
        """End a task that cannot begin."""
        place.failure.happen()
        record, how = self.record(place), Ended(FAILED, error=f"{place.path}: {error}")
        record.error = error
        self.hooks.ended(record, how)
        then(how)

    def skip(self, task: dict[str, Any], place: Place, why: str, then: Then) -> None:
        """End a task that is not to run, and all that is inside it."""
        component, how = self.component(task), Ended(SKIPPED, error=why)
        inside = support.leaves(self.spec, component, place.path) if "dag" in component else ((place.path, "", ""),)
        for path, _, _ in inside:
            record = self.record(replace(place, path=path))
            record.reason = why
            self.hooks.ended(record, how)
        then(how)

    def record(self, place: Place) -> Task:
        """Return the record of a task, which its name and item stand for where no other has the same."""
        is_ambiguous = self._n_places[place.name] > 1 or place.loops > 1 or not place.is_unique
        return Task(name=place.name, item=place.item, path=place.path, ambiguous=is_ambiguous)


class Dag:
    """The tasks of one DAG."""

    def __init__(self, graph: Graph, component: dict[str, Any], given: Values, place: Place, then: Then):
        self._graph, self._component, self._place, self._then = graph, component, place, then
        self._tasks: dict[str, dict[str, Any]] = component["dag"].get("tasks", {})
        self._scope = scope.Scope(given, {}, graph.job, place.around)
        self._upstream = {name: scope.upstream(task) & self._tasks.keys() for name, task in self._tasks.items()}
        self._missing = {name: len(before) for name, before in self._upstream.items()}
        self._after: dict[str, list[str]] = {name: [] for name in self._tasks}
        for name, before in self._upstream.items():
            for producer in before:
                self._after[producer].append(name)
        # of tasks that run in spite of a failure, and of what follows from them
        self._failures: dict[str, Failure] = {}
        for name in [name for name, missing in self._missing.items() if not missing]:
            self._begin(name)
        if not self._tasks:
            self._conclude()

    def _begin(self, name: str) -> None:
        """Start a task whose upstream tasks have ended, or say why it does not run."""
        task, graph = self._tasks[name], self._graph
        policy, component = task.get("triggerPolicy", {}), graph.component(task)
        place = self._place.inside(name, failure=self._failure(name, policy), around=self._scope)

        def then(how: Ended) -> None:
            graph.schedule.soon(lambda: self._ended(name, how))

        if graph.is_held_back(place):
            then(HELD_BACK)
            return
        if policy.get("strategy") != "ALL_UPSTREAM_TASKS_COMPLETED":
            before = {producer: self._scope.ended[producer] for producer in sorted(self._upstream[name])}
            if any(how.state == FAILED or how is HELD_BACK for how in before.values()):
                then(HELD_BACK)
                return
            if skipped := next((other for other, how in before.items() if how.state == SKIPPED), None):
                graph.skip(task, place, f"it follows {skipped}, which was skipped", then)
                return
        try:
            inputs = self._scope.inputs(name, place.path, task, component)
            condition = policy.get("condition")
            if condition and not conditions.is_met(condition, inputs.parameters):
                graph.skip(task, place, f"its condition is not met: {condition}", then)
                return
            graph.start(task, inputs, place, then)
        except SpecError as error:
            graph.fail(place, str(error), then)

    def _failure(self, name: str, policy: dict[str, Any]) -> Failure:
        if policy.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED":
            self._failures[name] = Failure(tells=self._place.failure)
        else:
            following = [self._failures[other] for other in sorted(self._upstream[name]) if other in self._failures]
            if following:
                self._failures[name] = following[0]
        return self._failures.get(name, self._place.failure)

    def _ended(self, name: str, how: Ended) -> None:
        self._scope.ended[name] = how
        for follower in self._after[name]:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                self._begin(follower)
        if len(self._scope.ended) == len(self._tasks):
            self._conclude()

    def _conclude(self) -> None:
        ended = self._scope.ended
        failed = next((each.error for each in ended.values() if each.state == FAILED), None)
        if failed is not None:
            how = Ended(FAILED, error=failed)
        elif any(each is HELD_BACK for each in ended.values()):
            how = HELD_BACK
        else:
            how = Ended(SUCCEEDED, results.of_dag(self._component, ended))
        self._graph.schedule.soon(lambda: self._then(how))


class Loop:
    """The iterations of one loop."""

    def __init__(self, graph: Graph, task: dict[str, Any], inputs: Values, place: Place, then: Then):
        self._graph, self._task, self._place, self._then = graph, task, place, then
        iterations = iterators.iterations(task, graph.component(task), inputs)
        labels = [label for label, _ in iterations]
        self._is_unique = len({str(label) for label in labels}) == len(labels)
        limit = iterators.parallelism(task, len(iterations))
        self._width = min(graph.cores, min(limit, graph.cores, len(iterations)) * place.width)
        self._iterations, self._n_begun = iterations, 0
        self._ended: dict[int, Ended] = {}
        for _ in range(min(limit, len(iterations))):
            self._next()
        if not iterations:
            self._conclude()

    def _next(self) -> None:
        number, place, graph = self._n_begun, self._place, self._graph
        item, inputs = self._iterations[number]
        self._n_begun += 1
        inner = place.inside(
            str(number), loops=place.loops + 1, item=item, is_unique=self._is_unique, width=max(1, self._width)
        )

        def then(how: Ended) -> None:
            graph.schedule.soon(lambda: self._done(number, how))

        if graph.is_held_back(inner):
            then(HELD_BACK)
        else:
            graph.attempt(self._task, inputs, inner, then)

    def _done(self, number: int, how: Ended) -> None:
        self._ended[number] = how
        if self._n_begun < len(self._iterations):
            self._next()
        elif len(self._ended) == len(self._iterations):
            self._conclude()

    def _conclude(self) -> None:
        ended = [self._ended[number] for number in range(len(self._iterations))]
        failed = next((each.error for each in ended if each.state == FAILED), None)
        if failed is not None:
            how = Ended(FAILED, error=failed)
        elif any(each is HELD_BACK for each in ended):
            how = HELD_BACK
        else:
            how = Ended(SUCCEEDED, results.of_loop(self._graph.component(self._task), ended))
        self._graph.schedule.soon(lambda: self._then(how))
