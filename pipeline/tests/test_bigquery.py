"""BigQuery tables as data, through the real client against a server of this machine."""

import pandas as pd
import pytest
from kfp.dsl import Artifact, Dataset

from pipeline import RequestError, sources
from pipeline.tests.bigquery_server import BigQueryServer
from steps.prepare_data import prepare_data

TABLE = "demo.covertype_dataset.covertype"


@pytest.fixture
def bigquery(monkeypatch):
    with BigQueryServer() as server:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        yield server


def resolve(data, tmp_path, label="Cover_Type"):
    return sources.resolve(data, label, tmp_path)


def test_table_is_read_as_it_is(bigquery, rows, artifact):
    """The workshop's table: the ten measures and the class as INT64, the area and the soil as STRING."""
    bigquery.add(TABLE, rows.astype({"Wilderness_Area": "str", "Soil_Type": "str"}))
    dataset = artifact(Dataset)
    assert prepare_data.python_func(f"bq://{TABLE}", "Cover_Type", "f", dataset, artifact(Artifact)) == [*range(7)]
    written = pd.read_parquet(dataset.path)
    pd.testing.assert_frame_equal(written.astype(str), rows.astype(str))
    assert written["Elevation"].dtype == "int64"


def test_table_without_rows_is_told(bigquery, rows, artifact):
    bigquery.add(TABLE, rows.head(0))
    with pytest.raises(ValueError, match="The table has column names but no rows"):
        prepare_data.python_func(f"bq://{TABLE}", "Cover_Type", "f", artifact(Dataset), artifact(Artifact))


def test_fingerprint_follows_the_last_change_and_the_number_of_rows(bigquery, rows, tmp_path):
    bigquery.add(TABLE, rows)
    first, again = (resolve(f"bq://{TABLE}", tmp_path) for _ in range(2))
    assert first == again
    assert "1,400 rows" in first.description
    bigquery.add(TABLE, rows.head(1000))
    assert resolve(f"bq://{TABLE}", tmp_path).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("data", "label", "message"),
    [
        ("bq://demo.d.missing", "Cover_Type", r"cannot be read: .*\nCheck the name and that you may read it: bq show"),
        ("bq://no-such-project.d.t", "Cover_Type", "cannot be read: .*\nCheck the name"),
        ("bq://table", "Cover_Type", r"expected bq://project\.dataset\.table"),
        (f"bq://{TABLE}", "cover", r"'cover' is not a column of bq://.*Did you mean 'Cover_Type'"),
    ],
)
def test_table_that_cannot_be_read_is_told(bigquery, rows, tmp_path, data, label, message):
    bigquery.add(TABLE, rows)
    with pytest.raises(RequestError, match=message):
        resolve(data, tmp_path, label)


@pytest.mark.slow
def test_run_here_reads_the_table(bigquery, rows, local_run):
    bigquery.add(TABLE, rows)
    done = local_run("--identifier", "x", "--data", f"bq://{TABLE}", "--set", "max_iter=3")
    assert done.status == 0, done.err
    assert done.record["data"]["rows"] == 1400
