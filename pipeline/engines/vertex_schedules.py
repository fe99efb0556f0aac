"""The schedules of a pipeline: made in place of one's former ones, listed, and removed.

What the service makes of a schedule are jobs of their own, each with its id and its folder below the schedules' one.
"""

import contextlib
import getpass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim
from google.api_core import exceptions as api

from pipeline import RequestError, console
from pipeline.engines.vertex_service import Service, first_line, is_own, label, may_have_arrived, named
from pipeline.loading import short_name
from pipeline.runs import Run

if TYPE_CHECKING:
    from pipeline.engines.vertex_job import Job

FOLDER = "scheduled"  # of an identifier, in the bucket: the service gives each job its own below it


def labels(of_run: dict[str, str]) -> dict[str, str]:
    """Return the labels of the jobs of a schedule: the moment's run is none of theirs, but a mark of the schedule."""
    kept = {key: value for key, value in of_run.items() if key != "run_id"}
    return kept | {"schedule": of_run["run_id"], "user": _user()}


def _user() -> str:
    try:
        return label(getpass.getuser())
    except (OSError, KeyError, ImportError):  # the machine knows no name
        return "unknown"


class Schedules:
    """The schedules in the project and region of a service."""

    def __init__(self, service: Service):
        self.service = service
        self.settings = service.settings

    def create(self, job: "Job", run: Run) -> tuple[str, list[datetime]]:
        """Create a schedule of a job in place of the user's former one of the identifier for this pipeline.

        Args:
            job: What is run at its times.
            run: Names the job and its folder.

        Returns:
            The name of the schedule and its next three times.

        Raises:
            RequestError: it was not created, or that is not known; or another user has one.
        """
        cron, timezone = self.settings.required("schedule"), self.settings.timezone
        with self.service.told("the schedule was not created"):
            former = self._found(run.identifier, run.pipeline)
        for schedule in former:
            if _owner(schedule) != _user():
                raise RequestError(
                    f"{_owner(schedule)} has a schedule of {run.identifier} for {short_name(run.pipeline)}: "
                    f"{schedule.gca_resource.cron}\nBoth would run. Take another --identifier, "
                    f"or agree on one and remove that at {self._url(schedule)}"
                )
        name = self._create(job, run, f"TZ={timezone} {cron}")
        try:
            replaced = [schedule for schedule in former if schedule.resource_name != name]
            self._delete(replaced)
        except Exception as error:
            if is_own(error):
                raise
            raise RequestError(
                f"the schedule {name} was created, and the former one may be there, too:\n"
                f"{self.service.explained(error)}\nThen both will run. Remove them with --unschedule, "
                "then give --schedule again."
            ) from None
        for schedule in replaced:
            console.show(f"Replaced {schedule.resource_name}")
        return name, [*islice(CronSim(cron, datetime.now(ZoneInfo(timezone))), 3)]

    def _create(self, job: "Job", run: Run, cron: str) -> str:
        """Create a schedule and return its name; one that was created without an answer is not created twice.

        Raises:
            RequestError: it was not created, or that is not known.
        """
        mark, may_be_there = label(run.run_id), False

        def failed(error: Exception) -> None:
            nonlocal may_be_there
            may_be_there = may_be_there or may_have_arrived(error)

        def made() -> list[str]:
            found = self._listed(run.identifier, run.pipeline)
            return [schedule.resource_name for schedule in found if _labels(schedule).get("schedule") == mark]

        def create() -> str:
            if may_be_there and (there := made()):
                return there[0]
            return job.schedule(_display_name(run.identifier, run.pipeline), cron)

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
        """Delete the user's schedules of a pipeline under an identifier and return how many there were."""
        with self.service.told("the schedule was not removed"):
            found = self._found(identifier, pipeline)
            own = [schedule for schedule in found if _owner(schedule) == _user()]
            self._delete(own)
        for schedule in found:
            if schedule not in own:
                console.show(f"That of {_owner(schedule)} stays. Agree, and remove it at {self._url(schedule)}")
        return len(own)

    def _delete(self, schedules: list[Any]) -> None:
        for schedule in schedules:
            with contextlib.suppress(api.NotFound):  # an earlier try, or someone else, was faster
                self.service.retried("remove the schedule", schedule.delete)

    def _found(self, identifier: str, pipeline: str) -> list[Any]:
        assert self.service.sdk  # before the time of the call begins
        return self.service.retried("list the schedules", lambda: self._listed(identifier, pipeline))

    def _url(self, schedule: Any) -> str:
        """Return the web address of a schedule."""
        place = f"locations/{self.settings.region}/pipelines/schedules/{schedule.resource_name.rpartition('/')[2]}"
        return f"https://console.cloud.google.com/vertex-ai/{place}?project={self.settings.project}"

    def _listed(self, identifier: str, pipeline: str) -> list[Any]:
        wanted = f'display_name="{_display_name(identifier, pipeline)}"'
        found = self.service.sdk.PipelineJobSchedule.list(filter=wanted)
        # the name of one identifier and pipeline may be that of two others
        known = {"identifier": label(identifier), "pipeline": label(short_name(pipeline))}
        return [schedule for schedule in found if known.items() <= _labels(schedule).items()]


def _labels(schedule: Any) -> dict[str, str]:
    """Return the labels of the jobs of a schedule."""
    return dict(schedule.gca_resource.create_pipeline_job_request.pipeline_job.labels)


def _owner(schedule: Any) -> str:
    """Return who made a schedule."""
    return _labels(schedule).get("user", "somebody")


def _display_name(identifier: str, pipeline: str) -> str:
    return f"{identifier}-{short_name(pipeline)}"
