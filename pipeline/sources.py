"""What --data names: where the table is, its fingerprint and size, and whether it can be a table at all."""

import dataclasses
import difflib
import glob
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline import RequestError, storage

DEFAULT_SAMPLE_ROWS = 20_000


@dataclass(frozen=True)
class Source:
    """A table to learn from."""

    name: str  # as --data named it
    uri: str  # what the first step reads: a path, glob or folder, gs://… or bq://…
    fingerprint: str  # changes whenever the content does
    n_bytes: int
    description: str
    files: tuple[Path, ...] = ()  # on this machine
    folder: Path | None = None  # that was named, with all the files below it


def resolve(data: str, label: str, cache_dir: Path) -> Source:
    """Find the table that --data names and check what can be known before a run.

    Args:
        data: sample[:ROWS], covtype, the path or glob of CSV or Parquet files, a folder of Parquet files,
            gs://bucket/object or a glob or folder of them, or bq://project.dataset.table.
        label: Column that the table must have.
        cache_dir: Folder where simulated and downloaded tables are kept.

    Raises:
        RequestError: there is no such table, or it cannot be one to learn from.
    """
    if "{{$" in str(Path(data).absolute()):
        raise RequestError(f"--data {data}: KFP would expand the {{{{$ in this path. Rename the file or its folder.")
    kind, _, rows = data.partition(":")
    if kind == "sample":
        return _sample(data, rows, label, cache_dir)
    if data == "covtype":
        return _covtype(label, cache_dir)
    if kind == "gs":
        return _objects(data, label)
    if kind == "bq":
        return _bigquery_table(data, label)
    return _local_files(data, label)


def upload(source: Source, bucket: str) -> tuple[Source, int]:
    """Put the files of a source into a bucket under their fingerprint, unless they are there.

    Returns:
        The source at its new place, and how many files were sent.
    """
    if not source.files:
        return source, 0
    folder = f"gs://{bucket}/data/{source.fingerprint}"
    names = [path.relative_to(source.folder).as_posix() if source.folder else path.name for path in source.files]
    sent = sum(storage.put(path, f"{folder}/{name}") for path, name in zip(source.files, names, strict=True))
    place = "" if source.folder else "*" if len(names) > 1 else names[0]
    return dataclasses.replace(source, uri=f"{folder}/{place}"), sent


def download(source: Source, cache_dir: Path) -> Source:
    """Bring the objects of a source to this machine, unless they are here."""
    if not source.uri.startswith("gs://"):
        return source
    folder = cache_dir / source.fingerprint
    blobs = storage.find(source.uri)
    is_folder = source.uri.endswith("/")
    prefix = storage.split(source.uri)[1]
    names = (
        blob.name.removeprefix(prefix) if is_folder else f"{place:04}-{Path(blob.name).name}"
        for place, blob in enumerate(blobs)
    )
    files = tuple(folder / name for name in names)
    for blob, path in zip(blobs, files, strict=True):
        _once(path, lambda file, blob=blob: storage.fetch(f"gs://{blob.bucket.name}/{blob.name}", file))
    if is_folder:
        return dataclasses.replace(source, uri=str(folder), files=files, folder=folder)
    uri = str(files[0]) if len(files) == 1 else f"{glob.escape(str(folder))}/*"
    return dataclasses.replace(source, uri=uri, files=files)


def place_file(uri: str, bucket: str | None, cache_dir: Path) -> str:
    """Put a file of an earlier run where the first step can read it, and return its place.

    Args:
        uri: Path or gs:// address.
        bucket: Bucket that the steps read from; None where they run on this machine.
        cache_dir: Folder for what is downloaded.
    """
    if storage.is_object(uri):
        return uri if bucket else str(_fetched(uri, cache_dir))
    if not bucket:
        return uri
    placed = f"gs://{bucket}/data/{fingerprint(Path(uri))}/schema.json"
    storage.put(Path(uri), placed)
    return placed


