"""Placeholders: what {{$.…}} in the spec's own texts stands for. Texts that tasks put out are never looked into."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.engines.interpreter.values import SpecError, text

_PLACEHOLDER = re.compile(
    r"\{\{\$\.(?:inputs\.parameters\[(?P<quote>['\"])(?P<input>.+?)(?P=quote)\]|(?P<name>\w+))\}\}"
)


@dataclass(frozen=True)
class Job:
    """The run as its placeholders name it."""

    name: str
    resource_name: str
    uuid: str
    root: str
    created: str  # in UTC, as in RFC 3339

    @classmethod
    def of_run(cls, pipeline: str, run_id: str, root: str, created: datetime | None = None) -> "Job":
        """Return the names of a run on this machine."""
        name = f"{pipeline}-{run_id}"
        return cls(name, name, run_id, root, (created or datetime.now(UTC)).isoformat(timespec="seconds"))

    def names(self, task: str, path: str) -> dict[str, str]:
        """Return what the placeholders of a task stand for, besides its inputs."""
        return {
            "pipeline_job_name": self.name,
            "pipeline_job_resource_name": self.resource_name,
            "pipeline_job_uuid": self.uuid,
            "pipeline_task_name": task,
            "pipeline_task_uuid": f"{self.uuid}/{path}",
            "pipeline_root": self.root,
            "pipeline_job_create_time_utc": self.created,
            "pipeline_job_schedule_time_utc": self.created,
        }


def expanded(value: Any, names: Mapping[str, str], inputs: Mapping[str, Any]) -> Any:
    """Return a constant of the spec with its placeholders filled in.

    Args:
        value: A text, or a list or an object of such.
        names: Values by the placeholders' names, as from Job.names.
        inputs: Parameters that {{$.inputs.parameters['…']}} may name.

    Raises:
        SpecError: a placeholder names an input that there is not.
    """
    if isinstance(value, list):
        return [expanded(item, names, inputs) for item in value]
    if isinstance(value, dict):
        return {expanded(key, names, inputs): expanded(item, names, inputs) for key, item in value.items()}
    if not isinstance(value, str) or "{{$." not in value:
        return value

    def found(match: re.Match[str]) -> str:
        if match["input"] is None:
            return names.get(match["name"], match[0])
        if match["input"] not in inputs:
            raise SpecError(f"the placeholder {match[0]} names an input that has no value")
        return text(inputs[match["input"]])

    return _PLACEHOLDER.sub(found, value)
