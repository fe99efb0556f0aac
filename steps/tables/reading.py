"""Any table as one Arrow dataset: CSV in its dialects, compressed or not, Parquet files and folders; in blocks."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow import dataset, parquet

from steps.tables.csv_files import ReadOptions, csv_tables
from steps.tables.files import FileMark, damage, file_marks, is_parquet, local_path, table_files
from steps.tables.fingerprints import require_same_files
from steps.tables.types import conformed, different_columns, one_schema, require_distinct

AS_FOUND = ReadOptions()
BATCH_ROWS = 1 << 18  # of a Parquet file that are read at once


@dataclass
class Table:
    """A table, and what was seen as it was opened."""

    dataset: dataset.Dataset
    files: list[FileMark] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on how the files are written
    is_part: bool = False  # whether only the first rows were read
    decimal: str = "."  # the decimal mark of its text files


def open_table(
    source: str,
    folder: str,
    options: ReadOptions = AS_FOUND,
    most_bytes: int = 0,
    in_memory: int = 1 << 28,
    fingerprint: str = "",
) -> Table:
    """Open a table of CSV or Parquet files as one Arrow dataset, in the order of the files and their rows.

    CSV is read in blocks; what is more than fits into memory is put into the folder as Parquet. A column has the type
    that all of its values have; where they differ, it is text as it stands in the file.

    Args:
        source: Path or glob of CSV or Parquet files, here or gs://…, or a folder of Parquet files.
        folder: Folder for what does not fit into memory; it must stay while the table is used.
        options: What is said of how text files are written.
        most_bytes: Read no more text than this and take it for the whole; 0 reads all.
        in_memory: Keep no more bytes of CSV files' rows in memory.
        fingerprint: What its files must have; a text of another form than pipeline.sources gives is not compared.

    Raises:
        ValueError: it is no table that can be read, or another than was fingerprinted; the message names the file, and
            the line where there is one.
    """
    root = local_path(source)
    files = table_files(source)
    marks = file_marks(files)
    require_same_files(source, files, root if os.path.isdir(root) else None, fingerprint)
    of_parquet = [path for path in files if is_parquet(path)]
    schemas = {path: _parquet_schema(path) for path in of_parquet}
    if len(of_parquet) == len(files):
        table = _parquet_table(source, list(schemas.values()), files, most_bytes)
    else:
        table = _read_table(files, {*of_parquet}, folder, most_bytes, in_memory)
    table.files = marks
    return table


def _parquet_schema(path: str) -> pa.Schema:
    """Return the schema of a Parquet file, whose columns have names of their own."""
    try:
        schema = parquet.read_schema(path).remove_metadata()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(damage(path, error)) from None
    require_distinct(path, schema.names)
    return schema


def _parquet_table(source: str, schemas: list[pa.Schema], files: list[str], most_bytes: int) -> Table:
    """Open Parquet files where they lie; the names of their folders may hold columns, as in year=2026."""
    schema, mixed = one_schema(schemas)
    if mixed:
        name = min(mixed)
        kinds = sorted({str(found.field(name).type) for found in schemas if name in found.names})
        raise ValueError(f"The column {name!r} is {' in one file and '.join(kinds)} in another. Write it in one type.")
    root = local_path(source)
    places = {}
    if os.path.isdir(root):
        places = {"partitioning": dataset.partitioning(flavor="hive"), "partition_base_dir": root}
        for found in dataset.dataset(files, format="parquet", **places).schema:
            if found.name not in schema.names:
                schema = schema.append(found)
    table = Table(dataset.dataset(files, schema=schema, format="parquet", **places))
    table.notes = different_columns(files, schemas)
    n_bytes = sum(os.stat(path).st_size for path in files)
    if most_bytes and n_bytes > most_bytes:
        n_rows = max(1000, int(table.dataset.count_rows() * most_bytes / n_bytes))
        table.dataset, table.is_part = dataset.dataset(table.dataset.head(n_rows)), True
    return table


def _read_table(files: list[str], of_parquet: set[str], folder: str, most_bytes: int, in_memory: int) -> Table:
    """Read files of which some are CSV, again where a later block shows that one was taken for what it is not."""
    encodings: dict[str, str] = {}
    text: set[str] = set()
    while True:
        pieces: list[pa.Table | str] = []
        schemas, notes, is_part, n_bytes, n_read = [], [], False, 0, 0
        try:
            for path in files:
                of_csv = path not in of_parquet
                tables = csv_tables(path, encodings.get(path), text, notes) if of_csv else _parquet_batches(path)
                for table, n_text in tables:
                    schemas.append(table.schema.remove_metadata())
                    n_bytes += table.nbytes
                    pieces.append(table)
                    if n_bytes > in_memory:
                        pieces = [_spill(piece, folder, place) for place, piece in enumerate(pieces)]
                    n_read += n_text
                    is_part = 0 < most_bytes <= n_read
                    if is_part:
                        break
                if is_part:
                    break
        except UnicodeDecodeError:
            encodings[path] = "cp1252"  # what spreadsheets write; Latin-1 but for a few characters
            continue
        schema, mixed = one_schema(schemas)
        if mixed <= text:
            break
        text |= mixed
    notes += different_columns(files, schemas) if len(files) > 1 else []
    if any(isinstance(piece, str) for piece in pieces):
        return Table(dataset.dataset(pieces, schema=schema, format="parquet"), notes=notes, is_part=is_part)
    whole = pa.concat_tables([conformed(piece, schema) for piece in pieces])
    return Table(dataset.dataset(whole), notes=notes, is_part=is_part)


def _parquet_batches(path: str) -> Iterator[tuple[pa.Table, int]]:
    """Yield the rows of a Parquet file as tables, each with its size in bytes."""
    try:
        for batch in parquet.ParquetFile(path).iter_batches(BATCH_ROWS):
            yield pa.Table.from_batches([batch]), batch.nbytes
    except (pa.ArrowException, OSError) as error:
        raise ValueError(damage(path, error)) from None


def _spill(piece: pa.Table | str, folder: str, place: int) -> str:
    """Put a table into a folder as Parquet and return its path; one that is there stays."""
    if isinstance(piece, str):
        return piece
    path = os.path.join(folder, f"part-{place:06}.parquet")
    parquet.write_table(piece, path)
    return path
