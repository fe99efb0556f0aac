"""The workshop's script with 300 trees: python -m pipeline.benchmark.workshop SOURCE LABEL SEED FOLDER"""

import json
import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import LabelEncoder
from xgboost import XGBClassifier

from pipeline.benchmark import METRICS, TEST_SIZE
from pipeline.benchmark.rows import read_table
from steps.splitting import share_of_each_class

N_TREES = 300


def main(source: Path, label: str, seed: int, folder: Path) -> None:
    """Read, split, one-hot encode, fit XGBoost's defaults of each class against the rest, and measure.

    The test rows are those of the pipeline. Writes metrics.json to the folder.
    """
    frame = read_table(source)
    X, y = pd.get_dummies(frame.drop(columns=label)), LabelEncoder().fit_transform(frame[label])
    held = share_of_each_class(frame[label], TEST_SIZE, seed)
    model = OneVsRestClassifier(XGBClassifier(n_estimators=N_TREES, random_state=seed)).fit(X[~held], y[~held])
    true, predicted = y[held], model.predict(X[held])
    figures = {
        "accuracy": accuracy_score(true, predicted),
        "macro_f1": f1_score(true, predicted, average="macro"),
    }
    (folder / METRICS).write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
