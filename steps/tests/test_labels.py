"""Classes of any kind go through all steps, and come back as they were."""

from decimal import Decimal
from itertools import count
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Metrics, Model
from pyarrow import parquet

from steps.combine_models import combine_models
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.tables.describing import describe
from steps.tables.reading import open_table
from steps.tables.roles import Roles
from steps.train_model import train_model

N = 100  # rows of a class
WORDS = ["awful", "poor", "fair", "good", "great"]


@pytest.fixture
def trained(tmp_path):
    """Run all steps; returns the model, its metadata, and the evaluation's outputs by name."""

    def run(source, label, **settings):
        place = count()

        def new(kind):
            return kind(uri=str(tmp_path / f"artifact-{next(place)}"))

        dataset, train, test, preprocessor = (new(kind) for kind in (Dataset, Dataset, Dataset, Artifact))
        codes = prepare_data.python_func(str(source), label, "", dataset, new(Artifact), **settings)
        split_data.python_func(dataset, train, test)
        features, model = new(Dataset), new(Model)
        preprocess.python_func(train, test, features, new(Dataset), preprocessor)
        class_models = [new(Model) for _ in codes]
        for code, class_model in zip(codes, class_models, strict=True):
            train_model.python_func(features, code, class_model, max_iter=3)
        combine_models.python_func(class_models, preprocessor, train, model)
        kinds = {"metrics": Metrics, "confusion": ClassificationMetrics, "report": HTML, "predictions": Dataset}
        outputs = {name: new(kind) for name, kind in kinds.items()}
        evaluate_model.python_func(model, test, **outputs)
        return joblib.load(Path(model.path, "model.joblib")), model.metadata, outputs

    return run


@pytest.mark.parametrize(
    ("classes", "kind"),
    [
        ([0.5, 1.0, 1.5, 2.0, 2.5], "csv"),
        ([0.5, 1.5], "csv"),
        ([-0.5, 0.0, 0.25], "csv"),
        ([0.5, float("inf")], "csv"),
        ([Decimal("1.5"), Decimal("2.0"), Decimal("2.5")], "parquet"),
        ([Decimal(2**60), Decimal(2**60 + 1)], "parquet"),
        ([np.float32(0.1), np.float32(0.2), np.float32(0.3)], "parquet"),
        ([2**63 + 1, 2**64 - 1, 7], "parquet"),
    ],
    ids=[
        "half stars",
        "two",
        "zero",
        "infinite",
        "decimals of Parquet",
        "whole decimals",
        "single precision",
        "unsigned",
    ],
)
def test_classes_that_are_numbers_are_learned_measured_and_predicted_as_they_are(trained, tmp_path, classes, kind):
    codes = np.tile(np.arange(len(classes)), N)
    # words to read are learned by a model of the classes of their own
    notes = [f"this was a {WORDS[code]} thing of number {row}" for row, code in enumerate(codes)]
    frame = pd.DataFrame({"size": codes % 3 + codes / 10, "note": notes})
    labels = [classes[code] for code in codes]
    if kind == "csv":
        frame.assign(stars=labels).to_csv(tmp_path / "table", index=False)
        frame = pd.read_csv(tmp_path / "table")
    else:
        whole = pa.uint64() if isinstance(classes[0], int) else None
        table = pa.table({"size": frame["size"], "note": notes, "stars": pa.array(labels, whole)})
        parquet.write_table(table, tmp_path / "table")
    model, metadata, outputs = trained(tmp_path / "table", "stars")
    predicted = model.predict(frame)
    assert sorted(classes) == model.classes_.tolist()
    assert [*predicted] == labels
    assert metadata["classes"] == [str(name) for name in model.classes_.tolist()]
    figures, predictions = outputs["metrics"].metadata, pd.read_parquet(outputs["predictions"].path)
    assert figures["accuracy"] == figures["macro_f1"] == 1
    assert [figures[f"rows_{code}"] for code in range(len(classes))] == [N / 5] * len(classes)
    assert predictions["true"].equals(predictions["predicted"])
    assert {*predictions["true"]} == {*model.classes_}
    assert "100.0%" in Path(outputs["report"].path).read_text("utf-8")


def test_zero_and_its_negative_are_one_class(trained, tmp_path):
    frame = pd.DataFrame({"size": [1, 2, 3] * 20, "stars": [0.0, -0.0, 0.5] * 20})
    frame.to_parquet(tmp_path / "table")
    model, metadata, _ = trained(tmp_path / "table", "stars")
    assert metadata["classes"] == ["0.0", "0.5"]
    assert [*model.predict(frame)] == [*frame["stars"]]


def test_first_rows_of_a_large_table_may_have_no_label(tmp_path):
    """What of a part is missing may stand below."""
    kinds = pa.array([None] * 5000 + ["a", "b"] * 50)
    parquet.write_table(pa.table({"size": np.arange(5100) % 7, "kind": kinds}), tmp_path / "rows", row_group_size=500)
    part = open_table(str(tmp_path / "rows"), str(tmp_path), most_bytes=1000)
    found = describe(part, Roles("kind"), drop_unlabeled=True)
    assert part.is_part
    assert (found.schema.problems, found.schema.rows) == ([], 0)
    whole = describe(open_table(str(tmp_path / "rows"), str(tmp_path)), Roles("kind"), drop_unlabeled=True)
    assert whole.schema.classes == {"a": 50, "b": 50}
    assert whole.schema.table_notes() == ["5,000 of 5,100 rows have no label in 'kind' and are left out"]
