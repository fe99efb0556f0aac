"""Conditions: what they compare, and what follows from a branch that does not run."""

from typing import List

from kfp import dsl

from pipeline.tests.conformance.cases import case
from pipeline.tests.conformance.steps import fail, flag, measured, number, numbers, records, say, share


@case(ran={"measured": ..., "condition-1/say": "deploy"}, vertex=True)
@dsl.pipeline(name="if-on-a-named-output")
def named_output():
    with dsl.If(measured(value=0.95).outputs["accuracy"] > 0.9):
        say(text="deploy")


@case(ran={"measured": ...}, skipped=("condition-1/say",))
@dsl.pipeline(name="if-on-a-named-output-that-is-not-met")
def named_output_not_met():
    with dsl.If(measured(value=0.5).outputs["accuracy"] > 0.9):
        say(text="deploy")


@case(ran={"measured": ..., "condition-1/say": "deploy"})
@dsl.pipeline(name="if-on-a-named-text")
def named_text():
    with dsl.If(measured(value=0.6).outputs["label"] == "good"):
        say(text="deploy")


@case(ran={"condition-1/say": "it's"}, parameters={"text": "it's"})
@dsl.pipeline(name="if-on-a-text-with-a-quote")
def quote(text: str):
    with dsl.If(text != ""):
        say(text=text)


@case(ran={"condition-1/say": 'a "b" \\ é {{$}}\n'}, parameters={"text": 'a "b" \\ é {{$}}\n'})
@dsl.pipeline(name="if-on-a-text-with-all-kinds-of-signs")
def signs(text: str):
    with dsl.If(text != "a"):
        say(text=text)


@case(ran={"number": 3, "condition-1/say": "three"}, stock=True)
@dsl.pipeline(name="if-on-a-whole-number")
def whole_number():
    with dsl.If(number(value=3).output == 3):
        say(text="three")


@case(ran={"share": 1.0, "condition-1/say": "one"})
@dsl.pipeline(name="if-on-a-number-against-a-whole-one")
def mixed_numbers():
    with dsl.If(share(value=1.0).output == 1):
        say(text="one")


@case(ran={"flag": True, "condition-1/say": "yes"}, skipped=("condition-2/say-2",), stock=True)
@dsl.pipeline(name="if-on-a-truth-value")
def truth():
    told = flag(value=True)
    with dsl.If(told.output == True):  # noqa: E712
        say(text="yes")
    with dsl.If(told.output == False):  # noqa: E712
        say(text="no")


@case(ran={"number": 2, "number-2": 2, "condition-1/say": "same"})
@dsl.pipeline(name="if-compares-two-outputs")
def two_outputs():
    with dsl.If(number(value=2).output == number(value=2).output):
        say(text="same")


@case(
    ran={"number": 5, "condition-branches-1/condition-3/say-2": "middle"},
    skipped=("condition-branches-1/condition-2/say", "condition-branches-1/condition-4/say-3"),
    stock=True,
)
@dsl.pipeline(name="if-elif-else")
def branches():
    size = number(value=5)
    with dsl.If(size.output > 9):
        say(text="large")
    with dsl.Elif(size.output > 3):
        say(text="middle")
    with dsl.Else():
        say(text="small")


@case(ran={"number": 5, "condition-1/say": "outer", "condition-1/condition-2/say-2": "inner"}, vertex=True)
@dsl.pipeline(name="if-in-an-if")
def nested():
    size = number(value=5)
    with dsl.If(size.output > 3):
        say(text="outer")
        with dsl.If(size.output < 9):
            say(text="inner")


@case(
    ran={"numbers": [0, 1, 2], "for-loop-1/1/condition-2/number": 1, "for-loop-1/2/condition-2/number": 2},
    skipped=("for-loop-1/0/condition-2/number",),
    vertex=True,
)
@dsl.pipeline(name="if-on-a-loop-item")
def loop_item():
    with dsl.ParallelFor(numbers(count=3).output) as item, dsl.If(item > 0):
        number(value=item)


@case(ran={"records": ..., "for-loop-1/1/condition-2/say": "2"}, skipped=("for-loop-1/0/condition-2/say",))
@dsl.pipeline(name="if-on-a-field-of-a-loop-item")
def field():
    with dsl.ParallelFor(records().output) as item, dsl.If(item.label == "two"):
        say(text=item.size)


@case(
    ran={"for-loop-1/1/number": 1, "for-loop-1/0/number": 0, "for-loop-1/1/condition-2/say": "more"},
    skipped=("for-loop-1/0/condition-2/say",),
    parameters={"values": [0, 1]},
)
@dsl.pipeline(name="if-on-an-output-within-a-loop")
def within_loop(values: List[int]):
    with dsl.ParallelFor(values) as item:
        given = number(value=item)
        with dsl.If(given.output > 0):
            say(text="more")


@case(ran={"number": 1}, skipped=("condition-1/say", "condition-1/say-2"))
@dsl.pipeline(name="all-of-a-branch-is-skipped")
def whole_branch():
    with dsl.If(number(value=1).output > 3):
        first = say(text="first")
        say(text=first.output)


@case(
    ran={},
    failed={"condition-1": "cannot be read"},
    parameters={"text": "x"},
)
@dsl.pipeline(name="a-condition-that-cannot-be-read-is-told")
def unreadable(text: str):
    with dsl.If(text == "it's"):
        say(text="never")


@case(ran={}, failed={"fail": "boom"})
@dsl.pipeline(name="a-condition-on-a-failed-task")
def on_failed():
    with dsl.If(fail().output == "x"):
        say(text="never")