def _fetched(uri: str, cache_dir: Path) -> Path:
    found = storage.find(uri)
    if not found:
        raise RequestError(f"There is no object {uri}. Name another run.")
    mark = hashlib.sha256(f"{uri} {found[0].generation}".encode()).hexdigest()
    return _once(cache_dir / mark, lambda file: storage.fetch(uri, file))


def _sample(data: str, rows: str, label: str, cache_dir: Path) -> Source:
    from pipeline.covertype import LABEL, MIN_ROWS, simulate, version

    if ":" in data and not (rows.isascii() and rows.isdigit() and int(rows) >= MIN_ROWS):
        raise RequestError(
            f"--data sample:ROWS takes a whole number of rows from {MIN_ROWS} on, two for each class, not {rows!r}.\n"
            f"For example: --data sample:{DEFAULT_SAMPLE_ROWS}"
        )
    n_rows = int(rows) if rows else DEFAULT_SAMPLE_ROWS
    _check_label(label, [*simulate(MIN_ROWS).columns], data)
    path = cache_dir / version() / f"simulated-{n_rows}.parquet"
    _once(path, lambda file: simulate(n_rows).to_parquet(file, index=False))
    description = f"{n_rows:,} simulated rows, drawn from the class statistics of the Covertype data"
    if label == LABEL:
        description += "; their figures say nothing about real forests"
    return _of_files(f"sample:{n_rows}", str(path), (path,), description)


def _covtype(label: str, cache_dir: Path) -> Source:
    from sklearn.datasets import fetch_covtype

    from pipeline.covertype import fold, version

    def write(file: Path) -> None:
        try:
            with warnings.catch_warnings(action="ignore"):  # it warns of each try; the last one's error says it all
                public = fetch_covtype(as_frame=True)
        except OSError as error:  # URLError, a time-out, or no room for the download
            raise RequestError(
                f"--data covtype downloads the public Covertype table once, and that failed: {error}\n"
                "Connect to the network and try again, name a file of yours with --data PATH,\n"
                "or take simulated rows with --data sample."
            ) from error
        fold(public.frame).to_parquet(file, index=False)

    path = _once(cache_dir / version() / "covtype.parquet", write)
    _check_label(label, _columns("covtype", path.open("rb")), "covtype")
    return _of_files("covtype", str(path), (path,), "the public Covertype table, 581,012 rows")


def _local_files(data: str, label: str) -> Source:
    pattern = os.path.abspath(os.path.expanduser(data))
    if not os.path.lexists(pattern) and not glob.glob(pattern, recursive=True):
        raise RequestError(
            f"--data {data}: there is no such file in {Path.cwd()}.\n"
            "Name a CSV, gzipped CSV or Parquet file, or take simulated rows with --data sample."
        )
    from steps.tables.files import table_files

    try:
        files = tuple(map(Path, table_files(pattern)))
    except ValueError as error:
        raise RequestError(f"--data: {error}") from None
    is_glob = glob.has_magic(pattern) and not os.path.exists(pattern)
    folder = Path(pattern).resolve() if os.path.isdir(pattern) else None
    if folder:
        files = tuple(folder / path.relative_to(pattern) for path in files)
    if not folder and len({path.name for path in files}) < len(files):
        raise RequestError(
            f"--data {data} matches files of one name in several folders. Rename them or name one folder."
        )
    try:
        for path in files:
            name = data if len(files) == 1 else f"{data}: {path.name}"
            _check_label(label, [*_columns(name, path.open("rb")), *_partitions(path, folder)], name)
        n_bytes = sum(path.stat().st_size for path in files)
        many = f"{len(files)} files, " if len(files) > 1 else ""
        uri = pattern if is_glob else str(folder or files[0].resolve())
        return _of_files(data, uri, files, f"{data} ({many}{n_bytes:,} bytes)", folder)
    except OSError as error:
        raise RequestError(f"--data {data} cannot be read: {error.strerror or error}. Check the file.") from error


