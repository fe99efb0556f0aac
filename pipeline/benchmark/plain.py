"""The work of the training pipeline as a plain script: python -m pipeline.benchmark.plain SOURCE LABEL FOLDER"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from skrub import StringEncoder, TableVectorizer, ToCategorical

from pipeline.benchmark import METRICS, PARAMETERS
from pipeline.benchmark.rows import read_table
from steps.evaluation.measures import evaluate
from steps.evaluation.page import evaluation_page
from steps.splitting import share_of_each_class


def main(source: Path, label: str, folder: Path) -> None:
    """Train and evaluate with the pipeline's parameters, which the folder's parameters.json has.

    Writes model.joblib, metrics.json and report.html to the folder. Of two classes scikit-learn trains one model.
    """
    parameters = json.loads((folder / PARAMETERS).read_text("utf-8"))
    seed, forest = parameters["seed"], ("max_iter", "learning_rate", "l2_regularization")
    frame = read_table(source)
    held = share_of_each_class(frame[label], parameters["test_size"], seed)
    train, test = frame[~held], frame[held]

    classifier = HistGradientBoostingClassifier(
        **{name: parameters[name] for name in forest},
        max_leaf_nodes=parameters["max_leaf_nodes"] or min(255, max(63, len(train) // 290)),
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

    evaluation = evaluate(model, test.drop(columns=label), test[label].to_numpy())
    metrics = evaluation.figures | evaluation.per_class.to_dict() | {"confusion": evaluation.confusion.tolist()}
    (folder / METRICS).write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    facts: dict[str, object] = {"Source": source.name, "Label": label}
    (folder / "report.html").write_text(evaluation_page(evaluation, facts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
