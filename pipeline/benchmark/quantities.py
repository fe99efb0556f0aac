"""Regression beside plain learners on the same rows: python -m pipeline.benchmark.quantities diabetes rows.csv:price"""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from kfp import dsl
from sklearn import datasets
from sklearn.base import RegressorMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from steps.combine_models import combine_models
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model

SEEDS, FEW_ROWS = (0, 1, 2, 3, 4), 10_000  # of a larger table one split tells enough
Learned = tuple[dict[str, float], pd.DataFrame, pd.DataFrame]  # figures, training and test rows


def main(named: list[str]) -> None:
    """Print a table of R² by the pipeline's steps and by plain learners; all see the same rows.

    Args:
        named: Of each table its file and label, as in rows.csv:price; diabetes is scikit-learn's own.
    """
    print("| table | rows | pipeline | boosting | forest | ridge | ÷ best | in the interval |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in named:
        with TemporaryDirectory() as folder:
            source, label = table_of(name, Path(folder))
            n_rows = len(pd.read_csv(source))
            seeds = SEEDS if n_rows <= FEW_ROWS else SEEDS[:1]
            with redirect_stdout(sys.stderr):  # what the steps tell
                figures = np.array([compared(source, label, Path(folder, str(seed)), seed) for seed in seeds])
        found, covered = figures[:, :4].mean(axis=0), figures[:, 4].mean()
        shown = " | ".join(f"{r2:.4f}" for r2 in found)
        shown += f" | {found[0] / found[1:].max():.3f} | {covered:.1%}"
        print(f"| {source.stem} | {n_rows:,} | {shown} |", flush=True)


def table_of(name: str, folder: Path) -> tuple[Path, str]:
    """Return the file of a table and the name of its label."""
    if name == "diabetes":
        path = folder / "diabetes.csv"
        datasets.load_diabetes(as_frame=True).frame.to_csv(path, index=False)
        return path, "target"
    file, _, label = name.rpartition(":")
    return Path(file), label


def compared(source: Path, label: str, folder: Path, seed: int) -> list[float]:
    """Return R² of the pipeline, of boosting, a forest and ridge on the same rows, and the share in the interval."""
    figures, train, test = learned(source, label, folder, seed)
    plain = [
        r2_score(test[label], learner.fit(prepared(train, label), train[label]).predict(prepared(test, label)))
        for learner in plain_learners(seed)
    ]
    return [figures["r2"], *plain, figures["interval_coverage"]]


def learned(source: Path, label: str, folder: Path, seed: int = 0) -> Learned:
    """Run the steps from the table to the evaluation; return the figures, and the rows of both parts."""
    folder.mkdir(parents=True)

    def artifact(kind: Callable[..., dsl.Artifact], name: str) -> dsl.Artifact:
        return kind(uri=str(folder / name))

    table, parts = artifact(dsl.Dataset, "table"), [artifact(dsl.Dataset, name) for name in ("train", "test")]
    schema, features = artifact(dsl.Artifact, "schema"), [artifact(dsl.Dataset, name) for name in ("X", "X_test")]
    places = prepare_data.python_func(
        source=str(source), label=label, fingerprint="", dataset=table, schema=schema, task="regression"
    )
    split_data.python_func(dataset=table, train=parts[0], test=parts[1], seed=seed)
    made = artifact(dsl.Artifact, "preprocessor")
    preprocess.python_func(
        train=parts[0], test=parts[1], train_features=features[0], test_features=features[1], preprocessor=made
    )
    models = [artifact(dsl.Model, f"model-{place}") for place in places]
    for place, of_place in zip(places, models, strict=True):
        train_model.python_func(train_features=features[0], class_code=place, class_model=of_place, seed=seed)
    model, metrics = artifact(dsl.Model, "model"), artifact(dsl.Metrics, "metrics")
    combine_models.python_func(class_models=models, preprocessor=made, train=parts[0], model=model)
    evaluate_model.python_func(
        model=model,
        test=parts[1],
        metrics=metrics,
        confusion=artifact(dsl.ClassificationMetrics, "confusion"),
        report=artifact(dsl.HTML, "report"),
        predictions=artifact(dsl.Dataset, "predictions"),
    )
    return dict(metrics.metadata), *(pd.read_parquet(part.path) for part in parts)


def plain_learners(seed: int) -> list[RegressorMixin]:
    """Return gradient boosting and a forest as they come, and ridge of scaled numbers."""

    def of_numbers(learner: RegressorMixin, *scaler: StandardScaler) -> RegressorMixin:
        columns = make_column_transformer(
            (make_pipeline(SimpleImputer(), *scaler), make_column_selector(dtype_include="number")),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
        )
        return make_pipeline(columns, learner)

    return [
        HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=seed),
        of_numbers(RandomForestRegressor(random_state=seed)),
        of_numbers(Ridge(), StandardScaler()),
    ]


def prepared(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    """Return the columns of rows but the label, text as categories."""
    X = rows.drop(columns=label)
    texts = [name for name, kind in X.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    return X.astype(dict.fromkeys(texts, "str")).astype(dict.fromkeys(texts, "category"))


if __name__ == "__main__":
    main(sys.argv[1:] or ["diabetes"])
