"""Environments: whose settings count, what is refused, and where the name of one is found again."""

import pytest

import run
from pipeline import RequestError, __main__, settings

TABLES = """
[tool.covertype]
region = "us-central1"
bucket = "everyday"

[tool.covertype.environments.dev]
project = "trees-dev"

[tool.covertype.environments.prod]
project = "trees-prod"
bucket = "gs://trees-prod/"
profile = "large"
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write a file that stands for pyproject.toml."""
    path = tmp_path / "pyproject.toml"
    monkeypatch.setattr(settings, "PYPROJECT", path)
    path.write_text(TABLES)
    return path


def test_flag_then_variable_then_environment_then_table(table, monkeypatch):
    assert (settings.settle().project, settings.settle().bucket) == (None, "everyday")
    settled = settings.settle(env="prod")
    assert (settled.project, settled.bucket, settled.region) == ("trees-prod", "trees-prod", "us-central1")
    assert settled.told_environment() == "prod, which sets project, bucket, profile"
    monkeypatch.setenv("COVERTYPE_BUCKET", "from-variable")
    monkeypatch.setenv("COVERTYPE_ENV", "prod")
    settled = settings.settle(project="from-flag")
    assert (settled.env, settled.project, settled.bucket) == ("prod", "from-flag", "from-variable")
    assert settled.told_environment().endswith("profile; COVERTYPE_BUCKET overrules its bucket")
    assert settings.settle(env="dev").project == "trees-dev"


def test_table_may_name_the_environment_that_is_meant_where_none_is(table):
    table.write_text(TABLES.replace("[tool.covertype]", '[tool.covertype]\nenv = "dev"'))
    assert (settings.settle().project, settings.settle(env="prod").project) == ("trees-dev", "trees-prod")


@pytest.mark.parametrize(
    ("text", "env", "told"),
    [
        (TABLES, "test", "--env 'test': there is no such environment. Those in pyproject.toml are: dev, prod."),
        ("", "test", "Those in pyproject.toml are: none."),
        (TABLES + 'buckt = "x"', None, "environments.prod] in pyproject.toml has 'buckt', which is no setting of"),
        (TABLES + 'env = "dev"', "dev", "has 'env', which is no setting of an environment"),
        ("[tool.covertype]\nenvironments = 3", None, ", line 2: expected tables of settings"),
        ("[tool.covertype.environments]\nprod = 3", None, ": expected tables of settings"),
        (TABLES + "fuse = 7", "prod", "line 13: fuse = 7: Input should be"),
        (TABLES + "project = 7", "prod", "Cannot overwrite a value"),
        (TABLES, "../x", "--env '../x': there is no such environment"),
    ],
)
def test_what_is_wrong_is_told_with_what_there_is(table, text, env, told):
    table.write_text(text)
    with pytest.raises(RequestError) as refused:
        settings.settle(env=env)
    assert told in str(refused.value)


def test_environment_is_recorded_and_checked(table, local_run):
    table.write_text('[tool.covertype.environments.dev]\ndata = "sample:60"\n')
    checked = local_run("--identifier", "x", "--env", "dev", "--check")
    assert "environment: dev, which sets data" in checked.out
    assert "sample:60" in checked.out
    done = local_run("--identifier", "x", "--env", "dev", "--pipeline", "pipeline/tests/test_request.py:plain")
    assert (done.status, done.record["environment"]) == (0, "dev")
    assert "Env    dev, which sets data" in done.err


def test_job_carries_its_environment_and_the_verbs_find_it(table, vertex, local_run, capsys, monkeypatch):
    table.write_text('[tool.covertype.environments.prod]\nproject = "demo"\nregion = "us-central1"\nbucket = "trees"\n')
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION", "COVERTYPE_BUCKET"):
        monkeypatch.delenv(name)
    plain = ("--pipeline", "pipeline/tests/test_request.py:plain")
    done = local_run("--identifier", "oaks", "--env", "prod", *plain, "--no-wait")
    assert done.status == 0, done.err
    job = done.record["job"].rpartition("/")[2]
    (sent,) = [body for method, path, body in vertex.requests if method == "POST" and f"pipelineJobId={job}" in path]
    assert sent["labels"]["environment"] == "prod"
    assert sent["labels"]["git_commit"] == (done.record["git"]["commit"] or "unknown")
    assert __main__.main(["follow", job]) == 2
    assert "--project is missing" in capsys.readouterr().err
    assert __main__.main(["follow", job, "--env", "prod"]) == 0
    assert run.main(["--identifier", "oaks", *plain, "--env", "prd"]) == 2
    assert "are: prod." in capsys.readouterr().err
