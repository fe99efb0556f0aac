"""The verbs for what ran: python -m pipeline VERB"""

import _signal  # signal itself takes its time to import

if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # there is nothing to end yet: Ctrl-C needs no traceback

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from pipeline import ROOT, RequestError, command_line, import_kfp, started, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.engines.vertex import VertexEngine
    from pipeline.runs import Run, State
    from pipeline.scaffolding import Changes

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
RUN_NAMES = "its id or the beginning of it, latest or previous"
Identifier = Annotated[str, typer.Argument(help="Identifier of the runs.")]
Job = Annotated[str, typer.Argument(help="Id or whole name of a job.")]
Env = Annotated[str | None, typer.Option(metavar="NAME", help="Environment, whose settings stand in pyproject.toml.")]
Project = Annotated[str | None, typer.Option(help="Google Cloud project.")]
Region = Annotated[str | None, typer.Option(help="Region of the job.")]
Timeout = Annotated[float | None, typer.Option(metavar="HOURS", help="Cancel a job that takes longer.")]


@app.callback()
def verbs() -> None:
    """Look at what ran, and use it."""


@app.command()
def runs(identifier: Identifier) -> None:
    """List the runs of an identifier, newest first."""
    from pipeline import console, history
    from pipeline.settings import settle

    console.show_history(*history.of(settle(identifier=identifier).runs_dir, identifier))


@app.command()
def compare(
    identifier: Identifier,
    first: Annotated[str, typer.Argument(help=f"The former run: {RUN_NAMES}.")] = "previous",
    second: Annotated[str, typer.Argument(help="The other run.")] = "latest",
) -> None:
    """Show two runs side by side: parameters, data, code, figures, and whether chance explains the difference."""
    from pipeline import compare as comparing
    from pipeline import console

    pair = _load(identifier, first), _load(identifier, second)
    console.show_comparison(*pair, comparing.compare(*pair))


@app.command()
def replay(
    identifier: Identifier,
    task: Annotated[str, typer.Argument(metavar="RUN/TASK[ITEM]", help="For example 'latest/train-model[3]'.")],
    pdb: Annotated[bool, typer.Option("--pdb", help="Stop in the debugger where the step fails.")] = False,
) -> None:
    """Run one task of a run again, in this process, on its real inputs, with the code as it is now."""
    from pipeline import console
    from pipeline import replay as replaying

    name, slash, title = task.partition("/")
    if not slash:
        raise RequestError(f"{task!r} names no task: expected RUN/TASK, such as latest/split-data.")
    ready = replaying.prepare(_load(identifier, name), title)
    console.show(f"Replay {console.near(ready.folder)}")
    error = replaying.execute(ready, debug=pdb)
    if error is not None:
        hint = "" if pdb else "\n--pdb stops there."
        console.show_error(f"{ready.task.title} failed: {error}\nLog: {console.near(ready.work.log)}{hint}")
        raise typer.Exit(1)
    console.show_outputs(replaying.outputs(ready))


