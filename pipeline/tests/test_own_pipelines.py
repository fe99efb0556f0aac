"""Any pipeline is a first-class one: by name, by file, as a compiled spec; with parameters and results of any kind."""

import json
import re
import subprocess
import sys

import pytest

from pipeline import ROOT, RequestError, __main__, compiler, loading
from pipeline.runs import load

SOURCE = """
from typing import Dict, List, NamedTuple, Optional

from helping import GREETING, doubled
from kfp import dsl
from kfp.dsl import Artifact, Metrics, Output

step = dsl.component(base_image="python:3.11")


@dsl.component(base_image="python:3.11", additional_funcs=[doubled])
def add(ids: list, start: int) -> int:
    return int(doubled(sum(ids)) + start)


@step
def note(text: str, page: Output[Artifact], figures: Output[Metrics]) -> str:
    if not text:
        raise ValueError("no text")
    open(page.path, "w").write(text)
    figures.log_metric("length", len(text))
    return text.upper()


@step
def fail():
    {}["missing"]


@dsl.pipeline(name="summing")
def summing(ids: List[int], start: int = 0, text: str = GREETING) -> NamedTuple("out", total=int, page=Artifact):
    done = note(text=text)
    out = NamedTuple("out", total=int, page=Artifact)
    return out(total=add(ids=ids, start=start).output, page=done.outputs["page"])


@dsl.pipeline(name="bare")
def bare():
    note(text="bare")


@dsl.pipeline(name="Own Names!")
def own(label: str = "mine", source: str = "here", fingerprint: str = "", more: Optional[List[float]] = None):
    note(text=label)


@dsl.pipeline(name="needing")
def needing(source: str, label: str):
    note(text=label)


@dsl.pipeline(name="inner")
def inner(rows: List[List[int]] = [], dicts: List[Dict] = [], any_of: list = []):
    note(text="inner")


@dsl.container_component
def container():
    return dsl.ContainerSpec(image="alpine:3", command=["true"])


@dsl.pipeline(name="contained")
def contained():
    container()


@dsl.pipeline(name="failing")
def failing():
    fail()


def plain():
    pass
"""


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "of mine"
    folder.mkdir()
    (folder / "helping.py").write_text("GREETING = 'hello'\n\n\ndef doubled(x):\n    return 2 * x\n")
    (folder / "My_pipelines.py").write_text(SOURCE)
    return folder / "My_pipelines.py"


def run(local_run, pipeline, *more):
    return local_run("--identifier", "x", "--pipeline", str(pipeline), *more)


def test_pipeline_of_a_file_runs_and_shows_what_it_returns(local_run, file, monkeypatch, capsys):
    monkeypatch.chdir(file.parent)
    done = run(local_run, "My_pipelines.py:summing", "--set", "ids=1", "--set", "ids=[2, 3]", "--set", "start=5")
    assert done.status == 0, done.err
    assert done.record["pipeline"] == f"{file}:summing"
    assert done.record["parameters"] == {"ids": [1, 2, 3], "start": 5, "text": "hello"}
    assert done.record["outputs"]["total"] == 17
    assert "output total: 17" in done.out
    assert re.search(r"^output page: .*note/page$", done.out, re.M)
    assert "note Output: HELLO" in done.out
    assert re.search(r"^note length 5 ", done.out, re.M)
    assert {task["name"]: task["values"] for task in done.record["tasks"]} == {
        "add": {"Output": 17},
        "note": {"Output": "HELLO"},
    }
    monkeypatch.chdir("/")  # its name holds anywhere
    assert __main__.main(["replay", "x", "latest/add"]) == 0
    assert "Output           17" in capsys.readouterr().out
    again = run(local_run, f"{file}:summing", "--set", "ids=1")
    assert again.status == 0, again.err
    assert "against" in again.out
    assert __main__.main(["compare", "x"]) == 0
    assert "output total" in capsys.readouterr().out
    assert __main__.main(["runs", "x"]) == 0
    assert "start=0" in capsys.readouterr().out


