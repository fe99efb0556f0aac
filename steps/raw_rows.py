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
    from steps.cells import NA_VALUES, category_of, is_marker, read_texts

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
        kind, dtype = reading["kind"], values.dtype
        if isinstance(dtype, pd.SparseDtype):
            values = values.sparse.to_dense()
            dtype = values.dtype
        if kind == "text":
            return self._categories(name, values)
        if kind == "date" and types.is_datetime64_any_dtype(dtype):
            return _in_zone(values.array, reading.get("zone"))
        if kind in ("time", "duration") and types.is_timedelta64_dtype(dtype):
            return (values / pd.Timedelta(seconds=1)).to_numpy(float, na_value=math.nan)
        if kind in ("number", "boolean") and (types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)):
            return self._finite(name, values.to_numpy(float, na_value=math.nan), reading)
        codes, distinct = _factorized(values)
        read, unreadable = self._of_values(distinct, reading)
        if unreadable.any():
            odd = ", ".join(repr(str(value)[:30]) for value in distinct[unreadable][:3].tolist())
            n_odd = np.isin(codes, np.flatnonzero(unreadable)).sum()
            if (
                len(distinct) == unreadable.sum()
                and not types.is_object_dtype(dtype)
                and not types.is_string_dtype(dtype)
            ):
                raise ValueError(f"The column {name!r} holds {dtype}; the model was trained on a {kind} in it.")
            warnings.warn(f"{name!r}: {n_odd:,} values are no {kind}, and taken as missing: {odd}", stacklevel=4)
        if kind == "date":
            read = pd.Series(read).take(np.maximum(codes, 0)).reset_index(drop=True) if len(read) else None
            read = pd.Series(pd.NaT, index=range(len(codes)), dtype="datetime64[us]") if read is None else read
            return read.mask(codes < 0).array
        found = np.append(read, math.nan)[codes]
        return self._finite(name, found, reading)

    def _of_values(self, distinct: np.ndarray, reading: dict[str, str]) -> tuple[object, np.ndarray]:
        """Return distinct values as they are read, and which could not be."""
        kind, zone = reading["kind"], reading.get("zone")
        is_text = np.array([isinstance(value, str) for value in distinct], dtype=bool)
        texts = [value if isinstance(value, str) else "" for value in distinct]
        if kind == "boolean":
            known = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
            read = np.array([known.get(str(value).strip().casefold(), math.nan) for value in distinct], dtype=float)
        elif kind == "date":
            from_text = read_texts(texts, {"format": "ISO8601"} | reading)
            with warnings.catch_warnings(action="ignore"):
                others = pd.Series(distinct, dtype=object).where(~is_text, None)
                read = from_text.where(is_text, pd.to_datetime(others, errors="coerce", utc=True, format="ISO8601"))
            read = pd.Series(_in_zone(read.array, zone))
        else:
            if kind == "duration":
                with warnings.catch_warnings(action="ignore"):
                    spans = pd.to_timedelta(pd.Series(texts, dtype="str"), errors="coerce") / pd.Timedelta(seconds=1)
                clocks = read_texts(texts, {"kind": "time"})
                read = np.where(np.isnan(clocks), spans.to_numpy(float), clocks)
            else:
                read = read_texts(texts, reading)
            for place in np.flatnonzero(~is_text):
                read[place] = _seconds(distinct[place]) if kind in ("time", "duration") else _float(distinct[place])
        known = np.array([isinstance(value, str) and _is_no_number(value) for value in distinct], dtype=bool)
        return read, np.asarray(pd.isna(read)) & ~known

    def _finite(self, name: str, numbers: np.ndarray, reading: dict[str, str]) -> np.ndarray:
        if reading.get("thousands") == "." and (np.floor(numbers) != numbers)[np.isfinite(numbers)].any():
            raise ValueError(
                f"{name!r} was written with points between thousands, as in 1.234, and holds decimal numbers such as "
                f"1.234 now. Read the file as it was: pd.read_csv(..., decimal=',', thousands='.')."
            )
        return np.where(np.isinf(numbers), math.nan, numbers) if np.isinf(numbers).any() else numbers

    def _categories(self, name: str, values: pd.Series) -> pd.Categorical:
        if isinstance(values.dtype, pd.CategoricalDtype):
            codes, distinct = values.cat.codes.to_numpy(), values.cat.categories.to_numpy(object)
        else:
            codes, distinct = _factorized(values)
        if types.is_float_dtype(values.dtype) and len(distinct) and np.nanmax(np.abs(distinct.astype(float))) > EXACT:
            warnings.warn(
                f"{name!r} holds floating-point numbers that have lost digits of its categories", stacklevel=5
            )
        words = getattr(self, "words_", {}).get(name)
        if words and (codes < 0).any():
            warnings.warn(
                f"{name!r}: {(codes < 0).sum():,} values are missing, and the model knows the categories "
                f"{', '.join(map(repr, words))}, which pandas reads as missing unless it is told keep_default_na=False",
                stacklevel=5,
            )
        texts = pd.Series([category_of(value) for value in distinct], dtype=object)
        new_codes, categories = pd.factorize(texts)
        return pd.Categorical.from_codes(np.append(new_codes, -1)[codes], pd.Index(categories, dtype="str"))


def _is_no_number(text: str) -> bool:
    """Return whether a text says itself that there is no number or date."""
    return is_marker(text) or text.strip().casefold().lstrip("+-") in ("inf", "infinity", "nan")


def _factorized(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of a column's values among its distinct ones, -1 for a missing one, and these as objects."""
    codes, distinct = pd.factorize(values)
    return codes, np.asarray(distinct, dtype=object)


def _float(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _seconds(value: object) -> float:
    """Return the seconds of a time of day or of a duration."""
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    if hasattr(value, "hour") and hasattr(value, "microsecond"):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    return math.nan


def _in_zone(moments: object, zone: str | None) -> object:
    """Return moments in a time zone, or without one, in microseconds."""
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
