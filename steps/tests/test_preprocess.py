import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Artifact, Dataset

from steps import preprocess


@pytest.fixture
def mixed():
    """Columns of every kind that a table may have; the last rows are kept for the test."""
    n = 400
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "category": pd.Categorical(["a", "b"] * (n // 2)),
            "text": [f"note {i} on {rng.choice(['rock', 'sand'])}" for i in range(n)],
            "flag": rng.random(n) < 0.5,
            "day": pd.date_range("2026-01-01", periods=n).astype(str),
            "y": ["no", "yes"] * (n // 2),
        }
    )


def process(train, test, label, artifact):
    outputs = artifact(Dataset), artifact(Dataset), artifact(Artifact)
    parts = (artifact(Dataset, part.reset_index(drop=True)) for part in (train, test))
    preprocess.python_func(*parts, label, *outputs)
    return pd.read_parquet(outputs[0].path), pd.read_parquet(outputs[1].path), outputs[2]


def test_any_mix_of_columns_becomes_numbers_and_categories(mixed, artifact):
    train, test, preprocessor = process(mixed[:300], mixed[300:], "y", artifact)

    features = train.drop(columns="y")
    assert all(dtype == "category" or np.issubdtype(dtype, np.number) for dtype in features.dtypes)
    assert {"number", "category", "flag", "day_month"} <= set(features)
    assert (train.dtypes == test.dtypes).all()
    assert train["y"].tolist() == mixed["y"][:300].tolist()
    assert preprocessor.metadata == {"inputs": [*mixed][:-1], "outputs": [*features]}


def test_missing_numbers_stay_missing(mixed, artifact):
    mixed.loc[[3, 350], "number"] = np.nan
    train, test, _ = process(mixed[:300], mixed[300:], "y", artifact)
    assert train.index[train["number"].isna()].tolist() == [3]
    assert test.index[test["number"].isna()].tolist() == [50]


@pytest.mark.parametrize("dtype", ["category", "str"])
def test_category_unseen_in_training_becomes_missing(mixed, artifact, dtype):
    mixed["category"] = mixed["category"].astype("str")
    mixed.loc[350, "category"] = "new"
    mixed["category"] = mixed["category"].astype(dtype)  # as a category, its type names "new" in both parts
    train, test, _ = process(mixed[:300], mixed[300:], "y", artifact)
    assert train["category"].cat.categories.tolist() == ["a", "b"]
    assert test.index[test["category"].isna()].tolist() == [50]


def test_nothing_is_learned_from_the_test_part(mixed, artifact):
    changed = mixed.copy()
    changed.loc[300:, "text"] = "something else entirely"
    train, _, preprocessor = process(mixed[:300], mixed[300:], "y", artifact)
    same, _, _ = process(mixed[:300], changed[300:], "y", artifact)
    pd.testing.assert_frame_equal(train, same)
    again = joblib.load(preprocessor.path).transform(mixed[:300].drop(columns="y"))
    pd.testing.assert_frame_equal(again, train.drop(columns="y"), check_categorical=False, check_dtype=False)
