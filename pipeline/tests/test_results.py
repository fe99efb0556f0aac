"""What follows from the outputs of a run, for pipelines that have never heard of ours."""

import json
from types import SimpleNamespace

import pytest
from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Metrics, Model, Output

from pipeline import compiler, console, engines, results, runs
from pipeline.compare import compare
from pipeline.engines.local import LocalEngine
from pipeline.runs import Task
from pipeline.settings import Settings


@dsl.component(base_image="python:3.11")
def log(metrics: Output[Metrics], figures: dict = {}, loss: float = 0.0):  # noqa: B006
    for name, value in (figures | {"loss": loss}).items():
        metrics.log_metric(name, value)


@dsl.component(base_image="python:3.11")
def log_two(scores: Output[Metrics], costs: Output[Metrics]):
    scores.log_metric("total", 3)
    costs.log_metric("total", 4)


@dsl.component(base_image="python:3.11")
def name_classes(model: Output[Model]):
    import os

    os.makedirs(model.path)
    open(os.path.join(model.path, "model.joblib"), "w").close()
    model.metadata["file"] = "model.joblib"
    model.metadata["classes"] = ["oak", "pine"]


@dsl.component(base_image="python:3.11")
def write_others(
    dataset: Output[Dataset],
    schema: Output[Artifact],
    model: Output[Model],
    test: Output[Dataset],
    report: Output[HTML],
    predictions: Output[Dataset],
):
    """Each has the name of a result, and none what is expected of it."""
    import os

    for output in (dataset, schema, test, predictions):
        with open(output.path, "w") as file:
            file.write("something else")
    os.makedirs(model.path)
    os.makedirs(report.path)
    model.metadata["file"] = "never-written"
    dataset.metadata["rows"] = "many"
    schema.metadata["columns"] = 3


@dsl.component(base_image="python:3.11")
def write_page(text: str, report: Output[HTML]):
    with open(report.path, "w") as file:
        file.write(text)


@dsl.component(base_image="python:3.11")
def write_notes(report: Output[Markdown], metrics: Output[Artifact]):
    with open(report.path, "w") as file:
        file.write("# Notes")


@dsl.component(base_image="python:3.11")
def read(model: Input[Model]):
    print(model.uri)


@dsl.pipeline(name="figures")
def figures(loss: float = 0.5):
    log(figures={"recall_at_5": 0.9, "share_of_class_0": 0.25, "f1_1": 0.5}, loss=loss)


@dsl.pipeline(name="others")
def others():
    written = write_others()
    write_notes()
    read(model=written.outputs["model"])
    with dsl.ParallelFor([1.5, 2.5]) as number:
        log(loss=number).after(written)
        name_classes()


@dsl.pipeline(name="rivals")
def rivals():
    name_classes()
    log(figures={"f1_0": 0.5, "f1_1": 1.0, "accuracy": 0.75, "recall_at_5": 0.5})
    log(figures={"accuracy": 0.25, "f1_1": 0.125, "precision_at_3": 0.5}, loss=0.5)
    log_two()


@dsl.pipeline(name="nothing")
def nothing():
    with dsl.ParallelFor(["a", "b"]) as text:
        write_page(text=text)


@pytest.fixture
def execute(tmp_path):
    def run(pipeline, **parameters):
        data = runs.Data(source="none", fingerprint="")
        record = runs.new(tmp_path, "x", pipeline=pipeline.name, engine="local", parameters=parameters, data=data)
        compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml")
        record.begin(tmp_path / "spec.yaml")
        engines.execute(LocalEngine(Settings(runs_dir=tmp_path)), parameters, record, console.Lines())
        return runs.read(record.folder)

    return run


