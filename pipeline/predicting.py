"""Predict a table here, in this process, by the functions of the prediction pipeline's steps."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline import RequestError, files, models, sources
from pipeline.check import MAX_BYTES_READ, Description
from pipeline.models import FoundModel
from pipeline.settings import Settings
from pipeline.sources import Source
from pipeline.texts import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from sklearn.pipeline import Pipeline

    from steps.prediction.predicting import Predicted

SECONDS_BETWEEN = 5.0  # two lines of progress


@dataclass(frozen=True)
class Outcome:
    """What came of predicting a table."""

    model: FoundModel
    source: Source
    notes: list[str]  # what the check of its rows has told
    predicted: "Predicted"
    seconds: float


def predict(
    settings: Settings,
    data: str,
    out: Path,
    model: str = models.CHAMPION,
    keep: Sequence[str] = (),
    overwrite: bool = False,
    show: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Check a table against a model and predict its rows, in blocks; the file is there whole or not at all.

    Args:
        settings: The settings, with the identifier.
        data: What --data takes.
        out: File to write, .csv or .parquet.
        model: Name of the model; see pipeline.models.find.
        keep: Names of columns to keep beside the predictions.
        overwrite: Whether the file may be there.
        show: Is told of the progress, a line each.

    Raises:
        RequestError: there is no such table or model, they do not fit, or the file cannot be written.
    """
    since = time.monotonic()
    if out.suffix not in (".csv", ".parquet"):
        raise RequestError(f"-o {shortened(out.name)}: expected the name of a .csv or a .parquet file.")
    if os.path.lexists(out) and not (overwrite and out.is_file()):
        raise RequestError(f"-o {shortened(str(out))} is there already. Name another file, or say --overwrite.")
    if not out.parent.is_dir():
        raise RequestError(f"-o {shortened(str(out))}: there is no folder {shortened(str(out.parent))}. Make it first.")
    found = models.find(settings, model)
    cache = settings.runs_dir / ".data"
    source = sources.download(sources.resolve(data, None, cache), cache)
    show(f"Data   {source.description}")
    show(f"Model  {found.title}")

    from steps.prediction.predicting import predict as predict_rows
    from steps.prediction.rows import open_rows
    from steps.tables.files import damage_told, require_unchanged

    with _told(), TemporaryDirectory() as folder, damage_told(source.name):
        classifier, facts, reference = _loaded(found, cache)
        table = open_rows(source.uri, folder, classifier[0].columns, facts, fingerprint=source.fingerprint)
        rows, label = table.dataset, facts["label"]
        notes = [*table.notes, *_checked(classifier, reference, rows, label)]
        for note in notes:
            show(f"note: {note}")
        has_label = label if label in rows.schema.names else None
        with files.writing(out) as temporary:
            progress = _progress(rows.count_rows(), show)
            predicted = predict_rows(classifier, rows, str(temporary), keep, has_label, out.suffix == ".csv", progress)
            require_unchanged(table.files)
            os.replace(temporary, out)
    return Outcome(found, source, notes, predicted, time.monotonic() - since)


def describe(source: Source, found: FoundModel, cache: Path, parameters: dict[str, Any]) -> Description:
    """Hold a table to a model before a run, where it is on this machine; of a large one its first rows.

    Args:
        source: The data.
        found: The model.
        cache: Folder for what is downloaded.
        parameters: Values of the pipeline's parameters.
    """
    if not source.files:
        return Description(reason="the data is not on this machine; check-rows checks it")
    from steps.prediction.rows import open_rows
    from steps.tables.files import damage_told

    said = {name: parameters.get(name) or "" for name in ("header", "names", "na_values")}
    try:
        with TemporaryDirectory() as folder, damage_told(source.name):
            model, facts, reference = _loaded(found, cache)
            table = open_rows(source.uri, folder, model[0].columns, facts, **said, most_bytes=MAX_BYTES_READ)
            notes = _checked(model, reference, table.dataset, facts["label"])
            keep = [name for name in parameters.get("keep") or () if name not in table.dataset.schema.names]
            n_rows = table.dataset.count_rows()
    except ValueError as error:
        return Description(problems=(str(error),))
    if keep:
        return Description(problems=(f"keep: the table has no column {keep[0]!r}.",))
    seen = f"{'the first ' if table.is_part else ''}{n_rows:,} rows fit {found.title}"
    return Description(found="; ".join([seen, *notes]), is_part=table.is_part)


def _loaded(found: FoundModel, cache: Path) -> "tuple[Pipeline, dict[str, Any], pd.DataFrame]":
    """Return a model, what is known of it, and some of its training rows.

    Raises:
        ValueError: it is no model of this project, or not the recorded one.
    """
    import pandas as pd

    from steps.model_folder import REFERENCE, load_model, read_facts
    from steps.prediction.model import require_own

    folder = sources.place_model(found.folder, found.sha256, None, cache)
    model = load_model(folder, found.sha256)
    require_own(model, found.folder)
    return model, read_facts(folder), pd.read_parquet(Path(folder, REFERENCE))


def _checked(model: "Pipeline", reference: "pd.DataFrame", rows: Any, label: str) -> list[str]:
    """Return what is to be known of rows before they are predicted.

    Raises:
        ValueError: they do not fit the model.
    """
    from steps.prediction.checking import RowsCheck
    from steps.prediction.rows import blocks

    check = RowsCheck(model, reference, rows.schema.names, label)
    for block in blocks(rows, [*model[0].columns]):
        check.add(block)
    return check.notes()


def _progress(n_rows: int, show: Callable[[str], None]) -> Callable[[int], None]:
    """Return what is told how many rows are done, and shows it now and then."""
    last = time.monotonic()

    def told(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS_BETWEEN:
            last = time.monotonic()
            show(f"       {done:,} of {n_rows:,} rows, {done / n_rows:.0%}")

    return told


@contextmanager
def _told() -> "Iterator[None]":
    """Turn what a step refuses into a request that was wrong."""
    try:
        yield
    except ValueError as error:
        raise RequestError(str(error)) from error
