"""The work of the training pipeline as a plain script: python -m pipeline.benchmark.plain SOURCE LABEL FOLDER"""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, average_precision_score, confusion_matrix
from sklearn.metrics import precision_recall_fscore_support as prf
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from skrub import StringEncoder, TableVectorizer, ToCategorical

from pipeline.benchmark import METRICS, PARAMETERS
from pipeline.benchmark.reading import read_table
from pipeline.benchmark.shared import (
    class_scores,
    column_importance,
    confused_pairs,
    evaluation_report,
    failing_slices,
)


def main(source: Path, label: str, folder: Path) -> None:
    """Train and evaluate with the pipeline's parameters, which the folder's parameters.json has.

    Writes model.joblib, metrics.json and report.html to the folder. Of two classes scikit-learn trains one model.
    """
    parameters = json.loads((folder / PARAMETERS).read_text("utf-8"))
    seed, forest = parameters["seed"], ("max_iter", "learning_rate", "max_leaf_nodes", "l2_regularization")
    frame = read_table(source)
    shuffled = frame[label].sample(frac=1, random_state=seed)  # the pipeline's split, so that the figures compare
    of_class = shuffled.groupby(shuffled, observed=True)
    size = of_class.transform("size")
    held = (of_class.cumcount() < (size * parameters["test_size"]).round().clip(1, size - 1)).reindex(frame.index)
    train, test = frame[~held], frame[held]

    classifier = HistGradientBoostingClassifier(
        **{name: parameters[name] for name in forest},
        min_samples_leaf=min(20, max(1, len(train) // 20)),
        class_weight="balanced" if parameters["balance_classes"] else None,
        categorical_features="from_dtype",
        early_stopping=False,
        random_state=seed,
    )
    encoder = StringEncoder(random_state=seed)
    vectorizer = TableVectorizer(cardinality_threshold=255, low_cardinality=ToCategorical(), high_cardinality=encoder)
    model = make_pipeline(vectorizer, OneVsRestClassifier(classifier)).fit(train.drop(columns=label), train[label])
    joblib.dump(model, folder / "model.joblib")

    features, y, classes = model[:-1].transform(test.drop(columns=label)), test[label].to_numpy(), model.classes_
    predicted = model[-1].predict(features)
    scores = class_scores(model[-1], features)
    sums = scores.sum(axis=1, keepdims=True)
    shares = np.divide(scores, sums, out=scores.copy(), where=sums > 0)
    is_class, names = y[:, None] == classes, [str(name) for name in classes]
    per_class = pd.DataFrame(index=names)
    per_class[["precision", "recall", "f1", "rows"]] = np.transpose(prf(y, predicted, labels=classes, zero_division=0))
    per_class["average_precision"] = average_precision_score(is_class, shares, average=None)
    per_class[["rest_precision", "rest_recall", "rest_f1"]] = np.transpose(
        prf(is_class, scores > 0.5, zero_division=0)[:3]
    )
    per_class["rest_average_precision"] = average_precision_score(is_class, scores, average=None)
    confusion = pd.DataFrame(confusion_matrix(y, predicted, labels=classes), index=names, columns=names)
    figures = {"accuracy": float(accuracy_score(y, predicted))}
    figures |= {"macro_f1": per_class["f1"].mean(), "mean_f1": per_class["rest_f1"].mean()}
    metrics = figures | per_class.to_dict() | {"confusion": confusion.to_numpy().tolist()}
    (folder / METRICS).write_text(json.dumps(metrics, indent=2), encoding="utf-8")

    X, codes, codes_pred = test.drop(columns=label), pd.Index(classes).get_indexer(y), shares.argmax(axis=1)
    importance = column_importance(model[-1], features, codes, model[0].input_to_outputs_)
    columns = [*importance[0].index, *X.columns.difference(importance[0].index, sort=False)]
    slices = failing_slices(X, codes, codes_pred, len(classes), columns)
    pairs = confused_pairs(codes, codes_pred, shares.max(axis=1))
    facts = {"Source": source.name, "Label": label, "Classes": len(classes)}
    per_class = per_class.astype({"rows": int})
    page = evaluation_report(X, codes, shares, per_class, figures, importance, slices, pairs, facts)
    (folder / "report.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
