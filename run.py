"""Compile a pipeline and run it: python run.py --identifier NAME"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from pipeline import ROOT, RequestError, command_line

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Flag = typer.Option


@app.command()
def run(
    identifier: Annotated[str | None, Flag(help="Name of this line of runs: a-z, 0-9 and -.")] = None,
    pipeline: Annotated[str, Flag(help="Pipeline to run.")] = "training",
    engine: Annotated[
        str | None, Flag(help="local or vertex; by default vertex where a project and a bucket are set, else local.")
    ] = None,
    data: Annotated[
        str | None,
        Flag(
            metavar="SOURCE",
            help="sample[:ROWS] (simulated, the default), covtype (public data), a path or glob of CSV (plain, gzip, "
            "zstd) or Parquet files, a folder of Parquet files, gs://bucket/object, or bq://project.dataset.table.",
        ),
    ] = None,
    label: Annotated[str | None, Flag(help="Column that holds the classes; Cover_Type by default.")] = None,
    assignments: Annotated[
        list[str] | None, Flag("--set", metavar="KEY=VALUE", help="Pipeline parameter; may be repeated.")
    ] = None,
    profile: Annotated[
        str | None, Flag(help="Machines: auto (by the size of the data), small, standard, large.")
    ] = None,
    compile_only: Annotated[
        Path | None, Flag(metavar="PATH", help="Write the spec to this .yaml or .json file and run nothing.")
    ] = None,
    check: Annotated[bool, Flag("--check", help="Check everything that can be known before, and run nothing.")] = False,
    schedule: Annotated[str | None, Flag(metavar="CRON", help='Run at these times, as in "0 6 * * 1".')] = None,
    timezone: Annotated[str | None, Flag(metavar="TZ", help="Time zone of the schedule; UTC by default.")] = None,
    unschedule: Annotated[bool, Flag("--unschedule", help="Remove the schedule.")] = False,
    no_cache: Annotated[bool, Flag("--no-cache", help="Take no task's result from a cache.")] = False,
    isolated: Annotated[bool, Flag("--isolated", help="Run each step here with exactly its own packages.")] = False,
    quiet: Annotated[bool, Flag("--quiet", help="Show the result only, no progress.")] = False,
    as_json: Annotated[bool, Flag("--json", help="Print run.json on standard output, and nothing else there.")] = False,
    no_wait: Annotated[bool, Flag("--no-wait", help="Return after the submission.")] = False,
    experiment: Annotated[bool, Flag("--experiment", help="Log to the experiment of the identifier's name.")] = False,
    project: Annotated[str | None, Flag(help="Google Cloud project.")] = None,
    region: Annotated[str | None, Flag(help="Region of the job, such as europe-west4.")] = None,
    bucket: Annotated[str | None, Flag(help="Bucket for data and artifacts.")] = None,
    service_account: Annotated[str | None, Flag(help="Account that the tasks run as.")] = None,
) -> None:
    """Compile a pipeline and run it."""
    from pipeline.engines import warm
    from pipeline.settings import settle

    settled = settle(
        identifier=identifier,
        engine=engine,
        data=data,
        label=label,
        profile=profile,
        project=project,
        region=region,
        bucket=bucket,
        service_account=service_account,
        schedule=schedule,
        timezone=timezone,
    )
    if as_json and (compile_only or check or schedule or unschedule):
        raise RequestError("--json prints the record of a run, and this command runs nothing. Leave it out.")
    engine, engine_reason = settled.chosen_engine()
    if engine == "local" and not (compile_only or check or isolated):
        warm.preload(path.read_text("utf-8") for path in (ROOT / "steps").glob("*.py"))

    from pipeline import compiler, profiles

    definition = compiler.load(pipeline)
    given = compiler.arguments(definition, assignments or [])
    caching = not (no_cache or settled.schedule)  # a schedule reads its data anew each time
    if compile_only:
        defaults = given | {"label": settled.label}
        profile, _ = profiles.choose(settled.profile, n_bytes=0)
        compiler.compile_pipeline(definition, compile_only, engine, profile, caching=caching, defaults=defaults)
        typer.echo(f"Wrote {compile_only}")
        return

    from pipeline import check as checking
    from pipeline import console, engines, graph, results, runs, sources

    settled.require("identifier")
    console.show_progress(not quiet)
    chosen = engines.choose(settled, wait=not no_wait, caching=caching, experiment=experiment, isolated=isolated)
    console.show(f"Engine {engine}: {engine_reason}")
    if unschedule:
        removed = chosen.unschedule(settled.identifier, pipeline)
        console.show(f"Removed {removed} schedule{'s' if removed != 1 else ''} of {settled.identifier} for {pipeline}.")
        return
    if given.get("schema_from"):
        given["schema_from"] = results.schema_of(settled.identifier, given["schema_from"], settled.runs_dir)
    source = sources.resolve(settled.data, settled.label, settled.runs_dir / ".data")
    console.show(f"Data   {source.description}")
    profile, profile_reason = profiles.choose(settled.profile, source.n_bytes)
    parameters = given | {"source": source.uri, "fingerprint": source.fingerprint, "label": settled.label}
    record = runs.new(
        settled.runs_dir,
        identifier=settled.identifier,
        pipeline=pipeline,
        engine=engine,
        profile=profile,
        parameters=compiler.resolved(definition, parameters),
        data=runs.Data(source=source.name, fingerprint=source.fingerprint),
    )
    with TemporaryDirectory() as folder:
        spec = Path(folder, runs.SPEC)
        compiler.compile_pipeline(definition, spec, engine, profile, caching=caching)
        compiled = graph.load(spec)
        nodes = graph.nodes(compiled)
        if check or engine != "local":
            described = checking.describe(source, record.parameters)
            checks = checking.of_spec(compiled, parameters, described) + chosen.checks(record, source)
            if check:
                console.show_description(described, source, profile, profile_reason)
                console.show_checks(checks)
                raise typer.Exit(2 if any(made.state == "failed" for made in checks) else 0)
            checking.require(checks)
            console.show_machines(nodes, profile, profile_reason)
        source, placed = chosen.place(source)
        if placed:
            console.show(f"Data   {placed}")
        parameters["source"] = record.parameters["source"] = source.uri
        if parameters.get("schema_from"):
            parameters["schema_from"] = record.parameters["schema_from"] = chosen.place_file(parameters["schema_from"])
        if settled.schedule:
            console.show_schedule(*chosen.schedule(spec, parameters, record))
            return
        record.begin(spec)
    console.show(f"Run    {console.near(record.folder)}")
    with console.progress(record, nodes) as progress:
        engines.execute(chosen, parameters, record, progress)
    (console.show_json if as_json else console.show_result)(record)
    raise typer.Exit(record.exit_status)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command_line(app, argv)


if __name__ == "__main__":
    sys.exit(main())
