"""Tasks of a chain joined into one: the same figures, records and failures, wherever the spec runs."""

# ruff: noqa: UP006, UP035 - kfp reads List[int], not list[int]

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import List

import pytest
import yaml
from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from pipeline import ROOT, __main__, compiler, files, graph, loading
from pipeline.fusing import joining, records
from pipeline.fusing.chains import groups
from pipeline.runs import Task
from pipeline.target import Target
from pipeline.tests import mutations

IMAGE = "python:3.11"


@dsl.component(base_image=IMAGE)
def write(text: str, wrote: Output[Dataset]):
    with open(wrote.path, "w") as file:
        file.write(text)
    wrote.metadata["length"] = len(text)


@dsl.component(base_image=IMAGE)
def again(given: Input[Dataset], wrote: Output[Dataset], also: str = "") -> int:
    with open(given.path) as file, open(wrote.path, "w") as out:
        out.write(file.read() + also)
    wrote.metadata["length"] = given.metadata["length"] + len(also)
    return wrote.metadata["length"]


@dsl.component(base_image=IMAGE)
def refuse(given: Input[Dataset]):
    raise ValueError(f"{given.metadata['length']} characters are too many")


@dsl.component(base_image=IMAGE)
def divide(given: Input[Dataset]):
    print(given.metadata["length"] / 0)


@dsl.component(base_image=IMAGE)
def vanish(given: Input[Dataset]):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@dsl.component(base_image=IMAGE)
def both(left: Input[Dataset], right: Input[Dataset]) -> str:
    with open(left.path) as one, open(right.path) as other:
        return one.read() + other.read()


@dsl.component(base_image=IMAGE)
def numbers() -> List[int]:
    return [3, 1, 2]


@dsl.component(base_image=IMAGE)
def all_of(given: Input[List[Dataset]], places: List[int]) -> str:
    texts = []
    for each in given:
        with open(each.path) as file:
            texts.append(f"{file.read()}:{each.metadata['length']}")
    return f"{texts} {places}"


@dsl.component(base_image=IMAGE)
def number_of(number: int, wrote: Output[Dataset]) -> int:
    with open(wrote.path, "w") as file:
        file.write("x" * number)
    wrote.metadata["length"] = number
    return number * 10


def fused(pipeline, engine="local", profile="small"):
    return graph.parsed(compiler.compiled(pipeline, Target(engine, profile, fuse=True)))


def joined(pipeline):
    spec = graph.parsed(compiler.compiled(pipeline))
    return sorted(group.tasks for group in groups(spec, spec["root"]["dag"]))


def run(local_run, tmp_path, pipeline, *arguments):
    """Run the fused spec of a pipeline."""
    compiler.compile_pipeline(pipeline, tmp_path / "fused.yaml", Target(fuse=True))
    return local_run("--identifier", "x", "--pipeline", str(tmp_path / "fused.yaml"), *arguments)


def states(record):
    return {task["path"]: task["state"] for task in record["tasks"]}


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        ("small", ["prepare-data-to-preprocess", "train-model-one-by-one", "combine-models-to-promote-model"]),
        ("standard", ["prepare-data-to-preprocess", "train-model", "combine-models-to-promote-model"]),
        ("large", ["prepare-data-to-preprocess", "train-model", "combine-models-to-promote-model"]),
    ],
)
def test_training_needs_three_starts_one_after_the_other(profile, names):
    nodes = graph.nodes(fused(loading.load("training"), "vertex", profile))
    assert [node.name for node in nodes] == names
    steps = [step.name for node in nodes for step in node.steps]
    assert steps == [node.name for node in graph.nodes(graph.parsed(compiler.compiled(loading.load("training"))))]
    machines = [(node.cpus, node.memory) for node in nodes]
    assert machines[1] == {"small": ("2", "8G"), "standard": ("8", "32G"), "large": ("32", "128G")}[profile]
    assert machines[0] == machines[2]


def test_the_same_pipeline_makes_the_same_spec():
    training = loading.load("training")
    assert compiler.compiled(training, Target(fuse=True)) == compiler.compiled(training, Target(fuse=True))


def test_what_is_fused_runs_again_only_if_each_of_its_steps_does():
    dag = fused(loading.load("training"), "vertex")["root"]["dag"]["tasks"]
    plain = graph.parsed(compiler.compiled(loading.load("training"), Target("vertex", "small")))["root"]["dag"]["tasks"]
    for task, members in {
        "prepare-data-to-preprocess": ("prepare-data", "split-data", "preprocess"),
        "combine-models-to-promote-model": ("combine-models", "evaluate-model", "promote-model"),
    }.items():
        assert ("retryPolicy" in dag[task]) == all("retryPolicy" in plain[member] for member in members)
    assert dag["combine-models-to-promote-model"]["cachingOptions"] == {}  # a promotion is never cached
    assert dag["prepare-data-to-preprocess"]["cachingOptions"] == {"enableCache": True}


