"""Loops: over constants, parameters, outputs and artifacts, nested, and odd items."""

from typing import Dict, List

from kfp import dsl
from kfp.dsl import Dataset

from pipeline.tests.conformance.cases import case
from pipeline.tests.conformance.steps import (
    defaults,
    measured,
    number,
    numbers,
    read,
    records,
    say,
    show_record,
    words,
    write,
)


@case(ran={"for-loop-2/0/number": 4, "for-loop-2/1/number": 5}, vertex=True)
@dsl.pipeline(name="loop-over-constants")
def constants():
    with dsl.ParallelFor([4, 5]) as item:
        number(value=item)


@case(ran={"for-loop-1/0/say": "a", "for-loop-1/1/say": "b"}, parameters={"texts": ["a", "b"]}, stock=True, vertex=True)
@dsl.pipeline(name="loop-over-a-parameter")
def parameter(texts: List[str]):
    with dsl.ParallelFor(texts) as text:
        say(text=text)


@case(ran={"numbers": [0, 1], "for-loop-1/0/number": 0, "for-loop-1/1/number": 1}, stock=True)
@dsl.pipeline(name="loop-over-an-output")
def output():
    with dsl.ParallelFor(numbers(count=2).output) as item:
        number(value=item)


@case(ran={"measured": ..., "for-loop-1/0/number": 1, "for-loop-1/1/number": 2}, vertex=True)
@dsl.pipeline(name="loop-over-a-named-output")
def named_output():
    with dsl.ParallelFor(measured(value=0.1).outputs["codes"]) as item:
        number(value=item)


@case(
    ran={f"for-loop-2/{outer}/for-loop-4/{inner}/say": f"{outer} {inner}" for outer in (0, 1) for inner in (0, 1)},
    vertex=True,
)
@dsl.pipeline(name="loop-in-a-loop")
def nested():
    with dsl.ParallelFor([0, 1]) as outer, dsl.ParallelFor([0, 1]) as inner:
        say(text=f"{outer} {inner}")


@case(
    ran={
        "for-loop-2/0/numbers": [0],
        "for-loop-2/1/numbers": [0, 1],
        "for-loop-2/0/for-loop-3/0/number": 0,
        "for-loop-2/1/for-loop-3/0/number": 0,
        "for-loop-2/1/for-loop-3/1/number": 1,
    }
)
@dsl.pipeline(name="loop-over-the-output-of-an-outer-iteration")
def inner_output():
    with dsl.ParallelFor([1, 2]) as count, dsl.ParallelFor(numbers(count=count).output) as item:
        number(value=item)


@case(ran={"for-loop-2/0/show-record": "a=1,b=x", "for-loop-2/1/show-record": "a=2,b=y"})
@dsl.pipeline(name="loop-over-objects")
def objects():
    with dsl.ParallelFor([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]) as item:
        show_record(record=item)


@case(ran={"for-loop-2/0/say": "1 x", "for-loop-2/1/say": "2 y"})
@dsl.pipeline(name="loop-over-the-fields-of-objects")
def fields():
    with dsl.ParallelFor([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]) as item:
        say(text=f"{item.a} {item.b}")


@case(ran={"records": ..., "for-loop-1/0/say": "one of 1", "for-loop-1/1/say": "two of 2"})
@dsl.pipeline(name="loop-over-the-fields-of-an-output")
def fields_of_output():
    with dsl.ParallelFor(records().output) as item:
        say(text=f"{item.label} of {item.size}")


@case(ran={"for-loop-1/0/show-record": "k=v"}, parameters={"tables": [{"k": "v"}]})
@dsl.pipeline(name="loop-over-a-parameter-of-objects")
def objects_of_parameter(tables: List[Dict[str, str]]):
    with dsl.ParallelFor(tables) as table:
        show_record(record=table)


