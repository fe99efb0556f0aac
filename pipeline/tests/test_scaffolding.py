"""new-step and new-pipeline write what works as it stands, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from pipeline import ROOT, RequestError, __main__, scaffolding

OF_THE_TEST = ("COVERTYPE_", "GOOGLE_", "STORAGE_EMULATOR", "PYTEST_")


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository, and how a Python command is run in it."""
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "docs", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=ignored)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_TEST)}

    def command(*arguments, status=0):
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    command.folder = folder
    return command


def written(told):
    return [path for path in re.findall(r"(?:Wrote|Changed) (\S+)", told) if path.endswith(".py")]


def lint(run, files):
    run("-m", "ruff", "check", *files)
    run("-m", "ruff", "format", "--check", *files)


def lint_in(folder, texts):
    """Lint texts as files of the repository."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path in (*ROOT.glob("steps/*.py"), *ROOT.glob("pipeline/*.py")):  # by which ruff knows its own
        (folder / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        (folder / path.relative_to(ROOT)).touch()
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    lint(lambda *arguments: subprocess.run([sys.executable, *arguments], cwd=folder, check=True), texts)


@pytest.mark.parametrize("form", scaffolding.FORMS)
@pytest.mark.parametrize("name", ["q", "a" * scaffolding.LONGEST_NAME])
def test_what_is_written_is_lint_clean_whatever_the_name(tmp_path, form, name):
    other = f"z{name[1:]}"
    texts = scaffolding.new_pipeline(name, form).texts | scaffolding.new_step(other).texts
    lint_in(tmp_path, texts)


@pytest.mark.parametrize("form", scaffolding.FORMS)
def test_what_is_written_has_the_name_everywhere(form):
    texts = scaffolding.new_pipeline("my-orders", form).texts | scaffolding.new_step("keep-recent").texts
    for path, text in texts.items():
        assert not re.search("new.pipeline|new.step|templates", text.replace("m pipeline new-step NAME", "")), path
    assert '"my_orders": "pipeline.my_orders:my_orders",\n}' in texts["pipeline/__init__.py"]
    assert '@dsl.pipeline(name="my-orders")' in texts["pipeline/my_orders.py"]


@pytest.mark.slow
def test_step_is_in_a_pipeline_and_run_within_three_commands(copy):
    told = copy("-m", "pipeline", "new-pipeline", "my-orders", "--form", "batch")
    told += copy("-m", "pipeline", "new-step", "keep-recent", "--pipeline", "my_orders")
    done = copy("run.py", "--identifier", "x", "--pipeline", "my_orders", "--data", "sample:500")
    assert "keep-recent Output: 0" in done
    lint(copy, {*written(told)})
    assert "steps/tests/test_keep_recent.py" in told


@pytest.mark.slow
@pytest.mark.parametrize("form", scaffolding.FORMS)
def test_everything_passes_at_once(copy, form):
    name = "my_orders"
    told = copy("-m", "pipeline", "new-pipeline", name, "--form", form)
    told += copy("-m", "pipeline", "new-step", "keep-recent", "--pipeline", name)
    files = {*written(told)}
    lint(copy, files)
    if "[tool.mypy]" in (ROOT / "pyproject.toml").read_text("utf-8"):
        copy("-m", "mypy", "--follow-imports=silent", *(file for file in files if "/tests/" not in file))
    tests = [file for file in files if "/tests/" in file]
    # and those of all pipelines and steps
    of_all = ["pipeline/tests/test_compiler.py", "pipeline/tests/test_parameters.py", "steps/tests/test_run_again.py"]
    copy("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *of_all)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Keep", "'Keep' is no name of a step: expected a letter"),
        ("1st", "is no name of a step"),
        ("keep recent", "is no name of a step"),
        ("../keep", "is no name of a step"),
        ("keep--recent", "is no name of a step"),
        ("a" * 31, "at most 30"),
        ("lambda", "lambda is a word of Python's own"),
        ("match", "match is a word of Python's own"),
        ("filter", "filter is the name of something that steps and pipelines use"),
        ("dsl", "dsl is the name of something"),
        ("split-data", "steps/split_data.py is there, and nothing is overwritten"),
        ("tables", "steps/tables is there"),
        ("graph", "pipeline/tests/test_graph.py is there"),  # which pytest would take for the same
    ],
)
def test_name_that_cannot_be_taken_is_refused(name, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        scaffolding.new_step(name)


@pytest.mark.parametrize("name", ["training", "check", "benchmark"])
def test_pipeline_is_not_written_over_what_is_there(name):
    with pytest.raises(RequestError, match=f"{name}.* is there, and nothing is overwritten|a pipeline {name}"):
        scaffolding.new_pipeline(name)


def test_pipeline_that_takes_no_step_is_told(tmp_path, capsys):
    with pytest.raises(RequestError, match="champion puts out a table for keep_recent to read"):
        scaffolding.new_step("keep-recent", "champion")
    assert __main__.main(["new-step", "keep-recent", "--pipeline", "nope"]) == 2
    assert "--pipeline 'nope' is none of the pipelines" in capsys.readouterr().err
    assert not (ROOT / "steps" / "keep_recent.py").exists()


def test_step_is_put_before_what_a_pipeline_returns_and_among_its_imports(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from kfp import dsl\n"
        "from kfp.dsl import Dataset\n\n"
        "from steps.split_data import split_data\n\n\n"
        "@dsl.pipeline\n"
        "def own() -> Dataset:\n"
        '    table = dsl.importer(artifact_uri="rows", artifact_class=Dataset)\n'
        "    parts = split_data(dataset=table.output)\n"
        '    return parts.outputs["train"]\n'
    )
    text = scaffolding.new_step("keep-recent", f"{file}:own").texts[str(file)]
    assert "from steps.keep_recent import keep_recent\nfrom steps.split_data import" in text
    assert text.endswith(
        "    parts = split_data(dataset=table.output)\n"
        '    keep_recent_task = keep_recent(rows=parts.outputs["test"])\n'
        '    keep_recent_task.set_display_name("Keep recent")\n\n'
        '    return parts.outputs["train"]\n'
    )
