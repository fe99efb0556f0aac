import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Dataset, Model
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score

from pipeline.covertype import simulate
from steps.train_model import train_model


@pytest.fixture
def train(rows, artifact):
    def run(**settings):
        model = artifact(Model)
        settings = {"class_code": 2, "max_iter": 5} | settings
        train_model.python_func(artifact(Dataset, rows, label="Cover_Type"), class_model=model, **settings)
        return model

    return run


def test_model_tells_its_class_from_the_rest(train, rows):
    classifier = joblib.load(train().path)
    scores = classifier.predict_proba(rows.drop(columns="Cover_Type"))[:, 1]
    assert classifier.classes_.tolist() == [False, True]
    assert average_precision_score(rows["Cover_Type"] == 2, scores) > 0.9


def test_parameters_reach_the_classifier(train):
    settings = {"max_iter": 3, "learning_rate": 0.5, "max_leaf_nodes": 4, "l2_regularization": 2.0}
    classifier = joblib.load(train(**settings, balance_classes=True, seed=9).path)
    parameters = classifier.get_params()
    assert {name: parameters[name] for name in settings} == settings
    assert (parameters["class_weight"], parameters["random_state"]) == ("balanced", 9)


def test_table_of_a_few_rows_is_learned(artifact):
    """With scikit-learn's own 20 rows a leaf there would be no split."""
    frame, model = pd.DataFrame({"x": np.arange(30.0), "kind": ["cat"] * 15 + ["dog"] * 15}), artifact(Model)
    train_model.python_func(artifact(Dataset, frame, label="kind"), class_code=0, class_model=model, max_iter=5)
    assert (joblib.load(model.path).predict(frame[["x"]]) == (frame["kind"] == "cat")).all()


def test_every_tree_asked_for_is_grown_however_many_rows(artifact):
    model = artifact(Model)
    train = artifact(Dataset, simulate(10_500), label="Cover_Type")
    train_model.python_func(train, 2, model, max_iter=150, max_leaf_nodes=3)
    assert model.metadata["trees"] == 150


def test_training_facts_stand_in_the_metadata(train, rows):
    assert train().metadata == {
        "framework": "scikit-learn",
        "class_code": 2,
        "rows": len(rows),
        "positive_rows": int((rows["Cover_Type"] == 2).sum()),
        "trees": 5,
        "leaves": 63,
    }


def test_leaves_grow_with_the_rows(artifact):
    counts = {}
    for n_rows in (1_000, 40_000, 90_000):
        frame = pd.DataFrame({"x": np.arange(n_rows), "y": np.arange(n_rows) // 50 % 2})
        model = artifact(Model)
        train_model.python_func(artifact(Dataset, frame, label="y"), 1, model, max_iter=1)
        counts[n_rows] = model.metadata["leaves"]
        assert joblib.load(model.path)._predictors[0][0].get_n_leaf_nodes() <= counts[n_rows]
    assert counts == {1_000: 63, 40_000: 137, 90_000: 255}


def test_best_takes_more_trees_at_a_lower_rate(train):
    model = joblib.load(train(preset="best").path)
    assert (model.n_iter_, model.learning_rate) == (15, 0.1)


def test_categories_are_taken_as_such(train):
    assert joblib.load(train().path).is_categorical_.sum() == 2


@pytest.fixture
def weighed(artifact):
    """Train on rows whose weights contradict one another; returns the probability of the class at x = 1."""

    def run(weights, **settings):
        frame = pd.DataFrame({"x": [0, 1] * 200, "Cover_Type": [0, 1, 1, 0] * 100, "weight": weights})
        model = artifact(Model)
        train = artifact(Dataset, frame, label="Cover_Type", weight="weight")
        train_model.python_func(train, 1, model, **{"max_iter": 20} | settings)
        classifier = joblib.load(model.path)
        assert classifier.feature_names_in_.tolist() == ["x"]
        return classifier.predict_proba(frame.iloc[1:2][[*classifier.feature_names_in_]])[0, 1]

    return run


def test_rows_count_by_their_weight(weighed):
    assert weighed([1, 1, 1, 1] * 100) == pytest.approx(0.5, abs=0.01)
    assert weighed([3, 3, 1, 1] * 100) == pytest.approx(0.75, abs=0.03)
    assert weighed([1, 1, 0, 0] * 100) > 0.95


@pytest.mark.parametrize("unit", [1e-300, 1e-6, 1000, 1e300])
def test_weights_mean_the_same_in_any_unit(weighed, unit):
    weights = np.array([3, 3, 1, 1] * 100)
    assert weighed(weights * unit) == pytest.approx(weighed(weights))


def test_weights_and_balance_multiply(weighed, artifact):
    weights = np.array([3, 3, 1, 1] * 100)
    assert weighed(weights, balance_classes=True) == pytest.approx(weighed(weights), abs=0.01)
    weights = np.where(np.arange(400) % 4 == 1, 5, 1)
    frame = pd.DataFrame({"x": [0, 1] * 200, "weight": weights})
    y = np.array([0, 1, 1, 0] * 100) == 1
    plain = HistGradientBoostingClassifier(
        max_iter=20,
        learning_rate=0.2,
        max_leaf_nodes=63,
        l2_regularization=1.0,
        class_weight="balanced",
        early_stopping=False,
        random_state=0,
    ).fit(frame[["x"]], y, sample_weight=weights / weights.mean())
    expected = plain.predict_proba(frame[["x"]].iloc[1:2])[0, 1]
    assert weighed(weights, balance_classes=True) == pytest.approx(expected)
