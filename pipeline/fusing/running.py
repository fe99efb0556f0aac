"""Runs the steps of a fused task one after the other, each as KFP would: where the task runs, with kfp and no more.

Each step runs through kfp's own executor, in a process of its own, on its own ExecutorInput: what it leaves behind in
memory is gone before the next begins. Its outputs are where they would be, below a folder beside the fused task's own,
which name them. What has run is written to the record, one of these outputs, after each step.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from typing import Any

RECORD = "steps"  # the output that says what has run
ROOT = "/"  # in it: the folder of the fused task's outputs
ITEMS = "items.json"  # in an output that holds one of each iteration of a loop: their metadata


def execute(source: str, function: str, executor_input: dict[str, Any]) -> str | None:
    """Execute a step through kfp's executor; if it raises, return what to tell. Engines may put their own in place."""
    from kfp.dsl.executor import Executor

    folder = tempfile.mkdtemp(prefix="step-")
    try:
        path = os.path.join(folder, "ephemeral_component.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location("ephemeral_component", path)
        if spec is None or spec.loader is None:
            raise ImportError(path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        Executor(executor_input, getattr(module, function)).execute()
    except SystemExit as error:
        return None if error.code in (None, 0) else f"it ended with status {error.code}"
    except BaseException as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


def run_steps(plan: dict[str, Any], given: dict[str, Any]) -> tuple[Any, ...]:
    """Run the steps of a plan, and return the parameters that it puts out.

    Args:
        plan: The steps, as pipeline.fusing.plans has them.
        given: The inputs and output artifacts of the fused task, as kfp's executor has made them.

    Raises:
        SystemExit: a step has failed; its own traceback stands in the log.
    """
    task = _Task(plan, given)
    task.write_record()
    loop = plan.get("loop")
    if loop is None:
        for step in plan["steps"]:
            task.run(step)
    else:
        items = task.items(loop["items"])
        for place, item in enumerate(items):
            for step in plan["steps"]:
                task.run(step, place, _typed(item, loop["type"]))
        task.collect()
    return tuple(task.returned(step, output) for step, output in plan["returns"])


class _Task:
    """A fused task as it runs."""

    def __init__(self, plan: dict[str, Any], given: dict[str, Any]):
        self._plan, self._given = plan, given
        self._record: list[dict[str, Any]] = []
        self._ended: dict[str, dict[str, Any]] = {}  # the outputs of the steps so far; in a loop of this iteration
        root = _root(given[RECORD])
        self._places = {root: f"{ROOT}/0"}  # of what comes in, and of what is put out
        for key, value in given.items():
            for place, artifact in enumerate(value if isinstance(value, list) else [value]):
                if hasattr(artifact, "uri") and not artifact.uri.startswith(f"{root}/"):
                    self._places[artifact.uri] = f"{key}/{place}"
        self._collected: dict[str, dict[str, dict[str, list[Any]]]] = {
            step["name"]: {"parameters": {}, "artifacts": {}} for step in plan["steps"]
        }

    def items(self, source: dict[str, Any]) -> list[Any]:
        """Return the items of the loop."""
        items = source["constant"] if "constant" in source else self._given[source["outer"]]
        return [*(json.loads(items) if isinstance(items, str) else items)]

    def run(self, step: dict[str, Any], place: int | None = None, item: Any = None) -> None:
        """Run a step.

        Args:
            step: The step.
            place: Place of the iteration, where the steps are those of a loop.
            item: Its item.
        """
        name = step["name"] if place is None else f"{step['name']}, item {item!r:.60}"
        print(f"Step {name}", flush=True)
        inputs = self._inputs(step, item)
        record = {"name": step["name"], "place": place, "item": item, "inputs": self._referred(inputs)}
        self._record.append(record | {"state": "running"})
        self.write_record()
        begun, outputs = time.monotonic(), self._outputs(step, place)
        told = _in_process(step, {"inputs": inputs, "outputs": outputs})
        record["seconds"] = round(time.monotonic() - begun, 3)
        if told is None:
            found = _put_out(step, outputs)
            self._ended[step["name"]] = found
            self._take(step["name"], found, place)
            record |= {"state": "succeeded", "outputs": self._referred(found)}
        else:
            record |= {"state": "failed", "error": told}
        self._record[-1] = record
        self.write_record()
        if told is not None:
            print(f"Error: in the step {name}: {told}", file=sys.stderr, flush=True)
            raise SystemExit(1)

    def returned(self, step: str, output: str) -> Any:
        """Return a parameter that the fused task puts out; of a loop the list of all."""
        if self._plan.get("loop") is not None:
            return self._collected[step]["parameters"].get(output, [])
        return self._ended[step]["parameters"].get(output)

    def collect(self) -> None:
        """Write down what there is of each iteration in the outputs that hold one of each."""
        for step in self._plan["steps"]:
            for output in step["outputs"]["artifacts"]:
                outer = self._given[key(step["name"], output)]
                os.makedirs(outer.path, exist_ok=True)
                listed = self._collected[step["name"]]["artifacts"].get(output, [])
                kept = [artifact | {"uri": _below(artifact["uri"], _root(outer))} for artifact in listed]
                with open(os.path.join(outer.path, ITEMS), "w", encoding="utf-8") as file:
                    json.dump(kept, file)

    def _inputs(self, step: dict[str, Any], item: Any) -> dict[str, Any]:
        """Return the inputs of a step as KFP's ExecutorInput.Inputs."""
        parameters, artifacts = {}, {}
        for name, source in step["inputs"]["parameters"].items():
            if "of" in source:
                value = self._ended[source["of"][0]]["parameters"].get(source["of"][1])
            else:
                value = item if "item" in source else self._given.get(source["outer"])
            if value is not None:
                parameters[name] = _typed(value, source["type"])
        for name, source in step["inputs"]["artifacts"].items():
            if "of" in source:
                listed = self._ended[source["of"][0]]["artifacts"].get(source["of"][1], [])
            elif "collected" in source:
                listed = _items_of(self._given[source["collected"]])
            else:
                found = self._given.get(source["outer"])
                among = found if isinstance(found, list) else [] if found is None else [found]
                listed = [_message(artifact, source["type"]) for artifact in among]
                if found is None and not source["list"]:
                    continue
            artifacts[name] = {"artifacts": listed}
        return {"parameterValues": parameters} | ({"artifacts": artifacts} if artifacts else {})

    def _outputs(self, step: dict[str, Any], place: int | None) -> dict[str, Any]:
        """Return where a step puts its outputs, as KFP's ExecutorInput.Outputs."""
        within = "/".join(("inside", step["name"], *([] if place is None else [str(place)])))
        folder = os.path.join(os.path.dirname(self._given[RECORD].path), *within.split("/"))
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt before
        os.makedirs(folder)
        outputs: dict[str, Any] = {"outputFile": os.path.join(folder, "executor_output.json")}
        if step["outputs"]["parameters"]:
            outputs["parameters"] = {
                name: {"outputFile": os.path.join(folder, name)} for name in step["outputs"]["parameters"]
            }
        artifacts = {}
        for name, kind in step["outputs"]["artifacts"].items():
            outer = self._given[key(step["name"], name)]
            message = _message(outer, kind) | {"uri": f"{_root(self._given[RECORD])}/{within}/{name}"}
            artifacts[name] = {"artifacts": [message]}
        return outputs | ({"artifacts": artifacts} if artifacts else {})

    def _take(self, name: str, found: dict[str, Any], place: int | None) -> None:
        """Hand what a step has put out to the outputs of the fused task."""
        if place is not None:
            for kind in ("parameters", "artifacts"):
                for output, value in found[kind].items():
                    among = self._collected[name][kind].setdefault(output, [])
                    among += value if kind == "artifacts" else [value]
            return
        for output, listed in found["artifacts"].items():
            outer = self._given[key(name, output)]
            outer.uri = listed[0]["uri"]
            outer.metadata.update(listed[0]["metadata"])

    def write_record(self) -> None:
        """Write down what has run so far."""
        with open(self._given[RECORD].path, "w", encoding="utf-8") as file:
            json.dump(self._record, file)

    def _referred(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return inputs or outputs with the addresses of what comes in, or is put out here, by their names."""
        longest_first = sorted(self._places, key=len, reverse=True)

        def referred(value: Any) -> Any:
            if isinstance(value, list):
                return [referred(each) for each in value]
            if not isinstance(value, dict):
                return value
            if isinstance(value.get("uri"), str) and "metadata" in value:
                uri = value["uri"]
                for place in longest_first:
                    if uri == place or uri.startswith(f"{place}/"):
                        return value | {"uri": "", "of": self._places[place], "below": uri[len(place) :]}
                return value
            return {key: referred(each) for key, each in value.items()}

        found: dict[str, Any] = referred(values)
        return found


def _in_process(step: dict[str, Any], executor_input: dict[str, Any]) -> str | None:
    """Execute a step in a process of its own, where the system can fork; return what to tell if it fails."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return execute(step["source"], step["function"], executor_input)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_execute, args=(sender, step, executor_input))
    process.start()
    sender.close()
    try:
        told: str | None = receiver.recv()
    except EOFError:
        told = None
        process.join()
        if process.exitcode == 0:
            told = "its process ended without a word"
    process.join()
    if told is None and process.exitcode:
        how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"status {process.exitcode}"
        told = f"its process was ended by {how}" + (
            ", which often means that the memory ran out" if process.exitcode == -9 else ""
        )
    return told


def _execute(sender: Any, step: dict[str, Any], executor_input: dict[str, Any]) -> None:
    told = execute(step["source"], step["function"], executor_input)
    sys.stdout.flush()
    sys.stderr.flush()
    sender.send(told)
    sender.close()


def _put_out(step: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Return what a step has put out: parameters, and lists of RuntimeArtifacts."""
    written: dict[str, Any] = {}
    if os.path.exists(outputs["outputFile"]):
        with open(outputs["outputFile"], encoding="utf-8") as file:
            written = json.load(file)
    parameters = dict(written.get("parameterValues", {}))
    for name, kind in step["outputs"]["parameters"].items():
        path = outputs["parameters"][name]["outputFile"]
        if name not in parameters and os.path.isfile(path):  # of an OutputPath
            with open(path, encoding="utf-8") as file:
                text = file.read()
            parameters[name] = text if kind == "STRING" else json.loads(text.lower() if kind == "BOOLEAN" else text)
    artifacts = {}
    for name, given in outputs.get("artifacts", {}).items():
        listed = written.get("artifacts", {}).get(name, {}).get("artifacts", [{}])
        artifacts[name] = [given["artifacts"][0] | each for each in listed]
        for artifact in artifacts[name]:
            _bring(artifact)
    return {"parameters": parameters, "artifacts": artifacts}


def _bring(artifact: dict[str, Any]) -> None:
    """Bring what a step has written to a path of its own to the artifact's address, as a service does."""
    from kfp.dsl import Artifact

    custom, target = artifact.pop("custom_path", None), Artifact(uri=artifact["uri"]).path
    if not custom or not os.path.exists(custom) or os.path.exists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(custom):
        shutil.copytree(custom, target)
    else:
        shutil.copyfile(custom, target)


def _items_of(outer: Any) -> list[Any]:
    """Return the artifacts that a fused loop has left in one of its outputs, one of each iteration."""
    with open(os.path.join(outer.path, ITEMS), encoding="utf-8") as file:
        kept: list[Any] = json.load(file)
    for artifact in kept:
        if artifact["uri"].startswith("./"):
            artifact["uri"] = _root(outer) + artifact["uri"][1:]
    return kept


def _root(output: Any) -> str:
    """Return the address of the folder that the outputs of a fused task are in."""
    return str(output.uri).rpartition("/")[0]


def _below(uri: str, outer: str) -> str:
    """Return an address, from another on where it lies below that."""
    return f".{uri[len(outer) :]}" if uri.startswith(f"{outer}/") else uri


def _message(artifact: Any, kind: dict[str, Any]) -> dict[str, Any]:
    """Return an artifact of kfp's executor as KFP's RuntimeArtifact, of the type that the step's component has."""
    return {"name": artifact.name, "type": kind, "uri": artifact.uri, "metadata": dict(artifact.metadata)}


def key(step: str, name: str) -> str:
    """Return the name of a fused task's input or output that is one of its steps'."""
    return f"{step.replace('-', '_')}__{name}"


def _typed(value: Any, kind: str) -> Any:
    """Return a whole number as one: a service may carry all numbers as doubles."""
    whole = kind == "NUMBER_INTEGER" and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
