"""The drift of columns: the population stability index, and whether chance explains it.

Columns are compared as the model takes them: numbers, moments and categories.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

N_BINS = 10
MAX_CATEGORIES = 20  # of a column that are compared; the others are one
LARGE = 0.25  # of the index, by which a shift is called large in practice
MODERATE = 0.1
ALPHA = 0.01  # share of drifted columns that may be so by chance
LEAST_ROWS = 10  # of a category, in both parts together, to be compared by itself
PREDICTED, ESTIMATED = "predicted class", "estimate"
MOST_NAMED = 10  # columns that have drifted, where they are told in one line
OTHERS, MISSING = "others", "missing"


@dataclass
class Drift:
    """The drift of one column."""

    name: str
    kind: str  # numbers, dates, categories, or of the predictions classes or estimates
    bins: list[str]  # what is counted: ranges of numbers, or categories
    before: np.ndarray  # share of the training rows in each
    now: np.ndarray  # share of the new rows in each
    psi: float
    test: str  # Kolmogorov-Smirnov or chi-squared
    statistic: float
    p_value: float
    corrected: float = 1.0  # the p-value, by Benjamini and Hochberg's correction for all columns

    @property
    def is_of_predictions(self) -> bool:
        """Whether it is that of what the model predicts, not of a column."""
        return self.kind in ("classes", "estimates")

    @property
    def is_significant(self) -> bool:
        """Whether chance hardly explains it."""
        return self.corrected < ALPHA

    @property
    def title(self) -> str:
        """What it is, with its index."""
        name = f"the {self.name}" if self.is_of_predictions else repr(self.name)
        return f"{name} (PSI {self.psi:.2f})"

    def as_json(self) -> dict[str, object]:
        """Return it as JSON holds it."""
        return asdict(self) | {"before": self.before.tolist(), "now": self.now.tolist()}


def titles(drifts: list[Drift]) -> list[str]:
    """Return what has drifted; of many the first ones and how many more, since the next task has it in an argument."""
    more = [f"{len(drifts) - MOST_NAMED:,} more"] if len(drifts) > MOST_NAMED else []
    return [drift.title for drift in drifts[:MOST_NAMED]] + more


def column_drifts(before: pd.DataFrame, now: pd.DataFrame) -> list[Drift]:
    """Measure the drift of columns.

    Args:
        before: Training rows, as RawRows gives them.
        now: New rows, as RawRows gives them, of the same columns.
    """
    return [_column_drift(str(name), before[name], now[name]) for name in before]


def class_drift(classes: Sequence[str], before: np.ndarray, now: np.ndarray) -> Drift:
    """Measure the drift of the classes that a model predicts.

    Args:
        classes: Names of the classes.
        before: Test rows that were predicted as each when it was trained.
        now: New rows that were predicted as each.
    """
    statistic, p_value = _chi_squared(before, now)
    shares = _shares(before), _shares(now)
    return Drift(PREDICTED, "classes", [*classes], *shares, psi(before, now), "chi-squared", statistic, p_value)


def estimate_drift(before: np.ndarray, now: np.ndarray) -> Drift:
    """Measure the drift of the quantities that a model estimates.

    Args:
        before: Estimates of the test rows when it was trained, or as many quantiles of them.
        now: Estimates of new rows.
    """
    return replace(_column_drift(ESTIMATED, pd.Series(before), pd.Series(now)), kind="estimates")


def corrected(drifts: list[Drift]) -> list[Drift]:
    """Fill in the p-values that hold for all together, and return the drifts, the largest first."""
    if drifts:
        adjusted = stats.false_discovery_control([drift.p_value for drift in drifts])
        for drift, p_value in zip(drifts, adjusted.tolist(), strict=True):
            drift.corrected = p_value
    return sorted(drifts, key=lambda drift: -drift.psi)


def psi(before: np.ndarray, now: np.ndarray) -> float:
    """Return the population stability index of counts: the sum of (now - before) * ln(now / before) over the shares.

    Half a row is added to each count, so that an empty bin gives no infinite one.
    """
    shares = [(counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, now)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _column_drift(name: str, before: pd.Series, now: pd.Series) -> Drift:
    if isinstance(before.dtype, pd.CategoricalDtype):
        return _of_categories(name, before, now)
    is_date = pd.api.types.is_datetime64_any_dtype(before.dtype)
    kind = "dates" if is_date else "numbers"
    one, other = (_numbers(values, is_date) for values in (before, now))
    there = [numbers[~np.isnan(numbers)] for numbers in (one, other)]
    edges = _edges(there[0])
    counted = [
        np.bincount(np.searchsorted(edges, numbers, side="right"), minlength=len(edges) + 1) for numbers in there
    ]
    missing = np.array([np.isnan(one).sum(), np.isnan(other).sum()])
    counts = [np.append(of_bins, of_missing) for of_bins, of_missing in zip(counted, missing, strict=True)]
    bins = [*_ranges(edges, is_date, there), MISSING]
    used = (counts[0] + counts[1]) > 0
    bins = [name for name, is_used in zip(bins, used, strict=True) if is_used]
    counts = [of_part[used] for of_part in counts]
    tests = []
    if all(map(len, there)):
        statistic, p_value = stats.ks_2samp(*there)
        tests.append((float(p_value), "Kolmogorov-Smirnov", float(statistic)))
    if missing.any():
        statistic, p_value = _chi_squared(*(np.array([len(a), b]) for a, b in zip(there, missing, strict=True)))
        tests.append((p_value, "chi-squared, of missing values", statistic))
    p_value, test, statistic = min(tests, default=(1.0, "chi-squared, of missing values", 0.0))
    p_value = min(1.0, p_value * len(tests))  # the smaller one of two
    return Drift(name, kind, bins, _shares(counts[0]), _shares(counts[1]), psi(*counts), test, statistic, p_value)


def _numbers(values: pd.Series, is_date: bool) -> np.ndarray:
    if not is_date:
        return np.asarray(values.to_numpy(float))
    epoch = pd.Timestamp(0, tz=values.dt.tz).as_unit("us")
    return np.asarray((values - epoch).dt.total_seconds().to_numpy(float))


def _edges(numbers: np.ndarray) -> np.ndarray:
    """Return what divides numbers into bins of as many rows, as far as they differ; a few values have a bin each."""
    distinct = np.unique(numbers)
    if len(distinct) <= N_BINS:
        return distinct[1:]
    return np.unique(np.quantile(numbers, np.linspace(0, 1, N_BINS + 1)[1:-1]))


def _ranges(edges: np.ndarray, is_date: bool, there: list[np.ndarray]) -> list[str]:
    whole = np.concatenate([part for part in there if len(part)]) if any(map(len, there)) else np.zeros(1)
    span = whole.max() - whole.min()

    def shown(edge: float) -> str:
        if is_date:
            moment = pd.Timestamp(0).as_unit("s") + pd.Timedelta(int(edge), "s")
            return f"{moment:%Y-%m-%d}" if span > 20 * 86_400 else f"{moment:%m-%d %H:%M}"
        return f"{edge:.4g}" if abs(edge) < 1e4 else f"{edge:,.0f}" if abs(edge) < 1e9 else f"{edge:.3g}"

    if not len(edges):
        return ["all values"]
    inner = [f"{shown(low)} to {shown(high)}" for low, high in pairwise(edges)]
    return [f"below {shown(edges[0])}", *inner, f"from {shown(edges[-1])}"]


def _of_categories(name: str, before: pd.Series, now: pd.Series) -> Drift:
    counted = [values.value_counts(dropna=True) for values in (before, now)]
    counted = [counts[counts > 0] for counts in counted]
    both = pd.concat([of_part.rename(place) for place, of_part in enumerate(counted)], axis=1).fillna(0)
    both.index = both.index.astype(object)
    both = both.assign(most=both[0] / max(1, len(before)) + both[1] / max(1, len(now)))
    both = both.sort_values("most", ascending=False, kind="stable")[[0, 1]]
    is_own = (np.arange(len(both)) < MAX_CATEGORIES) & (both.sum(axis=1) >= LEAST_ROWS).to_numpy()
    bins, counts = [*both.index[is_own]], both[is_own].to_numpy().T
    for rest, of_rest in ((OTHERS, both[~is_own].sum().to_numpy()), (MISSING, [before.isna().sum(), now.isna().sum()])):
        if sum(of_rest):
            bins.append(rest)
            counts = np.column_stack([counts, of_rest])
    statistic, p_value = _chi_squared(*counts)
    shares = [_shares(of_rows) for of_rows in counts]
    return Drift(name, "categories", bins, shares[0], shares[1], psi(*counts), "chi-squared", statistic, p_value)


def _chi_squared(before: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """Return the statistic of two rows of counts and its p-value."""
    table = np.array([before, now], float)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or (table.sum(axis=1) == 0).any():
        return 0.0, 1.0
    found = stats.chi2_contingency(table, correction=False)
    return float(found.statistic), float(found.pvalue)


def _shares(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts / max(1, np.sum(counts)))
