"""One task that executes something: its place, its cache, its executor."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.engines.interpreter import executor, importers, support
from pipeline.engines.interpreter.cache import Cache
from pipeline.engines.interpreter.hooks import Hooks
from pipeline.engines.interpreter.placeholders import Job, expanded
from pipeline.engines.interpreter.values import FAILED, HELD_BACK, SUCCEEDED, Ended, SpecError, Values
from pipeline.runs import Task

ARTIFACTS = "artifacts"  # in the run folder: a folder for each task, by its path


@dataclass(frozen=True)
class Context:
    """What all tasks of a run share."""

    spec: Mapping[str, Any]
    folder: Path  # of the run
    hooks: Hooks
    job: Job
    cache: Cache | None


class TaskRun:
    """A task with its inputs, and its attempts, which run in threads."""

    def __init__(
        self,
        context: Context,
        task: Mapping[str, Any],
        component: Mapping[str, Any],
        inputs: Values,
        record: Task,
        width: int,
    ):
        self._context, self._task, self._component, self._inputs = context, task, component, inputs
        self._width = width
        self.record = record
        self._label = component["executorLabel"]
        self._executor = context.spec["deploymentSpec"]["executors"][self._label]
        self._folder = context.folder / ARTIFACTS / record.path
        self._names = context.job.names(record.name, record.path)

    def attempt(self, *, first: bool, last: bool) -> Ended:
        """Run the task once and return how it has ended.

        Args:
            first: Whether this is not a retry; one may be found in the cache.
            last: Whether a failure is final.
        """
        hooks = self._context.hooks
        if hooks.stopping:
            return HELD_BACK
        try:
            outputs = self._outputs(first)
        except SpecError as error:
            self.record.error = str(error)
            outputs = None
        if outputs is None:
            how = Ended(FAILED, error=f"{self.record.path}: {self.record.error or 'it failed without a message'}")
        else:
            self.record.error = None
            how = Ended(SUCCEEDED, outputs)
        if how.state == SUCCEEDED or last or hooks.stopping:
            hooks.ended(self.record, how)
        return how

    def _outputs(self, first: bool) -> Values | None:
        """Return what the task has put out, None if it failed."""
        hooks = self._context.hooks
        if first:
            hooks.prepared(self.record, executor.inputs_of(self._inputs))
        if importer := self._executor.get("importer"):
            return importers.imported(importer, self._component, self._inputs, self._names)
        container = self._executor["container"]
        if instead := support.stand_in(container):
            hooks.note(instead(self._inputs, self._context.job))
            return Values()
        environment = self._environment(container)
        key, cache = self._key(container, environment), self._context.cache
        if first and cache and key and (found := cache.get(key, self._component, self._folder)):
            self.record.cached = True
            return found
        _make_empty(self._folder)
        command = executor.Command(
            step=self._label.removeprefix("exec-"),
            source=container["command"][-1],
            function=executor.function(container),
            executor_input=executor.executor_input(self._component, self._inputs, self._folder),
            environment=environment,
        )
        if not hooks.execute(self.record, command, self._width):
            return None
        outputs = executor.outputs(self._component, self._folder)
        if cache and key and (told := cache.put(key, outputs, self._folder, self._context.folder)):
            hooks.note(told)
        return outputs

    def _environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """Return the variables that the pipeline sets."""
        variables = {each["name"]: each.get("value", "") for each in container.get("env", ())}
        return {name: expanded(value, self._names, self._inputs.parameters) for name, value in variables.items()}

    def _key(self, container: Mapping[str, Any], environment: Mapping[str, str]) -> str:
        """Return the key of the task in the cache, an empty text for none."""
        cache = self._context.cache
        if cache is None or not self._task.get("cachingOptions", {}).get("enableCache"):
            return ""
        return cache.key(self._component, container, environment, self._inputs, self._context.folder)


def _make_empty(folder: Path) -> None:
    """Make a folder with nothing in it, not even of an attempt before."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
