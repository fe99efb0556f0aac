"""Prediction step by step: rows are read, held to the model, and streamed through it."""

import json
import shutil
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kfp.dsl import Artifact, Dataset, Metrics, Model
from pyarrow import dataset, parquet
from sklearn.dummy import DummyClassifier

from steps import champions
from steps.check_rows import check_rows
from steps.model_folder import MODEL
from steps.predict_rows import predict_rows
from steps.prediction import rows as prediction_rows
from steps.promotion.folder import facts_of, write_folder
from steps.read_rows import read_rows
from steps.shared import sha256_of
from steps.tests.test_one_reading import train

N = 300


def raw_rows(n=N, seed=0):
    """Rows of every kind of column; the class follows from the first."""
    random = np.random.default_rng(seed)
    height = random.integers(100, 999, n)
    minutes = random.integers(0, 1440, n)
    return pd.DataFrame(
        {
            "height": height,
            "price": random.choice(["$1.50", "$12.00", "$1,234.00"], n),
            "planted": pd.date_range("2024-01-01", periods=n, freq="D").astype(str),
            "at": [f"{minute // 60:02}:{minute % 60:02}" for minute in minutes],
            "wet": random.choice(["True", "False"], n),
            "soil": random.choice(["clay", "sand", "loam"], n),
            "kind": np.where(height > 500, "oak", "elm"),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a model that was trained on such rows."""
    work = tmp_path_factory.mktemp("trained")
    raw_rows().to_csv(work / "rows.csv", index=False)
    model, prepared = train(work / "rows.csv", work, max_iter=5)
    joblib.dump(model, work / "new.joblib")
    told, more = {"label": "kind", "source": "rows.csv"}, {"identifier": "trees", "run": "r1", "licence": ""}
    more["sha256"] = sha256_of(work / "new.joblib")
    facts = facts_of(model, prepared, prepared, model.predict(prepared), told, {}, **more)
    write_folder(str(work / "model"), str(work / "new.joblib"), facts, model, prepared)
    return work / "model"


@pytest.fixture
def read(artifact, tmp_path, folder):
    """Read a frame by the first step; returns its artifacts."""

    def make(frame, model=folder, name="new.csv", **settings):
        path = tmp_path / name
        frame.to_parquet(path) if name.endswith(".parquet") else frame.to_csv(path, index=False)
        rows, used_model = artifact(Dataset), artifact(Model)
        read_rows.python_func(str(path), "", str(model), rows, used_model, **settings)
        return rows, used_model

    return make


@pytest.fixture
def check(artifact):
    def make(rows, used_model):
        notes = artifact(Artifact)
        check_rows.python_func(rows, used_model, notes)
        assert notes.metadata["notes"] == len(json.loads(Path(notes.path).read_text()))
        return json.loads(Path(notes.path).read_text())

    return make


@pytest.fixture
def predict(artifact):
    def make(rows, used_model, **settings):
        predicted, metrics = artifact(Dataset), artifact(Metrics)
        predict_rows.python_func(rows, used_model, artifact(Artifact), predicted, metrics, **settings)
        return predicted, metrics.metadata

    return make


def test_rows_are_predicted_in_their_order_with_probabilities_and_margin(read, check, predict, folder, monkeypatch):
    monkeypatch.setattr(prediction_rows, "MOST_ROWS", 64)
    frame = raw_rows(1000, seed=1)
    rows, used_model = read(frame.drop(columns="kind")[frame.columns[-2::-1]])
    assert rows.metadata["rows"] == 1000
    assert used_model.metadata["label"] == "kind"
    told = "'planted': 700 values lie outside of 2024-01-01 to 2024-10-26, the range in training"
    assert told in check(rows, used_model)
    predicted, figures = predict(rows, used_model, keep=["height", "soil"])
    found = pd.read_parquet(Path(predicted.path, "predictions.parquet"))
    assert [*found] == ["height", "soil", "class", "probability_elm", "probability_oak", "margin"]
    assert figures == {}
    model = joblib.load(folder / MODEL)
    expected = model.predict_proba(frame)
    np.testing.assert_array_equal(found[["probability_elm", "probability_oak"]], expected)
    assert found["class"].tolist() == model.predict(frame).tolist()
    np.testing.assert_allclose(found["margin"], abs(expected[:, 0] - expected[:, 1]))
    assert found["height"].tolist() == frame["height"].tolist()
    assert predicted.metadata["rows"] == 1000
    shares = found["class"].value_counts(normalize=True)
    assert predicted.metadata["class_mix"] == [shares["elm"], shares["oak"]]


def test_labels_that_come_along_are_scored(read, predict, folder):
    frame = raw_rows(200, seed=1)
    frame.loc[:9, "kind"] = "yew"  # no class of the model
    frame.loc[10:19, "kind"] = None
    _, figures = predict(*read(frame))
    right = joblib.load(folder / MODEL).predict(frame) == frame["kind"]
    assert figures["labelled_rows"] == 190
    assert figures["accuracy"] == right.sum() / 190
    assert 0.8 < figures["macro_f1"] < 1


def test_predictions_are_written_as_csv_and_never_take_the_name_of_a_kept_column(read, predict):
    frame = raw_rows(50).assign(margin="a, b", at=None).rename(columns={"kind": "class"})
    frame["lasts"] = pd.to_timedelta(range(50), unit="s")
    rows, used_model = read(frame, name="new.parquet")
    predicted, _ = predict(rows, used_model, keep=["margin", "class", "planted", "lasts", "margin"], as_csv=True)
    found = pd.read_csv(Path(predicted.path, "predictions.csv"))
    assert [*found] == [
        *("margin", "class", "planted", "lasts", "class_", "probability_elm", "probability_oak", "margin_"),
    ]
    assert found["margin"].tolist() == ["a, b"] * 50
    with pytest.raises(ValueError, match=r"keep: the table has no column 'nothing'. It has 'height', "):
        predict(rows, used_model, keep=["nothing"])


def test_what_hinders_no_prediction_is_told_with_counts(read, check, predict):
    frame = raw_rows(100)
    frame["more"], frame["again"] = 1, 2
    frame.loc[:4, "soil"] = "peat"
    frame["height"] = frame["height"].astype(object)
    frame.loc[:2, "height"] = "tall"
    frame.loc[3:4, "height"] = "n/a"
    frame.loc[10:12, "height"] = 5000
    frame["wet"] = None
    rows, used_model = read(frame)
    notes = check(rows, used_model)
    assert notes[0] == "2 columns are new and not looked at: 'more', 'again'"
    assert "'height': 3 values are no number and taken as missing, such as 'tall'" in notes
    assert any(note.startswith("'height': 3 values lie outside of 1") for note in notes)
    assert "'soil': 5 rows have new categories, which count as missing: 'peat' (5)" in notes
    assert "'wet': every value is missing" in notes
    assert predict(rows, used_model)[0].metadata["rows"] == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns=["soil", "at"]), r"lacks 2 columns of the 6 .*trained on: 'at', 'soil'"),
        (lambda rows: rows[["kind"]], "lacks 6 columns of the 6 that the model was trained on: 'height', 'price'"),
        (lambda rows: rows.assign(height="tall"), "'height' holds .*, such as 'tall', and the model .* a number in it"),
        (lambda rows: rows.assign(planted=7), "'planted' holds int64, such as '7', and the model .* a date in it"),
        (lambda rows: rows.assign(height=pd.Timestamp(0)), "'height' holds timestamp.* trained on a number in it"),
        (lambda rows: rows.assign(soil=[[1]] * len(rows)), "'soil' holds list.*, and the model was trained on a text"),
    ],
    ids=["missing", "label only", "text", "numbers", "dates", "lists"],
)
def test_rows_that_do_not_fit_are_refused_by_name(read, check, change, message):
    rows, used_model = read(change(raw_rows(30)), name="new.parquet")
    with pytest.raises(ValueError, match=message):
        check(rows, used_model)


def test_table_without_rows_is_refused(read):
    with pytest.raises(ValueError, match=r"new.csv has column names but no rows. Name a table of rows to predict."):
        read(raw_rows(30).head(0))


def test_model_is_taken_once_by_its_hash(read, folder, tmp_path):
    _, used_model = read(raw_rows(5), sha256=sha256_of(folder / MODEL))
    assert used_model.metadata["sha256"] == sha256_of(folder / MODEL)
    with pytest.raises(ValueError, match="is not the file that was recorded"):
        read(raw_rows(5), sha256="0" * 64)
    tampered = shutil.copytree(folder, tmp_path / "tampered")
    joblib.dump({}, tampered / MODEL)
    with pytest.raises(ValueError, match="is not the file that was recorded"):
        read(raw_rows(5), model=tampered)
    joblib.dump(DummyClassifier(), tampered / MODEL)
    with pytest.raises(ValueError, match="holds a DummyClassifier, no model that takes raw rows"):
        read(raw_rows(5), model=tampered, sha256=sha256_of(tampered / MODEL))
    with pytest.raises(ValueError, match=r"is no folder of a model: model.joblib cannot be read"):
        read(raw_rows(5), model=tmp_path)


def test_model_is_the_champion_of_the_day(read, folder, tmp_path):
    place = str(tmp_path / "champion.json")
    with pytest.raises(ValueError, match=r"There is no champion.* Train first"):
        read(raw_rows(5), model=place)
    champion = champions.made(place, "r1", str(folder), sha256_of(folder / MODEL), {}, "first")
    champions.promote(place, champion, None)
    _, used_model = read(raw_rows(5), model=place)
    assert used_model.metadata["run"] == "r1"
    (folder_of_other := tmp_path / "other").mkdir()
    other = champions.made(place, "r2", str(folder_of_other), "0" * 64, {}, "second")
    champions.promote(place, other, champion)
    with pytest.raises(ValueError, match="other is no folder of a model"):
        read(raw_rows(5), model=place)


def test_words_for_missing_values_are_those_of_training(read, folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "own")
    facts = json.loads((own / "model.json").read_text())
    (own / "model.json").write_text(json.dumps(facts | {"na_values": ["sand"]}))
    frame = raw_rows(60)
    rows, _ = read(frame, model=own)
    assert parquet.read_table(rows.path)["soil"].null_count == (frame["soil"] == "sand").sum()
    rows, _ = read(frame, model=own, na_values=["clay"])
    assert parquet.read_table(rows.path)["soil"].null_count == (frame["soil"] == "clay").sum()


def test_blocks_have_all_rows_in_order_of_many_small_and_one_large_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_rows, "MOST_ROWS", 100)
    for number in range(30):
        part = pa.table({"x": range(number * 7, number * 7 + 7)})
        parquet.write_table(part, tmp_path / f"{number:02}.parquet")
    parquet.write_table(pa.table({"x": range(210, 1000)}), tmp_path / "30.parquet")
    blocks = [*prediction_rows.blocks(dataset.dataset(tmp_path))]
    assert pa.concat_tables(blocks)["x"].to_pylist() == [*range(1000)]
    assert max(block.num_rows for block in blocks) <= 150
    assert len(blocks) < 25
