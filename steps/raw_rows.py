"""A model's first steps: raw rows of whatever dtypes become what training saw, and that becomes features.

The classes carry the texts of this module and of cells along when they are pickled, so that a model loads where only
the libraries are.
"""

import math
import warnings

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.base import BaseEstimator, TransformerMixin

if "SOURCE" not in globals():  # a model that was loaded has both texts in one module
    from steps import cells
    from steps.cells import NA_VALUES, category_of, is_marker, read_values

    SOURCE = cells.__loader__.get_source(cells.__name__) + __loader__.get_source(__name__)

MAX_CATEGORIES = 254  # the most that gradient boosting takes, one less for the rest
MIN_FREQUENCY = 20  # of a value to be a category of its own, where there are more values than that
REST = ""  # the category of all other values; no value is blank
EXACT = 2**53  # whole numbers beyond it lose their last digits as floating-point numbers


class _Shipped(BaseEstimator, TransformerMixin):
    """A transformer that is pickled with the text of its module."""

    def __reduce__(self) -> tuple:
        names = {"__name__": "raw_rows", "SOURCE": SOURCE}
        given = {"source": SOURCE, "names": names, "kind": type(self).__name__}
        return eval, ("exec(source, names) or names[kind]()", given), self.__dict__


class RawRows(_Shipped):
    """Brings raw rows of whatever dtypes to what a model was trained on: a column of one kind has one dtype.

    Numbers, truth values (1 and 0), and the seconds of times of day and durations become float64; dates datetime64[us];
    text becomes categories. What is infinite is missing, and so is an unreadable value, of which a warning tells.

    Args:
        columns: How each column is read, by its name: its kind (number, boolean, time, duration, date or text), and
            what reading_of() has found of its text. Other columns may come along.
    """

    def __init__(self, columns: dict[str, dict[str, str]] | None = None):
        self.columns = columns

    def fit(self, X: pd.DataFrame, y: object = None) -> "RawRows":
        """Keep which words that pandas takes as missing are categories of the training rows."""
        self.words_ = {}
        for name, reading in self.columns.items():
            if reading["kind"] == "text":
                words = [word for word in NA_VALUES if (X[name] == word).any()]
                if words and not X[name].isna().any():
                    self.words_[name] = words
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Read raw rows.

        Raises:
            ValueError: a column is not there, comes twice, or holds what the training rows did not hold.
        """
        if not isinstance(X, pd.DataFrame):
            raise ValueError(f"A pandas DataFrame of raw rows is needed, with the names of the columns, not {type(X)}.")
        if not all(isinstance(name, str) for name in X.columns):  # of a file without a header
            X = X.set_axis(X.columns.map(str), axis=1)
        missing = [name for name in self.columns if name not in X.columns]
        if missing and set(missing) <= set(X.index.names):  # Parquet files may name a column as the index
            X = X.reset_index(level=missing)
            missing = []
        if missing:
            more = f" and {len(missing) - 10:,} more" if len(missing) > 10 else ""
            raise ValueError(f"Columns are missing that the model was trained on: {missing[:10]}{more}.")
        if not X.columns.is_unique:
            twice = [name for name in X.columns[X.columns.duplicated()].unique() if name in self.columns]
            if twice:
                raise ValueError(f"Columns come more than once: {twice[:10]}.")
        return pd.DataFrame(
            {name: self._read(name, X[name], reading) for name, reading in self.columns.items()}, index=X.index
        )

    def _read(self, name: str, values: pd.Series, reading: dict[str, str]) -> object:
        """Return a column as its reading says."""
        if isinstance(values.dtype, pd.SparseDtype):
            values = values.sparse.to_dense()
        kind, dtype = reading["kind"], values.dtype
        if kind == "text":
            return self._categories(name, values)
        if kind == "date" and types.is_datetime64_any_dtype(dtype):
            return _in_zone(values, reading.get("zone"))
        if kind in ("time", "duration") and types.is_timedelta64_dtype(dtype):
            return (values / pd.Timedelta(seconds=1)).to_numpy(float, na_value=math.nan)
        if kind in ("number", "boolean") and (types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)):
            return _finite(name, values.to_numpy(float, na_value=math.nan), reading)
        codes, distinct = _factorized(values)
        read = read_values(distinct, reading)
        odd = [value for value, is_na in zip(distinct, pd.isna(read), strict=True) if is_na and not is_marker(value)]
        if odd:
            _tell_unreadable(name, values, odd, kind, are_all=len(odd) == len(distinct))
        if kind == "date":
            return _in_zone(pd.Series(read).reindex(np.where(codes < 0, len(distinct), codes)), reading.get("zone"))
        return _finite(name, np.append(read, math.nan)[codes], reading)

    def _categories(self, name: str, values: pd.Series) -> pd.Categorical:
        if isinstance(values.dtype, pd.CategoricalDtype):
            codes, distinct = values.cat.codes.to_numpy(), values.cat.categories.tolist()
        else:
            codes, distinct = _factorized(values)
        if types.is_float_dtype(values.dtype) and any(EXACT < abs(value) < math.inf for value in distinct):
            _warn(f"{name!r} holds floating-point numbers above 2^53: its categories have lost digits.")
        words = self.words_.get(name)
        if words and (codes < 0).any():
            shown = ", ".join(map(repr, words))
            _warn(
                f"{name!r}: {(codes < 0).sum():,} values are missing, and the model knows {shown}, which pandas takes "
                "as missing. Read the file with keep_default_na=False."
            )
        new_codes, categories = pd.factorize(np.array([category_of(value) for value in distinct], dtype=object))
        return pd.Categorical.from_codes(np.append(new_codes, -1)[codes], pd.Index(categories, dtype="str"))


def _factorized(values: pd.Series) -> tuple[np.ndarray, list[object]]:
    """Return the place of each value among the distinct ones, -1 for a missing one, and these."""
    codes, distinct = pd.factorize(values)
    return codes, distinct.tolist()


def _tell_unreadable(name: str, values: pd.Series, odd: list[object], kind: str, are_all: bool) -> None:
    """Warn of values that are not what the model was trained on.

    Raises:
        ValueError: there is nothing else in the column, and it is not text.
    """
    if are_all and not any(isinstance(value, str) for value in odd):
        raise ValueError(f"The column {name!r} holds {values.dtype}, and the model was trained on a {kind} in it.")
    examples = ", ".join(repr(str(value)[:30]) for value in odd[:3])
    _warn(f"{name!r}: {values.isin(odd).sum():,} values are no {kind} and taken as missing, such as {examples}.")


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=2)


def _finite(name: str, numbers: np.ndarray, reading: dict[str, str]) -> np.ndarray:
    """Return numbers, the infinite ones as missing.

    Raises:
        ValueError: points that stood between thousands were read as decimal points.
    """
    finite = np.isfinite(numbers)
    if reading.get("thousands") == "." and (np.floor(numbers) != numbers)[finite].any():
        raise ValueError(
            f"The column {name!r} had points between thousands, as in 1.234, and holds decimal numbers now. "
            "Read the file as it is written: pd.read_csv(..., decimal=',', thousands='.')."
        )
    return numbers if finite.all() else np.where(finite, numbers, math.nan)


def _in_zone(moments: pd.Series, zone: str | None) -> object:
    """Return moments in a time zone, or in UTC without one, in microseconds."""
    moments = pd.DatetimeIndex(moments)
    if zone:
        moments = moments.tz_localize(zone) if moments.tz is None else moments.tz_convert(zone)
    elif moments.tz is not None:
        moments = moments.tz_convert("UTC").tz_localize(None)
    return moments.as_unit("us").array


class Features(_Shipped):
    """Makes numbers and categories, which a tree learns from, of the columns that RawRows gives.

    Numbers stay as they are, in float32 where that holds each of the training rows exactly. A date becomes year, month,
    day, hour and weekday, as far as they vary, and the seconds since 1970. Text of up to 254 values becomes a category;
    text of more values one of its 254 most frequent ones, the rest one value, and 30 numbers that describe its letters.
    A category that the training rows do not have is missing.

    Args:
        taken: Names that no feature is to have.
        seed: Seed of the encoder of longer text.

    Attributes:
        outputs_: Names of the features of each column; a column without a value in the training rows has none.
    """

    def __init__(self, taken: tuple[str, ...] = (), seed: int = 0):
        self.taken = taken
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: object = None) -> "Features":
        """Learn from training rows what becomes of each column."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: pd.DataFrame, y: object = None) -> pd.DataFrame:
        """Learn from training rows what becomes of each column, and return their features."""
        self.learned_, self.letters_, made = {}, {}, {}
        for name, values in X.items():
            self.learned_[name] = self._learn(name, values)
            made[name] = self._features(name, values)
        names = iter(distinct_names([output for features in made.values() for output in features], self.taken))
        self.outputs_ = {name: [next(names) for _ in features] for name, features in made.items()}
        return self._joined(made, X.index)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the features of rows."""
        return self._joined({name: self._features(name, X[name]) for name in self.learned_}, X.index)

    def _learn(self, name: str, values: pd.Series) -> object:
        """Return what is to be known of a column: the dtype of numbers, the parts of dates, the categories of text."""
        if not isinstance(values.dtype, pd.CategoricalDtype):
            if types.is_datetime64_any_dtype(values.dtype):
                return [part for part, of_part in _parts(values).items() if of_part.nunique() > 1]
            numbers = values.to_numpy()
            with np.errstate(over="ignore"):
                is_exact = np.array_equal(numbers.astype(np.float32).astype(float), numbers, equal_nan=True)
            return "none" if np.isnan(numbers).all() else "float32" if is_exact else "float64"
        counts = values.value_counts(sort=True)
        counts = counts[counts > 0]
        if len(counts) <= MAX_CATEGORIES:
            return sorted(counts.index)
        from skrub import StringEncoder

        self.letters_[name] = StringEncoder(random_state=self.seed).fit(values.astype("str"))
        # a leaf has 20 rows or more, and the values of fewer are one more category
        return [*sorted(counts[counts >= MIN_FREQUENCY].index[:MAX_CATEGORIES]), REST]

    def _features(self, name: str, values: pd.Series) -> dict[str, object]:
        """Return the features of a column by their names."""
        learned = self.learned_[name]
        if isinstance(learned, str):
            with np.errstate(over="ignore"):
                return {} if learned == "none" else {name: values.to_numpy().astype(learned)}
        if not isinstance(values.dtype, pd.CategoricalDtype):
            parts = _parts(values)
            dtypes = {"total_seconds": "float64"}
            return {f"{name}_{part}": parts[part].to_numpy(dtypes.get(part, "float32")) for part in learned}
        if not learned:
            return {}
        codes = pd.Index(learned).get_indexer(values.cat.categories)
        if name not in self.letters_:
            return {name: pd.Categorical.from_codes(np.append(codes, -1)[values.cat.codes], learned)}
        codes = np.where(codes < 0, len(learned) - 1, codes)
        letters = self.letters_[name].transform(values.astype("str"))
        return {name: pd.Categorical.from_codes(np.append(codes, -1)[values.cat.codes], learned)} | {
            column: letters[column].to_numpy() for column in letters
        }

    def _joined(self, made: dict[str, dict[str, object]], index: pd.Index) -> pd.DataFrame:
        columns = {}
        for name, features in made.items():
            columns |= zip(self.outputs_[name], features.values(), strict=True)
        return pd.DataFrame(columns, index=index)


def _parts(moments: pd.Series) -> dict[str, pd.Series]:
    """Return what of moments tells something; the weekday is 1 for Monday."""
    of, epoch = moments.dt, pd.Timestamp(0, tz=moments.dt.tz)
    return {
        "year": of.year,
        "month": of.month,
        "day": of.day,
        "hour": of.hour,
        "total_seconds": (moments - epoch) / pd.Timedelta(seconds=1),
        "weekday": of.day_of_week + 1,
    }


def distinct_names(names: list[str], taken: tuple[str, ...]) -> list[str]:
    """Return names with underscores added where one is taken or comes twice."""
    found, result = set(taken), []
    for name in names:
        while name in found:
            name += "_"
        found.add(name)
        result.append(name)
    return result
