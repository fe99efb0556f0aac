"""CSV files: how they are written, and their rows in blocks of whole records."""

import codecs
import csv as python_csv
import io
import os
import re
from collections.abc import Callable, Collection, Iterator

import numpy as np
import pyarrow as pa
from pyarrow import csv

from steps.cells import NA_VALUES
from steps.tables.delimiters import long_fields
from steps.tables.dialect import Dialect
from steps.tables.encodings import Repaired
from steps.tables.files import READ_ERRORS, Stream, damage, unpacked
from steps.tables.options import ReadOptions
from steps.tables.sniffing import csv_dialect
from steps.tables.strangers import require_no_packed
from steps.tables.types import require_distinct

HEAD_BYTES = 1 << 20  # that tell how a file is written
MOST_HEAD_BYTES = 1 << 26  # the same, where a row is longer
BLOCK_BYTES = 1 << 25  # of text that are read at once


def csv_head(name: str, stream: Stream, options: ReadOptions, encoding: str = "") -> tuple[Dialect, bytes, bool]:
    """Return how a text file is written, its beginning with a whole row at least, and whether that is all of it.

    Raises:
        ValueError: it is no table.
    """
    head, size = b"", HEAD_BYTES
    while True:
        head += stream.read(size - len(head))
        is_whole = len(head) < size
        if not head:
            raise ValueError(f"{name} is empty, 0 bytes. Export it again, or leave it out.")
        require_no_packed(name, head)
        dialect = csv_dialect(name, head, is_whole, options, encoding)
        if dialect.n_rows > 0 or is_whole:
            return dialect, head, is_whole
        if size >= MOST_HEAD_BYTES:
            _, open_at = record_end(head, dialect)
            if open_at >= 0:
                raise ValueError(open_quote(name, 1 + head.count(b"\n", 0, open_at)))
            raise ValueError(f"{name} has no whole row in its first {size >> 20} MiB. A table has a row in each line.")
        size *= 4


def csv_names(name: str, stream: Stream, options: ReadOptions) -> tuple[list[str], bool]:
    """Return the names of the columns of a text file and whether it has rows, having read its beginning.

    Raises:
        ValueError: it is no table that can be read.
    """
    dialect, head, is_whole = csv_head(name, stream, options)
    if dialect.encoding == "utf-8":
        head = head.removeprefix(codecs.BOM_UTF8)
    else:
        text = codecs.getincrementaldecoder(dialect.encoding)("replace").decode(head)
        head = text.removeprefix("\ufeff").encode()
    line = 1 + head.count(b"\n", 0, dialect.skipped)
    head = head[dialect.skipped :]
    end, open_at = record_end(head, dialect)
    if not is_whole:
        head = head[:end] or head
    elif open_at >= 0:
        raise ValueError(open_quote(name, line + head.count(b"\n", 0, open_at)))
    require_distinct(name, dialect.columns)
    if dialect.encoding == "utf-8":
        head = head.decode("utf-8", "replace").encode()
    return dialect.columns, bool(head.strip()) and csv_table(
        name, head, dialect, (), line, options.na_values
    ).num_rows > 0


def record_end(block: bytes, dialect: Dialect) -> tuple[int, int]:
    """Return where the last whole record of a CSV text ends, and where a quoted field is still open, -1 for nowhere."""
    if dialect.escapes:
        block = re.sub(rb"\\.", b"__", block, flags=re.DOTALL)
    blanks = b" *" if dialect.spaces else b""
    delimiter = dialect.delimiter.encode()
    newline = b"\n" if b"\n" in block else b"\r"
    if b'"' not in block:
        return block.rfind(newline) + 1, -1
    content = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(content == ord('"'))
    edges = np.zeros(256, bool)
    edges[[*delimiter, *b"\r\n", *blanks[:1]]] = True
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
    field = re.compile(rb"(?:^|[\r\n" + re.escape(delimiter) + rb"])" + blanks + rb'("[^"]*(?:""[^"]*)*("|\Z))')
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


def csv_blocks(path: str, dialect: Dialect, notes: list[str]) -> Iterator[tuple[bytes, int]]:
    """Yield the rows of a CSV file in UTF-8 in blocks of whole records, each with the number of its first line.

    Bytes that are not UTF-8 are replaced in a text that has more letters of UTF-8, and noted.

    Raises:
        UnicodeDecodeError: it is not in the encoding of the dialect.
        ValueError: it is damaged; the message names the line.
    """
    decoder = None
    if dialect.encoding != "utf-8":
        decoder = codecs.getincrementaldecoder(dialect.encoding)("replace")
    repaired = Repaired(os.path.basename(path))
    rest, line, at_end, is_begun = b"", 1, False, False
    with unpacked(path, path) as stream:
        while not at_end:
            try:
                read = stream.read(BLOCK_BYTES)
            except READ_ERRORS as error:
                raise ValueError(damage(path, error)) from None
            at_end = len(read) < BLOCK_BYTES
            if decoder:
                read = decoder.decode(read, at_end).encode()
            rest += read
            if not is_begun:
                if len(rest) < dialect.skipped and not at_end:
                    continue
                rest = rest.removeprefix(codecs.BOM_UTF8)
                line += rest.count(b"\n", 0, dialect.skipped)
                if not decoder:
                    repaired.add(rest[: dialect.skipped], 1)
                rest, is_begun = rest[dialect.skipped :], True
            end, open_at = record_end(rest, dialect)
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
                block = repaired.block(block, line)
            if block:
                yield block, line
            line += block.count(b"\n")
    notes += repaired.notes()


