"""What one column tells of the label by itself: columns that give the classes away."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_ROWS, RUN_ROWS = 100_000, 100  # that are looked at, in runs of some that follow one another
MAX_BINS, ROWS_OF_A_BIN = 256, 20  # so that each half has some
N_TENTHS = 10  # that a quantity is divided into
NEARLY_ALL = 0.95  # of what is to be told beyond the most frequent class
FILLED_ALIKE = 0.95  # F1 of being filled, or missing, for a class
CHANCE = 1e-6  # beyond which rows of one class among the filled ones are none
MIN_ROWS = 20  # fewer may agree by chance


@dataclass(frozen=True)
class Labels:
    """The classes of the rows of a table, and of the rows that are looked at."""

    name: str  # of the column
    names: list[str]
    indices: pa.Array  # a number of each row's class
    rows: np.ndarray  # places of the rows that are looked at, in order
    half: np.ndarray  # which of them are of the one half
    codes: np.ndarray  # place of their classes among the names
    one: str = "class"  # what each is called
    many: str = "classes"

    @property
    def most_frequent(self) -> float:
        """Share of the rows that are of the most frequent class."""
        return float(np.bincount(self.codes).max() / len(self.codes))

    def looked_at(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the values of a column in the rows that are looked at."""
        if len(self.rows) == len(column):
            return column
        # slices take no copy of a column, as taking single rows of its blocks does
        runs = (column.slice(int(start), RUN_ROWS).chunks for start in self.rows[::RUN_ROWS])
        return pa.chunked_array([chunk for chunks in runs for chunk in chunks], column.type)


def labels_of(name: str, indices: pa.Array, places: np.ndarray, names: list[str]) -> Labels:
    """Return the classes of a table, of which 100,000 rows are looked at where it has more.

    Args:
        name: Name of the column.
        indices: A number of each row's class.
        places: The place of the class of each such number among the names.
        names: Names of the classes.
    """
    rng, n_rows = np.random.default_rng(0), len(indices)
    rows = np.arange(n_rows)
    if n_rows > MAX_ROWS:
        starts = np.sort(rng.choice(n_rows // RUN_ROWS, MAX_ROWS // RUN_ROWS, replace=False)) * RUN_ROWS
        rows = (starts[:, None] + np.arange(RUN_ROWS)).ravel()
    codes = places[indices.take(pa.array(rows)).to_numpy(zero_copy_only=False)]
    return Labels(name, names, indices, rows, rng.permutation(len(rows)) % 2 == 0, codes)


def tenths_of(name: str, labels: pa.ChunkedArray) -> Labels:
    """Return the tenths of a quantity as classes: a column that tells them tells the quantity.

    Args:
        name: Name of the column.
        labels: The quantity of each row.
    """
    numbers = labels.to_numpy().astype(float)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, N_TENTHS + 1)[1:-1]))
    codes = np.searchsorted(edges, numbers, side="right")
    used, codes = np.unique(codes, return_inverse=True)
    bounds = [-np.inf, *edges.tolist(), np.inf]
    names = [f"{bounds[code]:g} to {bounds[code + 1]:g}" for code in used]
    return replace(labels_of(name, pa.array(codes), np.arange(len(used)), names), one="tenth", many="tenths")


def alone(column: pa.ChunkedArray, labels: Labels) -> float:
    """Return the share of the rows whose class a column gives by itself, by values that half of the rows teach.

    A value gives the class that most rows of the one half have at it, and is asked of the other half; one that the
    other half does not have gives the most frequent class. Numbers and dates are taken in up to 256 bins.

    Args:
        column: Its values, as they are learned from.
        labels: The classes of the same rows.
    """
    codes, half = labels.codes, labels.half
    places = _places(labels.looked_at(column))
    n_classes, n_places = len(labels.names), int(places.max()) + 1
    right = 0
    for learned, asked in ((half, ~half), (~half, half)):
        counts = np.bincount(places[learned] * n_classes + codes[learned], minlength=n_places * n_classes)
        counts = counts.reshape(n_places, n_classes)
        given = np.where(counts.any(axis=1), counts.argmax(axis=1), np.bincount(codes[learned]).argmax())
        right += (given[places[asked]] == codes[asked]).sum()
    return float(right / len(codes))


def tells(share: float, labels: Labels, least: float = 0.2) -> bool:
    """Return whether a share of classes is more than the most frequent class and chance give.

    Args:
        share: Share of the rows whose class is given.
        labels: The classes of the rows.
        least: Least part of what is beyond the most frequent class.
    """
    base, n_rows = labels.most_frequent, len(labels.codes)
    return bool(share - base > max(least * (1 - base), 4 * np.sqrt(base * (1 - base) / n_rows)))


def leak_note(column: pa.ChunkedArray, labels: Labels) -> str:
    """Say that a column gives nearly all of the classes away, or that its being filled does; "" where it does not."""
    if len(column) < MIN_ROWS or len(labels.names) < 2:
        return ""
    remedy = "; if it is known only after the label, --set drop=COLUMN leaves it out"
    if note := _filled_note(column, labels):
        return note + remedy
    share = alone(column, labels)
    if not tells(share, labels, NEARLY_ALL):
        return ""
    chance = labels.most_frequent
    return (
        f"alone it gives {share:.1%} of the {labels.many} of {labels.name!r}, where guessing gives {chance:.1%}{remedy}"
    )


def _filled_note(column: pa.ChunkedArray, labels: Labels) -> str:
    """Say that a column is filled, or missing, in the rows of one class."""
    if not MIN_ROWS <= column.null_count <= len(column) - MIN_ROWS:
        return ""
    column = labels.looked_at(column)
    is_filled = pc.is_valid(column).to_numpy()
    of_class = np.bincount(labels.codes)
    for what, rows in (("filled", is_filled), ("missing", ~is_filled)):
        if not rows.any():
            continue
        found = np.bincount(labels.codes[rows], minlength=len(of_class))
        code, n_rows = int(found.argmax()), int(rows.sum())
        share, name = found[code] / n_rows, labels.names[code]
        f1 = 2 * found[code] / (n_rows + of_class[code])
        is_chance = (of_class[code] / len(column)) ** n_rows > CHANCE
        if f1 >= FILLED_ALIKE and not is_chance:
            known, others = found[code] / of_class[code], (n_rows - found[code]) / (len(column) - of_class[code])
            return (
                f"{what} in {known:.1%} of the rows of {name!r} and in {others:.1%} of the others: that gives it away"
            )
        if what == "filled" and share >= 0.995 and not is_chance:
            return f"filled only where {labels.name!r} is {name!r}, in {n_rows / len(column):.1%} of the rows"
    return ""


def _places(column: pa.ChunkedArray) -> np.ndarray:
    """Return of each row the place of its value, or of the bin of its number; a missing value has one, too."""
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind):
        encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
        indices = encoded.unify_dictionaries().combine_chunks().indices
        return np.asarray(pc.fill_null(pc.add(indices.cast(pa.int64()), 1), 0).to_numpy(zero_copy_only=False))
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        wide = column.cast(pa.int32()) if pa.types.is_time32(kind) else column
        column = wide.cast(pa.int64())
    numbers = column.to_numpy().astype(float)
    known = np.isfinite(numbers)
    n_bins = int(min(MAX_BINS, max(2, known.sum() // ROWS_OF_A_BIN)))
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, n_bins + 1)[1:-1], method="nearest"))
    return np.where(known, np.searchsorted(edges, numbers, side="left") + 1, 0)