@app.command()
def predict(
    identifier: Identifier,
    data: Annotated[str, typer.Argument(metavar="FILE", help="Table to predict, as --data of run.py takes it.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="File to write, .csv or .parquet.")],
    model: Annotated[
        str, typer.Option(help="champion, latest, previous, the id of a run, or the path or gs:// address of a model.")
    ] = "champion",
    keep: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Column to keep; may be repeated.")] = None,
    env: Env = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show the result only, no progress.")] = False,
) -> None:
    """Predict the rows of a table by a trained model, here and now."""
    from pipeline import console, predicting
    from pipeline.settings import settle

    console.show_progress(not quiet)
    settings = settle(env=env, identifier=identifier)
    done = predicting.predict(settings, data, out, model, keep or (), overwrite, console.show)
    console.show_predicted(done.predicted.rows, done.predicted.class_mix, done.predicted.figures(), done.seconds)
    console.show_places({"rows": out})


@app.command()
def promote(
    identifier: Identifier,
    run: Annotated[str, typer.Argument(help=f"The run: {RUN_NAMES}.")],
    env: Env = None,
) -> None:
    """Make the model of a run the champion, whatever its figures."""
    from pipeline import console, models
    from pipeline.settings import settle

    console.show_champion(*models.promote(settle(env=env, identifier=identifier), _load(identifier, run, env)))


@app.command()
def rollback(identifier: Identifier, env: Env = None) -> None:
    """Make the champion before the present one the champion again."""
    from pipeline import console, models
    from pipeline.settings import settle

    console.show_champion(*models.roll_back(settle(env=env, identifier=identifier)), said="withdrawn")


@app.command()
def serve(
    identifier: Identifier,
    model: Annotated[
        str, typer.Option(help=f"champion, {RUN_NAMES}, or a model's folder, here or gs://….")
    ] = "champion",
    env: Env = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on, 0 for any that is free.")] = 8080,
) -> None:
    """Serve a model over HTTP on this machine, until Ctrl-C."""
    from pipeline import models, serving
    from pipeline.settings import settle

    serving.serve(models.find(settle(env=env, identifier=identifier), model), port)


@app.command()
def follow(
    job: Job,
    env: Env = None,
    project: Project = None,
    region: Region = None,
    timeout: Timeout = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show the result only, no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print run.json on standard output.")] = False,
) -> None:
    """Follow a job on Vertex AI to its end and record it here."""
    from pipeline import console

    console.show_progress(not quiet)
    engine = _vertex(job, env, project, region, timeout)
    run = engine.recorded(job)
    console.show(f"Job    {run.url}")
    _recorded(run, engine.follow, as_json)


@app.command()
def rerun(
    job: Job,
    env: Env = None,
    project: Project = None,
    region: Region = None,
    timeout: Timeout = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show the result only, no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print run.json on standard output.")] = False,
) -> None:
    """Start a job on Vertex AI again: the tasks that succeeded come from the service's cache."""
    from pipeline import console

    console.show_progress(not quiet)
    engine = _vertex(job, env, project, region, timeout)
    run, former = engine.recorded_again(job)
    with started():
        _recorded(run, partial(engine.run_again, former), as_json)


@app.command()
def cancel(job: Job, env: Env = None, project: Project = None, region: Region = None) -> None:
    """Cancel a job on Vertex AI."""
    engine = _vertex(job, env, project, region)
    engine.cancel(job)
    typer.echo(texts.printable(f"Asked to cancel {engine.resource_name(job)}"))


@app.command()
def deploy(
    identifier: Identifier,
    model: Annotated[
        str, typer.Argument(help=f"champion, a run ({RUN_NAMES}), or the path or gs:// address of a model.")
    ] = "champion",
    to: Annotated[Literal["run"], typer.Option("--to", help="Where: run is Cloud Run.")] = "run",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File of the service; by default in the identifier's folder.")
    ] = None,
    env: Env = None,
    project: Project = None,
    region: Region = None,
    bucket: Annotated[str | None, typer.Option(help="Bucket that the service takes the model from.")] = None,
    service_account: Annotated[str | None, typer.Option(help="Account that the service runs as.")] = None,
) -> None:
    """Bring a model with all its packages into the bucket, and write the service that serves it on Cloud Run."""
    from pipeline import console, deploying, models
    from pipeline.settings import settle

    settings = settle(
        env=env,
        identifier=identifier,
        project=project,
        region=region,
        bucket=bucket,
        service_account=service_account,
    )
    file = output or settings.runs_dir / identifier / deploying.FILE
    console.show_deployment(*deploying.to_cloud_run(settings, models.find(settings, model), file))


@app.command()
def new_step(
    name: Annotated[str, typer.Argument(help="Name of the step, such as keep-recent.")],
    pipeline: Annotated[str | None, typer.Option(help="Pipeline that it becomes the last task of.")] = None,
) -> None:
    """Write a step and its test, which work as they stand."""
    import_kfp()
    from pipeline import scaffolding

    _write(scaffolding.new_step(name, pipeline or ""))


@app.command()
def new_pipeline(
    name: Annotated[str, typer.Argument(help="Name of the pipeline, such as churn.")],
    form: Annotated[
        Literal["training", "batch"], typer.Option(help="training ends with a model, batch with a table.")
    ] = "training",
) -> None:
    """Write a pipeline with a step of its own and their tests, and register it for --pipeline."""
    import_kfp()
    from pipeline import scaffolding

    _write(scaffolding.new_pipeline(name, form))
    name = name.replace("-", "_")
    typer.echo(texts.printable(f"Run it: python run.py --identifier {name.replace('_', '-')} --pipeline {name}"))


@app.command()
def export_components(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write them to.")],
    steps: Annotated[list[str] | None, typer.Argument(metavar="STEP", help="Names of steps; without any all.")] = None,
) -> None:
    """Write each step as a KFP component file, NAME.yaml, that others load without this repository."""
    import_kfp()
    from pipeline import exporting

    for file in exporting.export(folder, steps or ()):
        typer.echo(texts.printable(f"Wrote {file}"))


@app.command()
def graph(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[PIPELINE | NAME RUN] FILE",
            help="A pipeline as run.py takes it (training by default), or the identifier and the run whose states are "
            "shown; then the file to write, .svg or .mmd (Mermaid).",
        ),
    ],
    fuse: Annotated[bool, typer.Option("--fuse", help="Draw the pipeline as --fuse joins its tasks.")] = False,
) -> None:
    """Draw a pipeline from its compiled spec; of a run, too while it goes on, with the states of its tasks."""
    import_kfp()
    from pipeline import compiler, console, drawing, files, loading
    from pipeline import graph as graphs
    from pipeline.runs import SPEC
    from pipeline.target import Target

    if len(words) > 3 or (len(words) == 3 and fuse):
        raise RequestError(
            "Expected [PIPELINE] FILE, or NAME RUN FILE without --fuse: see python -m pipeline graph --help"
        )
    file = Path(words[-1])
    if len(words) == 3:
        run = _load(words[0], words[1])
        drawn = drawing.draw(graphs.load(run.folder / SPEC), file.suffix, run)
    else:
        pipeline = loading.load(words[0] if len(words) == 2 else "training")
        spec = graphs.parsed(compiler.compiled(pipeline, Target(fuse=fuse)))
        drawn = drawing.draw(spec, file.suffix)
    files.write(file, drawn)
    console.show_places({"graph": file})


