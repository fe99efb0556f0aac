"""A model's first steps: raw rows of whatever dtypes become what training saw, and that becomes features.

The classes carry the texts of this module and of cells along when they are pickled, so that a model loads where only
the libraries are.
"""

import math
import warnings

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline

if "SOURCE" not in globals():  # a model that was loaded has both texts in one module
    from steps import cells
    from steps.cells import NA_VALUES, SCRIPT_WITHOUT_SPACES, category_of, is_marker, read_values

    SOURCE = cells.__loader__.get_source(cells.__name__) + __loader__.get_source(__name__)

MAX_CATEGORIES = 254  # the most that gradient boosting takes, one less for the rest
MIN_FREQUENCY = 20  # of a value to be a category of its own, where there are more values than that
REST = ""  # the category of all other values; no value is blank
WORDS_TO_READ, SIGNS_TO_READ = 3, 6  # a text of more, on average, is something to read
N_FOLDS = 3
EXACT = 2**53  # whole numbers beyond it lose their last digits as floating-point numbers


TOGETHER = {"__name__": "raw_rows", "SOURCE": SOURCE}  # where a model that is loaded has these classes


class _Shipped:
    """What is pickled with the text of its module."""

    def __reduce__(self) -> tuple:
        made = "[kind in names or exec(names['SOURCE'], names), names[kind]()][1]"
        return eval, (made, {"names": TOGETHER, "kind": type(self).__name__}), self.__dict__


class RawRows(_Shipped, TransformerMixin, BaseEstimator):
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
        if not all(isinstance(name, str) for name in X.columns):  # of a file without a header, or with one of two lines
            X = X.set_axis(["_".join(map(str, name if isinstance(name, tuple) else [name])) for name in X], axis=1)
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


class Features(_Shipped, TransformerMixin, BaseEstimator):
    """Makes numbers and categories, which a tree learns from, of the columns that RawRows gives.

    A category that the training rows do not have is missing, and a column without a value in them gives no feature.

    Args:
        taken: Names that no feature is to have.
        seed: Seed of the encoders of longer text.

    Attributes:
        outputs_: Names of the features of each column.
    """

    def __init__(self, taken: tuple[str, ...] = (), seed: int = 0):
        self.taken = taken
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: np.ndarray | None = None) -> "Features":
        """Learn from training rows what becomes of each column."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: pd.DataFrame, y: np.ndarray | None = None) -> pd.DataFrame:
        """Learn from training rows what becomes of each column, and return their features.

        Args:
            X: Training rows, as RawRows gives them.
            y: Their classes; without them, nothing is learned of the words of a text.
        """
        self.encoders_ = {name: _encoder(values) for name, values in X.items()}
        made = {name: encoder.fit_features(X[name], y, self.seed) for name, encoder in self.encoders_.items()}
        names = iter(distinct_names([name + part for name, parts in made.items() for part in parts], self.taken))
        self.outputs_ = {name: [next(names) for _ in parts] for name, parts in made.items()}
        return self._joined(made, X.index)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the features of rows."""
        return self._joined({name: encoder.features(X[name]) for name, encoder in self.encoders_.items()}, X.index)

    def _joined(self, made: dict[str, dict[str, object]], index: pd.Index) -> pd.DataFrame:
        columns = {}
        for name, parts in made.items():
            columns |= zip(self.outputs_[name], parts.values(), strict=True)
        return pd.DataFrame(columns, index=index)


class _Encoder(_Shipped):
    """What becomes of one column: features by what is added to its name."""

    def fit_features(self, values: pd.Series, y: np.ndarray | None, seed: int) -> dict[str, object]:
        """Learn from training rows, and return their features."""
        self.fit(values)
        return self.features(values)


class _Numbers(_Encoder):
    """Numbers as they are, in float32 where that holds each of the training rows exactly."""

    def fit(self, values: pd.Series) -> None:
        numbers = values.to_numpy()
        self.dtype = "float32" if np.array_equal(_as(numbers, "float32"), numbers, equal_nan=True) else "float64"
        self.is_empty = bool(np.isnan(numbers).all())

    def features(self, values: pd.Series) -> dict[str, np.ndarray]:
        return {} if self.is_empty else {"": _as(values.to_numpy(), self.dtype)}


class _Moments(_Encoder):
    """The year, month, day, hour and weekday of moments, as far as they vary, and the seconds since 1970."""

    def fit(self, values: pd.Series) -> None:
        self.parts = [part for part, numbers in self._parts(values).items() if numbers.nunique() > 1]

    def features(self, values: pd.Series) -> dict[str, np.ndarray]:
        parts = self._parts(values)
        return {part: parts[part].to_numpy("float64" if "seconds" in part else "float32") for part in self.parts}

    def _parts(self, values: pd.Series) -> dict[str, pd.Series]:
        moments, epoch = values.dt, pd.Timestamp(0, tz=values.dt.tz).as_unit("us")  # in nanoseconds years end at 2262
        return {
            "_year": moments.year,
            "_month": moments.month,
            "_day": moments.day,
            "_hour": moments.hour,
            "_total_seconds": (values - epoch).dt.total_seconds(),
            "_weekday": moments.day_of_week + 1,
        }