def test_pipeline_gets_all_of_kfp_that_it_imports(file, tmp_path):
    """A run starts without kfp's client, which takes long to import."""
    file.write_text("import kfp\nfrom kfp import Client\n" + file.read_text())
    command = [sys.executable, "run.py", "--pipeline", f"{file}:bare", "--compile-only", tmp_path / "spec.yaml"]
    subprocess.run(command, cwd=ROOT, check=True)
    code = "import sys, pipeline; pipeline.import_kfp(); from kfp import dsl; print('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"


def test_check_tells_what_this_machine_cannot_run(local_run, file):
    done = run(local_run, f"{file}:contained", "--check")
    assert done.status == 2
    assert "The task container runs the container image 'alpine:3'" in done.out + done.err
    assert run(local_run, f"{file}:bare", "--check").status == 0


@pytest.mark.parametrize("ending", ["yaml", "json", "yml"])
def test_compiled_pipeline_runs_and_is_replayed(local_run, file, tmp_path, ending, capsys):
    spec = tmp_path / f"spec.{ending}"
    written = spec if ending != "yml" else tmp_path / "spec.yaml"
    compiled = local_run("--pipeline", f"{file}:summing", "--set", "ids=7", "--compile-only", str(written))
    assert compiled.status == 0, compiled.err
    written.rename(spec)
    file.unlink()  # it stands alone
    done = run(local_run, spec, "--set", "ids=3", "--set", "text=[x]")
    assert done.status == 0, done.err
    assert done.record["outputs"]["total"] == 6
    assert done.record["pipeline"] == str(spec)
    assert __main__.main(["replay", "x", "latest/note"]) == 0
    assert "[X]" in capsys.readouterr().out
    assert local_run("--pipeline", str(spec), "--compile-only", str(tmp_path / "other.json")).status == 0


def test_pipeline_without_parameters_or_data_runs(local_run, file):
    done = run(local_run, f"{file}:bare", "--quiet")
    assert done.status == 0, done.err
    assert done.record["parameters"] == {}
    assert "note Output: BARE" in done.out


def test_names_of_the_table_are_a_pipeline_s_own_where_it_takes_no_table(local_run, file):
    assert not compiler.takes_table(loading.load(f"{file}:needing"))
    done = run(local_run, f"{file}:needing", "--set", "source=gs://b/c", "--set", "label=tree")
    assert done.status == 0, done.err
    assert done.record["parameters"] == {"source": "gs://b/c", "label": "tree"}
    assert "takes no table" in done.err
    both = run(local_run, f"{file}:needing", "--set", "label=tree", "--label", "kind")
    assert both.status == 2
    assert "label is given by --label and by --set. Leave one out." in both.err
    (file.parent / "rows.csv").write_text("a,kind\n1,x\n2,y\n")
    data = run(local_run, f"{file}:needing", "--data", str(file.parent / "rows.csv"), "--label", "kind")
    assert data.status == 0, data.err
    assert data.record["parameters"] == {"source": str(file.parent / "rows.csv"), "label": "kind"}


def test_lists_are_of_the_types_of_the_signature_or_read_as_json(file, tmp_path):
    inner = compiler.arguments(
        loading.load(f"{file}:inner"), ["rows=[[1], [2]]", "rows=[[3]]", "dicts={}", 'dicts=[{"a": 1}]', "any_of=true"]
    )
    assert inner == {"rows": [[1], [2], [3]], "dicts": [{}, {"a": 1}], "any_of": [True]}
    assert compiler.arguments(loading.load(f"{file}:inner"), ["rows=[4]"]) == {"rows": [[4]]}
    pipeline = loading.load(f"{file}:own")
    assert compiler.arguments(pipeline, ["more=3"]) == {"more": [3.0]}
    with pytest.raises(RequestError, match="expected a number, not 'x'"):
        compiler.arguments(pipeline, ["more=x"])
    compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml")
    of_spec = compiler.arguments(loading.load(str(tmp_path / "spec.yaml")), ["more=3", "more=x", "more=NaN"])
    assert of_spec == {"more": [3, "x", "NaN"]}


def test_error_of_a_step_names_the_line_of_the_file(local_run, file):
    done = run(local_run, f"{file}:failing")
    assert done.status == 1
    line = SOURCE.splitlines().index('    {}["missing"]') + 1
    assert f"{file.name}:{line}" in done.err
    assert "Traceback" not in done.err


