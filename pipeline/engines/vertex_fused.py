"""The steps of a fused task of a job, from the record that it has left in the bucket."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import files, storage
from pipeline.fusing import records
from pipeline.fusing.records import Ran
from pipeline.fusing.running import RECORD
from pipeline.graph import Fusion
from pipeline.runs import Task


def steps(fusion: Fusion, task: Task, places: Mapping[str, Sequence[str]], root: str, folder: str) -> list[Ran]:
    """Return the steps of a fused task that has ended, none where its record cannot be had.

    Args:
        fusion: What it runs.
        task: The task.
        places: The addresses of its inputs and outputs by their names; of one that has failed there may be no outputs.
        root: The gs:// folder of the job.
        folder: What the service calls the folder of the task's outputs, somewhere below that.
    """
    found = places.get(RECORD) or _found(root, folder)
    with TemporaryDirectory() as temporary, contextlib.suppress(FileNotFoundError, files.Damaged):
        if found:
            path = storage.fetch(found[0], Path(temporary, RECORD))
            ran = records.steps(fusion, task, path, {**places, RECORD: [*found]})
            if ran and task.seconds:  # the first has started the machine and installed the packages
                inside = sum(step.task.seconds or 0 for step in ran)
                ran[0].task.seconds = round((ran[0].task.seconds or 0) + max(0, task.seconds - inside), 3)
            return ran
    return []


def _found(root: str, folder: str) -> list[str]:
    """Return the address of the record that a task has left which put nothing out."""
    bucket = storage.split(root)[0]
    below = storage.find(f"{root.rstrip('/')}/")
    return [f"gs://{bucket}/{blob.name}" for blob in below if blob.name.endswith(f"/{folder}/{RECORD}")]
