"""A model's first steps: raw rows of whatever dtypes become what training saw, and that becomes features.

The classes carry the texts of this module and of cells along when they are pickled, so that a model loads where only
the libraries are.
"""

import math
import warnings
from collections.abc import Mapping
from itertools import combinations, compress
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from scipy import sparse
from scipy.special import expit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge, SGDClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import normalize

if "SOURCE" not in globals():  # a model that was loaded has both texts in one module
    from steps import cells
    from steps.cells import NA_VALUES, SCRIPT_WITHOUT_SPACES, category_of, is_marker, read_values

    SOURCE: str = vars(cells)["__loader__"].get_source(cells.__name__)
    SOURCE += globals()["__loader__"].get_source(__name__)

MAX_CATEGORIES = 254  # the most that gradient boosting takes, one less for the rest
MIN_FREQUENCY = 20  # of a value to be a category of its own, where there are more values than that
REST = ""  # the category of all other values; no value is blank
# what a text is read by: words and pairs of them, letters within words, signs of a script without spaces
PIECES: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2)},
    "letters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
    "signs": {"analyzer": "char", "ngram_range": (1, 3)},
}
SIGNS_TO_READ = 6  # of a script without spaces: a text of more, on average, is read by them
MAX_LETTERS = 1_000  # of a text that are read by letters or signs; by words it is read to its end
COMPONENTS = 30
MAX_PIECES, MAX_WEIGHTS = 100_000, 4_000_000  # of a column: pieces, and numbers that the model keeps of all of them
MAX_TEXTS_COMPARED = 10_000  # for the components
MAX_ROWS_TO_CHOOSE = 5_000  # of which it is learned how a column is best read
PENALTIES = 3e-5, 1e-5, 1e-4  # on weights of linear models; by the first, ways of reading are set side by side
MIN_GAIN = 0.03  # of a linear model that is worth its scores
N_FOLDS, N_FOLDS_TO_CHOOSE = 5, 3
MAX_DIFFERENCES = 15  # of pairs of dates, as six columns of them have
EXACT = 2**53  # whole numbers beyond it lose their last digits as floating-point numbers


TOGETHER = {"__name__": "raw_rows", "SOURCE": SOURCE}  # where a model that is loaded has these classes


class _Shipped:
    """What is pickled with the text of its module."""

    def __reduce__(self) -> tuple[Any, ...]:
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
        self.columns: Any = columns

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
        outputs_: Names of the features of each column; what is of two columns stands with both.
        pairs_: Names of the columns of dates whose differences are features.
        n_pairs_left_out_: How many pairs of dates there are beyond the most that are taken.
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
            y: Codes of their classes, or a continuous label as floating-point numbers; without it, nothing is learned
                of what a text says of it.
        """
        self.encoders_ = {name: _encoder(values) for name, values in X.items()}
        made = {name: encoder.fit_features(X[name], y, self.seed) for name, encoder in self.encoders_.items()}
        self.pairs_, differences = self._differing(X)
        own = [name + part for name, parts in made.items() for part in parts]
        between = [f"{one}_to_{other}_days" for one, other in self.pairs_]
        names = iter(distinct_names(own + between, self.taken))
        self.parts_ = {name: [next(names) for _ in parts] for name, parts in made.items()}
        self.differences_ = [*names]
        self.outputs_ = {name: [*parts] for name, parts in self.parts_.items()}
        for pair, difference in zip(self.pairs_, self.differences_, strict=True):
            for name in pair:
                self.outputs_[name].append(difference)
        return self._joined(made, differences, X.index)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the features of rows."""
        made = {name: encoder.features(X[name]) for name, encoder in self.encoders_.items()}
        return self._joined(made, [_days_between(X[one], X[other]) for one, other in self.pairs_], X.index)

    def _differing(self, X: pd.DataFrame) -> tuple[list[tuple[str, str]], list[np.ndarray]]:
        """Return the pairs of dates that vary, as their difference does, and these differences."""
        dates = [name for name, encoder in self.encoders_.items() if isinstance(encoder, _Moments) and encoder.parts]
        places = sorted(combinations(range(len(dates)), 2), key=max)  # of the first columns, if there are too many
        self.n_pairs_left_out_ = len(places[MAX_DIFFERENCES:])
        pairs = [(dates[one], dates[other]) for one, other in places[:MAX_DIFFERENCES]]
        found = [_days_between(X[one], X[other]) for one, other in pairs]
        varies = [np.unique(days[~np.isnan(days)]).size > 1 for days in found]
        return [*compress(pairs, varies)], [*compress(found, varies)]

    def _joined(
        self, made: Mapping[str, Mapping[str, object]], differences: list[np.ndarray], index: pd.Index
    ) -> pd.DataFrame:
        columns: dict[str, object] = {}
        for name, parts in made.items():
            columns |= zip(self.parts_[name], parts.values(), strict=True)
        return pd.DataFrame(columns | dict(zip(self.differences_, differences, strict=True)), index=index)


