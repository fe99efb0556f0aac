"""Any table as one Arrow dataset: text in its dialects, Parquet files and folders, workbooks and more; in blocks."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import IO

import pyarrow as pa
from pyarrow import dataset, parquet

from steps.places import local_path
from steps.tables.csv_files import csv_names, csv_tables
from steps.tables.files import (
    READ_ERRORS,
    FileMark,
    Stream,
    damage,
    file_marks,
    format_of,
    is_parquet,
    table_files,
    unpacked,
)
from steps.tables.fingerprints import require_same_files
from steps.tables.json_files import is_json, json_names, json_tables
from steps.tables.options import ReadOptions
from steps.tables.other_files import arrow_tables, excel_table, orc_tables
from steps.tables.types import conformed, different_columns, one_schema, require_distinct

AS_FOUND = ReadOptions()
ARROWS_OWN = ("__filename", "__fragment_index", "__batch_index", "__last_in_fragment")  # columns of any dataset
JSON_BYTES = 1000  # that tell whether a text is JSON
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
    """Open a table as one Arrow dataset, in the order of the files and their rows.

    Text is read in blocks; what is more than fits into memory is put into the folder as Parquet. A column has the type
    that all of its values have; where they differ, it is text as it stands in the file.

    Args:
        source: Path or glob of files, here or gs://…, or a folder of Parquet files.
        folder: Folder for what does not fit into memory; it must stay while the table is used.
        options: What is said of how text files are written.
        most_bytes: Read no more text than this and take it for the whole; 0 reads all.
        in_memory: Keep no more bytes of rows in memory but those of Parquet files.
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
        table = _read_table(files, options, folder, most_bytes, in_memory)
    table.files = marks
    return table


def _without_arrows_own(names: list[str], notes: list[str]) -> list[str]:
    """Return the names of columns but those that Arrow has itself, which nothing reads, and note it."""
    for column in ARROWS_OWN:
        note = f"{column!r} is left out: Arrow has a column of that name of its own. Rename it to learn from it."
        if column in names and note not in notes:
            notes.append(note)
    return [column for column in names if column not in ARROWS_OWN]


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
    notes: list[str] = []
    for place, found in enumerate(schemas):
        kept = _without_arrows_own(found.names, notes)
        schemas[place] = pa.schema([found.field(column) for column in kept])
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
            if found.name not in (*schema.names, *ARROWS_OWN):
                schema = schema.append(found)
    table = Table(dataset.dataset(files, schema=schema, format="parquet", **places))
    table.notes = notes + different_columns(files, schemas)
    n_bytes = sum(os.stat(path).st_size for path in files)
    if most_bytes and n_bytes > most_bytes:
        n_rows = max(1000, int(table.dataset.count_rows() * most_bytes / n_bytes))
        table.dataset, table.is_part = dataset.dataset(table.dataset.head(n_rows)), True
    return table


def _read_table(files: list[str], options: ReadOptions, folder: str, most_bytes: int, in_memory: int) -> Table:
    """Read files of which some are not Parquet, again where one proves not to be what it was taken for."""
    if len(files) > 1 and options.label.isdecimal() and not options.header:
        with open(files[0], "rb") as file:  # all are written as the first: its names may be made, as 0, 1, …
            columns, _ = table_head(files[0], file, options)
        if columns == [*map(str, range(len(columns)))]:
            options = replace(options, header="false")
    encodings: dict[str, str] = {}
    text: set[str] = set()
    while True:
        pieces: list[pa.Table | str] = []
        notes: list[str] = []
        schemas, is_part, n_bytes, n_read, decimal = [], False, 0, 0, "."
        try:
            for path in files:
                of_file = []
                for table, n_text in _tables(path, options, encodings.get(path, ""), text, notes):
                    decimal = "," if (table.schema.metadata or {}).get(b"decimal") == b"," else decimal
                    table = table.select(_without_arrows_own(table.column_names, notes)).replace_schema_metadata(None)
                    of_file.append(table.schema)
                    n_bytes += table.nbytes
                    pieces.append(table)
                    if n_bytes > in_memory:
                        pieces = [_spill(piece, folder, place) for place, piece in enumerate(pieces)]
                    n_read += n_text
                    is_part = 0 < most_bytes <= n_read
                    if is_part:
                        break
                schemas.append(of_file)
                if is_part:
                    break
        except UnicodeDecodeError:
            encodings[path] = "cp1252"  # what spreadsheets write; Latin-1 but for a few characters
            continue
        schema, mixed = one_schema([found for of_file in schemas for found in of_file])
        if mixed <= text:
            break
        text |= mixed
    if len(files) > 1:
        notes += different_columns(files, [one_schema(of_file)[0] for of_file in schemas])
    if any(isinstance(piece, str) for piece in pieces):
        of_pieces = dataset.dataset(pieces, schema=schema, format="parquet")
        return Table(of_pieces, notes=notes, is_part=is_part, decimal=decimal)
    whole = pa.concat_tables([conformed(piece, schema) for piece in pieces])
    return Table(dataset.dataset(whole), notes=notes, is_part=is_part, decimal=decimal)


