"""Which training rows a candidate is fitted on and which it is scored on; the rows of the test are not among them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from steps.splitting import hold_back

FEW_ROWS = 10_000  # below it, each row is validated by models of the others, since few would say little
N_FOLDS = 4
ALL_FOLDS_AT_ONCE, LEAST_SECONDS = 2_000, 1.0  # most rows of which the first rung takes all folds, and its time


@dataclass(frozen=True)
class Rows:
    """The training rows of a search."""

    codes: np.ndarray  # of their classes
    fold: np.ndarray  # in which a row is validated; -1 is in none
    order: np.ndarray  # the rows in the order in which a rung takes some of them: each class by its share
    n_classes: int

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return int(self.fold.max()) + 1

    def validated(self, folds: int) -> np.ndarray:
        """Return the places of the rows that are validated in the first folds, fold by fold."""
        return np.concatenate([np.flatnonzero(self.fold == number) for number in range(folds)])

    def parts(self, folds: int, n_rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each of the first folds the places of rows to fit on, at most so many, and to validate."""
        for number in range(folds):
            fit = self.order[self.fold[self.order] != number][:n_rows]
            yield np.sort(fit), np.flatnonzero(self.fold == number)

    def n_fit(self) -> int:
        """Return how many rows there are to fit on in the first fold."""
        return int((self.fold != 0).sum())

    def shares(self) -> np.ndarray:
        """Return the share of each class."""
        return np.bincount(self.codes, minlength=self.n_classes) / len(self.codes)

    def write(self, path: str) -> None:
        """Write them as a file of NumPy."""
        with open(path, "wb") as file:
            np.savez(file, codes=self.codes, fold=self.fold, order=self.order, n_classes=self.n_classes)


def read_rows_of(path: str) -> Rows:
    """Read the rows of a search."""
    with np.load(path, allow_pickle=False) as content:
        return Rows(content["codes"], content["fold"], content["order"], int(content["n_classes"]))


def divide(
    codes: np.ndarray,
    validation_size: float,
    seed: int,
    times: pd.Series | None = None,
    groups: pd.Series | None = None,
) -> Rows:
    """Divide training rows into those to fit on and those to validate, as the test rows were held back.

    At random, few rows are divided into folds. Each class has a row to fit on in each fold.

    Args:
        codes: Classes of the rows.
        validation_size: Share of the rows to validate.
        seed: Seed of what is random.
        times: Times of the rows, where the newest were held back for the test.
        groups: Groups of the rows, where whole groups were.
    """
    n_classes = int(codes.max()) + 1
    fold = np.full(len(codes), -1)
    if times is not None:
        fold[_held(codes, validation_size, seed, "times", times)] = 0
    elif groups is not None:
        fold[_held(codes, validation_size, seed, "groups", groups)] = 0
    if not (fold == 0).any():
        fold = _at_random(codes, validation_size, seed)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(codes))
    place = pd.Series(codes[shuffled]).groupby(codes[shuffled]).cumcount().to_numpy()
    size = np.bincount(codes)[codes[shuffled]]
    # the first row of each class comes first, and of what follows, each class by its share
    order = shuffled[np.argsort(np.where(place == 0, 0, (place + rng.random(len(place))) / size), kind="stable")]
    return Rows(codes, fold, order, n_classes)


def _at_random(codes: np.ndarray, validation_size: float, seed: int) -> np.ndarray:
    """Return the fold of each row; of a class of one row it is always fitted on."""
    single = np.bincount(codes)[codes] == 1
    fold = np.full(len(codes), -1)
    if len(codes) < FEW_ROWS:
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(np.flatnonzero(~single))
        in_turn = shuffled[np.argsort(codes[shuffled], kind="stable")]  # class by class
        fold[in_turn] = np.arange(len(in_turn)) % N_FOLDS
        return fold
    fold[hold_back(pa.table({"label": pa.array(codes)}), "label", validation_size, seed)] = 0
    return fold


def _held(
    codes: np.ndarray, validation_size: float, seed: int, name: Literal["times", "groups"], given: pd.Series
) -> np.ndarray:
    """Mark the rows to validate by time or by groups; none where that leaves one class to fit on."""
    table = pa.table({"label": pa.array(codes), name: pa.Array.from_pandas(given.reset_index(drop=True))})
    split_by, group_by = (name, "") if name == "times" else ("", name)
    try:
        held = hold_back(table, "label", validation_size, seed, split_by, group_by)
    except ValueError as error:
        print(f"The rows to validate are drawn at random: {error}")
        return np.zeros(len(codes), bool)
    if len(np.unique(codes[~held])) < 2:
        print("The rows to validate are drawn at random: by time or groups one class would be left to fit on.")
        return np.zeros(len(codes), bool)
    return held
