"""Where a model fails: the slices of the table, and the classes that are taken for one another."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from steps.evaluation.measures import class_f1

MIN_SLICE_ROWS = 30  # fewer are too few to tell
MAX_SLICES, MAX_SLICED_COLUMNS = 40, 8  # of a column of text, and such columns
MAX_PAIRS, ROWS_OF_A_PAIR = 6, 3


@dataclass(frozen=True)
class Slices:
    """How good a model is on parts of the rows."""

    figures: dict[str, pd.DataFrame]  # of slice_figures() by column, the worst value first and those of few rows last
    left_out: list[str]  # columns of text, for too many values or after the last that is sliced


class Pair(NamedTuple):
    """Two classes of which one is taken for the other."""

    true: int  # code
    predicted: int
    n_rows: int
    surest: list[int]  # places of the rows that the model was surest of


def slice_figures(groups: pd.Series, codes: np.ndarray, predicted: np.ndarray, n_classes: int) -> pd.DataFrame:
    """Measure the rows of each group by themselves.

    Args:
        groups: Group of each row; rows without one are a group of their own.
        codes: Codes of the true classes; -1 is none that the model knows.
        predicted: Codes of the predicted classes.
        n_classes: Number of classes.

    Returns:
        One row a group, with its columns rows, accuracy, macro_f1 (over the classes that have rows in it) and few
        (whether the rows are too few to tell).
    """
    places, values = pd.factorize(groups, sort=True, use_na_sentinel=True)
    found = []
    for place in range(-1, len(values)):
        rows = places == place
        if not rows.any():
            continue
        f1 = class_f1(codes[rows], predicted[rows], n_classes)
        found.append(
            {
                groups.name: "(missing)" if place < 0 else str(values[place]),
                "rows": int(rows.sum()),
                "accuracy": float((codes[rows] == predicted[rows]).mean()),
                "macro_f1": 0.0 if np.isnan(f1).all() else float(np.nanmean(f1)),
                "few": bool(rows.sum() < MIN_SLICE_ROWS),
            }
        )
    return pd.DataFrame(found).set_index(groups.name)


def failing_slices(
    X: pd.DataFrame, codes: np.ndarray, predicted: np.ndarray, n_classes: int, columns: list[str]
) -> Slices:
    """Measure the rows of each value of the columns that have few, and of each quarter of the first numeric column.

    Args:
        X: Raw test rows.
        codes: Codes of their true classes; -1 is none that the model knows.
        predicted: Codes of their predicted classes.
        n_classes: Number of classes.
        columns: All columns, the most important first.
    """
    found: dict[str, pd.DataFrame] = {}
    left_out: list[str] = []
    n_columns, kinds = 0, X.dtypes
    number = next((name for name in columns if kinds[name].kind in "iuf" and X[name].nunique() > 1), None)
    if number is not None:
        values = X[number].to_numpy("float64", na_value=np.nan)
        ends = np.unique(np.nanquantile(values, [0, 0.25, 0.5, 0.75, 1]))
        quarters = pd.Series(np.searchsorted(ends[1:-1], values), dtype="Int64", name=number).mask(np.isnan(values))
        spans = {str(place): f"{low:,.6g} \u2013 {high:,.6g}" for place, (low, high) in enumerate(pairwise(ends))}
        found[number] = slice_figures(quarters, codes, predicted, n_classes).rename(index=spans)
    for name in columns:
        of_text = isinstance(kinds[name], (pd.CategoricalDtype, pd.StringDtype, pd.BooleanDtype))
        if not of_text and kinds[name].kind not in "Ob":
            continue
        values = X[name].astype("str").reset_index(drop=True) if n_columns < MAX_SLICED_COLUMNS else None
        if values is None or values.nunique() > MAX_SLICES:
            left_out.append(name)
            continue
        n_columns += 1
        found[name] = slice_figures(values, codes, predicted, n_classes).sort_values(["few", "macro_f1"], kind="stable")
    return Slices(found, left_out)


def confused_pairs(codes: np.ndarray, predicted: np.ndarray, sure: np.ndarray) -> list[Pair]:
    """Return the pairs of classes that are taken for one another most often.

    Args:
        codes: Codes of the true classes; -1 is none that the model knows.
        predicted: Codes of the predicted classes.
        sure: Probability of the predicted class.
    """
    wrong = np.flatnonzero((codes >= 0) & (codes != predicted))
    pairs, counts = np.unique(np.column_stack([codes[wrong], predicted[wrong]]), axis=0, return_counts=True)
    found = []
    for place in np.argsort(-counts, kind="stable")[:MAX_PAIRS]:
        true, other = pairs[place].tolist()
        rows = wrong[(codes[wrong] == true) & (predicted[wrong] == other)]
        surest = rows[np.argsort(-sure[rows], kind="stable")[:ROWS_OF_A_PAIR]]
        found.append(Pair(true, other, len(rows), surest.tolist()))
    return found
