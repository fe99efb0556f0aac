import json
from typing import List  # noqa: UP035

import pytest
import yaml
from kfp import components, dsl

from pipeline import PIPELINES, RequestError, compiler, graph
from pipeline.profiles import PROFILES
from pipeline.target import Target


@dsl.component(base_image="python:3.11")
def say(text: str):
    print(text)


@pytest.fixture
def training():
    return compiler.load("training")


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize(
    ("engine", "profile", "ending"),
    [
        ("local", "small", "yaml"),
        ("vertex", "standard", "json"),
        pytest.param("local", "small", "json", marks=pytest.mark.slow),
        pytest.param("vertex", "standard", "yaml", marks=pytest.mark.slow),
        *(pytest.param("vertex", each, "json", marks=pytest.mark.slow) for each in PROFILES if each != "standard"),
    ],
)
def test_every_pipeline_compiles_to_one_document_that_kfp_loads(tmp_path, pipeline, profile, engine, ending):
    path = tmp_path / f"spec.{ending}"
    compiler.compile_pipeline(compiler.load(pipeline), path, Target(engine, profile))
    assert len([*yaml.safe_load_all(path.read_text())]) == 1
    loaded = components.load_component_from_file(str(path))
    assert loaded.pipeline_spec.pipeline_info.name.endswith(pipeline.replace("_", "-"))


def test_two_builds_are_the_same(training, tmp_path):
    for name in ("one.yaml", "other.yaml"):
        compiler.compile_pipeline(training, tmp_path / name)
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "other.yaml").read_bytes()


def test_profile_sets_the_limits_of_each_step_as_literals(training, tmp_path):
    compiler.compile_pipeline(training, tmp_path / "spec.json", Target("vertex"))
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
    compiler.compile_pipeline(training, tmp_path / "off.yaml", Target(caching=False))
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


def test_repeated_list_adds_up_and_any_other_parameter_given_twice_is_refused(training):
    given = compiler.arguments(training, ["drop=Slope", "keep=id", 'drop=["Aspect", "a, b"]', "drop=Elevation"])
    assert given == {"drop": ["Slope", "Aspect", "a, b", "Elevation"], "keep": ["id"]}
    for assignments in (["max_iter=3", "max_iter=5"], ["weight=a", "weight=a"]):
        with pytest.raises(RequestError, match=f"--set {assignments[1]}: .* is given twice. Leave one out."):
            compiler.arguments(training, assignments)


def test_step_in_the_spec_reads_as_its_source(training, tmp_path):
    """Every text of several lines is written as its lines, with no line folded or escaped."""
    compiler.compile_pipeline(training, tmp_path / "spec.yaml")
    text = (tmp_path / "spec.yaml").read_text("utf-8")
    assert text.startswith("# PIPELINE DEFINITION\n# Name: covertype-training\n")
    written = {line.strip() for line in text.splitlines()}
    for container in graph.containers(graph.load(tmp_path / "spec.yaml")).values():
        assert {line.strip() for line in container["command"][-1].splitlines()} <= written


def test_default_of_several_lines_stays_a_comment_in_the_head_of_the_spec(tmp_path):
    @dsl.pipeline(name="lines")
    def lines(text: str = "one\ntwo: {"):
        say(text=text)

    compiler.compile_pipeline(lines, tmp_path / "spec.yaml")
    parameters = graph.load(tmp_path / "spec.yaml")["root"]["inputDefinitions"]["parameters"]
    assert parameters["text"]["defaultValue"] == "one\ntwo: {"


def test_items_of_a_list_are_of_the_type_of_the_signature():
    @dsl.pipeline(name="lists")
    def lists(codes: List[int] = [], shares: List[float] = [], any_of: list = []):  # noqa: B006, UP006
        say(text="")

    given = compiler.arguments(lists, ["codes=3", "codes=[4, 5]", "shares=[1, 0.5]", 'any_of=[1, "a"]', "any_of=b"])
    assert given == {"codes": [3, 4, 5], "shares": [1, 0.5], "any_of": [1, "a", "b"]}
    with pytest.raises(RequestError, match=r"each a whole number, not 'x'\."):
        compiler.arguments(lists, ['codes=["x"]'])
    with pytest.raises(RequestError, match=r"--set codes=x: expected a whole number, not 'x'\."):
        compiler.arguments(lists, ["codes=x"])


