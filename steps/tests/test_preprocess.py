import os
from datetime import datetime, timedelta
from decimal import Decimal

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kfp.dsl import Artifact, Dataset
from pyarrow import parquet

from steps.evaluation.importance import features_of_columns
from steps.preprocess import preprocess
from steps.raw_rows import Features, RawRows


@pytest.fixture
def mixed():
    """Columns of every kind that a table may have; the last rows are kept for the test."""
    n = 400
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "category": pd.Categorical(["a", "b"] * (n // 2)),
            "text": [f"note {i} on {rng.choice(['rock', 'sand'])}" for i in range(n)],
            "flag": rng.random(n) < 0.5,
            "day": pd.date_range("2026-01-01", periods=n).astype(str),
            "y": ["no", "yes"] * (n // 2),
        }
    )


def process(train, test, label, artifact):
    outputs = artifact(Dataset), artifact(Dataset), artifact(Artifact)
    parts = (artifact(Dataset, part.reset_index(drop=True), label=label) for part in (train, test))
    preprocess.python_func(*parts, *outputs)
    return pd.read_parquet(outputs[0].path), pd.read_parquet(outputs[1].path), outputs[2]


def test_any_mix_of_columns_becomes_numbers_and_categories(mixed, artifact):
    train, test, preprocessor = process(mixed[:300], mixed[300:], "y", artifact)

    features = train.drop(columns="y")
    assert all(dtype == "category" or np.issubdtype(dtype, np.number) for dtype in features.dtypes)
    assert {"number", "category", "flag", "day_month"} <= set(features)
    assert (train.dtypes == test.dtypes).all()
    assert train["y"].tolist() == mixed["y"][:300].tolist()
    assert preprocessor.metadata == {"inputs": len(mixed.columns) - 1, "outputs": len(features.columns)}


def test_missing_numbers_stay_missing(mixed, artifact):
    mixed.loc[[3, 350], "number"] = np.nan
    train, test, _ = process(mixed[:300], mixed[300:], "y", artifact)
    assert train.index[train["number"].isna()].tolist() == [3]
    assert test.index[test["number"].isna()].tolist() == [50]


@pytest.mark.parametrize("dtype", ["category", "str"])
def test_category_unseen_in_training_becomes_missing(mixed, artifact, dtype):
    mixed["category"] = mixed["category"].astype("str")
    mixed.loc[350, "category"] = "new"
    mixed["category"] = mixed["category"].astype(dtype)  # as a category, its type names "new" in both parts
    train, test, _ = process(mixed[:300], mixed[300:], "y", artifact)
    assert train["category"].cat.categories.tolist() == ["a", "b"]
    assert test.index[test["category"].isna()].tolist() == [50]


def test_nothing_is_learned_from_the_test_part(mixed, artifact):
    changed = mixed.copy()
    changed.loc[300:, "text"] = "something else entirely"
    train, _, preprocessor = process(mixed[:300], mixed[300:], "y", artifact)
    same, _, _ = process(mixed[:300], changed[300:], "y", artifact)
    pd.testing.assert_frame_equal(train, same)
    again = joblib.load(preprocessor.path).transform(mixed[:300].drop(columns="y"))
    words = [name for name in again if "words" in name]  # of the training rows by models that have not seen them
    assert words == ["text_words_0"]
    again, train = again.drop(columns=words), train.drop(columns=words)
    pd.testing.assert_frame_equal(again, train.drop(columns="y"), check_categorical=False, check_dtype=False)


def arrow(column, type_=None):
    """Make a table of one column, in which each 7th value is missing."""
    return pa.table(
        {
            "it": pa.array([None if i % 7 == 3 else value for i, value in enumerate(column)], type_),
            "y": ["no", "yes"] * (len(column) // 2),
        }
    )


def process_table(table, artifact, label="y", weight=""):
    train, test = (artifact(Dataset, label=label, weight=weight) for _ in range(2))
    train_X, test_X = artifact(Dataset), artifact(Dataset)
    parquet.write_table(table.slice(0, 300), train.path)
    parquet.write_table(table.slice(300), test.path)
    preprocessor = artifact(Artifact)
    preprocess.python_func(train, test, train_X, test_X, preprocessor)
    raw = pd.read_parquet(test.path)
    again = joblib.load(preprocessor.path).transform(raw.assign(more=1)[[*raw.columns[::-1], "more"]])
    expected = pd.read_parquet(test_X.path).iloc[:, : preprocessor.metadata["outputs"]]
    pd.testing.assert_frame_equal(again, expected, check_categorical=False, check_dtype=False)
    return pd.read_parquet(train_X.path), pd.read_parquet(test_X.path), preprocessor


HALVES = ["no", "yes"] * 200
HOURS = [datetime(2025, 12, 30) + timedelta(hours=i) for i in range(400)]


@pytest.mark.parametrize(
    ("values", "type_", "features", "first"),
    [
        (HOURS, pa.timestamp("s"), ["year", "month", "day", "hour", "total_seconds", "weekday"], 2025),
        (HOURS, pa.timestamp("ns", "Asia/Tokyo"), ["year", "month", "day", "hour", "total_seconds", "weekday"], 2025),
        (HOURS, pa.date32(), ["year", "month", "day", "total_seconds", "weekday"], 2025),
        ([f"{h:%m/%d/%Y}" for h in HOURS], pa.string(), ["year", "month", "day", "total_seconds", "weekday"], 2025),
        ([h.time() for h in HOURS], pa.time32("s"), [""], 0),
        ([h.time().replace(microsecond=7) for h in HOURS], pa.time64("us"), [""], 7e-6),
        ([timedelta(minutes=i) for i in range(1, 401)], pa.duration("ms"), [""], 60),
        ([Decimal(i) / 4 for i in range(400)], pa.decimal128(9, 2), [""], 0),
        ([*range(400)], pa.int64(), [""], 0),
        ([True, False] * 200, pa.bool_(), [""], 1),
        ([3, 4] * 200, pa.dictionary(pa.int8(), pa.int64()), [""], 3),
    ],
    ids=str,
)
def test_column_of_a_type_becomes_numbers(values, type_, features, first, artifact):
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    table = arrow(values, plain)
    if plain is not type_:
        table = table.set_column(0, "it", table["it"].cast(plain).dictionary_encode().cast(type_))
    train, _, _ = process_table(table, artifact)
    assert list(train) == [f"it_{feature}" if feature else "it" for feature in features] + ["y"]
    assert train.iloc[0, 0] == pytest.approx(first)
    assert all(dtype in ("float32", "float64") for dtype in train.dtypes[:-1])
    assert train.index[train.iloc[:, 0].isna()].tolist() == [*range(3, 300, 7)]


def test_text_dates_are_dates_also_where_the_column_is_of_categories(artifact):
    table = arrow([f"{h:%d.%m.%Y}" for h in HOURS], pa.string())
    as_text, _, _ = process_table(table, artifact)
    as_categories, _, _ = process_table(table.set_column(0, "it", table["it"].dictionary_encode()), artifact)
    pd.testing.assert_frame_equal(as_categories, as_text)


def test_of_a_date_only_what_varies_is_kept(artifact):
    days = [datetime(2026, 1, 1 + i % 20) for i in range(400)]
    table = pa.table({"it": days, "same": [days[0]] * 400, "y": ["no", "yes"] * 200})
    train, _, _ = process_table(table, artifact)
    assert list(train) == ["it_day", "it_total_seconds", "it_weekday", "y"]


def test_days_between_dates_are_features_of_both(artifact):
    ordered = pd.Series(pd.date_range("2026-01-01", periods=400, freq="17h"))
    shipped = ordered + pd.to_timedelta(np.arange(400) % 5 * 12, unit="h")
    frame = pd.DataFrame(
        {
            "shipped": shipped.dt.strftime("%d.%m.%Y %H:%M").mask(np.arange(400) % 7 == 3),
            "ordered": ordered.dt.tz_localize("UTC"),
            "same": datetime(2026, 1, 1),
            "number": np.arange(400.0),
            "ordered_to_shipped_days": 1.0,
            "y": ["no", "yes"] * 200,
        }
    )
    train, test, preprocessor = process(frame[:300], frame[300:], "y", artifact)
    days = [*np.where(np.arange(400) % 7 == 3, np.nan, -(np.arange(400) % 5 * 12) / 24)]
    assert [name for name in train if "_to_" in name] == ["ordered_to_shipped_days", "shipped_to_ordered_days"]
    assert train["shipped_to_ordered_days"].tolist() == pytest.approx(days[:300], nan_ok=True)
    assert test["shipped_to_ordered_days"].tolist() == pytest.approx(days[300:], nan_ok=True)

    pipeline = joblib.load(preprocessor.path)
    outputs = features_of_columns(pipeline, frame, test)
    assert [name for name in outputs if "shipped_to_ordered_days" in outputs[name]] == ["shipped", "ordered"]
    assert {name for parts in outputs.values() for name in parts} == {*test} - {"y"}
    pd.testing.assert_frame_equal(pipeline.transform(frame[300:]).reset_index(drop=True), test.drop(columns="y"))


def test_of_many_dates_few_differences_are_features_and_it_is_told(artifact, capsys):
    days = pd.Series(pd.date_range("2026-01-01", periods=400))
    frame = pd.DataFrame({f"day {i}": days + pd.to_timedelta(np.arange(400) % (i + 2), "D") for i in range(8)})
    train, _, _ = process(frame[:300].assign(y=HALVES[:300]), frame[300:].assign(y=HALVES[300:]), "y", artifact)
    between = [name for name in train if "_to_" in name]
    assert len(between) == 15
    assert {name.split("_to_")[0] for name in between} == {f"day {i}" for i in range(5)}
    assert "features of 15 pairs; 13 pairs of later columns are left out." in capsys.readouterr().out


WORDS = ["alder", "birch", "cedar", "elder", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "spruce"]


def reviews(n=600):
    """Texts of random words of which the order of three says which kind it is, and names whose ending does."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, n)
    words = random.choice(WORDS, (n, 10)).astype(object)
    words[:, 4:7] = [text.split() for text in np.array(["not so good", "so good not", "good not so"])[kind]]
    names = ["".join(random.choice([*"bdfgklm"], 6)) + ("ina", "oro", "ez")[k] for k in kind]
    nonsense = ["".join(row) for row in random.choice([*"abcdefgh "], (n, 14))]
    texts = {"review": [" ".join(row) for row in words], "name": names, "nonsense": nonsense}
    return pd.DataFrame(texts | {"y": np.array(["x", "y", "z"])[kind]})


def scores_of(train, name):
    return train[[column for column in train if column.startswith(f"{name}_words_")]].to_numpy()


def test_text_is_scored_where_it_tells_the_classes_apart(artifact):
    table = reviews()
    train, test, preprocessor = process(table[:450], table[450:], "y", artifact)
    for part, rows in ((train, table[:450]), (test, table[450:])):
        codes = pd.factorize(rows["y"], sort=True)[0]
        for name in ("review", "name"):
            assert (scores_of(part, name).argmax(axis=1) == codes).mean() > 0.95, name
        assert scores_of(part, "nonsense").shape[1] == 0
    features = joblib.load(preprocessor.path)[-1]
    assert [*features.encoders_["name"].pieces.vectorizers] == ["letters"]
    assert "words" in features.encoders_["review"].pieces.vectorizers


def test_no_row_sees_its_own_label_in_the_scores_of_its_text(artifact):
    table = reviews()[["review", "y"]]
    changed = table.copy()
    changed.loc[7, "y"] = "x" if table.loc[7, "y"] != "x" else "z"
    train, _, _ = process(table[:450], table[450:], "y", artifact)
    other, _, _ = process(changed[:450], changed[450:], "y", artifact)
    told = scores_of(train, "review")[7].argmax(), scores_of(other, "review")[7].argmax()
    assert told == (told[0], told[0])


def test_class_of_few_rows_takes_no_words_from_the_others(artifact):
    table = reviews()[["review", "y"]]
    table.loc[[3, 5], "y"] = "rare"
    train, test, _ = process(table[:450], table[450:], "y", artifact)
    assert scores_of(train, "review").shape[1] == scores_of(test, "review").shape[1] == 3
    assert np.isfinite(scores_of(train, "review")).all()


def test_continuous_label_is_told_by_text(artifact):
    table = reviews()
    y = table["y"].map({"x": -1.0, "y": 0.5, "z": 7.0}).to_numpy() + np.linspace(0, 0.1, len(table))
    rows = RawRows({"review": {"kind": "text"}, "nonsense": {"kind": "text"}}).fit(table).transform(table)
    features = Features().fit(rows[:450], y[:450])
    made = features.transform(rows[450:])
    assert [name for name in made if "_words_" in name] == ["review_words_0"]
    assert np.corrcoef(made["review_words_0"], y[450:])[0, 1] > 0.95


def test_model_of_text_is_small_and_one_row_is_read_like_many(artifact):
    random = np.random.default_rng(0)
    texts = [" ".join(row) for row in random.integers(0, 30_000, (1_200, 40)).astype(str)]
    frame = pd.DataFrame({"text": texts, "y": random.choice(["a", "b", "c"], 1_200)})
    frame["text"] += " of " + frame["y"].mask(random.random(1_200) < 0.2, "a")
    _, test, preprocessor = process(frame[:1_100], frame[1_100:], "y", artifact)
    pipeline = joblib.load(preprocessor.path)
    assert "text_words_2" in test
    assert os.path.getsize(preprocessor.path) < 10_000_000
    alone = pd.concat([pipeline.transform(frame.iloc[[place]]) for place in range(1_100, 1_110)])
    pd.testing.assert_frame_equal(
        alone.reset_index(drop=True), test.drop(columns="y").head(10), check_categorical=False, check_exact=True
    )


@pytest.mark.parametrize("as_categories", [True, False])
def test_of_many_values_the_frequent_are_categories_and_the_rest_one(artifact, as_categories):
    random = np.random.default_rng(0)
    places = [f"place {i}" for i in np.minimum(random.zipf(1.2, size=20_000), 5_000)]
    table = pa.table({"it": places, "y": ["no", "yes"] * 10_000})
    if as_categories:
        table = table.set_column(0, "it", table["it"].dictionary_encode())
    train, test = artifact(Dataset, label="y"), artifact(Dataset)
    parquet.write_table(table.slice(0, 15_000), train.path)
    parquet.write_table(table.slice(15_000), test.path)
    train_X, test_X, preprocessor = artifact(Dataset), artifact(Dataset), artifact(Artifact)
    preprocess.python_func(train, test, train_X, test_X, preprocessor)
    features = pd.read_parquet(train_X.path)

    counts = pd.Series(places[:15_000]).value_counts()
    frequent = counts[counts >= 20].index[:254]
    assert 20 < len(frequent) <= 254
    assert len(features["it"].cat.categories) == len(frequent) + 1
    one_value = features["it"][~pd.Series(places[:15_000]).isin(frequent)]
    assert one_value.nunique() == 1
    assert not features["it"][pd.Series(places[:15_000]).isin(frequent)].isin(one_value).any()
    assert features.shape[1] == 1 + 30 + 1


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([[1, 2]] * 400, pa.list_(pa.int64())),
        ([{"a": 1}] * 400, pa.struct({"a": pa.int64()})),
        ([[("a", 1)]] * 400, pa.map_(pa.string(), pa.int64())),
        ([b"\xff"] * 400, pa.binary()),
        ([b"\xff"] * 400, pa.large_binary()),
        ([b"\xff"] * 400, pa.binary(1)),
    ],
    ids=str,
)
def test_column_that_cannot_be_learned_from_is_named(values, type_, artifact):
    with pytest.raises(ValueError, match=r"The column 'it' holds .*\. Turn it into one of them or leave it out\."):
        process_table(arrow(values, type_), artifact)


def test_columns_without_a_value_or_with_one_in_the_training_part_do_no_harm(mixed, artifact):
    mixed["late"] = [None] * 300 + ["new"] * 100
    mixed["later"] = [np.nan] * 300 + [1.0] * 100
    mixed["one"] = "same"
    train, test, _ = process(mixed[:300], mixed[300:], "y", artifact)
    assert {"late", "later"}.isdisjoint(train)
    assert list(train) == list(test)


def test_table_without_any_value_in_the_training_part_is_refused(artifact):
    frame = pd.DataFrame({"x": [np.nan] * 300 + [1.0] * 100, "y": ["no", "yes"] * 200})
    with pytest.raises(ValueError, match="No column but the label has a value in the training part"):
        process(frame[:300], frame[300:], "y", artifact)


def test_columns_may_have_any_name(artifact):
    names = [
        "date",
        "date_year",
        "",
        "1",
        " a b ",
        'say "hi"',
        "new\nline",
        "🌲",
        "{{$}}",
        "self",
        "label",
        "date_year_",
    ]
    random = np.random.default_rng(0)
    table = pa.table({name: random.normal(size=400) for name in names[1:]} | {"date": HOURS, "y": ["no", "yes"] * 200})
    for label in ("y", "date_month"):
        renamed = table.rename_columns([*table.column_names[:-1], label])
        train, _, preprocessor = process_table(renamed, artifact, label=label, weight="1")
        assert sorted(joblib.load(preprocessor.path)[0].columns) == sorted({*names} - {"1"})
        assert len(train.columns) == len({*train.columns}) == len(names) - 2 + 6 + 2
        assert train[label].tolist() == ["no", "yes"] * 150
        assert train["1"].tolist() == table["1"].to_pylist()[:300]
        assert train["date_year"].tolist() == pytest.approx(table["date_year"].to_pylist()[:300])
        assert not any("skrub" in name for name in train)