@case(ran={"numbers": [], "say": "after"}, vertex=True)
@dsl.pipeline(name="loop-over-nothing")
def empty():
    with dsl.ParallelFor(numbers(count=0).output) as item:
        inner = number(value=item)
    del inner
    say(text="after")


@case(ran={"words": ..., "for-loop-1/0/say": "a b", "for-loop-1/1/say": "c/d", "for-loop-1/2/say": "e:f"})
@dsl.pipeline(name="loop-over-texts-that-are-no-file-names")
def odd_texts():
    with dsl.ParallelFor(words().output) as text:
        say(text=text)


@case(
    ran={"for-loop-1/0/say": "x" * 340, "for-loop-1/1/say": "../up", "for-loop-1/2/say": "", "for-loop-1/3/say": ""},
    parameters={"texts": ["x" * 340, "../up", "", ""]},
)
@dsl.pipeline(name="loop-over-long-odd-and-equal-texts")
def long_texts(texts: List[str]):
    with dsl.ParallelFor(texts) as text:
        say(text=text)


@case(ran={"for-loop-2/0/say": "same", "for-loop-2/1/say": "same"})
@dsl.pipeline(name="loop-whose-body-does-not-take-the-item")
def unused_item():
    with dsl.ParallelFor([1, 2]):
        say(text="same")


@case(ran={f"for-loop-2/{place}/number": place for place in range(4)})
@dsl.pipeline(name="loop-one-by-one")
def one_by_one():
    with dsl.ParallelFor([0, 1, 2, 3], parallelism=1) as item:
        number(value=item)


@case(
    ran={"for-loop-1/0/write": ..., "for-loop-1/1/write": ..., "for-loop-1/0/read": "a", "for-loop-1/1/read": "b"},
    parameters={"texts": ["a", "b"]},
    vertex=True,
)
@dsl.pipeline(name="loop-of-tasks-that-hand-artifacts-on")
def chained(texts: List[str]):
    with dsl.ParallelFor(texts) as text:
        read(file=write(text=text).outputs["file"])


@dsl.pipeline(name="written")
def written(texts: List[str]) -> List[Dataset]:
    with dsl.ParallelFor(texts) as text:
        each = write(text=text)
    return dsl.Collected(each.outputs["file"])


@case(
    ran={
        "written/for-loop-1/0/write": ...,
        "written/for-loop-1/1/write": ...,
        "for-loop-1/0/read": "a",
        "for-loop-1/1/read": "b",
    },
    parameters={"texts": ["a", "b"]},
)
@dsl.pipeline(name="loop-over-artifacts")
def artifacts(texts: List[str]):
    with dsl.ParallelFor(written(texts=texts).output) as file:
        read(file=file)


@case(ran={"number": 3, "for-loop-2/0/say": "3", "for-loop-2/1/say": "3"})
@dsl.pipeline(name="loop-that-uses-what-is-outside")
def outside():
    three = number(value=3)
    with dsl.ParallelFor([1, 2]):
        say(text=f"{three.output}")


@case(ran={"for-loop-2/0/defaults": "1 x [1, 2] {'a': 1}", "for-loop-2/1/defaults": "2 x [1, 2] {'a': 1}"})
@dsl.pipeline(name="loop-of-a-step-with-defaults")
def step_with_defaults():
    with dsl.ParallelFor([1, 2]) as item:
        defaults(number=item)


@case(
    ran={"for-loop-2/0/condition-3/number": 1},
    skipped=("for-loop-2/0/condition-4/fail", "for-loop-2/1/condition-3/number"),
    failed={"for-loop-2/1/condition-4/fail": "at 2"},
)
@dsl.pipeline(name="a-failure-in-a-loop-is-told-with-its-path")
def failure():
    from pipeline.tests.conformance.steps import fail

    with dsl.ParallelFor([1, 2], parallelism=1) as item:
        with dsl.If(item != 2):
            number(value=item)
        with dsl.If(item == 2):
            fail(text=f"at {item}")
