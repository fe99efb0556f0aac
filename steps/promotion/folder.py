"""The folder in which a model is handed on: with what is to be known of it, and had to use it."""

import json
import math
import os
import pkgutil
import platform
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from steps.model_folder import CARD, FACTS, MODEL, REFERENCE, REQUIREMENTS, SCRIPT, TRAINING_ROWS
from steps.promotion.card import model_card
from steps.promotion.rows import digest_of, row_hashes

PACKAGES = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub")  # what loading and predicting needs
N_REFERENCE = 10_000  # rows
BY_CLASS = ("rows", "precision", "recall", "f1")
OVERALL = ("accuracy", "macro_f1", "mean_f1")
OF_ERRORS = ("r2", "mean_absolute_error", "root_mean_squared_error")
OF_QUANTITIES = (*OF_ERRORS, "interval_coverage", "interval_width", *(f"baseline_{name}" for name in OF_ERRORS))
N_QUANTILES = 1_001  # of what is estimated of the test rows, from the smallest to the largest


def facts_of(
    model: Pipeline,
    train: pd.DataFrame,
    test: pd.DataFrame,
    predicted: np.ndarray,
    told: dict[str, Any],
    figures: dict[str, float],
    **more: Any,
) -> dict[str, Any]:
    """Return what there is to be known of a model, as JSON holds it.

    Args:
        model: The model, whose first step is a RawRows.
        train: Its training rows.
        test: Its test rows.
        predicted: What it predicts of them, classes as text, a quantity as numbers; shape (n_rows,).
        told: What the steps before have told of these rows: label, source, fingerprint, test_size, seed, ….
        figures: What evaluate_model has measured: accuracy, macro_f1, …, and f1_c for the class of code c, or r2, ….
        more: What else is to be in it.
    """
    label = told["label"]
    if told.get("task") == "regression":
        places = np.linspace(0, 1, min(len(predicted), N_QUANTILES))
        of_task = {
            "task": "regression",
            "classes": [],
            "levels": list(model[-1].levels),
            "estimates": np.quantile(predicted, places).tolist(),
            "figures": {name: figures[name] for name in OF_QUANTITIES if name in figures},
        }
    else:
        of_task = _of_classes([str(name) for name in model.classes_], predicted, figures)
    first = train[list(model[0].columns)].head(1)
    return {
        **more,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "label": label,
        **of_task,
        "columns": model[0].columns,
        "example": {name: _json_value(values.iloc[0]) for name, values in first.items()},
        "source": told.get("source", ""),
        "fingerprint": told.get("fingerprint", ""),
        "split": {name: told.get(name) for name in ("test_size", "seed", "split_by", "group_by")},
        "rows": {"train": len(train), "test": len(test)},
        "duplicates_in_train": told.get("duplicates_in_train", 0),
        "na_values": told.get("na_values", []),
        "test_rows": digest_of(row_hashes(model, test, label)),
        "python": platform.python_version(),
        "learners": getattr(model[-1], "learners", []),  # of a vote
        "packages": {package: version(package) for package in (*PACKAGES, *getattr(model[-1], "packages", ()))},
    }


def _of_classes(classes: list[str], predicted: np.ndarray, figures: dict[str, float]) -> dict[str, Any]:
    """Return what there is to be known of the classes that a model tells."""
    mix = pd.Series(predicted).value_counts(normalize=True)
    by_class = {
        name: {of_class: figures.get(f"{name}_{code}") for code, of_class in enumerate(classes)} for name in BY_CLASS
    }
    return {
        "task": "classification",
        "classes": classes,
        "figures": {name: figures[name] for name in OVERALL if name in figures} | by_class,
        "class_mix": {name: float(mix.get(name, 0.0)) for name in classes},
    }


def write_folder(folder: str, file: str, facts: dict[str, Any], model: Pipeline, train: pd.DataFrame) -> None:
    """Write the folder of a model.

    Args:
        folder: The folder. It may be there, as a lost attempt has left it, and the champion may be in it by then, so
            that its files are replaced and what else is there is removed after that.
        file: The model's file, of which the folder gets a copy.
        facts: What there is to be known of it.
        model: The model.
        train: Its training rows.
    """
    os.makedirs(folder, exist_ok=True)
    shutil.copyfile(file, os.path.join(folder, MODEL))
    np.save(os.path.join(folder, TRAINING_ROWS), np.unique(row_hashes(model, train, facts["label"])))
    evenly = np.linspace(0, len(train) - 1, min(len(train), N_REFERENCE)).round().astype(int)
    train[list(facts["columns"])].iloc[evenly].to_parquet(os.path.join(folder, REFERENCE), index=False)
    script = pkgutil.get_data(__package__, "predict.py")
    if script is None:
        raise FileNotFoundError("predict.py")
    texts = {
        FACTS: json.dumps(facts, indent=1, allow_nan=False, ensure_ascii=False),
        CARD: model_card(facts),
        SCRIPT: script.decode().replace('SHA256 = ""', f'SHA256 = "{facts["sha256"]}"'),
        REQUIREMENTS: "".join(f"{package}=={pinned}\n" for package, pinned in facts["packages"].items()),
    }
    for name, text in texts.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as opened:
            opened.write(text)
    for other in {*os.listdir(folder)} - {MODEL, TRAINING_ROWS, REFERENCE, *texts}:
        path = os.path.join(folder, other)
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def _json_value(value: Any) -> Any:
    """Return a cell as a JSON file holds it: None where it is missing, text where JSON has no such kind."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)) or value is pd.NaT:
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
