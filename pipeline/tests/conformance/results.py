"""Results: what loops collect, which branch a OneOf takes, and what a pipeline returns."""

from typing import List, NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset

from pipeline.tests.conformance.cases import case
from pipeline.tests.conformance.steps import (
    joined,
    measured,
    nested_total,
    number,
    numbers,
    read,
    read_all,
    say,
    total,
    write,
)


@case(
    ran={"for-loop-2/0/number": 1, "for-loop-2/1/number": 2, "total": 3},
    outputs={"Output": 3},
    vertex=True,
)
@dsl.pipeline(name="collected-parameters")
def parameters() -> int:
    with dsl.ParallelFor([1, 2]) as item:
        inner = number(value=item)
    return total(values=dsl.Collected(inner.output)).output


@case(
    ran={"for-loop-2/0/write": ..., "for-loop-2/1/write": ..., "read-all": "b+a"},
    outputs={"Output": "b+a"},
    stock=True,
    vertex=True,
)
@dsl.pipeline(name="collected-artifacts-in-the-order-of-the-items")
def artifacts() -> str:
    with dsl.ParallelFor(["b", "a"]) as item:
        inner = write(text=item)
    return read_all(files=dsl.Collected(inner.outputs["file"])).output


@case(ran={"numbers": [], "total": 0}, vertex=True)
@dsl.pipeline(name="collected-of-an-empty-loop")
def empty():
    with dsl.ParallelFor(numbers(count=0).output) as item:
        inner = number(value=item)
    total(values=dsl.Collected(inner.output))


@case(ran={"numbers": [], "read-all": ""})
@dsl.pipeline(name="collected-artifacts-of-an-empty-loop")
def empty_of_artifacts():
    with dsl.ParallelFor(numbers(count=0).output) as item:
        inner = write(text=f"{item}")
    read_all(files=dsl.Collected(inner.outputs["file"]))


@case(
    ran={"for-loop-2/1/condition-3/number": 2, "for-loop-2/2/condition-3/number": 3, "total": 5},
    skipped=("for-loop-2/0/condition-3/number",),
)
@dsl.pipeline(name="collected-of-the-branches-that-ran")
def branches():
    with dsl.ParallelFor([1, 2, 3]) as item, dsl.If(item > 1):
        inner = number(value=item)
    total(values=dsl.Collected(inner.output))


@case(
    ran={"total": 0},
    skipped=tuple(f"for-loop-2/{place}/condition-3/number" for place in range(2)),
)
@dsl.pipeline(name="collected-of-branches-none-of-which-ran")
def no_branch():
    with dsl.ParallelFor([1, 2]) as item, dsl.If(item > 9):
        inner = number(value=item)
    total(values=dsl.Collected(inner.output))


@case(
    ran={
        "number": 1,
        "condition-1/for-loop-3/0/number-2": ...,
        "condition-1/for-loop-3/1/number-2": ...,
        "condition-1/total": 3,
    },
)
@dsl.pipeline(name="collected-within-a-branch")
def within_branch():
    with dsl.If(number(value=1).output == 1):
        with dsl.ParallelFor([1, 2]) as item:
            inner = number(value=item)
        total(values=dsl.Collected(inner.output))


@case(
    ran={f"for-loop-2/{outer}/for-loop-4/{inner}/number": inner + 1 for outer in (0, 1) for inner in (0, 1)}
    | {"nested-total": 6},
)
@dsl.pipeline(name="collected-of-nested-loops-is-a-list-of-lists")
def nested():
    with dsl.ParallelFor([1, 2]), dsl.ParallelFor([1, 2]) as item:
        inner = number(value=item)
    nested_total(values=dsl.Collected(inner.output))


@case(
    ran={
        "for-loop-2/0/numbers": [0],
        "for-loop-2/1/numbers": [0, 1],
        "for-loop-2/0/for-loop-3/0/say": "0",
        "for-loop-2/1/for-loop-3/0/say": "0",
        "for-loop-2/1/for-loop-3/1/say": "1",
        "for-loop-2/0/joined": "0",
        "for-loop-2/1/joined": "0+1",
    },
)
@dsl.pipeline(name="collected-within-an-outer-iteration")
def within_loop():
    with dsl.ParallelFor([1, 2]) as count:
        with dsl.ParallelFor(numbers(count=count).output) as item:
            inner = say(text=f"{item}")
        joined(texts=dsl.Collected(inner.output))


@case(
    ran={"number": 1, "condition-branches-1/condition-2/say": "one", "say-3": "one"},
    skipped=("condition-branches-1/condition-3/say-2",),
    outputs={"Output": "one"},
    stock=True,
    vertex=True,
)
@dsl.pipeline(name="one-of-parameters")
def one_of_parameters() -> str:
    which = number(value=1)
    with dsl.If(which.output == 1):
        first = say(text="one")
    with dsl.Else():
        second = say(text="other")
    return say(text=dsl.OneOf(first.output, second.output)).output


@case(
    ran={"number": 2, "condition-branches-1/condition-3/write-2": ..., "read": "other"},
    skipped=("condition-branches-1/condition-2/write",),
    vertex=True,
)
@dsl.pipeline(name="one-of-artifacts")
def one_of_artifacts():
    which = number(value=2)
    with dsl.If(which.output == 1):
        first = write(text="one")
    with dsl.Else():
        second = write(text="other")
    read(file=dsl.OneOf(first.outputs["file"], second.outputs["file"]))


@case(
    ran={"number": 2, "condition-branches-1/condition-3/say-2": "other"},
    skipped=("condition-branches-1/condition-2/say",),
    outputs={"Output": "other"},
    stock=True,
)
@dsl.pipeline(name="one-of-is-returned")
def one_of_returned() -> str:
    which = number(value=2)
    with dsl.If(which.output == 1):
        first = say(text="one")
    with dsl.Else():
        second = say(text="other")
    return dsl.OneOf(first.output, second.output)


@case(ran={"write": ...}, outputs={"Output": "a"}, stock=True)
@dsl.pipeline(name="an-artifact-is-returned")
def artifact_returned() -> Dataset:
    return write(text="a").outputs["file"]


@case(
    ran={"for-loop-2/0/write": ..., "for-loop-2/1/write": ...},
    outputs={"Output": ["a", "b"]},
)
@dsl.pipeline(name="collected-artifacts-are-returned")
def artifacts_returned() -> List[Artifact]:
    with dsl.ParallelFor(["a", "b"]) as item:
        inner = write(text=item)
    return dsl.Collected(inner.outputs["file"])


class Results(NamedTuple):
    figure: float
    label: str
    file: Dataset


@case(
    ran={"measured": ..., "write": ...},
    outputs={"figure": 0.75, "label": "good", "file": "x"},
)
@dsl.pipeline(name="several-results-are-returned-by-their-names")
def several() -> Results:
    told, file = measured(value=0.75), write(text="x")
    return Results(figure=told.outputs["accuracy"], label=told.outputs["label"], file=file.outputs["file"])
