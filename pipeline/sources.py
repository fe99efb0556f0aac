"""What --data names: where the table is, its fingerprint and size, and whether it can be a table at all."""

import dataclasses
import difflib
import glob
import hashlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline import RequestError, files, storage
from pipeline.answers import answers_told
from pipeline.texts import shortened
from steps.model_folder import FACTS, MODEL, REFERENCE
from steps.tables import fingerprints, globs
from steps.tables.options import ReadOptions

if TYPE_CHECKING:
    from google.cloud.storage import Blob

DEFAULT_SAMPLE_ROWS = 20_000
MOST_SAMPLE_ROWS = 10_000_000  # they are drawn in memory: some GB
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,221}")


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


def resolve(data: str, label: str | None, cache_dir: Path, header: str = "", names: Sequence[str] = ()) -> Source:
    """Find the table that --data names and check what can be known before a run.

    Args:
        data: sample[:ROWS], covtype, the path or glob of CSV or Parquet files, a folder of Parquet files,
            gs://bucket/object or a glob or folder of them, or bq://project.dataset.table.
        label: Column that the table must have, None for none.
        cache_dir: Folder where simulated and downloaded tables are kept.
        header: Whether the first row of a text file names its columns, true or false; "" finds out.
        names: Names of the columns of a file without a header.

    Raises:
        RequestError: there is no such table, or it cannot be one to learn from.
    """
    if "{{$" in str(Path(data).absolute()):
        raise RequestError(f"--data {data}: KFP would expand the {{{{$ in this path. Rename the file or its folder.")
    try:
        data.encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"--data {data!r}: this name is not in UTF-8, which the steps are told it in. Rename it."
        ) from None
    options = ReadOptions(label or "", header, tuple(names))
    kind, _, rows = data.partition(":")
    if kind == "sample":
        return _sample(data, rows, label, cache_dir)
    if data == "covtype":
        return _covtype(label, cache_dir)
    if kind == "gs":
        return _objects(data, label, options)
    if kind == "bq":
        return _bigquery_table(data, label)
    return _local_files(data, label, options)


def upload(source: Source, bucket: str) -> tuple[Source, int]:
    """Put the files of a source into a bucket under their fingerprint, unless they are there.

    Returns:
        The source at its new place, and how many files were sent.
    """
    if not source.files:
        return source, 0
    paths = [*map(str, source.files)]
    if fingerprints.of_files(paths, str(source.folder) if source.folder else None) != source.fingerprint:
        raise RequestError(f"--data {source.name} was replaced between the look at it and its upload. Run again.")
    names = [path.relative_to(source.folder).as_posix() if source.folder else path.name for path in source.files]
    folder = f"gs://{bucket}/data/{source.fingerprint}"
    if len(names) > 1 and not source.folder:
        # all that lies there is read, in the order of its names: nothing of other names may, in no other order
        width = len(str(len(names)))
        names = [f"{place:0{width}}-{name}" for place, name in enumerate(names)]
        folder += f"-{hashlib.sha256(repr(names).encode()).hexdigest()[:16]}"
    sent = sum(storage.put(path, f"{folder}/{name}") for path, name in zip(source.files, names, strict=True))
    place = "" if source.folder else "*" if len(names) > 1 else names[0]
    return dataclasses.replace(source, uri=f"{folder}/{place}"), sent


def download(source: Source, cache_dir: Path) -> Source:
    """Bring the objects of a source to this machine, unless they are here.

    Raises:
        RequestError: they are not those that were looked at any more, or cannot be brought here.
    """
    if not source.uri.startswith("gs://"):
        return source
    folder = cache_dir / source.fingerprint
    is_folder = source.uri.endswith("/")
    with answers_told(source.name):
        blobs = storage.find(source.uri)
        if _fingerprint_of(blobs, source.uri) != source.fingerprint:
            raise RequestError(f"--data {source.name} was replaced between the look at it and its download. Run again.")
        width = len(str(len(blobs)))
        names = _names_in(source.uri, blobs) or [
            f"{place:0{width}}-{Path(blob.name).name}" for place, blob in enumerate(blobs)
        ]
        paths = tuple(storage.places(source.uri, names, folder))
        files.sweep(cache_dir)
        for blob, path in zip(blobs, paths, strict=True):
            if not _is_kept(path, blob.crc32c):
                storage.fetch_found(blob, path)
    if is_folder:
        return dataclasses.replace(source, uri=str(folder), files=paths, folder=folder)
    uri = str(paths[0]) if len(paths) == 1 else f"{glob.escape(str(folder))}/*"
    return dataclasses.replace(source, uri=uri, files=paths)


def _is_kept(path: Path, checksum: str) -> bool:
    """Return whether a download is here as it was; one that has been damaged since is to be fetched again."""
    return path.is_file() and fingerprints.crc32c(str(path)) == checksum


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
    placed = f"gs://{bucket}/data/{fingerprints.sha256(uri)}/schema.json"
    storage.put(Path(uri), placed)
    return placed


