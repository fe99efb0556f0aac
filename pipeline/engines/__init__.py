"""Where a compiled pipeline runs. An engine knows specs and parameters, never steps."""

import traceback
from pathlib import Path
from typing import Any, Protocol

from pipeline.runs import ERROR_LOG, SPEC, Run, State, Task


class Progress(Protocol):
    """Is told what happens while a pipeline runs."""

    def started(self, task: Task) -> None:
        """A task has started."""

    def ended(self, task: Task) -> None:
        """A task has ended; its state says how."""


class Engine(Protocol):
    """Runs compiled pipelines."""

    def run(self, spec: Path, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
        """Run a compiled pipeline to its end and return how it ended.

        Args:
            spec: The compiled pipeline, a YAML file.
            parameters: Values of the pipeline's parameters.
            run: Record to keep of the tasks.
            progress: Is told of each task.
        """


def execute(engine: Engine, parameters: dict[str, Any], run: Run, progress: Progress) -> State:
    """Run a pipeline to its end, record it, and return how it ended; an error of ours goes to logs/error.log."""
    status: State = "failed"
    try:
        status = engine.run(run.folder / SPEC, parameters, run, progress)
    except KeyboardInterrupt:
        status = "cancelled"
    except Exception as error:
        run.error = f"{type(error).__name__}: {error}"
        (run.folder / ERROR_LOG).write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        run.finish(status)
    return status
