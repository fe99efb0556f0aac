"""The local engine: the compiled spec, task by task, in processes forked from one that has imported everything."""

import ast
import contextlib
import inspect
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from pipeline import CORES, OWN_FOLDERS, ROOT, RequestError, arguments, ending, files, graph, sources
from pipeline.check import Check, Description, Failed, make
from pipeline.engines import Progress, isolated, keeper, warm, worker
from pipeline.engines.interpreter import FAILED, SKIPPED, SUCCEEDED, Command, Ended, Hooks, Job, support
from pipeline.engines.interpreter import run as run_graph
from pipeline.engines.interpreter.results import addressed
from pipeline.fusing import records
from pipeline.fusing.running import RECORD
from pipeline.graph import Fusion
from pipeline.runs import Run, State, Task
from pipeline.settings import Settings
from pipeline.sources import Source
from steps.environment import installed
from steps.shipping import shipped_files

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]

# before Python 3.11.8, parsers in two threads may break each other: github.com/python/cpython/issues/106905
PARSING = threading.Lock()
# a package, as KFP writes it into the command of a step
NAMED = re.compile(r"'(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^]']*\])?( *== *(?P<version>[A-Za-z0-9.+!]+))?'")
FEW_FILES = 256  # open ones, of which the processes of a run need some dozens
N_LAST_BYTES = 300  # of a log
MEMORY = "which often means that the memory ran out"


