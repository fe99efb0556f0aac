"""What a compiled spec says of its tasks: their names, what they are shown as, and the loops they run in."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Required

import yaml
from pydantic import Field
from typing_extensions import TypedDict

from pipeline import RequestError, files
from pipeline.fusing import plans
from pipeline.fusing.plans import Plan
from steps.shipping import readable, shipped_files

if TYPE_CHECKING:
    from pipeline.runs import Task

# a service does itself what a container of this image asks it for: it starts none, on no machine of ours
GOOGLE_IMAGE = "gcr.io/ml-pipeline/google-cloud-pipeline-components:"
FUNCTION_FLAG = "--function_to_execute"  # before its name, among the arguments of a lightweight component
MAX_NODES = 1_000_000  # values of a spec, each alias counted: a few lines of aliases can stand for billions
MAX_TASKS = 100_000
MAX_DEPTH = 200  # of values in values, and of sub-pipelines in sub-pipelines


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
    inside: tuple["Node", ...] = ()  # the steps of a fused task, whose record they have

    @property
    def steps(self) -> tuple["Node", ...]:
        """The tasks that a run records: itself, or the steps of a fused task."""
        return self.inside or (self,)


# what is used here of KFP's PipelineSpec, whose proto would take a task without a component, or a null for a text
class _Name(TypedDict):
    name: str


class _Value(TypedDict, total=False):
    componentInputParameter: str


class _Inputs(TypedDict, total=False):
    parameters: dict[str, _Value]


class _TaskInfo(TypedDict, total=False):
    name: str


class _Retries(TypedDict, total=False):
    maxRetryCount: Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class _Task(TypedDict, total=False):
    componentRef: Required[_Name]
    dependentTasks: list[str]
    inputs: _Inputs
    taskInfo: _TaskInfo
    retryPolicy: _Retries


class _Dag(TypedDict, total=False):
    tasks: dict[str, _Task]


class _Component(TypedDict, total=False):
    dag: _Dag
    executorLabel: str


class _Resources(TypedDict, total=False):
    accelerator: dict[str, Any]
    resourceCpuLimit: str
    resourceMemoryLimit: str


class _Variable(TypedDict, total=False):
    name: Required[str]
    value: str


class _Container(TypedDict, total=False):
    image: str
    command: list[str]
    args: list[str]
    env: list[_Variable]
    resources: _Resources


class _Executor(TypedDict, total=False):
    container: _Container


class _Deployment(TypedDict):
    executors: dict[str, _Executor]


class _RootDag(TypedDict):
    tasks: dict[str, _Task]


class _Root(TypedDict):
    dag: _RootDag


class _Spec(TypedDict, total=False):
    pipelineInfo: Required[_Name]
    root: Required[_Root]
    deploymentSpec: Required[_Deployment]
    components: dict[str, _Component]


def load(spec: Path) -> dict[str, Any]:
    """Read a compiled spec.

    Raises:
        RequestError: the file is missing or damaged.
    """
    try:
        loaded: dict[str, Any] = parsed(files.text(spec))
        check(loaded)
    except files.Damaged as error:
        raise RequestError(f"The spec {spec} cannot be read: {error}. It is missing or damaged.") from None
    return loaded


def parsed(text: str) -> Any:
    """Return what a spec's text holds; YAML is a superset of JSON.

    Raises:
        Damaged: it is no YAML, or holds what no JSON could.
    """
    try:
        # a second document, where there is one, holds the settings of a platform
        documents = [*yaml.load_all(text, yaml.CSafeLoader)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a number of many digits is a ValueError
        raise files.Damaged(" ".join(str(error).split())[:300]) from None
    level, n_nodes, depth = documents, 0, 0
    while level:
        n_nodes, depth = n_nodes + len(level), depth + 1
        if n_nodes > MAX_NODES or depth > MAX_DEPTH:
            raise files.Damaged("it is nested too deeply, or its aliases stand for too much")
        for value in level:
            if value is not None and type(value) not in (dict, list, str, int, float, bool):
                raise files.Damaged(f"it has a value that JSON does not have, {str(value)[:40]!r}")
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value if isinstance(value, list) else [*value.keys(), *value.values()])
        ]
    return documents[0] if documents else None


def check(spec: Any) -> None:
    """Check that a spec has what the functions of this module use of it.

    Raises:
        Damaged: it has not.
    """
    files.check(spec, _Spec)
    for label, executor in spec["deploymentSpec"]["executors"].items():
        container = executor.get("container", {})
        words = container.get("args", [])
        if FUNCTION_FLAG in words and not (container.get("command") and words[words.index(FUNCTION_FLAG) + 1 :]):
            raise files.Damaged(f"the executor {label} names no source or no function")
    if _count(spec, spec["root"]["dag"], {}, 0) > MAX_TASKS:
        raise files.Damaged(f"it has more than {MAX_TASKS:,} tasks")


def _count(spec: dict[str, Any], dag: dict[str, Any], counted: dict[str, int], depth: int) -> int:
    """Return how many tasks a DAG is made of; the components that they name are there, without a circle."""
    if depth > MAX_DEPTH:
        raise files.Damaged("its sub-pipelines are nested too deeply, or in a circle")
    n_tasks = 0
    try:
        tasks = in_order(dag.get("tasks", {}))
    except CycleError as error:
        circle = ", ".join(error.args[1][:5])
        raise files.Damaged(f"its tasks depend on each other in a circle: {circle}") from None
    for name, task in tasks.items():
        of = task["componentRef"]["name"]
        component = spec.get("components", {}).get(of, {})
        label = component.get("executorLabel")
        if "dag" in component:
            if of not in counted:
                counted[of] = _count(spec, component["dag"], counted, depth + 1)
            n_tasks += counted[of]
        elif label is None:
            raise files.Damaged(f"the task {name} is of a component that is not there, {of}")
        n_tasks += 1
    return n_tasks


def in_order(tasks: dict[str, Any]) -> dict[str, Any]:
    """Return the tasks of a DAG, each behind those that it depends on.

    Raises:
        CycleError: some depend on each other in a circle.
    """
    places = {name: place for place, name in enumerate(tasks)}
    sorter = TopologicalSorter({name: places.keys() & task.get("dependentTasks", ()) for name, task in tasks.items()})
    sorter.prepare()
    ordered: dict[str, Any] = {}
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=places.__getitem__)
        sorter.done(*ready)
        ordered |= {name: tasks[name] for name in ready}
    return ordered


def registers(spec: dict[str, Any]) -> bool:
    """Return whether the tasks of --register are in a spec."""
    return "exec-package-model" in spec["deploymentSpec"]["executors"]


def nodes(spec: dict[str, Any]) -> list[Node]:
    """Return the tasks of a spec, each after those that it depends on."""
    return [*_nodes(spec, spec["root"]["dag"], in_loop=False)]


def _nodes(spec: dict[str, Any], dag: dict[str, Any], in_loop: bool) -> Iterator[Node]:
    executors = spec["deploymentSpec"]["executors"]
    for name, task in in_order(dag.get("tasks", {})).items():
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            iterates = "parameterIterator" in task or "artifactIterator" in task
            yield from _nodes(spec, component["dag"], in_loop or iterates)
            continue
        inputs = task.get("inputs", {}).get("parameters", {})
        items = [key for key, value in inputs.items() if "-loop-item" in value.get("componentInputParameter", "")]
        display_name = task.get("taskInfo", {}).get("name", name)
        label = component["executorLabel"]
        machine: dict[str, Any] = limits(executors.get(label, {}).get("container", {}).get("resources", {}))
        retries = int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        node = Node(
            name,
            display_name,
            label.removeprefix("exec-"),
            in_loop,
            items[0] if items else None,
            **machine,
            retries=retries,
        )
        plan = plan_of(executors.get(label, {}).get("container", {}))
        yield replace(node, inside=_inside(node, plan)) if plan else node


def _inside(node: Node, plan: Plan) -> tuple[Node, ...]:
    """Return the steps of a fused task."""
    in_loop = node.in_loop or "loop" in plan
    return tuple(
        replace(node, name=step["name"], display_name=step["name"], step=step["executor"], in_loop=in_loop)
        for step in plan["steps"]
    )


def plan_of(container: dict[str, Any]) -> Plan | None:
    """Return what a fused task runs, None for a task that is not fused."""
    return plans.of_source(container["command"][-1]) if FUNCTION_FLAG in container.get("args", ()) else None


@dataclass(frozen=True)
class Fusion:
    """What a fused task runs, and which names of its steps other tasks have, too."""

    plan: Plan
    repeated: frozenset[str]

    def is_ambiguous(self, step: str, fused: "Task") -> bool:
        """Return whether the name and the item of a step are not enough to tell it from others."""
        return fused.ambiguous or step in self.repeated or ("loop" in self.plan and fused.item is not None)


def fusions(spec: dict[str, Any]) -> dict[str, Fusion]:
    """Return what the fused tasks of a spec run, by their names."""
    plans_of_steps = {step: plan for step, container in containers(spec).items() if (plan := plan_of(container))}
    found = nodes(spec)
    counts = Counter(step.name for node in found for step in node.steps)
    repeated = frozenset(name for name, count in counts.items() if count > 1)
    return {node.name: Fusion(plans_of_steps[node.step], repeated) for node in found if node.inside}


def limits(resources: dict[str, Any]) -> dict[str, str]:
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
    return {step: container for step, container in found.items() if FUNCTION_FLAG in container.get("args", ())}


def steps(spec: dict[str, Any]) -> dict[str, str]:
    """Return the sources of the lightweight components of a spec by step, those within fused tasks among them."""
    found: dict[str, str] = {}
    for step, container in containers(spec).items():
        plan = plan_of(container)
        found |= (
            {each["executor"]: each["source"] for each in plan["steps"]}
            if plan
            else {step: readable(container["command"][-1])}
        )
    return found


def sources(container: dict[str, Any]) -> dict[str, str]:
    """Return the Python that a lightweight component is made of: its own under "", its modules' by their files.

    Raises:
        RequestError: it is no Python, or what it ships is damaged.
    """
    source = container["command"][-1]
    try:
        modules = {file: text for file, text in shipped_files(source).items() if file.endswith(".py")}
    except Exception as error:  # of the parser, of base64, zlib and JSON
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise RequestError(f"The source of {function(container)} cannot be read: {told}.") from None
    for step in (plan_of(container) or {"steps": ()})["steps"]:
        inner = {file: text for file, text in shipped_files(step["source"]).items() if file.endswith(".py")}
        modules |= inner | {f"{step['name']}.py": step["source"]}
    return {"": source, **modules}


def function(container: dict[str, Any]) -> str:
    """Return the name of the function that a lightweight component executes."""
    return str(container["args"][container["args"].index(FUNCTION_FLAG) + 1])


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
            options += [word, next(rest, "")]
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
