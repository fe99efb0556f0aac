"""Parameters: types, defaults, None, placeholders, and data that looks like placeholders."""

from typing import Dict, List, Optional

from kfp import dsl

from pipeline.tests.conformance.cases import case
from pipeline.tests.conformance.steps import defaults, maybe, number, say, share, templates, variable


@case(
    ran={"defaults": "3 b [5] {'k': [1, None]}"},
    parameters={"count": 3, "text": "b", "values": [5], "table": {"k": [1, None]}},
    vertex=True,
)
@dsl.pipeline(name="parameters-of-all-types")
def all_types(count: int, text: str, values: List[int], table: Dict[str, list]):
    defaults(number=count, text=text, values=values, table=table)


@case(ran={"defaults": "1 p [9] {'z': 0}"}, stock=True, vertex=True)
@dsl.pipeline(name="defaults-of-the-pipeline")
def pipeline_defaults(count: int = 1, text: str = "p", values: list = [9], table: dict = {"z": 0}):
    defaults(number=count, text=text, values=values, table=table)


@case(ran={"defaults": "7 x [1, 2] {'a': 1}"}, stock=True)
@dsl.pipeline(name="defaults-of-a-step")
def step_defaults():
    defaults()


@case(ran={"maybe": "None None"}, vertex=True)
@dsl.pipeline(name="optional-parameters-without-a-value")
def optional(count: Optional[int] = None, text: Optional[str] = None):
    maybe(value=count, text=text)


@case(ran={"maybe": "4 None"}, parameters={"count": 4})
@dsl.pipeline(name="optional-parameters-with-a-value")
def optional_given(count: Optional[int] = None, text: Optional[str] = None):
    maybe(value=count, text=text)


@case(ran={"defaults": "7 x [1, 2] {'a': 1}"})
@dsl.pipeline(name="none-for-a-parameter-with-a-default")
def none_for_default(count: Optional[int] = None):
    defaults(number=count)


@case(ran={"show": "0 False 0.0 []"})
@dsl.pipeline(name="falsy-values-are-values")
def falsy():
    @dsl.component(base_image="python:3.11")
    def show(count: int = 1, told: bool = True, part: float = 1.0, values: list = [1]) -> str:
        return f"{count} {told} {part} {values}"

    show(count=0, told=False, part=0.0, values=[])


@case(ran={"share": 2.0}, parameters={"part": 2})
@dsl.pipeline(name="whole-number-for-a-number")
def whole_for_number(part: float):
    share(value=part)


@case(
    ran={"number": 3, "share": 0.25, "say": "3 of 0.25 in text"},
    parameters={"place": "text"},
    stock=True,
    vertex=True,
)
@dsl.pipeline(name="values-in-a-text")
def in_text(place: str):
    say(text=f"{number(value=3).output} of {share(value=0.25).output} in {place}")


@case(
    ran={
        "templates": "{{$}} {{$.pipeline_job_name}} {{$.inputs.parameters['text']}} python3",
        "say": "{{$}} {{$.pipeline_job_name}} {{$.inputs.parameters['text']}} python3",
        "say-2": "got {{$}} {{$.pipeline_job_name}} {{$.inputs.parameters['text']}} python3",
    },
    vertex=True,
)
@dsl.pipeline(name="data-that-looks-like-placeholders")
def like_placeholders():
    told = templates().output
    say(text=told)
    say(text=f"got {told}")


@case(ran={"say": "{{$}} {{$.x}}"}, parameters={"text": "{{$}} {{$.x}}"})
@dsl.pipeline(name="a-parameter-that-looks-like-a-placeholder")
def parameter_like_placeholder(text: str):
    say(text=text)


@case(ran={"say": ..., "say-2": ..., "say-3": "say-3"})
@dsl.pipeline(name="placeholders-of-the-job")
def of_job():
    say(text=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    say(text=f"{dsl.PIPELINE_JOB_NAME_PLACEHOLDER} {dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER}")
    say(text=dsl.PIPELINE_TASK_NAME_PLACEHOLDER)


@case(ran={"say": ...})
@dsl.pipeline(name="placeholders-of-the-time")
def of_time():
    say(text=f"{dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER} {dsl.PIPELINE_TASK_ID_PLACEHOLDER}")


@case(ran={"variable": "fast", "variable-2": "none"}, stock=True)
@dsl.pipeline(name="variables-of-the-environment")
def environment():
    variable(name="MODE").set_env_variable("MODE", "fast")
    variable(name="MODE")


@case(ran={"say": ..., "say-2": ...}, parameters={"text": "x" * 200_000})
@dsl.pipeline(name="long-texts")
def long_texts(text: str):
    say(text=say(text=text).output)
