"""CSV files: how they are written, and their rows in blocks of whole records."""

import codecs
import contextlib
import csv as python_csv
import io
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from steps.tables.files import compression_of, damage, first_bytes
from steps.tables.types import require_distinct

HEAD_BYTES = 1 << 20  # that tell how a file is written
BLOCK_BYTES = 1 << 25  # of text that are read at once
# the words that pandas takes as missing; an empty cell always is
NA_VALUES = (
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True)
class ReadOptions:
    """What the user says of how a table is written."""

    label: str = ""  # the column of the classes
    header: str = ""  # whether the first row names the columns, true or false; "" finds out
    names: tuple[str, ...] = ()  # of the columns of a file without a header
    na_values: tuple[str, ...] = NA_VALUES  # words that stand for a missing value in text files


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    encoding: str
    delimiter: str
    decimal_point: str


def csv_dialect(name: str, head: bytes, is_whole: bool) -> Dialect:
    """Find how a CSV file is written from its beginning: its encoding, delimiter and decimal point.

    The delimiter is that of comma, semicolon, tab and bar by which most rows have as many fields as the header. The
    decimal comma is taken only beside another delimiter, where numbers such as 1,5 occur and none such as 1.5 or
    1,234,567.

    Args:
        name: Name of the file, for messages.
        head: Its first bytes, decompressed.
        is_whole: Whether they are all of it.

    Raises:
        ValueError: it is no text.
    """
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if encoding == "utf-8" and b"\0" in head:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise ValueError(
            f"{name} has a NUL byte in line {line:,}: it is a binary file or was damaged. "
            "A table is a CSV file with a header line, the same gzipped, or a Parquet file."
        )
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    if not text.strip():
        raise ValueError(f"{name} has only blank lines. A table needs a header line with the names of its columns.")
    best, found = (0.0, 1), (",", [])
    for delimiter in DELIMITERS:
        rows = []
        with contextlib.suppress(
            python_csv.Error
        ):  # a field longer than the module takes; the rows before it tell enough
            rows.extend(itertools.islice(python_csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1000))
        rows = [row for row in (rows if is_whole or len(rows) == 1000 else rows[:-1]) if row] or rows[:1]
        n_fields = len(rows[0]) if rows else 1
        score = (sum(len(row) == n_fields for row in rows) / max(len(rows), 1), n_fields)
        if n_fields > 1 and score > best:
            best, found = score, (delimiter, rows[1:])
    delimiter, rows = found
    decimal_point = "."
    if delimiter != ",":
        fields = {field.strip() for row in rows for field in row}
        with_comma = any(re.fullmatch(r"[-+]?\d+,(\d{1,2}|\d{4,})", field) for field in fields)
        with_point = any(re.fullmatch(r"[-+]?\d*\.\d+|[-+]?\d{1,3}(,\d{3}){2,}", field) for field in fields)
        decimal_point = "," if with_comma and not with_point else "."
    return Dialect(encoding, delimiter, decimal_point)


def table_head(name: str, file: BinaryIO) -> tuple[list[str], bool]:
    """Return the names of a table's columns and whether it has rows, having read the beginning of a file.

    Raises:
        ValueError: it is no table that can be read.
    """
    magic = file.read(64)
    file.seek(0)
    try:
        if magic[:4] == b"PAR1":
            metadata = parquet.read_metadata(file)
            return metadata.schema.to_arrow_schema().names, metadata.num_rows > 0
        with pa.input_stream(file, compression=compression_of(name, magic)) as stream:
            head = stream.read(HEAD_BYTES)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(damage(name, error)) from None
    is_whole = len(head) < HEAD_BYTES
    dialect = csv_dialect(name, head, is_whole)
    try:
        head = codecs.getincrementaldecoder(dialect.encoding)().decode(head).encode()
    except UnicodeDecodeError:
        head = head.decode("cp1252", "replace").encode()
    head = head.removeprefix("\ufeff".encode())
    end, open_at = record_end(head, dialect.delimiter)
    if not is_whole:
        head = head[:end] or head
    elif open_at >= 0:
        raise ValueError(open_quote(name, 1 + head.count(b"\n", 0, open_at)))
    table = csv_table(name, head, dialect, None, (), 1)
    require_distinct(name, table.column_names)
    return table.column_names, table.num_rows > 0


