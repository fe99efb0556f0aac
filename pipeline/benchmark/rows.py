"""Rows for the benchmark: as many as are asked for, like those of a table."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipeline import RequestError
from pipeline.benchmark.reading import read_table

CHUNK = 200_000  # rows that are made at once


def make_rows(source: Path, label: str, rows: int, target: Path, seed: int = 0) -> Path:
    """Write a CSV file of any number of rows like those of a table: repeated, with other numbers.

    Each number moves by a Gaussian of a twentieth of its column's standard deviation, within the column's range, and
    whole numbers stay whole. The label, text and missing values stay. The classes are the same in any number of rows.

    Args:
        source: CSV, gzipped CSV or Parquet file.
        label: Column that holds the classes.
        rows: Number of rows to write.
        target: File to write.
        seed: Seed of the order and of the numbers.

    Returns:
        The target.

    Raises:
        RequestError: there are too few rows for two of each class.
    """
    frame, rng = read_table(source), np.random.default_rng(seed)
    for name in frame.select_dtypes("category"):  # which Arrow does not write as CSV
        frame[name] = frame[name].astype(object)
    rare_first = rng.permutation(len(frame))
    early = frame[label].iloc[rare_first].groupby(frame[label].iloc[rare_first]).cumcount().to_numpy() < 2
    if rows < early.sum():
        raise RequestError(f"--rows {rows:,}: expected at least {early.sum():,}, two for each class.")
    order = np.concatenate([rare_first[early], rare_first[~early]])
    numbers = [name for name in frame if name != label and frame[name].dtype.kind in "iuf"]
    low, high, deviation = frame[numbers].min(), frame[numbers].max(), frame[numbers].std().fillna(0)
    schema = pa.Schema.from_pandas(frame, preserve_index=False)
    with csv.CSVWriter(target, schema) as writer:
        for start in range(0, rows, CHUNK):
            part = frame.iloc[order[np.arange(start, min(start + CHUNK, rows)) % len(order)]].copy()
            for name in numbers:
                moved = part[name] + rng.normal(scale=deviation[name] / 20, size=len(part))
                moved = moved.round() if frame[name].dtype.kind in "iu" else moved
                part[name] = moved.clip(low[name], high[name]).astype(frame[name].dtype)
            writer.write_table(pa.Table.from_pandas(part, schema, preserve_index=False))
    return target
