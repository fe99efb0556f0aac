"""The local engine: the compiled spec, task by task, in processes forked from one that has imported everything."""

import ast
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NoReturn

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from pipeline import RequestError, sources
from pipeline.check import Check
from pipeline.engines import Progress
from pipeline.engines.orchestrator import Command, Hooks, run_graph
from pipeline.engines.worker import Work, execute
from pipeline.runs import Run, State, Task
from pipeline.settings import Settings
from pipeline.sources import Source

# Process.start() also reaps processes that have ended, and so takes the exit status that another thread joins for
_PROCESSES = threading.Lock()


class LocalEngine:
    """Runs compiled pipelines on this machine, with the packages that are installed here."""

    after_interrupt: State = "cancelled"

    def __init__(self, settings: Settings):
        self.settings = settings

    def place(self, source: Source) -> tuple[Source, str]:
        """Bring objects of Cloud Storage to this machine; see pipeline.engines.Engine."""
        here = sources.download(source, self.settings.runs_dir / ".data")
        return here, "downloaded" if here is not source else ""

    def checks(self, run: Run, source: Source) -> list[Check]:
        """Make no checks: this machine is there; see pipeline.engines.Engine."""
        return []

    def schedule(self, *_: Any) -> NoReturn:
        """Refuse: this machine may be off."""
        raise RequestError("--schedule needs --engine vertex: the service runs the job at its times.")

    unschedule = schedule

    def run(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
        """Run a compiled pipeline to its end; see pipeline.engines.Engine."""
        loaded = json_format.ParseDict(yaml.load(spec.read_text("utf-8"), yaml.CSafeLoader), PipelineSpec())
        _preload(loaded)
        tasks = _Tasks(run, progress)
        with tasks.stopped_by_signals():
            return "succeeded" if run_graph(loaded, parameters, run.folder, tasks) else "failed"


class _Tasks(Hooks):
    """Runs the tasks of one run, each in a process of its own, and records them."""

    def __init__(self, run: Run, progress: Progress):
        self.stopping = False
        self._run = run
        self._progress = progress
        self._context = multiprocessing.get_context("forkserver")
        self._processes: set[Any] = set()
        self._started: dict[int, float] = {}

    def started(self, task: Task) -> None:
        self._started[id(task)] = time.perf_counter()
        self._run.start(task)
        self._progress.started(task)

    def execute(self, task: Task, command: Command) -> bool:
        receiver, sender = self._context.Pipe(duplex=False)
        cores = len(os.sched_getaffinity(0))
        task.log = str(self._run.log(task))
        work = Work(
            source=command.source,
            function=command.function,
            executor_input=command.executor_input,
            log=Path(task.log),
            environment=command.environment,
            threads=cores if task.item is None else max(1, cores // 2),  # kfp.local runs two iterations at once
        )
        process = self._context.Process(target=execute, args=(work, sender))
        with _PROCESSES:
            if self.stopping:
                return False
            process.start()
            self._processes.add(process)
        sender.close()
        wait([process.sentinel])
        with _PROCESSES:
            process.join()
            self._processes.discard(process)
        if process.exitcode < 0:
            task.error = f"killed by {signal.Signals(-process.exitcode).name}"
        elif process.exitcode:
            with contextlib.suppress(EOFError):  # it ended without a word
                task.error = receiver.recv()
        return process.exitcode == 0

    def ended(self, task: Task, succeeded: bool, outputs: dict[str, Any]) -> None:
        task.seconds = round(time.perf_counter() - self._started.pop(id(task)), 3)
        task.state = "succeeded" if succeeded else "cancelled" if self.stopping else "failed"
        self._run.end(task, {name: output for name, output in outputs.items() if hasattr(output, "uri")})
        self._progress.ended(task)

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """While this lasts, Ctrl-C and SIGTERM end the tasks' processes and let no new one start."""

        def stop(*_: Any) -> None:
            self.stopping = True
            for process in tuple(self._processes):
                process.kill()
            raise KeyboardInterrupt

        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        former = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def _preload(spec: PipelineSpec) -> None:
    """Start the process that tasks are forked from; it imports once what the steps of the spec import."""
    modules = {"__main__", "pipeline.engines.worker"}
    for executor in spec.deployment_spec["executors"].values():
        if "container" not in executor:
            continue
        for node in ast.walk(ast.parse(executor["container"]["command"][-1])):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    server = forkserver._forkserver
    preloaded = set(server._preload_modules) if server._forkserver_pid else set()
    if not modules <= preloaded:
        server._stop()  # one that runs cannot import more; the standard library has no public name for it
        forkserver.set_forkserver_preload(sorted(modules | preloaded))
        forkserver.ensure_running()
