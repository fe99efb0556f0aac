"""Split the rows once, before anything is learned from them."""

from typing import TYPE_CHECKING

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


def share_of_each_class(labels: "pd.Series", test_size: float, seed: int) -> "np.ndarray":
    """Mark a random share of each class for the test; a class of two rows or more keeps one in both parts."""
    shuffled = labels.sample(frac=1, random_state=seed)
    rows_of_class = shuffled.groupby(shuffled, observed=True)
    size = rows_of_class.transform("size")
    held = rows_of_class.cumcount() < (size * test_size).round().clip(1, size - 1)
    return held.reindex(labels.index).to_numpy()


def newest_rows(times: "pd.Series", test_size: float) -> "np.ndarray":
    """Mark the newest rows for the test, as near to test_size as whole moments allow.

    Raises:
        ValueError: the column cannot be put in the order of time, or has only one moment; the message says what to do.
    """
    import warnings

    import pandas as pd

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
    return (times >= first).to_numpy()


def whole_groups(groups: "pd.Series", labels: "pd.Series", test_size: float, seed: int) -> "np.ndarray":
    """Mark whole groups for the test, so that each class has about the share test_size there.

    The groups are taken in random order; one goes into the test where that brings the counts of the classes nearer to
    their share, and never with the last rows of a class that the training has.

    Raises:
        ValueError: no group can be held back; the message says what to do.
    """
    import numpy as np
    import pandas as pd

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
    return held[group_codes]


def repeated_rows(table: "pa.Table", held: "np.ndarray") -> int:
    """Count the test rows that stand in the training part as well, equal in every column."""
    import pandas as pd
    import pyarrow as pa

    frame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_nested(field.type):  # lists and dictionaries cannot be hashed
            frame[field.name] = frame[field.name].map(str)
    hashes = pd.util.hash_pandas_object(frame, index=False)
    return int(hashes[held].isin(hashes[~held]).sum())


@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("numpy", "pandas", "pyarrow"),
    additional_funcs=[share_of_each_class, newest_rows, whole_groups, repeated_rows],
)
def split_data(
    dataset: Input[Dataset],
    label: str,
    train: Output[Dataset],
    test: Output[Dataset],
    test_size: float = 0.2,
    seed: int = 0,
    split_by: str = "",
    group_by: str = "",
    weight: str = "",
):
    """Split a table into a training and a test part: at random, by time, or by groups.

    At random, each class is split by the same share. Every class must be in the training part, and test rows that
    stand in the training part as well are counted, since they make the figures look better than they are.

    Args:
        dataset: Table as Parquet, at least two rows a class.
        label: Name of the column that holds the classes.
        test_size: Share of the rows that goes into the test part, between 0 and 1.
        seed: Seed of the shuffle, from 0 to 4,294,967,295; the same seed gives the same parts.
        split_by: Column of times or numbers: train on the oldest rows, test on the newest; empty for none. Rows of
            one time stay on one side.
        group_by: Column of groups: all rows of a group stay on one side; empty for none. The column is left out of
            both parts, since the groups of new rows are others.
        weight: Column of the rows' weights, which does not count when rows are compared; empty for none.

    Returns:
        train: Training rows as Parquet, in the order of the table.
        test: Test rows as Parquet, in the order of the table.
    """
    from pyarrow import parquet

    if not 0 < test_size < 1:
        raise ValueError(f"test_size is a share of the rows between 0 and 1, not {test_size}.")
    if split_by and group_by:
        raise ValueError("Rows are split by time or by groups, not by both. Name one of split_by and group_by.")
    # without what pandas notes of its own types and index, both parts are read back as the same plain types
    table = parquet.read_table(dataset.path).replace_schema_metadata(None)
    labels = table.column(label).to_pandas()
    if split_by:
        held = newest_rows(table.column(split_by).to_pandas().rename(split_by), test_size)
    elif group_by:
        held = whole_groups(table.column(group_by).to_pandas().rename(group_by), labels, test_size, seed)
        table = table.drop_columns(group_by)
    else:
        held = share_of_each_class(labels, test_size, seed)

    learned = ~held if not weight else ~held & (table.column(weight).to_pandas() > 0).to_numpy()
    classes, in_train, in_test = (set(some.unique()) for some in (labels, labels[learned], labels[held]))
    if classes > in_train:
        names = ", ".join(sorted(str(name) for name in classes - in_train))
        raise ValueError(
            f"The training part has no row {'with a weight above 0 ' if weight else ''}of the class {names}. "
            "Take another test_size, set min_class_rows to leave rare classes out, or split by another column."
        )
    untested = sorted(str(name) for name in classes - in_test)
    if untested:
        print(f"The test part has no row of the class {', '.join(untested)}: nothing is measured of it.")

    repeated = repeated_rows(table.drop_columns(weight) if weight else table, held)
    if repeated:
        print(
            f"{repeated:,} of {held.sum():,} test rows ({repeated / held.sum():.1%}) stand in the training part as "
            "well: their figures tell what was memorised."
        )
    for part, rows in ((train, table.filter(~held)), (test, table.filter(held))):
        parquet.write_table(rows, part.path)
        part.metadata.update(dataset.metadata, rows=rows.num_rows, columns=rows.column_names)
    test.metadata["duplicates_in_train"] = repeated
    test.metadata["classes_without_rows"] = untested
