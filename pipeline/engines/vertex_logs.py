"""The logs of the custom jobs that the tasks of a pipeline job run in, as Cloud Logging has them."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from pipeline.engines.vertex_service import Service

WORKER = "workerpool0-0"  # the replica that a step runs in; the service's own lines, which come last, are of "service"
SERVICE = "service"
PAGE = 100  # entries
MAX_PAGES = 10
TRACEBACK = "Traceback (most recent call last):"


class Logs:
    """Reads what custom jobs have logged. What cannot be read is not there, but for what is refused."""

    def __init__(self, service: Service):
        self._service = service

    def address(self, custom_job: str) -> str:
        """Return the web address of a job's log."""
        place = f"https://console.cloud.google.com/logs/query;query={quote(_query(custom_job), safe='')}"
        return f"{place}?project={self._service.settings.project}"

    def worker(self, custom_job: str) -> list[str]:
        """Return the last lines that a job's step has printed, back to its last traceback where there is one.

        Raises:
            Exception: what the service says, where it refuses the log.
        """
        return self._lines(_query(custom_job, task_name=WORKER), MAX_PAGES)

    def errors(self, custom_job: str) -> list[str]:
        """Return what the service itself has to say of a job that failed, such as that its memory ran out.

        Raises:
            Exception: what the service says, where it refuses the log.
        """
        return self._lines(f"{_query(custom_job, task_name=SERVICE)} severity>=ERROR", 1)

    def newest(self, custom_job: str) -> datetime | None:
        """Return the time of the last entry of a job's log.

        Raises:
            Exception: what the service says, where it refuses the log.
        """
        found = self._page(_query(custom_job), "", size=1, attempts=1)[0]
        return datetime.fromisoformat(found[0]["timestamp"].replace("Z", "+00:00")) if found else None

    def _lines(self, query: str, pages: int) -> list[str]:
        lines: list[str] = []
        token = ""
        for _ in range(pages):
            entries, token = self._page(query, token)
            lines = [line for entry in reversed(entries) for line in _text(entry).splitlines()] + lines
            if not token or any(line.strip() == TRACEBACK for line in lines):
                break
        return lines

    def _page(
        self, query: str, token: str, size: int | None = None, attempts: int = 3
    ) -> tuple[list[dict[str, Any]], str]:
        """Return some entries, the newest first, and what the next page is asked for by, "" for none."""
        settings = self._service.settings
        base = settings.api_endpoint if self._service.is_local else "https://logging.googleapis.com"
        body = {
            "resourceNames": [f"projects/{settings.project}"],
            "filter": query,
            "orderBy": "timestamp desc",
            "pageSize": size or PAGE,
        } | ({"pageToken": token} if token else {})

        def ask() -> Any:
            reply = self._service.session.post(f"{base}/v2/entries:list", json=body, timeout=30)
            reply.raise_for_status()
            return reply

        def read(reply: Any) -> tuple[list[dict[str, Any]], str]:
            answer = reply.json()
            return [dict(entry) for entry in answer.get("entries", [])], answer.get("nextPageToken", "")

        try:
            return self._service.retried("read the log of the task", ask, read=read, attempts=attempts)
        except Exception as error:  # what it would have told is not needed to go on
            if getattr(getattr(error, "response", None), "status_code", None) == 403:
                raise
            return [], ""


def _query(custom_job: str, **labels: str) -> str:
    named = {"job_id": custom_job.rpartition("/")[2]} | labels
    return " ".join(['resource.type="ml_job"', *(f'resource.labels.{name}="{value}"' for name, value in named.items())])


def _text(entry: dict[str, Any]) -> str:
    payload = entry.get("jsonPayload")
    return str(entry.get("textPayload") or (payload.get("message", "") if isinstance(payload, dict) else ""))
