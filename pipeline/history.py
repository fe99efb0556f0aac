"""What ran under an identifier."""

import contextlib
from pathlib import Path
from typing import Any

from pipeline import RequestError, runs
from pipeline.runs import Run

# of these a run's data speaks, and the identifier says nothing new of them
NOT_CHANGED = ("source", "fingerprint", "champion")


def of(runs_dir: Path, identifier: str) -> tuple[list[Run], list[str]]:
    """Return the runs of an identifier, newest first, and what is wrong with those that cannot be read.

    Raises:
        RequestError: there are none.
    """
    found, damaged = [], []
    for folder in runs.folders(runs_dir, identifier):
        try:
            found.append(runs.read(folder))
        except RequestError as error:
            damaged.append(str(error))
    return found, damaged


def former(run: Run) -> Run | None:
    """Return the newest run before this one with figures, of the same identifier and pipeline; None if there is none.

    A run whose record cannot be read is passed over.
    """
    for folder in runs.folders(run.folder.parent.parent, run.identifier):
        if folder.name >= run.run_id:
            continue
        with contextlib.suppress(RequestError):
            earlier = runs.read(folder)
            if earlier.metrics and earlier.pipeline == run.pipeline:
                return earlier
    return None


def changed(run: Run, former: Run | None) -> dict[str, Any]:
    """Return the parameters of a run that differ from those of the one before it; none where it is the first."""
    if former is None:
        return {}
    return {
        name: value
        for name, value in run.parameters.items()
        if name not in NOT_CHANGED and value != former.parameters.get(name)
    }
