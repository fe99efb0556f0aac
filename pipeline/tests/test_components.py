"""Components as files: steps of this repository elsewhere, and those of others here."""

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading

import pandas as pd
import pytest
from kfp import components
from kfp.dsl.yaml_component import YamlComponent

from pipeline import ROOT, RequestError, __main__, exporting
from steps.shipping import shipped_files

EXAMPLES = ROOT / "docs" / "examples" / "components"
PIPELINES = EXAMPLES / "pipelines.py"
SPLITTING = """
from kfp import components, dsl

split = components.load_component_from_file("components/split_data.yaml")


@dsl.pipeline(name="splitting")
def splitting(rows: str):
    table = dsl.importer(artifact_uri=rows, artifact_class=dsl.Dataset, metadata={"label": "Cover_Type"})
    split(dataset=table.output, test_size=0.25)
"""


def source(component):
    return component.component_spec.implementation.container.command[-1]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "components"
    exporting.export(folder)
    return folder


def test_every_step_is_loaded_again_with_its_interface_and_what_it_ships(exported):
    steps = exporting.steps()
    assert {path.stem for path in exported.iterdir()} == {*steps} >= {"split_data", "train_model", "package_model"}
    data_files = set()
    for name, step in steps.items():
        loaded = components.load_component_from_file(str(exported / f"{name}.yaml"))
        assert isinstance(loaded, YamlComponent)
        assert loaded.name == step.name
        assert loaded.description.split() == step.description.split()
        assert loaded.pipeline_spec.components == step.pipeline_spec.components  # inputs, outputs, what is said of them
        assert source(loaded).endswith(source(step))
        assert len(source(loaded).encode()) < 131_072  # as one argument of a command
        for file, text in shipped_files(source(loaded)).items():
            place = ROOT / file
            assert not text or text == place.read_text("utf-8")
            data_files |= {file} if place.suffix != ".py" else set()
    assert data_files  # pages and styles travel, too


def test_named_steps_are_written_and_others_refused(tmp_path, capsys):
    assert __main__.main(["export-components", str(tmp_path), "split-data", "train_model"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"split_data.yaml", "train_model.yaml"}
    assert f"Wrote {tmp_path / 'split_data.yaml'}" in capsys.readouterr().out
    with pytest.raises(RequestError, match=r"There is no step 'splitting'\. The steps are: check_rows, "):
        exporting.export(tmp_path, ["splitting"])
    with pytest.raises(RequestError, match=r"Cannot write to .*: (Not a directory|File exists)\. Name"):
        exporting.export(tmp_path / "split_data.yaml", ["split-data"])


@pytest.mark.slow
def test_step_runs_in_another_checkout_that_has_it_no_more(exported, rows, tmp_path):
    """What the component file has is enough: step and modules are gone."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "tests", "docs"))
    for gone in ("split_data", "train_model"):
        (checkout / "steps" / f"{gone}.py").unlink()
    (checkout / "steps" / "splitting.py").write_text("raise ImportError('this is not the module that was shipped')\n")
    shutil.copytree(exported, checkout / "components")
    (checkout / "own.py").write_text(SPLITTING)
    rows.to_parquet(checkout / "rows.parquet")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERTYPE_")}
    command = ["run.py", "--identifier", "x", "--engine", "local", "--pipeline", "own.py:splitting"]
    ended = subprocess.run(
        [sys.executable, *command, "--set", f"rows={checkout / 'rows.parquet'}"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    parts = [next(checkout.glob(f"runs/x/latest/artifacts/split-data/{part}")) for part in ("train", "test")]
    assert [len(pd.read_parquet(part)) for part in parts] == [1_049, 351]


@pytest.mark.slow
def test_kfp_local_as_it_comes_runs_a_step_in_an_empty_folder(exported, tmp_path):
    """A step with modules and data files, where nothing of this repository is."""
    shutil.copy(exported / "stop_on_drift.yaml", tmp_path)
    shutil.copy(exported / "split_data.yaml", tmp_path)
    pd.DataFrame({"x": range(100), "y": ["a", "b"] * 50}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "own.py").write_text(
        "import importlib.util\n"
        "from kfp import components, dsl, local\n\n"
        "assert importlib.util.find_spec('steps') is None\n"
        "split = components.load_component_from_file('split_data.yaml')\n\n"
        "@dsl.pipeline\n"
        "def splitting(rows: str) -> dsl.Dataset:\n"
        "    table = dsl.importer(artifact_uri=rows, artifact_class=dsl.Dataset, metadata={'label': 'y'})\n"
        "    return split(dataset=table.output).outputs['test']\n\n"
        "local.init(local.SubprocessRunner(use_venv=False), pipeline_root='outputs')\n"
        "print('ROWS', splitting(rows='rows.parquet').output.metadata['rows'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "own.py"], cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "ROWS 20" in ended.stdout


def test_component_of_others_runs_here_and_says_by_which_packages(local_run):
    done = local_run("--identifier", "x", "--pipeline", f"{PIPELINES}:profiling", "--data", "sample:500")
    assert done.status == 0, done.err
    assert done.record["outputs"] == {"Output": "Horizontal_Distance_To_Roadways"}
    assert "profile-columns names pandas==2.2.2 (here " in done.err
    assert "--isolated runs it with exactly what it names" in done.err
    assert "prepare-data names" not in done.err


@contextlib.contextmanager
def served(folder):
    """Serve a folder over HTTP; gives the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_component_of_an_address_is_wired_and_runs(local_run, tmp_path):
    with served(EXAMPLES) as address:
        text = PIPELINES.read_text("utf-8").replace("load_component_from_file", "load_component_from_url")
        for name in ("profile_columns", "first_lines"):
            text = text.replace(f'str(HERE / "{name}.yaml")', f'"{address}/{name}.yaml"')
        (tmp_path / "own.py").write_text(text)
        given = ("--identifier", "x", "--data", "sample:500")
        done = local_run(*given, "--pipeline", f"{tmp_path / 'own.py'}:profiling")
        assert done.status == 0, done.err
        assert done.record["outputs"] == {"Output": "Horizontal_Distance_To_Roadways"}
        (tmp_path / "gone.py").write_text(text.replace("first_lines.yaml", "gone.yaml"))
        gone = local_run(*given, "--pipeline", f"{tmp_path / 'gone.py'}:profiling")
    assert gone.status == 2
    assert "404" in gone.err
    assert "gone.py, line " in gone.err


def test_container_of_others_is_refused_here_and_compiles_for_the_cloud(local_run, tmp_path):
    pipeline = f"{PIPELINES}:profiling_and_printing"
    done = local_run("--identifier", "x", "--pipeline", pipeline, "--data", "sample:500")
    assert done.status == 2
    assert "The task first-lines runs the container image 'busybox:1.36'" in done.err
    spec = tmp_path / "spec.yaml"
    assert local_run("--engine", "vertex", "--pipeline", pipeline, "--compile-only", str(spec)).status == 0
    assert "image: busybox:1.36" in spec.read_text()
