"""Options that have no effect are refused: one table of all that contradict each other or what a command does.

Only what was given as a flag counts: a variable or pyproject.toml is there for other commands, too.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import RequestError

if TYPE_CHECKING:
    from pipeline.settings import Settings


@dataclass(frozen=True)
class Row:
    """Options that make no sense in a situation."""

    options: tuple[str, ...]
    situation: str  # an option that decides what the command does, or what is true of it
    sentence: str  # {} stands for the options that were given


NOTHING_RUNS = ("--check", "--compile-only", "--schedule", "--unschedule")
OF_RUNS = ("--no-wait", "--experiment", "--isolated")
OF_SERVICE = ("--no-wait", "--experiment", "--service-account", "--timezone")
OF_INPUTS = ("--model", "--from-search")
REGISTERING = ("--register", "--deploy")
OF_JOBS = ("--project", "--region", "--bucket")
OF_SPECS = ("--fuse", "--parallelism", "--packages", "--index-url", "--base-image", "--persistent-resource")
OF_PLACES = ("--network", "--reserved-ip-ranges", "--psc-attachment", "--encryption-key", "--timeout")
TABLE = (
    *(
        Row(("--json",), situation, "{} prints the record of a run, and this command runs nothing. Leave it out.")
        for situation in NOTHING_RUNS
    ),
    Row(
        ("--compile-only", "--check", "--schedule", "--timezone"),
        "--unschedule",
        "--unschedule only removes schedules: it does not go with {}. Give one of them.",
    ),
    Row(
        ("--check", "--schedule", "--timezone"),
        "--compile-only",
        "--compile-only only writes a spec: it does not go with {}. Give one of them.",
    ),
    Row(
        (*OF_RUNS, "--data", "--model", "--quiet", "--service-account"),
        "--compile-only",
        "--compile-only only writes a spec, on which {} has no effect. Leave it out.",
    ),
    Row(
        ("--region",),
        "a spec that registers nothing",
        "--compile-only only writes a spec, on which {} has no effect. Leave it out.",
    ),
    Row(
        (*OF_RUNS, "--set", "--data", "--label", *OF_INPUTS, "--no-cache", "--profile", "--service-account"),
        "--unschedule",
        "--unschedule only removes schedules, on which {} has no effect. Leave it out.",
    ),
    Row(
        (*OF_SPECS, *OF_PLACES),
        "--unschedule",
        "--unschedule only removes schedules, on which {} has no effect. Leave it out.",
    ),
    Row(
        (*OF_PLACES, "--packages", "--persistent-resource"),
        "--compile-only",
        "--compile-only only writes a spec, on which {} has no effect. Leave it out.",
    ),
    Row(
        REGISTERING,
        "--unschedule",
        "--unschedule only removes schedules, on which {} has no effect. Leave it out.",
    ),
    Row(
        ("--notify",),
        "--unschedule",
        "--unschedule only removes schedules, on which {} has no effect. Leave it out.",
    ),
    Row(
        ("--notify",),
        "a spec of here",
        "--compile-only only writes a spec, on which {} has no effect without --engine vertex: a run here tells "
        "by itself. Leave it out.",
    ),
    Row(OF_RUNS, "--check", "--check runs nothing, and {} has no effect on what it checks. Leave it out."),
    Row(
        ("--timeout",),
        "--schedule",
        "--schedule runs nothing now, and nobody follows its jobs: {} has no effect. Leave it out.",
    ),
    Row(
        (*OF_RUNS, "--no-cache"),
        "--schedule",
        "--schedule runs nothing now, and its jobs read everything anew: {} has no effect. Leave it out.",
    ),
    Row(
        ("--schedule", "--unschedule"),
        "engine local",
        "{} needs --engine vertex: the service runs the job at its times.",
    ),
    Row(
        OF_SERVICE,
        "engine local",
        "{} is for jobs of a service and has no effect on the local engine. Leave it out, or give --engine vertex.",
    ),
    Row(
        ("--parallelism", "--packages", "--index-url", "--base-image", "--persistent-resource", *OF_PLACES),
        "engine local",
        "{} is for jobs of a service and has no effect on the local engine. Leave it out, or give --engine vertex.",
    ),
    Row(
        OF_JOBS,
        "engine local",
        "{} is for jobs of a service, and this command is for the local engine. Leave it out, or give --project and "
        "--bucket, or --engine vertex.",
    ),
    Row(
        ("--profile",),
        "machines that are not chosen",
        "{} is for the machines of a service; here there is one. Leave it out, or give --engine vertex.",
    ),
    Row(
        REGISTERING,
        "engine local",
        "{} needs --engine vertex. A model that was trained here goes to Cloud Run by: python -m pipeline deploy",
    ),
    Row(
        ("--no-wait", "--schedule", "--compile-only", "--json"),
        "deploy run",
        "--deploy run writes a service at the run's end: it does not go with {}. Leave it out, or deploy afterwards: "
        "python -m pipeline deploy IDENTIFIER",
    ),
    Row(
        REGISTERING,
        "no promotion",
        "{} has no effect: the pipeline is no function that promotes a model. Leave it out.",
    ),
    Row(("--isolated",), "engine vertex", "{} is for the local engine; a service always does so. Leave it out."),
    Row(("--timezone",), "no schedule", "{} is that of --schedule, and none is given. Leave it out."),
    Row(("--data",), "no table", "{} has no effect: the pipeline has no parameter source. Leave it out."),
    Row(("--label",), "no label", "{} has no effect: the pipeline has no parameter label. Leave it out."),
    Row(("--model",), "no model", "{} has no effect: the pipeline uses no trained model. Leave it out."),
    Row(
        ("--from-search",),
        "no search",
        "{} has no effect on this pipeline: refit is the one that takes what a search has found. Leave --pipeline out.",
    ),
)


def refuse(given: Collection[str], situations: Collection[str]) -> None:
    """Refuse what has no effect.

    Args:
        given: The options that were given as flags, such as --data.
        situations: What is true of the command beside them, as the table names it.

    Raises:
        RequestError: an option makes no sense; all that make none for the same reason are in the one message.
    """
    for row in TABLE:
        if row.situation in situations or row.situation in given:
            options = [option for option in row.options if option in given]
            if options:
                raise RequestError(row.sentence.format(" and ".join(options)))


def situations(settings: "Settings", given: Collection[str]) -> set[str]:
    """Return what is true of a command before its pipeline is known, as the table names it."""
    engine, _ = settings.chosen_engine()
    found = {f"engine {engine}"}
    if "--compile-only" in given and not {*REGISTERING} & {*given}:
        found.add("a spec that registers nothing")
    if engine == "local" and "--compile-only" not in given and settings.profile != "auto":
        found.add("machines that are not chosen")
    if engine == "local" and "--compile-only" in given:
        found.add("a spec of here")
    if settings.schedule is None:
        found.add("no schedule")
    elif not {*NOTHING_RUNS} & {*given}:
        found.add("--schedule")
    return found