def test_any_metric_is_kept_under_its_name_and_shown(execute, tmp_path, capsys):
    first, second = execute(figures), execute(figures, loss=0.25)
    assert first.status == "succeeded"
    assert first.metrics == {"f1_1": 0.5, "loss": 0.5, "recall_at_5": 0.9, "share_of_class_0": 0.25}
    console.show_result(second)
    shown = capsys.readouterr().out
    assert "f1_1 0.5000   loss 0.2500   recall_at_5 0.9000   share_of_class_0 0.2500   " in shown
    assert f"against {first.run_id}: f1_1 +0.0000   loss -0.2500   recall_at_5 +0.0000" in shown
    console.show_history([second, first], [])
    assert "f1_1=0.5000, loss=0.2500, recall_at_5=0.9000" in capsys.readouterr().out
    console.show_comparison(first, second, compare(first, second))
    shown = capsys.readouterr().out
    assert ["loss", "0.5000", "0.2500", "-0.2500"] in [line.split() for line in shown.splitlines()]
    assert "macro-F1" not in shown


def test_outputs_named_like_results_without_what_is_expected_are_no_results(execute, capsys):
    run = execute(others)
    assert (run.status, run.error) == ("succeeded", None)
    assert (run.data.rows, run.data.duplicates) == (None, None)
    assert (run.schema_file, run.model_file, run.report) == (None, None, None)
    assert run.metrics == {"log[1.5]": {"loss": 1.5}, "log[2.5]": {"loss": 2.5}}
    console.show_result(run)
    assert "log[1.5] loss 1.5000   log[2.5] loss 2.5000   " in capsys.readouterr().out


def test_metrics_of_several_tasks_take_no_place_of_one_another(execute):
    run = execute(rivals)
    assert run.model_file.endswith("name-classes/model/model.joblib")
    assert run.metrics == {
        "accuracy": 0.75,
        "f1": {"oak": 0.5, "pine": 1.0},
        "loss": 0.0,
        "precision_at_3": 0.5,
        "log-2": {"accuracy": 0.25, "f1_1": 0.125, "loss": 0.5},
        "log-two": {"costs total": 4, "scores total": 3},
        "recall_at_5": 0.5,
    }
    assert compare(run, run).metrics["log-2 accuracy"] == (0.25, 0.25)


def test_pipeline_without_results_is_a_run_all_the_same(execute, capsys):
    run = execute(nothing)
    assert (run.status, run.metrics, run.report) == ("succeeded", None, None)
    assert len(run.tasks) == 2
    console.show_result(run)
    console.show_history([run], [])
    assert "succeeded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("figures", "classes", "metrics"),
    [
        ({"f1_0": 1, "f1_1": 2}, ["a", "b"], {"f1": {"a": 1, "b": 2}}),
        ({"f1_0": 1, "f1_1": 2}, [], {"f1_0": 1, "f1_1": 2}),
        ({"f1_0": 1}, ["a", "b"], {"f1_0": 1}),
        ({"f1_0": 1, "f1_1": 2, "f1_2": 3}, ["a", "b"], {"f1_0": 1, "f1_1": 2, "f1_2": 3}),
        ({"f1_00": 1, "f1_01": 2}, ["a", "b"], {"f1_00": 1, "f1_01": 2}),
        ({"f1": 0, "f1_0": 1, "f1_1": 2}, ["a", "b"], {"f1": 0, "f1_0": 1, "f1_1": 2}),
        ({"rows_0": 1.0, "rows_1": 2.0}, ["a", "b"], {"rows": {"a": 1, "b": 2}}),
        ({"top_5": 1, "_0": 2, "7": 3}, ["a"], {"top_5": 1, "_0": 2, "7": 3}),
    ],
)
def test_figures_are_gathered_only_where_there_is_one_for_each_class(tmp_path, figures, classes, metrics):
    (tmp_path / "file").touch()
    model = SimpleNamespace(
        uri=str(tmp_path), metadata={"file": "file", "classes": classes}, schema_title="system.Model"
    )
    logged = SimpleNamespace(uri="", metadata=figures, schema_title="system.Metrics")
    data = runs.Data(source="", fingerprint="")
    run = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters={}, data=data)
    (tmp_path / "x" / run.run_id).mkdir(parents=True)
    run.tasks = [Task(name="train", state="succeeded"), Task(name="evaluate", state="succeeded")]
    run.end(run.tasks[0], {"model": model})
    run.end(run.tasks[1], {"metrics": logged})
    results.conclude(run)
    assert run.metrics == metrics
    run.save()
    assert runs.read(run.folder).metrics == metrics


