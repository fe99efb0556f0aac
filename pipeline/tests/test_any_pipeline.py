"""Any pipeline is a first-class one: of a file, or a compiled spec; and what it asks of a task stands."""

import json

import pytest
import yaml
from kfp import dsl

from pipeline import RequestError, check, compiler, graph
from pipeline import __main__ as verbs
from pipeline.check import Description
from pipeline.engines.vertex import VertexEngine
from pipeline.settings import Settings

FILE = '''
from typing import List

from kfp import dsl
from beside import GREETING


@dsl.component(base_image="python:3.11")
def greet(names: List[str], times: int, numbers: List[int]) -> str:
    return ", ".join(names * times) + f" {sum(numbers)}"


@dsl.component(base_image="python:3.11")
def measure(text: str, metrics: dsl.Output[dsl.Metrics]):
    metrics.log_metric("length", len(text))


@dsl.pipeline(name="greetings")
def greetings(names: List[str] = ["you"], times: int = 1, numbers: List[int] = []) -> str:
    """Greet."""
    greeting = greet(names=names, times=times, numbers=numbers)
    measure(text=greeting.output)
    return greeting.output


@dsl.pipeline(name="nothing-asked")
def nothing_asked() -> str:
    return greet(names=[GREETING], times=1, numbers=[]).output
'''


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "beside.py").write_text('GREETING = "hello"\n')
    (tmp_path / "mine" / "greeting.py").write_text(FILE)
    return tmp_path / "mine" / "greeting.py"


def test_function_of_a_file_runs_with_its_parameters_and_returns_its_outputs(file, local_run, capsys):
    asked = ("names=Ann", "names=Bo", "times=2", "numbers=3", "numbers=[4]")
    given = [part for each in asked for part in ("--set", each)]
    done = local_run("--identifier", "x", "--pipeline", f"{file}:greetings", *given)
    assert done.status == 0, done.err
    assert done.record["outputs"] == {"Output": "Ann, Bo, Ann, Bo 7"}
    assert done.record["metrics"] == {"length": len("Ann, Bo, Ann, Bo 7")}
    assert done.record["parameters"] == {"names": ["Ann", "Bo"], "times": 2, "numbers": [3, 4]}
    assert "output  Output: Ann, Bo, Ann, Bo 7\n" in done.out
    assert verbs.main(["replay", "x", "latest/greet"]) == 0
    assert "Ann, Bo, Ann, Bo 7" in capsys.readouterr().out


def test_pipeline_without_parameters_and_a_compiled_spec_run_too(file, local_run, tmp_path):
    done = local_run("--identifier", "x", "--pipeline", f"{file}:nothing_asked")
    assert (done.status, done.record["outputs"]) == (0, {"Output": "hello 0"}), done.err
    for ending in ("yaml", "json"):
        spec = tmp_path / f"spec.{ending}"
        assert local_run("--pipeline", f"{file}:greetings", "--compile-only", str(spec)).status == 0
        done = local_run("--identifier", "y", "--pipeline", str(spec), "--set", "times=3", "--set", 'names=["a"]')
        assert done.status == 0, done.err
    found = json.loads(next((tmp_path / "runs" / "y").glob("2*/run.json")).read_text())
    assert found["outputs"] == {"Output": "a, a, a 0"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("greeting.py:greetings", "there is no file greeting.py"),
        ("{file}:greet", r"has no pipeline greet\. It has: greetings, nothing_asked\."),
        ("{folder}/beside.py:x", "It has: none; write @dsl.pipeline above the function"),
        ("{folder}/broken.py:x", "the file fails in line 2: ZeroDivisionError: division by zero"),
        ("{folder}/none.yaml", "there is no such file"),
        ("{folder}/empty.yaml", "is no compiled pipeline"),
        ("trainin", "is none of the pipelines: training"),
    ],
)
def test_pipeline_that_is_not_there_is_told(file, name, message):
    (file.parent / "broken.py").write_text("x = 1\n1 / 0\n")
    (file.parent / "empty.yaml").write_text("a: 1\n")
    with pytest.raises(RequestError, match=message):
        compiler.load(name.format(file=file, folder=file.parent))


@dsl.component(base_image="python:3.11")
def say(number: int) -> int:
    return number


@dsl.pipeline(name="asking")
def asking():
    say(number=1).set_cpu_limit("16").set_accelerator_type("NVIDIA_TESLA_T4").set_accelerator_limit(1).set_retry(5)
    say(number=2).set_memory_limit("3G")
    say(number=3)


def test_what_a_task_asks_stands_and_the_profile_fills_the_rest(tmp_path):
    compiler.compile_pipeline(asking, tmp_path / "spec.yaml", "vertex", "small")
    nodes = {node.name: node for node in graph.nodes(graph.load(tmp_path / "spec.yaml"))}
    found = {name: (node.cpus, node.memory, node.accelerators, node.retries) for name, node in nodes.items()}
    assert found == {
        "say": ("16", "8G", "1 NVIDIA_TESLA_T4", 5),
        "say-2": ("2", "3G", "", 2),
        "say-3": ("2", "8G", "", 2),
    }


@dsl.component(
    base_image="python:3.11",
    packages_to_install=["six==1.17.0", 'tomli==2.0.1; python_version < "3.11"', "./x.whl", "git+https://host/a@1f2e"],
    pip_index_urls=["https://one.example/simple", "https://two.example/simple"],
    pip_trusted_hosts=["one.example"],
)
def indexed():
    print("installed")


@dsl.pipeline(name="indexing")
def indexing():
    indexed()


def test_indexes_markers_wheels_and_addresses_of_a_step_are_all_installed_from(tmp_path):
    compiler.compile_pipeline(indexing, tmp_path / "spec.yaml")
    container = graph.containers(graph.load(tmp_path / "spec.yaml"))["indexed"]
    requirements = ("six==1.17.0", 'tomli==2.0.1; python_version < "3.11"', "./x.whl", "git+https://host/a@1f2e")
    assert graph.packages(container) == requirements
    arguments = graph.install_arguments(container)
    assert arguments[-4:] == requirements
    for flag, value in (
        ("--index-url", "https://one.example/simple"),
        ("--extra-index-url", "https://two.example/simple"),
        ("--trusted-host", "one.example"),
    ):
        assert arguments[arguments.index(flag) + 1] == value


@dsl.pipeline(name="dictionaries")
def dictionaries():
    with dsl.ParallelFor([{"a": n, "b": n, "c": n, "d": n} for n in range(120)]) as item:
        say(number=item.a)


def test_loop_that_is_not_collected_may_have_any_number_of_items(tmp_path):
    compiler.compile_pipeline(dictionaries, tmp_path / "spec.yaml", "vertex")
    made = check.of_spec(graph.load(tmp_path / "spec.yaml"), {}, Description(reason="none"))
    assert {each.name: each.state for each in made}["spec"] == "passed"


def test_job_of_a_pipeline_of_a_file_has_a_name_that_the_service_takes(local_run, file, vertex):
    done = local_run("--identifier", "x", "--pipeline", f"{file}:greetings", "--set", "times=2")
    assert done.status == 0, done.err
    assert "/pipelineJobs/x-greetings-2" in done.record["job"]
    assert done.record["metrics"] == {"length": len("you, you 0")}
    assert yaml.safe_load((done.folder / "pipeline.yaml").read_text())["pipelineInfo"]["name"] == "greetings"
    assert VertexEngine(Settings(project="p", region="us-central1", bucket="bbb")).after_interrupt == "running"
