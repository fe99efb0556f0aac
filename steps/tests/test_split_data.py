from datetime import date

import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Dataset

from steps.split_data import split_data


def split(frame, label, artifact, **settings):
    train, test = artifact(Dataset), artifact(Dataset)
    roles = {role: settings.pop(role) for role in ("weight", "split_by", "group_by") if role in settings}
    dataset = artifact(Dataset, frame, source="here", label=label, **roles)
    split_data.python_func(dataset=dataset, train=train, test=test, **settings)
    return train, test


def test_split_keeps_every_row_once_and_the_share_of_each_class(rows, artifact):
    train, test = (pd.read_parquet(part.path) for part in split(rows, "Cover_Type", artifact))

    both = pd.concat([train, test]).sort_values([*rows.columns], ignore_index=True)
    pd.testing.assert_frame_equal(both, rows.sort_values([*rows.columns], ignore_index=True))
    counts = rows["Cover_Type"].value_counts()
    assert (test["Cover_Type"].value_counts() - 0.2 * counts).abs().max() <= 0.5


def test_split_keeps_every_class_in_both_parts(artifact):
    frame = pd.DataFrame({"x": range(1002), "y": ["common"] * 1000 + ["rare"] * 2})
    for test_size in (0.001, 0.2, 0.999):
        for part in split(frame, "y", artifact, test_size=test_size):
            assert set(pd.read_parquet(part.path)["y"]) == {"common", "rare"}


def test_same_seed_gives_the_same_parts_and_another_seed_others(rows, artifact):
    first, same, other = (pd.read_parquet(split(rows, "Cover_Type", artifact, seed=seed)[1].path) for seed in (7, 7, 8))
    pd.testing.assert_frame_equal(first, same)
    assert not first.equals(other)


def test_parts_carry_the_metadata_of_the_table_and_their_own_rows(rows, artifact):
    train, test = split(rows, "Cover_Type", artifact)
    assert train.metadata["source"] == test.metadata["source"] == "here"
    assert train.metadata["rows"] + test.metadata["rows"] == len(rows)


@pytest.mark.parametrize("test_size", [0, 1, -0.2, 20, float("nan")])
def test_share_outside_of_0_to_1_is_refused(rows, artifact, test_size):
    with pytest.raises(ValueError, match="test_size is a share of the rows between 0 and 1, not"):
        split(rows, "Cover_Type", artifact, test_size=test_size)


def read(parts):
    return [pd.read_parquet(part.path) for part in parts]


@pytest.fixture
def visits():
    """600 rows of 40 people at 100 moments, two classes, in no order of time."""
    random = np.random.default_rng(0)
    when = pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(100, size=600), unit="D")
    who = random.integers(40, size=600)
    return pd.DataFrame({"when": when, "who": who, "x": range(600), "y": np.where(random.random(600) < 0.1, "a", "b")})


@pytest.mark.parametrize(
    "kind", ["datetime64[us]", "datetime64[us, UTC]", "int", "iso text", "date", "text", "category"]
)
def test_split_by_time_tests_on_the_newest_rows(visits, artifact, kind):
    moments = visits["when"]
    convert = {
        "int": lambda: (moments - moments.min()).dt.days,
        "iso text": lambda: moments.astype(str),
        "date": lambda: moments.dt.date,
        "text": lambda: moments.dt.strftime("%d.%m.%Y"),
        "category": lambda: moments.astype(str).astype("category"),
        "datetime64[us, UTC]": lambda: moments.dt.tz_localize("UTC"),
    }
    visits["when"] = convert.get(kind, lambda: moments)()
    train, test = read(split(visits, "y", artifact, split_by="when"))
    newest = visits["x"].isin(test["x"])
    assert moments[~newest].max() < moments[newest].min()
    assert len(test) == pytest.approx(120, abs=8)
    assert train["x"].is_monotonic_increasing
    assert test["x"].is_monotonic_increasing
    assert len(train) + len(test) == 600


def test_rows_of_one_time_stay_on_one_side(artifact):
    frame = pd.DataFrame({"year": [1] * 5 + [2] * 90 + [3] * 5, "x": range(100), "y": ["a", "b"] * 50})
    train, test = read(split(frame, "y", artifact, split_by="year", test_size=0.3))
    assert (set(train["year"]), set(test["year"])) == ({1, 2}, {3})
    train, test = read(split(frame, "y", artifact, split_by="year", test_size=0.9))
    assert (set(train["year"]), set(test["year"])) == ({1}, {2, 3})


