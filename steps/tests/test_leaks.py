"""Columns that give the classes away are told, with the share; those that only help are not."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import dataset
from sklearn import datasets

from steps.tables.describing import describe
from steps.tables.reading import Table
from steps.tables.roles import Roles

N = 600


def noted(frame: pd.DataFrame, label: str = "kind") -> dict[str, str]:
    """Return the notes of a table's columns, those that are left out marked."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns = describe(Table(dataset.dataset(table)), Roles(label)).schema.columns
    return {column.name: f"{column.role}: {column.note}" for column in columns if column.note}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def fine(rng):
    return rng.choice(["a1", "a2", "a3", "b1", "b2"], N)


@pytest.fixture
def kind(fine):
    return np.array([name[0] for name in fine])


def leaks(rng, fine, kind):
    some, is_a = rng.random(N) < 0.015, kind == "a"
    yield "finer label", fine
    yield "copy with missing cells", np.where(some, None, kind)
    yield "copy with wrong cells", np.where(some, "a", kind)
    yield "copy under another name", np.where(some, None, np.where(is_a, "yes", "no"))
    yield "noisy number", is_a + rng.normal(0, 0.1, N)
    yield "noisy amount", np.where(is_a, 1e6, 2e6) + rng.normal(0, 1e5, N).round()
    yield (
        "threshold of a date",
        pd.Timestamp("2024-01-01") + pd.to_timedelta(np.where(is_a, 0, 400) + np.arange(N) % 90, "D"),
    )


def test_column_that_gives_nearly_all_classes_is_told(rng, fine, kind):
    for what, column in leaks(rng, fine, kind):
        told = noted(pd.DataFrame({"it": column, "x": rng.normal(size=N), "kind": kind}))
        assert "x" not in told, what
        assert told["it"].startswith("feature: alone it gives "), what
        assert "% of the classes of 'kind', where guessing gives 57.3%" in told["it"]
        assert "--set drop=COLUMN leaves it out" in told["it"]


def test_column_that_is_filled_for_one_class_is_told(rng, kind):
    is_a = kind == "a"
    frame = pd.DataFrame({"kind": kind, "x": rng.normal(size=N)})
    frame["closed_at"] = np.where(is_a, "2026-01-05", None)
    frame["boat"] = np.where(is_a ^ (rng.random(N) < 0.02), rng.integers(20, size=N).astype(str), None)
    frame["open"] = np.where(is_a, None, rng.integers(20, size=N).astype(str))
    frame["part"] = np.where(is_a & (rng.random(N) < 0.2), "yes", None)
    frame["at random"] = np.where(rng.random(N) < 0.3, "yes", None)
    told = noted(frame)
    assert "filled in 100.0% of the rows of 'a' and in 0.0% of the others: that gives it away" in told["closed_at"]
    assert "filled in 96.5% of the rows of 'a' and in 2.3% of the others" in told["boat"]
    assert "that gives it away" in told["open"]
    assert "filled only where 'kind' is 'a', in " in told["part"]
    assert "kind" not in told.get("at random", "")
    assert {"x", "kind"}.isdisjoint(told)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_good_columns_of_known_tables_are_no_leaks(name):
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    assert not [note for note in noted(frame, "target").values() if "classes" in note]


def test_real_rows_have_no_leak():
    if "COVERTYPE_CSV" not in os.environ:
        pytest.skip("COVERTYPE_CSV names no file")
    assert noted(pd.read_csv(os.environ["COVERTYPE_CSV"]), "Cover_Type") == {}


def test_many_values_do_not_give_classes_by_being_remembered(rng):
    frame = pd.DataFrame({"id": rng.integers(10**6, size=N).astype(str), "price": rng.normal(size=N)})
    frame = pd.concat([frame.assign(kind=rng.choice(["a", "b"], N))] * 1)
    assert not [note for note in noted(frame).values() if "alone it gives 9" in note]


def test_ordered_amount_that_tells_is_kept_and_row_numbers_are_not(rng):
    income = np.sort(rng.choice(np.arange(10_000, 200_000), N, replace=False))
    frame = pd.DataFrame({"income": income, "row": np.arange(N), "kind": np.where(income > 90_000, "a", "b")})
    frame["ticket"] = np.sort(rng.choice(np.arange(10_000, 200_000), N, replace=False))[rng.permutation(N)]
    frame["key"] = [f"{value:x}" for value in rng.integers(2**60, size=N)]
    frame["page"] = [f"https://example.org/{i}/about" for i in range(N)]
    frame["text"] = [f"这是一个关于地质的句子{i}" for i in range(N)]
    told = noted(frame)
    assert told["income"].startswith("feature: another value on every row, as of an identifier, and kept")
    assert told["row"].startswith(
        "dropped: identifier: another value on every row; --set keep=COLUMN keeps it (alone it"
    )
    assert "gives 97.7% of the classes, guessing 61.0%" in told["row"]
    assert told["key"].startswith("dropped: identifier")
    assert told["page"].startswith("feature: 600 different values")
    assert told["text"].startswith("feature: 600 different values")
    assert "ticket" not in told


def test_amounts_are_no_identifiers(rng):
    price = rng.gamma(2, 800, N).round(2)
    frame = pd.DataFrame({"kind": np.where(price > 1500, "a", "b"), "x": rng.normal(size=N)})
    frame["dollars"] = [f"${value:,.2f}" for value in price]
    frame["euros"] = [f"{value:,.2f}".translate(str.maketrans(",.", ".,")) for value in price]
    assert not [note for note in noted(frame).values() if "identifier" in note]
