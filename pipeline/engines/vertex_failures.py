"""Why a task of a job failed: what its step raised, at the user's line, or what the service says, and what to do."""

import ast
import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import files, graph
from pipeline.engines.vertex_logs import TRACEBACK, Logs
from pipeline.engines.vertex_service import Service, first_line
from pipeline.runs import SPEC, Run, Task

N_LAST_LINES = 5  # of a log without a traceback
MAX_LINES = 20  # of what was raised, its notes among them
EXITED = re.compile(r"exited with a non-zero status")  # all that the service knows of a step that raised
NOISE = re.compile(r"Task completed\. Exit code|\[KFP Executor |\[notice\]|WARNING: Running pip as |\s*$")
FRAME = re.compile(r'\s+File "(?P<file>[^"]*)", line (?P<line>\d+)(?:, in (?P<function>.*))?')
OF_JAVA = re.compile(r"[\w.]+Exception: code=(\w+), message=(.*?), cause=")
QUOTA = re.compile(r"RESOURCE_EXHAUSTED|quota metrics? exceed", re.IGNORECASE)
IMAGE = re.compile(r"pull(ing)? (the )?image|ImagePull|manifest unknown", re.IGNORECASE)
INTERNAL = re.compile(r"internal error|code=INTERNAL|UNAVAILABLE|preempted", re.IGNORECASE)
MEMORY = re.compile(r"low on memory|out[- ]of[- ]memory|OOMKilled|status of 137|SIGKILL", re.IGNORECASE)
SOURCE = "ephemeral_component.py"  # the file that KFP's command writes a step's source to


class Failures:
    """Explains the failed tasks of one job."""

    def __init__(self, service: Service, run: Run):
        self._service, self._run = service, run
        self.logs = Logs(service)

    def explain(self, task: Task, step: str, message: str, custom_job: str) -> None:
        """Record why a task failed, where its log is, and what to do where it is not the step that failed.

        Args:
            task: The task.
            step: Name of its executor.
            message: What the service says.
            custom_job: Name of the job that it ran in, "" where there was none.
        """
        lines: list[str] = []
        errors: list[str] = []
        refused = ""
        if custom_job:
            task.log = self.logs.address(custom_job)
            try:
                lines = self.logs.worker(custom_job)
                # what it says of the step's own end is the message, sometimes with the traceback
                errors = [error for error in self.logs.errors(custom_job) if error and not EXITED.search(error)]
            except Exception as error:
                refused = f"\nIts log is refused: {first_line(error)}\n{self._grant}"
        if lines:
            files.write(self._run.log(task), "\n".join(lines) + "\n")
        says, _, within = message.partition(TRACEBACK)
        found = OF_JAVA.search(says)
        says = f"{found[1]}: {found[2]}" if found else says.strip() or "it failed without a message"
        told = [error for error in dict.fromkeys(error.splitlines()[0] for error in errors) if error not in says]
        task.advice = self._advice("\n".join([says, *told]), custom_job)
        reason = self._raised(lines, step) or (self._raised([TRACEBACK, *within.splitlines()], step) if within else "")
        if reason and not task.advice:
            task.error = "\n".join([reason, *([] if EXITED.search(says) else [says]), *told])
        else:
            last = [line for line in lines if not NOISE.match(line)][-N_LAST_LINES:]
            task.error = "\n".join([says, *told, *([] if task.advice else last)]) + refused

    def reason(self, custom_job: str, step: str) -> str:
        """Return what the step of an attempt that failed has raised, "" where that is not known."""
        try:
            return self._raised(self.logs.worker(custom_job), step)
        except Exception:  # the log is refused, which is told where the task fails
            return ""

    @property
    def _grant(self) -> str:
        grant = f"gcloud projects add-iam-policy-binding {self._service.settings.project} --member=user:YOU"
        return f"Ask for the right to read it: {grant} --role=roles/logging.viewer"

    def _advice(self, says: str, custom_job: str) -> str | None:
        """Return what to do about a failure that is not the step's, by what the service says of it."""
        settings = self._service.settings
        if QUOTA.search(says):
            return (
                f"{settings.region} has too little of it for this project. Run fewer at once: --parallelism N. Or take "
                f"smaller machines: --profile small.\nSee the quota, and ask for more: {quotas(settings.project)}"
            )
        if IMAGE.search(says):
            return (
                "Is the image there, and may the service's agents read it (roles/artifactregistry.reader)? "
                "--base-image names another."
            )
        if MEMORY.search(says):
            return "Give it more memory: a larger --profile."
        if not custom_job or INTERNAL.search(says):
            return f"Start again from the tasks that succeeded: python -m pipeline rerun {self._run.job}"
        return None

    def _raised(self, lines: list[str], step: str) -> str:
        try:
            container = graph.containers(graph.load(self._run.folder / SPEC)).get(step, {"command": [""]})
            return raised(lines, container["command"][-1])
        except Exception:  # a log may hold anything, and the spec may be gone
            return ""


