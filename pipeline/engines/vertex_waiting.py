"""A job or a task that does not get on is told, once, with what to look at."""

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

from pipeline.engines import Progress
from pipeline.engines.vertex_failures import quotas
from pipeline.engines.vertex_logs import Logs
from pipeline.engines.vertex_service import Service, state_of

WAITING = 300.0  # seconds without a machine
SILENT = 1800.0  # seconds without a line in the log
PAUSE = 60.0  # seconds between two questions about the job of a task
LOG_PAUSE = 600.0  # and about its log: Cloud Logging takes 60 a minute


class Watch:
    """Looks after the tasks of one job that have not ended. What it asks for and is not given, it does without."""

    def __init__(self, service: Service, logs: Logs, progress: Progress):
        self._service, self._logs, self._progress = service, logs, progress
        self._told: set[tuple[int, str]] = set()
        self._asked: dict[tuple[int, str], float] = {}  # when a task was last asked after
        self._runs: set[str] = set()  # custom jobs that have a machine
        self._has_told_quota = False

    def look_at_job(self, job: Any) -> None:
        """Look at a job that has not begun."""
        since = job.create_time
        if state_of(job) in ("PIPELINE_STATE_QUEUED", "PIPELINE_STATE_PENDING") and _is_past(since, WAITING):
            self._tell(0, "waits", f"The job is waiting to begin since {_clock(since)}.")

    def look(self, title: str, detail: Any, custom_job: str) -> None:
        """Look at a task that is pending or running.

        Args:
            title: What it is shown as.
            detail: What the service shows of it.
            custom_job: The job that it runs in, "" where there is none yet.
        """
        since = detail.start_time or detail.create_time
        if not _is_past(since, min(WAITING, SILENT)):
            return
        if not custom_job:
            self._waits(title, detail.task_id, since, "")
            return
        with contextlib.suppress(Exception):  # it may be neither allowed nor answered
            if custom_job not in self._runs and self._is_due(detail.task_id, "job", PAUSE):
                if not self._has_begun(custom_job):
                    self._waits(title, detail.task_id, since, custom_job)
                    return
                self._runs.add(custom_job)
            if custom_job in self._runs and self._is_due(detail.task_id, "log", LOG_PAUSE):
                newest = self._logs.newest(custom_job)
                if newest and _is_past(newest, SILENT):
                    look = f"Look at its log: {self._logs.address(custom_job)}"
                    self._tell(detail.task_id, "log", f"{title} has logged nothing since {_clock(newest)}. {look}")

    def _is_due(self, task_id: int, what: str, pause: float) -> bool:
        """Return whether to ask for something again, and remember that it was."""
        now = time.monotonic()
        if now - self._asked.get((task_id, what), -pause) < pause:
            return False
        self._asked[task_id, what] = now
        return True

    def _has_begun(self, custom_job: str) -> bool:
        address = f"{self._service.settings.address_of_vertex}/v1/{custom_job}"

        def ask() -> Any:
            reply = self._service.session.get(address, timeout=30)
            reply.raise_for_status()
            return reply

        def read(reply: Any) -> bool:
            return reply.json().get("state") not in ("JOB_STATE_QUEUED", "JOB_STATE_PENDING")

        return self._service.retried("look at the job of the task", ask, read=read, attempts=1)

    def _waits(self, title: str, task_id: int, since: datetime, custom_job: str) -> None:
        if not _is_past(since, WAITING):
            return
        settings = self._service.settings
        told = f"{title}: waiting for a machine since {_clock(since)}."
        if custom_job:
            place = f"locations/{settings.region}/training/{custom_job.rpartition('/')[2]}?project={settings.project}"
            told += f" Its job: https://console.cloud.google.com/agent-platform/{place}"
        if (task_id, "waits") not in self._told and not self._has_told_quota:
            self._has_told_quota = True
            told += f"\nThe project's quota: {quotas(settings.project)}"
        self._tell(task_id, "waits", told)

    def _tell(self, task_id: int, what: str, message: str) -> None:
        if (task_id, what) not in self._told:
            self._told.add((task_id, what))
            self._progress.note(message)


def _is_past(moment: datetime | None, seconds: float) -> bool:
    return moment is not None and (datetime.now(UTC) - moment).total_seconds() > seconds


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M}"