class TestChains:
    def test_one_behind_the_other(self):
        @dsl.pipeline(name="chain")
        def chain(text: str = "a"):
            again(given=again(given=write(text=text).output).outputs["wrote"])

        assert joined(chain) == [("write", "again", "again-2")]

    def test_branches_side_by_side_stay_so(self):
        @dsl.pipeline(name="branches")
        def branches():
            start = write(text="a")
            left, right = again(given=start.output), again(given=start.output)
            both(left=left.outputs["wrote"], right=right.outputs["wrote"])

        assert joined(branches) == []

    def test_nobody_waits_longer_than_before(self):
        @dsl.pipeline(name="waiting")
        def waiting():
            first = write(text="a")
            second = again(given=first.output)
            again(given=first.output)  # beside the second: it would have to wait for both
            again(given=second.outputs["wrote"])

        assert joined(waiting) == [("again", "again-3")]

    def test_another_machine_starts_another_task(self):
        @dsl.pipeline(name="machines")
        def machines():
            again(given=write(text="a").output).set_cpu_limit("8")

        assert joined(machines) == []

    def test_another_variable_too(self):
        @dsl.pipeline(name="variables")
        def variables():
            again(given=write(text="a").output).set_env_variable("MODE", "fast")

        assert joined(variables) == []

    def test_packages_in_two_versions_cannot_be_installed_together(self):
        def step(given: Input[Dataset]):
            print(given.path)

        older = dsl.component(step, base_image=IMAGE, packages_to_install=["pandas==3.0.0", "joblib==1.6.0"])
        newer = dsl.component(step, base_image=IMAGE, packages_to_install=["pandas==3.1.1"])

        @dsl.pipeline(name="versions")
        def versions():
            start = write(text="a")
            newer(given=start.output).after(older(given=start.output))

        assert joined(versions) == [("write", "step-2")]

    def test_packages_of_all_are_installed_at_once(self):
        def first(wrote: Output[Dataset]):
            print(wrote.path)

        def second(given: Input[Dataset]):
            print(given.path)

        one = dsl.component(first, base_image=IMAGE, packages_to_install=["pandas==3.1.1", "joblib==1.6.0"])
        two = dsl.component(second, base_image=IMAGE, packages_to_install=["joblib==1.6.0", "numpy==2.4.6"])

        @dsl.pipeline(name="packages")
        def packages():
            two(given=one().output)

        (container,) = graph.containers(fused(packages)).values()
        assert graph.packages(container) == ("joblib==1.6.0", "numpy==2.4.6", "pandas==3.1.1")
        assert len(graph.installs(container)) == 2  # kfp's own is the other

    def test_what_has_a_condition_or_an_exit_stays_alone(self):
        @dsl.pipeline(name="conditions")
        def conditions():
            start = write(text="a")
            first = again(given=start.output)
            with dsl.If(first.outputs["Output"] > 3):
                again(given=first.outputs["wrote"])

        assert joined(conditions) == [("write", "again")]

    def test_sources_that_are_too_long_for_one_command_are_several_tasks(self, monkeypatch):
        monkeypatch.setattr(joining, "MOST_BYTES", 40_000)
        nodes = graph.nodes(fused(loading.load("training"), "vertex", "small"))
        assert len(nodes) > 3
        assert [step.name for node in nodes for step in node.steps][-1] == "promote-model"

    def test_a_loop_that_hands_what_it_collects_to_nobody_here_stays_as_it_is(self):
        @dsl.pipeline(name="loops")
        def loops() -> List[Dataset]:
            with dsl.ParallelFor(numbers().output) as number:
                made = number_of(number=number)
            return dsl.Collected(made.outputs["wrote"])

        assert joined(loops) == []


@dsl.pipeline(name="collecting")
def collecting() -> str:
    with dsl.ParallelFor(numbers().output) as number:
        made = number_of(number=number)
    return all_of(given=dsl.Collected(made.outputs["wrote"]), places=dsl.Collected(made.outputs["Output"])).output


