"""What a user would write in a hurry: python -m pipeline.benchmark.minimal SOURCE LABEL FOLDER"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier

from pipeline.benchmark import METRICS, PARAMETERS
from pipeline.benchmark.rows import read_table


def main(source: Path, label: str, folder: Path) -> None:
    """Read, split, fit one classifier a class, measure, and dump: no check of the table, no report, no encoder.

    Text is taken as categories, and left out where there are more than the 255 that a tree takes. Writes model.joblib
    and metrics.json to the folder, which has parameters.json.
    """
    parameters = json.loads((folder / PARAMETERS).read_text("utf-8"))
    seed = parameters["seed"]
    frame = read_table(source)
    X, y = frame.drop(columns=label), frame[label]
    texts = X.select_dtypes(exclude="number").nunique()
    X = X.drop(columns=texts.index[texts > 255]).astype(dict.fromkeys(texts.index[texts <= 255], "category"))
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=parameters["test_size"], stratify=y, random_state=seed
    )

    classifier = HistGradientBoostingClassifier(
        max_iter=parameters["max_iter"],
        learning_rate=parameters["learning_rate"],
        l2_regularization=parameters["l2_regularization"],
        max_leaf_nodes=parameters["max_leaf_nodes"] or min(255, max(63, len(X_train) // 290)),
        early_stopping=False,
        random_state=seed,
    )
    model = OneVsRestClassifier(classifier).fit(X_train, y_train)
    joblib.dump(model, folder / "model.joblib")

    predicted = model.predict(X_test)
    figures = {
        "accuracy": accuracy_score(y_test, predicted),
        "macro_f1": f1_score(y_test, predicted, average="macro"),
        "confusion": confusion_matrix(y_test, predicted).tolist(),
    }
    (folder / METRICS).write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
