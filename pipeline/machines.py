"""The machine and the retries of each task of a spec, by the profile or by what the pipeline asks for itself."""

from collections.abc import Iterator

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PipelineTaskSpec

from pipeline import profiles
from pipeline.graph import FUNCTION_FLAG, GOOGLE_IMAGE


def set_machines(spec: PipelineSpec, profile: str) -> None:
    """Give each task the machine and the retries of a profile, where the pipeline does not ask for others."""
    for label, executor in spec.deployment_spec["executors"].items():
        if "container" in executor and not executor["container"]["image"].startswith(GOOGLE_IMAGE):
            machine = profiles.machine(profile, _step(spec, label))
            asked = json_format.MessageToDict(executor["container"]).get("resources", {})
            # the numbers are the same for services older than the texts
            if not asked.keys() & {"resourceCpuLimit", "cpuLimit", "resourceCpuRequest", "cpuRequest"}:
                asked |= {"resourceCpuLimit": str(machine.cpus), "cpuLimit": machine.cpus}
            if not asked.keys() & {"resourceMemoryLimit", "memoryLimit", "resourceMemoryRequest", "memoryRequest"}:
                asked |= {"resourceMemoryLimit": f"{machine.memory_gb}G", "memoryLimit": machine.memory_gb}
            executor["container"]["resources"] = asked
    for task in tasks(spec):
        label = spec.components[task.component_ref.name].executor_label
        retries = profiles.retries(_step(spec, label)) if label else 0
        if retries and not task.HasField("retry_policy"):
            policy = task.retry_policy
            policy.max_retry_count, policy.backoff_factor = retries, 2.0
            policy.backoff_duration.seconds, policy.backoff_max_duration.seconds = 60, 3600


def _step(spec: PipelineSpec, label: str) -> str:
    """Return the name of the step of an executor; KFP puts a number behind that of one which a pipeline has twice."""
    executor = spec.deployment_spec["executors"][label]
    args: list[str] = (
        [*executor["container"]["args"]] if "container" in executor and "args" in executor["container"] else []
    )
    if FUNCTION_FLAG in args[:-1]:
        return str(args[args.index(FUNCTION_FLAG) + 1]).replace("_", "-")
    return label.removeprefix("exec-")


def limit_loops(spec: PipelineSpec, parallelism: int) -> None:
    """Let a loop run so many iterations at once, where the pipeline does not ask for a number itself."""
    for task in tasks(spec):
        if task.WhichOneof("iterator") and not task.iterator_policy.parallelism_limit:
            task.iterator_policy.parallelism_limit = parallelism


def tasks(spec: PipelineSpec) -> Iterator[PipelineTaskSpec]:
    """Yield the tasks of a spec, those in its loops and conditions among them."""
    for component in (spec.root, *spec.components.values()):
        yield from component.dag.tasks.values()