def _tables(
    path: str, options: ReadOptions, encoding: str, text: Collection[str], notes: list[str]
) -> Iterator[tuple[pa.Table, int]]:
    """Yield the rows of a file as tables, each with its size in bytes, and note how the file is written.

    Raises:
        UnicodeDecodeError: it is text that is not UTF-8, and no other encoding was given.
        ValueError: it is no table that can be read.
    """
    with open(path, "rb") as file:
        kind = format_of(path, file)
        if kind == "text":
            if _is_json(path):
                yield from json_tables(path, text, notes)
            else:
                yield from csv_tables(path, options, encoding, text, notes)
        elif kind == "excel":
            table = excel_table(path, file, options, text, notes)
            yield table, table.nbytes
        elif kind == "parquet":
            yield from _parquet_batches(path)
        else:
            for table in (arrow_tables if kind == "arrow" else orc_tables)(path, file):
                require_distinct(path, table.column_names)
                yield table, table.nbytes


def table_head(name: str, file: IO[bytes], options: ReadOptions = AS_FOUND) -> tuple[list[str], bool]:
    """Return the names of a table's columns and whether it has rows, having read the beginning of a file.

    Raises:
        ValueError: it is no table that can be read.
    """
    kind = format_of(name, file)
    try:
        if kind == "parquet":
            metadata = parquet.read_metadata(file)
            names = metadata.schema.to_arrow_schema().names
            return _without_arrows_own(names, []), metadata.num_rows > 0
        if kind == "excel":
            table = excel_table(name, file, options, (), [])
            return table.column_names, table.num_rows > 0
        if kind != "text":
            tables = (arrow_tables if kind == "arrow" else orc_tables)(name, file)
            return _without_arrows_own(next(tables).column_names, []), any(table.num_rows for table in tables)
        with unpacked(name, file) as stream:
            begun = Begun(stream.read(JSON_BYTES), stream)
            return json_names(name, begun) if is_json(begun.begin) else csv_names(name, begun, options)
    except READ_ERRORS as error:
        raise ValueError(damage(name, error)) from None


@dataclass
class Begun:
    """A stream of which the beginning was read to see what it is."""

    begin: bytes
    stream: Stream

    def read(self, size: int) -> bytes:
        part, self.begin = self.begin[:size], self.begin[size:]
        return part + self.stream.read(size - len(part))


def _is_json(path: str) -> bool:
    try:
        with unpacked(path, path) as stream:
            return is_json(stream.read(JSON_BYTES))
    except READ_ERRORS as error:
        raise ValueError(damage(path, error)) from None


def _parquet_batches(path: str) -> Iterator[tuple[pa.Table, int]]:
    """Yield the rows of a Parquet file as tables, each with its size in bytes."""
    try:
        reader = parquet.ParquetFile(path)
        yield reader.schema_arrow.empty_table(), 0
        for batch in reader.iter_batches(BATCH_ROWS):
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