def _days_between(one: pd.Series, other: pd.Series) -> np.ndarray:
    """Return the days from one moment to another, missing where one of them is."""
    return np.asarray((_seconds_since_1970(other) - _seconds_since_1970(one)).to_numpy() / 86_400)


def _seconds_since_1970(moments: pd.Series) -> pd.Series:
    epoch = pd.Timestamp(0, tz=moments.dt.tz).as_unit("us")  # in nanoseconds years end at 2262
    return (moments - epoch).dt.total_seconds()


class _Encoder(_Shipped):
    """What becomes of one column: features by what is added to its name."""

    def fit_features(self, values: pd.Series, y: np.ndarray | None, seed: int) -> Mapping[str, object]:
        """Learn from training rows, and return their features."""
        self.fit(values)
        return self.features(values)

    def fit(self, values: pd.Series) -> None:
        """Learn from training rows, where their classes teach nothing."""
        raise NotImplementedError

    def features(self, values: pd.Series) -> Mapping[str, object]:
        """Return the features of rows."""
        raise NotImplementedError


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
        moments = values.dt
        return {
            "_year": moments.year,
            "_month": moments.month,
            "_day": moments.day,
            "_hour": moments.hour,
            "_total_seconds": _seconds_since_1970(values),
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
    """Text of many values: its 254 most frequent ones as categories, the rest one, and numbers of what it says.

    A text is read by its words, its letters or both: by what tells rows apart best that were not learned from. The 30
    first components of that tell like texts from unlike ones, and a linear model gives the score of each class where it
    tells more than their shares. The scores of the training rows are those of models that have not seen them.
    """

    def fit_features(self, values: pd.Series, y: np.ndarray | None, seed: int) -> dict[str, object]:
        counts = values.value_counts()
        # a leaf has 20 rows or more, and the values of fewer are one more category
        self.categories = [*sorted(counts[counts >= MIN_FREQUENCY].index[:MAX_CATEGORIES]), REST]
        texts, places = _texts(values)
        self.pieces = _Pieces()
        self.linear: _Linear | None = None
        n_scores = 1 if y is None or y.dtype.kind == "f" else np.unique(y).size
        most = min(MAX_PIECES, MAX_WEIGHTS // (COMPONENTS + n_scores))
        has_signs = pd.Series(texts).str.count(SCRIPT_WITHOUT_SPACES).mean() > SIGNS_TO_READ
        best = None if y is None else _best_reading(texts, places, y, has_signs, most, seed)
        ways, penalty = best or (("signs" if has_signs else "letters",), None)
        found = self.pieces.fit_counts(texts, ways, most)
        self.directions = _directions(found, seed)
        features = self._category(values) | self._components(found, places)
        if y is None or penalty is None:
            return features
        self.linear = _Linear()
        return features | self._scores(self.linear.fit_scores(found[places], y, penalty, seed))

    def features(self, values: pd.Series) -> dict[str, object]:
        texts, places = _texts(values)
        found = self.pieces.counts(texts)
        features = self._category(values) | self._components(found, places)
        return features | self._scores(self.linear.scores(found)[places]) if self.linear else features

    def _category(self, values: pd.Series) -> dict[str, object]:
        places = pd.Index(self.categories, dtype=object).get_indexer(values.cat.categories)
        places = np.where(places < 0, len(self.categories) - 1, places)
        return {"": pd.Categorical.from_codes(np.append(places, -1)[values.cat.codes], self.categories)}

    def _components(self, found: sparse.csr_matrix, places: np.ndarray) -> dict[str, np.ndarray]:
        return {f"_{place:02}": column[places] for place, column in enumerate((found @ self.directions).T)}

    def _scores(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        return {f"_words_{place}": column for place, column in enumerate(scores.T)}


class _Pieces(_Shipped):
    """The pieces that texts consist of, each weighed by how few texts have it."""

    def fit_counts(self, texts: list[str], ways: tuple[str, ...], most: int) -> sparse.csr_matrix:
        """Learn which pieces there are, of one or more of PIECES, and return the weights of each text's pieces."""
        self.vectorizers, found = {}, []
        for way in ways:
            vectorizer = TfidfVectorizer(
                **PIECES[way],
                min_df=2,  # what one text has tells nothing of others
                max_features=most // len(ways),
                sublinear_tf=True,
                norm=None,
                dtype=np.float32,
            )
            try:
                found.append(vectorizer.fit_transform(_beginning(texts, way)))
            except ValueError:  # no two texts have a piece in common
                continue
            # Python's numbers take less of a file than numpy's
            vectorizer.vocabulary_ = {piece: int(place) for piece, place in vectorizer.vocabulary_.items()}
            self.vectorizers[way] = vectorizer
        return _side_by_side(found, len(texts))

    def counts(self, texts: list[str]) -> sparse.csr_matrix:
        """Return the weights of the pieces that each text has."""
        found = [vectorizer.transform(_beginning(texts, way)) for way, vectorizer in self.vectorizers.items()]
        return _side_by_side(found, len(texts))


class _Linear(_Shipped):
    """The mean of linear models of a text's pieces, each fitted on some of the rows.

    Attributes:
        gain: How much they tell of rows that they have not seen: 1 is all, 0 no more than the shares of the classes, or
            the mean of a continuous label.
    """

    def fit_scores(
        self, found: sparse.csr_matrix, y: np.ndarray, penalty: float, seed: int, n_folds: int = N_FOLDS
    ) -> np.ndarray:
        """Learn from rows, and return their scores by models that have not seen them.

        Args:
            found: The weights of each row's pieces.
            y: Codes of the classes; of those with fewer rows than folds, nothing is learned. A continuous label comes
                as floating-point numbers.
            penalty: Penalty on large weights of the models.
            seed: Seed of the models and the folds.
            n_folds: How many models there are; each has not seen one part of the rows.
        """
        self.is_number = y.dtype.kind == "f"
        learned = np.arange(len(y)) if self.is_number else np.flatnonzero(np.bincount(y)[y] >= n_folds)
        rows, y = found[learned], y[learned] if self.is_number else np.unique(y[learned], return_inverse=True)[1]
        if self.is_number:
            model, folds = Ridge(alpha=penalty * len(y), solver="lsqr"), KFold
        else:
            model, folds = (
                SGDClassifier(loss="log_loss", alpha=penalty, max_iter=30, random_state=seed),
                StratifiedKFold,
            )
        scores = np.empty((0, 0), np.float32)
        weights: np.ndarray = np.zeros((), np.float32)
        intercepts: np.ndarray = np.zeros((), np.float32)
        for seen, unseen in folds(n_folds, shuffle=True, random_state=seed).split(rows, y):
            with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
                model.fit(rows[seen], y[seen])
            self.weights = np.atleast_2d(model.coef_).T.astype(np.float32)
            self.intercepts = np.atleast_1d(model.intercept_).astype(np.float32)
            scores = np.empty((len(y), len(self.intercepts)), dtype=np.float32) if not scores.size else scores
            scores[unseen] = self.scores(rows[unseen])
            weights, intercepts = weights + self.weights / n_folds, intercepts + self.intercepts / n_folds
        self.weights, self.intercepts = weights, intercepts
        self.gain = _r_squared(scores, y) if self.is_number else _log_loss_gained(scores, y)
        if len(learned) == found.shape[0]:
            return scores
        all_scores = self.scores(found)
        all_scores[learned] = scores
        return all_scores

    def scores(self, found: sparse.csr_matrix) -> np.ndarray:
        """Return the chance of each class, of the second one of two, or the label as it is expected."""
        scores = np.asarray(found @ self.weights + self.intercepts)
        if self.is_number:
            return scores
        chances = np.asarray(expit(scores))
        return chances / chances.sum(axis=1, keepdims=True) if chances.shape[1] > 1 else chances


def _encoder(values: pd.Series) -> _Encoder:
    """Return what encodes a column that RawRows gives."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return _Moments() if types.is_datetime64_any_dtype(values.dtype) else _Numbers()
    return _Categories() if values.nunique() <= MAX_CATEGORIES else _Text()


def _as(numbers: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, which is larger than all others
        return numbers.astype(dtype, copy=False)


def _texts(values: pd.Series) -> tuple[list[str], np.ndarray]:
    """Return the distinct texts of a column, an empty one behind them, and the place of each row's among them."""
    codes = values.cat.codes.to_numpy()
    used = np.unique(codes[codes >= 0])
    return [*values.cat.categories[used], ""], np.where(codes < 0, len(used), np.searchsorted(used, codes))


def _beginning(texts: list[str], way: str) -> list[str]:
    return texts if way == "words" else [text[:MAX_LETTERS] for text in texts]


def _side_by_side(found: list[sparse.csr_matrix], n_texts: int) -> sparse.csr_matrix:
    """Return the weights of all pieces, a text's to the length of one."""
    for weights in found:
        weights.sort_indices()  # or the same text has other sums where the pieces are learned and where they are known
        normalize(weights, copy=False)
    return _joined_pieces(found) if found else sparse.csr_matrix((n_texts, 0), dtype=np.float32)


def _joined_pieces(found: list[sparse.csr_matrix]) -> sparse.csr_matrix:
    # to the same length, so that a penalty is the same for one way of reading and for two
    return sparse.hstack(found, format="csr") * np.float32(len(found) ** -0.5)


def _directions(found: sparse.csr_matrix, seed: int) -> np.ndarray:
    """Return the first components of texts by their pieces; where there are fewer pieces than that, they are these."""
    if found.shape[1] <= COMPONENTS:
        return np.eye(found.shape[1], dtype=np.float32)
    if found.shape[0] > MAX_TEXTS_COMPARED:
        found = found[np.sort(np.random.default_rng(seed).choice(found.shape[0], MAX_TEXTS_COMPARED, replace=False))]
    return np.asarray(TruncatedSVD(COMPONENTS, random_state=seed).fit(found).components_.T.astype(np.float32))


def _best_reading(
    texts: list[str], places: np.ndarray, y: np.ndarray, has_signs: bool, most: int, seed: int
) -> tuple[tuple[str, ...], float] | None:
    """Return by what texts are best read, and the penalty of a linear model of it; None where that tells too little."""
    sample = np.arange(len(y))
    if len(y) > MAX_ROWS_TO_CHOOSE:
        sample = np.sort(np.random.default_rng(seed).choice(len(y), MAX_ROWS_TO_CHOOSE, replace=False))
    y = y[sample]
    if y.dtype.kind != "f" and (np.bincount(y) >= N_FOLDS).sum() < 2:
        return None
    used, of_rows = np.unique(places[sample], return_inverse=True)
    texts = [texts[place] for place in used]
    found: dict[tuple[str, ...], sparse.csr_matrix] = {
        (way,): _Pieces().fit_counts(texts, (way,), most) for way in (["signs"] if has_signs else ["words", "letters"])
    }
    if not has_signs:
        found["words", "letters"] = _joined_pieces([*found.values()])

    def gain(ways: tuple[str, ...], penalty: float) -> float:
        linear = _Linear()
        linear.fit_scores(found[ways][of_rows], y, penalty, seed, N_FOLDS_TO_CHOOSE)
        return linear.gain

    gains = {ways: gain(ways, PENALTIES[0]) for ways, of in found.items() if of.shape[1]}
    best = max(gains, key=gains.__getitem__, default=None)
    if best is None or gains[best] < -MIN_GAIN:  # it is far from telling anything
        return None
    of_penalties = {PENALTIES[0]: gains[best]} | {penalty: gain(best, penalty) for penalty in PENALTIES[1:]}
    penalty = max(of_penalties, key=of_penalties.__getitem__)
    return (best, penalty) if of_penalties[penalty] > MIN_GAIN else None


def _r_squared(scores: np.ndarray, y: np.ndarray) -> float:
    return float(1 - np.mean((scores[:, 0] - y) ** 2) / max(y.var(), np.finfo(float).tiny))


def _log_loss_gained(chances: np.ndarray, y: np.ndarray) -> float:
    chances = np.column_stack([1 - chances, chances]) if chances.shape[1] == 1 else chances
    shares = np.bincount(y) / len(y)
    of_right = np.clip(chances[np.arange(len(y)), y].astype(float), 1e-7, 1)
    return float(1 - np.log(of_right).mean() / (shares * np.log(shares)).sum())


def distinct_names(names: list[str], taken: tuple[str, ...]) -> list[str]:
    """Return names with underscores added where one is taken or comes twice."""
    found, result = set(taken), []
    for name in names:
        while name in found:
            name += "_"
        found.add(name)
        result.append(name)
    return result
