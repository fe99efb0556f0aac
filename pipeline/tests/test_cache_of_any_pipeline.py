"""The cache is right or it misses, whatever a pipeline hands on: addresses, folders, variables, and names like ours."""

import json

import pytest
from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from pipeline import __main__ as verbs
from pipeline import compiler, console, engines, results, runs
from pipeline.engines.local import LocalEngine
from pipeline.settings import Settings


@pytest.fixture
def execute(tmp_path):
    def run(pipeline, identifier="x", **parameters):
        compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml")
        data = runs.Data(source="none", fingerprint="")
        record = runs.new(tmp_path, identifier, pipeline="x", engine="local", parameters=parameters, data=data)
        record.begin(tmp_path / "spec.yaml")
        engines.execute(LocalEngine(Settings(runs_dir=tmp_path)), parameters, record, console.Lines())
        assert record.status == "succeeded", record.error or [task.error for task in record.tasks]
        return record

    return run


def cached(record):
    return {task.name for task in record.tasks if task.cached}


@dsl.component(base_image="python:3.11")
def address_of(data: Input[Dataset]) -> str:
    return data.uri


@dsl.component(base_image="python:3.11")
def register(address: str, data: Output[Dataset]):
    data.uri = address


@dsl.component(base_image="python:3.11")
def folder_of(text: str, made: Output[Artifact]):
    import os

    os.makedirs(os.path.join(made.path, "empty"))
    with open(os.path.join(made.path, "file"), "w") as file:
        file.write(text)
    os.symlink("file", os.path.join(made.path, "link"))


@dsl.component(base_image="python:3.11")
def read_and_change(made: Input[Artifact]) -> str:
    import os

    with open(os.path.join(made.path, "link")) as file:
        text = file.read()
    os.remove(os.path.join(made.path, "file"))
    return f"{text} {sorted(os.listdir(made.path))}"


@dsl.component(base_image="python:3.11")
def variable() -> str:
    import os

    return os.environ["MODE"]


@dsl.pipeline(name="importing")
def importing(uri: str) -> str:
    return address_of(data=dsl.importer(artifact_uri=uri, artifact_class=Dataset).output).output


def test_another_address_is_other_data(execute):
    first, second, third = (execute(importing, uri=f"gs://b/{name}") for name in ("one", "two", "two"))
    assert [run.outputs["Output"] for run in (first, second, third)] == ["gs://b/one", "gs://b/two", "gs://b/two"]
    assert ["address-of" in cached(run) for run in (first, second, third)] == [False, False, True]


@dsl.pipeline(name="registering")
def registering() -> str:
    data = register(address="gs://models/seven").outputs["data"]
    return address_of(data=data).set_caching_options(False).output


def test_address_that_a_step_set_comes_back_from_the_cache(execute):
    for is_cached in (False, True):
        record = execute(registering)
        assert record.outputs == {"Output": "gs://models/seven"}
        assert ("register" in cached(record)) == is_cached


@dsl.pipeline(name="folders")
def folders(text: str) -> str:
    made = folder_of(text=text).outputs["made"]
    return read_and_change(made=made).set_caching_options(False).output


def test_folder_comes_back_whole_and_what_its_reader_changed_is_no_hit(execute):
    expected = {"Output": "trees ['empty', 'link']"}
    assert [execute(folders, text="trees").outputs for _ in range(3)] == [expected] * 3


@dsl.pipeline(name="variables")
def variables() -> str:
    return variable().set_env_variable("MODE", "fast").output


@dsl.pipeline(name="variables")
def other_variables() -> str:
    return variable().set_env_variable("MODE", "slow").output


def test_variable_of_the_pipeline_counts_and_is_there_in_a_replay(execute):
    found = [execute(pipeline) for pipeline in (variables, other_variables, other_variables)]
    assert [run.outputs["Output"] for run in found] == ["fast", "slow", "slow"]
    assert [bool(cached(run)) for run in found] == [False, False, True]


@dsl.component(base_image="python:3.11")
def ours_by_name_only(
    dataset: Output[Dataset],
    model: Output[Model],
    report: Output[HTML],
    schema: Output[Artifact],
    test: Output[Dataset],
) -> int:
    import os

    os.makedirs(report.path)
    for artifact in (dataset, model, schema, test):
        with open(artifact.path, "w") as file:
            file.write("x")
    return 1


@dsl.pipeline(name="names")
def names():
    ours_by_name_only()
    with dsl.ParallelFor([1, 2]):
        ours_by_name_only()


def test_outputs_named_like_ours_are_outputs_like_any_other(execute):
    record = execute(names)
    assert (record.model_file, record.report, record.schema_file, record.metrics) == (None, None, None, None)
    assert json.loads((record.folder / "run.json").read_text())["status"] == "succeeded"
    assert results.figures(record) == {}
    console.show_result(record)


def test_replay_of_a_task_of_a_file_has_its_variables(local_run, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from kfp import dsl\n\n\n@dsl.component(base_image='python:3.11')\ndef mode() -> str:\n    import os\n\n"
        "    return os.environ['MODE']\n\n\n@dsl.pipeline(name='modes')\ndef modes():\n"
        "    mode().set_env_variable('MODE', 'fast')\n"
    )
    done = local_run("--identifier", "x", "--pipeline", f"{tmp_path / 'mine.py'}:modes")
    assert done.status == 0, done.err
    assert verbs.main(["replay", "x", "latest/mode"]) == 0
    assert "fast" in capsys.readouterr().out
