"""The run folder and its run.json: what was asked, what ran, what came out."""

import contextlib
import hashlib
import html
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from pipeline import ROOT, RequestError, storage

if TYPE_CHECKING:
    import pandas as pd

State = Literal["running", "succeeded", "failed", "cancelled", "skipped"]
SPEC = "pipeline.yaml"  # in the run folder: what ran
LATEST = "latest"  # beside the run folders: a link to the newest
ERROR_LOG = Path("logs", "error.log")
INTERRUPTED = "interrupted by Ctrl-C"
PACKAGES = ("kfp", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub")


class Artifact(Protocol):
    """What an engine tells of an output artifact; kfp's own artifacts are such."""

    uri: str
    metadata: dict[str, Any]
    schema_title: str  # of its type, such as system.Metrics


class Task(BaseModel):
    """One task of a run; in a loop, one of its iterations."""

    name: str
    item: Any = None  # of the loop, or its place; None outside of loops
    path: str = ""  # names of the DAGs and numbers of the iterations around it, and its own: for-loop-1/3/train-model
    ambiguous: bool = False  # whether others have the same name and item
    state: State = "running"
    seconds: float | None = None
    cached: bool = False
    error: str | None = None
    reason: str | None = None  # why it was skipped
    log: str | None = None  # path or address
    outputs: dict[str, str] = Field(default_factory=dict)  # path or address of each output artifact
    values: dict[str, Any] = Field(default_factory=dict)  # of its output parameters: what the step has returned

    _artifacts: dict[str, Artifact] = PrivateAttr(default_factory=dict)

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """Its output artifacts by name, with their metadata; known while the run is recorded, not read back."""
        return self._artifacts

    @property
    def title(self) -> str:
        """What it is shown as: its name, in a loop with the item, or the path where others have the same."""
        if self.ambiguous:
            return self.path
        return self.name if self.item is None else f"{self.name}[{self.item}]"


class Data(BaseModel):
    """The table that a run read."""

    source: str
    fingerprint: str
    rows: int | None = None  # known once the table has been read
    duplicates: int | None = None  # test rows that stand in the training part as well; known once it has been split


class Git(BaseModel):
    """The state of the checkout that a run started from."""

    commit: str | None
    dirty: bool | None


class Run(BaseModel):
    """One run of a pipeline, as run.json holds it."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    identifier: str
    run_id: str
    pipeline: str
    engine: str
    status: State = "running"
    started: datetime
    finished: datetime | None = None
    seconds: float | None = None
    parameters: dict[str, Any]
    data: Data
    git: Git
    versions: dict[str, str]
    spec_sha256: str = ""
    profile: str | None = None  # of the machines; none on this one
    job: str | None = None  # its name at the service
    url: str | None = None  # of the job's page
    tasks: list[Task] = Field(default_factory=list)
    outputs: dict[str, Any] = Field(default_factory=dict)  # of the pipeline: parameters, and addresses of artifacts
    # these four and the counts of the data follow from the outputs of tasks: see pipeline.results
    metrics: dict[str, Any] | None = None
    model_file: str | None = Field(None, alias="model")  # its path or address
    report: str | None = None
    schema_file: str | None = Field(None, alias="schema")  # what the table's columns were; its path or address
    error: str | None = None  # of the engine itself; those of the tasks stand with the tasks

    _folder: Path = PrivateAttr()
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Its folder: runs/<identifier>/<run id>."""
        return self._folder

    @property
    def exit_status(self) -> int:
        """Exit status of the command that ran it: 0 done or running elsewhere, 1 failed, 130 interrupted."""
        if self.error == INTERRUPTED:
            return 130
        return 0 if self.status in ("succeeded", "running") and not self.error else 1

    def task(self, title: str) -> Task:
        """Return a task by its name, in a loop with the item, train-model[3], or by its path.

        Raises:
            RequestError: the run has no such task; the message lists those that it has.
        """
        found = [task for task in self.tasks if title and title in (task.title, task.path)]
        if not found:
            titles = ", ".join(task.title for task in self.tasks) or "none that started"
            raise RequestError(f"The run {self.run_id} has no task {title!r}. Its tasks are: {titles}.")
        return found[-1]  # one of a sub-pipeline that was tried again is there more than once

    def output(self, title: str, name: str) -> Path:
        """Return the path of a task's output artifact, which is fetched first where it is in a bucket.

        Raises:
            RequestError: there is no such task or output, or its file is gone.
        """
        task = self.task(title)
        if name not in task.outputs:
            outputs = ", ".join(task.outputs) or "none"
            raise RequestError(f"The task {title} of {self.run_id} has no output {name!r}. Its outputs are: {outputs}.")
        return self.here(task.outputs[name], self.folder / "artifacts" / _file_name(task) / name)

    def frame(self, title: str, name: str) -> "pd.DataFrame":
        """Return a table that a task wrote: run.frame("split-data", "test").

        Raises:
            RequestError: there is no such task or output, its file is gone, or it is no Parquet file.
        """
        import pandas as pd
        from pyarrow import ArrowException

        path = self.output(title, name)
        try:
            return pd.read_parquet(path)
        except (ArrowException, OSError) as error:
            raise RequestError(f"The output {name!r} of {title} is no table: {path}: {error}") from None

    def model(self) -> Any:
        """Return the model that the run has trained.

        Raises:
            RequestError: it has trained none, or its file is gone.
        """
        import joblib

        if self.model_file is None:
            raise RequestError(f"The run {self.run_id} has no model: it is {self.status}.")
        return joblib.load(self.here(self.model_file, self.folder / "artifacts" / Path(self.model_file).name))

    def _repr_html_(self) -> str:
        """Return the report, for a notebook; the state of the run where it has none."""
        path = self.folder / "report.html"
        if not path.exists():
            return f"<p>Run {html.escape(self.run_id)} of {html.escape(self.identifier)}: {self.status}, no report.</p>"
        page = html.escape(path.read_text("utf-8"))
        return f'<iframe srcdoc="{page}" style="width:100%;height:80vh;border:0" title="Report of the run"></iframe>'

    def here(self, uri: str, path: Path) -> Path:
        """Return where an artifact of the run is on this machine; an object of a bucket is brought to the path.

        Raises:
            RequestError: it is gone.
        """
        if storage.is_object(uri):
            try:
                return path if path.exists() else storage.fetch_all(uri, path)
            except FileNotFoundError as error:
                raise RequestError(f"{error} A task of the run {self.run_id} wrote it.") from None
        if not Path(uri).exists():
            raise RequestError(f"The file {uri} of the run {self.run_id} is gone.")
        return Path(uri)

    def begin(self, spec: Path) -> None:
        """Make the folder with the compiled spec and run.json, and point latest beside it to it."""
        (self.folder / "logs").mkdir(parents=True)
        shutil.copyfile(spec, self.folder / SPEC)
        self.spec_sha256 = hashlib.sha256(spec.read_bytes()).hexdigest()
        self.save()
        _link(self.folder)

    def log(self, task: Task) -> Path:
        """Return the path of a task's log, in a folder that is there."""
        path = self.folder / "logs" / f"{_file_name(task)}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def inputs(self, task: Task) -> Path:
        """Return the path of a task's inputs: KFP's ExecutorInput.Inputs as JSON, from which it can be replayed."""
        return self.folder / "inputs" / f"{_file_name(task)}.json"

    def keep_inputs(self, task: Task, inputs: dict[str, Any]) -> None:
        """Write down a task's inputs."""
        path = self.inputs(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(inputs), encoding="utf-8")

    def start(self, task: Task) -> None:
        """Record that a task has started."""
        with self._lock:
            self.tasks.append(task)
            self._write()

    def forget(self, path: str) -> None:
        """Forget the tasks of a DAG, which are tried again."""
        with self._lock:
            self.tasks = [task for task in self.tasks if not task.path.startswith(f"{path}/")]

    def end(self, task: Task, artifacts: Mapping[str, Artifact], values: Mapping[str, Any] | None = None) -> None:
        """Record how a task has ended.

        Args:
            task: The task, with its final state.
            artifacts: Its output artifacts by name.
            values: Its output parameters by name.
        """
        with self._lock:
            task.outputs = {name: artifact.uri for name, artifact in artifacts.items()}
            task._artifacts = dict(artifacts)
            task.values = dict(values or {})
            self._write()

    def finish(self, status: State) -> None:
        """Record how the run has ended, or that it goes on elsewhere."""
        with self._lock:
            self.status = status
            if status != "running":
                self.finished = self.finished or datetime.now(UTC)
                self.seconds = round((self.finished - self.started).total_seconds(), 3)
                for task in self.tasks:
                    if task.state == "running":
                        task.state = "cancelled"
            self._write()

    def save(self) -> None:
        """Write run.json."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        """Write run.json, so that a reader finds the old one or the new one, never a part."""
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
        os.replace(temporary, self.folder / "run.json")


def new(runs_dir: Path, identifier: str, **fields: Any) -> Run:
    """Return the record of a new run, which leaves nothing behind until it begins."""
    started = datetime.now(UTC)
    run = Run(
        identifier=identifier,
        # the last four digits are the second's 65,536th parts, so that ids sort by time
        run_id=f"{started:%Y%m%dT%H%M%S}-{started.microsecond * 65_536 // 1_000_000:04x}",
        started=started,
        git=_git(),
        versions={"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        **fields,
    )
    run._folder = runs_dir / identifier / run.run_id
    return run


def load(identifier: str, name: str = "latest", runs_dir: Path | None = None) -> Run:
    """Return a run by its name.

    Args:
        identifier: Identifier of the runs.
        name: Id of the run, the beginning of one, latest, or previous: the one before the latest.
        runs_dir: Folder of the runs; by default that of the settings.

    Raises:
        RequestError: there is no such run, or its record is damaged.
    """
    if runs_dir is None:
        from pipeline.settings import settle

        runs_dir = settle().runs_dir
    found = folders(runs_dir, identifier)
    places = {LATEST: 0, "previous": 1}
    if name in places:
        matching = found[places[name] : places[name] + 1]
    else:
        matching = [folder for folder in found if name and folder.name.startswith(name)]
    if len(matching) != 1:
        came = f"{len(matching)} runs" if matching else "no run"
        listed = ", ".join(folder.name for folder in found[:10]) + (", …" if len(found) > 10 else "")
        raise RequestError(f"{identifier} has {came} {name!r}. Its runs are, newest first: {listed}.")
    return read(matching[0])


def folders(runs_dir: Path, identifier: str) -> list[Path]:
    """Return the folders of an identifier's runs, newest first.

    Raises:
        RequestError: there are none.
    """
    of_identifier = runs_dir / identifier
    inner = [*of_identifier.iterdir()] if identifier and of_identifier.is_dir() else []
    found = sorted((path for path in inner if path.is_dir() and not path.is_symlink()), reverse=True)
    if not found:
        others = sorted(path.parent.name for path in runs_dir.glob(f"[!.]*/{LATEST}"))
        known = f" There are runs of: {', '.join(others)}." if others else " Start one: python run.py --identifier NAME"
        raise RequestError(f"There are no runs of {identifier!r} in {runs_dir}.{known}")
    return found


def read(folder: Path) -> Run:
    """Read the record of a run from its folder.

    Raises:
        RequestError: it is not there or is damaged.
    """
    try:
        run = Run.model_validate_json((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
        else:
            reason = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
        there = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ""
        raise RequestError(
            f"The record {folder / 'run.json'} cannot be read: {reason}.\n"
            f"In the folder are: {there or 'no files'}. Look at them there, or remove the folder."
        ) from None
    run._folder = folder
    return run


def of_job(runs_dir: Path, job: str) -> Run | None:
    """Return the record of the run that submitted a job, None if it was not from here."""
    job_id = job.rpartition("/")[2]  # a whole name may have the project's number in place of its id
    for path in runs_dir.glob("*/*/run.json"):
        if path.parent.name == LATEST:
            continue
        with contextlib.suppress(RequestError):  # a damaged record
            if (run := read(path.parent)).job and run.job.endswith(f"/{job_id}"):
                return run
    return None


def discard(run: Run) -> bool:
    """Remove the folder of a run unless it was started, that is, has a task or a job; return whether it is gone."""
    if run.tasks or run.job:
        return False
    shutil.rmtree(run.folder)
    of_identifier = run.folder.parent
    former = sorted(record.parent for record in of_identifier.glob("[!.]*/run.json") if record.parent.name != LATEST)
    if former:
        _link(former[-1])
        return True
    (of_identifier / LATEST).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: another run begins just now, or someone keeps files there
        of_identifier.rmdir()
    return True


def _file_name(task: Task) -> str:
    """Return the path of a task's files, without their ending."""
    if task.path:
        return task.path
    return task.name if task.item is None else f"{task.name}-{re.sub(r'[^A-Za-z0-9_.-]', '_', str(task.item))}"


def _link(folder: Path) -> None:
    """Point latest beside a run folder to it, in one step."""
    link = folder.with_name(f".latest-{folder.name}")
    link.symlink_to(folder.name)
    os.replace(link, folder.with_name(LATEST))


def _git() -> Git:
    """Return the commit of the checkout and whether it has changes; None where it is no git checkout."""
    try:
        answers = [
            subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=10, check=True)
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        ]
    except (OSError, subprocess.SubprocessError):
        return Git(commit=None, dirty=None)
    commit, changes = (answer.stdout.strip() for answer in answers)
    return Git(commit=commit, dirty=bool(changes))
