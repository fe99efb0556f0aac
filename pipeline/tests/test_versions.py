"""What is only needed by some pipelines is imported, and has to be there, for these only."""

import os
import subprocess
import sys

import pytest

from pipeline import ROOT

# a module of None cannot be imported, as one that is not installed
WITHOUT = "import sys; sys.modules['google_cloud_pipeline_components'] = None; import run; sys.exit(run.main())"
VERTEX = ("--engine", "vertex", "--identifier", "x", "--project", "p", "--region", "us-central1", "--bucket", "bkt")
HERE = ("--engine", "local", "--identifier", "x", "--data", "sample:200", "--set", "max_iter=2")


def run(tmp_path, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COVERTYPE_RUNS_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)


def test_google_s_operators_are_not_needed_to_compile_for_the_service(tmp_path):
    assert run(tmp_path, *VERTEX[:2], "--compile-only", "spec.yaml").returncode == 0


def test_a_registration_without_google_s_operators_is_refused(tmp_path):
    refused = run(tmp_path, *VERTEX, "--compile-only", "spec.yaml", "--register")
    assert refused.returncode == 2
    assert refused.stderr == (
        "Error: --register and --deploy vertex need google-cloud-pipeline-components, which is not installed here. "
        "Install what pyproject.toml names: pip install .\n"
    )


@pytest.mark.slow
def test_google_s_operators_are_not_needed_for_a_run_here(tmp_path):
    assert run(tmp_path, *HERE).returncode == 0
