"""The SDK's PipelineJob, submitted without its own look at the bucket."""

from google.cloud.aiplatform import Experiment, PipelineJob


class Job(PipelineJob, experiment_loggable_schemas=()):  # the SDK knows the kind from PipelineJob itself
    """A job whose submission asks for the job only.

    The SDK's own creates a missing bucket first, asks Cloud Resource Manager and waits 50 s where that cannot be
    reached, and swallows every error of it (google-cloud-aiplatform 1.165.1); the engine's checks have looked.
    """

    def create(self, service_account: str | None = None) -> str:
        """Create the job and return the name that the service gives it."""
        if service_account:
            self._gca_resource.service_account = service_account
        created = self.api_client.create_pipeline_job(
            parent=self._parent, pipeline_job=self._gca_resource, pipeline_job_id=self.job_id
        )
        return created.name

    def associate(self, experiment: Experiment) -> None:
        """Log the job, which has been created, to an experiment."""
        self._gca_resource = self.api_client.get_pipeline_job(name=f"{self._parent}/pipelineJobs/{self.job_id}")
        self._associate_to_experiment(experiment)
