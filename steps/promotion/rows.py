"""Rows by their content, so that a row is known again in another table."""

import hashlib

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline


def row_hashes(model: Pipeline, rows: pd.DataFrame, label: str) -> np.ndarray:
    """Return a hash of what a model sees of each row, and of its class; shape (n_rows,), uint64.

    The model's own first step reads the rows, so that a number is the same whether a file has it as 5 or as 5.0.
    """
    read = model[0].transform(rows)
    read.insert(len(read.columns), label, rows[label].astype(str).to_numpy(), allow_duplicates=True)
    return np.asarray(pd.util.hash_pandas_object(read, index=False))


def digest_of(hashes: np.ndarray) -> str:
    """Return a digest of rows by their hashes, in whatever order they are."""
    return hashlib.sha256(np.sort(hashes).tobytes()).hexdigest()