@app.command()
def docs(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    build: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the pages to this folder instead.")] = None,
) -> None:
    """Show the guide and the reference in the browser, until Ctrl-C."""
    import importlib.util
    import os
    import sys

    if importlib.util.find_spec("material") is None:
        raise RequestError("The pages are built by MkDocs Material, which is not here: pip install '.[docs]'")
    asked = ["build", "--site-dir", str(build.absolute())] if build else ["serve", "--dev-addr", f"127.0.0.1:{port}"]
    os.chdir(ROOT)
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    os.execv(sys.executable, [sys.executable, "-m", "mkdocs", *asked])


@app.command()
def benchmark(
    data: Annotated[str, typer.Option(help="One CSV, csv.gz or Parquet file, or sample:ROWS.")] = "sample:92962",
    label: Annotated[str, typer.Option(help="Column that holds the classes.")] = "Cover_Type",
    rows: Annotated[int | None, typer.Option(help="Repeat and jitter the rows to this many.")] = None,
    runs: Annotated[int, typer.Option(help="Rounds to measure.")] = 5,
    stock: Annotated[bool, typer.Option("--stock", help="Let kfp.local as it comes take part.")] = False,
    serving: Annotated[
        bool, typer.Option("--serving", help="Measure the server of the trained model instead.")
    ] = False,
    prediction: Annotated[bool, typer.Option("--prediction", help="Measure batch prediction, too.")] = False,
) -> None:
    """Measure the local engine beside a plain script that does the same work."""
    from pipeline.benchmark import command, measuring, tables

    if serving and (stock or prediction or rows is not None):
        raise RequestError("--serving takes the data as it is, and no --rows, --stock or --prediction.")
    try:
        if serving:
            from pipeline.benchmark import serving as of_server

            typer.echo(texts.printable(of_server.markdown(of_server.benchmark_serving(data, label, runs))))
            return
        found = command.benchmark(data, label, rows, runs, stock, prediction)
    except measuring.ContestantFailed as error:
        typer.echo(texts.printable(f"Error: {error}"), err=True)
        raise typer.Exit(1) from None
    typer.echo(texts.printable(tables.markdown(found)))


def _write(changes: "Changes") -> None:
    """Write the files of something new, and tell which, and how they are tested."""
    changed = {path for path in changes.texts if (ROOT / path).exists()}
    written = changes.write()
    tests = [path for path in written if "/tests/" in path]
    for path in written:
        typer.echo(texts.printable(f"{'Changed' if path in changed else 'Wrote'} {path}"))
    for note in changes.notes:
        typer.echo(texts.printable(note))
    typer.echo(texts.printable(f"Test it: python -m pytest -q {' '.join(tests)}"))


def _recorded(run: "Run", watch: "Callable[..., State]", as_json: bool) -> NoReturn:
    """Watch a job to its end, record and show it, and end with its exit status."""
    from pipeline import console, engines, graph
    from pipeline.runs import SPEC

    nodes = graph.nodes(graph.load(run.folder / SPEC))
    console.show(f"Run    {console.near(run.folder)}")
    with console.progress(run, nodes) as progress:
        engines.record(lambda: watch(run, nodes, progress), run, progress)
    (console.show_json if as_json else console.show_result)(run)
    raise typer.Exit(run.exit_status)


def _load(identifier: str, name: str, env: str | None = None) -> "Run":
    from pipeline.runs import load
    from pipeline.settings import settle

    return load(identifier, name, settle(env=env, identifier=identifier).runs_dir)


def _vertex(
    job: str, env: str | None, project: str | None, region: str | None, timeout: float | None = None
) -> "VertexEngine":
    from pipeline.engines.vertex import VertexEngine
    from pipeline.settings import settle

    if "/" in job:  # projects/P/locations/L/pipelineJobs/ID
        parts = job.split("/")
        if len(parts) != 6:
            raise RequestError(f"{job} is no job: expected its id or projects/P/locations/L/pipelineJobs/ID.")
        project, region = project or parts[1], region or parts[3]
    settled = settle(env=env, project=project, region=region, timeout=timeout)
    settled.require("project", "region")
    return VertexEngine(settled)


def main(argv: list[str] | None = None) -> int:
    """Run a verb and return its exit status."""
    return command_line(partial(app, prog_name="python -m pipeline"), argv)


if __name__ == "__main__":
    from pipeline import ending

    ending.exit_python(main())
