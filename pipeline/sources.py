"""What --data names: where the table is, its fingerprint, and whether it can be a table at all."""

import difflib
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import RequestError

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_SAMPLE_ROWS = 20_000
A_TABLE = "A table is a CSV file with a header line, the same gzipped, or a Parquet file."


@dataclass(frozen=True)
class Source:
    """A table to learn from."""

    name: str  # as --data named it
    path: Path
    fingerprint: str  # SHA-256 of the file
    description: str


def resolve(data: str, label: str, cache_dir: Path) -> Source:
    """Find the table that --data names and check what can be known before a run.

    Args:
        data: sample[:ROWS], covtype, or the path of a CSV, gzipped CSV or Parquet file.
        label: Column that the table must have.
        cache_dir: Folder where simulated and downloaded tables are kept.

    Raises:
        RequestError: there is no such table, or it cannot be one to learn from.
    """
    kind, _, rows = data.partition(":")
    if kind == "sample":
        return _sample(data, rows, label, cache_dir)
    if data == "covtype":
        return _covtype(label, cache_dir)
    return _local_file(data, label)


def _sample(data: str, rows: str, label: str, cache_dir: Path) -> Source:
    from pipeline.covertype import LABEL, MIN_ROWS, simulate

    if ":" in data and not (rows.isascii() and rows.isdigit() and int(rows) >= MIN_ROWS):
        raise RequestError(
            f"--data sample:ROWS takes a whole number of rows from {MIN_ROWS} on, two for each class, not {rows!r}.\n"
            f"For example: --data sample:{DEFAULT_SAMPLE_ROWS}"
        )
    n_rows = int(rows) if rows else DEFAULT_SAMPLE_ROWS
    _check_label(label, [*simulate(MIN_ROWS).columns], data)
    path = _keep(cache_dir / f"simulated-{n_rows}.parquet", lambda: simulate(n_rows))
    description = f"{n_rows:,} simulated rows, drawn from the class statistics of the Covertype data"
    if label == LABEL:
        description += "; their figures say nothing about real forests"
    return Source(f"sample:{n_rows}", path, fingerprint(path), description)


def _covtype(label: str, cache_dir: Path) -> Source:
    from sklearn.datasets import fetch_covtype

    from pipeline.covertype import fold

    path = cache_dir / "covtype.parquet"
    if not path.exists():
        try:
            with warnings.catch_warnings(action="ignore"):  # it warns of each try; the last one's error says it all
                public = fetch_covtype(as_frame=True)
        except OSError as error:  # URLError, a time-out, or no room for the download
            raise RequestError(
                f"--data covtype downloads the public Covertype table once, and that failed: {error}\n"
                "Connect to the network and try again, name a file of yours with --data PATH,\n"
                "or take simulated rows with --data sample."
            ) from error
        path = _keep(path, lambda: fold(public.frame))
    _check_label(label, _columns(path), "covtype")
    return Source("covtype", path, fingerprint(path), "the public Covertype table, 581,012 rows")


def _local_file(data: str, label: str) -> Source:
    path = Path(data).expanduser()
    if "{{$" in str(path.absolute()):
        raise RequestError(f"--data {data}: KFP would expand the {{{{$ in this path. Rename the file or its folder.")
    if not path.exists():
        raise RequestError(
            f"--data {data}: there is no such file in {Path.cwd()}.\n"
            "Name a CSV, gzipped CSV or Parquet file, or take simulated rows with --data sample."
        )
    if path.is_dir():
        raise RequestError(f"--data {data} is a folder. Name one CSV, gzipped CSV or Parquet file in it.")
    try:
        _check_label(label, _columns(path), data)
        return Source(data, path.resolve(), fingerprint(path), f"{data} ({path.stat().st_size:,} bytes)")
    except OSError as error:
        raise RequestError(f"--data {data} cannot be read: {error.strerror or error}. Check the file.") from error


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(path: Path, make: "Callable[[], pd.DataFrame]") -> Path:
    """Write a table as Parquet, so that the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        make().to_parquet(temporary, index=False)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _check_label(label: str, columns: list[str], data: str) -> None:
    if label in columns:
        return
    nearest = difflib.get_close_matches(label.lower(), [column.lower() for column in columns], n=1, cutoff=0.5)
    hint = next((f" Did you mean {column!r}?" for column in columns if [column.lower()] == nearest), "")
    shown = ", ".join(columns[:20]) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
    raise RequestError(
        f"--label {label!r} is not a column of {data}.{hint}\n"
        f"Its columns are: {shown}.\n"
        "Name the column that holds the classes with --label."
    )


def _columns(path: Path) -> list[str]:
    """Return the names of a table's columns, having read its beginning."""
    import pyarrow as pa

    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise RequestError(f"--data {path} is empty. {A_TABLE}")
    try:
        names, has_rows = _parquet_head(path) if magic == b"PAR1" else _csv_head(path, magic[:2] == b"\x1f\x8b")
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise RequestError(f"--data {path} is not a table that can be read: {error}\n{A_TABLE}") from error
    if not has_rows:
        raise RequestError(f"--data {path} has a header and no rows. {A_TABLE}")
    return names


def _parquet_head(path: Path) -> tuple[list[str], bool]:
    from pyarrow import parquet

    metadata = parquet.read_metadata(path)
    return metadata.schema.to_arrow_schema().names, metadata.num_rows > 0


def _csv_head(path: Path, gzipped: bool) -> tuple[list[str], bool]:
    import pyarrow as pa
    from pyarrow import csv

    def opened() -> pa.NativeFile:
        return pa.input_stream(str(path), compression="gzip" if gzipped else None)

    with opened() as stream:
        if b"\0" in stream.read(1 << 16):
            raise RequestError(f"--data {path} is a binary file. {A_TABLE}")
    with opened() as stream:
        reader = csv.open_csv(stream)
        return reader.schema.names, next(iter(reader), None) is not None
