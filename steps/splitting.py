"""Which rows are held back for the test: a share of each class, the newest ones, or whole groups."""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

BLOCK_ROWS = 1 << 18  # of a table that are copied at once


def read_rows(path: str) -> pa.Table:
    """Read a Parquet file without what pandas notes of its own types and index, so that all parts have plain types."""
    return parquet.read_table(path).replace_schema_metadata(None)


def hold_back(
    table: pa.Table,
    label: str,
    test_size: float,
    seed: int,
    split_by: str = "",
    group_by: str = "",
    is_quantity: bool = False,
) -> np.ndarray:
    """Mark the rows that are held back for the test: the newest, whole groups, or a random share of each class.

    Args:
        table: The rows.
        label: Name of the column of the classes.
        test_size: Share of the rows to hold back, between 0 and 1.
        seed: Seed of what is random.
        split_by: Name of a column of times or numbers; "" for none.
        group_by: Name of a column of groups; "" for none.
        is_quantity: Whether the label is a quantity: a random share of each of its tenths is held back.

    Raises:
        ValueError: the rows cannot be split so; the message says what to do.
    """
    if not 0 < test_size < 1:
        raise ValueError(f"test_size is a share of the rows between 0 and 1, not {test_size}.")
    if split_by and group_by:
        raise ValueError("Rows are split by time or by groups, not by both. Name one of split_by and group_by.")
    labels = _column(table, label)
    if is_quantity:
        labels = tenths(labels, test_size) if not group_by else labels * 0
    if split_by:
        return newest_rows(_column(table, split_by), test_size)
    if group_by:
        return whole_groups(_column(table, group_by), labels, test_size, seed)
    return share_of_each_class(labels, test_size, seed)


def tenths(numbers: pd.Series, test_size: float) -> pd.Series:
    """Return to which tenth of its column each number belongs; of few rows to a larger part, so that each can be split.

    Args:
        numbers: The column.
        test_size: Share of the rows of each part that is to be held back.
    """
    n_parts = max(1, min(10, int(len(numbers) * min(test_size, 1 - test_size))))
    return pd.qcut(numbers.rank(method="first"), n_parts, labels=False)


def untested_classes(table: pa.Table, label: str, held: np.ndarray, weight: str = "") -> list[str]:
    """Return the classes that have no row in the test part.

    Args:
        table: The rows.
        label: Name of the column of the classes.
        held: Which rows are held back for the test.
        weight: Name of the column of the rows' weights; "" for none.

    Raises:
        ValueError: a class has no row, or none that counts, in the training part.
    """
    labels = _column(table, label)
    learned = ~held & (_column(table, weight) > 0).to_numpy() if weight else ~held
    classes, in_train, in_test = (set(some.unique()) for some in (labels, labels[learned], labels[held]))
    if classes > in_train:
        names = ", ".join(sorted(str(name) for name in classes - in_train))
        raise ValueError(
            f"The training part has no row {'with a weight above 0 ' if weight else ''}of the class {names}. "
            "Take another test_size, set min_class_rows to leave rare classes out, or split by another column."
        )
    return sorted(str(name) for name in classes - in_test)


def _column(table: pa.Table, name: str) -> pd.Series:
    return table.column(name).to_pandas().rename(name)


def share_of_each_class(labels: pd.Series, test_size: float, seed: int) -> np.ndarray:
    """Mark a random share of each class for the test; a class of two rows or more keeps one in both parts."""
    shuffled = labels.sample(frac=1, random_state=seed)
    rows_of_class = shuffled.groupby(shuffled, observed=True)
    size = rows_of_class.transform("size")
    held = rows_of_class.cumcount() < (size * test_size).round().clip(1, size - 1)
    return np.asarray(held.reindex(labels.index))


