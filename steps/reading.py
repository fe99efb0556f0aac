"""Read any table by Arrow: CSV in its dialects, compressed or not, Parquet files and folders; in blocks, not at once.

KFP pastes these functions in front of a step that names READING in its additional_funcs.
"""

from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa


def local_path(uri: str) -> str:
    """Return the path of a file or a gs:// address, which the service mounts below /gcs."""
    return f"/gcs/{uri.removeprefix('gs://')}" if uri.startswith("gs://") else uri


def table_files(source: str) -> list:
    """Return the files of a table in the order of their names: of a path, a glob, or a folder of Parquet files.

    Raises:
        ValueError: there is none, or a folder holds something else.
    """
    import glob
    import os

    pattern = local_path(source)
    if os.path.isdir(pattern):
        below = sorted(os.path.join(folder, name) for folder, _, names in os.walk(pattern) for name in names)
        # _SUCCESS, .crc and the like are what other engines leave beside their files
        files = [path for path in below if not os.path.relpath(path, pattern).split(os.sep)[-1].startswith(("_", "."))]
        strange = [path for path in files if first_bytes(path)[:4] != b"PAR1"]
        if not files or strange:
            what = f"holds {os.path.relpath(strange[0], pattern)}, which is no Parquet file" if files else "holds none"
            raise ValueError(
                f"{source} is a folder and {what}. A folder is read as one table of Parquet files; "
                f"name CSV files by a glob, as in {os.path.join(source, '*.csv')}"
            )
        return files
    if os.path.lexists(pattern) and not os.path.exists(pattern):
        raise ValueError(f"{source} is a symbolic link that leads nowhere or in a circle. Name the file itself.")
    files = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
    files = [path for path in files if not os.path.isdir(path)]
    if not files:
        raise ValueError(f"There is no file {source}. Name a CSV, gzipped CSV or Parquet file with --data.")
    return files


