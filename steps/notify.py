"""Tell how a run on Vertex AI has ended, whether it has succeeded, failed or been cancelled."""

from typing import List

from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.notices", "steps.vertex_api")
@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("google-auth", "requests"))
def notify(status: PipelineTaskFinalStatus, addresses: List[str], pipeline: str, identifier: str, api: str) -> str:
    """Send a message to each address. One that cannot be delivered fails nothing: it is told in the log and here.

    Args:
        status: How the pipeline has ended; Vertex AI gives it.
        addresses: Secrets that hold the addresses of webhooks, as secret:projects/P/secrets/S.
        pipeline: Name of the pipeline.
        identifier: Its line of runs.
        api: Address of Vertex AI in the region.

    Returns:
        Why messages were not delivered, an empty text if all were.
    """
    from datetime import UTC, datetime

    from steps.notices import Ending, Undelivered, figures_of, send, shown
    from steps.vertex_api import VertexApi

    job = status.pipeline_job_resource_name
    _, project, _, region, _, job_id = job.split("/")
    page = f"https://console.cloud.google.com/vertex-ai/locations/{region}/pipelines/runs/{job_id}?project={project}"
    ending = Ending(pipeline, identifier, job_id, status.state.lower(), status.error_message or "", url=page)

    # the job itself knows which tasks have failed and why, and the figures
    try:
        found = VertexApi(api).call("GET", job)
        created = datetime.fromisoformat(found["createTime"].replace("Z", "+00:00"))
        ending.seconds = round((datetime.now(UTC) - created).total_seconds(), 1)
        tasks = found.get("jobDetail", {}).get("taskDetails", [])
        failed = {
            task["taskName"]: task.get("error", {}).get("message", "it ended without a message")
            for task in tasks
            if task.get("state") == "FAILED" and task.get("execution", {}).get("schemaTitle") != "system.DagExecution"
        }
        ending.error = "\n".join(f"{name} failed: {error}" for name, error in failed.items()) or ending.error
        for task in tasks:
            for output in task.get("outputs", {}).values():
                for artifact in output.get("artifacts", []):
                    if artifact.get("schemaTitle") == "system.Metrics":
                        ending.figures |= figures_of(artifact.get("metadata", {}))
    except Exception as error:
        print(f"The job cannot be read, and the message goes without its figures: {error}")

    problems = []
    for address in addresses:
        try:
            send(address, ending)
            print(f"sent to {shown(address)}")
        except Undelivered as why:
            problems.append(f"{shown(address)}: {why}")
            print(f"not delivered to {problems[-1]}")
    return "; ".join(problems)