def plain(block: bytes, dialect: Dialect) -> bytes:
    """Return rows as they are written where nothing is said; each ends in the line that it ended in."""
    if dialect.comment:
        block = re.sub(rb"(?m)^" + re.escape(dialect.comment.encode()) + rb"[^\r\n]*", b"", block)
    if not (dialect.spaces or dialect.escapes or dialect.delimiter == " "):
        return block
    text = block.decode()
    if dialect.delimiter == " ":
        text = re.sub(r'(?m)("(?:[^"]|"")*")|^[ \t]+|[ \t]+$', lambda found: found[1] or "", text)
        text = re.sub(r'("(?:[^"]|"")*")|[ \t]+', lambda found: found[1] or "\t", text)
    if not (dialect.spaces or dialect.escapes):
        return text.encode()
    if dialect.escapes:
        text = text.replace(r"\N", r"\\N")
    written = io.StringIO(newline="")
    rows: Iterator[list[str]] = python_csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.delimiter,
        escapechar="\\" if dialect.escapes else None,
        skipinitialspace=bool(dialect.spaces),
    )
    if dialect.spaces == "around":
        rows = ([cell.rstrip(" ") for cell in row] for row in rows)
    with long_fields():
        python_csv.writer(written, delimiter=dialect.delimiter, lineterminator="\n").writerows(rows)
    return written.getvalue().encode()


def csv_table(
    path: str,
    block: bytes,
    dialect: Dialect,
    text: Collection[str],
    line: int,
    na_values: Collection[str] = NA_VALUES,
) -> pa.Table:
    """Read the text of whole records.

    Args:
        path: Name of the file, for messages.
        block: The text in UTF-8.
        dialect: How it is written.
        text: Columns to read as text; those of the others are found by Arrow, text of few values as categories.
        line: Number of its first line in the file.
        na_values: Words that stand for a missing value, beside the empty cell.

    Raises:
        ValueError: a row has more or fewer fields than the header; the message names the line.
    """
    if not dialect.is_plain:
        block = plain(block, dialect)
    if not block.endswith((b"\n", b"\r")):
        block += b"\n"
    convert = csv.ConvertOptions(
        null_values=["", *na_values],
        strings_can_be_null=True,
        auto_dict_encode=True,
        auto_dict_max_cardinality=254,
        decimal_point=dialect.decimal_point,
        column_types=dict.fromkeys(text, pa.string()),
        include_columns=dialect.columns if len(dialect.columns) < len(dialect.names) else None,
    )
    delimiter = "\t" if dialect.delimiter == " " else dialect.delimiter
    wrong: list[csv.InvalidRow] = []

    def read(
        threads: bool = True, size: int = 1 << 20, keep: Callable[[csv.InvalidRow], str] | None = None
    ) -> pa.Table:
        return csv.read_csv(
            pa.BufferReader(block),
            csv.ReadOptions(column_names=dialect.names, use_threads=threads, block_size=size),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in block, invalid_row_handler=keep),
            convert,
        )

    def skip(row: csv.InvalidRow) -> str:
        wrong.append(row)
        return "skip"

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
            read(False, len(block), skip)
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


def csv_tables(
    path: str, options: ReadOptions, encoding: str, text: Collection[str], notes: list[str]
) -> Iterator[tuple[pa.Table, int]]:
    """Yield the rows of a CSV file as tables, each with the length of its text, and note how the file is written.

    Raises:
        UnicodeDecodeError: it is not UTF-8, and no other encoding was given.
        ValueError: it is no table that can be read.
    """
    try:
        with unpacked(path, path) as stream:
            dialect, _, _ = csv_head(path, stream, options, encoding)
    except READ_ERRORS as error:
        raise ValueError(damage(path, error)) from None
    notes += dialect.notes
    require_distinct(path, dialect.columns)
    text, is_empty = {*text} & {*dialect.columns}, True
    for block, line in csv_blocks(path, dialect, notes):
        table = csv_table(path, block, dialect, text, line, options.na_values)
        yield table.replace_schema_metadata({"decimal": dialect.decimal_point}), len(block)
        is_empty = False
    if is_empty:
        yield pa.table({name: pa.nulls(0) for name in dialect.columns}), 0