def _objects(data: str, label: str) -> Source:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        blobs, uri = storage.find(data), data
        if not blobs and (below := storage.find(f"{data.rstrip('/')}/")):  # a folder
            blobs, uri = below, f"{data.rstrip('/')}/"
        if blobs:
            _check_label(label, _columns(data, blobs[0].open("rb")), data)
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise RequestError(f"--data {data} cannot be read: {_first_line(error)}\n{_ASK_FOR['gs']}") from error
    if not blobs:
        raise RequestError(f"--data {data}: there is no such object. List them with: gcloud storage ls {data[:200]}")
    # a new content gives an object a new generation
    marks = "\n".join(f"{blob.name} {blob.generation} {blob.crc32c}" for blob in blobs)
    n_bytes = sum(blob.size for blob in blobs)
    description = (
        f"{data} ({len(blobs)} objects, {n_bytes:,} bytes)" if len(blobs) > 1 else f"{data} ({n_bytes:,} bytes)"
    )
    return Source(data, uri, hashlib.sha256(marks.encode()).hexdigest(), n_bytes, description)


def _bigquery_table(data: str, label: str) -> Source:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    table_id = data.removeprefix("bq://")
    if table_id.count(".") != 2:
        raise RequestError(f"--data {data}: expected bq://project.dataset.table.")
    anonymous = _anonymous() if os.environ.get("BIGQUERY_EMULATOR_HOST") else None
    try:
        table = bigquery.Client(table_id.split(".")[0], credentials=anonymous).get_table(table_id)
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise RequestError(f"--data {data} cannot be read: {_first_line(error)}\n{_ASK_FOR['bq']}") from error
    _check_label(label, [field.name for field in table.schema], data)
    mark = hashlib.sha256(f"{table_id} {table.modified.isoformat()} {table.num_rows}".encode()).hexdigest()
    return Source(
        data, data, mark, table.num_bytes or 0, f"{data} ({table.num_rows:,} rows, {table.num_bytes:,} bytes)"
    )


_ASK_FOR = {
    "gs": "Check the address and that you may read it: gcloud storage ls gs://BUCKET; log in with: gcloud auth "
    "application-default login",
    "bq": "Check the name and that you may read it: bq show PROJECT:DATASET.TABLE; log in with: gcloud auth "
    "application-default login",
}


def _anonymous() -> Any:
    from google.auth.credentials import AnonymousCredentials

    return AnonymousCredentials()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _of_files(name: str, uri: str, files: tuple[Path, ...], description: str, folder: Path | None = None) -> Source:
    digests = [fingerprint(path) for path in files]
    if folder:  # the names of its folders are values
        digests += [path.relative_to(folder).as_posix() for path in files]
    whole = digests[0] if len(files) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return Source(name, uri, whole, sum(path.stat().st_size for path in files), description, files, folder)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _once(path: Path, write: Callable[[Path], object]) -> Path:
    """Have a file written unless it is there; its name says all that its content follows from.

    It appears whole or not at all, and is never written again: another run may be reading it.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        write(Path(temporary))
        try:
            os.link(temporary, path)
        except FileExistsError:  # another process was faster
            pass
        except OSError:  # a file system without links
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


def _columns(name: str, file: BinaryIO) -> list[str]:
    """Return the names of a table's columns, having read its beginning."""
    from steps.tables.csv_files import table_head

    with file:
        try:
            names, has_rows = table_head(f"--data {name}", file)
        except ValueError as error:
            raise RequestError(str(error)) from None
    if not has_rows:
        raise RequestError(f"--data {name} has a header and no rows. Add the rows to learn from.")
    return names


def _partitions(path: Path, folder: Path | None) -> list[str]:
    """Return the columns that the names of a file's folders hold, as in year=2026."""
    parts = path.relative_to(folder).parts[:-1] if folder else ()
    return [part.partition("=")[0] for part in parts if "=" in part]