def place_model(folder: str, sha256: str, bucket: str | None, cache_dir: Path) -> str:
    """Put what predicting needs of a model's folder where the first step can read it, and return its place.

    Args:
        folder: Path or gs:// address.
        sha256: What the model's file must have; of one in a bucket the first step compares it.
        bucket: Bucket that the steps read from; None where they run on this machine.
        cache_dir: Folder for what is downloaded.

    Raises:
        RequestError: it is no folder of a model, not the recorded one, or cannot be brought there.
    """
    names = (MODEL, FACTS, REFERENCE)
    if storage.is_object(folder):
        if bucket:
            return folder
        with answers_told(folder, "The model"):
            blobs = [blob for name in names for blob in storage.find(f"{folder}/{name}")]
            if len(blobs) < len(names):
                raise RequestError(f"{folder} is no folder of a model. Name one that promote-model has written.")
            place = cache_dir / _fingerprint_of(blobs, folder)
            for name, blob in zip(names, blobs, strict=True):
                if not _is_kept(place / name, blob.crc32c):
                    storage.fetch_found(blob, place / name)
        return str(place)
    paths = [Path(folder, name) for name in names]
    if not all(path.is_file() for path in paths):
        raise RequestError(f"{folder} is no folder of a model. Name one that promote-model has written.")
    if fingerprints.sha256(str(paths[0])) != sha256:
        raise RequestError(f"{paths[0]} is not the file that was recorded. Train again, or name another model.")
    if not bucket:
        return str(Path(folder).resolve())
    placed = f"gs://{bucket}/data/{fingerprints.of_files([*map(str, paths)], folder)}"
    for path in paths:
        storage.put(path, f"{placed}/{path.name}")
    return placed


def _fetched(uri: str, cache_dir: Path) -> Path:
    with answers_told(uri, "The schema"):
        found = storage.find(uri)
        if not found:
            raise RequestError(f"There is no object {uri}. Name another run.")
        blob, path = found[0], cache_dir / _fingerprint_of(found[:1], uri)
        return path if _is_kept(path, blob.crc32c) else storage.fetch_found(blob, path)