def test_file_is_read_as_it_is_now(file):
    def inputs():
        return compiler.load(f"{file}:bare").pipeline_spec.components["comp-note"].input_definitions.parameters

    assert "extra" not in inputs()
    file.write_text(SOURCE.replace("figures: Output[Metrics])", "figures: Output[Metrics], extra: int = 1)"))
    assert "extra" in inputs()


@pytest.mark.parametrize(
    ("name", "text", "messages"),
    [
        ("gone.py:f", None, ["gone.py cannot be read: No such file or directory."]),
        ("gone.yaml", None, ["gone.yaml: the file cannot be read: No such file"]),
        ("a.py:f", "import no_such_module\n", ["a.py, line 1: ModuleNotFoundError: No module named", "import no_such"]),
        ("a.py:f", "x = 1\ndef f(:\n", ["a.py, line 2: SyntaxError: ", "def f(:"]),
        ("a.py:f", "def g():\n    return 1 / 0\n\ng()\n", ["a.py, line 2: ZeroDivisionError: division by zero"]),
        ("a.py:f", "raise SystemExit(3)\n", ["a.py, line 1: SystemExit: 3"]),
        ("a.py:g", "def f(): pass\n", ["a.py has no function 'g'. Its pipelines are: none."]),
        ("a.py:f", "def f(): pass\n", ["f of ", "is no pipeline: expected a function with @dsl.pipeline, came a func"]),
        (
            "a.py:f",
            "from kfp import dsl\n@dsl.pipeline\ndef f():\n    nope()\n",
            ["a.py, line 4: NameError: name 'nope' is not defined"],
        ),
        ("a.py", "def f(): pass\n", ["names no function: expected ", "In it are: none."]),
        ("a.yaml", "a: [", ["a.yaml is no YAML or JSON"]),
        ("a.yaml", "a: 1", ["a.yaml is no compiled pipeline: pipelineInfo, root and deploymentSpec are not all"]),
        ("a.json", "[]", ["a.json is no compiled pipeline"]),
        ("a.yaml", "pipelineInfo: 1\nroot: 2\ndeploymentSpec: 3", ["a.yaml is no pipeline spec that KFP reads: "]),
        ("a.yaml", "", ["a.yaml is no compiled pipeline"]),
        ("a.txt", "", ["is none of the pipelines: training", "my/file.py:function, or is a compiled .yaml"]),
    ],
)
def test_what_is_no_pipeline_is_told(local_run, tmp_path, name, text, messages):
    if text is not None:
        (tmp_path / name.partition(":")[0]).write_text(text)
    done = run(local_run, tmp_path / name)
    assert done.status == 2
    assert all(message in done.err for message in messages), done.err
    assert "Traceback" not in done.err
    assert done.err.count("\n") <= 5


@pytest.mark.parametrize(
    ("pipeline", "short"),
    [
        ("training", "training"),
        ("/a/My_pipelines.py:summing", "my-pipelines-summing"),
        ("spec of ü.yaml", "spec-of"),
        (f"/a/{'long' * 20}.py:f", ("long" * 20)[:40]),
        ("/a/___.yaml", "pipeline"),
    ],
)
def test_job_is_called_by_what_a_service_takes(pipeline, short):
    assert loading.short_name(pipeline) == short


@pytest.mark.slow
def test_pipeline_of_a_file_runs_on_vertex_with_its_own_parameters_only(vertex, local_run, file):
    done = run(local_run, f"{file}:summing", "--engine", "vertex", "--set", "ids=4")
    assert done.status == 0, done.err
    assert re.fullmatch(r"x-my-pipelines-summing-[-0-9a-z]+", done.record["job"].rpartition("/")[2])
    assert done.record["parameters"] == {"ids": [4], "start": 0, "text": "hello"}
    assert done.record["outputs"]["total"] == 8
    assert done.record["outputs"]["page"].startswith("gs://trees/x/")
    bare = run(local_run, f"{file}:bare", "--engine", "vertex")
    assert bare.status == 0, bare.err
    checked = run(local_run, f"{file}:own", "--engine", "vertex", "--check")
    assert checked.status == 0, checked.out
    assert load("x").pipeline == f"{file}:bare"
    assert json.loads((load("x").folder / "run.json").read_text())["metrics"]
