import re

import pytest

from pipeline import ROOT, profiles


@pytest.mark.parametrize(
    ("n_bytes", "profile"), [(0, "small"), (200_000_000, "small"), (200_000_001, "standard"), (3_000_000_000, "large")]
)
def test_auto_chooses_by_the_size_of_the_data_and_says_so(n_bytes, profile):
    assert profiles.choose("auto", n_bytes) == (profile, f"{n_bytes:,} bytes of data")


def test_profile_that_is_asked_for_is_taken():
    assert profiles.choose("large", 0) == ("large", "asked for")


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_machines_are_within_the_limits_of_the_service(profile):
    for step in (*profiles.LEARNING, "any other"):
        machine = profiles.machine(profile, step)
        assert 1 <= machine.cpus <= 96
        assert 1 <= machine.memory_gb <= 624


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_endpoint_has_a_machine_of_the_size_of_the_steps(profile):
    machine = profiles.machine(profile, "")
    family, cpus = re.fullmatch(r"e2-(standard|highmem)-(2|4|8|16)", profiles.machine_type(profile)).groups()
    assert int(cpus) == machine.cpus
    assert int(cpus) * {"standard": 4, "highmem": 8}[family] == machine.memory_gb


def test_only_steps_whose_failures_are_not_their_inputs_are_tried_again():
    """The service tries again after any failure, a ValueError about the table among them."""
    steps = {path.stem.replace("_", "-") for path in (ROOT / "steps").glob("*.py")}
    learning = dict.fromkeys(("train-model", "score-candidate", "fit-member"), 2)
    assert {step: profiles.retries(step) for step in steps if profiles.retries(step)} == learning
    assert profiles.retries("a step of another pipeline") == 0
