"""Predict with the model beside this file: python predict.py ROWS.csv [OUT.csv]

It needs what requirements.txt names: pip install -r requirements.txt
"""

import hashlib
import io
import json
import sys
from pathlib import Path

import joblib
import pandas as pd
from sklearn.pipeline import Pipeline

HERE = Path(__file__).resolve().parent
SHA256 = ""  # of model.joblib: loading a model executes what its file says, so no other is loaded


def load_model() -> Pipeline:
    """Return the scikit-learn model; it takes raw rows, in any order of columns and with others among them."""
    content = (HERE / "model.joblib").read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit("model.joblib is not the file that this script was written for. It is not loaded.")
    return joblib.load(io.BytesIO(content))


def read_rows(path: str) -> pd.DataFrame:
    """Read a table as training did: the same words stand for missing values."""
    if path.endswith(".parquet"):
        return pd.read_parquet(path)
    facts = json.loads((HERE / "model.json").read_text("utf-8"))
    return pd.read_csv(path, na_values=["", *facts["na_values"]], keep_default_na=False, low_memory=False)


def predict(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the class of each row and the probability of every class; of a quantity its estimate and interval."""
    model = load_model()
    if not hasattr(model, "predict_proba"):
        intervals = model[-1].predict_interval(model[:-1].transform(rows))
        return pd.DataFrame(intervals, columns=["predicted", "lower", "upper"], index=rows.index)
    found = pd.DataFrame(model.predict_proba(rows), columns=[str(name) for name in model.classes_], index=rows.index)
    found.insert(0, "class", model.predict(rows))
    return found


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    predict(read_rows(sys.argv[1])).to_csv(sys.argv[2] if len(sys.argv) == 3 else sys.stdout, index=False)