class LocalEngine:
    """Runs compiled pipelines on this machine."""

    def __init__(self, settings: Settings, *, isolated: bool = False, slots: int | None = None):
        """Make the engine.

        Args:
            settings: The settings of the run.
            isolated: Whether each step runs with exactly its own packages, rather than with those installed here.
            slots: How many tasks may run at once; by default as many as there are cores.
        """
        self.settings = settings
        self.isolated = isolated
        self.slots = slots

    def place(self, source: Source) -> tuple[Source, str]:
        """Bring objects of Cloud Storage to this machine; see pipeline.engines.Engine."""
        here = sources.download(source, self.settings.runs_dir / ".data")
        return here, "downloaded" if here is not source else ""

    def place_file(self, uri: str) -> str:
        """Bring an object of Cloud Storage to this machine; see pipeline.engines.Engine."""
        return sources.place_file(uri, None, self.settings.runs_dir / ".data")

    def place_model(self, folder: str, sha256: str) -> str:
        """Bring a model's folder of Cloud Storage to this machine; see pipeline.engines.Engine."""
        return sources.place_model(folder, sha256, None, self.settings.runs_dir / ".data")

    def checks(self, spec: dict[str, Any], run: Run, source: Source, described: Description) -> list[Check]:
        """Check what the tasks ask of this machine; see pipeline.engines.Engine."""
        return [make("this machine", lambda: _runs_here(spec, self.isolated))]

    def schedule(self, *_: Any) -> NoReturn:
        """Refuse: this machine may be off."""
        raise RequestError("--schedule needs --engine vertex: the service runs the job at its times.")

    unschedule = schedule

    def run(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
        """Run a compiled pipeline to its end; see pipeline.engines.Engine."""
        compiled = graph.load(spec)
        runs_dir = self.settings.runs_dir
        containers, fused = graph.containers(compiled).values(), graph.fusions(compiled)
        if self.isolated:
            pythons = _environments(compiled, runs_dir / ".environments", progress)
            tasks: Tasks = IsolatedTasks(run, progress, pythons, fused)
            cache_dir = runs_dir / ".cache-isolated"  # what ran with the packages of here proves nothing
        else:
            for note in _of_other_packages(compiled):
                progress.note(note)
            tasks = Tasks(run, progress, containers, fused)
            cache_dir = runs_dir / ".cache"
        job = Job.of_run(compiled["pipelineInfo"]["name"], run.run_id, str(run.folder), run.started)

        def stop(_: str) -> None:
            tasks.stop()

        ending.call(stop)
        try:
            how = run_graph(
                compiled, parameters, run.folder, tasks, job=job, cores=CORES, slots=self.slots, cache_dir=cache_dir
            )
        finally:
            ending.forget(stop)
        run.outputs = addressed(how.outputs, compiled["root"])
        return "succeeded" if how.state == SUCCEEDED else "failed"


def _runs_here(spec: dict[str, Any], is_isolated: bool) -> str:
    notes: list[str] = []
    try:
        support.check(spec, notes.append)
    except RequestError as error:
        raise Failed(str(error)) from None
    notes += [] if is_isolated else _of_other_packages(spec)
    return "\n".join(notes) or "runs every task"


def _of_other_packages(spec: dict[str, Any]) -> list[str]:
    """Tell of the steps that name packages which are here in another version, or not at all; those of others may."""
    notes = []
    for step, container in graph.containers(spec).items():
        found = []
        for named in NAMED.finditer(" ".join(container["command"][:-1])):
            here = _version_here(named["name"])
            # kfp's own line is left out: its executor here is that of this version
            if named["name"] != "kfp" and (here is None or named["version"] not in (None, here)):
                found.append(f"{named[0][1:-1]} (here {here or 'it is not installed'})")
        if found:
            notes.append(f"{step} names {', '.join(found)}; --isolated runs it with exactly what it names")
    return notes


def _version_here(package: str) -> str | None:
    try:
        return installed(package)
    except PackageNotFoundError:
        return None


class Tasks(Hooks):
    """Runs the tasks of one run, each in a process forked from a warm one, and records them."""

    def __init__(
        self,
        run: Run,
        progress: Progress,
        containers: Collection[dict[str, Any]] = (),
        fused: Mapping[str, Fusion] | None = None,
    ):
        """Make the tasks of a run.

        Args:
            run: The run.
            progress: Is told of each task.
            containers: Those of the steps; what their sources import is imported once, before the first is executed.
            fused: What the fused tasks run, by their names.
        """
        self._run = run
        self._progress = progress
        self._cold = containers  # none once the warm process has been started, which a run of cached tasks never needs
        self._fused = fused or {}
        self._places: dict[int, dict[str, list[str]]] = {}  # of the inputs and outputs of fused tasks
        self._processes: set[Any] = set()  # those that have not ended
        self._since: dict[int, float] = {}

    def note(self, message: str) -> None:
        self._progress.note(message)

    def prepared(self, task: Task, inputs: dict[str, Any]) -> None:
        if task.name in self._fused:
            self._places[id(task)] = _uris(inputs)
        else:
            self._run.keep_inputs(task, inputs)

    def execute(self, task: Task, command: Command, width: int) -> bool:
        if task.name in self._fused:
            self._places[id(task)] |= _uris(command.executor_input["outputs"])
        if task.log is None:  # its first attempt
            self._since[id(task)] = time.perf_counter()
            task.log = str(self._run.log(task))
            self._run.start(task)
            self._progress.started(task)
            self._tell_large(task, command)
        work = worker.Work(
            source=command.source,
            function=command.function,
            executor_input=command.executor_input,
            log=task.log,
            environment=self._environment() | command.environment,
            threads=n_threads(width),
            origins=origins(command.source),
            user_folder=os.getcwd(),
        )
        try:
            exit_code, message = self._process(work, command)
        except warm.Gone as gone:
            exit_code, message = 1, _why_gone(str(gone))
        if exit_code:
            task.error = message or _how(exit_code, task.log)
        return exit_code == 0

    def _tell_large(self, task: Task, command: Command) -> None:
        """Tell of a task that is given more than a service can hand it."""
        n_bytes = arguments.size_of(command.executor_input)
        if n_bytes > arguments.MAX_BYTES:
            self._progress.note(
                f"note: {task.title} works here and would not on Vertex AI: it is given about {n_bytes:,} bytes, which "
                f"are one argument of its command there, and Linux takes {arguments.MAX_BYTES:,}. Hand long values on "
                "in a file, not as a parameter or in the metadata of an artifact."
            )

    def _environment(self) -> dict[str, str]:
        """Return the variables of a task's process beside those that the pipeline sets."""
        return {**os.environ, **warm.ENVIRONMENT, **keeper.mark(), "TMPDIR": str(self._run.temporary)}

    def _process(self, work: worker.Work, command: Command) -> tuple[int, str]:
        """Run a task's process to its end; return its exit status, negative for a signal, and what to tell."""
        with PARSING:  # what is cold is parsed, too
            if self._cold:
                texts = [text for container in self._cold for text in graph.sources(container).items()]
                warm.preload((text for _, text in texts), {file.partition("/")[0] for file, _ in texts})
                self._cold = ()
        process = warm.Process(worker.run, work)
        with self._watched(process):
            return process.join()

    @contextlib.contextmanager
    def _watched(self, process: "warm.Process | _Group") -> Iterator[None]:
        """Remember a process while it runs, so that it ends with the run."""
        self._processes.add(process)
        try:
            if self.stopping:  # since it was decided to start it
                process.kill()
            yield
        finally:
            self._processes.discard(process)

    def retrying(self, task: Task, error: str, seconds: float, left: int) -> None:
        self._run.forget(task.path)
        task.retries, task.retried_for = task.retries + 1, error
        after = f" in {seconds:g} s" if seconds else ""
        self._progress.note(f"{task.title} failed and is tried again{after}, {left} more at most: {error}")

    def ended(self, task: Task, how: Ended) -> None:
        since = self._since.pop(id(task), None)
        if since is None:  # it executed nothing
            self._run.start(task)
        task.seconds = 0.0 if since is None else round(time.perf_counter() - since, 3)
        stopped: State = "cancelled" if self.stopping else "failed"
        states: dict[str, State] = {SUCCEEDED: "succeeded", SKIPPED: "skipped", FAILED: stopped}
        task.state = states[how.state]
        if task.name in self._fused and self._unfold(task, how):
            return
        artifacts = {name: listed[0] for name, listed in how.outputs.artifacts.items() if listed}
        self._run.end(
            task,
            {
                name: SimpleNamespace(
                    uri=each["uri"], metadata=each["metadata"], schema_title=each["type"].get("schemaTitle", "")
                )
                for name, each in artifacts.items()
            },
            how.outputs.parameters,
        )
        self._progress.ended(task)

    def _unfold(self, task: Task, how: Ended) -> bool:
        """Record the steps of a fused task in its place, and return whether they tell all of it."""
        fusion, places = self._fused[task.name], self._places.pop(id(task), {})
        places |= _uris({"artifacts": how.outputs.artifacts})
        try:
            path = Path(places[RECORD][0]) if how.state != SKIPPED else None
            ran = records.steps(fusion, task, path, places) if path else records.skipped(fusion, task)
        except (files.Damaged, LookupError):
            return False
        return records.take(ran, task, self._run, self._progress)

    def stop(self) -> None:
        """End the tasks' processes and let no new one start."""
        super().stop()
        for process in tuple(self._processes):
            process.kill()


def _uris(values: dict[str, Any]) -> dict[str, list[str]]:
    """Return the addresses of artifacts, as ExecutorInput has them, by their names."""
    return {
        name: [artifact["uri"] for artifact in (listed if isinstance(listed, list) else listed["artifacts"])]
        for name, listed in values.get("artifacts", {}).items()
    }


def _why_gone(last_words: str) -> str:
    """Say why the warm process has ended, which a task was to be forked from."""
    told = "the process that it was forked from has ended" + (f": {last_words}" if last_words else "")
    n_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else FEW_FILES
    if n_files < FEW_FILES:
        return f"{told}. Too many open files: the limit is {n_files:,}. Raise it: ulimit -n 1024"
    return f"{told}, {MEMORY}"


def _how(exit_code: int, log: str) -> str:
    """Say how a process has ended that did not tell, with the last that it has printed."""
    how = f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"it ended with status {exit_code}"
    with contextlib.suppress(OSError):
        printed = Path(log).read_bytes()[-N_LAST_BYTES:].decode(errors="replace").split("\n")
        if last := next((line.strip() for line in reversed(printed) if line.strip()), ""):
            how += f": {last}"
    return how + (f", {MEMORY}" if exit_code == -signal.SIGKILL or re.search("memory|alloc", how) else "")


class IsolatedTasks(Tasks):
    """Runs the tasks of one run, each by the Python of an environment with exactly its step's packages."""

    def __init__(self, run: Run, progress: Progress, pythons: dict[str, Path], fused: Mapping[str, Fusion]):
        super().__init__(run, progress, fused=fused)
        self._pythons = pythons

    def _process(self, work: worker.Work, command: Command) -> tuple[int, str]:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as message:
            process = _Group(
                [self._pythons[command.step], worker.__file__],
                stdin=subprocess.PIPE,
                stdout=message,  # no pipe: what the step has started may hold it open
                text=True,
                cwd=self._run.folder,  # nothing of the checkout is importable
                env=self._environment() | {"PYTHONSAFEPATH": "1"},
                start_new_session=True,
            )
            with self._watched(process):
                process.communicate(work.to_json())
            process.kill()  # what it has left behind
            message.seek(0)
            return process.returncode, message.read()


class _Group(subprocess.Popen[str]):
    """A process that ends with all that it has started."""

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def _environments(spec: dict[str, Any], root: Path, progress: Progress) -> dict[str, Path]:
    """Return the Python of each step's environment by the step; build those that are not there."""
    return {
        step: isolated.environment(graph.installs(container), root, progress.note)
        for step, container in graph.containers(spec).items()
    }


def n_threads(width: int = 1) -> int:
    """Return how many threads each of so many tasks has that run at once.

    One core is left to others: threads wait for one another, all of them for one whose core is taken.
    """
    return max(1, (CORES - 1) // width)


def origins(source: str) -> dict[str, tuple[str, int]]:
    """Return the file and line at which the parts of a shipped source were written.

    Functions stand under their names where they still stand so; modules that it ships under their files' names.
    """
    with PARSING:
        return _origins(source)


@cache
def _origins(source: str) -> dict[str, tuple[str, int]]:
    files = shipped_files(source)
    found = {file: (file, 1) for file in files}
    for file, text in files.items():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if (ROOT / file).read_text("utf-8") == text:
                found[file] = (str(ROOT / file), 1)
    shipped = {node.name: ast.dump(node) for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    for module in tuple(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not path or not shipped.keys() & vars(module).keys() or not any(map(Path(path).is_relative_to, OWN_FOLDERS)):
            continue
        with contextlib.suppress(OSError, SyntaxError):
            for node in ast.parse(inspect.getsource(module)).body:
                if isinstance(node, ast.FunctionDef) and node.name in shipped:
                    line, node.decorator_list = node.lineno, []  # kfp ships a function without its decorators
                    if ast.dump(node) == shipped[node.name]:
                        found[node.name] = (os.path.abspath(path), line)
    return found
