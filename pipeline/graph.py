"""What a compiled spec says of its tasks: their names, what they are shown as, and the loops they run in."""

import re
import shlex
from collections.abc import Iterator
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
    cpus: str = ""  # its limits as the spec has them; empty where it has none
    memory: str = ""
    accelerator: str = ""
    retries: int = 0


def load(spec: Path) -> dict[str, Any]:
    """Read a compiled spec; YAML is a superset of JSON.

    Raises:
        RequestError: the file is missing or damaged.
    """
    try:
        return parse(spec.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise RequestError(
            f"The spec {spec} cannot be read: {str(error).splitlines()[0]}. It is missing or damaged."
        ) from None


def parse(text: str) -> dict[str, Any]:
    """Return what is in a compiled spec; a text that is none raises errors of several kinds."""
    # a second document, where there is one, holds the settings of a platform
    loaded = next(yaml.load_all(text, yaml.CSafeLoader), None)
    loaded["root"]["dag"]["tasks"], loaded["deploymentSpec"]["executors"]
    return loaded


def nodes(spec: dict[str, Any]) -> list[Node]:
    """Return the tasks of a spec, each after those that it depends on."""
    return [*_nodes(spec, spec["root"]["dag"], in_loop=False)]


def _nodes(spec: dict[str, Any], dag: dict[str, Any], in_loop: bool) -> Iterator[Node]:
    executors = spec["deploymentSpec"]["executors"]
    waiting = dict(dag.get("tasks", {}))
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
            label = component["executorLabel"]
            machine = _machine(executors.get(label, {}).get("container", {}).get("resources", {}))
            retries = int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
            yield Node(
                name,
                display_name,
                label.removeprefix("exec-"),
                in_loop,
                items[0] if items else None,
                **machine,
                retries=retries,
            )


def _machine(resources: dict[str, Any]) -> dict[str, str]:
    """Return the limits of a container as they are shown: as the pipeline has them, or by the parameter's name."""
    accelerator = resources.get("accelerator", {})
    kind = accelerator.get("resourceType") or accelerator.get("type", "")
    count = accelerator.get("resourceCount") or accelerator.get("count") or "1"
    limits = {
        "cpus": resources.get("resourceCpuLimit") or f"{resources.get('cpuLimit', '')}",
        "memory": resources.get("resourceMemoryLimit") or f"{resources.get('memoryLimit', '')}",
        "accelerator": f"{count} {kind}" if kind else "",
    }
    parameter = r"\{\{\$\.inputs\.parameters\['(?:pipelinechannel--)?(.*?)'\]\}\}"
    return {name: re.sub(parameter, r"{\1}", limit) for name, limit in limits.items()}


def containers(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the containers of the lightweight components of a spec by step."""
    executors = spec["deploymentSpec"]["executors"]
    found = {name.removeprefix("exec-"): e["container"] for name, e in executors.items() if "container" in e}
    flag = "--function_to_execute"
    return {step: container for step, container in found.items() if flag in container.get("args", ())}


def sources(container: dict[str, Any]) -> dict[str, str]:
    """Return the Python that a lightweight component is made of: its own under "", its modules' by their files."""
    source = container["command"][-1]
    modules = {file: text for file, text in shipped_files(source).items() if file.endswith(".py")}
    return {"": source, **modules}


def function(container: dict[str, Any]) -> str:
    """Return the name of the function that a lightweight component executes."""
    return container["args"][container["args"].index("--function_to_execute") + 1]


@dataclass(frozen=True)
class Install:
    """One pip install of a lightweight component."""

    options: tuple[str, ...]  # those that say from where, and --no-deps
    requirements: tuple[str, ...]

    @property
    def is_of_kfp(self) -> bool:
        """Whether it is the one that kfp adds for itself."""
        return "--no-deps" in self.options and any(each.startswith("kfp==") for each in self.requirements[:1])


_WITH_VALUE = ("--index-url", "--extra-index-url", "--trusted-host", "--find-links")
_SEPARATORS = "();<>|&\n"


def installs(container: dict[str, Any]) -> list[Install]:
    """Return what a lightweight component installs before it runs, in its order, kfp's own line too.

    Raises:
        RequestError: its command cannot be read as a shell reads it.
    """
    found: list[Install] = []
    for script in container["command"][:-1]:
        try:
            words = [*_lexer(script)] if "pip install" in script else []
        except ValueError as error:
            raise RequestError(
                f"The packages of {function(container)} cannot be read: {error}, in\n{script.strip()[-300:]}\n"
                "A requirement may hold quotes of one kind only."
            ) from None
        for place, word in enumerate(words):
            if word == "install" and words[place - 1] == "pip":
                found.append(_install(words[place + 1 :]))
    return found


def _lexer(script: str) -> shlex.shlex:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=_SEPARATORS)
    lexer.commenters, lexer.whitespace, lexer.whitespace_split = "", " \t\r", True
    return lexer


def _install(words: list[str]) -> Install:
    options: list[str] = []
    requirements: list[str] = []
    rest = iter(words)
    for word in rest:
        if word and not word.strip(_SEPARATORS):  # the next command
            break
        if word in _WITH_VALUE:
            options += [word, next(rest)]
        elif word == "--no-deps":
            options.append(word)
        elif not word.startswith("-"):
            requirements.append(word)
    return Install(tuple(options), tuple(requirements))


def packages(container: dict[str, Any]) -> tuple[str, ...]:
    """Return the packages that a lightweight component installs, as its packages_to_install has them."""
    found = installs(container)
    # kfp adds itself in a line of its own, the last
    own = found[:-1] if len(found) > 1 or (found and found[-1].is_of_kfp) else found
    return tuple(requirement for install in own for requirement in install.requirements)