def newest_rows(times: pd.Series, test_size: float) -> np.ndarray:
    """Mark the newest rows for the test, as near to test_size as whole moments allow.

    Raises:
        ValueError: the column cannot be put in the order of time, or has only one moment; the message says what to do.
    """
    name = times.name
    if times.isna().any():
        raise ValueError(
            f"{times.isna().sum():,} rows have no time in {name!r} (split_by). Fill them in or remove them."
        )
    if isinstance(times.dtype, pd.CategoricalDtype):
        times = times.astype(times.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(times):
        raise ValueError(f"The column {name!r} (split_by) holds true and false. Name a column of times or numbers.")
    if pd.api.types.is_string_dtype(times) and isinstance(times.iloc[0], str):
        readings = []
        for how in ({"format": "ISO8601"}, {"dayfirst": False}, {"dayfirst": True}):
            try:
                with warnings.catch_warnings(action="ignore"):  # that the day seems to come first
                    readings.append(pd.to_datetime(times, utc=True, **how))
            except ValueError:
                continue
            if "format" in how:
                break
        if not readings:
            raise ValueError(f"The text in {name!r} (split_by) is not all of one kind of date. Write 2026-01-31T23:59.")
        if not readings[0].rank().equals(readings[-1].rank()):
            raise ValueError(
                f"The dates in {name!r} (split_by) can be read as day/month and as month/day. Write 2026-01-31."
            )
        times = readings[0]

    rows_since = times.value_counts(sort=False).sort_index(ascending=False).cumsum()
    if len(rows_since) < 2:
        raise ValueError(f"All rows have the same time in {name!r} (split_by). Split by another column.")
    first = (rows_since.iloc[:-1] - test_size * len(times)).abs().idxmin()
    return np.asarray(times >= first)


def whole_groups(groups: pd.Series, labels: pd.Series, test_size: float, seed: int) -> np.ndarray:
    """Mark whole groups for the test, so that each class has about the share test_size there.

    The groups are taken in random order; one goes into the test where that brings the counts of the classes nearer to
    their share, and never with the last rows of a class that the training has.

    Raises:
        ValueError: no group can be held back; the message says what to do.
    """
    name = groups.name
    if groups.isna().any():
        raise ValueError(
            f"{groups.isna().sum():,} rows have no group in {name!r} (group_by). Fill them in or remove them."
        )
    group_codes, group_names = pd.factorize(groups)
    label_codes, label_names = pd.factorize(labels)
    if len(group_names) < 2:
        raise ValueError(f"All rows are of one group in {name!r} (group_by). Name a column of at least two groups.")
    shape = len(group_names), len(label_names)
    counts = np.bincount(group_codes * shape[1] + label_codes, minlength=shape[0] * shape[1]).reshape(shape)
    total = counts.sum(axis=0)
    left, lacking = total.copy(), test_size * total
    has_a_whole_class = (counts == total).any(axis=1)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~has_a_whole_class))
    if not len(order):
        raise ValueError(
            f"Each group in {name!r} (group_by) has all rows of some class, so none can be held back for the test. "
            "Group by another column, or leave out the classes of one group only."
        )
    held = np.zeros(len(counts), dtype=bool)
    for group in order:
        rows = counts[group]
        keeps_classes = ((left > rows) | (rows == 0)).all()
        if keeps_classes and ((lacking - rows) ** 2 / total).sum() < (lacking**2 / total).sum():
            held[group] = True
            left -= rows
            lacking -= rows
            if (lacking < 0.5).all():
                break
    if not held.any():  # each is far larger than the share
        held[min(order, key=lambda group: ((lacking - counts[group]) ** 2 / total).sum())] = True
    return np.asarray(held[group_codes])


def repeated_rows(table: pa.Table, held: np.ndarray) -> int:
    """Count the test rows that stand in the training part as well, equal in every column."""
    hashes = pd.Series(np.concatenate([_hashes(block) for block in blocks(table)]))
    return int(hashes[held].isin(hashes[~held]).sum())


def _hashes(block: pa.Table) -> np.ndarray:
    frame = block.to_pandas()
    for field in block.schema:
        if pa.types.is_nested(field.type):  # lists and dictionaries cannot be hashed
            frame[field.name] = frame[field.name].map(str)
    hashes: np.ndarray = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return hashes


def blocks(table: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of a table in blocks, so that a copy of one takes little memory; of no rows one block."""
    for start in range(0, max(1, table.num_rows), BLOCK_ROWS):
        yield table.slice(start, BLOCK_ROWS)


def write_part(table: pa.Table, is_chosen: np.ndarray, path: str) -> None:
    """Write the rows of a table that are chosen as Parquet, in their order."""
    start = 0
    with parquet.ParquetWriter(path, table.schema) as writer:
        for block in blocks(table):
            writer.write_table(block.filter(is_chosen[start : start + len(block)]))
            start += len(block)
