import hashlib
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Artifact, Dataset, Model
from sklearn.base import clone
from sklearn.multiclass import OneVsRestClassifier

from steps.combine_models import combine_models
from steps.forest import ALL_CLASSES, EXPONENT
from steps.preprocess import preprocess
from steps.train_model import train_model


@pytest.fixture
def combine(artifact):
    def run(frame, label, order=reversed, preset="fast", **settings):
        features, preprocessor, model = (artifact(kind) for kind in (Dataset, Artifact, Model))
        train = artifact(Dataset, frame, label=label)
        preprocess.python_func(train, train, features, artifact(Dataset), preprocessor)
        class_models = []
        n_classes = frame[label].nunique()
        codes = [1] if n_classes == 2 else range(n_classes)
        for code in [*([] if preset == "fast" else [ALL_CLASSES]), *codes]:
            class_models.append(artifact(Model))
            train_model.python_func(features, code, class_models[-1], max_iter=10, preset=preset, **settings)
            class_models[-1].metadata.clear()  # as KFP leaves it of collected artifacts
        combine_models.python_func([*order(class_models)], preprocessor, train, model)
        return model

    return run


def load(model):
    return joblib.load(Path(model.path) / "model.joblib")


def test_combined_model_predicts_all_classes_from_raw_rows(combine, rows):
    classifier = load(combine(rows, "Cover_Type"))
    X, y = rows.drop(columns="Cover_Type"), rows["Cover_Type"]

    assert classifier.classes_.tolist() == [*range(7)]
    assert classifier.score(X, y) > 0.8
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (len(rows), 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == classifier.predict(X)).all()


@pytest.mark.parametrize("classes", [["no", "yes"], [False, True], [0, 1]])
def test_two_classes_are_predicted_as_they_were_named(combine, rows, classes):
    rows["y"] = np.array(classes)[(rows.pop("Cover_Type") == 1).astype(int)]
    classifier = load(combine(rows, "y"))
    X = rows.drop(columns="y")
    assert classifier.classes_.tolist() == classes
    assert set(classifier.predict(X)) == set(classes)
    assert classifier.score(X, rows["y"].to_numpy()) > 0.8

    features = classifier[:-1].transform(X)
    (of_both,) = classifier[-1].estimators_
    as_fitted_at_once = OneVsRestClassifier(clone(of_both)).fit(features, rows["y"])
    np.testing.assert_array_equal(classifier.predict(X), as_fitted_at_once.predict(features))
    np.testing.assert_array_equal(classifier.predict_proba(X), as_fitted_at_once.predict_proba(features))


def test_class_models_may_come_in_any_order(combine, rows):
    X = rows.drop(columns="Cover_Type")
    one, other = (load(combine(rows, "Cover_Type", order)) for order in (iter, reversed))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_rows_with_missing_values_and_unseen_categories_are_predicted(combine, rows):
    X = rows.drop(columns="Cover_Type").astype({"Soil_Type": "str"}).head(3)
    X.loc[0, "Elevation"] = np.nan
    X.loc[1, "Soil_Type"] = "never seen"
    X.loc[2, "Soil_Type"] = None
    assert len(load(combine(rows, "Cover_Type")).predict(X)) == 3


def test_metadata_describes_the_file(combine, rows):
    model = combine(rows, "Cover_Type")
    content = (Path(model.path) / model.metadata["file"]).read_bytes()
    assert model.metadata == {
        "framework": "scikit-learn",
        "file": "model.joblib",
        "sha256": hashlib.sha256(content).hexdigest(),
        "task": "classification",
        "label": "Cover_Type",
        "classes": [str(code) for code in range(7)],
    }
    assert b"ephemeral" not in content


def test_text_labels_keep_their_type(combine, rows):
    rows["Cover_Type"] = "kind " + rows["Cover_Type"].astype(str)
    predicted = load(combine(rows, "Cover_Type")).predict(rows.drop(columns="Cover_Type"))
    assert pd.Series(predicted).isin(rows["Cover_Type"]).all()


@pytest.mark.parametrize(
    "classes",
    [
        ["python3", "{{$}}", "{{$.inputs.parameters['x']}}"],
        ['say "hi"', "a,b", "a/b", "it's", " x", "x", "x ", "🌲", "<b>", "new\nline", "end\0", "end", "", "a" * 300],
        [-(2**63), 0, 2**63 - 1],
        [*range(12)],
    ],
    ids=["placeholders", "text", "large", "twelve"],
)
def test_classes_of_any_name_are_predicted(combine, classes):
    codes = np.tile(np.arange(len(classes)), 40)
    frame = pd.DataFrame({"x": codes, "y": pd.Series(classes)[codes].to_numpy()})
    model = combine(frame, "y")
    classifier = load(model)
    assert classifier.classes_.tolist() == sorted(classes)
    assert (classifier.predict(frame) == frame["y"].to_numpy()).all()
    assert classifier.predict_proba(frame).shape == (len(frame), len(classes))
    assert model.metadata["classes"] == [str(name) for name in sorted(classes)]


def test_other_columns_may_come_along_in_any_order(combine, rows):
    classifier = load(combine(rows, "Cover_Type"))
    expected = classifier.predict_proba(rows.drop(columns="Cover_Type"))
    np.testing.assert_array_equal(classifier.predict_proba(rows.assign(other="x")[[*rows.columns[::-1]]]), expected)
    with pytest.raises(ValueError, match="Elevation"):
        classifier.predict(rows.drop(columns="Elevation"))


def test_model_is_made_of_the_libraries_own_classes(combine, rows):
    """It loads where this repository is not."""
    rows["when"] = pd.date_range("2026-01-01", periods=len(rows), freq="h")
    rows["at"] = rows["when"].dt.time
    rows["note"] = "note " + pd.Series(range(len(rows))).astype(str)
    rows["when_year"] = 1
    content = Path(combine(rows, "Cover_Type").path, "model.joblib")
    named = set()

    class Unpickler(joblib.numpy_pickle.NumpyUnpickler):
        def find_class(self, module, name):
            named.add(module.split(".")[0])
            return super().find_class(module, name)

    with open(content, "rb") as file:
        Unpickler(str(content), file, ensure_native_byte_order=False).load()
    assert "sklearn" in named
    assert named <= {
        "sklearn",
        "pandas",
        "numpy",
        "scipy",
        "joblib",
        "builtins",
        "collections",
        "_codecs",
        "datetime",
        "functools",
        "copyreg",
    }


@pytest.mark.parametrize("balance_classes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_forest_has_half_of_the_vote(combine, rows, balance_classes):
    X, y = rows.drop(columns="Cover_Type"), rows["Cover_Type"]
    model = load(combine(rows, "Cover_Type", preset="balanced", balance_classes=balance_classes))
    boosting, forest = model[-1].members
    features = model[:-1].transform(X)
    trees = forest[-1]
    assert (len(trees.estimators_), trees.n_jobs, trees.class_weight is not None) == (50, 1, balance_classes)
    voted = boosting.predict_proba(features) + forest.predict_proba(features)
    voted /= y.value_counts(normalize=True).sort_index().to_numpy() ** (0 if balance_classes else EXPONENT)
    np.testing.assert_allclose(model.predict_proba(X), voted / voted.sum(axis=1, keepdims=True))
    assert model.score(X, y) > 0.95


def test_forest_votes_for_classes_of_any_names(combine, rows):
    rows["y"] = np.array(["no", "yes"])[(rows.pop("Cover_Type") == 1).astype(int)]
    model = load(combine(rows, "y", preset="balanced"))
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.score(rows.drop(columns="y"), rows["y"].to_numpy()) > 0.9
