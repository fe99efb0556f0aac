import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kfp.dsl import Artifact, Dataset
from pyarrow import dataset, parquet

from steps.prepare_data import prepare_data
from steps.tables.columns import is_identifier
from steps.tables.comparing import compare_schemas, hold_to
from steps.tables.describing import describe
from steps.tables.reading import Table
from steps.tables.roles import Roles
from steps.tables.schema import Column, Schema, read_schema

N = 60


def table(**columns):
    return pa.table({"size": [place % 7 for place in range(N)], "kind": ["cat", "dog"] * (N // 2)} | columns)


def described(of, is_part=False, **settings):
    return describe(Table(dataset.dataset(of), is_part=is_part), Roles("kind"), **settings).schema


def column_of(schema, name):
    return next(column for column in schema.columns if column.name == name)


def test_column_is_described_by_its_range_or_its_values():
    schema = described(
        table(
            height=[None, *(place / 4 for place in range(N - 1))],
            word=pa.array(["a", "a", "b"] * (N // 3)),
            day=pd.date_range("2026-01-01", periods=N),
        )
    )
    assert column_of(schema, "height") == Column(
        "height", "number", "feature", missing=round(1 / N, 6), distinct=N - 1, min=0.0, max=14.5
    )
    assert column_of(schema, "word").values == {"a": 40, "b": 20}
    assert column_of(schema, "day").max == "2026-03-01 00:00:00"
    assert column_of(schema, "kind").role == "label"
    assert (schema.rows, schema.classes) == (N, {"cat": 30, "dog": 30})


def test_schema_is_json_whatever_the_values(tmp_path):
    odd = table(
        x=[np.nan, np.inf, -np.inf, *range(N - 3)], y=pa.array([2**64 - 1, *range(N - 1)], pa.uint64()), z=[np.nan] * N
    )
    schema = described(odd)
    schema.write(str(tmp_path / "schema"))
    assert json.loads((tmp_path / "schema").read_text())["columns"][3]["max"] == 2**64 - 1
    assert read_schema(str(tmp_path / "schema")) == schema


@pytest.mark.parametrize(
    ("values", "is_key"),
    [
        (range(50), True),
        ([*range(49, -1, -1)], True),
        ([(place * 7) % 50 + 1000 for place in range(50)], True),
        ([place**2 for place in range(50)], True),  # in the order of the rows
        ([hash(str(place)) % 2**62 for place in range(50)], True),
        ([(place * 7919) % 4001 for place in range(50)], False),  # a measure that happens not to repeat
        ([0, *range(49)], False),
        ([None, *range(49)], False),
        (range(19), False),
        ([place / 7 for place in range(50)], False),
        ([f"key-{place}" for place in range(50)], True),
        ([f"first{place} last" for place in range(50)], True),
        ([f"what a reviewer wrote of film {place}" for place in range(50)], False),
        (pd.date_range("2026-01-01", periods=50), False),
    ],
)
def test_identifier_is_told_from_a_measure_and_from_text_to_read(values, is_key):
    column = pa.chunked_array([pa.array(values)])
    n_distinct = len({*column.drop_null().to_pylist()})
    assert is_identifier(column, n_distinct) == is_key


def test_real_elevations_are_no_identifier(rows):
    elevations = rows["Elevation"].drop_duplicates()
    assert len(elevations) > 500
    assert not is_identifier(pa.chunked_array([pa.array(elevations)]), len(elevations))


def test_rows_of_classes_that_are_left_out_count_nowhere():
    of = table(only_eels=[None] * (N - 2) + [1, 2]).set_column(
        1, "kind", pa.array([*["cat", "dog"] * (N // 2 - 1), "eel", "eel"])
    )
    schema = described(of, min_class_rows=3)
    assert schema.removed_classes == {"eel": 2}
    assert (schema.rows, schema.classes) == (N - 2, {"cat": 29, "dog": 29})
    assert column_of(schema, "only_eels").note == "every value is missing"
    assert schema.all_notes()[0] == "classes of too few rows are left out with their rows: 'eel' (2)"


def test_part_of_a_table_is_not_refused_for_what_the_rest_may_hold():
    part = table().slice(0, 1)
    assert described(part).problems
    assert described(part, is_part=True).problems == []


def former_and_now(**changed):
    former = described(table(height=[*range(0, 4 * N, 4)][::-1][::2] * 2, word=["a", "b"] * (N // 2)))
    return former, described(
        table(**{"height": [place % 11 for place in range(N)], "word": ["b", "a"] * (N // 2)} | changed)
    )


def test_what_differs_from_an_earlier_run_has_its_verdict():
    former, now = former_and_now(height=["x", "y"] * (N // 2), word=["a", "new"] * (N // 2), more=[1, 2, 3] * (N // 3))
    del now.columns[0]  # the size
    now.classes = {"cat": 30, "eel": 30}
    assert [(found.verdict, found.text) for found in compare_schemas(now, former)] == [
        ("error", "the column 'size' (number) is missing"),
        ("error", "the column 'height' was number and is category"),
        ("warning", "the class 'eel' is new"),
        ("warning", "the class 'dog' is gone"),
        ("warning", "'word' has new categories, which count as missing to that run's model: 'new'"),
        ("left out", "the column 'more' is new"),
    ]
    assert column_of(now, "more").role == "dropped"


def test_same_table_differs_in_nothing():
    former, now = former_and_now()
    assert compare_schemas(now, former) == []


def test_column_that_was_left_out_stays_so_and_one_that_became_constant_is_told():
    former, now = former_and_now(height=[1] * N)
    former.columns[0].drop("constant: every row has the same value")
    assert [(found.verdict, found.text) for found in compare_schemas(now, former)] == [
        ("warning", "'height' was a feature: constant: every row has the same value"),
        ("left out", "'size' was left out there, too (constant: every row has the same value)"),
    ]
    assert column_of(now, "size").role == "dropped"


def test_step_holds_a_table_to_the_file_of_an_earlier_run(tmp_path, artifact):
    def prepare(of, **settings):
        of.to_pandas().to_csv(tmp_path / "table.csv", index=False)
        outputs = artifact(Dataset), artifact(Artifact)
        prepare_data.python_func(str(tmp_path / "table.csv"), "kind", "f", *outputs, **settings)
        return outputs

    _, former = prepare(table(word=["a", "b"] * (N // 2)))
    assert former.metadata == {"columns": 3, "dropped": 0, "notes": 1}  # the word reveals the label

    now, schema = prepare(table(word=["a", "c"] * (N // 2), more=[1, 2, 3] * (N // 3)), schema_from=former.path)
    assert parquet.read_schema(now.path).names == ["size", "kind", "word"]
    assert [found["verdict"] for found in json.loads(Path(schema.path).read_text())["findings"]] == [
        "warning",
        "left out",
    ]

    with pytest.raises(
        ValueError, match=r"differs from the earlier run's:\nerror: the column 'word' \(category\) is miss"
    ):
        prepare(table(), schema_from=former.path)
    with pytest.raises(ValueError, match=r"The earlier run's schema .*/none cannot be read: .*No such file"):
        prepare(table(), schema_from=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[:-20], "Expecting|Unterminated"),
        (lambda text: "[" * 100_000, "nested too deeply"),
        (lambda text: "3", "3 is no Schema"),
        (lambda text: "{}", "it is no schema of a table"),
        (lambda text: text.replace('"name"', '"unnamed"', 1), "'unnamed'"),
        (lambda text: text.replace('"name": "size"', '"name": ["size"]'), r"\['size'\] is no str"),
        (lambda text: text.replace('"rows": ', '"rows": "x", "x": '), "'x' is no int"),
        (lambda text: text.replace('"missing": 0.0', '"missing": true'), "True is no float"),
        (lambda text: text.replace('"columns": [', '"columns": [null, '), "None is no Column"),
    ],
)
def test_damaged_schema_of_an_earlier_run_is_told(tmp_path, damage, told):
    Schema(3, "kind", columns=[Column("size", "number", "feature", distinct=3, values={"1": 3})]).write(
        tmp_path / "one"
    )
    assert read_schema(str(tmp_path / "one")).columns[0].values == {"1": 3}
    (tmp_path / "one").write_text(damage((tmp_path / "one").read_text()))
    with pytest.raises(ValueError, match=f"The earlier run's schema .*/one cannot be read: .*(?:{told})"):
        hold_to(Schema(3, "kind"), str(tmp_path / "one"))


def test_pipe_in_place_of_a_schema_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "one")
    with pytest.raises(ValueError, match="is a pipe, no regular file"):
        hold_to(Schema(3, "kind"), str(tmp_path / "one"))
