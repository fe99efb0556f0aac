"""Where a compiled pipeline runs. An engine knows specs and parameters, never steps."""

from __future__ import annotations  # each module of this package imports it: it imports little by itself

import contextlib
import signal
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pipeline import RequestError, ending
from pipeline.texts import words

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from pipeline.check import Check, Description
    from pipeline.runs import Run, State, Task
    from pipeline.settings import Settings
    from pipeline.sources import Source


class Progress(Protocol):
    """Is told what happens while a pipeline runs."""

    def note(self, message: str) -> None:
        """Something takes its time before the tasks."""

    def submitted(self, run: Run) -> None:
        """A job has been submitted; the run has its name and address."""

    def started(self, task: Task) -> None:
        """A task has started."""

    def ended(self, task: Task) -> None:
        """A task has ended; its state says how."""


class Engine(Protocol):
    """Runs compiled pipelines."""

    def place(self, source: Source) -> tuple[Source, str]:
        """Bring the data to where the first step can read it; return it at its place, and what was done in words."""

    def place_file(self, uri: str) -> str:
        """Put a file of an earlier run where the first step can read it, and return its place."""

    def place_model(self, folder: str, sha256: str) -> str:
        """Put the folder of a model of this SHA-256 where the first step can read it, and return its place."""

    def checks(self, spec: dict[str, Any], run: Run, source: Source, described: Description) -> list[Check]:
        """Make the checks of this engine's own: what it can run, credentials, names, what must exist."""

    def run(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
        """Run a compiled pipeline and return how it ended; running, if it goes on without being watched.

        Args:
            spec: The compiled pipeline, a YAML file.
            parameters: Values of the pipeline's parameters.
            run: Record to keep of the tasks.
            progress: Is told of each task.

        Raises:
            RequestError: nothing was started.
        """

    def schedule(self, spec: Path, parameters: dict[str, Any], run: Run) -> tuple[str, list[datetime]]:
        """Run the pipeline at the times of the settings' schedule; return its name and its next times."""

    def unschedule(self, identifier: str, pipeline: str) -> int:
        """Remove the schedules of a pipeline under an identifier and return how many there were."""


def choose(
    settings: Settings, *, wait: bool = True, caching: bool = True, experiment: bool = False, isolated: bool = False
) -> Engine:
    """Return the engine that the settings name; its SDK is imported here, and no other's.

    Args:
        settings: The settings of the run.
        wait: Whether to follow a job to its end.
        caching: Whether to leave each task's cache on.
        experiment: Whether to log to the experiment of the identifier's name.
        isolated: Whether each step runs with exactly its own packages; on a service it always does.

    Raises:
        RequestError: the engine needs settings that are not there.
    """
    if settings.chosen_engine()[0] == "vertex":
        settings.require("project", "region", "bucket")
        from pipeline.engines.vertex import VertexEngine

        return VertexEngine(settings, wait=wait, caching=caching, experiment=experiment)
    from pipeline.engines.local import LocalEngine

    return LocalEngine(settings, isolated=isolated)


def execute(engine: Engine, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
    """Run a pipeline to its end, record it, and return how it ended; an error of ours goes to logs/error.log.

    Raises:
        RequestError: nothing was started; the run folder is gone.
    """
    from pipeline.runs import SPEC

    return record(lambda: engine.run(run.folder / SPEC, parameters, run, progress), run, progress)


def record(watch: Callable[[], State], run: Run, progress: Progress) -> State:
    """Watch a run to its end and record it with its results; see execute.

    Raises:
        RequestError: nothing was started, and the run folder is gone; of a job that was started before, nothing has
            changed.
    """
    from pipeline import graph, prices, results, runs

    status: State = "failed"
    ending.call(run.interrupt)
    try:
        status = watch()
    except RequestError as refused:
        if runs.discard(run) or run.job:
            raise
        run.error = str(refused)
    except (KeyboardInterrupt, ending.Interrupted) as end:
        run.interrupt(str(end) or ending.SIGNALS[signal.SIGINT])
        return run.status
    except Exception as error:
        if ending.came:
            return run.status  # what was interrupted may fail in its own way
        status = run.status if run.job else "failed"  # a job goes on without us
        _tell(error, run)
    with ending.later():  # a run that has succeeded has its figures
        run.finish(status)
        if run.status != "running":
            try:
                for note in results.conclude(run):
                    progress.note(f"note: {note}")
                if run.job:
                    run.used = prices.used(run, graph.load(run.folder / runs.SPEC))
            except Exception as error:
                _tell(error, run)
                run.status = status if run.job else "failed"
            run.save()
    return run.status


def _tell(error: Exception, run: Run) -> None:
    """Record an error that is not a task's, with its traceback in a log of its own."""
    from pipeline.runs import ERROR_LOG

    told = words(error)
    if not any(told in (task.error or "") for task in run.tasks):  # which may have met the same full disk
        run.error = f"{run.error}\n{told}" if run.error else told
    with (
        contextlib.suppress(OSError),
        (run.folder / ERROR_LOG).open("a", encoding="utf-8") as log,
    ):  # the disk may be full
        log.write(traceback.format_exc())
