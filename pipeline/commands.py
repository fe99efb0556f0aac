"""What run.py does with a request: compile it only, check it, run it, run it at times, or no longer.

Each returns the exit status of the command.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import (
    RequestError,
    StartedError,
    compiler,
    console,
    engines,
    graph,
    loops,
    memory,
    models,
    predicting,
    prices,
    runs,
    started,
    storage,
)
from pipeline import check as checking
from pipeline.check import Check, Description, Failed
from pipeline.engines import Engine
from pipeline.fusing.joining import fuse
from pipeline.graph import Node
from pipeline.request import Request
from pipeline.runs import Run
from steps.tables.schema import Schema


def check(request: Request, engine: Engine) -> int:
    """Check everything that can be known before, and run nothing."""
    spec = graph.parsed(_compiled(request))
    described, checks = _checks(request, engine, spec)
    console.show_description(described, request.source, *request.profile)
    if request.settings.chosen_engine()[0] != "local":
        console.show_estimate(*_estimates(request, spec, described))
    console.show_checks(checks)
    return 2 if any(made.state == "failed" for made in checks) else 0


def execute(request: Request, engine: Engine, *, as_json: bool = False) -> int:
    """Run a pipeline and show how it ended, or its record as JSON."""
    spec = _compiled(request)
    parameters, record, nodes = _ready(request, engine, graph.parsed(spec))
    record.begin(spec)
    with started():
        console.show(f"Run    {console.near(record.folder)}")
        with console.progress(record, nodes) as progress:
            engines.execute(engine, parameters, record, progress)
        (console.show_json if as_json else console.show_result)(record)
        _tell(request, record)
        is_kept = record.verdict and record.verdict.verdict != "promoted"
        if request.deploys == "run" and record.status == "succeeded" and not is_kept:
            _deploy(request, record)
    return record.exit_status


def _tell(request: Request, run: Run) -> None:
    """Tell those of --notify how a run has ended; of a job its exit handler has told them."""
    if not request.settings.notify:
        return
    from pipeline import notifying

    problems = notifying.undelivered(run) if run.job else notifying.tell(request.settings, run)
    for problem in problems:
        console.show_error(f"a message of the end was not delivered: {problem}")


def _deploy(request: Request, run: Run) -> None:
    """Write the service that serves the model of a run.

    Raises:
        StartedError: it cannot be written; the run has succeeded.
    """
    from pipeline import deploying

    try:
        found = models.of_run(run)
        console.show_deployment(*deploying.to_cloud_run(request.settings, found, run.folder / deploying.FILE))
    except RequestError as error:
        again = f"python -m pipeline deploy {run.identifier} {run.run_id}"
        raise StartedError(f"the run has succeeded, and its model is not deployed: {error}\nAgain: {again}") from None


def schedule(request: Request, engine: Engine) -> int:
    """Let a service run a pipeline at the times of the settings' schedule."""
    spec = _compiled(request)
    parameters, record, _ = _ready(request, engine, graph.parsed(spec))
    with TemporaryDirectory() as folder:
        path = Path(folder, runs.SPEC)
        path.write_text(spec, encoding="utf-8")
        console.show_schedule(*engine.schedule(path, parameters, record), request.stays)
    return 0


def unschedule(request: Request, engine: Engine) -> int:
    """Remove the schedules of a pipeline."""
    identifier = request.settings.required("identifier")
    removed = engine.unschedule(identifier, request.pipeline)
    console.show(f"Removed {removed} schedule{'s' if removed != 1 else ''} of {identifier} for {request.pipeline}.")
    return 0


def _compiled(request: Request) -> str:
    """Find the data and the model and say what they are; return the spec."""
    console.show(f"Data   {request.source.description}")
    if request.found_model:
        console.show(f"Model  {request.found_model.title}")
    if request.found_search:
        console.show(f"Search {request.found_search.title}: {request.found_search.told}")
    return request.compile()


def _checks(request: Request, engine: Engine, spec: dict[str, Any]) -> tuple[Description, list[Check]]:
    draft = request.record(request.parameters)  # for what the names of a job will be
    of_table = draft.parameters if compiler.takes_table(request.definition) else {}
    if request.found_model:
        cache = request.settings.runs_dir / ".data"
        described = predicting.describe(request.source, request.found_model, cache, draft.parameters)
    else:
        described = checking.describe(request.source, of_table)
    environment = [Check("environment", "passed", request.settings.told_environment())] if request.settings.env else []
    is_here = request.settings.chosen_engine()[0] == "local"
    checks = [*environment, *checking.of_spec(spec, request.parameters, described, is_here=is_here)]
    place, schema = draft.parameters.get("champion"), described.schema
    if place and schema and not storage.is_object(place):
        checks.append(checking.make("champion", lambda: _champion(place, schema)))
    if not request.found_model and compiler.takes_table(request.definition):
        checks.append(checking.of_memory(spec, draft.parameters, described, is_here=is_here))
    checks += engine.checks(spec, draft, request.source, described)
    if not is_here:
        from pipeline import wheelhouse

        checks += wheelhouse.checks(request.settings, spec)
    if request.settings.notify:
        from steps.notices import shown

        told = ", ".join(map(shown, request.settings.notify))
        checks.append(Check("notify", "passed", f"{told}; whether it can be reached is seen when the run ends"))
    return described, checks


def _estimates(
    request: Request, spec: dict[str, Any], described: Description
) -> tuple[prices.Estimate, prices.Estimate | None]:
    """Return what the machines of a run take and cost, and what they would with --fuse where that saves starts.

    Where it is not known what a loop goes over, one iteration is counted, and that is said.
    """
    found = loops.found_before(spec, request.parameters, described.schema)
    asked = prices.estimate(spec, request.parameters, found)
    fused = asked if request.settings.fuse else prices.estimate(fuse(spec), request.parameters, found)
    return asked, fused if fused.in_series < asked.in_series else None


def _champion(place: str, schema: Schema) -> str:
    try:
        return models.champion_told(place, {column.name for column in schema.kept})
    except RequestError as error:
        raise Failed(str(error)) from None


def _ready(request: Request, engine: Engine, spec: dict[str, Any]) -> tuple[dict[str, Any], Run, list[Node]]:
    """Make the checks that a service asks for and bring the data to its place; return what there is to run.

    Raises:
        RequestError: a check has failed, or the data cannot be brought there.
    """
    nodes = graph.nodes(spec)
    if request.settings.chosen_engine()[0] != "local":
        described, checks = _checks(request, engine, spec)
        checking.require(checks)
        console.show_checks([made for made in checks if made.state == "warning"])
        console.show_machines(nodes, *request.profile, *_estimates(request, spec, described))
        from pipeline import wheelhouse

        wheelhouse.placed(request.settings, spec, console.show)
    elif memory.may_lack(request.source.n_bytes) and compiler.takes_table(request.definition):
        asked = request.record(request.parameters).parameters
        made = checking.of_memory(spec, asked, checking.describe(request.source, asked), is_here=True)
        console.show_checks([made] if made.state == "warning" else [])
    parameters, told = request.placed(engine)
    if told:
        console.show(f"Data   {told}")
    return parameters, request.record(parameters), nodes
