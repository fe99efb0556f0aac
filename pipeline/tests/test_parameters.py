import inspect

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from pipeline import PIPELINES, compiler
from pipeline.parameters import parameters_of, range_of
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model


@pytest.mark.parametrize(
    ("description", "text", "inside", "outside"),
    [
        ("Number of trees, at least 2.", "at least 2", (2, 1e9), (1, -5)),
        ("Weight, above 0; small ones take longer.", "above 0", (1e-9, 3), (0, -1)),
        ("A share, between 0 and 1. More of it.", "between 0 and 1", (0.5,), (0, 1)),
        ("A seed, from 0 to 4,294,967,295", "from 0 to 4,294,967,295", (0, 2**32 - 1), (-1, 2**32)),
        ("A shift, from -0.5 to 1e3; none\nby default", "from -0.5 to 1e3", (-0.5, 1000), (-0.6, 1001)),
        ("A share of\n    the rows,\n    between 0 and 1.", "between 0 and 1", (0.1,), (2,)),
    ],
)
def test_range_is_what_ends_the_first_clause(description, text, inside, outside):
    found = range_of(description)
    assert found.text == text
    assert all(number in found for number in inside)
    assert not any(number in found for number in outside)


@pytest.mark.parametrize(
    "description",
    ["", "Number of trees.", "Rows of the years from 1990 to 2020.", "Trees; of them, at least 2.", "At least 2."],
)
def test_other_words_are_no_range(description):
    assert range_of(description) is None


@dsl.component(base_image="python:3.11")
def fit(rows: Input[Dataset], depth: int = 3, rate: float = 0.5, label: str = "kind"):
    """Fit.

    Args:
        rows: Rows.
        depth: Depth of a tree,
            from 1 to 9.
        rate: Weight of a tree, above 0.
        label: Name of the label.
    """


@dsl.component(base_image="python:3.11")
def read(place: str, label: str, rows: Output[Dataset], depth: int = 7):
    """Read.

    Args:
        place: Where it is.
        label: Name of a column.
        depth: Depth of a folder.
    """


def test_pipeline_inherits_what_it_does_not_say_itself_from_the_first_step_that_takes_it():
    @dsl.pipeline(name="both")
    @parameters_of(fit, read)
    def both(place: str, depth: int, other: int = 4, label: str = "own", rate: float = 0.25):
        """Do both.

        Args:
            rate: Ours, at least 0.1.
            other: Another.
        """
        fit(rows=read(place=place, label=label).outputs["rows"], depth=depth, rate=rate)

    parameters = both.pipeline_spec.root.input_definitions.parameters
    assert {name: found.description for name, found in parameters.items()} == {
        "place": "Where it is.",
        "depth": "Depth of a tree, from 1 to 9.",
        "other": "Another.",
        "label": "Name of the label.",
        "rate": "Ours, at least 0.1.",
    }
    defaults = {name: found.default_value.number_value for name, found in parameters.items() if name != "label"}
    assert defaults == {"place": 0, "depth": 3, "other": 4, "rate": 0.25}
    assert parameters["label"].default_value.string_value == "own"
    assert not parameters["place"].is_optional
    assert both.description == "Do both."


def test_pipeline_without_a_section_of_arguments_gets_one():
    @parameters_of(fit)
    def none_said(depth: int):
        """Do it.

        Returns:
            What it has done.
        """

    assert inspect.getdoc(none_said) == (
        "Do it.\n\nArgs:\n    depth: Depth of a tree, from 1 to 9.\n\nReturns:\n    What it has done."
    )


def test_required_parameter_behind_one_with_a_default_is_told():
    with pytest.raises(ValueError, match=r"late: parameters without a default come first: place\."):

        @parameters_of(fit, read)
        def late(depth: int, place: str):
            pass


@pytest.mark.parametrize("name", PIPELINES)
def test_every_number_has_a_range_and_its_default_lies_in_it(name):
    for parameter, found in compiler.load(name).component_spec.inputs.items():
        if found.type in ("Integer", "Float", "NUMBER_INTEGER", "NUMBER_DOUBLE"):
            limits = range_of(found.description)
            assert limits, parameter
            assert limits.high < float("inf"), parameter
            assert found.default in limits


def test_steps_agree_on_the_defaults_of_what_they_share():
    defaults = {}
    for step in (prepare_data, split_data, preprocess, train_model):
        for name, found in step.component_spec.inputs.items():
            if found.optional:
                assert defaults.setdefault(name, found.default) == found.default, name