def first_bytes(path: str) -> bytes:
    """Return the first bytes of a file, which tell what it is.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}. Check the file and its rights.") from None


def compression_of(name: str, magic: bytes) -> Any:
    """Return what a CSV file is compressed with by its first bytes: gzip, zstd or None.

    Raises:
        ValueError: the bytes are those of a file that is no table.
    """
    if not magic:
        raise ValueError(f"{name} is empty, 0 bytes. Export it again, or leave it out.")
    packed = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
    for start, codec in packed.items():
        if magic.startswith(start):
            return codec
    others = {
        b"PK\x03\x04": "an Excel workbook or a zip archive",
        b"\xfd7zXZ\0": "compressed with xz",
        b"BZh": "compressed with bzip2",
        b"7z\xbc\xaf": "a 7z archive",
        b"\xd0\xcf\x11\xe0": "an old Excel workbook",
        b"%PDF": "a PDF",
        b"ORC": "an ORC file",
        b"Obj\x01": "an Avro file",
        b"ARROW1": "an Arrow file",
        b"\x89HDF": "an HDF5 file",
        b"SQLite": "an SQLite database",
        b"\x7fELF": "a program, a binary file",
    }
    for start, what in others.items():
        if magic.startswith(start):
            raise ValueError(
                f"{name} is {what}. A table is a CSV file with a header line, plain or compressed with gzip or zstd, "
                "or a Parquet file; export it as one of these."
            )
    return None


def csv_dialect(name: str, head: bytes, is_whole: bool) -> dict:
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
    import contextlib
    import csv
    import io
    import itertools
    import re

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
    for delimiter in ",;\t|":
        rows = []
        with contextlib.suppress(csv.Error):  # a field longer than the module takes; the rows before it tell enough
            rows.extend(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1000))
        rows = [row for row in (rows if is_whole or len(rows) == 1000 else rows[:-1]) if row] or rows[:1]
        n_fields = len(rows[0]) if rows else 1
        score = (sum(len(row) == n_fields for row in rows) / max(len(rows), 1), n_fields)
        if n_fields > 1 and score > best:
            best, found = score, (delimiter, rows[1:])
    delimiter, rows = found
    decimal_point = "."
    if delimiter != ",":
        fields = {field.strip() for row in rows for field in row}
        written = lambda pattern: any(re.fullmatch(pattern, field) for field in fields)  # noqa: E731
        if written(r"[-+]?\d+,(\d{1,2}|\d{4,})") and not written(r"[-+]?\d*\.\d+|[-+]?\d{1,3}(,\d{3}){2,}"):
            decimal_point = ","
    return {"encoding": encoding, "delimiter": delimiter, "decimal_point": decimal_point}


def table_head(name: str, file: BinaryIO) -> tuple:
    """Return the names of a table's columns and whether it has rows, having read the beginning of a file.

    Raises:
        ValueError: it is no table that can be read.
    """
    import codecs

    import pyarrow as pa
    from pyarrow import parquet

    magic = file.read(64)
    file.seek(0)
    try:
        if magic[:4] == b"PAR1":
            metadata = parquet.read_metadata(file)
            return metadata.schema.to_arrow_schema().names, metadata.num_rows > 0
        with pa.input_stream(file, compression=compression_of(name, magic)) as stream:
            head = stream.read(1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(damage(name, error)) from None
    is_whole = len(head) < 1 << 20
    dialect = csv_dialect(name, head, is_whole)
    try:
        head = codecs.getincrementaldecoder(dialect["encoding"])().decode(head).encode()
    except UnicodeDecodeError:
        head = head.decode("cp1252", "replace").encode()
    head = head.removeprefix("\ufeff".encode())
    end, open_at = record_end(head, dialect["delimiter"])
    if not is_whole:
        head = head[:end] or head
    elif open_at >= 0:
        raise ValueError(open_quote(name, 1 + head.count(b"\n", 0, open_at)))
    table = csv_table(name, head, dialect, None, (), 1)
    repeated_names(name, table.column_names)
    return table.column_names, table.num_rows > 0


def damage(name: str, error: Exception) -> str:
    """Say in words why Arrow could not read a file."""
    import errno

    if getattr(error, "errno", None) == errno.ENOSPC:
        raise error  # it is the disk, not the file
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if "runcated" in reason or "magic bytes not found" in reason or "footer" in reason:
        reason = f"it was cut short or is damaged ({reason})"
    elif getattr(error, "errno", None):
        reason = error.strerror or reason
    return f"{name} is not a table that can be read: {reason}. Check the file, or export it again."


def record_end(block: bytes, delimiter: str) -> tuple:
    """Return where the last whole record of a CSV text ends, and where a quoted field is still open, -1 for nowhere."""
    import re

    import numpy as np

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


def csv_blocks(path: str, dialect: dict) -> Any:
    """Yield the text of a CSV file in UTF-8 in blocks of whole records, each with the number of its first line.

    Raises:
        UnicodeDecodeError: it is not in the encoding of the dialect.
        ValueError: it is damaged; the message names the line.
    """
    import codecs

    import pyarrow as pa

    block_size = 1 << 25
    encoding, delimiter = dialect["encoding"], dialect["delimiter"]
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)("replace")
    rest, line, at_end = b"", 1, False
    with pa.input_stream(path, compression=compression_of(path, first_bytes(path))) as stream:
        while not at_end:
            try:
                read = stream.read(block_size)
            except OSError as error:
                raise ValueError(damage(path, error)) from None
            at_end = len(read) < block_size
            if decoder:
                read = decoder.decode(read, at_end).encode()
            rest += read
            if line == 1:
                rest = rest.removeprefix(b"\xef\xbb\xbf")
            end, open_at = record_end(rest, delimiter)
            if open_at >= 0 and (at_end or len(rest) - open_at > block_size):
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


def csv_table(path: str, block: bytes, dialect: dict, names: Any, text: Any, line: int) -> "pa.Table":
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
    import re

    import pyarrow as pa
    from pyarrow import csv

    if not block.endswith((b"\n", b"\r")):
        block += b"\n"
    convert = csv.ConvertOptions(
        strings_can_be_null=True,
        auto_dict_encode=True,
        auto_dict_max_cardinality=254,
        decimal_point=dialect["decimal_point"],
        column_types=dict.fromkeys(text, pa.string()),
    )
    wrong = []

    def read(threads: bool = True, size: int = 1 << 20, keep: Any = None) -> "pa.Table":
        return csv.read_csv(
            pa.BufferReader(block),
            csv.ReadOptions(column_names=names, use_threads=threads, block_size=size),
            csv.ParseOptions(
                delimiter=dialect["delimiter"], newlines_in_values=b'"' in block, invalid_row_handler=keep
            ),
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
        f"Put a field that holds the delimiter {dialect['delimiter']!r} or a line break in quotes, "
        "or mend the line."
    )


def open_table(source: str, folder: str, most_bytes: int = 0, in_memory: int = 1 << 28) -> tuple:
    """Open a table of CSV or Parquet files as one Arrow dataset, in the order of the files and their rows.

    CSV is read in blocks; what is more than fits into memory is put into the folder as Parquet. A column has the type
    that all of its values have; where they differ, it is text as it stands in the file.

    Args:
        source: Path or glob of CSV or Parquet files, here or gs://…, or a folder of Parquet files.
        folder: Folder for what does not fit into memory; it must stay while the table is used.
        most_bytes: Read no more text than this and take it for the whole; 0 reads all.
        in_memory: Keep no more bytes of CSV files' rows in memory.

    Returns:
        The dataset, and what was seen: {"files": [path, size and time of each], "notes": [in words], "partial": bool}.

    Raises:
        ValueError: it is no table that can be read; the message names the file, and the line where there is one.
    """
    import os

    import pyarrow as pa
    from pyarrow import dataset, parquet

    files = table_files(source)
    seen = {"files": file_marks(files), "notes": [], "partial": False}
    is_parquet = [first_bytes(path)[:4] == b"PAR1" for path in files]
    try:
        if all(is_parquet):
            schemas = [parquet.read_schema(path).remove_metadata() for path in files]
        for path in files if any(is_parquet) else ():
            repeated_names(path, parquet.read_schema(path).names if first_bytes(path)[:4] == b"PAR1" else [])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(damage(path if not all(is_parquet) else cut_file(files), error)) from None
    if all(is_parquet):
        schema, mixed = one_schema(schemas)
        if mixed:
            name = min(mixed)
            kinds = sorted({str(found.field(name).type) for found in schemas if name in found.names})
            raise ValueError(
                f"The column {name!r} is {' in one file and '.join(kinds)} in another. Write it in one type."
            )
        root = local_path(source)
        places = {"format": "parquet"}
        if os.path.isdir(root):
            places |= {"partitioning": dataset.partitioning(flavor="hive"), "partition_base_dir": root}
            for field in dataset.dataset(files, **places).schema:
                if field.name not in schema.names:  # its values are in the names of the folders
                    schema = schema.append(field)
        seen["notes"] += different_columns(files, schemas)
        table = dataset.dataset(files, schema=schema, **places)
        if most_bytes and sum(size for _, size, _ in seen["files"]) > most_bytes:
            rows = max(1000, int(table.count_rows() * most_bytes / sum(size for _, size, _ in seen["files"])))
            table, seen["partial"] = dataset.dataset(table.head(rows)), True
        return table, seen

    encodings, text = {}, set()
    while True:
        pieces, schemas, n_bytes, taken = [], [], 0, 0
        seen["notes"], seen["partial"] = [], False
        try:
            for path in files:
                tables = csv_tables(path, encodings.get(path), text, seen["notes"])
                if first_bytes(path)[:4] == b"PAR1":
                    tables = ((pa.Table.from_batches([batch]), batch.nbytes) for batch in parquet_batches(path))
                for table, n_text in tables:
                    schemas.append(table.schema.remove_metadata())
                    n_bytes += table.nbytes
                    pieces.append(table)
                    if n_bytes > in_memory:
                        pieces = [spill(piece, folder, place) for place, piece in enumerate(pieces)]
                    taken += n_text
                    if most_bytes and taken >= most_bytes:
                        seen["partial"] = True
                        break
                if seen["partial"]:
                    break
        except UnicodeDecodeError:
            encodings[path] = "cp1252"  # what spreadsheets write; Latin-1 but for a few characters
            continue
        schema, mixed = one_schema(schemas)
        if mixed <= text:
            break
        text |= mixed
    seen["notes"] += different_columns(files, schemas) if len(files) > 1 else []
    if any(isinstance(piece, str) for piece in pieces):
        return dataset.dataset(pieces, schema=schema, format="parquet"), seen
    return dataset.dataset(pa.concat_tables([conformed(piece, schema) for piece in pieces])), seen


def csv_tables(path: str, encoding: Any, text: Any, notes: list) -> Any:
    """Yield the rows of a CSV file as tables, each with the length of its text, and note how the file is written.

    Raises:
        UnicodeDecodeError: it is not UTF-8, and no other encoding was given.
        ValueError: it is no table that can be read.
    """
    import os

    import pyarrow as pa

    try:
        with pa.input_stream(path, compression=compression_of(path, first_bytes(path))) as stream:
            head = stream.read(1 << 20)
    except OSError as error:
        raise ValueError(damage(path, error)) from None
    dialect = csv_dialect(path, head, len(head) < 1 << 20)
    name = os.path.basename(path)
    if encoding:
        dialect["encoding"] = encoding
        notes.append(f"{name} is not UTF-8: read as Windows-1252 (Latin-1)")
    elif dialect["encoding"] != "utf-8":
        notes.append(f"{name} is UTF-16")
    if dialect["delimiter"] != ",":
        what = {";": "semicolon", "\t": "tab", "|": "bar"}[dialect["delimiter"]]
        decimal = ", numbers with a decimal comma" if dialect["decimal_point"] == "," else ""
        notes.append(f"{name}: columns separated by {what}{decimal}")
    names = None
    for block, line in csv_blocks(path, dialect):
        columns = [] if names is None else names
        table = csv_table(path, block, dialect, names, text if names is None else text & {*columns}, line)
        if names is None:
            names = table.column_names
            repeated_names(path, names)
        yield table, len(block)


def parquet_batches(path: str) -> Any:
    """Yield the rows of a Parquet file as record batches.

    Raises:
        ValueError: it is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        yield from parquet.ParquetFile(path).iter_batches(1 << 18)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(damage(path, error)) from None


