"""Runs a compiled PipelineSpec on this machine, as its proto and KFP's backend say what it means.

How the modules follow the proto (pipeline_spec.proto of kubeflow/pipelines):

- values: what tasks hand each other; parameters and their types, artifacts, the states that a task ends in
- placeholders: what {{$.…}} in the spec's own texts stands for
- scope: what TaskInputsSpec resolves to: constants, inputs of the DAG, outputs of tasks, the final status of one
- conditions: TriggerPolicy.condition and parameter_expression_selector, which are CEL
- iterators: ParameterIteratorSpec and ArtifactIteratorSpec: the items of a loop
- results: DagOutputsSpec, with OneOf, and what a loop has collected
- retries: RetryPolicy
- importers: ImporterSpec
- executor: ExecutorInput and ExecutorOutput of a lightweight component
- cache: what tasks of former runs have left, where nothing that they saw has changed
- support: what this machine can run, and what stands in for what it cannot
- task: one task that executes something, or is found in the cache
- dag: DagSpec and TriggerPolicy.strategy: which task starts when, and what a failure holds back
- schedule: the threads

User code runs in none of them: the hooks are handed each task's command.
"""

from pathlib import Path
from typing import Any

from pipeline import RequestError
from pipeline.engines.interpreter import scope, support
from pipeline.engines.interpreter.cache import Cache
from pipeline.engines.interpreter.dag import Graph
from pipeline.engines.interpreter.executor import Command
from pipeline.engines.interpreter.hooks import Hooks
from pipeline.engines.interpreter.placeholders import Job
from pipeline.engines.interpreter.task import ARTIFACTS
from pipeline.engines.interpreter.values import FAILED, SKIPPED, SUCCEEDED, Ended, SpecError, Values

__all__ = ["ARTIFACTS", "FAILED", "SKIPPED", "SUCCEEDED", "Command", "Ended", "Hooks", "Job", "Values", "run"]


def run(
    spec: dict[str, Any],
    parameters: dict[str, Any],
    folder: Path,
    hooks: Hooks,
    *,
    job: Job | None = None,
    cores: int = 2,
    slots: int | None = None,
    cache_dir: Path | None = None,
) -> Ended:
    """Run a compiled pipeline to its end and return how it has ended, with its own outputs.

    Args:
        spec: The compiled pipeline, as its YAML or JSON has it.
        parameters: Values of its parameters.
        folder: Folder of the run; artifacts are written to artifacts/<path of the task>/ in it.
        hooks: Is told of each task and executes it.
        job: What the placeholders of the pipeline's job stand for.
        cores: How many cores there are to share; how many tasks may run at once, unless slots says so.
        slots: How many tasks may run at once.
        cache_dir: Folder of the cache, for tasks that are not to bypass it; None for no cache.

    Raises:
        RequestError: the pipeline cannot run here, or not with these parameters; nothing was started.
        Exception: the first that a hook raised; no task is begun after it.
    """
    support.check(spec, hooks.note)
    try:
        given = scope.arguments(spec["root"], parameters)
    except SpecError as error:
        raise RequestError(f"The pipeline cannot run with these parameters: {error}.") from None
    job = job or Job.of_run(spec["pipelineInfo"]["name"], folder.name, str(folder))
    cache = Cache(cache_dir) if cache_dir else None
    return Graph(spec, folder, hooks, job, cores, slots or cores, cache).run(given)
