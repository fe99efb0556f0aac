"""The SDK's PipelineJob, submitted without its own look at the bucket."""

from google.cloud.aiplatform import Experiment, PipelineJob


class Job(PipelineJob, experiment_loggable_schemas=()):  # the SDK knows the kind from PipelineJob itself
    """A job whose submission asks for the job only.

    The SDK's own creates a missing bucket first, asks Cloud Resource Manager and waits 50 s where that cannot be
    reached, and swallows every error of it (google-cloud-aiplatform 1.165.1); the engine's checks have looked.
    """

    def submit(self, service_account: str | None = None, experiment: Experiment | None = None) -> None:
        """Create the job; see PipelineJob.submit."""
        if service_account:
            self._gca_resource.service_account = service_account
        self._gca_resource = self.api_client.create_pipeline_job(
            parent=self._parent, pipeline_job=self._gca_resource, pipeline_job_id=self.job_id
        )
        if experiment:
            self._associate_to_experiment(experiment)
