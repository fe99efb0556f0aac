import joblib
import pytest
from kfp.dsl import Dataset, Model
from sklearn.metrics import average_precision_score

from pipeline.covertype import simulate
from steps import train_model


@pytest.fixture
def train(rows, artifact):
    def run(**settings):
        model = artifact(Model)
        settings = {"class_code": 2, "max_iter": 5} | settings
        train_model.python_func(artifact(Dataset, rows), "Cover_Type", class_model=model, **settings)
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


def test_every_tree_asked_for_is_grown_however_many_rows(artifact):
    model = artifact(Model)
    train_model.python_func(artifact(Dataset, simulate(10_500)), "Cover_Type", 2, model, max_iter=150, max_leaf_nodes=3)
    assert model.metadata["trees"] == 150


def test_training_facts_stand_in_the_metadata(train, rows):
    assert train().metadata == {
        "framework": "scikit-learn",
        "class_code": 2,
        "rows": len(rows),
        "positive_rows": int((rows["Cover_Type"] == 2).sum()),
        "trees": 5,
    }


def test_categories_are_taken_as_such(train):
    assert joblib.load(train().path).is_categorical_.sum() == 2
