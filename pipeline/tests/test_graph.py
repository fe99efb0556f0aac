import json
import os
import time

import pytest
import yaml

from pipeline import RequestError, compiler, graph, loading

EXECUTOR = {"container": {"args": ["--function_to_execute", "f"], "command": ["python", "-c", "def f(): pass"]}}


def spec(**changes):
    """Return a small spec with some of its parts changed."""
    whole = {
        "pipelineInfo": {"name": "p"},
        "root": {"dag": {"tasks": {"a": {"componentRef": {"name": "comp-a"}}}}},
        "components": {"comp-a": {"executorLabel": "exec-a"}},
        "deploymentSpec": {"executors": {"exec-a": EXECUTOR}},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
    }
    return whole | changes


def dag(**tasks):
    return {"dag": {"tasks": tasks}}


def task(component="comp-a", **more):
    return {"componentRef": {"name": component}, **more}


def executor(**changes):
    return {"deploymentSpec": {"executors": {"exec-a": {"container": EXECUTOR["container"] | changes}}}}


def bomb(depth=40):
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, depth))]
    return yaml.safe_dump(spec()) + "\n".join(lines)


CIRCLE = {"a": task(dependentTasks=["b"]), "b": task(dependentTasks=["a"])}
DAMAGED = {
    "half a file": yaml.safe_dump(spec())[:150],
    "nothing": b"",
    "no text": bytes(range(256)),
    "a list for tasks": spec(root={"dag": {"tasks": [1]}}),
    "a number for a task": spec(root=dag(a=1)),
    "a text for executors": spec(deploymentSpec={"executors": "x"}),
    "null for a name": spec(pipelineInfo={"name": None}),
    "no component of a task": spec(components={}),
    "no components": {name: part for name, part in spec().items() if name != "components"},
    "a component that is nothing": spec(components={"comp-a": {}}),
    "a text for retries": spec(root=dag(a=task(retryPolicy={"maxRetryCount": "many"}))),
    "a number for a limit": spec(**executor(resources={"resourceCpuLimit": 5})),
    "a number for arguments": spec(**executor(args=5)),
    "no name of the function": spec(**executor(args=["--function_to_execute"])),
    "no command": spec(**executor(command=[])),
    "flows 10,000 deep": yaml.safe_dump(spec()) + "deep: " + "[" * 10_000 + "]" * 10_000,
    "flows 900 deep": yaml.safe_dump(spec()) + "deep: " + "[" * 900 + "]" * 900,
    "blocks 10,000 deep": yaml.safe_dump(spec()) + "deep:\n  " + "- " * 10_000 + "x",
    "aliases that stand for much": bomb(),
    "an anchor that refers to itself": yaml.safe_dump(spec()) + "itself: &a [*a]",
    "a second document that stands for much": f"{yaml.safe_dump(spec())}---\n{bomb()}",
    "a date": yaml.safe_dump(spec()) + "day: 2001-02-03",
    "no date": yaml.safe_dump(spec()) + "day: 2001-99-99",
    "a number of 5,000 digits": yaml.safe_dump(spec()) + f"large: {'1' * 5_000}",
    "tasks that wait for each other": spec(root=dag(**CIRCLE)),
    "a task that waits for itself": spec(root=dag(a=task(dependentTasks=["a"]))),
    "a component in itself": spec(root=dag(a=task("comp-b")), components={"comp-b": dag(a=task("comp-b"))}),
    "components that stand for much": spec(
        root=dag(a=task("comp-0")),
        components={
            "comp-a": {"executorLabel": "exec-a"},
            **{f"comp-{n}": dag(a=task(f"comp-{n + 1}"), b=task(f"comp-{n + 1}")) for n in range(60)},
            "comp-60": dag(a=task()),
        },
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_spec_is_told_in_a_few_lines(tmp_path, case):
    path, damaged = tmp_path / "spec.yaml", DAMAGED[case]
    path.write_bytes(
        damaged
        if isinstance(damaged, bytes)
        else (damaged if isinstance(damaged, str) else yaml.safe_dump(damaged)).encode()
    )
    begun = time.monotonic()
    for read, name in ((graph.load, path), (loading.load, str(path))):
        with pytest.raises(RequestError) as told:
            read(name)
        assert len(str(told.value).splitlines()) <= 3
        assert len(str(told.value)) < 800
    assert time.monotonic() - begun < 5


def test_what_is_no_regular_file_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    for name in ("pipe.yaml", "folder.yaml", "circle.yaml", "gone.yaml"):
        for read, path in ((graph.load, tmp_path / name), (loading.load, str(tmp_path / name))):
            with pytest.raises(RequestError, match=r"cannot be read: .+\."):
                read(path)


def test_spec_of_other_tools_is_read(tmp_path):
    path = tmp_path / "spec.json"
    whole = spec(root=dag(b=task(dependentTasks=["a"]), a=task(retryPolicy={"maxRetryCount": "3"}, unknown={"x": [1]})))
    path.write_text(yaml.safe_dump_all([whole, {"platforms": {"kubernetes": {}}}]))
    found = graph.nodes(graph.load(path))
    assert [(node.name, node.retries) for node in found] == [("a", 3), ("b", 0)]


def test_tasks_stand_behind_those_that_they_depend_on_else_in_their_order(tmp_path):
    path = tmp_path / "spec.yaml"
    compiler.compile_pipeline(loading.load("training"), path)
    found = graph.load(path)
    tasks = found["root"]["dag"]["tasks"]
    ordered = [*graph.in_order(tasks)]
    assert {*ordered} == {*tasks}
    for name, each in tasks.items():
        assert all(ordered.index(other) < ordered.index(name) for other in each.get("dependentTasks", ()))


@pytest.mark.parametrize("source", ["def f(:", "\0", "(" * 5_000, "ShippedModules()", "ShippedModules('!')"])
def test_source_that_is_no_python_is_told(tmp_path, source):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec(**executor(command=["python", source]))))
    (container,) = graph.containers(graph.load(path)).values()
    with pytest.raises(RequestError, match="The source of f cannot be read: "):
        graph.sources(container)
