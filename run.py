"""Compile a pipeline and run it: python run.py --identifier NAME"""

import _signal  # signal itself takes its time to import

if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # there is nothing to end yet: Ctrl-C needs no traceback

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline import PIPELINES, command_line, import_kfp, texts

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Flag = typer.Option


@app.command()
def run(
    context: typer.Context,
    identifier: Annotated[str | None, Flag(help="Name of this line of runs: a-z, 0-9 and -.")] = None,
    env: Annotated[
        str | None,
        Flag(metavar="NAME", help="Environment, whose settings stand in pyproject.toml: dev, prod or the like."),
    ] = None,
    pipeline: Annotated[
        str, Flag(help="Pipeline to run: its name, my/file.py:function, or a compiled .yaml or .json.")
    ] = "training",
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
    label: Annotated[str | None, Flag(help="Column of the classes, or of a quantity; Cover_Type by default.")] = None,
    model: Annotated[
        str | None,
        Flag(
            metavar="MODEL",
            help="Model that a prediction uses: champion (the default), latest, previous, the id of a run, or the path "
            "or gs://… address of a model's folder.",
        ),
    ] = None,
    from_search: Annotated[
        str | None,
        Flag(
            metavar="RUN",
            help="Fit what a search has found, by the pipeline refit and without searching again: latest, previous, or "
            "the id of a search.",
        ),
    ] = None,
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
    register: Annotated[bool, Flag("--register", help="Register the model with Vertex AI, if it is promoted.")] = False,
    deploy: Annotated[
        Literal["vertex", "run"] | None,
        Flag(help="Serve the model, if it is promoted: on an endpoint of Vertex AI, or on Cloud Run."),
    ] = None,
    notify: Annotated[
        list[str] | None,
        Flag(
            metavar="ADDRESS",
            help="Whom to tell when it ends: a webhook (https://…, or env:NAME or secret:projects/…/secrets/… that "
            "holds it), or on Vertex AI an e-mail address; may be repeated.",
        ),
    ] = None,
    quiet: Annotated[bool, Flag("--quiet", help="Show the result only, no progress.")] = False,
    as_json: Annotated[bool, Flag("--json", help="Print run.json on standard output, and nothing else there.")] = False,
    no_wait: Annotated[bool, Flag("--no-wait", help="Return after the submission.")] = False,
    experiment: Annotated[bool, Flag("--experiment", help="Log to the experiment of the identifier's name.")] = False,
    project: Annotated[str | None, Flag(help="Google Cloud project.")] = None,
    region: Annotated[str | None, Flag(help="Region of the job, such as europe-west4.")] = None,
    bucket: Annotated[str | None, Flag(help="Bucket for data and artifacts.")] = None,
    service_account: Annotated[str | None, Flag(help="Account that the tasks run as.")] = None,
    fuse: Annotated[
        bool | None, Flag("--fuse", help="Join tasks of a chain on one machine size into one: fewer starts.")
    ] = None,
    parallelism: Annotated[
        int | None, Flag(metavar="N", help="How many iterations of a loop run at once; by default all.")
    ] = None,
    packages: Annotated[
        str | None, Flag(help="Where tasks install from: index, or bucket (collected once, no index needed).")
    ] = None,
    index_url: Annotated[str | None, Flag(metavar="URL", help="Package index in place of pip's own.")] = None,
    base_image: Annotated[str | None, Flag(metavar="IMAGE", help="Image of the steps, at any mirror.")] = None,
    network: Annotated[str | None, Flag(help="VPC network that the tasks are peered with.")] = None,
    reserved_ip_ranges: Annotated[
        str | None, Flag(metavar="NAME,…", help="Ranges of the network that the tasks take their addresses from.")
    ] = None,
    psc_attachment: Annotated[
        str | None, Flag(metavar="ATTACHMENT", help="Network attachment of a Private Service Connect interface.")
    ] = None,
    encryption_key: Annotated[
        str | None, Flag(metavar="KEY", help="Key that what the job leaves is encrypted by.")
    ] = None,
    persistent_resource: Annotated[
        str | None, Flag(metavar="ID", help="Persistent resource whose machines run the tasks.")
    ] = None,
    timeout: Annotated[float | None, Flag(metavar="HOURS", help="Cancel a job that takes longer.")] = None,
) -> None:
    """Compile a pipeline and run it."""
    from pipeline import contradictions
    from pipeline.engines import warm
    from pipeline.settings import settle

    settings = settle(
        env=env,
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
        fuse=fuse,
        parallelism=parallelism,
        packages=packages,
        index_url=index_url,
        base_image=base_image,
        network=network,
        reserved_ip_ranges=reserved_ip_ranges,
        psc_attachment=psc_attachment,
        encryption_key=encryption_key,
        persistent_resource=persistent_resource,
        timeout=timeout,
        notify=notify or None,
    )
    name, reason = settings.chosen_engine()
    given = {
        option.opts[0]
        for option in context.command.params
        if (where := context.get_parameter_source(option.name)) and where.name == "COMMANDLINE"
    }
    contradictions.refuse(given, contradictions.situations(settings, given) | {f"deploy {deploy}"})
    if from_search is not None and "--pipeline" not in given:
        pipeline = "refit"
    if name == "local" and pipeline in PIPELINES and not (compile_only or check or isolated):
        # it imports while this process does
        warm.preload(warm.sources_of(PIPELINES[pipeline].partition(":")[0]))

    import_kfp()
    from pipeline.models import CHAMPION
    from pipeline.request import Request

    registers = register or deploy == "vertex"
    request = Request.of(
        settings, pipeline, assignments or (), no_cache, registers, deploy, model or CHAMPION, from_search
    )
    contradictions.refuse(given, request.takes_no)
    if compile_only:
        request.compile_for_elsewhere(compile_only)
        typer.echo(texts.printable(f"Wrote {compile_only}"))
        return

    from pipeline import commands, console, engines

    settings.require("identifier")
    console.show_progress(not quiet)
    chosen = engines.choose(
        settings, wait=not no_wait, caching=request.caching, experiment=experiment, isolated=isolated
    )
    console.show(f"Engine {name}: {reason}")
    if settings.env and not check:
        console.show(f"Env    {settings.told_environment()}")
    if unschedule:
        status = commands.unschedule(request, chosen)
    elif check:
        status = commands.check(request, chosen)
    elif settings.schedule:
        status = commands.schedule(request, chosen)
    else:
        status = commands.execute(request, chosen, as_json=as_json)
    raise typer.Exit(status)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command_line(app, argv)


if __name__ == "__main__":
    from pipeline import ending

    ending.exit_python(main())