def test_error_after_the_tasks_ends_the_record_as_failed(execute, monkeypatch, capsys):
    def broken(*_):
        raise KeyError("rows")

    monkeypatch.setattr(results, "_metrics", broken)
    run = execute(figures)
    assert (run.status, run.error, run.exit_status) == ("failed", "KeyError: 'rows'", 1)
    assert [task.state for task in run.tasks] == ["succeeded"]
    assert "Traceback" in (run.folder / "logs" / "error.log").read_text()
    console.show_result(run)
    assert "Error: KeyError: 'rows'\nLog: " in capsys.readouterr().err


def test_page_in_another_encoding_is_kept_as_it_is(tmp_path):
    page = SimpleNamespace(uri=str(tmp_path / "page"), metadata={}, schema_title="system.HTML")
    (tmp_path / "page").write_bytes("<p>größe</p>".encode("latin-1"))
    data = runs.Data(source="", fingerprint="")
    run = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters={}, data=data)
    (tmp_path / "spec.yaml").write_text("{}")
    run.begin(tmp_path / "spec.yaml")
    run.tasks = [Task(name="evaluate", state="succeeded")]
    run.end(run.tasks[0], {"report": page})
    results.conclude(run)
    assert (run.folder / "report.html").read_bytes() == (tmp_path / "page").read_bytes()
    assert json.loads(run.model_dump_json(by_alias=True))["report"] == str(run.folder / "report.html")


@pytest.mark.parametrize(
    ("name", "content", "metadata"),
    [
        ("schema", "no JSON", {"columns": 1, "notes": 1}),
        ("schema", '{"columns": [{"x": 1}]}', {"columns": 1, "notes": 1}),
        ("report", None, {}),
    ],
)
def test_output_that_cannot_be_used_is_told_and_costs_itself_only(
    tmp_path, monkeypatch, capsys, name, content, metadata
):
    place = tmp_path / "place"
    place.write_text(content or "<p>page</p>")
    output = SimpleNamespace(uri=str(place), metadata=metadata, schema_title="system.HTML")
    data = runs.Data(source="", fingerprint="")
    run = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters={}, data=data)
    (tmp_path / "spec.yaml").write_text("{}")
    run.begin(tmp_path / "spec.yaml")
    if content is None:  # gone between the two looks
        monkeypatch.setattr(results.shutil, "copyfile", lambda *_: 1 / 0)

    def watch():
        run.tasks = [Task(name="evaluate", state="succeeded")]
        run.end(run.tasks[0], {name: output})
        return "succeeded"

    assert engines.record(watch, run, console.Lines()) == "succeeded"
    assert runs.read(run.folder).status == "succeeded"
    console.show_result(run)
    assert f"note: the {name} of {run.run_id} cannot be used: " in capsys.readouterr().err


def test_figures_of_classes_that_are_no_numbers_are_shown_as_they_are(tmp_path, capsys):
    data = runs.Data(source="", fingerprint="")
    run = runs.new(tmp_path, "x", pipeline="x", engine="local", parameters={}, data=data)
    (tmp_path / "spec.yaml").write_text("{}")
    run.begin(tmp_path / "spec.yaml")
    for value in ("many", None, [1]):
        run.metrics = {name: {"oak": value, "pine": 1} for name in results.OF_CLASSES} | {"accuracy": value}
        run.finish("succeeded")
        console.show_result(run)
        assert results.of_classes(run) == {}
