import joblib
import pytest
from kfp.dsl import Artifact, Dataset, Model

from make_customers import make_customers
from steps.preprocess import preprocess
from steps.train_churn import train_churn


@pytest.fixture
def model(artifact):
    customers = make_customers(2_000)
    given = artifact(Dataset, customers, label="churned"), artifact(Dataset, customers.head(100), label="churned")
    features, _, preprocessor = made = artifact(Dataset), artifact(Dataset), artifact(Artifact)
    preprocess.python_func(*given, *made)
    trained = artifact(Model)
    train_churn.python_func(features, preprocessor, trained)
    return trained


def test_model_takes_raw_rows_and_is_better_than_saying_that_all_stay(model):
    pipeline, unseen = joblib.load(f"{model.path}/{model.metadata['file']}"), make_customers(2_000, seed=8)
    predicted = pipeline.predict(unseen.drop(columns="churned"))
    assert (predicted == unseen["churned"]).mean() > (unseen["churned"] == "no").mean() + 0.02


def test_model_names_its_classes_and_its_label(model):
    assert model.metadata["classes"] == ["no", "yes"]
    assert model.metadata["label"] == "churned"
