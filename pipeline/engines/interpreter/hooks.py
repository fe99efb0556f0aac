"""What a run does for each task; whoever runs a pipeline hands it in."""

from typing import Any

from pipeline.engines.interpreter.executor import Command
from pipeline.engines.interpreter.values import Ended
from pipeline.runs import Task


class Hooks:
    """Is told of each task and executes it; called from several threads."""

    stopping = False  # whether nothing is to be started any more, not even exit handlers

    def stop(self) -> None:
        """End what is executed and let nothing start any more."""
        self.stopping = True

    def note(self, message: str) -> None:
        """Something is to be shown to the user."""

    def prepared(self, task: Task, inputs: dict[str, Any]) -> None:
        """A task's inputs are there, KFP's ExecutorInput.Inputs; it is executed next or found in the cache."""

    def execute(self, task: Task, command: Command, width: int) -> bool:
        """Execute a task and return whether it succeeded; one that did not may come again, if it has retries.

        Args:
            task: The task; its error is set if it fails.
            command: What it is to execute.
            width: How many tasks like it may run at once: the iterations of the loops around it.
        """
        raise NotImplementedError

    def retrying(self, task: Task, error: str, seconds: float, left: int) -> None:
        """A task, or a DAG, has failed and is tried again after a pause; so many tries are left."""

    def ended(self, task: Task, how: Ended) -> None:
        """A task has ended: executed, found in the cache, skipped, or failed before it could be executed."""