class _Categories(_Encoder):
    """Text of few values as a category."""

    def fit(self, values: pd.Series) -> None:
        self.categories = sorted(values.cat.categories[np.unique(values.cat.codes[values.notna()])])

    def features(self, values: pd.Series) -> dict[str, pd.Categorical]:
        places = pd.Index(self.categories, dtype=object).get_indexer(values.cat.categories)
        codes = np.append(places, -1)[values.cat.codes]
        return {"": pd.Categorical.from_codes(codes, self.categories)} if self.categories else {}


class _Text(_Encoder):
    """Text of many values: its 254 most frequent ones as categories, the rest one, and numbers of letters and words.

    The letters are 30 numbers that tell like texts apart from unlike ones. Where a text has words to read, a linear
    model of them gives the score of each class; the scores of the training rows are those of models that have not seen
    them.
    """

    def fit_features(self, values: pd.Series, y: np.ndarray | None, seed: int) -> dict[str, object]:
        from skrub import StringEncoder

        counts = values.value_counts()
        # a leaf has 20 rows or more, and the values of fewer are one more category
        self.categories = [*sorted(counts[counts >= MIN_FREQUENCY].index[:MAX_CATEGORIES]), REST]
        text = values.astype("string")
        self.letters = StringEncoder(random_state=seed)
        letters = self._numbered(self.letters.fit_transform(text))
        self.words, scores = None, None
        has_words = text.str.count(r"\s+").mean() + 1 > WORDS_TO_READ
        has_signs = text.str.count(SCRIPT_WITHOUT_SPACES).mean() > SIGNS_TO_READ
        if y is not None and (has_words or has_signs):
            self.words, scores = _fitted_words(text.fillna(""), y, has_signs, seed)
        return self._category(values) | letters | (self._words(scores) if self.words else {})

    def features(self, values: pd.Series) -> dict[str, object]:
        text = values.astype("string")
        features = self._category(values) | self._numbered(self.letters.transform(text))
        return features | self._words(self.words.decision_function(text.fillna(""))) if self.words else features

    def _category(self, values: pd.Series) -> dict[str, object]:
        places = pd.Index(self.categories, dtype=object).get_indexer(values.cat.categories)
        places = np.where(places < 0, len(self.categories) - 1, places)
        return {"": pd.Categorical.from_codes(np.append(places, -1)[values.cat.codes], self.categories)}

    def _numbered(self, letters: pd.DataFrame) -> dict[str, object]:
        return {f"_{place:02}": letters.iloc[:, place].to_numpy() for place in range(letters.shape[1])}

    def _words(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        return {f"_words_{place}": column for place, column in enumerate(scores.reshape(len(scores), -1).T)}


def _encoder(values: pd.Series) -> _Encoder:
    """Return what encodes a column that RawRows gives."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return _Moments() if types.is_datetime64_any_dtype(values.dtype) else _Numbers()
    return _Categories() if values.nunique() <= MAX_CATEGORIES else _Text()


def _as(numbers: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, which is larger than all others
        return numbers.astype(dtype, copy=False)


def _fitted_words(
    text: pd.Series, y: np.ndarray, has_signs: bool, seed: int
) -> tuple[Pipeline | None, np.ndarray | None]:
    """Fit a linear model of the words and pairs of words of texts; none where there are none, or a class has few rows.

    Args:
        text: The texts.
        y: Their classes.
        has_signs: Whether they have no spaces between words; up to three signs stand for a word.
        seed: Seed of the model and the folds.

    Returns:
        The model, and the scores of the texts by models of the other texts.
    """
    of = {"analyzer": "char", "ngram_range": (1, 3)} if has_signs else {"ngram_range": (1, 2)}
    words = TfidfVectorizer(sublinear_tf=True, max_features=100_000, dtype=np.float32, **of)
    linear = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=30, tol=1e-4, random_state=seed)
    model = make_pipeline(words, linear)
    if np.unique(y, return_counts=True)[1].min() < N_FOLDS:
        return None, None
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        try:
            return clone(model).fit(text, y), cross_val_predict(model, text, y, cv=folds, method="decision_function")
        except ValueError as error:
            if "vocabulary" not in str(error):
                raise
            return None, None


def distinct_names(names: list[str], taken: tuple[str, ...]) -> list[str]:
    """Return names with underscores added where one is taken or comes twice."""
    found, result = set(taken), []
    for name in names:
        while name in found:
            name += "_"
        found.add(name)
        result.append(name)
    return result
