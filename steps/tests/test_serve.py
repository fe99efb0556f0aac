"""What the server makes of the rows of a request, and what it answers."""

import io
import json
import math
import os

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline

from steps import model_folder
from steps.features import fit_preprocessor
from steps.one_vs_rest import join
from steps.promotion.folder import facts_of, write_folder
from steps.serving import predictor as predicting
from steps.serving import trees
from steps.serving.predictor import Predictor
from steps.serving.rows import MOST_ROWS, BadRequest
from steps.shared import sha256_of

READINGS = {
    "size": {"kind": "number"},
    "count": {"kind": "number"},
    "price": {"kind": "number", "decimal": ".", "unit": "$"},
    "open": {"kind": "boolean"},
    "when": {"kind": "date", "format": "ISO8601"},
    "at": {"kind": "time"},
    "kind": {"kind": "text", "by": "prepare-data"},
    "code": {"kind": "text", "by": "prepare-data"},
}
NAMES = [*READINGS]
ROW = {
    "size": 1.5,
    "count": 3,
    "price": "$1,234.50",
    "open": True,
    "when": "2024-03-05",
    "at": "08:30",
    "kind": "oak",
    "code": 7,
}


def table(n=400, seed=0):
    """Rows as pandas reads them of a CSV file."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n).round(3),
            "count": rng.integers(0, 50, n),
            "price": [f"${value:,.2f}" for value in rng.uniform(1, 5_000, n)],
            "open": rng.random(n) < 0.5,
            "when": pd.Series(pd.date_range("2024-01-01", periods=n)).dt.strftime("%Y-%m-%d"),
            "at": [f"{hour:02}:{minute:02}" for hour, minute in rng.integers(0, [24, 60], (n, 2))],
            "kind": rng.choice(["oak", "beech", "fir", "9"], n),
            "code": rng.choice([5, 7, 11], n),
        }
    )
    frame.loc[::7, "size"] = None
    frame.loc[::11, "kind"] = None
    frame.loc[::13, ["price", "when", "at"]] = None
    frame["species"] = np.select(
        [frame["count"] + frame["size"].fillna(9) > 30, frame["kind"] == "oak"], ["tall", "oak"], "low"
    )
    return frame


def write_model(folder, frame=None, max_iter=4):
    """Train a small model of a table with all kinds of columns and write its folder."""
    frame = table() if frame is None else frame
    label = "species"
    preprocessor, features = fit_preprocessor(frame, [label], READINGS | {label: {"kind": "text"}}, 0)
    classes = sorted(frame[label].unique())
    fitted = []
    for code, name in [*enumerate(classes)][len(classes) == 2 :]:  # of two classes the second's tells both
        of_class = HistGradientBoostingClassifier(max_iter=max_iter, categorical_features="from_dtype", random_state=0)
        fitted.append(of_class.fit(features, frame[label] == name))
        fitted[-1].class_code_ = code
    model = make_pipeline(*preprocessor, join(fitted, classes))
    file = f"{folder}-trained.joblib"
    joblib.dump(model, file)
    told = {"label": label, "na_values": ["NA", "NULL"]}
    figures = {"accuracy": 0.9, "macro_f1": 0.8}
    facts = facts_of(
        model,
        frame,
        frame,
        model.predict(frame).astype(str),
        told=told,
        figures=figures,
        identifier="trees",
        run="r1",
        sha256=sha256_of(file),
        licence="",
    )
    write_folder(str(folder), file, facts, model, frame)
    os.remove(file)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def plain(folder):
    """The model, as whoever loads it has it."""
    return model_folder.load_model(folder)


@pytest.fixture(scope="module")
def served(folder):
    return Predictor(model_folder.load_model(folder), model_folder.read_facts(folder))


def answered(served, instances):
    """Return the probabilities that are answered, and the warnings."""
    body = json.dumps({"instances": instances}).encode()
    content, by_class = next(part for part in served.answer(body) if part)
    answer = json.loads(content, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert sum(by_class) == len(instances)
    rows = [prediction["probabilities"] for prediction in answer["predictions"]]
    for prediction in answer["predictions"]:
        assert prediction["class"] == max(prediction["probabilities"], key=prediction["probabilities"].get)
    return pd.DataFrame(rows)[served.classes].to_numpy(), answer.get("metadata", {}).get("warnings", [])


def of_csv(plain, rows):
    """Return the probabilities of rows that were written to a CSV file and read by pandas."""
    written = pd.DataFrame(rows, columns=NAMES, dtype=object).to_csv(index=False)
    read = pd.read_csv(io.StringIO(written), na_values=["", "NA", "NULL"], keep_default_na=False)
    return plain.predict_proba(read)


@pytest.mark.parametrize("n", [1, 3, predicting.FEW, predicting.FEW + 1])
def test_rows_are_predicted_to_the_last_bit_as_the_model_predicts_a_csv_file(served, plain, n):
    frame = table(n, seed=1)[NAMES]
    rows = json.loads(frame.to_json(orient="records"))
    expected = plain.predict_proba(frame)
    for instances in (
        rows,
        [[row[name] for name in NAMES] for row in rows],
        [dict(reversed(row.items())) for row in rows],
    ):
        given, warnings = answered(served, instances)
        assert np.array_equal(given, expected)
        assert not warnings
    texts = [{name: None if value is None else str(value) for name, value in row.items()} for row in rows]
    assert np.array_equal(answered(served, texts)[0], of_csv(plain, texts))


@pytest.mark.parametrize(
    "change",
    [
        {"size": None},
        {"size": math.nan},
        {"size": "1.5"},
        {"size": 12345678901234567890},
        {"count": 3.0},
        {"count": "3"},
        {"price": 1234.5},
        {"price": 1234},
        {"open": None},
        {"open": "true"},
        {"open": 1},
        {"when": "2024-03-05T00:00:00"},
        {"when": None},
        {"when": math.nan},
        {"at": "8:30 AM"},
        {"kind": "a tree that nobody has seen"},
        {"kind": "NA"},
        {"kind": ""},
        {"kind": 9},
        {"kind": 9.0},
        {"kind": True},
        {"kind": None},
        {"code": "7"},
        {"code": 7.0},
        {"code": 10**30},
        dict.fromkeys(NAMES),
    ],
)
def test_cell_means_what_it_means_in_a_csv_file(served, plain, change):
    given, warnings = answered(served, [ROW | change, ROW])
    for row, changed in zip(given, (change, {}), strict=True):  # a CSV file's other rows decide on its columns' dtypes
        written = {name: None if value != value else value for name, value in (ROW | changed).items()}
        assert np.array_equal(row, of_csv(plain, [written])[0])
    assert not warnings


@pytest.mark.parametrize(
    ("change", "like", "warning"),
    [
        ({"size": "large"}, {"size": None}, "'size': 1 values are no number and taken as missing, such as 'large'."),
        ({"size": math.inf}, {"size": None}, "'size': 1 values are infinite and taken as missing."),
        ({"count": -math.inf}, {"count": None}, "'count': 1 values are infinite and taken as missing."),
        ({"count": 10**400}, {"count": None}, "'count': 1 values are infinite and taken as missing."),
        ({"open": "perhaps"}, {"open": None}, "'open': 1 values are no boolean and taken as missing"),
        ({"when": "yesterday"}, {"when": None}, "'when': 1 values are no date and taken as missing"),
        ({"at": "25:99"}, {"at": None}, "'at': 1 values are no time and taken as missing"),
        (
            {"colour": "red", "\x1b[2J": 1},
            {},
            "Columns that the model does not know are left out: '\\x1b[2J', 'colour'.",
        ),
    ],
)
def test_what_is_not_taken_as_it_stands_is_told(served, change, like, warning, capsys):
    given, warnings = answered(served, [ROW | change, ROW | dict.fromkeys({*change} - {*NAMES})])
    assert np.array_equal(given[0], answered(served, [ROW | like])[0][0])
    assert len(warnings) == 1
    assert warnings[0].startswith(warning)
    assert warning in capsys.readouterr().err


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ([], '"instances" is empty: expected at least one row.'),
        ({}, '"instances": expected a list of rows, and an object of 0 came.'),
        (None, '"instances": expected a list of rows, and null came.'),
        ([ROW] * (MOST_ROWS + 1), '"instances" holds 10,001 rows: at most 10,000 are taken at once.'),
        ([[]] * (3 * MOST_ROWS), "The request holds too many lists or objects"),
        ([5], "instances[0]: expected a list or an object of 8 columns ('size', 'count', "),
        ([None], "and null came"),
        ([ROW, [*ROW.values()]], "instances[1]: a list of 8 came, and instances[0] is an object of 8."),
        ([ROW, "x"], "instances[1]: 'x' came, and instances[0] is an object of 8."),
        ([[*ROW.values()], [1, 2]], "instances[1]: expected 8 columns ('size', 'count', "),
        (
            [ROW, {name: ROW[name] for name in NAMES[:-1]}],
            "instances[1]: columns are missing: 'code'. A missing value is null.",
        ),
        (
            [{name.title(): value for name, value in ROW.items()}],
            "columns are missing: 'size', 'count', 'price', 'open', 'when', 'at', 'kind', 'code'. A missing value is "
            "null. There are others that the model does not know: 'At', 'Code'",
        ),
        ([ROW, ROW | {"size": [1.5]}], "instances[1], column 'size': expected a single value, and a list of 1 came."),
        ([ROW | {"kind": {"a": 1}}], "instances[0], column 'kind': expected a single value, and an object of 1 came."),
        (
            [ROW, ROW | {"when": 20240305}],
            "instances[1], column 'when': expected the text of a date, and 20240305 came.",
        ),
        ([ROW | {"at": True}], "instances[0], column 'at': expected the text of a time, and true came."),
    ],
)
def test_wrong_instances_are_refused_with_their_place(served, instances, message):
    with pytest.raises(BadRequest) as refused:
        answered(served, instances)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 1_000
    assert refused.value.code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]]",
        b"\xff\xfe",
        b'"\\ud800"',
        b"[" * 1_000,
        b'{"a":' * 100_000,
        b'{"instances": 1' + b"0" * 5_000 + b"}",
    ],
)
def test_what_is_no_json_is_refused(served, body):
    with pytest.raises(BadRequest, match=r"The request is no JSON in UTF-8, or nested too deeply|too many lists"):
        next(served.answer(body))


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b'{"rows": []}', b'"instances"'])
def test_what_has_no_instances_is_refused(served, body):
    with pytest.raises(BadRequest, match=r'Expected \{"instances": \[...\]\}, and .* came'):
        next(served.answer(body))


def test_texts_of_brackets_are_no_lists(served):
    given, _ = answered(served, [ROW | {"kind": '[{"' * 30_000}])
    assert np.array_equal(given, answered(served, [ROW | {"kind": "another"}])[0])


def test_long_request_is_answered_in_pieces_with_one_answer(served, plain):
    frame = table(2_500, seed=2)[NAMES]
    body = json.dumps({"instances": json.loads(frame.to_json(orient="records")), "parameters": {"any": 1}}).encode()
    *pieces, (content, by_class) = served.answer(body)
    assert pieces == [None, None]
    probabilities = [[*row["probabilities"].values()] for row in json.loads(content)["predictions"]]
    assert np.array_equal(probabilities, plain.predict_proba(frame))
    assert sum(by_class) == 2_500


def test_words_that_are_categories_of_the_training_rows_are_no_missing_values(tmp_path):
    frame = table()
    frame["kind"] = frame["kind"].fillna("NA")
    folder = write_model(tmp_path, frame)
    served = Predictor(model_folder.load_model(folder), model_folder.read_facts(folder))
    plain = model_folder.load_model(folder)
    given, warnings = answered(served, [ROW | {"kind": "NA"}, ROW | {"kind": "NULL"}])
    rows = pd.DataFrame([ROW | {"kind": "NA"}, ROW | {"kind": None}])
    with pytest.warns(UserWarning, match="1 values are missing, and the model knows 'NA'"):
        assert np.array_equal(given, plain.predict_proba(rows))
    told = "'kind': 1 values are missing, and the model knows 'NA', which pandas takes as missing."
    assert warnings == [f"{told} Read the file with keep_default_na=False."]


@pytest.mark.parametrize("columns", [NAMES[:2], ["kind"], ["when"]])
def test_models_of_few_kinds_of_columns_are_joined_too(tmp_path, monkeypatch, columns):
    frame = table()[[*columns, "species"]]
    monkeypatch.setattr("steps.tests.test_serve.READINGS", {name: READINGS[name] for name in columns})
    folder = write_model(tmp_path, frame)
    served = Predictor(model_folder.load_model(folder), model_folder.read_facts(folder))
    assert served.joined
    rows = json.loads(frame[columns].iloc[:20].to_json(orient="records"))
    expected = model_folder.load_model(folder).predict_proba(frame[columns].iloc[:20])
    assert np.array_equal(answered(served, rows)[0], expected)


def test_one_model_of_two_classes_is_joined_too(tmp_path):
    frame = table()
    frame["species"] = frame["species"].replace("oak", "low")
    folder = write_model(tmp_path, frame)
    plain = model_folder.load_model(folder)
    served = Predictor(model_folder.load_model(folder), model_folder.read_facts(folder))
    assert (len(plain[-1].estimators_), len(served.joined.estimators)) == (1, 1)
    rows = frame[NAMES].iloc[:20]
    given, _ = answered(served, json.loads(rows.to_json(orient="records", date_format="iso")))
    assert np.array_equal(given, plain.predict_proba(rows))


def test_trees_that_are_not_as_expected_are_asked_one_by_one(folder, plain, monkeypatch, capsys):
    monkeypatch.setattr(trees, "_joined", lambda *_: (_ for _ in ()).throw(AttributeError("nodes are gone")))
    served = Predictor(model_folder.load_model(folder), model_folder.read_facts(folder))
    assert "Single rows take longer: the trees cannot be joined, nodes are gone." in capsys.readouterr().err
    assert np.array_equal(answered(served, [ROW])[0], plain.predict_proba(pd.DataFrame([ROW])))


def test_trees_that_predict_otherwise_are_not_used(folder, plain, monkeypatch, capsys):
    monkeypatch.setattr(trees.JoinedTrees, "predict_proba", lambda self, rows: np.zeros((len(rows), 3)))
    served = Predictor(model_folder.load_model(folder), model_folder.read_facts(folder))
    assert "they predict the example otherwise" in capsys.readouterr().err
    assert np.array_equal(answered(served, [ROW])[0], plain.predict_proba(pd.DataFrame([ROW])))


def test_probabilities_that_are_none_are_null(served, monkeypatch):
    monkeypatch.setattr(served, "_probabilities", lambda rows: np.full((len(rows), 3), math.nan))
    content, _ = next(served.answer(json.dumps({"instances": [ROW]}).encode()))
    assert json.loads(content)["predictions"][0]["probabilities"] == dict.fromkeys(served.classes)