@pytest.mark.parametrize("test_size", [0.1, 0.2, 0.5, 0.8])
def test_no_group_is_on_both_sides_and_each_class_has_its_share(visits, artifact, test_size):
    train, test = read(split(visits, "y", artifact, group_by="who", test_size=test_size))
    assert "who" not in [*train, *test]
    groups = visits.set_index("x")["who"]
    assert set(groups[train["x"]]) | set(groups[test["x"]]) == set(groups)
    assert not set(groups[train["x"]]) & set(groups[test["x"]])
    shares = test["y"].value_counts() / visits["y"].value_counts()
    assert (shares - test_size).abs().max() < 0.06


def test_groups_are_others_with_another_seed(visits, artifact):
    one, same, other = (split(visits, "y", artifact, group_by="who", seed=seed)[1] for seed in (1, 1, 2))
    assert pd.read_parquet(one.path).equals(pd.read_parquet(same.path))
    assert not pd.read_parquet(one.path).equals(pd.read_parquet(other.path))


def test_class_of_one_group_is_learned_and_reported_as_untested(artifact, capsys):
    frame = pd.DataFrame({"g": ["a"] * 10 + ["b"] * 10 + ["c"] * 10, "x": range(30), "y": ["k", "l"] * 15})
    frame.loc[:9, "y"] = "only, here"
    for seed in range(5):
        train, test = split(frame, "y", artifact, group_by="g", test_size=0.4, seed=seed)
        assert set(pd.read_parquet(train.path)["y"]) == {"k", "l", "only, here"}
        assert test.metadata["classes_without_rows"] == ["only, here"]
    assert "The test part has no row of the class only, here" in capsys.readouterr().out


def test_one_of_two_large_groups_is_held_back(artifact):
    frame = pd.DataFrame({"g": ["a"] * 50 + ["b"] * 60, "x": range(110), "y": ["k", "l"] * 55})
    train, test = read(split(frame, "y", artifact, group_by="g", test_size=0.05))
    assert (len(train), len(test)) == (60, 50)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({}, {"split_by": "when", "group_by": "who"}, "Name one of split_by and group_by"),
        ({"when": 1}, {"split_by": "when"}, "All rows have the same time in 'when'"),
        ({"when": True}, {"split_by": "when"}, "'when' \\(split_by\\) holds true and false"),
        ({"when": "soon"}, {"split_by": "when"}, "The text in 'when' \\(split_by\\) is not all of one kind of date"),
        ({"when": ["1/2/2026", "2/1/2026"] * 300}, {"split_by": "when"}, "as day/month and as month/day"),
        ({"when": [None, 1] * 300}, {"split_by": "when"}, "300 rows have no time in 'when'"),
        ({"who": [None, "a"] * 300}, {"group_by": "who"}, "300 rows have no group in 'who'"),
        ({"who": 1}, {"group_by": "who"}, "All rows are of one group in 'who'"),
        ({"who": ["a", "b"] * 300, "y": ["k", "l"] * 300}, {"group_by": "who"}, "none can be held back"),
        ({"y": ["old"] * 599 + ["new"], "when": range(600)}, {"split_by": "when"}, "no row of the class new"),
        ({"x": [0] * 599 + [1], "y": ["k"] * 590 + ["l"] * 10}, {"weight": "x"}, "weight above 0 of the class k"),
    ],
)
def test_split_that_cannot_be_made_is_refused(visits, artifact, change, settings, message):
    with pytest.raises(ValueError, match=message):
        split(visits.assign(**change), "y", artifact, **settings)


def test_test_rows_that_were_trained_on_are_counted(artifact, capsys):
    frame = pd.DataFrame(
        {
            "text": pd.Categorical(["same", None] * 50),
            "number": [1.5, np.nan] * 50,
            "list": [[1, 2], None] * 50,
            "day": [date(2026, 1, 1), None] * 50,
            "weight": range(1, 101),
            "y": ["a", "b"] * 50,
        }
    )
    frame.loc[:1, "number"] = [2.5, 3.5]
    _, test = split(frame, "y", artifact, weight="weight")
    unique = pd.read_parquet(test.path)["number"].isin([2.5, 3.5]).sum()
    assert test.metadata["duplicates_in_train"] == 20 - unique
    assert f"{20 - unique} of 20 test rows" in capsys.readouterr().out
    _, test = split(frame, "y", artifact)
    assert test.metadata["duplicates_in_train"] == 0
    assert capsys.readouterr().out == ""


def test_index_and_types_of_pandas_own_are_read_as_plain_columns(artifact):
    frame = pd.DataFrame({"x": pd.array([1, None] * 20, "Int64"), "y": pd.array(["a", "b"] * 20, "category")})
    frame.index = pd.Index([0, 1] * 20, name="place")
    train, test = read(split(frame, "y", artifact))
    assert list(train) == list(test) == ["x", "y", "place"]
    assert train["x"].dtype == test["x"].dtype == "float64"
