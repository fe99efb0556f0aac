"""Stream rows through a model: their classes or estimates, as Parquet or CSV, in their order."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv, dataset, parquet
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info, threadpool_limits

from steps.cells import category_of
from steps.evaluation.measures import class_f1
from steps.evaluation.quantities import errors
from steps.prediction.rows import blocks, frame_of
from steps.raw_rows import distinct_names
from steps.tables.types import label_column

T = TypeVar("T")
U = TypeVar("U")


class Predicted(Protocol):
    """What came of rows that were predicted."""

    classes: list[str]  # names of the classes; none of a quantity
    columns: list[str]  # names of what is written of each row

    @property
    def rows(self) -> int:
        """How many rows."""

    @property
    def class_mix(self) -> dict[str, float]:
        """Share of the rows that were predicted as each class."""

    def figures(self) -> dict[str, float]:
        """Return the figures that evaluate_model has, and labelled_rows; none without labels."""

    def of_block(self, rows: pd.DataFrame) -> np.ndarray:
        """Return what the model says of rows; several threads may ask at once."""

    def add(self, found: np.ndarray, labels: pa.ChunkedArray | None) -> list[pa.Array | np.ndarray]:
        """Take what the model said of rows, and their labels where they are known; return the columns to write."""


class PredictedClasses:
    """Rows whose classes were predicted: class, probability_… of each class, and margin are written."""

    def __init__(self, model: Pipeline):
        self._model, known = model, pd.Index(model.classes_)
        self._values = pa.array(known.tolist())
        self._codes_of = {category_of(name): code for code, name in enumerate(known.tolist())}
        self.classes = [str(name) for name in known]
        self.columns = ["class", *(f"probability_{name}" for name in self.classes), "margin"]
        self._class_rows = np.zeros(len(self.classes), int)  # rows that were predicted as each
        # codes of the true classes, -1 for one that is not known, and of the same rows' predicted ones
        self._labels: list[np.ndarray] = []
        self._predictions: list[np.ndarray] = []

    @property
    def rows(self) -> int:
        return int(self._class_rows.sum())

    @property
    def class_mix(self) -> dict[str, float]:
        return dict(zip(self.classes, (self._class_rows / max(1, self.rows)).tolist(), strict=True))

    def figures(self) -> dict[str, float]:
        if not any(map(len, self._labels)):
            return {}
        true, predicted = np.concatenate(self._labels), np.concatenate(self._predictions)
        f1 = class_f1(true, predicted, len(self.classes))
        macro_f1 = 0.0 if np.isnan(f1).all() else float(np.nanmean(f1))
        return {"accuracy": float((true == predicted).mean()), "macro_f1": macro_f1, "labelled_rows": len(true)}

    def of_block(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self._model.predict_proba(rows))

    def add(self, found: np.ndarray, labels: pa.ChunkedArray | None) -> list[pa.Array | np.ndarray]:
        codes = found.argmax(axis=1)
        self._class_rows += np.bincount(codes, minlength=len(self.classes))
        if labels is not None:
            true = _codes(labels, self._codes_of)
            self._labels.append(true[true > -2])
            self._predictions.append(codes[true > -2].astype(np.int32))
        return [self._values.take(pa.array(codes)), *found.T, _margin(found)]


class EstimatedQuantities:
    """Rows whose quantity was estimated: predicted, and the lower and upper end of its interval are written."""

    def __init__(self, model: Pipeline):
        self._model = model
        self.rows = 0
        self.classes: list[str] = []
        self.class_mix: dict[str, float] = {}
        self.columns = ["predicted", "lower", "upper"]
        self._labels: list[np.ndarray] = []
        self._found: list[np.ndarray] = []  # of the same rows, estimate, lower and upper

    def figures(self) -> dict[str, float]:
        if not any(map(len, self._labels)):
            return {}
        true, (estimated, lower, upper) = np.concatenate(self._labels), np.concatenate(self._found).T
        coverage = float(((lower <= true) & (true <= upper)).mean())
        return {**errors(true, estimated), "interval_coverage": coverage, "labelled_rows": len(true)}

    def of_block(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self._model[-1].predict_interval(self._model[:-1].transform(rows)))

    def add(self, found: np.ndarray, labels: pa.ChunkedArray | None) -> list[pa.Array | np.ndarray]:
        self.rows += len(found)
        if labels is not None and (pa.types.is_floating(labels.type) or pa.types.is_integer(labels.type)):
            true = labels.to_numpy().astype(float)  # a missing one is NaN
            self._labels.append(true[np.isfinite(true)])
            self._found.append(found[np.isfinite(true)])
        return [*found.T]


def predict(
    model: Pipeline,
    rows: dataset.Dataset,
    path: str,
    keep: Sequence[str] = (),
    label: str | None = None,
    as_csv: bool = False,
    progress: Callable[[int], None] = lambda n_rows: None,
) -> Predicted:
    """Predict the rows of a table, in blocks, and write one row for each.

    Args:
        model: The model.
        rows: The table, with its columns.
        path: File to write: of each row the columns that are kept; of classes class, probability_… of each class, and
            margin, the difference of the two highest probabilities; of a quantity predicted, lower and upper. A name
            that a kept column has gets an underscore.
        keep: Names of columns to keep.
        label: Name of the column of labels, where there is one; None for none.
        as_csv: Whether to write CSV, otherwise Parquet.
        progress: Is told how many rows are done, after each block.

    Raises:
        ValueError: a column to keep is not there, or cannot be written as CSV.
    """
    keep = [*dict.fromkeys(keep)]
    there = rows.schema.names
    missing = [name for name in keep if name not in there]
    if missing:
        raise ValueError(f"keep: the table has no column {missing[0]!r}. It has {', '.join(map(repr, there[:20]))}.")
    predicted: Predicted = (PredictedClasses if hasattr(model, "predict_proba") else EstimatedQuantities)(model)
    names = [*keep, *distinct_names(predicted.columns, tuple(keep))]
    read = [*dict.fromkeys([*model[0].columns, *keep, *([] if label is None else [label])])]
    writer = None

    def predict_block(block: pa.Table) -> tuple[pa.Table, np.ndarray]:
        return block, predicted.of_block(frame_of(block, model))

    try:
        for block, found in _in_order(predict_block, blocks(rows, read)):
            columns = predicted.add(found, None if label is None else label_column(block.column(label)))
            written = pa.table([*(_kept(block.column(name), as_csv) for name in keep), *columns], names)
            if writer is None:
                writer = (csv.CSVWriter if as_csv else parquet.ParquetWriter)(path, written.schema)
            writer.write_table(written)
            progress(predicted.rows)
    except pa.ArrowException as error:
        raise ValueError(f"The predictions cannot be written: {str(error).splitlines()[0][:200]}.") from None
    finally:
        if writer is not None:
            writer.close()
    return predicted


def _in_order(do: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yield what becomes of items in their order, done by as many threads as OpenMP may have.

    Each does its own alone: OpenMP's own threads, which wait for one another at every tree, are several times slower
    where others keep a core busy.
    """
    n_threads = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"), default=1)
    waiting: deque[Future[U]] = deque()
    # set once, since it holds for all threads; a check before has told what is warned of
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),
        ThreadPoolExecutor(n_threads, initializer=threadpool_limits, initargs=(1, "openmp")) as pool,
    ):
        for item in items:
            waiting.append(pool.submit(do, item))
            if len(waiting) > n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _margin(probabilities: np.ndarray) -> np.ndarray:
    if probabilities.shape[1] < 2:
        return probabilities[:, 0]
    highest = np.partition(probabilities, -2, axis=1)[:, -2:]
    return highest[:, 1] - highest[:, 0]


def _codes(labels: pa.ChunkedArray, codes_of: dict[str | None, int]) -> np.ndarray:
    """Return the codes of labels: -1 for a class that the model does not know, -2 for none."""
    encoded = labels.combine_chunks().dictionary_encode() if not pa.types.is_dictionary(labels.type) else None
    encoded = labels.unify_dictionaries().combine_chunks() if encoded is None else encoded
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    categories = map(category_of, encoded.dictionary.to_pylist())
    codes = np.array([-2 if name is None else codes_of.get(name, -1) for name in categories] + [-2], np.int32)
    return np.asarray(codes[encoded.indices.fill_null(len(codes) - 1).to_numpy()])


def _kept(values: pa.ChunkedArray, as_csv: bool) -> pa.ChunkedArray:
    """Return a column as it is written: CSV knows no categories and no durations."""
    if pa.types.is_dictionary(values.type):
        return values.cast(values.type.value_type)
    return values.cast(pa.string()) if as_csv and pa.types.is_duration(values.type) else values
