"""Random ends and crowds for a while; python -m pipeline.tests.chaos plays as many rounds as one likes."""

import subprocess
import sys

import pytest

from pipeline import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("what", ["kills", "crowds"])
def test_random_rounds_find_no_fault(what):
    command = [sys.executable, "-m", "pipeline.tests.chaos", what, "--seconds", "45"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr  # with the seed
