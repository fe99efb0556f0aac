"""Tables of BigQuery."""

import os

import pyarrow as pa
from google.api_core.exceptions import Forbidden
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage
from pyarrow import dataset

from steps.tables.fingerprints import require_same_table
from steps.tables.reading import Table


def read_bigquery(table_id: str, folder: str, fingerprint: str = "") -> Table:
    """Bring a BigQuery table into a file, a page at a time, and open it.

    By the Storage API where it may be used; in one stream, as several would bring the rows in another order each time.

    Args:
        table_id: project.dataset.table.
        folder: Folder for the file; it must stay while the table is used.
        fingerprint: What the table must have, before and after; a text of another form is not compared.

    Raises:
        ValueError: it is another than was fingerprinted.
    """
    emulated = os.environ.get("BIGQUERY_EMULATOR_HOST")
    client = bigquery.Client(table_id.split(".")[0], credentials=AnonymousCredentials() if emulated else None)
    path = os.path.join(folder, "table.arrow")

    def require_same() -> None:
        table = client.get_table(table_id)
        require_same_table(table_id, table.modified, table.num_rows, fingerprint)

    require_same()
    try:
        found = _downloaded(client, table_id, path, None if emulated else bigquery_storage.BigQueryReadClient())
    except Forbidden:  # no right to open read sessions; pages of rows need none
        found = _downloaded(client, table_id, path, None)
    require_same()
    return Table(found)


def _downloaded(
    client: bigquery.Client, table_id: str, path: str, storage: bigquery_storage.BigQueryReadClient | None
) -> dataset.Dataset:
    table = client.get_table(table_id)
    batches = client.list_rows(table).to_arrow_iterable(storage, max_stream_count=1)
    first = next(batches, None)
    if first is None:
        return dataset.dataset(client.list_rows(table).to_arrow(create_bqstorage_client=False))
    with pa.ipc.new_file(path, first.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as file:
        file.write(first)
        for batch in batches:
            file.write(batch)
    return dataset.dataset(path, format="ipc")
