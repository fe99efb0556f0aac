"""AutoGluon in its own Python: python -I autogluon_fit.py TRAIN TEST LABEL SECONDS PRESET FOLDER, or versions"""

import contextlib
import importlib.metadata
import json
import sys
from pathlib import Path

import pandas as pd
from autogluon.tabular import TabularPredictor

LEARNERS = ("lightgbm", "catboost", "xgboost", "torch", "fastai")


def main(train: str, test: str, label: str, seconds: str, preset: str, folder: str) -> None:
    """Fit on the training rows, and write the classes of the test rows and the bytes that prediction needs."""
    text = {label: str}  # classes are names, as the pipeline has them
    rows, unseen = (pd.read_csv(file, dtype=text) for file in (train, test))
    predictor = TabularPredictor(label, path=str(Path(folder, "fitted")), verbosity=2)
    predictor.fit(rows, presets=preset, time_limit=float(seconds))
    predictor.predict(unseen.drop(columns=label)).to_csv(Path(folder, "predicted.csv"), index=False)
    small = Path(predictor.clone_for_deployment(str(Path(folder, "deployed"))))
    size = sum(file.stat().st_size for file in small.rglob("*") if file.is_file())
    Path(folder, "size.json").write_text(json.dumps(size), encoding="utf-8")


def version(package: str) -> str:
    """Return the version of a package, or of its build for CPUs; "" where neither is installed."""
    for name in (package, f"{package}-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""


if __name__ == "__main__":
    if sys.argv[1:] == ["versions"]:
        print(json.dumps({package: version(package) for package in ("autogluon.tabular", *LEARNERS)}))
    else:
        main(*sys.argv[1:])