def quotas(project: str | None) -> str:
    """Return the web address of a project's quotas."""
    return f"https://console.cloud.google.com/iam-admin/quotas?project={project}"


@dataclass(frozen=True)
class _Frame:
    file: str
    line: int
    function: str
    code: str

    @property
    def is_own(self) -> bool:
        """Whether it is of what the spec ships: its source, or a module, which has a relative name."""
        return Path(self.file).name == SOURCE or not self.file.startswith(("/", "<frozen"))


def raised(lines: list[str], source: str) -> str:
    """Return what a step has raised by the last traceback of its log, "" where there is none.

    It reads as the local engine has it: a ValueError that the step raised itself is its own word and stands alone, of
    all else the type and the line of the user's are told, too. What a later handler added as notes stays.

    Args:
        lines: The log.
        source: The source of the step.
    """
    begins = [place for place, line in enumerate(lines) if line.strip() == TRACEBACK]
    if not begins:
        return ""
    frames: list[_Frame] = []
    rest = lines[begins[-1] + 1 :]
    while rest and (not rest[0].strip() or rest[0].startswith(" ")):
        line = rest.pop(0)
        if found := FRAME.match(line):
            code = rest[0].strip() if rest and rest[0].startswith("    ") and not FRAME.match(rest[0]) else ""
            frames.append(_Frame(found["file"], int(found["line"]), found["function"] or "", code))
    rest = [line for line in rest if not NOISE.match(line)][:MAX_LINES]
    if not rest:
        return ""
    kind, _, message = rest[0].partition(": ")
    own = [frame for frame in frames if frame.is_own]
    if kind == "ValueError" and message and own and own[-1] is frames[-1] and own[-1].code.startswith("raise"):
        return "\n".join([message, *rest[1:]])
    told = [f"{kind.rpartition('.')[2]}: {message}" if message else kind.rpartition(".")[2], *rest[1:]]
    if own:
        told.append(f"  {_place(own[-1], source)} in {own[-1].function}: {own[-1].code}")
    return "\n".join(told)


def _place(frame: _Frame, source: str) -> str:
    """Return the file and the line of a frame as the user wrote them, where they still stand so."""
    file, line = frame.file, frame.line
    if Path(file).name != SOURCE:
        origin: Any = _origins(source).get(file)
    else:
        nodes = [node for node in ast.parse(source).body if node.lineno <= line <= (node.end_lineno or 0)]
        name = getattr(nodes[0], "name", "") if nodes else ""
        file = f"<{name or frame.function}>"
        origin = _origins(source).get(name)
        line += origin[1] - nodes[0].lineno if origin else 0
    place = origin[0] if origin else file
    return f"{os.path.relpath(place) if os.path.isabs(place) else place}:{line}"


def _origins(source: str) -> dict[str, tuple[str, int]]:
    from pipeline.engines.local import origins  # which takes its time to import, and few jobs fail

    with contextlib.suppress(Exception):  # it looks at what is imported here
        return origins(source)
    return {}
