import joblib
import pytest
from kfp.dsl import Artifact, Dataset, Model

from pipeline.templates.train_new_pipeline import train_new_pipeline
from steps.preprocess import preprocess


@pytest.fixture
def model(rows, artifact):
    given = artifact(Dataset, rows, label="Cover_Type"), artifact(Dataset, rows.head(100), label="Cover_Type")
    features, _, preprocessor = made = artifact(Dataset), artifact(Dataset), artifact(Artifact)
    preprocess.python_func(*given, *made)
    trained = artifact(Model)
    train_new_pipeline.python_func(features, preprocessor, trained, max_iter=10)
    return trained


def test_model_takes_raw_rows(rows, model):
    pipeline = joblib.load(f"{model.path}/{model.metadata['file']}")
    predicted = pipeline.predict(rows.drop(columns="Cover_Type"))
    assert (predicted == rows["Cover_Type"]).mean() > 0.6


def test_model_names_its_classes_and_its_label(rows, model):
    assert model.metadata["classes"] == sorted(map(str, rows["Cover_Type"].unique()))
    assert model.metadata["label"] == "Cover_Type"