def repeated_names(path: str, names: list) -> None:
    """Check that no two columns have one name.

    Raises:
        ValueError: some have.
    """
    if len({*names}) < len(names):
        counts = {}
        for name in names:
            counts[name] = counts.get(name, 0) + 1
        repeated = sorted(name for name, count in counts.items() if count > 1)
        shown = ", ".join(map(repr, repeated[:10])) + (f" and {len(repeated) - 10} more" if len(repeated) > 10 else "")
        raise ValueError(f"{path}: columns occur more than once: {shown}. Rename them.")


def cut_file(files: list) -> str:
    """Return the first of some Parquet files whose end cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    for path in files:
        try:
            parquet.read_metadata(path)
        except (pa.ArrowException, OSError):
            return path
    return files[0]


def different_columns(files: list, schemas: list) -> list:
    """Say which columns are not in every file; their values count as missing there."""
    counts = {}
    for schema in schemas:
        for name in schema.names:
            counts[name] = counts.get(name, 0) + 1
    lacking = [name for name, count in counts.items() if count < len(schemas)]
    shown = ", ".join(map(repr, lacking[:10])) + (" …" if len(lacking) > 10 else "")
    return [f"not in every one of the {len(files)} files, and missing there: {shown}"] if lacking else []


def one_schema(schemas: list) -> tuple:
    """Return the schema that holds the rows of all, and the columns whose types have but text in common.

    A column keeps its type where all agree; whole and decimal numbers become decimal ones, dates and times the finer.
    """
    import pyarrow as pa

    kinds = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, {})[field.type] = None
    fields, mixed = [], set()
    for name, found in kinds.items():
        types = [kind for kind in found if not pa.types.is_null(kind)] or [pa.null()]
        values = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types]
        if len(types) == 1:
            kind = types[0]
        elif len({*values}) == 1:
            kind = values[0]
        elif all(pa.types.is_date(value) or (pa.types.is_timestamp(value) and not value.tz) for value in values):
            kind = pa.timestamp("us")
        else:
            try:
                merged = pa.unify_schemas(
                    [pa.schema([(name, value)]) for value in values], promote_options="permissive"
                )
                kind = merged.field(name).type
                if pa.types.is_floating(kind) and any(map(pa.types.is_boolean, values)):
                    raise pa.ArrowTypeError("a truth value is no number")
            except pa.ArrowException:
                kind = pa.string()
                mixed.add(name)
        fields.append((name, kind))
    return pa.schema(fields), mixed


def conformed(table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
    """Return a table with the columns of a schema; those that it lacks are missing values."""
    import pyarrow as pa

    if table.schema.equals(schema):
        return table
    there = dict(zip(table.column_names, table.columns, strict=True))
    columns = []
    for field in schema:
        if field.name not in there:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            column = there[field.name]
            is_encoded = pa.types.is_dictionary(column.type) and column.type == field.type
            columns.append(column if is_encoded else column.cast(field.type))
    return pa.table(columns, schema=schema)


def spill(piece: Any, folder: str, place: int) -> str:
    """Put a table into a folder as Parquet and return its path; one that is there stays."""
    import os

    from pyarrow import parquet

    if isinstance(piece, str):
        return piece
    path = os.path.join(folder, f"part-{place:06}.parquet")
    parquet.write_table(piece, path)
    return path


def file_marks(files: list) -> list:
    """Return path, size in bytes and time of the last change of each file."""
    import os

    return [(path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in files]


def require_unchanged(marks: list) -> None:
    """Check that no file has changed since its mark was taken.

    Raises:
        ValueError: one has.
    """
    now = file_marks([path for path, _, _ in marks])
    changed = [old[0] for old, new in zip(marks, now, strict=True) if old != new]
    if changed:
        raise ValueError(f"{changed[0]} changed while it was read. Run again when nothing writes to it.")


def plain_column(column: "pa.ChunkedArray") -> Any:
    """Return a column as numbers, truth values, text, categories, dates, times, durations; None where it is none.

    Decimals become floating-point numbers, dates points in time.
    """
    import pyarrow as pa

    kind, types = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        return plain_column(column)
    if types.is_dictionary(kind):
        if types.is_string(kind.value_type):
            return column
        if types.is_large_string(kind.value_type) or types.is_string_view(kind.value_type):
            return column.cast(pa.dictionary(pa.int32(), pa.string()))
        return plain_column(column.cast(kind.value_type))
    if types.is_large_string(kind) or types.is_string_view(kind):
        return column.cast(pa.string())
    if types.is_decimal(kind):
        return column.cast(pa.float64())
    if types.is_float16(kind):
        return column.cast(pa.float32())
    if types.is_date(kind):
        return column.cast(pa.timestamp("ms"))
    if types.is_binary(kind) or types.is_large_binary(kind):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            return None
    known = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_null, types.is_temporal)
    return column if any(is_kind(kind) for is_kind in known) else None


READING = [
    local_path,
    table_files,
    first_bytes,
    compression_of,
    csv_dialect,
    damage,
    record_end,
    open_quote,
    csv_blocks,
    csv_table,
    csv_tables,
    parquet_batches,
    repeated_names,
    cut_file,
    different_columns,
    one_schema,
    conformed,
    spill,
    open_table,
    file_marks,
    require_unchanged,
    plain_column,
]
