"""Compile a pipeline and run it: python run.py --identifier NAME"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import RequestError

# exit status of the command by the status of the run; 130 is the shell's own for Ctrl-C
STATUSES = {"succeeded": 0, "failed": 1, "cancelled": 130}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    identifier: Annotated[str | None, typer.Option(help="Name of this line of runs: a-z, 0-9 and -.")] = None,
    pipeline: Annotated[str, typer.Option(help="Pipeline to run.")] = "training",
    engine: Annotated[str, typer.Option(help="Where it runs: local.")] = "local",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="sample[:ROWS] (simulated, the default), covtype (public data), or a CSV, csv.gz or Parquet file.",
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column that holds the classes; Cover_Type by default.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Pipeline parameter; may be repeated."),
    ] = None,
    compile_only: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write the spec to this .yaml or .json file and run nothing."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Take no task's result from a cache.")] = False,
) -> None:
    """Compile a pipeline and run it."""
    from pipeline import compiler

    if engine != "local":
        raise RequestError(f"--engine {engine!r} is none of the engines: local.")
    definition = compiler.load(pipeline)
    given = compiler.arguments(definition, assignments or [])
    if compile_only:
        defaults = given | ({"label": label} if label else {})
        compiler.compile_pipeline(definition, compile_only, engine=engine, caching=not no_cache, defaults=defaults)
        typer.echo(f"Wrote {compile_only}")
        return

    from pipeline import console, engines, runs, settings, sources
    from pipeline.engines.local import LocalEngine

    settled = settings.settle(identifier=identifier, data=data, label=label)
    source = sources.resolve(settled.data, settled.label, settled.runs_dir / ".data")
    parameters = given | {
        "source": str(source.path),
        "fingerprint": source.fingerprint,
        "label": settled.label,
    }
    folder = runs.new_folder(settled.runs_dir, settled.identifier)
    compiler.compile_pipeline(definition, folder / runs.SPEC, engine=engine, caching=not no_cache)
    record = runs.create(
        folder,
        pipeline=pipeline,
        engine=engine,
        parameters=compiler.resolved(definition, parameters),
        data=runs.Data(source=source.name, fingerprint=source.fingerprint),
    )
    console.show(f"Engine {engine}: on this machine\nData   {source.description}\nRun    {console.near(folder)}")
    status = engines.execute(LocalEngine(), parameters, record, console.Lines())
    console.show_result(record)
    raise typer.Exit(STATUSES[status])


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 the run failed, 2 the request was wrong."""
    try:
        app(argv)
    except SystemExit as end:
        return end.code
    except RequestError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
