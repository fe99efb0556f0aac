import json

import pytest
import yaml
from kfp import components

from pipeline import PIPELINES, RequestError, compiler
from pipeline.profiles import PROFILES


@pytest.fixture
def training():
    return compiler.load("training")


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("engine", ["local", "vertex"])
@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_every_pipeline_compiles_to_one_document_that_kfp_loads(tmp_path, pipeline, profile, engine, ending):
    path = tmp_path / f"spec.{ending}"
    compiler.compile_pipeline(compiler.load(pipeline), path, engine=engine, profile=profile)
    assert len([*yaml.safe_load_all(path.read_text())]) == 1
    loaded = components.load_component_from_file(str(path))
    assert loaded.pipeline_spec.pipeline_info.name == f"covertype-{pipeline}"


def test_two_builds_are_the_same(training, tmp_path):
    for name in ("one.yaml", "other.yaml"):
        compiler.compile_pipeline(training, tmp_path / name)
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "other.yaml").read_bytes()


def test_profile_sets_the_limits_of_each_step_as_literals(training, tmp_path):
    compiler.compile_pipeline(training, tmp_path / "spec.json", engine="vertex", profile="standard")
    executors = json.loads((tmp_path / "spec.json").read_text())["deploymentSpec"]["executors"]
    resources = {name: executor["container"]["resources"] for name, executor in executors.items()}
    assert resources["exec-split-data"]["resourceCpuLimit"] == "4"
    assert resources["exec-train-model"] == {
        "resourceCpuLimit": "8",
        "resourceMemoryLimit": "32G",
        "cpuLimit": 8.0,
        "memoryLimit": 32.0,
    }


def test_no_cache_turns_the_cache_of_every_task_off(training, tmp_path):
    compiler.compile_pipeline(training, tmp_path / "on.yaml")
    compiler.compile_pipeline(training, tmp_path / "off.yaml", caching=False)
    assert (tmp_path / "on.yaml").read_text().count("enableCache: true") == 6
    assert "enableCache" not in (tmp_path / "off.yaml").read_text()


def test_given_values_become_the_defaults_of_a_spec_for_elsewhere(training, tmp_path):
    compiler.compile_pipeline(training, tmp_path / "spec.json", defaults={"max_iter": 7, "label": "kind"})
    inputs = json.loads((tmp_path / "spec.json").read_text())["root"]["inputDefinitions"]["parameters"]
    assert inputs["max_iter"]["defaultValue"] == 7
    assert inputs["label"]["defaultValue"] == "kind"


def test_every_parameter_is_described(training):
    for name, parameter in training.pipeline_spec.root.input_definitions.parameters.items():
        assert parameter.description, name


def test_assignments_are_converted_to_the_types_of_the_signature(training):
    given = compiler.arguments(training, ["max_iter=300", "learning_rate=1", "balance_classes=TRUE", "test_size=.5"])
    assert given == {"max_iter": 300, "learning_rate": 1.0, "balance_classes": True, "test_size": 0.5}
    assert [type(value) for value in given.values()] == [int, float, bool, float]
    lists = compiler.arguments(training, ["drop=a, b", 'keep=["a", "b"]'])
    assert lists == {"drop": ["a, b"], "keep": ["a", "b"]}
    assert compiler.arguments(training, ["drop="]) == {"drop": []}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("max_iter", r"--set takes KEY=VALUE, not 'max_iter'\."),
        ("max_itr=3", r"has no parameter 'max_itr'\. Did you mean max_iter\?\nIts parameters are: balance_classes"),
        ("=3", "has no parameter ''"),
        ("max_iter=x", "expected a whole number, not 'x'"),
        ("max_iter=1.5", "expected a whole number, not '1.5'"),
        ("max_iter=", "expected a whole number, not ''"),
        ("learning_rate=nan", "expected a number, not 'nan'"),
        ("balance_classes=2", "expected true or false, not '2'"),
        ("drop=[a", r"expected a JSON list, not '\[a'"),
        ("drop=[1]", r"expected a value that is a list of column names\."),
        ("drop={{$}}", r"KFP would expand the \{\{\$ in this text"),
        ("label=x", r"label follows from --label\. Use that flag\."),
        ("source=x", r"source follows from --data\. Use that flag\."),
    ],
)
def test_assignment_that_does_not_fit_the_signature_is_refused(training, assignment, message):
    with pytest.raises(RequestError, match=message):
        compiler.arguments(training, [assignment])


def test_unknown_pipeline_and_file_ending_are_refused(training, tmp_path):
    with pytest.raises(RequestError, match="'nope' is none of the pipelines: training"):
        compiler.load("nope")
    with pytest.raises(RequestError, match=r"a \.yaml or a \.json file, not 'spec.txt'"):
        compiler.compile_pipeline(training, tmp_path / "spec.txt")
    with pytest.raises(RequestError, match=r"Cannot write .* No such file or directory"):
        compiler.compile_pipeline(training, tmp_path / "missing" / "spec.yaml")
