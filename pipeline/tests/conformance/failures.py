"""Failures: what runs after one, exit handlers, retries, and how a task may end."""

from kfp import dsl

from pipeline.tests.conformance.cases import case
from pipeline.tests.conformance.steps import fail, final, flaky, leave, number, numbers, say, score


@case(ran={"say": "cleaned up"}, failed={"exit-handler-1/fail": "boom"}, stock=True, vertex=True)
@dsl.pipeline(name="exit-handler-after-a-failure")
def exit_handler():
    with dsl.ExitHandler(say(text="cleaned up")):
        fail()


@case(ran={"exit-handler-1/say-2": "body", "say": "cleaned up"}, stock=True)
@dsl.pipeline(name="exit-handler-after-a-success")
def exit_handler_success():
    with dsl.ExitHandler(say(text="cleaned up")):
        say(text="body")


@case(
    ran={"final": "FAILED exit-handler-1 exit-handler-1/fail: boom"},
    failed={"exit-handler-1/fail": "boom"},
    vertex=True,
)
@dsl.pipeline(name="exit-handler-is-told-of-the-failure")
def final_status():
    with dsl.ExitHandler(final()):
        fail()


@case(ran={"exit-handler-1/say": "body", "final": "SUCCEEDED exit-handler-1"}, stock=False)
@dsl.pipeline(name="exit-handler-is-told-of-the-success")
def final_status_success():
    with dsl.ExitHandler(final()):
        say(text="body")


@case(ran={"exit-handler-1/say-2": "body", "say": "cleaned up", "say-3": "after"})
@dsl.pipeline(name="what-follows-an-exit-handler")
def after_exit_handler():
    with dsl.ExitHandler(say(text="cleaned up")) as handler:
        say(text="body")
    say(text="after").after(handler)


@case(
    ran={"exit-handler-1/for-loop-2/0/say-2": "a", "exit-handler-1/for-loop-2/1/say-2": "b", "say": "done"},
    parameters={"texts": ["a", "b"]},
)
@dsl.pipeline(name="loop-over-a-parameter-in-an-exit-handler")
def loop_inside(texts: list):
    with dsl.ExitHandler(say(text="done")), dsl.ParallelFor(texts) as text:
        say(text=f"{text}")


@dsl.pipeline(name="two-steps")
def two_steps(text: str = "x"):
    say(text="second").after(say(text=text))


@case(ran={"two-steps/say": "second", "two-steps/say-2": "bye"}, failed={"fail": "boom"})
@dsl.pipeline(name="a-sub-pipeline-that-ignores-its-upstream-runs-whole")
def sub_pipeline_ignoring():
    first = fail()
    two_steps(text="bye").after(first).ignore_upstream_failure()


@case(ran={"say": "still", "say-2": "after that"}, failed={"fail": "boom"})
@dsl.pipeline(name="what-follows-a-task-that-ignores-its-upstream-runs")
def following():
    first = fail()
    second = say(text="still").after(first).ignore_upstream_failure()
    say(text="after that").after(second)


@case(ran={"say-default": "default"}, failed={"fail": "boom"})
@dsl.pipeline(name="a-task-that-ignores-its-upstream-gets-its-default")
def default_given():
    @dsl.component(base_image="python:3.11")
    def say_default(text: str = "default") -> str:
        return text

    task = say_default(text=fail().output)
    task.ignore_upstream_failure()


@case(ran={}, failed={"fail": "boom"}, stock=True)
@dsl.pipeline(name="nothing-follows-a-failure")
def nothing_follows():
    say(text="never").after(fail())


@case(ran={"final": "FAILED fail fail: boom"}, failed={"fail": "boom"})
@dsl.pipeline(name="a-task-that-ignores-its-upstream-is-told-how-it-ended")
def told():
    first = fail()
    final().after(first).ignore_upstream_failure()


@case(ran={"flaky": 2}, parameters={"counter": "<tmp>/counter"}, says=("flaky failed and is tried again",), stock=True)
@dsl.pipeline(name="retry-that-succeeds")
def retry(counter: str):
    flaky(counter=counter, until=2).set_retry(2, backoff_duration="0s").set_caching_options(False)


@case(ran={}, failed={"flaky": "try 3"}, parameters={"counter": "<tmp>/counter"}, stock=True)
@dsl.pipeline(name="retries-that-do-not-suffice")
def retries_fail(counter: str):
    flaky(counter=counter, until=9).set_retry(2, backoff_duration="0s").set_caching_options(False)


@case(
    ran={"for-loop-2/0/flaky": 2, "for-loop-2/1/flaky": 2},
    parameters={"counter": "<tmp>/counter"},
)
@dsl.pipeline(name="retry-in-a-loop")
def retry_in_loop(counter: str):
    with dsl.ParallelFor(["a", "b"]) as item:
        flaky(counter=f"{counter}{item}", until=2).set_retry(1, backoff_duration="0s").set_caching_options(False)


@dsl.pipeline(name="unsteady")
def unsteady(counter: str) -> int:
    return flaky(counter=counter, until=2).set_caching_options(False).output


@case(
    ran={"unsteady/flaky": 2, "number": 2},
    parameters={"counter": "<tmp>/counter"},
    says=("unsteady failed and is tried again",),
)
@dsl.pipeline(name="retry-of-a-sub-pipeline")
def retry_of_sub_pipeline(counter: str):
    number(value=unsteady(counter=counter).set_retry(1, backoff_duration="0s").output)


@case(ran={"leave": ..., "say": "after"}, stock=True)
@dsl.pipeline(name="exit-with-0-is-a-success")
def exit_0():
    say(text="after").after(leave(code=0))


@case(ran={}, failed={"leave": "SystemExit: 3"}, stock=True)
@dsl.pipeline(name="exit-with-another-code-is-a-failure")
def exit_3():
    leave(code=3)


@dsl.component(base_image="python:3.11")
def infinite(item: int, metrics: dsl.Output[dsl.Metrics]):
    metrics.log_metric("value", float("inf") if item else 1.0)


@case(
    ran={"numbers": [0, 1], "for-loop-1/0/infinite": ...},
    failed={"for-loop-1/1/infinite": "the metadata of metrics: value is inf"},
)
@dsl.pipeline(name="a-metric-that-is-not-finite-is-named")
def not_finite():
    with dsl.ParallelFor(numbers(count=2).output) as item:
        infinite(item=item)


@case(ran={"score": ...}, vertex=True)
@dsl.pipeline(name="metrics-are-kept")
def metrics():
    score(value=0.5)
