"""The spec of a pipeline with its chains of tasks joined, in the same spec language."""

import copy
import re
from collections.abc import Iterator
from typing import Any

from pipeline.engines.interpreter.executor import function
from pipeline.fusing import plans
from pipeline.fusing.chains import Group, groups, in_order
from pipeline.fusing.plans import Plan, Step
from pipeline.fusing.running import RECORD, key
from steps.shipping import shipped

PYTHON = {
    "STRING": "str",
    "NUMBER_INTEGER": "int",
    "NUMBER_DOUBLE": "float",
    "BOOLEAN": "bool",
    "LIST": "list",
    "STRUCT": "dict",
}
MOST_BYTES = 100_000  # of the plan in a fused task's source, which Linux takes as one argument with 31 kB beside it
ARTIFACT = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
# the one pip install of a lightweight component's own packages: what is before them, and they
INSTALL = re.compile(r"(pip install --quiet --no-warn-script-location (?:--\S+ \S+ )*)((?:'[^']*' )+)")


def fuse(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a compiled spec with each group of its tasks as one task; see pipeline.fusing.chains."""
    fused = copy.deepcopy(spec)
    for component in (fused["root"], *[*fused["components"].values()]):
        found = groups(fused, component["dag"]) if "dag" in component else []
        for group in sorted(found, key=lambda group: not group.is_loop):  # what takes of a loop follows it
            for joined in _fitting(fused, component["dag"], group):
                joined.put()
    _drop_unused(fused)
    return fused


def _fitting(spec: dict[str, Any], dag: dict[str, Any], group: Group) -> Iterator["_Joined"]:
    """Yield what a group becomes: one task, or several where the sources of all are too long for one command."""
    members = [*group.tasks]
    while members:
        for number in range(len(members), 0, -1):
            joined = _Joined(spec, dag, Group((*members[:number],), group.is_loop))
            if number == 1 or joined.n_bytes <= MOST_BYTES:
                break
        members = members[number:]
        if number > 1 or joined.must_be:
            yield joined


class _Joined:
    """A group of tasks that becomes one."""

    def __init__(self, spec: dict[str, Any], dag: dict[str, Any], group: Group):
        self._spec, self._dag, self._group = spec, dag, group
        self._tasks = dag["tasks"]
        self._inputs: dict[str, Any] = {"parameters": {}, "artifacts": {}}  # of the task
        self._taken: dict[str, Any] = {"parameters": {}, "artifacts": {}}  # their definitions
        self._exported: list[list[str]] = []
        self._loop = self._tasks[group.tasks[0]] if group.is_loop else None
        if self._loop:
            self._body = self._component(self._loop)
            self._inner = in_order(self._body["dag"]["tasks"])
        else:
            self._inner = {name: self._tasks[name] for name in group.tasks}
        self._plan: Plan = {"steps": [self._step(name, task) for name, task in self._inner.items()], "returns": []}
        if self._loop:
            self._plan["loop"] = self._plan_of_loop(self._loop)

    @property
    def n_bytes(self) -> int:
        """Bytes of the steps' sources as the one task carries them."""
        return len(plans.packed(self._plan))

    @property
    def must_be(self) -> bool:
        """Whether one task alone is to be changed: a loop, or what takes the one artifact that a fused loop leaves."""
        sources = [source for step in self._plan["steps"] for source in step["inputs"]["artifacts"].values()]
        return self._loop is not None or any("collected" in source for source in sources)

    def put(self) -> None:
        """Put the one task in the place of the group."""
        plan, name = self._plan, self._name()
        self._rewire(name)
        plan["returns"] = sorted(self._exported)
        outputs = {"artifacts": self._artifacts(plan), "parameters": self._parameters(plan)}
        label, members = f"exec-{name}", [*self._group.tasks]
        self._spec["components"][f"comp-{name}"] = {
            "executorLabel": label,
            "inputDefinitions": _filled(self._taken),
            "outputDefinitions": _filled(outputs),
        }
        self._spec["deploymentSpec"]["executors"][label] = {"container": self._container(name, plan, outputs)}
        former = [self._tasks.pop(member) for member in members]
        self._tasks[name] = self._task(name, former)

    def _component(self, task: dict[str, Any]) -> dict[str, Any]:
        component: dict[str, Any] = self._spec["components"][task["componentRef"]["name"]]
        return component

    def _containers(self) -> list[dict[str, Any]]:
        executors = self._spec["deploymentSpec"]["executors"]
        return [executors[self._component(task)["executorLabel"]]["container"] for task in self._inner.values()]

    def _name(self) -> str:
        """Return a name that no other task or component has: of the first and the last step."""
        names = [*self._inner]
        first, last = names[0], names[-1]
        name = first if first == last else f"{first}-to-{last}"
        name += "-one-by-one" if self._loop else ""
        others = {*self._tasks} - {*self._group.tasks} | {each[5:] for each in self._spec["components"]}
        while name in others:
            name += "-fused"
        return name

    def _step(self, name: str, task: dict[str, Any]) -> Step:
        component = self._component(task)
        label = component["executorLabel"]
        container = self._spec["deploymentSpec"]["executors"][label]["container"]
        defined, put_out = component.get("inputDefinitions", {}), component.get("outputDefinitions", {})
        given = task.get("inputs", {})
        parameters = {
            each: self._parameter(name, each, source, defined["parameters"][each])
            for each, source in sorted(given.get("parameters", {}).items())
        }
        artifacts = {
            each: self._artifact(name, each, source, defined["artifacts"][each])
            for each, source in sorted(given.get("artifacts", {}).items())
        }
        for each, definition in sorted(defined.get("parameters", {}).items()):
            if each not in parameters and "defaultValue" in definition:  # of the component, which the engine fills in
                parameters[each] = self._take("parameters", name, each, None, definition)
        return {
            "name": name,
            "function": function(container),
            "source": container["command"][-1],
            "executor": label.removeprefix("exec-"),
            "inputs": {"parameters": parameters, "artifacts": artifacts},
            "outputs": {
                "parameters": {
                    each: definition["parameterType"]
                    for each, definition in sorted(put_out.get("parameters", {}).items())
                },
                "artifacts": {
                    each: definition["artifactType"]
                    for each, definition in sorted(put_out.get("artifacts", {}).items())
                },
            },
        }

    def _parameter(self, step: str, name: str, source: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
        """Return where a step's parameter comes from; from outside it becomes an input of the one task."""
        produced = source.get("taskOutputParameter", {})
        if produced.get("producerTask") in self._inner:
            of = [produced["producerTask"], produced["outputParameterKey"]]
            return {"of": of, "type": definition["parameterType"]}
        if self._loop and "componentInputParameter" in source:
            channel = source["componentInputParameter"]
            if channel == self._loop["parameterIterator"]["itemInput"]:
                return {"item": True, "type": definition["parameterType"]}
            source = self._loop["inputs"]["parameters"][channel]
        return self._take("parameters", step, name, source, definition)

    def _artifact(self, step: str, name: str, source: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
        """Return where a step's artifact comes from; from outside it becomes an input of the one task."""
        produced, is_list = source.get("taskOutputArtifact", {}), bool(definition.get("isArtifactList"))
        producer = produced.get("producerTask")
        if producer in self._inner:
            return {"of": [producer, produced["outputArtifactKey"]], "list": is_list}
        if self._loop and "componentInputArtifact" in source:
            source = self._loop["inputs"]["artifacts"][source["componentInputArtifact"]]
        if is_list and producer and self._component(self._tasks[producer]).get("executorLabel"):
            taken = self._take("artifacts", step, name, source, {"artifactType": ARTIFACT})  # a fused loop's
            return {"collected": taken["outer"]}
        taken = self._take("artifacts", step, name, source, definition)
        return taken | {"type": definition["artifactType"], "list": is_list}

    def _take(
        self, kind: str, step: str, name: str, source: dict[str, Any] | None, definition: dict[str, Any]
    ) -> dict[str, Any]:
        outer = key(step, name)
        if source is not None:
            self._inputs[kind][outer] = source
        self._taken[kind][outer] = definition
        return {"outer": outer} | ({"type": definition["parameterType"]} if kind == "parameters" else {})

    def _plan_of_loop(self, loop: dict[str, Any]) -> plans.Loop:
        iterator = loop["parameterIterator"]
        defined = self._body["inputDefinitions"]["parameters"]
        items, kind = iterator["items"], defined[iterator["itemInput"]]["parameterType"]
        if "raw" in items:
            return {"name": self._group.tasks[0], "items": {"constant": items["raw"]}, "type": kind}
        channel = items["inputParameter"]
        definition = {"parameterType": defined.get(channel, {}).get("parameterType", "LIST")}
        taken = self._take("parameters", "loop", "items", loop["inputs"]["parameters"][channel], definition)
        return {"name": self._group.tasks[0], "items": taken, "type": kind}

    def _rewire(self, name: str) -> None:
        """Let what names an output of the group name it of the one task."""
        for other, task in self._tasks.items():
            if other in self._group.tasks:
                continue
            for sources in task.get("inputs", {}).values():
                for source in sources.values():
                    self._rename(source.get("taskOutputArtifact"), "producerTask", "outputArtifactKey", name)
                    self._rename(source.get("taskOutputParameter"), "producerTask", "outputParameterKey", name)
            waits = task.get("dependentTasks", [])
            if not {*self._group.tasks}.isdisjoint(waits):
                task["dependentTasks"] = sorted({name if each in self._group.tasks else each for each in waits})
        outputs = self._dag.get("outputs", {})
        for artifact in outputs.get("artifacts", {}).values():
            for selector in artifact["artifactSelectors"]:
                self._rename(selector, "producerSubtask", "outputArtifactKey", name)
        for parameter in outputs.get("parameters", {}).values():
            one, several = parameter.get("valueFromParameter"), parameter.get("valueFromOneof", {})
            for selector in (one, *several.get("parameterSelectors", ())):
                self._rename(selector, "producerSubtask", "outputParameterKey", name)

    def _rename(self, source: dict[str, Any] | None, producer: str, output: str, name: str) -> None:
        if source is None or source[producer] not in self._group.tasks:
            return
        step, put_out = source[producer], source[output]
        if self._loop:  # whose output is one of its steps'
            inner = self._body["dag"]["outputs"]
            if output == "outputArtifactKey":
                selector = inner["artifacts"][put_out]["artifactSelectors"][0]
                step, put_out = selector["producerSubtask"], selector["outputArtifactKey"]
            else:
                selector = inner["parameters"][put_out]["valueFromParameter"]
                step, put_out = selector["producerSubtask"], selector["outputParameterKey"]
        if output == "outputParameterKey" and [step, put_out] not in self._exported:
            self._exported.append([step, put_out])
        source |= {producer: name, output: key(step, put_out)}

    def _artifacts(self, plan: Plan) -> dict[str, Any]:
        """Return the definitions of the output artifacts: all of the steps', and the record of what has run."""
        found = {}
        for step, task in zip(plan["steps"], self._inner.values(), strict=True):
            put_out = self._component(task).get("outputDefinitions", {}).get("artifacts", {})
            for each, definition in sorted(put_out.items()):
                found[key(step["name"], each)] = {"artifactType": ARTIFACT} if self._loop else definition
        return found | {RECORD: {"artifactType": ARTIFACT, "description": "What has run in this task, as JSON."}}

    def _parameters(self, plan: Plan) -> dict[str, Any]:
        """Return the definitions of the output parameters, of those that anything takes; a loop's are lists."""
        kinds = {step["name"]: step["outputs"]["parameters"] for step in plan["steps"]}
        return {
            key(step, output): {"parameterType": "LIST" if self._loop else kinds[step][output]}
            for step, output in plan["returns"]
        }

    def _container(self, name: str, plan: Plan, outputs: dict[str, Any]) -> dict[str, Any]:
        containers = self._containers()
        called = f"fused_{name.replace('-', '_')}"
        command = [*_installing(containers), *containers[0]["command"][-4:-1]]
        source = shipped(_source(called, plan, self._taken, outputs), "pipeline.fusing.running")
        args = ["--executor_input", "{{$}}", "--function_to_execute", called]
        return containers[0] | {"command": [*command, source], "args": args}

    def _task(self, name: str, former: list[dict[str, Any]]) -> dict[str, Any]:
        inner = [*self._inner.values()]
        titles = [task.get("taskInfo", {}).get("name", each) for each, task in self._inner.items()]
        title = " + ".join(titles) + (", one by one" if self._loop else "")
        waits = {each for task in former for each in task.get("dependentTasks", ())} - {*self._group.tasks}
        cached = all(task.get("cachingOptions", {}).get("enableCache") for task in inner)
        made: dict[str, Any] = {
            "componentRef": {"name": f"comp-{name}"},
            "cachingOptions": {"enableCache": True} if cached else {},
            "inputs": _filled(self._inputs),
            "taskInfo": {"name": title[:120]},
        }
        if waits:
            made["dependentTasks"] = sorted(waits)
        policies = [task.get("retryPolicy", {}) for task in inner]
        if all(policies):  # one that is not to run again keeps the others from it
            made["retryPolicy"] = min(policies, key=lambda policy: policy.get("maxRetryCount", 0))
        return made


def _filled(kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {kind: of for kind, of in kinds.items() if of}


def _source(name: str, plan: Plan, inputs: dict[str, Any], outputs: dict[str, Any]) -> str:
    """Return the source of a fused task's function, whose signature says to kfp's executor what goes in and out."""
    arguments = [
        f"{each}: {PYTHON[definition['parameterType']]} = None" for each, definition in inputs["parameters"].items()
    ]
    for each, definition in inputs["artifacts"].items():
        kind = "Input[List[Artifact]]" if definition.get("isArtifactList") else "Input[Artifact]"
        arguments.append(f"{each}: {kind} = None")
    arguments += [f"{each}: Output[Artifact] = None" for each in outputs["artifacts"]]
    fields = ", ".join(f"({each!r}, {PYTHON[of['parameterType']]})" for each, of in outputs["parameters"].items())
    returned = f' -> NamedTuple("Outputs", [{fields}])' if fields else ""
    result = "return " if fields else ""
    listed = "".join(f"    {argument},\n" for argument in arguments)
    return (
        f"import kfp\nfrom kfp import dsl\nfrom kfp.dsl import *\nfrom typing import *\n{plans.packed(plan)}\n\n"
        f"def {name}(\n{listed}){returned}:\n"
        f"    given = dict(locals())\n"
        f"    from pipeline.fusing.running import run_steps\n\n"
        f"    {result}run_steps({plans.NAME}, given)\n"
    )


def _installing(containers: list[dict[str, Any]]) -> list[str]:
    """Return the commands that install the packages of all steps: at once, where they are as kfp writes them."""
    commands = [container["command"][:-4] for container in containers]
    several = [command for place, command in enumerate(commands) if command and command not in commands[:place]]
    if len(several) < 2:
        return several[0] if several else []
    found = [match for command in several if (match := INSTALL.search(command[-1]))]
    if len(found) == len(several) and len({INSTALL.sub(r"\1", command[-1], count=1) for command in several}) == 1:
        asked = sorted({package for match in found for package in re.findall(r"'[^']*'", match[2])})
        merged = INSTALL.sub(lambda match: f"{match[1]}{' '.join(asked)} ", several[0][-1], count=1)
        return [*several[0][:-1], merged]
    return [word for command in several for word in command]  # each runs the next


def _drop_unused(spec: dict[str, Any]) -> None:
    """Remove the components and executors that no task names any more."""
    used: set[str] = set()
    dags = [spec["root"]["dag"]]
    while dags:
        for task in dags.pop()["tasks"].values():
            name = task["componentRef"]["name"]
            if name not in used and "dag" in spec["components"][name]:
                dags.append(spec["components"][name]["dag"])
            used.add(name)
    spec["components"] = {name: each for name, each in spec["components"].items() if name in used}
    labels = {component.get("executorLabel") for component in spec["components"].values()}
    executors = spec["deploymentSpec"]["executors"]
    spec["deploymentSpec"]["executors"] = {label: each for label, each in executors.items() if label in labels}