def test_what_a_loop_has_collected_is_handed_on_in_its_order(local_run, tmp_path):
    plain = local_run("--identifier", "plain", "--pipeline", f"{Path(__file__).relative_to(ROOT)}:collecting")
    told = "['xxx:3', 'x:1', 'xx:2'] [30, 10, 20]"
    assert plain.record["outputs"] == {"Output": told}
    done = run(local_run, tmp_path, collecting, "--identifier", "joined")
    record = json.loads(next((tmp_path / "runs" / "joined").glob("2*/run.json")).read_text())
    assert done.status == 0
    assert record["outputs"] == {"Output": told}
    assert {task["path"]: task["item"] for task in record["tasks"]} == {
        task["path"]: task["item"] for task in plain.record["tasks"]
    }
    paths = {task["path"]: task for task in record["tasks"]}
    assert Path(paths["for-loop-1/1/number-of"]["outputs"]["wrote"]).read_text() == "x"
    assert paths["for-loop-1/1/number-of"]["values"] == {"Output": 10}


class TestFailures:
    def of(self, last):
        @dsl.pipeline(name="failing")
        def failing(text: str = "abc"):
            last(given=again(given=write(text=text).output).outputs["wrote"])

        return failing

    def test_says_which_step_and_why(self, local_run, tmp_path):
        done = run(local_run, tmp_path, self.of(refuse))
        assert done.status == 1
        assert states(done.record) == {"write": "succeeded", "again": "succeeded", "refuse": "failed"}
        assert "refuse failed: 3 characters are too many" in done.err
        assert done.record["tasks"][1]["values"] == {"Output": 3}

    def test_names_the_line(self, local_run, tmp_path):
        done = run(local_run, tmp_path, self.of(divide))
        assert "divide failed: ZeroDivisionError: division by zero" in done.err
        assert 'divide: print(given.metadata["length"] / 0)' in done.err

    def test_a_step_that_is_killed_is_told(self, local_run, tmp_path):
        done = run(local_run, tmp_path, self.of(vanish))
        assert "vanish failed: its process was ended by signal 9, which often means that the memory ran out" in done.err

    def test_a_step_runs_again_on_its_own_inputs(self, local_run, tmp_path, monkeypatch, capsys):
        (tmp_path / "own.py").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        assert local_run("--identifier", "x", "--pipeline", "own.py:failing", "--fuse").status == 1
        assert __main__.main(["replay", "x", "latest/refuse"]) == 1
        assert "refuse failed: 4 characters are too many" in capsys.readouterr().err
        (tmp_path / "own.py").write_text(OWN.replace("> 3", "> 5"))
        replayed = subprocess.run(
            [sys.executable, "-m", "pipeline", "replay", "x", "latest/refuse"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (replayed.returncode, replayed.stderr.count("failed")) == (0, 0), replayed.stderr


OWN = """
from kfp import dsl
from kfp.dsl import Dataset, Input, Output


@dsl.component(base_image="python:3.11")
def write(text: str, wrote: Output[Dataset]):
    with open(wrote.path, "w") as file:
        file.write(text)
    wrote.metadata["length"] = len(text)


@dsl.component(base_image="python:3.11")
def refuse(given: Input[Dataset]):
    with open(given.path) as file:
        text = file.read()
    if len(text) > 3:
        raise ValueError(f"{given.metadata['length']} characters are too many")


@dsl.pipeline(name="failing")
def failing(text: str = "abcd"):
    refuse(given=write(text=text).output)
"""


@pytest.mark.slow
def test_training_has_the_same_figures_history_and_code(local_run, capsys):
    asked = ("--identifier", "x", "--data", "sample:600", "--set", "max_iter=5")
    plain = local_run(*asked, "--no-cache").record
    fused = local_run(*asked, "--fuse").record
    assert fused["metrics"] == plain["metrics"]
    assert [(task["path"], task["item"], task["state"]) for task in sorted(fused["tasks"], key=by_path)] == [
        (task["path"], task["item"], task["state"]) for task in sorted(plain["tasks"], key=by_path)
    ]
    assert {task["path"]: sorted(task["outputs"]) for task in fused["tasks"]} == {
        task["path"]: sorted(task["outputs"]) for task in plain["tasks"]
    }
    assert fused["verdict"]["verdict"] == "tie"  # the champion is the same model
    assert {task["path"] for task in fused["tasks"] if task["cached"]} == set()
    cached = local_run(*asked, "--fuse").record
    assert {task["name"] for task in cached["tasks"] if not task["cached"]} == {
        "combine-models",
        "evaluate-model",
        "promote-model",
    }
    assert cached["metrics"] == plain["metrics"]
    assert __main__.main(["compare", "x", plain["run_id"], fused["run_id"]]) == 0
    told = capsys.readouterr().out
    assert "The source of all steps is the same." in told
    assert __main__.main(["replay", "x", f"{cached['run_id']}/train-model[3]"]) == 0


def by_path(task):
    return task["path"]


class TestOnTheService:
    @pytest.mark.slow
    def test_training_has_the_same_figures_and_history(self, vertex, local_run):
        asked = ("--identifier", "joined-elms", "--data", "sample:1500", "--set", "max_iter=20", "--no-cache")
        plain = local_run(*asked, "--engine", "local").record
        done = local_run(*asked, "--fuse")
        assert done.status == 0, done.err
        assert "3 starts, 3 in series" in done.err
        assert done.record["metrics"] == plain["metrics"]
        assert [(task["path"], task["item"]) for task in sorted(done.record["tasks"], key=by_path)] == [
            (task["path"], task["item"]) for task in sorted(plain["tasks"], key=by_path)
        ]
        assert all(task["state"] == "succeeded" for task in done.record["tasks"])
        assert {*done.record["used"]["machines"].values()} == {"e2-standard-2"}
        (job,) = [body for method, path, body in vertex.requests if method == "POST" and "joined-elms-training" in path]
        assert len(job["pipelineSpec"]["root"]["dag"]["tasks"]) == 3
        assert __main__.main(["replay", "joined-elms", "latest/train-model[2]"]) == 0

    def test_a_failed_step_is_named_and_runs_again_here(self, vertex, local_run, tmp_path, monkeypatch, capsys):
        (tmp_path / "own.py").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        done = local_run("--identifier", "joined-birches", "--pipeline", "own.py:failing", "--fuse", "--no-cache")
        assert done.status == 1
        assert states(done.record) == {"write": "succeeded", "refuse": "failed"}
        assert "refuse failed: 4 characters are too many" in done.err
        assert __main__.main(["replay", "joined-birches", "latest/refuse"]) == 1
        assert "refuse failed: 4 characters are too many" in capsys.readouterr().err


STOCK = """
import json, sys
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2], raise_on_error=True)
components.load_component_from_file(sys.argv[1])(**json.loads(sys.argv[3]))
"""


@pytest.mark.slow
def test_real_rows_have_the_same_figures_on_all_engines(local_run, covertype_csv, tmp_path):
    asked = ("--identifier", "x", "--data", str(covertype_csv), "--no-cache", "--label", "Cover_Type")
    plain = local_run(*asked).record
    fused = local_run(*asked, "--fuse").record
    isolated = local_run(*asked, "--fuse", "--isolated").record
    assert plain["metrics"]["accuracy"] > 0.88
    assert fused["metrics"] == plain["metrics"] == isolated["metrics"]

    spec = yaml.safe_load(compiler.compiled(loading.load("training"), Target(fuse=True)))
    for executor in spec["deploymentSpec"]["executors"].values():  # the packages are here
        del executor["container"]["command"][:3]
    (tmp_path / "stock.yaml").write_text(yaml.dump(spec))
    given = json.dumps(plain["parameters"] | {"champion": ""})
    subprocess.run([sys.executable, "-c", STOCK, tmp_path / "stock.yaml", tmp_path / "stock", given], check=True)
    (steps,) = (tmp_path / "stock").glob("*/combine-models-to-promote-model/steps")
    evaluated = next(step for step in json.loads(steps.read_text()) if step["name"] == "evaluate-model")
    assert evaluated["outputs"]["artifacts"]["metrics"][0]["metadata"]["accuracy"] == plain["metrics"]["accuracy"]


def test_a_damaged_record_is_refused_or_read(local_run, tmp_path):
    done = run(local_run, tmp_path, collecting)
    spec = graph.load(done.folder / "pipeline.yaml")
    path = next(done.folder.rglob("steps"))
    original = json.loads(path.read_text())
    fusion = graph.fusions(spec)["number-of-one-by-one"]
    places = {"loop__items": [], "number_of__wrote": ["/a/b"], "steps": ["/a/steps"]}
    chance = random.Random(16)
    outcomes = Counter()
    for _ in range(2_000):
        path.write_text(json.dumps(mutations.mutated_document(original, original, chance)))
        try:
            records.steps(fusion, Task(name="number-of-one-by-one", path="number-of-one-by-one"), path, places)
            outcomes["read"] += 1
        except files.Damaged:
            outcomes["refused"] += 1
    assert min(outcomes["read"], outcomes["refused"]) > 200
