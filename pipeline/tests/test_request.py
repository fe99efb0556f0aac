import pytest
from kfp import dsl

from pipeline import PIPELINES, RequestError
from pipeline.engines.local import LocalEngine
from pipeline.request import Request
from pipeline.settings import settle


@dsl.component(base_image="python:3.11")
def say(text: str):
    print(text)


@dsl.pipeline(name="plain")
def plain():
    say(text="hello")


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    monkeypatch.setitem(PIPELINES, "plain", "pipeline.tests.test_request:plain")

    def make(pipeline="training", *assignments, **flags):
        return Request.of(settle(identifier="x", runs_dir=tmp_path / "runs", **flags), pipeline, assignments)

    return make


def test_request_is_settled_once(request_of):
    request = request_of("training", "max_iter=3", data="sample:50", label="Cover_Type")
    assert request.source is request.source
    assert request.profile == ("small", f"{request.source.n_bytes:,} bytes of data")
    assert request.parameters == {
        "max_iter": 3,
        "source": request.source.uri,
        "fingerprint": request.source.fingerprint,
        "champion": str(request.settings.runs_dir / "x" / "champion.json"),
        "label": "Cover_Type",
    }


def test_record_has_the_places_that_the_engine_reads_from_and_leaves_nothing(request_of, tmp_path, rows):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    request = request_of(data=str(tmp_path / "rows.csv"))
    parameters, told = request.placed(LocalEngine(request.settings))
    record = request.record(parameters)
    assert record.parameters["source"] == str(tmp_path / "rows.csv")
    assert record.parameters["max_iter"] == 120  # a default, which is not handed to the engine
    assert "max_iter" not in parameters
    assert told == ""
    assert not record.folder.exists()


def test_pipeline_without_a_table_or_parameters_is_run_and_compiled(local_run, tmp_path, request_of):
    request = request_of("plain")
    assert (request.parameters, request.source.name) == ({}, "")
    done = local_run("--identifier", "x", "--pipeline", "plain")
    assert done.status == 0, done.err
    assert "Data   none, the pipeline takes no table" in done.err
    assert done.record["parameters"] == {}
    assert local_run("--pipeline", "plain", "--compile-only", str(tmp_path / "spec.yaml")).status == 0


def test_former_run_that_is_not_there_is_told(request_of):
    with pytest.raises(RequestError, match="There are no runs of 'x'"):
        request_of("training", "schema_from=latest", data="sample:50").parameters  # noqa: B018


def test_spec_of_a_run_is_in_no_temporary_folder_that_a_kill_would_leave(local_run, monkeypatch):
    monkeypatch.setattr("pipeline.commands.TemporaryDirectory", lambda: pytest.fail("a temporary folder"))
    monkeypatch.setitem(PIPELINES, "plain", "pipeline.tests.test_request:plain")
    done = local_run("--identifier", "x", "--pipeline", "plain")
    assert done.status == 0, done.err
    assert "say" in (done.folder / "pipeline.yaml").read_text("utf-8")
