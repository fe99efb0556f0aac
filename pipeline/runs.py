"""The run folder and its run.json: what was asked, what ran, what came out."""

import contextlib
import getpass
import hashlib
import html
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from pipeline import ROOT, RequestError, ending, files, locks, run_folders, storage
from pipeline.answers import answers_told
from pipeline.run_folders import LATEST, LOCK, RUN_ID, TEMPORARY
from steps.tables.fingerprints import sha256

if TYPE_CHECKING:
    import pandas as pd

State = Literal["running", "succeeded", "failed", "cancelled", "skipped", "lost"]
RECORD = "run.json"  # in the run folder
SPEC = "pipeline.yaml"  # in the run folder: what ran
ERROR_LOG = Path("logs", "error.log")
RESERVE = 1 << 17  # bytes that are kept there, so that a run on a disk that is full can be recorded to its end
PACKAGES = ("kfp", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub")


class Artifact(Protocol):
    """What an engine tells of an output artifact; kfp's own artifacts are such."""

    uri: str
    metadata: dict[str, Any]
    schema_title: str  # of its type, such as system.Metrics


def _inside(name: str) -> str:
    if name.startswith("/") or {"..", "."} & {*name.split("/")} or "\0" in name:
        raise ValueError("expected a name that stays in its folder")
    return name


Name = Annotated[str, AfterValidator(_inside)]  # of files that are written below the run folder


class Task(BaseModel):
    """One task of a run; in a loop, one of its iterations."""

    name: Name
    item: Any = None  # of the loop, or its place; None outside of loops
    path: Name = ""  # names of the DAGs and numbers of the iterations around it, and its own: for-loop-1/3/train-model
    ambiguous: bool = False  # whether others have the same name and item
    state: State = "running"
    seconds: float | None = None
    cached: bool = False
    retries: int = 0  # how often it was tried again
    retried_for: str | None = None  # why, the last time
    error: str | None = None
    advice: str | None = None  # what to do about its failure, where its step is not to blame
    reason: str | None = None  # why it was skipped
    log: str | None = None  # path or address
    outputs: dict[Name, str] = Field(default_factory=dict)  # path or address of each output artifact
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

    @property
    def retried(self) -> str:
        """How often it was tried again, in words; empty where it was not."""
        return f"retried {self.retries}×" if self.retries else ""  # noqa: RUF001


class Data(BaseModel):
    """The table that a run read."""

    source: str
    fingerprint: str
    rows: int | None = None  # known once the table has been read
    duplicates: int | None = None  # test rows that stand in the training part as well; known once it has been split


class Verdict(BaseModel):
    """Whether the model of a run has become the champion of its identifier."""

    verdict: str  # promoted, kept or tie
    reasons: list[str]
    champion: str = ""  # the run whose model is the champion
    f1: dict[str, tuple[float, float]] = Field(
        default_factory=dict
    )  # of the former champion and of the run's, by class


class Candidate(BaseModel):
    """What a search has tried; see steps.searching.board."""

    name: str
    parameters: str  # in short
    rung: int  # the last one that it came to
    weight: float  # of its vote in the model; 0 where it has none
    score: float
    spread: float  # of the score
    seconds: float  # of all its rungs
    megabytes: float
    usd: float | None = None  # of these seconds on a machine of the service


class Predicted(BaseModel):
    """What a run has predicted."""

    file: str  # path or address of the predictions
    rows: int
    class_mix: dict[str, float]  # share of the rows that were predicted as each class
    drift: str = ""  # whether the rows have drifted from those in training, in words


class Used(BaseModel):
    """What a run on the service has used of its machines, and what that costs; see pipeline.prices."""

    seconds: dict[str, float]  # of machines by the task's name, those of a loop together
    machines: dict[str, str]  # type that each was priced as; "" where no price is known
    usd: float  # without those of no known price
    unpriced: list[str] = Field(default_factory=list)  # tasks on machines of no known price
    prices: str  # of which day and region


class Process(BaseModel):
    """The process that a run belongs to."""

    pid: int
    user: str
    host: str


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
    environment: str | None = None  # of the settings: what --env named
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
    used: Used | None = None  # of the service's machines; known once the job has ended
    tasks: list[Task] = Field(default_factory=list)
    outputs: dict[str, Any] = Field(default_factory=dict)  # of the pipeline: parameters, and addresses of artifacts
    # these eight and the counts of the data follow from the outputs of tasks: see pipeline.results
    metrics: dict[str, Any] | None = None
    model_file: str | None = Field(None, alias="model")  # its path or address
    verdict: Verdict | None = None
    predicted: Predicted | None = None
    leaderboard: list[Candidate] = Field(default_factory=list)  # of a search, the best first
    leaderboard_prices: str | None = None  # the machine and the prices that its costs are of
    report: str | None = None
    sha256: dict[str, str] = Field(default_factory=dict)  # of the model and the predictions, by path or address
    schema_file: str | None = Field(None, alias="schema")  # what the table's columns were; its path or address
    error: str | None = None  # of the engine itself; those of the tasks stand with the tasks
    process: Process | None = None

    _folder: Path = PrivateAttr()
    # a signal may end the run in the midst of its recording
    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _held: int | None = PrivateAttr(None)  # descriptor of the lock that tells that the process lives

    @property
    def folder(self) -> Path:
        """Its folder: runs/<identifier>/<run id>."""
        return self._folder

    @property
    def exit_status(self) -> int:
        """Exit status of the command that ran it: 0 done or running elsewhere, 1 failed, 130 ended by a signal."""
        if self.error in ending.SIGNALS.values():
            return ending.EXIT_STATUS
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
        """Return the model that the run has trained; loading one executes what its file says.

        Raises:
            RequestError: it has trained none, its file is gone, or it is not the one that the run has recorded.
        """
        import joblib

        if self.model_file is None:
            raise RequestError(f"The run {self.run_id} has no model: it is {self.status}.")
        path = self.here(self.model_file, self.folder / "artifacts" / Path(self.model_file).name)
        if self.model_file not in self.sha256 or not self.holds(path):
            why = "lies outside of the run" if self.model_file in self.sha256 else "has no SHA-256 in its record"
            raise RequestError(
                f"The model of {self.run_id} is not loaded, since it {why}: {self.model_file}\n"
                "If you trust the file, load it yourself by joblib.load."
            )
        return joblib.load(path)

    def _repr_html_(self) -> str:
        """Return the report, for a notebook, where no script of it can run; the state of a run that has none."""
        try:
            page = html.escape(files.text(self.folder / "report.html"))
        except files.Damaged:
            return f"<p>Run {html.escape(self.run_id)} of {html.escape(self.identifier)}: {self.status}, no report.</p>"
        style = "width:100%;height:80vh;border:0"
        return f'<iframe sandbox="" srcdoc="{page}" style="{style}" title="Report of the run"></iframe>'

    def here(self, uri: str, path: Path) -> Path:
        """Return where an artifact of the run is on this machine; an object of a bucket is brought to the path.

        Raises:
            RequestError: it is gone, or it is not what the run has recorded.
        """
        if not storage.is_object(uri):
            path = Path(uri)
        elif not path.exists():
            try:
                with answers_told(uri, "The object"):
                    storage.fetch_all(uri, path)
            except FileNotFoundError as error:
                raise RequestError(f"{error} A task of the run {self.run_id} wrote it.") from None
        if not os.path.exists(path):  # of a name that no file can have, too
            raise RequestError(f"The file {uri} of the run {self.run_id} is gone.")
        if not (path.is_file() or path.is_dir()):
            raise RequestError(f"The file {uri} of the run {self.run_id} is no regular file.")
        if uri in self.sha256 and (path.is_dir() or sha256(str(path)) != self.sha256[uri]):
            raise RequestError(
                f"The file {path} is not the one that the run {self.run_id} wrote: it has changed since."
            )
        return path

    def holds(self, path: Path) -> bool:
        """Return whether a path is in the run's folder, links followed."""
        try:
            return path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, ValueError, RuntimeError):  # a zero byte in it, or a circle of links
            return False

    @property
    def temporary(self) -> Path:
        """The folder of its temporary files, which is gone once it has ended."""
        return self.folder / TEMPORARY

    def begin(self, spec: Path | str) -> None:
        """Make the folder with the compiled spec and run.json, whole or not at all, and point latest beside it to it.

        The run gets a later id where its own is not the last of the identifier, as after a clock was set back: the
        latest run is the last to begin.

        Args:
            spec: The compiled spec, or the file that it is in.
        """
        compiled = spec.read_bytes() if isinstance(spec, Path) else spec.encode()
        self.spec_sha256 = hashlib.sha256(compiled).hexdigest()
        self.process = Process(pid=os.getpid(), user=_user(), host=socket.gethostname())
        ending.call(self.interrupt)
        try:
            with run_folders.alone(self.folder.parent) as of_identifier:
                run_folders.sweep(of_identifier)
                last = max(map(_name, run_folders.of(of_identifier)), default="")
                if self.run_id <= last:
                    self.run_id = run_folders.id_after(last)
                building, final = of_identifier / f".begin-{secrets.token_hex(4)}", of_identifier / self.run_id
                try:
                    self._folder = building
                    self.temporary.mkdir(parents=True)
                    (building / "logs").mkdir()
                    self._held = locks.take(building / LOCK)
                    files.write(building / SPEC, compiled)
                    self._write()
                    with contextlib.suppress(OSError):  # there is room for the run, and none for a reserve
                        files.write(self.temporary / "reserve", bytes(RESERVE))
                    self._folder = final
                    os.rename(building, final)
                    run_folders.link_latest(final)
                finally:
                    self._folder = final
                    shutil.rmtree(building, ignore_errors=True)
        except BaseException:
            ending.forget(self.interrupt)
            raise

    def interrupt(self, reason: str) -> None:
        """Record that a signal ends the command: a job on a service runs on, anything else is cancelled."""
        if self.status == "running":
            self.error = reason
            self.finish("running" if self.job else "cancelled")

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
        files.write(path, json.dumps(inputs))

    def start(self, task: Task) -> None:
        """Record that a task has started."""
        with self._lock:
            self.tasks.append(task)
            self._write()

    def forget(self, path: str) -> None:
        """Forget the tasks of a DAG, which are tried again."""
        with self._lock:
            self.tasks = [task for task in self.tasks if not task.path.startswith(f"{path}/")]

    def remove(self, task: Task) -> None:
        """Take a task out of the record: a fused one, whose steps come in its place."""
        with self._lock:
            self.tasks = [other for other in self.tasks if other is not task]

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
            try:
                self._write()  # before the temporary files are removed, which may take its time
            except OSError:  # they and the reserve are in the way on a disk that is full
                shutil.rmtree(self.temporary, ignore_errors=True)
                self._write()
            ending.forget(self.interrupt)
            if self._held is not None:
                os.close(self._held)
                self._held = None
        shutil.rmtree(self.temporary, ignore_errors=True)

    def save(self) -> None:
        """Write run.json."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        """Write run.json, so that a reader finds the old one or the new one, never a part."""
        files.write(self.folder / RECORD, self.model_dump_json(indent=2) + "\n")


def new(runs_dir: Path, identifier: str, **fields: Any) -> Run:
    """Return the record of a new run, which leaves nothing behind until it begins."""
    started = datetime.now(UTC)
    run = Run(
        identifier=identifier,
        run_id=run_folders.id_of(started),
        started=started,
        git=git_state(),
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
    found = run_folders.of(runs_dir / identifier) if identifier else []
    if not found:
        others = sorted(path.parent.name for path in runs_dir.glob(f"[!.]*/{LATEST}"))
        known = f" There are runs of: {', '.join(others)}." if others else " Start one: python run.py --identifier NAME"
        raise RequestError(f"There are no runs of {identifier!r} in {runs_dir}.{known}")
    return sorted(found, reverse=True)


def read(folder: Path) -> Run:
    """Read the record of a run from its folder; one whose process ended without a word is lost.

    Raises:
        RequestError: it is not there, is damaged, or is that of another run.
    """
    try:
        run = files.read(folder / RECORD, Run)
        if (run.identifier, run.run_id) != (folder.parent.name, folder.name):
            raise files.Damaged(f"it is that of another run, {run.run_id[:40]} of {run.identifier[:40]}")
    except files.Damaged as error:
        there = ", ".join(sorted(map(_name, folder.iterdir()))[:20]) if folder.is_dir() else ""
        raise RequestError(
            f"The record {folder / RECORD} cannot be read: {error}.\n"
            f"In the folder are: {there or 'no files'}. Look at them there, or remove the folder."
        ) from None
    run._folder = folder
    if run.status == "running" and not run.job and not locks.is_held(folder / LOCK):
        _lose(run)
    return run


def _lose(run: Run) -> None:
    """Say of a run that its process is gone."""
    run.status = "lost"
    for task in run.tasks:
        if task.state == "running":
            task.state = "lost"
    whose = f"{run.process.pid} of {run.process.user} on {run.process.host}" if run.process else "of it"
    written = (run.folder / RECORD, *run.folder.glob("logs/**/*.log"))
    last = max((path.stat().st_mtime for path in written if path.exists()), default=run.started.timestamp())
    since = datetime.fromtimestamp(last).astimezone()
    run.error = f"the process {whose} ended without a word; it was last heard of at {since:%Y-%m-%d %H:%M:%S %Z}"


def of_job(runs_dir: Path, job: str) -> Run | None:
    """Return the record of the run that submitted a job, None if it was not from here."""
    job_id = job.rpartition("/")[2]  # a whole name may have the project's number in place of its id
    for path in runs_dir.glob(f"[!.]*/*/{RECORD}"):
        if not RUN_ID.fullmatch(path.parent.name):
            continue
        with contextlib.suppress(RequestError):  # a damaged record
            if (run := read(path.parent)).job and run.job.endswith(f"/{job_id}"):
                return run
    return None


def discard(run: Run) -> bool:
    """Remove the folder of a run unless it was started, that is, has a task or a job; return whether it is gone."""
    if run.tasks or run.job:
        return False
    ending.forget(run.interrupt)
    of_identifier = run.folder.parent
    with contextlib.suppress(FileNotFoundError), locks.locked(of_identifier):
        shutil.rmtree(run.folder)
        if former := run_folders.of(of_identifier):
            run_folders.link_latest(max(former))
            return True
        (of_identifier / LATEST).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: someone keeps files there
            of_identifier.rmdir()
    return True


def _file_name(task: Task) -> str:
    """Return the path of a task's files, without their ending."""
    if task.path:
        return task.path
    return task.name if task.item is None else f"{task.name}-{re.sub(r'[^A-Za-z0-9_.-]', '_', str(task.item))}"


def _name(path: Path) -> str:
    return path.name


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return str(os.getuid())


def git_state() -> Git:
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
