"""What trained is what predicts: a row gets the same answer however it was read.

COVERTYPE_EXAMPLES=500 tries as many tables, others each time.
"""

import csv
import io
import os
import re
import subprocess
import sys
import warnings
from datetime import datetime, timedelta
from itertools import count
from tempfile import TemporaryDirectory

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kfp.dsl import Artifact, Dataset, Model
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from steps.combine_models import combine_models
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model

EXAMPLES = int(os.environ.get("COVERTYPE_EXAMPLES", "0"))
START = datetime(2024, 1, 30)


def train(source, folder, label="kind", max_iter=3, **settings):
    """Run the steps up to the model; returns it, and the prepared table."""
    place = count()

    def new(kind):
        return kind(uri=os.path.join(folder, f"artifact-{next(place)}"))

    dataset, train_part, features, preprocessor, model = map(new, (Dataset, Dataset, Dataset, Artifact, Model))
    codes = prepare_data.python_func(str(source), label, "", dataset, new(Artifact), **settings)
    test_part = new(Dataset)
    split_data.python_func(dataset, train_part, test_part)
    preprocess.python_func(train_part, test_part, features, new(Dataset), preprocessor)
    class_models = [new(Model) for _ in codes]
    for code, class_model in zip(codes, class_models, strict=True):
        train_model.python_func(features, code, class_model, max_iter=max_iter)
    combine_models.python_func(class_models, preprocessor, train_part, model)
    return joblib.load(os.path.join(model.path, "model.joblib")), pd.read_parquet(dataset.path)


# how cells of a column are written: of a whole number between 0 and 999
CELLS = {
    "whole": str,
    "signed": lambda i: f"{i - 500:+d}",
    "decimal": lambda i: str(i / 7),
    "short": lambda i: f"{i / 4:.2f}",
    "exponent": lambda i: f"{i * 1e20:e}",
    "seconds": lambda i: f"{1_478_198_376.123 + i:.3f}",
    "account": lambda i: str(10**9 + i),
    "zeros": lambda i: f"{i:05}",
    "hexadecimal": lambda i: f"0x{i:04x}",
    "infinite": lambda i: "inf" if i % 3 == 0 else "-inf" if i % 3 == 1 else str(i / 3),
    "dollars": lambda i: f"${i * 7.5:,.2f}",
    "euros": lambda i: f"{i * 7.5:,.2f} €".translate(str.maketrans(",.", ".,")),
    "percent": lambda i: f"{i / 10:.1f} %",
    "brackets": lambda i: f"({i}.50)" if i % 2 else f"{i}.50",
    "kilograms": lambda i: f"{i} kg",
    "magnitudes": lambda i: f"{i}K" if i % 2 else f"{i / 100}M",
    "spaces": lambda i: f"{i * 1000:,}".replace(",", " "),
    "flag": lambda i: ["True", "False"][i % 2],
    "shout": lambda i: ["TRUE", "FALSE"][i % 2],
    "word": lambda i: ["red", "green", "None", "blue ", " grey", "NA?"][i % 6],
    "grade": lambda i: ["Gd", "None", "Po"][i % 3],
    "code": lambda i: str(i % 12) if i % 9 else "A?",
    "fine code": lambda i: f"{i % 12 / 10:.2f}" if i % 9 else "other",
    "mixed flag": lambda i: ["True", "False", "maybe"][i % 3 if i > 900 else i % 2],
    "place": lambda i: f"place {i}",
    "day": lambda i: f"{START + timedelta(days=i):%Y-%m-%d}",
    "german day": lambda i: f"{START + timedelta(days=i):%d.%m.%Y}",
    "us day": lambda i: f"{START + timedelta(days=i):%m/%d/%Y}",
    "written day": lambda i: f"{START + timedelta(days=i):%d %B %Y}",
    "moment": lambda i: f"{START + timedelta(minutes=i):%Y-%m-%d %H:%M:%S}",
    "zoned": lambda i: f"{START + timedelta(minutes=i):%Y-%m-%dT%H:%M:%SZ}",
    "time": lambda i: f"{i % 24:02}:{i % 60:02}",
    "exact time": lambda i: f"{i % 24}:{i % 60:02}:{i % 59:02}",
    "evening": lambda i: f"{i % 12 + 1}:{i % 60:02} {'PM' if i % 2 else 'AM'}",
}
MARKERS = ["", "?", "-", "NA", "None", "<NA>", "\\N", "#DIV/0!", " ", "n.a.", "nan", "NULL"]


