"""What a search has found, fitted on the rows of another table."""

import json
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Artifact, Model
from sklearn.ensemble import ExtraTreesClassifier

from steps.combine_members import combine_members
from steps.fit_member import fit_member
from steps.take_members import take_members
from steps.tests.test_search import mixed, prepared  # noqa: F401 (fixtures)

FOREST = {"name": "ExtraTrees-1", "learner": "ExtraTrees", "weight": 1.0, "rounds": 20, "megabytes": 1.0}
FOREST |= {"parameters": {"max_features": 0.5, "min_samples_leaf": 2, "pairs": 2}}
PAIRS = [["-", "number", "other"], ["/", "other", "weight"], ["+", "gone", "other"]]
FOUND = {"members": [FOREST], "pairs": PAIRS, "exponent": 0.3, "n_rows": 240}


@pytest.fixture
def refitted(artifact):
    def run(given, found, **parameters):
        chosen, rows, model = artifact(Artifact), artifact(Artifact), artifact(Model)
        names = take_members.python_func(given.features, json.dumps(found), chosen, rows, **parameters)
        members = []
        for name in names:
            members.append(artifact(Model))
            fit_member.python_func(name, given.features, chosen, rows, members[-1])
        combine_members.python_func(members, chosen, given.preprocessor, given.train, model)
        return SimpleNamespace(
            model=joblib.load(Path(model.path, "model.joblib")), chosen=json.loads(Path(chosen.path).read_text())
        )

    return run


@pytest.mark.parametrize("columns", [["number", "other", "kind", "weight"], ["kind", "weight", "other", "number"]])
def test_members_are_fitted_as_scikit_learn_does_wherever_their_columns_stand(mixed, prepared, refitted, columns):  # noqa: F811
    given = prepared(mixed[[*columns, "y"]])
    found = refitted(given, FOUND)

    X = pd.read_parquet(given.features.path)
    labels = X.pop("y")
    numbers = X.apply(lambda values: values.cat.codes.where(values.cat.codes >= 0) if values.name == "kind" else values)
    numbers = numbers.assign(one=X["number"] - X["other"], two=X["other"] / X["weight"])
    forest = ExtraTreesClassifier(20, max_features=0.5, min_samples_leaf=2, random_state=0)
    forest.fit(numbers.to_numpy(np.float32), labels)
    wanted = forest.predict_proba(numbers.to_numpy(np.float32))
    wanted /= labels.value_counts(normalize=True)[forest.classes_].to_numpy() ** 0.3
    wanted /= wanted.sum(axis=1, keepdims=True)
    train = pd.read_parquet(given.train.path)
    assert found.model.classes_.tolist() == forest.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(found.model.predict_proba(train), wanted, atol=1e-6)


def test_classes_are_those_of_the_rows_now(mixed, prepared, refitted):  # noqa: F811
    mixed["y"] = mixed["y"].replace("c", "b").where(np.arange(300) % 9 > 0, "new")
    found = refitted(prepared(mixed), FOUND)
    assert found.model.classes_.tolist() == ["a", "b", "new"]
    assert len(found.chosen["divisors"]) == 3


def test_forest_that_has_grown_with_the_rows_keeps_to_the_size(mixed, prepared, refitted, capsys):  # noqa: F811
    given = prepared(mixed)
    assert refitted(given, FOUND | {"n_rows": 24}, max_model_mb=10.0).chosen["members"][0]["rounds"] == 20
    assert "get" not in capsys.readouterr().out
    assert refitted(given, FOUND | {"n_rows": 24}, max_model_mb=5.0).chosen["members"][0]["rounds"] == 10
    assert "The model would have 10 MB: all members get 50% of their rounds." in capsys.readouterr().out
    boosting = FOREST | {"learner": "HistGradientBoosting", "parameters": {"pairs": 0}}
    found = refitted(given, FOUND | {"members": [boosting], "n_rows": 24}, max_model_mb=5.0)
    assert found.chosen["members"][0]["rounds"] == 20


@pytest.mark.parametrize("now", ["gone", "text"])
def test_column_that_members_need_and_that_is_no_number_is_told(mixed, prepared, refitted, now):  # noqa: F811
    mixed["number"] = mixed["number"].gt(0).map({True: "more", False: "less"})
    given = prepared(mixed.drop(columns="number") if now == "gone" else mixed)
    with pytest.raises(ValueError, match="of 'number', which this table does not have as numbers"):
        refitted(given, FOUND)
