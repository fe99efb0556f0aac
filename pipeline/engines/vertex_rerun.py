"""A job that is started again as it was: what has succeeded comes from the service's cache."""

from typing import Any

from google.cloud.aiplatform_v1.types import PipelineJob

from pipeline.engines.vertex_service import Service

# what a job was asked for; all else is the service's own
ASKED = (
    "display_name",
    "pipeline_spec",
    "runtime_config",
    "encryption_spec",
    "service_account",
    "network",
    "reserved_ip_ranges",
    "psc_interface_config",
    "template_uri",
)
BILLING = "vertex-ai-pipelines-run-billing-id"  # a label of the service's own


class Again:
    """The copy of a job, to be created as pipeline.engines.vertex_job.Job is."""

    def __init__(self, service: Service, former: Any, job_id: str, run_id: str):
        """Make the copy.

        Args:
            service: The service.
            former: The job, as the service has it.
            job_id: Id of the new one.
            run_id: Its label of this name.
        """
        self._service, self._job_id = service, job_id
        self._job = PipelineJob(
            labels={key: value for key, value in former.labels.items() if key != BILLING} | {"run_id": run_id}
        )
        copied, pb = PipelineJob.pb(self._job), PipelineJob.pb(former)
        for name in ASKED:
            value = getattr(pb, name)
            if isinstance(value, str):
                setattr(copied, name, value)
            elif name == "reserved_ip_ranges":
                copied.reserved_ip_ranges.extend(value)
            elif pb.HasField(name):
                getattr(copied, name).CopyFrom(value)

    def create(self, service_account: str | None = None) -> str:
        """Create the job and return the name that the service gives it."""
        if service_account:
            self._job.service_account = service_account
        created = self._service.jobs.create_pipeline_job(
            parent=self._service.parent, pipeline_job=self._job, pipeline_job_id=self._job_id
        )
        name: str = created.name
        return name