def record_end(block: bytes, delimiter: str) -> tuple[int, int]:
    """Return where the last whole record of a CSV text ends, and where a quoted field is still open, -1 for nowhere."""
    newline = b"\n" if b"\n" in block else b"\r"
    if b'"' not in block:
        return block.rfind(newline) + 1, -1
    content = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(content == ord('"'))
    edges = np.zeros(256, bool)
    edges[[ord(delimiter), 10, 13]] = True
    doubled = np.diff(quotes) == 1
    opens = edges[content[quotes - 1]]
    opens[0] |= quotes[0] == 0
    closes = edges[content[np.minimum(quotes + 1, len(content) - 1)]]
    closes[-1] |= quotes[-1] == len(content) - 1
    opens[1:] |= doubled
    closes[:-1] |= doubled
    if opens[::2].all() and closes[1::2].all():  # every second quote opens a field
        open_at = int(quotes[-1]) if len(quotes) % 2 else -1
        end = block.rfind(newline, 0, open_at if open_at >= 0 else None)
        while end >= 0 and np.searchsorted(quotes, end) % 2:  # inside of a field
            end = block.rfind(newline, 0, end)
        return end + 1, open_at
    # quotes that open nothing, as in 5'11": fields are looked at one by one
    field = re.compile(rb"(?:^|[\r\n" + re.escape(delimiter.encode()) + rb'])("[^"]*(?:""[^"]*)*("|\Z))')
    quoted = [(found.start(1), found.end(1), found[2]) for found in field.finditer(block)]
    open_at = quoted[-1][0] if quoted and not quoted[-1][2] else -1
    end = block.rfind(newline, 0, open_at if open_at >= 0 else None)
    for begin, close, _ in reversed(quoted):
        if close <= end:
            break
        if begin < end:
            end = block.rfind(newline, 0, begin)
    return end + 1, open_at


def open_quote(path: str, line: int) -> str:
    """Say that a quoted field has no end."""
    return (
        f'{path}: the quote that opens in line {line:,} never closes. Close it, or write "" for a quote inside of a '
        "quoted field."
    )


def csv_blocks(path: str, dialect: Dialect) -> Iterator[tuple[bytes, int]]:
    """Yield the text of a CSV file in UTF-8 in blocks of whole records, each with the number of its first line.

    Raises:
        UnicodeDecodeError: it is not in the encoding of the dialect.
        ValueError: it is damaged; the message names the line.
    """
    decoder = None
    if dialect.encoding != "utf-8":
        decoder = codecs.getincrementaldecoder(dialect.encoding)("replace")
    rest, line, at_end = b"", 1, False
    with pa.input_stream(path, compression=compression_of(path, first_bytes(path))) as stream:
        while not at_end:
            try:
                read = stream.read(BLOCK_BYTES)
            except OSError as error:
                raise ValueError(damage(path, error)) from None
            at_end = len(read) < BLOCK_BYTES
            if decoder:
                read = decoder.decode(read, at_end).encode()
            rest += read
            if line == 1:
                rest = rest.removeprefix(b"\xef\xbb\xbf")
            end, open_at = record_end(rest, dialect.delimiter)
            if open_at >= 0 and (at_end or len(rest) - open_at > BLOCK_BYTES):
                raise ValueError(open_quote(path, line + rest.count(b"\n", 0, open_at)))
            if at_end:
                end = len(rest)
            block, rest = rest[:end], rest[end:]
            if b"\0" in block:
                raise ValueError(
                    f"{path} has a NUL byte in line {line + block.count(10, 0, block.index(0)):,}: "
                    "it was damaged, or is not a CSV file. Export it again."
                )
            if not decoder and not block.isascii():
                block.decode()
            if block:
                yield block, line
            line += block.count(b"\n")


