"""Graphs: sub-pipelines, order, and tasks beside each other."""

from typing import Optional

from kfp import dsl
from kfp.dsl import Dataset

from pipeline.tests.conformance.cases import case
from pipeline.tests.conformance.steps import fail, joined, maybe, number, pair, read, say, write


@dsl.pipeline(name="fit")
def fit(text: str) -> Dataset:
    return write(text=text).outputs["file"]


@dsl.pipeline(name="defaulting")
def defaulting(text: str = "default", count: Optional[int] = None) -> str:
    maybe(value=count, text=text)
    return say(text=text).output


@dsl.pipeline(name="outer")
def outer(text: str) -> Dataset:
    write(text="not this")
    return fit(text=text).output


@dsl.pipeline(name="reading")
def reading(file: dsl.Input[Dataset]) -> str:
    return read(file=file).output


@dsl.pipeline(name="failing")
def failing():
    fail(text="deep")


@case(ran={"fit/write": ..., "fit-2/write": ..., "pair": "one two"}, stock=True, vertex=True)
@dsl.pipeline(name="sub-pipeline-called-twice")
def twice():
    one = fit(text="one")
    two = fit(text="two").after(one)
    pair(first=one.output, second=two.output)


@case(ran={"write": ..., "outer/write": ..., "outer/fit/write": ..., "pair": "here inside"})
@dsl.pipeline(name="tasks-of-one-name-at-several-depths")
def depths():
    pair(first=write(text="here").outputs["file"], second=outer(text="inside").output)


@case(
    ran={"defaulting/maybe": "None default", "defaulting/say": "default", "say": "default"},
    outputs={"Output": "default"},
)
@dsl.pipeline(name="sub-pipeline-with-defaults")
def with_defaults() -> str:
    return say(text=defaulting().output).output


@case(ran={"defaulting/maybe": "3 given", "defaulting/say": "given"})
@dsl.pipeline(name="sub-pipeline-with-values")
def with_values():
    defaulting(text="given", count=3)


@case(ran={"write": ..., "reading/read": "a", "say": "a"})
@dsl.pipeline(name="sub-pipeline-that-takes-an-artifact")
def takes_artifact():
    say(text=reading(file=write(text="a").outputs["file"]).output)


@case(
    ran={
        "for-loop-2/0/fit/write": ...,
        "for-loop-2/1/fit/write": ...,
        "for-loop-2/0/read": "a",
        "for-loop-2/1/read": "b",
    },
    vertex=True,
)
@dsl.pipeline(name="sub-pipeline-in-a-loop")
def in_loop():
    with dsl.ParallelFor(["a", "b"]) as text:
        read(file=fit(text=text).output)


@case(
    ran={"number": 1, "condition-1/defaulting/maybe": ..., "condition-1/defaulting/say": "x"},
    skipped=("condition-2/defaulting-2/maybe", "condition-2/defaulting-2/say"),
)
@dsl.pipeline(name="sub-pipeline-in-a-branch")
def in_branch():
    which = number(value=1)
    with dsl.If(which.output == 1):
        defaulting(text="x")
    with dsl.If(which.output == 2):
        defaulting(text="y")


@case(ran={}, failed={"failing/fail": "deep"}, stock=True, vertex=True)
@dsl.pipeline(name="a-failure-in-a-sub-pipeline-is-told-with-its-path")
def failure_inside():
    failing()


@case(ran={"say": "first", "say-2": "second", "say-3": "third"}, stock=True)
@dsl.pipeline(name="order-without-data")
def order():
    first = say(text="first")
    second = say(text="second").after(first)
    say(text="third").after(first, second)


@case(ran={"say": "a", "say-2": "b", "joined": "a+b"}, stock=True)
@dsl.pipeline(name="list-of-outputs")
def list_of_outputs():
    joined(texts=[say(text="a").output, say(text="b").output])


@case(ran={"number": 4, "number-2": 5, "say": "4 5", "say-2": "4 5"}, outputs={"Output": "4 5"})
@dsl.pipeline(name="diamond")
def diamond() -> str:
    together = say(text=f"{number(value=4).output} {number(value=5).output}")
    return say(text=together.output).output


@case(ran={"say": "nothing"}, stock=True)
@dsl.pipeline(name="pipeline-without-parameters")
def without_parameters():
    say()