@st.composite
def csv_texts(draw) -> str:
    """Draw a CSV file of columns of any kind, in which cells are missing in some way."""
    n = draw(st.integers(40, 120))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=2, max_size=6, unique=True))
    columns = {}
    for name in names:
        many = draw(st.sampled_from([3, 30, 1000]))
        cells = [CELLS[name](int(i)) for i in random.integers(many, size=n)]
        share, marker = draw(st.sampled_from([0, 0, 0.1, 0.6])), draw(st.sampled_from(MARKERS))
        columns[name] = [marker if random.random() < share else cell for cell in cells]
    columns["kind"] = [["cat", "dog", "emu"][i] for i in random.integers(3, size=n)]
    if draw(st.booleans()):  # as pandas writes an index
        columns = {"": [str(i % 5) for i in range(n)]} | columns
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def require_one_answer(text: str, folder: str) -> None:
    """Train on a CSV file and check that every way of reading it gives each row the same probabilities."""
    path = os.path.join(folder, "table.csv")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    try:
        model, prepared = train(path, folder)
    except ValueError as error:
        if not re.match("No column (is left to learn from|but the label has a value)", str(error)):
            raise
        return
    expected = model.predict_proba(prepared)
    random = np.random.default_rng(0)
    header, *lines = text.splitlines()
    raw = pd.read_csv(path)
    ways = {
        "read_csv": raw,
        "nullable": raw.convert_dtypes(),
        "pyarrow": pd.read_csv(path, dtype_backend="pyarrow"),
        "object": pd.read_csv(path, dtype=object),
        "objects": raw.astype(object),
        "str": pd.read_csv(path, dtype=str),
        "as it stands": pd.read_csv(path, dtype=str, keep_default_na=False),
        "shuffled columns": raw[random.permutation(raw.columns)],
        "shuffled rows": raw.iloc[::-1].set_index(raw.index),
    }
    for way, frame in ways.items():
        wanted = expected[::-1] if way == "shuffled rows" else expected
        np.testing.assert_array_equal(model.predict_proba(frame), wanted, err_msg=way)
    for start, stop in ((0, 1), (3, 4), (5, 9), (10, 30)):
        part = pd.read_csv(io.StringIO("\n".join([header, *lines[start:stop]]) + "\n"))
        np.testing.assert_array_equal(model.predict_proba(part), expected[start:stop], err_msg=f"{start}:{stop}")
        np.testing.assert_array_equal(model.predict_proba(raw.iloc[start:stop]), expected[start:stop])


@settings(
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
    database=None,
    max_examples=EXAMPLES or 12,
)
@given(csv_texts())
@pytest.mark.slow
def test_rows_get_one_answer_however_they_were_read(text):
    with TemporaryDirectory() as folder, threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "Could not infer format")  # pandas, of text that it reads itself
        require_one_answer(text, folder)


N = 400


def table(folder, **columns):
    """Write a CSV file of columns, of which the first decides the class, and read it as pandas does."""
    frame = pd.DataFrame({"noise": np.random.default_rng(0).normal(size=N)} | columns)
    frame.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv", pd.read_csv(folder / "table.csv")


def test_index_of_a_parquet_file_is_a_column_of_raw_rows(tmp_path):
    frame = pd.DataFrame({"at": pd.date_range("2024-01-01", periods=N, freq="h"), "x": np.arange(N) % 9})
    frame = frame.assign(kind=np.where(frame["at"].dt.hour < 12, "cat", "dog")).set_index("at")
    frame.to_parquet(tmp_path / "table.parquet")
    model, prepared = train(tmp_path / "table.parquet", tmp_path)
    raw = pd.read_parquet(tmp_path / "table.parquet")
    assert raw.index.name == "at"
    assert (model.predict(raw) == raw["kind"]).mean() > 0.9
    np.testing.assert_array_equal(model.predict_proba(raw), model.predict_proba(prepared))


def test_points_between_thousands_that_were_read_as_decimal_points_are_refused(tmp_path):
    people = np.random.default_rng(0).integers(1000, 99_999, N)
    lines = [f"{p:,}".replace(",", ".") + f";{p % 9},5;{'big' if p > 50_000 else 'small'}" for p in people]
    (tmp_path / "table.csv").write_text("\n".join(["people;share;kind", *lines, ""]))
    model, prepared = train(tmp_path / "table.csv", tmp_path)
    assert prepared["people"].tolist() == people.tolist()
    as_written = pd.read_csv(tmp_path / "table.csv", sep=";", decimal=",", thousands=".")
    np.testing.assert_array_equal(model.predict_proba(as_written), model.predict_proba(prepared))
    with pytest.raises(ValueError, match=r"'people' had points between thousands.* decimal=',', thousands='\.'"):
        model.predict(pd.read_csv(tmp_path / "table.csv", sep=";"))


def test_decimal_commas_are_read_as_numbers_or_as_text(tmp_path):
    share = np.random.default_rng(0).integers(0, 999, N)
    lines = [f"{s / 10},{s % 7};{'low' if s < 500 else 'high'}".replace(".", "") for s in share]
    (tmp_path / "table.csv").write_text("\n".join(["share;kind", *lines, ""]))
    model, prepared = train(tmp_path / "table.csv", tmp_path)
    expected = model.predict_proba(prepared)
    with warnings.catch_warnings(action="error"):
        for how in ({"decimal": ","}, {}, {"dtype": str}):
            raw = pd.read_csv(tmp_path / "table.csv", sep=";", **how)
            np.testing.assert_array_equal(model.predict_proba(raw), expected, err_msg=str(how))


