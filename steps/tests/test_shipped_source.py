"""What KFP ships of a step: guarded once for all steps."""

import dis
import sys

import pytest

import steps
from pipeline.check import code_objects, unresolved_names

STEPS = [getattr(steps, name) for name in steps.__all__]
each_step = pytest.mark.parametrize("step", STEPS, ids=steps.__all__)


def container(step):
    return step.component_spec.implementation.container


@each_step
def test_shipped_source_names_nothing_that_exists_only_at_home(step):
    """A step runs where only its own text, that of its additional functions and kfp's names exist."""
    assert unresolved_names(container(step).command[-1]) == set()


@each_step
def test_imports_of_the_shipped_source_are_installed_by_the_step(step):
    """A package that a step imports stands in its packages_to_install, or a machine without it fails."""
    # google.api_core and google.auth come with the client of BigQuery
    distributions = {"sklearn": "scikit-learn", "google": "google-cloud-bigquery"}
    source = container(step).command[-1]
    imported = {
        instruction.argval.split(".")[0]
        for code in code_objects(compile(source, step.name, "exec"))
        for instruction in dis.get_instructions(code)
        if instruction.opname == "IMPORT_NAME"
    }
    standard = sys.stdlib_module_names | {"kfp"}
    installed = " ".join(container(step).command)
    for module in imported - standard:
        assert f"'{distributions.get(module, module)}==" in installed


@each_step
def test_step_names_its_image_and_pins_its_packages(step):
    assert container(step).image == "python:3.11"
    pip = next(part for part in container(step).command if "pip install" in part)
    packages = [word.strip("'") for word in pip.split() if word.startswith("'") and "==" in word]
    assert packages
    assert all("==" in package for package in packages)


@each_step
def test_every_input_and_output_is_described_in_the_spec(step):
    component = next(iter(step.pipeline_spec.components.values()))
    for definitions in (component.input_definitions, component.output_definitions):
        for name, definition in {**definitions.parameters, **definitions.artifacts}.items():
            assert definition.description, f"{step.name}: {name} has no description in the docstring"
    assert step.description
