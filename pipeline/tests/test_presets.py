"""The presets beside the workshop's XGBoost: the same test rows for both, and what is printed."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Dataset
from sklearn.metrics import accuracy_score, f1_score
from xgboost import XGBClassifier

from pipeline.benchmark import METRICS, presets, workshop
from steps.split_data import split_data


def test_workshop_is_xgboost_of_each_class_on_the_rows_that_split_data_gives(rows, artifact, tmp_path):
    rows = rows[rows["Cover_Type"] < 3].reset_index(drop=True)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    train, test = artifact(Dataset), artifact(Dataset)
    dataset = artifact(Dataset, rows, source="here", label="Cover_Type")
    split_data.python_func(dataset=dataset, train=train, test=test, seed=3)
    parts = [pd.read_parquet(part.path) for part in (train, test)]
    rows, n_train = pd.concat(parts, ignore_index=True), len(parts[0])
    texts = rows.drop(columns="Cover_Type").select_dtypes(exclude="number")
    one_hot = [rows[name] == value for name in texts for value in sorted(rows[name].unique())]
    X = np.column_stack([rows.drop(columns=["Cover_Type", *texts]), *one_hot])
    classes = sorted(rows["Cover_Type"].unique())
    found = [
        XGBClassifier(n_estimators=300, random_state=3)
        .fit(X[:n_train], rows["Cover_Type"][:n_train] == name)
        .predict_proba(X[n_train:])[:, 1]
        for name in classes
    ]
    predicted = np.array(classes)[np.argmax(found, axis=0)]

    workshop.main(tmp_path / "rows.csv", "Cover_Type", 3, tmp_path)
    figures = json.loads((tmp_path / METRICS).read_text("utf-8"))
    true = rows["Cover_Type"][n_train:]
    assert figures["accuracy"] == accuracy_score(true, predicted)
    assert figures["macro_f1"] == f1_score(true, predicted, average="macro")


@pytest.mark.slow
def test_each_contestant_and_seed_has_its_figures(capsys):
    given = ["iris", "--contestants", "fast", "search", "XGBoost", "--seeds", "0", "1", "--minutes", "0.1"]
    assert presets.main(given) == 0
    told = capsys.readouterr()
    lines = [line for line in told.out.splitlines() if line.startswith("|")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| fast", "| search", "| XGBoost"]
    for line in lines[2:]:
        for cell in line.split(" | ")[1:3]:
            accuracy, macro_f1 = map(float, cell.split(" / "))
            assert min(accuracy, macro_f1) > 0.85
            assert max(accuracy, macro_f1) <= 1
            assert math.isclose(accuracy * 30, round(accuracy * 30), abs_tol=0.002)  # of 30 test rows
    assert "--seeds 0 1" in told.out
    assert "300 trees" in told.out


@pytest.mark.parametrize(
    ("given", "told"),
    [(["no.csv:y"], "expected FILE:LABEL"), (["iris", "--minutes", "0"], "expected a number above 0")],
)
def test_what_cannot_be_measured_is_told(capsys, given, told):
    assert presets.main(given) == 2
    assert told in capsys.readouterr().err