def test_model_says_where_a_batch_has_lost_what_training_knew(tmp_path):
    parts = np.array(["NA", "EU", "AS"])[np.random.default_rng(0).integers(3, size=N)]
    path, raw = table(tmp_path, part=parts, kind=np.where(parts == "NA", "cat", "dog"))
    model, _ = train(path, tmp_path, na_values=[])
    with pytest.warns(
        UserWarning, match=r"'part': \d+ values are missing, and the model knows 'NA', .* keep_default_na"
    ):
        model.predict(raw)
    right = pd.read_csv(path, keep_default_na=False)
    with warnings.catch_warnings(action="error"):
        assert (model.predict(right) == right["kind"]).all()

    ids = np.array(["x", *(str(2**60 + i) for i in range(3))])[np.random.default_rng(0).integers(4, size=N)]
    path, raw = table(tmp_path, id=ids, kind=np.where(ids == str(2**60), "cat", "dog"))
    model, _ = train(path, tmp_path)
    with pytest.warns(UserWarning, match="'id' holds floating-point numbers above 2\\^53: its categories have lost"):
        model.predict(raw.assign(id=pd.to_numeric(raw["id"], errors="coerce").astype(float)))


def test_values_that_are_none_of_their_column_are_told(tmp_path):
    x = np.random.default_rng(0).normal(size=N).round(3)
    path, raw = table(tmp_path, x=x, day=pd.date_range("2024-01-01", periods=N).astype(str), kind=np.where(x > 0, 1, 0))
    model, _ = train(path, tmp_path)
    odd = raw.astype(object)
    odd.loc[[3, 5], "x"] = "tall"
    with pytest.warns(UserWarning, match=r"'x': 2 values are no number and taken as missing, such as 'tall'\."):
        model.predict(odd)
    with pytest.raises(ValueError, match=r"The column 'x' holds datetime64.*trained on a number in it"):
        model.predict(raw.assign(x=pd.to_datetime(raw["day"])))
    with pytest.raises(ValueError, match=r"The column 'day' holds int64, and the model was trained on a date in it"):
        model.predict(raw.assign(day=1))
    with pytest.raises(ValueError, match=r"Columns are missing that the model was trained on: \['x'\]"):
        model.predict(raw.drop(columns="x"))
    with pytest.raises(ValueError, match="Columns come more than once: \\['x'\\]"):
        model.predict(pd.concat([raw, raw[["x"]]], axis=1))
    with pytest.raises(ValueError, match="A pandas DataFrame of raw rows is needed"):
        model.predict(raw.to_numpy())


def test_model_loads_and_predicts_where_only_the_libraries_are_and_can_be_saved_again(tmp_path):
    price = np.random.default_rng(0).gamma(2, 800, N).round(2)
    notes = [f"note {i} of {i % 7}" for i in range(N)]
    path, raw = table(tmp_path, price=[f"${p:,.2f}" for p in price], note=notes, kind=np.where(price > 1000, 1, 0))
    model, _ = train(path, tmp_path)
    joblib.dump(clone(model[0]).fit(raw), tmp_path / "again.joblib")
    joblib.dump(model, tmp_path / "model.joblib")
    program = f"""
import sys, joblib, pandas as pd
model = joblib.load("model.joblib")
joblib.dump(model, "saved.joblib")
print(joblib.load("saved.joblib").predict(pd.read_csv({str(path)!r})).tolist(), "steps" in sys.modules)
print(type(joblib.load("again.joblib")).__name__)
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"{model.predict(raw).tolist()} False\nRawRows\n", done.stderr


@pytest.mark.parametrize(
    ("start", "step", "n_values"),
    [
        (10**9, 1, 40),
        (20_240_301, 1, 28),
        (1_478_198_376_123, 3, 40),
        (52_500_000, 1, 60),
        (1_478_198_376.123, 1, 40),
        (1_478_198_376_123_456_000, 1000, 40),
    ],
    ids=["accounts", "days", "milliseconds", "microdegrees", "seconds", "nanoseconds"],
)
def test_numbers_keep_their_digits(start, step, n_values, tmp_path):
    """A class that the last digits decide is learned, as by a script that reads the file by pandas."""
    places = np.arange(5 * N) % n_values
    frame = pd.DataFrame({"x": start + places * step, "kind": np.where(places % 8 < 4, "cat", "dog")})
    frame.to_csv(tmp_path / "table.csv", index=False)
    model, _ = train(tmp_path / "table.csv", tmp_path, max_iter=20)
    assert (model.predict(pd.read_csv(tmp_path / "table.csv")) == frame["kind"]).all()


def test_moments_within_an_hour_are_told_apart(tmp_path):
    minutes = np.arange(N) % 60
    moments = [f"{START + timedelta(minutes=int(m)):%Y-%m-%d %H:%M:%S}" for m in minutes]
    path, raw = table(tmp_path, at=moments, kind=np.where(minutes % 20 < 10, "cat", "dog"))
    model, _ = train(path, tmp_path, max_iter=20)
    assert (model.predict(raw) == raw["kind"]).all()