def test_range_of_a_compiled_spec_holds_without_its_pipeline(training, tmp_path):
    compiler.compile_pipeline(training, tmp_path / "spec.yaml")
    loaded = components.load_component_from_file(str(tmp_path / "spec.yaml"))
    assert compiler.arguments(loaded, ["max_iter=10000", "drop=a"]) == {"max_iter": 10_000, "drop": ["a"]}
    with pytest.raises(RequestError, match=r"--set max_iter=0: expected a value from 1 to 10,000\."):
        compiler.arguments(loaded, ["max_iter=0"])


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
        ("drop=[1]", r"--set drop=\[1\]: expected a list whose items are each text in quotes, not 1\."),
        ("seed=4294967296", r"expected a value from 0 to 4,294,967,295\."),
        ("max_leaf_nodes=-1", r"expected a value from 0 to 100,000\."),
        ("learning_rate=0", r"expected a value from 1e-6 to 10\."),
        ("learning_rate=1e300", r"expected a value from 1e-6 to 10\."),
        ("l2_regularization=-1", r"expected a value from 0 to 1,000,000\."),
        ("max_iter=9223372036854775808", r"expected a value from 1 to 10,000\."),
        ("min_class_rows=" + "9" * 5_000, r"--set min_class_rows=9+…9+: expected a value from 0 to 1,000,000,000\."),
        ("seed=-" + "9" * 5_000, r"expected a value from 0 to 4,294,967,295\."),
        ("learning_rate=1e999", r"expected a number, not '1e999'\."),
        ("learning_rate=" + "9" * 5_000, r"expected a number, not '9+…\."),
        ("drop=" + "[" * 10_000 + "]" * 10_000, r"--set drop=\[+…\]+: expected JSON that is nested at most 30 deep\."),
        ("keep=" + "[" * 50 + "]" * 50, r"expected JSON that is nested at most 30 deep\."),
        ("drop=a\udcff", r"--set drop=a\\udcff: expected text in UTF-8\."),
        ('drop=["\\ud800"]', r"expected text in UTF-8\."),
        ("weight=\x1b[31m\udcff", r"--set weight=\\x1b\[31m\\udcff: expected text in UTF-8\."),
        ("\x1b[31m=1", r"--set \\x1b\[31m=1: the pipeline has no parameter '\\x1b\[31m'\."),
        ("m" * 5_000, r"--set takes KEY=VALUE, not 'm{58}…\."),
        ("m" * 5_000 + "=1", r"--set m+…m+=1: the pipeline has no parameter 'm{58}…\."),
        ("test_size=1", r"expected a value between 0 and 1\."),
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


def test_values_of_any_type_are_bounded():
    @dsl.pipeline(name="types")
    def types(whole: int = 1, wholes: List[int] = [], any_of: list = [], table: dict = {}):  # noqa: B006, UP006
        say(text="")

    for assignment, message in (
        ("whole=9007199254740993", r"expected a value from -9,007,199,254,740,992 to 9,007,199,254,740,992\."),
        ("wholes=9007199254740993", r"expected whole numbers from -9,007,199,254,740,992"),
        ("wholes=[1, 9007199254740993]", r"expected whole numbers from -9,007,199,254,740,992"),
        ("table=" + '{"a":' * 10_000 + "1" + "}" * 10_000, "nested at most 30 deep"),
        ("any_of=" + '{"a":' * 10_000 + "1" + "}" * 10_000, "nested at most 30 deep"),
        ('table={"a": NaN}', "expected a JSON object, not '{\"a\": NaN}'"),
        ('table={"a": 1e999}', "expected a JSON object"),
        (f'table={{"a": {"9" * 5_000}}}', "expected whole numbers from"),
        ("any_of=[Infinity]", "expected a JSON list"),
        (f"any_of={json.dumps(['a' * 1_000] * 9)[:-1]}", r"expected a JSON list, not '\[\"a+…"),
    ):
        with pytest.raises(RequestError, match=message) as refused:
            compiler.arguments(types, [assignment])
        assert len(str(refused.value)) < 300
    given = compiler.arguments(types, ["whole=-9007199254740992", 'table={"a": [1, {"b": [2.5]}]}'])
    assert given == {"whole": -(2**53), "table": {"a": [1, {"b": [2.5]}]}}