def _sample(data: str, rows: str, label: str | None, cache_dir: Path) -> Source:
    from pipeline.covertype import LABEL, MIN_ROWS, simulate, version

    digits = rows.lstrip("0") if rows.isascii() and rows.isdigit() else ""
    is_number = 0 < len(digits) <= len(str(MOST_SAMPLE_ROWS))  # Python does not read one of thousands of digits
    if ":" in data and not (is_number and MIN_ROWS <= int(digits) <= MOST_SAMPLE_ROWS):
        raise RequestError(
            f"--data sample:ROWS takes a whole number of rows from {MIN_ROWS} on, two for each class, "
            f"to {MOST_SAMPLE_ROWS:,}, not {shortened(rows)}.\n"
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


def _covtype(label: str | None, cache_dir: Path) -> Source:
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
    _check_label(label, _columns("covtype", path.open("rb"), ReadOptions(label or "")), "covtype")
    return _of_files("covtype", str(path), (path,), "the public Covertype table, 581,012 rows")


def _local_files(data: str, label: str | None, options: ReadOptions) -> Source:
    pattern = os.path.abspath(os.path.expanduser(data))
    if not os.path.lexists(pattern) and _names_nothing(pattern):
        raise RequestError(
            f"--data {data}: there is no such file in {Path.cwd()}.\n"
            "Name a CSV, gzipped CSV or Parquet file, or take simulated rows with --data sample."
        )
    from steps.tables.files import table_files

    try:
        paths = tuple(map(Path, table_files(pattern)))
        "".join(map(str, paths)).encode()
    except UnicodeEncodeError:
        raise RequestError(f"--data {data} holds a file whose name is not in UTF-8. Rename it.") from None
    except ValueError as error:
        raise RequestError(f"--data: {error}") from None
    is_glob = glob.has_magic(pattern) and not os.path.exists(pattern)
    folder = Path(pattern).resolve() if os.path.isdir(pattern) else None
    if folder:
        paths = tuple(folder / path.relative_to(pattern) for path in paths)
    if not folder and len({path.name for path in paths}) < len(paths):
        raise RequestError(
            f"--data {data} matches files of one name in several folders. Rename them or name one folder."
        )
    try:
        for path in paths:
            name = data if len(paths) == 1 else f"{data}: {path.name}"
            columns = _columns(name, path.open("rb"), options)
            _check_label(label, [*columns, *_partitions(path, folder)], name)
        n_bytes = sum(path.stat().st_size for path in paths)
        many = f"{len(paths)} files, " if len(paths) > 1 else ""
        uri = pattern if is_glob else str(folder or paths[0].resolve())
        return _of_files(data, uri, paths, f"{data} ({many}{n_bytes:,} bytes)", folder)
    except OSError as error:
        raise RequestError(f"--data {data} cannot be read: {error.strerror or error}. Check the file.") from error


def _names_nothing(pattern: str) -> bool:
    try:
        return next(globs.named(pattern), None) is None
    except ValueError as error:
        raise RequestError(f"--data: {error}") from None


def _objects(data: str, label: str | None, options: ReadOptions) -> Source:
    bucket, name = storage.split(data)
    if not BUCKET.fullmatch(bucket) or not name.isprintable():
        raise RequestError(f"--data {data[:200]!r}: expected gs://bucket/object, or a glob or folder/ of objects.")
    with answers_told(data):
        blobs, uri = storage.find(data) if name else [], data
        if not blobs and (below := storage.find(f"{data.rstrip('/')}/")):  # a folder
            blobs, uri = below, f"{data.rstrip('/')}/"
        if blobs:
            storage.places(data, _names_in(uri, blobs), Path())
            mark = _fingerprint_of(blobs, uri)  # before an answer to a reading changes what is known of one
            _check_label(label, _columns(data, blobs[0].open("rb"), options), data)
            n_bytes = sum(blob.size for blob in blobs)
    if not blobs:
        raise RequestError(f"--data {data}: there is no such object. List them with: gcloud storage ls {data[:200]}")
    description = (
        f"{data} ({len(blobs)} objects, {n_bytes:,} bytes)" if len(blobs) > 1 else f"{data} ({n_bytes:,} bytes)"
    )
    return Source(data, uri, mark, n_bytes, description)


def _fingerprint_of(blobs: "list[Blob]", uri: str) -> str:
    generations, checksums = (
        zip(*((blob.generation, blob.crc32c) for blob in blobs), strict=True) if blobs else ((), ())
    )
    return fingerprints.of_objects(generations, checksums, _names_in(uri, blobs))


def _names_in(uri: str, blobs: "list[Blob]") -> list[str]:
    """Return the names of objects in the folder that an address names, none where it names no folder."""
    prefix = storage.split(uri)[1]
    return [blob.name.removeprefix(prefix) for blob in blobs] if uri.endswith("/") else []


def _bigquery_table(data: str, label: str | None) -> Source:
    table_id = data.removeprefix("bq://")
    if not re.fullmatch(r"[^.]+\.[^.]+\.[^.]+", table_id) or not table_id.isprintable():
        raise RequestError(f"--data {data[:200]!r}: expected bq://project.dataset.table.")
    from google.cloud import bigquery

    anonymous = _anonymous() if os.environ.get("BIGQUERY_EMULATOR_HOST") else None
    with answers_told(data):
        table = bigquery.Client(table_id.split(".")[0], credentials=anonymous).get_table(table_id)
        mark = fingerprints.of_bigquery(table_id, table.modified, table.num_rows)
        columns, n_rows, n_bytes = [field.name for field in table.schema], table.num_rows, table.num_bytes or 0
        described = f"{data} ({n_rows:,} rows, {n_bytes:,} bytes)"
    _check_label(label, columns, data)
    return Source(data, data, mark, n_bytes, described)


def _anonymous() -> Any:
    from google.auth.credentials import AnonymousCredentials

    return AnonymousCredentials()


def _of_files(name: str, uri: str, paths: tuple[Path, ...], description: str, folder: Path | None = None) -> Source:
    mark = fingerprints.of_files([*map(str, paths)], str(folder) if folder else None)
    return Source(name, uri, mark, sum(path.stat().st_size for path in paths), description, paths, folder)


def _once(path: Path, write: Callable[[Path], object]) -> Path:
    """Have a file written unless it is there; its name says all that its content follows from.

    It appears whole or not at all, and is never written again: another run may be reading it.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(path.parent)
    with files.writing(path) as temporary:
        write(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:  # another process was faster
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)
    return path


def _check_label(label: str | None, columns: list[str], data: str) -> None:
    if label is None or label in columns:
        return
    nearest = difflib.get_close_matches(label.lower(), [column.lower() for column in columns], n=1, cutoff=0.5)
    hint = next((f" Did you mean {column!r}?" for column in columns if [column.lower()] == nearest), "")
    shown = ", ".join(columns[:20]) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
    raise RequestError(
        f"--label {label!r} is not a column of {data}.{hint}\n"
        f"Its columns are: {shown}.\n"
        "Name the column that holds the classes with --label."
    )


def _columns(name: str, file: IO[bytes], options: ReadOptions) -> list[str]:
    """Return the names of a table's columns, having read its beginning."""
    from steps.tables.reading import table_head

    with file:
        try:
            names, has_rows = table_head(f"--data {name}", file, options)
        except ValueError as error:
            raise RequestError(str(error)) from None
    if not has_rows:
        raise RequestError(f"--data {name} has a header and no rows. Add the rows to learn from.")
    return names


def _partitions(path: Path, folder: Path | None) -> list[str]:
    """Return the columns that the names of a file's folders hold, as in year=2026."""
    parts = path.relative_to(folder).parts[:-1] if folder else ()
    return [part.partition("=")[0] for part in parts if "=" in part]
