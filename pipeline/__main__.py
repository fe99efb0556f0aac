"""The verbs for what ran: python -m pipeline VERB"""

import sys
from functools import partial
from typing import Annotated

import typer

from pipeline import RequestError, command_line

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
Job = Annotated[str, typer.Argument(help="Id or whole name of a job.")]
Project = Annotated[str | None, typer.Option(help="Google Cloud project.")]
Region = Annotated[str | None, typer.Option(help="Region of the job.")]


@app.callback()
def verbs() -> None:
    """Look at what ran, and use it."""


@app.command()
def follow(job: Job, project: Project = None, region: Region = None) -> None:
    """Follow a job on Vertex AI to its end and record it here."""
    from pipeline import console, engines, graph

    engine = _vertex(job, project, region)
    run = engine.recorded(job)
    nodes = graph.nodes(graph.load(run.folder / "pipeline.yaml"))
    console.show(f"Job    {run.url}\nRun    {console.near(run.folder)}")
    with console.progress(run, nodes) as progress:
        engines.record(lambda: engine.follow(run, nodes, progress), engine, run)
    console.show_result(run)
    raise typer.Exit(run.exit_status)


@app.command()
def cancel(job: Job, project: Project = None, region: Region = None) -> None:
    """Cancel a job on Vertex AI."""
    engine = _vertex(job, project, region)
    engine.cancel(job)
    typer.echo(f"Asked to cancel {engine.resource_name(job)}")


def _vertex(job: str, project: str | None, region: str | None):
    from pipeline.engines.vertex import VertexEngine
    from pipeline.settings import settle

    if "/" in job:  # projects/P/locations/L/pipelineJobs/ID
        parts = job.split("/")
        if len(parts) != 6:
            raise RequestError(f"{job} is no job: expected its id or projects/P/locations/L/pipelineJobs/ID.")
        project, region = project or parts[1], region or parts[3]
    settled = settle(project=project, region=region)
    settled.require("project", "region")
    return VertexEngine(settled)


def main(argv: list[str] | None = None) -> int:
    """Run a verb and return its exit status."""
    return command_line(partial(app, prog_name="python -m pipeline"), argv)


if __name__ == "__main__":
    sys.exit(main())
