import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Artifact, Dataset
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from skrub import StringEncoder, TableVectorizer

from steps.evaluation.errors import confused_pairs, failing_slices
from steps.evaluation.importance import column_importance, features_of_columns
from steps.evaluation.measures import class_f1, class_scores
from steps.preprocess import preprocess


@pytest.fixture
def classifier():
    """Fit a classifier of three classes that depend on one of many columns only."""

    def fit(n_columns):
        rng = np.random.default_rng(0)
        X = pd.DataFrame(rng.normal(size=(900, n_columns)), columns=[f"x{number}" for number in range(n_columns)])
        X["told"] = pd.Categorical(np.array(["a", "b", "c"])[np.arange(900) % 3])
        codes = np.arange(900) % 3
        trees = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
        return OneVsRestClassifier(trees).fit(X, codes), X, codes

    return fit


def test_class_f1_is_that_of_scikit_learn_and_none_for_a_class_without_rows():
    codes, predicted = np.array([0, 0, 1, 1, -1]), np.array([0, 1, 1, 2, 0])
    f1 = class_f1(codes, predicted, 3)
    assert f1[:2] == pytest.approx(f1_score(codes, predicted, labels=[0, 1], average=None))
    assert np.isnan(f1[2])


def test_scores_of_two_classes_are_one_column_each():
    X = pd.DataFrame({"x": np.arange(100.0)})
    fitted = OneVsRestClassifier(HistGradientBoostingClassifier(max_iter=2)).fit(X, X["x"] > 50)
    assert len(fitted.estimators_) == 1
    assert class_scores(fitted, X) == pytest.approx(fitted.predict_proba(X))


@pytest.mark.parametrize("n_columns", [3, 40])
def test_the_column_that_tells_the_class_is_the_most_important_and_others_are_not(classifier, n_columns):
    """Of many columns, only the likely ones are measured."""
    fitted, X, codes = classifier(n_columns)
    came_of = {name.upper(): [name] for name in X} | {"EMPTY": []}
    importance = column_importance(fitted, X, codes, came_of)
    found = importance.table
    assert found.index[0] == "TOLD"
    assert found["importance"].iloc[0] == pytest.approx(2 / 3, abs=0.1)
    assert found["importance"].iloc[1:].abs().max() < 0.05
    assert (found["spread"] >= 0).all()
    assert len(found) == min(n_columns + 1, 15)
    assert importance.n_rows <= len(X)
    assert column_importance(fitted, X, codes, came_of).table.equals(found)


def test_importance_is_measured_on_as_many_rows_of_a_rare_class_as_there_are(classifier):
    fitted, X, codes = classifier(3)
    kept = np.flatnonzero(((codes != 2) & (np.arange(900) < 600)) | (np.arange(900) < 12))
    importance = column_importance(fitted, X.iloc[kept], codes[kept], {name: [name] for name in X})
    assert importance.n_rows == len(kept)


def test_slices_tell_where_the_model_fails_a_missing_value_and_few_rows_too():
    X = pd.DataFrame(
        {
            "text": [f"text {number}" for number in range(400)],
            "place": ["good"] * 200 + ["bad"] * 150 + [None] * 40 + ["rare"] * 10,
            "size": np.arange(400.0),
        }
    )
    codes = np.arange(400) % 2
    predicted = np.where(X["place"] == "bad", 0, codes)
    found = failing_slices(X, codes, predicted, 2, list(X))

    assert found.left_out == ["text"]
    slices = found.figures
    place = slices["place"]
    assert place.index.tolist() == ["bad", "(missing)", "good", "rare"]
    assert place.loc["bad", "accuracy"] == 0.5
    assert place.loc["bad", "macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert place["few"].tolist() == [False, False, False, True]
    assert place["rows"].sum() == len(X)
    assert slices["size"].index.tolist()[0] == "0 \u2013 99.75"
    assert slices["size"]["rows"].tolist() == [100] * 4


def test_a_column_of_hardly_any_numbers_has_fewer_slices():
    X = pd.DataFrame({"mostly": [0.0] * 90 + [1.0] * 10, "all_alike": [1] * 100, "flag": [True, False] * 50})
    codes = np.zeros(100, dtype=int)
    slices = failing_slices(X, codes, codes, 1, ["all_alike", "mostly", "flag"]).figures
    assert set(slices) == {"mostly", "flag"}
    assert slices["mostly"]["rows"].sum() == 100


def test_numbers_too_small_to_stand_between_others_have_slices():
    X = pd.DataFrame({"tiny": [0.0, 2.2e-309] * 50})
    codes = np.zeros(100, dtype=int)
    slices = failing_slices(X, codes, codes, 1, ["tiny"]).figures
    assert slices["tiny"]["rows"].sum() == 100


def test_confused_pairs_come_most_frequent_first_with_the_surest_rows():
    codes = np.array([0, 0, 0, 0, 1, 1, -1])
    predicted = np.array([1, 1, 1, 1, 0, 1, 0])
    sure = np.array([0.5, 0.9, 0.7, 0.8, 0.6, 1, 1])
    assert confused_pairs(codes, predicted, sure) == [(0, 1, 4, [1, 3, 2]), (1, 0, 1, [4])]
    assert confused_pairs(codes, codes, sure) == []


def test_features_are_traced_to_their_columns_through_a_model_that_names_them_anew(artifact, rows):
    rows["day"] = pd.date_range("2024-01-01", periods=len(rows), freq="7h")
    rows["day_year_"] = rows["Slope"]
    rows = rows.rename(columns={"Cover_Type": "day_month"})  # a date's feature has this name, too
    parts = [artifact(Dataset, rows, label="day_month") for _ in range(2)]
    preprocessor = artifact(Artifact)
    preprocess.python_func(*parts, artifact(Dataset), artifact(Dataset), preprocessor)
    pipeline = joblib.load(preprocessor.path)
    X = rows.drop(columns="day_month")
    features = pipeline.transform(X)
    came_of = features_of_columns(pipeline, X, features)
    assert list(came_of) == list(X)
    assert sorted(name for names in came_of.values() for name in names) == sorted(features)
    assert "day_month_" in came_of["day"]
    assert came_of["Slope"] == ["Slope"]
    assert features_of_columns([], X, X) == {name: [name] for name in X}


def test_features_of_a_table_vectorizer_are_traced_to_their_columns():
    X = pd.DataFrame({"text": [f"word {n} and {n % 7}" for n in range(60)], "number": range(60)})
    vectorizer = TableVectorizer(cardinality_threshold=20, high_cardinality=StringEncoder(n_components=3))
    features = vectorizer.fit_transform(X)
    assert features_of_columns(make_pipeline(vectorizer), X, features) == {
        "text": ["text_0", "text_1", "text_2"],
        "number": ["number"],
    }
