"""The workflows: their actions are pinned, and what they run works as it stands there."""

import os
import re
import subprocess
import sys

import pytest
import yaml

from pipeline import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


@pytest.mark.slow
def test_deployment_compiles_checks_submits_and_schedules(vertex, tmp_path):
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text("utf-8"))["jobs"]
    lines = {step.get("name"): step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}
    variables = os.environ | {"COVERTYPE_IDENTIFIER": "delivered", "COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    variables |= {"COVERTYPE_DATA": "sample:1400", "SCHEDULE": ""}

    def does(name, **more):
        script = (
            lines[name].replace(".venv/bin/python", sys.executable).replace("spec.yaml", str(tmp_path / "spec.yaml"))
        )
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=ROOT, env=variables | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "Wrote" in does("compile", GOOGLE_CLOUD_PROJECT="", COVERTYPE_BUCKET="")
    assert "environment: prod" in does("check")
    assert "Job    https://" in does("submit or schedule")
    assert "Schedule projects/" in does("submit or schedule", SCHEDULE="0 6 * * 1")
    (sent,) = [body for method, path, body in vertex.requests if method == "POST" and "=delivered-" in path]
    assert sent["labels"].keys() >= {"git_commit", "environment"}