def csv_table(
    path: str, block: bytes, dialect: Dialect, names: list[str] | None, text: Collection[str], line: int
) -> pa.Table:
    """Read the text of whole records.

    Args:
        path: Name of the file, for messages.
        block: The text in UTF-8.
        dialect: How it is written.
        names: Names of the columns; None where the first record holds them.
        text: Columns to read as text; those of the others are found by Arrow, text of few values as categories.
        line: Number of its first line in the file.

    Raises:
        ValueError: a row has more or fewer fields than the header; the message names the line.
    """
    if not block.endswith((b"\n", b"\r")):
        block += b"\n"
    convert = csv.ConvertOptions(
        strings_can_be_null=True,
        null_values=["", *NA_VALUES],
        auto_dict_encode=True,
        auto_dict_max_cardinality=254,
        decimal_point=dialect.decimal_point,
        column_types=dict.fromkeys(text, pa.string()),
    )
    wrong: list[csv.InvalidRow] = []

    def read(
        threads: bool = True, size: int = 1 << 20, keep: Callable[[csv.InvalidRow], str] | None = None
    ) -> pa.Table:
        return csv.read_csv(
            pa.BufferReader(block),
            csv.ReadOptions(column_names=names, use_threads=threads, block_size=size),
            csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=b'"' in block, invalid_row_handler=keep),
            convert,
        )

    try:
        try:
            return read()
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error):
                raise
            return read(size=len(block))  # one record is longer than a block
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0][:300]
        if "parse error" in reason:
            read(False, len(block), lambda row: wrong.append(row) or "skip")
        if not wrong:
            raise ValueError(f"{path} is not a table that can be read: {reason}. Check the file.") from None
    row = wrong[0]
    found = re.search(rb"(?:^|[\r\n])(" + re.escape(row.text.encode()) + rb")[\r\n]", block)
    at = line + block.count(b"\n" if b"\n" in block else b"\r", 0, found.start(1) if found else 0)
    fields = f"{row.actual_columns:,} field{'s' if row.actual_columns > 1 else ''}"
    raise ValueError(
        f"{path}: line {at:,} has {fields}, the header has {row.expected_columns:,}: {row.text[:60]!r}.\n"
        f"Put a field that holds the delimiter {dialect.delimiter!r} or a line break in quotes, "
        "or mend the line."
    )


def csv_tables(path: str, encoding: str | None, text: set[str], notes: list[str]) -> Iterator[tuple[pa.Table, int]]:
    """Yield the rows of a CSV file as tables, each with the length of its text, and note how the file is written.

    Raises:
        UnicodeDecodeError: it is not UTF-8, and no other encoding was given.
        ValueError: it is no table that can be read.
    """
    try:
        with pa.input_stream(path, compression=compression_of(path, first_bytes(path))) as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise ValueError(damage(path, error)) from None
    dialect = csv_dialect(path, head, len(head) < HEAD_BYTES)
    name = os.path.basename(path)
    if encoding:
        dialect = replace(dialect, encoding=encoding)
        notes.append(f"{name} is not UTF-8: read as Windows-1252 (Latin-1)")
    elif dialect.encoding != "utf-8":
        notes.append(f"{name} is UTF-16")
    if dialect.delimiter != ",":
        what = DELIMITERS[dialect.delimiter]
        decimal = ", numbers with a decimal comma" if dialect.decimal_point == "," else ""
        notes.append(f"{name}: columns separated by {what}{decimal}")
    names = None
    for block, line in csv_blocks(path, dialect):
        columns = [] if names is None else names
        table = csv_table(path, block, dialect, names, text if names is None else text & {*columns}, line)
        if names is None:
            names = table.column_names
            require_distinct(path, names)
        yield table, len(block)
