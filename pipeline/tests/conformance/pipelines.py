"""Small pipelines, one a feature or a combination, each with what is right.

What is right was read from KFP's documents, its compiler's proto and the backend's driver: which tasks run, what each
returns, which are skipped or fail, and what the pipeline returns.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional

from kfp import dsl
from kfp.dsl import Artifact, Dataset

from pipeline.tests.conformance.components import (
    add,
    address_of,
    as_text,
    count_to,
    echo,
    fail,
    flaky,
    half,
    leave,
    length_of,
    list_as_text,
    maybe,
    named,
    negate,
    optional_file,
    pairs,
    read,
    read_all,
    register,
    told,
    variable,
    words,
    write,
    write_typed,
)


@dataclass
class Case:
    """A pipeline and what is right."""

    pipeline: Any
    ran: dict[str, Any]  # what each task that succeeded returns, by its path; None where it returns nothing
    skipped: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    returns: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {}
NAMED = (True, [0, 1, 2], 3, 0.95, "it's")  # what named() returns, in the order of the outputs' names


def case(ran: dict[str, Any], **right: Any) -> Callable[[Callable[..., Any]], None]:
    """Make a pipeline of a function, named after it, and keep it with what is right."""

    def keep(function: Callable[..., Any]) -> None:
        name = function.__name__
        CASES[name] = Case(dsl.pipeline(name=name.replace("_", "-"))(function), ran, **right)

    return keep


# parameters


@case({"echo": "here"})
def constant():
    echo(text="here")


@case({"echo": "given"}, parameters={"text": "given"})
def parameter(text: str):
    echo(text=text)


@case({"echo": "by default"})
def default(text: str = "by default"):
    echo(text=text)


@case({"add": 3, "half": 0.75, "negate": False}, parameters={"number": 1})
def types_of_parameters(number: int, share: float = 1.5, flag: bool = True):
    add(a=number, b=2)
    half(number=share)
    negate(flag=flag)


@case({"as-text": '{"a": 1, "b": [1, 2]}', "list-as-text": '["x", 1]'})
def struct_and_list(value: dict = {"a": 1, "b": [1, 2]}, items: list = ["x", 1]):
    as_text(value=value)
    list_as_text(value=items)


@case({"as-text": '{"given": {"a": "b"}}'}, parameters={"value": {"given": {"a": "b"}}})
def given_struct(value: dict):
    as_text(value=value)


@case({"maybe": "None default"})
def optional_without_a_value(number: Optional[int] = None):
    maybe(number=number)


@case({"maybe": "7 default"}, parameters={"number": 7})
def optional_with_a_value(number: Optional[int] = None):
    maybe(number=number)


@case({"maybe": "None default"})
def default_of_the_step():
    maybe()


@case({"echo": "one and 2"}, parameters={"a": "one", "b": 2})
def text_with_parameters_in_it(a: str, b: int):
    echo(text=f"{a} and {b}")


@case({"add": 5, "add-2": 8, "echo": "5 8"})
def outputs_of_tasks():
    first = add(a=2, b=3)
    second = add(a=first.output, b=3)
    echo(text=f"{first.output} {second.output}")


@case({"named": NAMED, "echo": "it's", "add": 4, "half": 0.475})
def named_outputs():
    outputs = named().outputs
    echo(text=outputs["word"])
    add(a=outputs["number"], b=1)
    half(number=outputs["share"])


@case({"count-to": [0, 1], "list-as-text": "[0, 1]"})
def list_from_a_task():
    list_as_text(value=count_to(n=2).output)


@case({"echo": "{{$}} {{$.inputs.parameters['x']}} python3", "echo-2": "{{$}} {{$.inputs.parameters['x']}} python3!"})
def data_is_no_placeholder(text: str = "{{$}} {{$.inputs.parameters['x']}} python3"):
    echo(text=f"{echo(text=text).output}!")


@case({"echo": 'say "it\'s" ü 山\n\\n'}, parameters={"text": 'say "it\'s" ü 山\n\\n'})
def odd_characters(text: str):
    echo(text=text)


@case({"echo": "4", "add": 7}, returns={"Output": 7})
def returned_value() -> int:
    echo(text="4")
    return add(a=3, b=4).output


@case({"echo": "a", "add": 3}, returns={"word": "a", "number": 3})
def returned_values() -> NamedTuple("Returned", word=str, number=int):
    returned = NamedTuple("Returned", word=str, number=int)
    return returned(word=echo(text="a").output, number=add(a=1, b=2).output)


@case({"echo-2": "second", "echo": "first"})
def order_without_data():
    first = echo(text="first")
    echo(text="second").after(first)


@case({"variable": "fast"})
def environment_variable():
    variable(name="MODE").set_env_variable("MODE", "fast")


# artifacts


@case({"write": None, "read": "content", "length-of": 7})
def artifact_with_metadata():
    file = write(text="content").outputs["file"]
    read(file=file)
    length_of(file=file)


@case({"write-typed": "abc", "read": "abc", "echo": "abc"})
def artifacts_and_a_value_of_one_task():
    made = write_typed(text="abc")
    read(file=made.outputs["rows"])
    echo(text=made.outputs["Output"])


@case({"optional-file": "None"})
def optional_artifact_without_a_value():
    optional_file()


@case({"importer": None, "address-of": "gs://bucket/rows me"})
def importer_of_a_constant():
    data = dsl.importer(artifact_uri="gs://bucket/rows", artifact_class=Dataset, metadata={"owner": "me"})
    address_of(data=data.output)


@case({"importer": None, "address-of": "gs://given/rows"}, parameters={"uri": "gs://given/rows"})
def importer_of_a_parameter(uri: str):
    address_of(data=dsl.importer(artifact_uri=uri, artifact_class=Dataset).output)


@case({"echo": "gs://of/a-task", "importer": None, "address-of": "gs://of/a-task"})
def importer_of_an_output():
    uri = echo(text="gs://of/a-task").output
    address_of(data=dsl.importer(artifact_uri=uri, artifact_class=Dataset).output)


@case({"register": None, "address-of": "gs://models/seven"})
def address_that_a_step_sets():
    address_of(data=register(address="gs://models/seven").outputs["data"])


# conditions


@case({"echo": "yes", "condition-1/echo-2": "taken"})
def condition_on_text():
    with dsl.If(echo(text="yes").output == "yes"):
        echo(text="taken")


@case({"echo": "no"}, skipped={"condition-1/echo-2"})
def condition_that_is_not_met():
    with dsl.If(echo(text="no").output == "yes"):
        echo(text="taken")


@case({"named": NAMED, "condition-1/echo": "taken"})
def condition_on_a_named_output():
    with dsl.If(named().outputs["share"] > 0.9):
        echo(text="taken")


@case({"condition-1/echo": "taken"}, parameters={"text": 'it\'s "quoted"'})
def condition_on_a_quoted_parameter(text: str):
    with dsl.If(text != ""):
        echo(text="taken")


@case({"condition-1/echo": "taken"}, skipped={"condition-2/echo-2"}, parameters={"flag": True})
def condition_on_a_truth_value(flag: bool):
    with dsl.If(flag == True):  # noqa: E712
        echo(text="taken")
    with dsl.If(flag == False):  # noqa: E712
        echo(text="not taken")


@case(
    {"add": 5, "condition-branches-1/condition-3/echo-2": "middle"},
    skipped={"condition-branches-1/condition-2/echo", "condition-branches-1/condition-4/echo-3"},
)
def if_elif_else():
    number = add(a=2, b=3).output
    with dsl.If(number > 10):
        echo(text="large")
    with dsl.Elif(number > 4):
        echo(text="middle")
    with dsl.Else():
        echo(text="small")


@case({"add": 5, "condition-1/condition-2/echo": "both"}, skipped={"condition-1/condition-3/echo-2"})
def condition_in_a_condition():
    number = add(a=2, b=3).output
    with dsl.If(number > 1):
        with dsl.If(number < 10):
            echo(text="both")
        with dsl.If(number > 10):
            echo(text="one")


@case({"echo": "no"}, skipped={"condition-1/echo-2", "condition-1/echo-3"})
def all_inside_a_branch_is_skipped():
    with dsl.If(echo(text="no").output == "yes"):
        echo(text=echo(text="inside").output)


def _one_of(pick: str) -> tuple[dict[str, Any], set[str]]:
    taken, other = ("2/echo", "3/echo-2") if pick == "a" else ("3/echo-2", "2/echo")
    ran = {f"condition-branches-1/condition-{taken}": pick.upper(), "echo-3": pick.upper()}
    return ran, {f"condition-branches-1/condition-{other}"}


def _one_of_parameters(pick: str) -> None:
    with dsl.If(pick == "a"):
        first = echo(text="A")
    with dsl.Else():
        second = echo(text="B")
    echo(text=dsl.OneOf(first.output, second.output))


@case(_one_of("a")[0], skipped=_one_of("a")[1], parameters={"pick": "a"})
def one_of_the_first(pick: str):
    _one_of_parameters(pick)


@case(_one_of("b")[0], skipped=_one_of("b")[1], parameters={"pick": "b"})
def one_of_the_second(pick: str):
    _one_of_parameters(pick)


@case(
    {"condition-branches-1/condition-3/write-2": None, "read": "B"},
    skipped={"condition-branches-1/condition-2/write"},
    parameters={"pick": "b"},
)
def one_of_artifacts(pick: str):
    with dsl.If(pick == "a"):
        first = write(text="A")
    with dsl.Else():
        second = write(text="B")
    read(file=dsl.OneOf(first.outputs["file"], second.outputs["file"]))


# loops


@case({"for-loop-2/0/echo": "a", "for-loop-2/1/echo": "b"})
def loop_over_constants():
    with dsl.ParallelFor(["a", "b"]) as item:
        echo(text=item)


@case({"for-loop-1/0/echo": "x", "for-loop-1/1/echo": "y"}, parameters={"items": ["x", "y"]})
def loop_over_a_parameter(items: List[str]):
    with dsl.ParallelFor(items) as item:
        echo(text=item)


@case({"words": ["word 0", "word 1"], "for-loop-1/0/echo": "word 0", "for-loop-1/1/echo": "word 1"})
def loop_over_an_output():
    with dsl.ParallelFor(words(n=2).output) as item:
        echo(text=item)


@case({"named": NAMED, **{f"for-loop-1/{n}/add": n + 1 for n in range(3)}})
def loop_over_a_named_output():
    with dsl.ParallelFor(named().outputs["items"]) as item:
        add(a=item, b=1)


@case({f"for-loop-2/{n}/{task}": text for n in range(2) for task, text in (("echo", "ab"[n]), ("echo-2", "12"[n]))})
def loop_over_parts_of_items():
    with dsl.ParallelFor([{"word": "a", "size": "1"}, {"word": "b", "size": "2"}]) as item:
        echo(text=item.word)
        echo(text=item.size)


@case(
    {
        "pairs": [{"word": "a", "size": "1"}, {"word": "b", "size": "2"}],
        "for-loop-1/0/echo": "a",
        "for-loop-1/1/echo": "b",
    }
)
def loop_over_parts_of_an_output():
    with dsl.ParallelFor(pairs().output) as item:
        echo(text=item.word)


@case({"for-loop-1/0/as-text": '{"a": 1}', "for-loop-1/1/as-text": '{"a": 2}'})
def loop_over_whole_structs(items: List[Dict[str, int]] = [{"a": 1}, {"a": 2}]):
    with dsl.ParallelFor(items) as item:
        as_text(value=item)


@case({"count-to": []})
def loop_over_nothing():
    with dsl.ParallelFor(count_to(n=0).output) as item:
        add(a=item, b=1)


@case({f"for-loop-2/{a}/for-loop-4/{b}/add": (a + 1) + 10 * (b + 1) for a in range(2) for b in range(2)})
def loop_in_a_loop():
    with dsl.ParallelFor([1, 2]) as a, dsl.ParallelFor([10, 20]) as b:
        add(a=a, b=b)


@case(
    {
        "for-loop-2/0/count-to": [0],
        "for-loop-2/1/count-to": [0, 1],
        "for-loop-2/0/for-loop-3/0/add": 1,
        "for-loop-2/1/for-loop-3/0/add": 2,
        "for-loop-2/1/for-loop-3/1/add": 3,
    }
)
def loop_over_the_output_of_a_loop():
    with dsl.ParallelFor([1, 2]) as a, dsl.ParallelFor(count_to(n=a).output) as b:
        add(a=a, b=b)


@case({f"for-loop-2/{place}/echo": "x" * 300 if not place else "a/b: ü" for place in range(2)})
def items_of_any_length():
    with dsl.ParallelFor(["x" * 300, "a/b: ü"]) as item:
        echo(text=item)


@case({f"for-loop-2/{n}/echo": str(n) for n in range(5)})
def loop_with_a_limit():
    with dsl.ParallelFor([str(n) for n in range(5)], parallelism=2) as item:
        echo(text=item)


@case(
    {"count-to": [0, 1, 2], "for-loop-1/1/condition-2/echo": "1", "for-loop-1/2/condition-2/echo": "2"},
    skipped={"for-loop-1/0/condition-2/echo"},
)
def condition_on_an_item():
    with dsl.ParallelFor(count_to(n=3).output) as item, dsl.If(item > 0):
        echo(text=f"{item}")


@case({"for-loop-2/0/add": 2, "for-loop-2/1/add": 3, "list-as-text": "[2, 3]"})
def collected_values():
    with dsl.ParallelFor([1, 2]) as item:
        task = add(a=item, b=1)
    list_as_text(value=dsl.Collected(task.output))


@case({"count-to": [], "list-as-text": "[]"})
def collected_of_an_empty_loop():
    with dsl.ParallelFor(count_to(n=0).output) as item:
        task = add(a=item, b=1)
    list_as_text(value=dsl.Collected(task.output))


@case({"for-loop-2/0/write": None, "for-loop-2/1/write": None, "read-all": "a+b"})
def collected_artifacts():
    with dsl.ParallelFor(["a", "b"]) as item:
        task = write(text=item)
    read_all(files=dsl.Collected(task.outputs["file"]))


@dsl.pipeline
def all_written(texts: List[str]) -> List[Artifact]:
    with dsl.ParallelFor(texts) as text:
        task = write(text=text)
    return dsl.Collected(task.outputs["file"])


@case(
    {
        **{f"all-written/for-loop-1/{n}/write": None for n in range(2)},
        **{f"for-loop-1/{n}/read": "ab"[n] for n in range(2)},
    }
)
def loop_over_artifacts():
    with dsl.ParallelFor(all_written(texts=["a", "b"]).output) as file:
        read(file=file)


@case({"for-loop-2/0/add": 2, "for-loop-2/1/add": 3}, returns={"Output": [2, 3]})
def returned_collection() -> List[int]:
    with dsl.ParallelFor([1, 2]) as item:
        task = add(a=item, b=1)
    return dsl.Collected(task.output)


# sub-pipelines


@dsl.pipeline
def doubled(text: str) -> str:
    return echo(text=f"{text}{text}").output


@dsl.pipeline
def written(text: str) -> Artifact:
    return write(text=text).outputs["file"]


@dsl.pipeline
def nested(text: str) -> str:
    return doubled(text=echo(text=text).output).output


@case({"doubled/echo": "aa", "echo": "aa!"})
def sub_pipeline():
    echo(text=f"{doubled(text='a').output}!")


@case({"written/write": None, "written-2/write": None, "read": "one", "read-2": "two"})
def sub_pipeline_twice():
    first, second = written(text="one"), written(text="two")
    read(file=first.output)
    read(file=second.output)


@case({"write": None, "written/write": None, "read": "outside", "read-2": "inside"})
def same_name_outside_and_inside():
    outside = write(text="outside")
    inside = written(text="inside").after(outside)
    read(file=outside.outputs["file"])
    read(file=inside.output)


@case({"nested/echo": "b", "nested/doubled/echo": "bb"}, returns={"Output": "bb"})
def sub_pipeline_in_a_sub_pipeline() -> str:
    return nested(text="b").output


@case({"for-loop-2/0/doubled/echo": "aa", "for-loop-2/1/doubled/echo": "bb"})
def sub_pipeline_in_a_loop():
    with dsl.ParallelFor(["a", "b"]) as item:
        doubled(text=item)


@case({}, skipped={"condition-1/doubled/echo"}, parameters={"go": False})
def sub_pipeline_in_a_branch(go: bool):
    with dsl.If(go == True):  # noqa: E712
        doubled(text="a")


# failures


@case({"echo": "before"}, failed={"fail"})
def failure_holds_back_what_follows():
    echo(text=fail(text=echo(text="before").output).output)


@case({}, failed={"fail"})
def nothing_follows_a_failure():
    echo(text=fail(text="boom").output)


@case({"exit-handler-1/echo-2": "body", "echo": "cleaned up"})
def exit_handler_after_success():
    with dsl.ExitHandler(echo(text="cleaned up")):
        echo(text="body")


@case({"echo": "cleaned up"}, failed={"exit-handler-1/fail"})
def exit_handler_after_failure():
    with dsl.ExitHandler(echo(text="cleaned up")):
        fail(text="boom")


@case({"told": "FAILED exit-handler-1"}, failed={"exit-handler-1/fail"})
def exit_handler_is_told_how_it_ended():
    with dsl.ExitHandler(told()):
        fail(text="boom")


@case({"exit-handler-1/echo": "body", "told": "SUCCEEDED exit-handler-1"})
def exit_handler_is_told_of_success():
    with dsl.ExitHandler(told()):
        echo(text="body")


@case(
    {"exit-handler-1/for-loop-2/0/echo-2": "x", "exit-handler-1/for-loop-2/1/echo-2": "y", "echo": "done"},
    parameters={"items": ["x", "y"]},
)
def loop_over_a_parameter_in_an_exit_handler(items: List[str]):
    with dsl.ExitHandler(echo(text="done")), dsl.ParallelFor(items) as item:
        echo(text=item)


@case({"maybe": "1 after all"}, failed={"fail"})
def task_that_ignores_a_failure():
    maybe(number=1, text="after all").after(fail(text="boom")).ignore_upstream_failure()


@case({"flaky": "3 tries"}, parameters={"counter": "<counter>"})
def retry_until_it_passes(counter: str):
    flaky(counter=counter, until=3).set_retry(num_retries=3, backoff_duration="0s")


@case({}, failed={"flaky"}, parameters={"counter": "<counter>"})
def retries_that_are_not_enough(counter: str):
    flaky(counter=counter, until=4).set_retry(num_retries=2, backoff_duration="0s")


@case({"leave": None})
def end_with_status_0():
    leave(status=0)


@case({}, failed={"leave"})
def end_with_another_status():
    leave(status=3)


@case(
    {"for-loop-2/0/condition-4/echo": "fine"},
    failed={"for-loop-2/1/condition-3/fail"},
    skipped={"for-loop-2/0/condition-3/fail", "for-loop-2/1/condition-4/echo"},
)
def failure_in_a_loop():
    with dsl.ParallelFor(["fine", "wrong"], parallelism=1) as item:
        with dsl.If(item == "wrong"):
            fail(text=item)
        with dsl.If(item == "fine"):
            echo(text=item)
