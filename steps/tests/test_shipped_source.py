"""What KFP ships of a step: guarded once for all steps."""

import ast
import sys

import pytest

from pipeline import graph
from pipeline.check import unresolved_names
from steps.combine_models import combine_models
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model

STEPS = [prepare_data, split_data, preprocess, train_model, combine_models, evaluate_model]
each_step = pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])


def container(step):
    return step.component_spec.implementation.container


def sources(step):
    return graph.sources({"command": container(step).command})


@each_step
def test_shipped_source_names_nothing_that_exists_only_at_home(step):
    """A step runs where only its own text, that of its additional functions and modules, and kfp's names exist."""
    assert {file: unresolved_names(text) for file, text in sources(step).items()} == {
        file: set() for file in sources(step)
    }


@each_step
def test_imports_of_the_shipped_source_are_installed_by_the_step(step):
    """A package that a step or a module of it imports stands in its packages_to_install, or a machine lacks it."""
    # google.api_core and google.auth come with the client of BigQuery
    distributions = {
        "sklearn": "scikit-learn",
        "google": "google-cloud-bigquery",
        "google_crc32c": "google-crc32c",
        "python_calamine": "python-calamine",
    }
    imported = set()
    for node in (node for text in sources(step).values() for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)
    own = {file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for file in sources(step)}
    assert {name for name in imported if name.startswith("steps")} <= own
    packages = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names - {"kfp", "steps"}
    installed = " ".join(container(step).command[:-1])
    for module in packages:
        assert f"'{distributions.get(module, module)}==" in installed


@each_step
def test_step_names_its_image_and_pins_its_packages(step):
    assert container(step).image == "python:3.11-slim"
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
