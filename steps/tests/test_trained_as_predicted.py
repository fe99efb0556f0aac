"""What trained is what predicts, on every bundled table: pandas' reading of the raw file and the prediction's own.

COVERTYPE_EXAMPLES=500 tries as many drawn tables, others each time.
"""

import datetime
import os
import warnings
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from sklearn import datasets
from threadpoolctl import threadpool_limits

from pipeline.covertype import simulate
from steps.prediction.predicting import predict
from steps.prediction.rows import open_rows
from steps.tests.test_one_reading import EXAMPLES, csv_texts, train

N = 240
PARTS = ((0, 1), (7, 8), (20, 25), (100, 240))  # rows of files of their own


def any_kind():
    """A table of every kind of column, with gaps in each."""
    random = np.random.default_rng(4)
    minutes = random.integers(0, 1440, N)
    days = pd.Timestamp("2024-03-01") + pd.to_timedelta(random.integers(0, 90, N), unit="D")
    moments = days + pd.to_timedelta(minutes, unit="min")
    return pd.DataFrame(
        {
            "whole": random.integers(0, 50, N),
            "account": 9_007_199_254_740_993 + random.integers(0, 5, N),  # text, for one is none
            "decimal": random.normal(size=N),
            "flag": random.choice([True, False], N),
            "day": days.strftime("%Y-%m-%d"),
            "german day": days.strftime("%d.%m.%Y"),
            "moment": moments.strftime("%Y-%m-%d %H:%M:%S"),
            "zoned": moments.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "at": [f"{minute // 60:02}:{minute % 60:02}" for minute in minutes],
            "lasts": [f"{minute // 10}:{minute % 60:02}:07" for minute in minutes],
            "code": [f"{value:03}" if value % 9 else "A?" for value in random.integers(0, 12, N)],
            "price": [f"${value:,.2f}" for value in random.gamma(2, 800, N)],
            "word": random.choice(["red", "None", "blue", "NA?"], N),
            "sentence": [f"note {value} of {value % 7} on the way to the {value % 31}" for value in range(N)],
            "kind": random.choice(["early", "late"], N),  # so that the trees look at every column
        }
    ).astype({"account": object})


def bundled(name):
    """Return a table, and the name of its label."""
    if name in ("any kind", "any kind, gaps"):
        return any_kind(), "kind"
    if name.startswith("covertype"):
        return simulate(300), "Cover_Type"
    return getattr(datasets, f"load_{name.split(',')[0]}")(as_frame=True).frame, "target"


def with_gaps(frame, label):
    """Return a table in which a tenth of the cells are missing: whole numbers become floating-point ones in pandas."""
    random = np.random.default_rng(1)
    gaps = random.random(frame.shape) < 0.1
    gaps[:, frame.columns.get_loc(label)] = False
    return frame.astype(object).mask(gaps)


def readings(path):
    """Yield ways to read a file by pandas, each with its name."""
    raw = pd.read_csv(path)
    yield "read_csv", raw
    yield "nullable", raw.convert_dtypes()
    yield "pyarrow", pd.read_csv(path, dtype_backend="pyarrow")
    yield "object", pd.read_csv(path, dtype=object)
    yield "str", pd.read_csv(path, dtype=str)
    yield "as it stands", pd.read_csv(path, dtype=str, keep_default_na=False)
    yield "categories", raw.astype(dict.fromkeys(raw.select_dtypes("str").columns, "category"))
    yield "float32 where it holds them", raw.astype({name: "float32" for name in raw if _holds(raw[name])})
    yield "shuffled columns", raw[np.random.default_rng(0).permutation(raw.columns)]
    dated = {name: pd.to_datetime(raw[name]) for name in raw if name in ("day", "moment", "zoned")}
    yield "dates", raw.assign(**dated)
    yield "dates as Python's", raw.assign(**{name: moments.astype(object) for name, moments in dated.items()})
    if "at" in raw:
        times = [None if pd.isna(text) else datetime.time.fromisoformat(text) for text in raw["at"]]
        yield "times", raw.assign(at=pd.Series(times, dtype=object))
        yield "durations", raw.assign(at=pd.to_timedelta(raw["at"] + ":00"), lasts=pd.to_timedelta(raw["lasts"]))


def _holds(values):
    return values.dtype.kind in "iuf" and bool((values.astype("float32").astype(float) == values.astype(float)).all())


def own(path, model, folder, **how):
    """Return the probabilities of a file's rows by the prediction's own reading."""
    rows = open_rows(str(path), str(folder), model[0].columns, {}, **how).dataset
    out = os.path.join(folder, "out.parquet")
    predict(model, rows, out)
    return pd.read_parquet(out).filter(like="probability_").to_numpy()


def require_one_answer(path, label, folder):
    """Train on a file, and check that each way of reading it gives each row the same probabilities."""
    model, prepared = train(path, folder, label, keep=["account"] if label == "kind" else [])
    expected = model.predict_proba(prepared)
    assert np.unique(expected.round(6), axis=0).shape[0] > 2
    for way, frame in readings(path):
        np.testing.assert_array_equal(model.predict_proba(frame), expected, err_msg=way)
        place = len(way) * 5 % len(frame)
        require_same(model.predict_proba(frame.iloc[[place]]), expected[[place]], way)
    require_same(own(path, model, folder), expected, "own")
    with open(path, encoding="utf-8") as file:
        header, *lines = file.read().splitlines()
    assert len(lines) == len(prepared)
    for start, stop in PARTS:
        part = os.path.join(folder, "part.csv")
        with open(part, "w", encoding="utf-8") as file:
            file.write("\n".join([header, *lines[start:stop]]) + "\n")
        require_same(own(part, model, folder), expected[start:stop], f"own {start}:{stop}")
        require_same(model.predict_proba(pd.read_csv(part)), expected[start:stop], f"read_csv {start}:{stop}")


def require_same(found, expected, way):
    """Check that probabilities are the same; numpy adds those of a single row in another order."""
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0, err_msg=way)


OTHERS = ("iris", "wine", "breast_cancer", "digits")
TABLES = ["covertype", "any kind", *(f"{name}, gaps" for name in (*OTHERS, "covertype", "any kind"))]


@pytest.mark.parametrize("name", [*TABLES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_bundled_table_gets_one_answer_however_it_is_read(name, tmp_path):
    frame, label = bundled(name)
    frame = with_gaps(frame, label) if "gaps" in name else frame
    frame = frame.head(300) if name.startswith("digits") else frame
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "Could not infer format")
        require_one_answer(tmp_path / "rows.csv", label, str(tmp_path))


@settings(
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
    database=None,
    max_examples=EXAMPLES or 6,
)
@given(csv_texts())
def test_drawn_table_gets_one_answer_by_the_own_reading_of_its_parts(text):
    with TemporaryDirectory() as folder, threadpool_limits(1):
        path = os.path.join(folder, "table.csv")
        header, *lines = text.splitlines()
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        try:
            model, prepared = train(path, folder)
        except ValueError:  # nothing is left to learn from, which test_one_reading looks at
            return
        expected = model.predict_proba(prepared)
        for start, stop in ((0, len(lines)), (0, 1), (5, 9), (10, 30)):
            part = os.path.join(folder, "part.csv")
            with open(part, "w", encoding="utf-8", newline="") as file:
                file.write("\n".join([header, *lines[start:stop]]) + "\n")
            require_same(own(part, model, folder), expected[start:stop], f"own {start}:{stop}")
