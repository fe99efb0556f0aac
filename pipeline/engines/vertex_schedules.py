"""The schedules of a pipeline: made in place of former ones, listed, and removed."""

import contextlib
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim
from google.api_core import exceptions as api

from pipeline import RequestError
from pipeline.engines.vertex_service import Service, first_line, is_own, label, may_have_arrived, named
from pipeline.loading import short_name
from pipeline.runs import Run

if TYPE_CHECKING:
    from pipeline.engines.vertex_job import Job


class Schedules:
    """The schedules in the project and region of a service."""

    def __init__(self, service: Service):
        self.service = service
        self.settings = service.settings

    def create(self, job: "Job", run: Run) -> tuple[str, list[datetime]]:
        """Create a schedule of a job in place of the identifier's former one for this pipeline.

        Args:
            job: What is run at its times.
            run: Names the job and its folder.

        Returns:
            The name of the schedule and its next three times.
        """
        cron, timezone = self.settings.schedule, self.settings.timezone
        with self.service.told("the schedule was not created"):
            former = self._found(run.identifier, run.pipeline)
        name = self._create(job, run, f"TZ={timezone} {cron}")
        try:
            self._delete([schedule for schedule in former if schedule.resource_name != name])
        except Exception as error:
            if is_own(error):
                raise
            raise RequestError(
                f"the schedule {name} was created, and the former one may be there, too:\n"
                f"{self.service.explained(error)}\nThen both will run. Remove them with --unschedule, "
                "then give --schedule again."
            ) from None
        return name, [*islice(CronSim(cron, datetime.now(ZoneInfo(timezone))), 3)]

    def _create(self, job: "Job", run: Run, cron: str) -> str:
        """Create a schedule and return its name; one that was created without an answer is not created twice.

        Raises:
            RequestError: it was not created, or that is not known.
        """
        run_id, may_be_there = label(run.run_id), False

        def failed(error: Exception) -> None:
            nonlocal may_be_there
            may_be_there = may_be_there or may_have_arrived(error)

        def made() -> list[str]:
            found = self._listed(run.identifier, run.pipeline)
            return [schedule.resource_name for schedule in found if _labels(schedule).get("run_id") == run_id]

        def create() -> str:
            if may_be_there and (there := made()):
                return there[0]
            created = self.service.sdk.PipelineJobSchedule(
                job, display_name=_display_name(run.identifier, run.pipeline)
            )
            created.create(cron, max_concurrent_run_count=1, service_account=self.settings.service_account)
            return created.resource_name

        try:
            return self.service.retried("create the schedule", create, read=named, failed=failed)
        except Exception as error:
            if may_be_there:
                try:
                    if there := self.service.retried("look for the schedule", made):
                        return there[0]
                except Exception:
                    raise RequestError(
                        f"it is not known whether the schedule was created: {first_line(error)}\n"
                        "A former one is still there. Remove all with --unschedule, then give --schedule again."
                    ) from None
            self.service.refuse("the schedule was not created", error)

    def remove(self, identifier: str, pipeline: str) -> int:
        """Delete the schedules of a pipeline under an identifier and return how many there were."""
        with self.service.told("the schedule was not removed"):
            schedules = self._found(identifier, pipeline)
            self._delete(schedules)
        return len(schedules)

    def _delete(self, schedules: list[Any]) -> None:
        for schedule in schedules:
            with contextlib.suppress(api.NotFound):  # an earlier try, or someone else, was faster
                self.service.retried("remove the schedule", schedule.delete)

    def _found(self, identifier: str, pipeline: str) -> list[Any]:
        assert self.service.sdk  # before the time of the call begins
        return self.service.retried("list the schedules", lambda: self._listed(identifier, pipeline))

    def _listed(self, identifier: str, pipeline: str) -> list[Any]:
        wanted = f'display_name="{_display_name(identifier, pipeline)}"'
        found = self.service.sdk.PipelineJobSchedule.list(filter=wanted)
        # the name of one identifier and pipeline may be that of two others
        labels = {"identifier": label(identifier), "pipeline": label(short_name(pipeline))}
        return [schedule for schedule in found if labels.items() <= _labels(schedule).items()]


def _labels(schedule: Any) -> dict[str, str]:
    """Return the labels of the jobs of a schedule."""
    return dict(schedule.gca_resource.create_pipeline_job_request.pipeline_job.labels)


def _display_name(identifier: str, pipeline: str) -> str:
    return f"{identifier}-{short_name(pipeline)}"
