import gzip

import pandas as pd
import pytest
from kfp.dsl import Artifact, Dataset

from steps.cells import NA_VALUES
from steps.prepare_data import prepare_data

TABLE = "size,colour,when,kind\n1,red,2026-01-02,cat\n2,,2026-01-03,dog\n,blue,2026-01-04,dog\n4,red,2026-01-05,cat\n"


def prepare(source, label, dataset, fingerprint="mine"):
    schema = Artifact(uri=f"{dataset.path}-schema")
    return prepare_data.python_func(
        source=str(source), label=label, fingerprint=fingerprint, dataset=dataset, schema=schema
    )


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_csv_becomes_parquet_with_its_types(csv, artifact):
    dataset = artifact(Dataset)

    assert prepare(csv(TABLE), "kind", dataset) == [1]  # which tells both

    frame = pd.read_parquet(dataset.path)
    assert frame["size"].isna().tolist() == [False, False, True, False]
    assert frame["colour"].dtype == "category"
    assert frame["colour"].isna().tolist() == [False, True, False, False]
    assert pd.api.types.is_datetime64_any_dtype(frame["when"])
    assert frame["kind"].tolist() == ["cat", "dog", "dog", "cat"]


def test_metadata_holds_names_and_counts(csv, artifact):
    dataset = artifact(Dataset)
    prepare(csv(TABLE), "kind", dataset)
    assert dataset.metadata == {
        "source": "table.csv",
        "fingerprint": "mine",
        "rows": 4,
        "columns": 4,
        "task": "classification",
        "classes": {"cat": 2, "dog": 2},
        "na_values": [*NA_VALUES],
        "label": "kind",
        "weight": "",
        "split_by": "",
        "group_by": "",
    }


def test_gzipped_csv_and_parquet_give_the_same_table_as_csv(csv, tmp_path, artifact):
    plain, packed, parquet = artifact(Dataset), artifact(Dataset), artifact(Dataset)
    path = csv(TABLE)
    prepare(path, "kind", plain)
    (tmp_path / "packed").write_bytes(gzip.compress(path.read_bytes()))
    prepare(tmp_path / "packed", "kind", packed)
    prepare(plain.path, "kind", parquet)

    expected = pd.read_parquet(plain.path)
    pd.testing.assert_frame_equal(pd.read_parquet(packed.path), expected)
    pd.testing.assert_frame_equal(pd.read_parquet(parquet.path), expected)


def test_codes_follow_the_order_of_the_sorted_names(csv, artifact):
    dataset = artifact(Dataset)
    assert prepare(csv("x,y\n1,10\n2,9\n3,10\n4,9\n5,-1\n6,-1\n"), "y", dataset) == [0, 1, 2]
    assert [*dataset.metadata["classes"]] == ["-1", "9", "10"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a,b\n1,2\n", r"No column 'y' in the table; it has a, b\. Name the column of the classes with --label\."),
        ("a,a,y\n1,2,3\n", r"table\.csv: columns occur more than once: 'a'\. Rename them\."),
        ("y\n1\n2\n", r"The table has no column but the label 'y'\."),
        ("x,y\n", r"The table has column names but no rows\."),
        ("x,y\n1,a\n2,\n3,\n", r"2 of 3 rows have no label in 'y', the first is data row 2\. Fill them in"),
        ("x,y\n1,a\n2,a\n", r"The label 'y' has only the value 'a'; a classifier needs at least two classes\."),
        ("x,y\n1,a\n2,a\n3,b\n4,c\n", r"Only one row has the label b, c in 'y'; each class needs at least two"),
        (
            "x,y\n" + "".join(f"{i % 7},name {i}\n" for i in range(3000)),
            r"The label 'y' has 3,000 different values; at most 97 classes can be trained, because a task",
        ),
    ],
)
def test_table_that_cannot_be_learned_from_is_refused(csv, artifact, table, message):
    with pytest.raises(ValueError, match=message):
        prepare(csv(table), "y", artifact(Dataset))
