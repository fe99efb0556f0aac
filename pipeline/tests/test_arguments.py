"""What a task is given stands in one argument of its command on the service, of at most 131,071 bytes."""

import json
import re
from typing import List  # noqa: UP035

import numpy as np
import pandas as pd
import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from pipeline import arguments, check, compiler, graph
from pipeline.check import Description
from pipeline.target import Target
from steps.combine_models import combine_models
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model

NOTE = re.compile(r"note: (\S+) works here and would not on Vertex AI: it is given about ([\d,]+) bytes")


@dsl.component(base_image="python:3.11")
def take(text: str, part: Output[Dataset]) -> str:
    with open(part.path, "w") as file:
        file.write(text[:1])
    part.metadata["names"] = text
    return text


@dsl.component(base_image="python:3.11")
def gather(parts: Input[list[Dataset]]):
    print(len(parts))


@dsl.component(base_image="python:3.11")
def look(part: Input[Dataset]):
    print(part.path)


@dsl.pipeline(name="inner")
def inner(text: str):
    take(text=text)


@dsl.pipeline(name="own")
def own(text: str = "short", texts: List[str] = ["a", "bcd"]):  # noqa: B006, UP006
    look(part=take(text=text).outputs["part"])
    inner(text=text)
    with dsl.ParallelFor(texts) as each:
        take(text=each)
    with dsl.ParallelFor([*range(90)]):
        made = take(text="constant")
    gather(parts=dsl.Collected(made.outputs["part"]))


def spec_of(pipeline):
    return graph.parsed(compiler.compiled(pipeline, Target("vertex")))


def sizes(shown):
    return {task: int(n_bytes.replace(",", "")) for task, n_bytes in NOTE.findall(" ".join(shown.split()))}


@pytest.fixture
def every_task_noted(monkeypatch):
    """Let a run here tell of each task how large its argument would be."""
    limit = arguments.MAX_BYTES
    monkeypatch.setattr(arguments, "MAX_BYTES", 0)
    return limit


def wide_table(path, n_columns):
    values = np.random.default_rng(0).integers(0, 50, size=(60, n_columns)) / 7
    frame = pd.DataFrame(values, columns=[f"column_{number:013d}" for number in range(n_columns)])
    frame.assign(kind=np.where(frame.iloc[:, 0] > 3.5, "a", "b")).to_parquet(path)
    return str(path)


@pytest.mark.slow
def test_table_of_5000_columns_goes_through_all_steps_in_arguments_that_linux_takes(
    local_run, tmp_path, every_task_noted
):
    file = wide_table(tmp_path / "wide.parquet", 5_000)
    done = local_run("--identifier", "x", "--data", file, "--label", "kind", "--set", "max_iter=1")
    assert done.status == 0
    found = sizes(done.err)
    assert len(found) == 7  # one model tells both classes
    assert max(found.values()) < every_task_noted / 8


def test_no_name_of_a_column_goes_along_in_metadata(artifact, tmp_path):
    file, schema = wide_table(tmp_path / "wide.parquet", 40), artifact(Artifact)
    dataset, train, test, train_X, test_X = (artifact(Dataset) for _ in range(5))
    preprocessor, class_models, model = artifact(Artifact), [artifact(Model), artifact(Model)], artifact(Model)
    prepare_data.python_func(file, "kind", "", dataset, schema)
    split_data.python_func(dataset, train, test)
    preprocess.python_func(train, test, train_X, test_X, preprocessor)
    for code, class_model in enumerate(class_models):
        train_model.python_func(train_X, code, class_model, max_iter=1)
    combine_models.python_func(class_models, preprocessor, train, model)
    for each in (schema, dataset, train, test, train_X, test_X, preprocessor, *class_models, model):
        assert "column_" not in json.dumps(each.metadata)


@pytest.mark.slow
def test_no_task_is_given_more_than_was_estimated(local_run, every_task_noted):
    done = local_run("--identifier", "x", "--data", "sample:400", "--set", "max_iter=1")
    assert done.status == 0
    spec, classes = graph.load(done.folder / "pipeline.yaml"), done.record["metrics"]["rows"]
    estimated = dict(arguments.estimates(spec, done.record["parameters"], classes))
    estimated = {task.rpartition("/")[2]: n_bytes for task, n_bytes in estimated.items()}
    found = sizes(done.err)
    assert len(found) == 6 + len(classes)
    for task, n_bytes in found.items():
        assert n_bytes <= estimated[task.partition("[")[0]] <= 4 * n_bytes, task


def test_task_that_would_be_given_too_much_there_is_told_here(local_run, tmp_path):
    (tmp_path / "own.py").write_text(
        "from kfp import dsl\nfrom pipeline.tests.test_arguments import look, take\n\n"
        "@dsl.pipeline(name='wide')\ndef wide(n: int = 1):\n"
        "    look(part=take(text='x' * 140_000).outputs['part'])\n"
    )
    done = local_run("--identifier", "x", "--pipeline", f"{tmp_path / 'own.py'}:wide")
    assert done.status == 0
    assert sizes(done.err).keys() == {"take", "look"}
    assert all(n_bytes > 140_000 for n_bytes in sizes(done.err).values())


@pytest.mark.parametrize(
    ("parameters", "largest"),
    [
        ({}, "gather"),
        ({"text": "x" * 131_072}, "inner/take"),
        ({"texts": ["a", "b" * 131_072]}, "for-loop-1/take-2"),
        ({"texts": ["é" * 65_600]}, "for-loop-1/take-2"),
    ],
)
def test_parameters_items_of_loops_and_collected_artifacts_count(parameters, largest):
    spec = spec_of(own)
    found = dict(arguments.estimates(spec, parameters))
    assert max(found, key=found.get) == largest
    made = next(made for made in check.of_spec(spec, parameters, Description()) if made.name == "arguments")
    assert made.state == ("failed" if parameters else "passed")
    if parameters:
        assert re.match(r"\S+ is given about 13\d,\d{3} bytes in one argument of its command", made.detail)


def test_classes_of_a_table_count_as_they_go_along_in_metadata(artifact):
    spec = spec_of(compiler.load("training"))
    few, many, long = (
        dict(arguments.estimates(spec, {}, {f"{number}{name}": 9_999 for number in range(number_of)}))
        for number_of, name in ((7, ""), (97, ""), (97, "x" * 500))
    )
    assert few["promote-model"] < many["promote-model"] < arguments.MAX_BYTES < long["promote-model"]
    assert many["combine-models"] < arguments.MAX_BYTES  # of 97 class models, the most that one task takes
