"""What a compiled spec says of its tasks: their names, what they are shown as, and the loops they run in."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline import RequestError
from steps.shipping import shipped_files


@dataclass(frozen=True)
class Node:
    """A task of the spec that runs on a machine."""

    name: str
    display_name: str
    step: str  # name of its executor, without exec-
    in_loop: bool
    item_input: str | None  # the input that takes the loop's item, where one does
    cpus: str = ""  # limits of its machine; "" where the spec sets none
    memory: str = ""
    accelerators: str = ""
    retries: int = 0


def load(spec: Path) -> dict[str, Any]:
    """Read a compiled spec; YAML is a superset of JSON.

    Raises:
        RequestError: the file is missing or damaged.
    """
    try:
        loaded = yaml.load(spec.read_text("utf-8"), yaml.CSafeLoader)
        loaded["root"]["dag"]["tasks"], loaded["deploymentSpec"]["executors"]
    except (OSError, yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise RequestError(
            f"The spec {spec} cannot be read: {str(error).splitlines()[0]}. It is missing or damaged."
        ) from None
    return loaded


def nodes(spec: dict[str, Any]) -> list[Node]:
    """Return the tasks of a spec, each after those that it depends on."""
    return [*_nodes(spec, spec["root"]["dag"], in_loop=False)]


def _nodes(spec: dict[str, Any], dag: dict[str, Any], in_loop: bool) -> Any:
    waiting = dict(dag["tasks"])
    while waiting:
        ready = [name for name, task in waiting.items() if not {*task.get("dependentTasks", ())} & waiting.keys()]
        for name in ready:
            task = waiting.pop(name)
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                iterates = "parameterIterator" in task or "artifactIterator" in task
                yield from _nodes(spec, component["dag"], in_loop or iterates)
                continue
            inputs = task.get("inputs", {}).get("parameters", {})
            items = [key for key, value in inputs.items() if "-loop-item" in value.get("componentInputParameter", "")]
            display_name = task.get("taskInfo", {}).get("name", name)
            step = component["executorLabel"].removeprefix("exec-")
            executor = spec["deploymentSpec"]["executors"].get(component["executorLabel"], {})
            retries = int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
            machine = _machine(executor.get("container", {}).get("resources", {}))
            yield Node(name, display_name, step, in_loop, items[0] if items else None, *machine, retries)


def _machine(resources: dict[str, Any]) -> tuple[str, str, str]:
    """Return the CPUs, the memory and the accelerators that a container asks for."""
    accelerator = resources.get("accelerator", {})
    count = accelerator.get("resourceCount", accelerator.get("count", ""))
    kind = accelerator.get("resourceType", accelerator.get("type", ""))
    cpus = resources.get("resourceCpuLimit", resources.get("cpuLimit", ""))
    memory = resources.get("resourceMemoryLimit", resources.get("memoryLimit", ""))
    return str(cpus), str(memory), f"{count} {kind}".strip()


def containers(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the containers of the lightweight components of a spec by step."""
    executors = spec["deploymentSpec"]["executors"]
    found = {name.removeprefix("exec-"): e["container"] for name, e in executors.items() if "container" in e}
    return {
        step: container for step, container in found.items() if "--function_to_execute" in container.get("args", ())
    }


def sources(container: dict[str, Any]) -> dict[str, str]:
    """Return the Python that a lightweight component is made of: its own under "", its modules' by their files."""
    source = container["command"][-1]
    modules = {file: text for file, text in shipped_files(source).items() if file.endswith(".py")}
    return {"": source, **modules}


def function(container: dict[str, Any]) -> str:
    """Return the name of the function that a lightweight component executes."""
    return container["args"][container["args"].index("--function_to_execute") + 1]


def packages(container: dict[str, Any]) -> tuple[str, ...]:
    """Return the requirements that a lightweight component installs, as its packages_to_install has them."""
    found, is_value = [], False
    for argument in install_arguments(container):
        if not is_value and not argument.startswith("-"):
            found.append(argument)
        is_value = argument in ("--index-url", "--extra-index-url", "--trusted-host")
    return tuple(found)


def install_arguments(container: dict[str, Any]) -> tuple[str, ...]:
    """Return what a lightweight component hands to pip install: requirements, and the indexes they come from.

    KFP installs itself in a line of its own, which is left out, and so are its flags for a quiet pip.
    """
    script = next((part for part in container["command"][:-1] if "pip install" in part), "")
    found: list[str] = []
    for line in script.splitlines():
        words = shlex.split(line, comments=False) if "pip install" in line else []
        while "install" in words:
            words = words[words.index("install") + 1 :]
            end = words.index("&&") if "&&" in words else len(words)
            if not any(word.startswith("kfp==") for word in words[:end]):
                found += [word for word in words[:end] if word not in ("--quiet", "--no-warn-script-location")]
            words = words[end:]
    return tuple(found)
