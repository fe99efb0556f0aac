"""A step that is tried again meets what the lost attempt has left: its outputs are the same as of a first one."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Markdown, Metrics, Model

from pipeline import ROOT
from steps import champions, vertex_api
from steps.check_rows import check_rows
from steps.combine_models import combine_models
from steps.evaluate_model import evaluate_model
from steps.find_resource import find_resource
from steps.measure_drift import measure_drift
from steps.model_folder import load_model
from steps.package_model import package_model
from steps.predict_rows import predict_rows
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.promote_model import promote_model
from steps.read_rows import read_rows
from steps.serving import wheels
from steps.split_data import split_data
from steps.take_champion import take_champion
from steps.take_members import take_members
from steps.train_model import train_model

PIPELINES = ("training", "search", "refit", "judging", "prediction", "champion", "registering")
# these write nothing of their own
WITHOUT_FILES = {"stop_on_drift", "take_champion", "undeploy_former"}
# what these write tells seconds; test_search runs them over what was left
TELL_SECONDS = {
    "propose_candidates",
    "score_candidate",
    "choose_candidates",
    "choose_models",
    "fit_member",
    "combine_members",
}


MEMBER = {"name": "Linear-1", "learner": "Linear", "parameters": {"C": 1.0, "pairs": 0}}
MEMBER |= {"weight": 1.0, "rounds": 8, "megabytes": 0.1}


def whole(path):
    """Leave what an attempt that has ended leaves."""


def cut(path):
    """Leave each file as an attempt that was killed while it wrote."""
    for file in [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_another_time(path):
    """Leave a folder with files that the step does not write now, and a file that is longer than the new one."""
    if path.is_file():
        path.write_bytes(path.read_bytes() * 2)
    if path.is_dir():
        (path / "older.csv").write_text("a,b\n1,2\n")
        cut(path)


@pytest.fixture(params=[whole, cut, of_another_time])
def twice(request, tmp_path):
    """Run a step twice into the same outputs, the second time over what a lost attempt left; returns the outputs."""
    ran = set()

    def run(step, *given, outputs, **more):
        name = step.python_func.__name__
        ran.add(name)

        def attempt():
            made = {output: kind(uri=f"{tmp_path}/x/{name}/{output}") for output, kind in outputs.items()}
            for artifact in made.values():  # kfp makes the folders around outputs
                Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
            returned = step.python_func(*given, **made, **more)
            return made, returned, {output: _seen(artifact) for output, artifact in made.items()}

        made, returned, seen = attempt()
        for artifact in made.values():
            request.param(Path(artifact.path))
        made, returned_again, seen_again = attempt()
        assert returned_again == returned
        assert seen_again == seen
        return {**made, "returned": returned}

    run.ran = ran
    return run


def _seen(artifact):
    """Return the metadata of an artifact and what is in its files; of a model's facts all but the time."""
    path = Path(artifact.path)
    files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    if facts := files.get("model.json"):
        files["model.json"] = {name: value for name, value in json.loads(facts).items() if name != "created"}
    files.pop("model_card.md", None)  # it tells the time, too
    return artifact.metadata, path.read_bytes() if path.is_file() else None, files


@pytest.fixture
def champion(tmp_path):
    return str(tmp_path / "x" / "champion.json")


def test_every_step_can_run_again_over_what_a_lost_attempt_has_left(twice, tmp_path, champion, monkeypatch):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.uniform(0, 2, 300), "colour": random.choice(["red", "green"], 300)})
    frame["kind"] = np.where(frame["size"] + (frame["colour"] == "red") > 1.5, "a", "b")
    frame.to_csv(tmp_path / "rows.csv", index=False)

    table = twice(
        prepare_data, str(tmp_path / "rows.csv"), "kind", "", outputs={"dataset": Dataset, "schema": Artifact}
    )
    parts = twice(split_data, table["dataset"], outputs={"train": Dataset, "test": Dataset})
    kinds = {"train_features": Dataset, "test_features": Dataset, "preprocessor": Artifact}
    features = twice(preprocess, parts["train"], parts["test"], outputs=kinds)
    models = []
    for code in table["returned"]:
        made = twice(train_model, features["train_features"], code, outputs={"class_model": Model}, max_iter=2)
        models.append(made["class_model"])
        models[-1].uri = str(Path(models[-1].path).rename(tmp_path / f"class-{code}"))  # of its own task
    found = json.dumps({"members": [MEMBER], "pairs": [], "exponent": 0.1, "n_rows": 100})
    twice(take_members, features["train_features"], found, outputs={"chosen": Artifact, "rows": Artifact})
    given = (models, features["preprocessor"], parts["train"])
    model = twice(combine_models, *given, outputs={"model": Model})["model"]
    kinds = {"metrics": Metrics, "confusion": ClassificationMetrics, "report": HTML, "predictions": Dataset}
    found = twice(evaluate_model, model, parts["test"], outputs=kinds)
    given = (model, parts["train"], parts["test"], found["metrics"], found["predictions"])
    kinds = {"model": Model, "verdict": Markdown}
    promoted = twice(promote_model, *given, outputs=kinds, run="job-1", champion=champion)
    assert promoted["returned"] == "promoted"
    assert champions.read(champion).before == []  # it took its own place only once
    folder = promoted["model"].path
    assert load_model(folder).predict(frame).tolist() == load_model(folder).predict(frame).tolist()

    kinds = {"rows": Dataset, "used_model": Model}
    read = twice(read_rows, str(tmp_path / "rows.csv"), "", champion, outputs=kinds)
    notes = twice(check_rows, read["rows"], read["used_model"], outputs={"notes": Artifact})["notes"]
    given = (read["rows"], read["used_model"], notes)
    predicted = twice(predict_rows, *given, outputs={"predicted": Dataset, "metrics": Metrics})["predicted"]
    assert len(pd.read_parquet(Path(predicted.path, "predictions.parquet"))) == 300
    kinds = {"report": HTML, "metrics": Metrics, "drift": Artifact}
    twice(measure_drift, *given, predicted, outputs=kinds)

    # what lies across the network
    monkeypatch.setattr(wheels, "collect", lambda path, packages: [Path(path, "a.whl").write_text("wheel")])
    container = json.dumps({"imageUri": "image", "env": []})
    given = (promoted["model"], container, [], "{}")
    twice(package_model, *given, outputs={"package": Artifact})
    listed = [{"name": "projects/1/locations/l/models/2"}]
    monkeypatch.setattr(vertex_api.VertexApi, "listed", lambda *_: listed)
    for _ in range(2):
        place = tmp_path / "find-resource" / "uri"
        assert find_resource.python_func("http://x", "projects/1", "models", {}, str(place)) == listed[0]["name"]
        assert place.read_text().endswith("models/2")
    taken = [take_champion.python_func(champion, Model(uri=f"{tmp_path}/taken")) for _ in range(2)]
    assert taken == ["promoted", "promoted"]
    pipelines = "".join((ROOT / "pipeline" / f"{name}.py").read_text("utf-8") for name in PIPELINES)
    steps = {path.stem for path in (ROOT / "steps").glob("*.py") if "\n@dsl.component" in path.read_text("utf-8")}
    steps = {step for step in steps if f"from steps.{step} import" in pipelines}  # not those of another's pipelines
    assert twice.ran == steps - WITHOUT_FILES - TELL_SECONDS - {"find_resource"}
