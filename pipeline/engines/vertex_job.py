"""The SDK's PipelineJob, placed where the settings want it and submitted without its own look at the bucket."""

from typing import Any

from google.cloud import aiplatform_v1, aiplatform_v1beta1
from google.cloud.aiplatform import Experiment, PipelineJob, initializer, utils

from pipeline.settings import Settings

WAIT_FOR_RESOURCE = 3_600_000  # milliseconds that a task waits for a machine of a persistent resource


# the SDK knows the kind from PipelineJob itself
class Job(PipelineJob, experiment_loggable_schemas=()):  # type: ignore[arg-type]
    """A job whose submission asks for the job only.

    The SDK's own creates a missing bucket first, asks Cloud Resource Manager and waits 50 s where that cannot be
    reached, and swallows every error of it (google-cloud-aiplatform 1.165.1); the engine's checks have looked.
    """

    def place(self, settings: Settings) -> None:
        """Say where the tasks run and as whom; the encryption key is one of the constructor's arguments."""
        resource = self._gca_resource
        resource.service_account = settings.service_account or ""
        resource.network = settings.network or ""
        resource.reserved_ip_ranges = settings.ip_ranges
        if settings.psc_attachment:
            resource.psc_interface_config = aiplatform_v1.PscInterfaceConfig(network_attachment=settings.psc_attachment)
        self.persistent_resource = settings.name_of_persistent_resource

    def create(self) -> str:
        """Create the job and return the name that the service gives it."""
        created = self._in_version(self.api_client).create_pipeline_job(
            parent=self._parent, pipeline_job=self._resource(), pipeline_job_id=self.job_id
        )
        name: str = created.name
        return name

    def schedule(self, display_name: str, cron: str) -> str:
        """Create a schedule of such jobs, one at a time, and return the name that the service gives it.

        The SDK's own leaves out the name of the jobs and the attachment of their network.
        """
        types = aiplatform_v1beta1 if self.persistent_resource else aiplatform_v1
        schedule = types.Schedule(
            display_name=display_name,
            cron=cron,
            create_pipeline_job_request=types.CreatePipelineJobRequest(
                parent=self._parent, pipeline_job=self._resource()
            ),
            max_concurrent_run_count=1,  # of those that are being started
            max_concurrent_active_run_count=1,  # of those that have not ended
        )
        client = initializer.global_config.create_client(client_class=utils.ScheduleClientWithOverride)
        created = self._in_version(client).create_schedule(parent=self._parent, schedule=schedule)
        name: str = created.name
        return name

    def _in_version(self, client: Any) -> Any:
        """Return a client in the version of the service's interface that knows all that the job asks for."""
        return client.select_version("v1beta1" if self.persistent_resource else "v1")

    def _resource(self) -> Any:
        """Return the job as that version has it; the fields of both have the same numbers."""
        resource, runtime = self._gca_resource, aiplatform_v1beta1.PipelineJob.RuntimeConfig
        if not self.persistent_resource:
            return resource
        job = aiplatform_v1beta1.PipelineJob.deserialize(type(resource).serialize(resource))
        job.runtime_config.default_runtime = runtime.DefaultRuntime(
            persistent_resource_runtime_detail=runtime.PersistentResourceRuntimeDetail(
                persistent_resource_name=self.persistent_resource,
                task_resource_unavailable_wait_time_ms=WAIT_FOR_RESOURCE,
                task_resource_unavailable_timeout_behavior="FALL_BACK_TO_ON_DEMAND",
            )
        )
        return job

    def associate(self, experiment: Experiment) -> None:
        """Log the job, which has been created, to an experiment."""
        self._gca_resource = self.api_client.get_pipeline_job(name=f"{self._parent}/pipelineJobs/{self.job_id}")
        self._associate_to_experiment(experiment)
