"""Options without effect are refused, before anything is started; those that have one are not."""

import re
import shlex

import pytest

from pipeline import ROOT, RequestError, contradictions
from pipeline.contradictions import TABLE, refuse
from pipeline.settings import settle

VALUES = {
    "--identifier": "x",
    "--data": "sample:50",
    "--label": "Cover_Type",
    "--model": "latest",
    "--from-search": "latest",
    "--set": "max_iter=2",
    "--profile": "large",
    "--compile-only": "spec.yaml",
    "--schedule": "0 6 * * 1",
    "--timezone": "UTC",
    "--project": "p",
    "--region": "us-central1",
    "--bucket": "trees",
    "--service-account": "a@b",
    "--deploy": "vertex",
    "--parallelism": "2",
    "--packages": "bucket",
    "--index-url": "https://packages.example/simple",
    "--base-image": "mirror.example/library/python:3.11-slim",
    "--persistent-resource": "warm",
    "--network": "projects/1/global/networks/own",
    "--reserved-ip-ranges": "own-range",
    "--psc-attachment": "projects/p/regions/us-central1/networkAttachments/own",
    "--encryption-key": "projects/p/locations/us-central1/keyRings/own/cryptoKeys/own",
    "--timeout": "2",
    "--notify": "a@b.example",
}
SITUATIONS = {  # what brings each about that is no option itself
    "engine local": ("--engine", "local"),
    "machines that are not chosen": ("--engine", "local"),
    "a spec of here": ("--engine", "local", "--compile-only", "spec.yaml"),
    "engine vertex": ("--engine", "vertex"),
    "deploy run": ("--engine", "vertex", "--deploy", "run"),
    "a spec that registers nothing": ("--compile-only", "spec.yaml"),
    "no promotion": ("--engine", "vertex", "--pipeline", "own.py:own"),
    "no schedule": ("--engine", "vertex"),
    "no table": ("--pipeline", "own.py:own"),
    "no label": ("--pipeline", "own.py:own"),
    "no model": ("--pipeline", "own.py:own"),
    "no search": ("--pipeline", "own.py:own"),
}
OWN = """
from kfp import dsl


@dsl.component(base_image="python:3.11")
def say(text: str):
    print(text)


@dsl.pipeline(name="own")
def own():
    say(text="a")
"""


def words(option):
    return (option, VALUES[option]) if option in VALUES else (option,)


@pytest.mark.parametrize(("option", "situation"), [(option, row.situation) for row in TABLE for option in row.options])
def test_option_without_effect_is_refused(local_run, tmp_path, monkeypatch, option, situation):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    named = () if "--identifier" in (option, situation) or situation == "--compile-only" else words("--identifier")
    refused = local_run(*named, *words(option), *(SITUATIONS.get(situation) or words(situation)))
    assert refused.status == 2
    assert refused.err.startswith("Error: ")
    assert option in refused.err
    assert re.search(r"(no effect|needs|does not go|runs nothing|is for|is that of)", refused.err)
    assert refused.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "spec.yaml").exists()


def refused(*options, **flags):
    given = {*options, *(f"--{name.replace('_', '-')}" for name in flags)}
    try:
        refuse(given, contradictions.situations(settle(**flags), given))
    except RequestError:
        return True
    return False


def test_option_with_an_effect_is_not_refused():
    vertex = {"engine": "vertex"}
    assert not refused("--isolated", "--no-cache", "--json", "--quiet", engine="local", data="sample", label="x")
    assert not refused(
        "--no-wait", "--experiment", "--json", **vertex, service_account="a", region="r", profile="large"
    )
    assert not refused("--check", **vertex, schedule="0 6 * * 1", timezone="UTC", profile="large")
    assert not refused("--unschedule", **vertex, identifier="x", project="p", region="r", bucket="trees")
    assert not refused("--compile-only", "--set", "--no-cache", label="x", profile="large")
    assert not refused(project="p", bucket="trees", service_account="a")
    assert not refused(profile="auto")
    assert refused(project="p", engine="local")
    assert refused(project="p")


def test_only_flags_count(monkeypatch):
    for name, value in {"PROFILE": "large", "SERVICE_ACCOUNT": "a", "TIMEZONE": "UTC", "REGION": "r"}.items():
        monkeypatch.setenv(f"COVERTYPE_{name}", value)
    assert not refused("--check", engine="local")
    assert not refused("--compile-only")
    assert not refused("--unschedule", engine="vertex")
    monkeypatch.setenv("COVERTYPE_SCHEDULE", "0 6 * * 1")
    assert not refused("--check", engine="vertex", timezone="UTC")
    assert not refused("--unschedule", engine="vertex")
    assert refused("--no-wait", engine="vertex")


def test_all_that_have_none_for_one_reason_are_told_at_once(local_run):
    told = local_run("--identifier", "x", "--no-wait", "--experiment").err
    assert told.startswith("Error: --no-wait and --experiment ")


def test_commands_of_the_docs_are_not_refused(monkeypatch):
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    commands = re.findall(r"^python run\.py ([^\n#]+)", text, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        options = {word for word in shlex.split(command) if word.startswith("--")} - {"--help", "--pipeline"}
        schedule = "0 6 * * 1" if "--schedule" in options else None
        given = options - {"--engine"}
        with monkeypatch.context() as environment:
            if not is_for_here(given, schedule):
                environment.setenv("GOOGLE_CLOUD_PROJECT", "my-project")  # as the page says before
                environment.setenv("COVERTYPE_BUCKET", "my-bucket")
            refuse(given, contradictions.situations(settle(schedule=schedule), given))


def is_for_here(given, schedule):
    try:
        refuse(given, contradictions.situations(settle(schedule=schedule), given))
    except RequestError:
        return False
    return True
