"""What a run takes and costs: estimated before it, and counted after it, by one table of dated prices."""

import re
from datetime import UTC, datetime

import pytest
from kfp import dsl

from pipeline import __main__, compiler, graph, prices, profiles
from pipeline.runs import Data, Git, Run, Task
from pipeline.target import Target


@dsl.component(base_image="python:3.11")
def work(item: int = 0) -> list:
    return [item]


@dsl.component(base_image="python:3.11")
def greet(name: str) -> str:
    return name


@dsl.container_component
def operator():
    """What a service does itself."""
    return dsl.ContainerSpec(image=f"{graph.GOOGLE_IMAGE}2.22.0", command=["python3"])


@dsl.pipeline(name="inner")
def inner():
    work(item=1).after(work(item=2))


@dsl.pipeline(name="chains")
def chains(items: list = [1, 2, 3, 4, 5]):  # noqa: B006
    first = work()
    within = inner().after(first)  # two in series
    with dsl.ParallelFor(items, parallelism=2) as item:  # five, two at once: three in series
        work(item=item)
    with dsl.ParallelFor([1, 2]), dsl.ParallelFor([1, 2, 3]):
        work(item=9)
    dsl.importer(artifact_uri="gs://b/x", artifact_class=dsl.Dataset)
    work(item=3).after(within)
    with dsl.If(greet(name="a").output == "a"):
        operator()


@dsl.pipeline(name="open")
def open_ended():
    with dsl.ParallelFor(work().output) as item:
        work(item=item)


@dsl.pipeline(name="large")
def large():
    work().set_cpu_limit("96").set_memory_limit("624G")
    greet(name="a").set_accelerator_type("NVIDIA_TESLA_T4").set_accelerator_limit(1)


def of(pipeline, profile="standard", parameters=None, found=None, **target):
    spec = graph.parsed(compiler.compiled(pipeline, Target("vertex", profile, **target)))
    return prices.estimate(spec, parameters or {}, found)


@pytest.mark.parametrize(
    ("profile", "hour"),
    [("small", 13 * 0.077063), ("standard", 6 * 0.154126 + 7 * 0.308253), ("large", 6 * 0.415838 + 7 * 1.23301)],
)
def test_training_starts_thirteen_machines_for_seven_classes_seven_in_series(profile, hour):
    found = of(compiler.load("training"), profile, found={"prepare-data": 7})
    assert (found.starts, found.in_series, found.minutes) == (13, 7, (14, 21))
    assert found.hour == pytest.approx(hour, rel=1e-4)
    assert found.usd == pytest.approx((0.03 + hour / 30, 0.03 + hour / 20), rel=1e-4)
    low, high = map(prices.shown, found.usd)
    assert str(found).startswith(f"13 starts, 7 in series: about 14 to 21 min and {low} to {high}; the steps' own")
    assert f"prices on demand of {prices.DATE}, us-central1" in str(found)


def test_loops_sub_pipelines_and_what_starts_no_machine_are_counted_as_they_run():
    found = of(chains)
    assert (found.starts, found.in_series) == (1 + 2 + 5 + 6 + 1 + 1, 4)
    assert of(chains, parameters={"items": [1]}).starts == 12
    assert of(chains, parameters={"items": [*range(20)]}).in_series == 10
    assert of(chains, parameters={"items": []}).starts == 11


def test_loop_over_what_is_not_known_before_is_said_to_be_counted_once():
    found = of(open_ended)
    assert (found.starts, found.in_series) == (2, 2)
    assert str(found).startswith("at least 2 starts, work-2 once for an item that is not known before, 2 in series")
    assert "at least" not in str(of(open_ended, found={"work": 3}))
    assert of(open_ended, found={"work": 3}).starts == 4


def test_machine_without_a_known_price_is_said_to_be_left_out():
    found = of(large)
    assert (found.starts, found.hour, found.unpriced) == (2, 0, ("greet", "work"))
    assert "min and $0.030, without greet, work, of whose machines no price is known;" in str(found)


@pytest.mark.parametrize(
    ("cpus", "memory", "found"),
    [
        ("", "", "e2-standard-4"),
        ("4", "16G", "e2-standard-4"),
        ("8", "64G", "e2-highmem-8"),
        ("32", "128G", "e2-standard-32"),
        ("500m", "500Mi", "e2-highcpu-2"),
        ("3", "", "e2-highcpu-4"),
        ("", "20G", "e2-highmem-4"),
        ("4", "16384M", "e2-highmem-4"),
        ("4", "16000000000", "e2-standard-4"),
        ("4", "16", "e2-standard-4"),
        ("64", "16G", prices.UNKNOWN),
        ("{cpus}", "16G", prices.UNKNOWN),
        ("4", "much", prices.UNKNOWN),
    ],
)
def test_limits_are_priced_as_the_cheapest_type_that_has_as_much(cpus, memory, found):
    assert prices.machine_type(cpus, memory) == found


@pytest.mark.parametrize(
    ("usd", "text"),
    [(12.345, "$12.35"), (0.1, "$0.10"), (0.0345, "$0.035"), (0.00345, "$0.0034"), (0.00009, "<$0.0001")],
)
def test_amount_is_shown_with_the_digits_that_it_has(usd, text):
    assert prices.shown(usd) == text


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_candidate_of_a_search_is_priced_by_the_machine_that_it_gets(profile):
    of_second, told = prices.of_candidates(profile)
    spec = graph.parsed(compiler.compiled(compiler.load("search"), Target("vertex", profile)))
    node = next(node for node in graph.nodes(spec) if node.name == "score-candidate")
    kind = prices.machine_type(node.cpus, node.memory)
    assert of_second == prices.hourly(kind) / 3600
    assert told == f"{kind}, prices on demand of {prices.DATE}, us-central1"


def test_price_of_the_service_is_that_of_the_machine_with_its_markup():
    assert pytest.approx(0.21849885) == prices.MARKUP * 0.189999  # an n1-standard-4, on which both are known
    assert prices.hourly("e2-standard-4") == pytest.approx(0.154126, abs=1e-6)
    for price in (prices.OF_A_RUN, prices.CPU_HOUR, prices.GB_HOUR):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", price.date)
        assert price.date >= prices.DATE
        assert price.source


def test_run_says_what_its_machines_took_by_task_but_those_from_the_cache():
    spec = graph.parsed(compiler.compiled(compiler.load("training"), Target("vertex")))
    tasks = [Task(name="train-model", item=code, state="succeeded", seconds=300) for code in range(7)]
    tasks += [Task(name="prepare-data", state="succeeded", seconds=9, cached=True)]
    tasks += [Task(name="split-data", state="failed", seconds=180.5), Task(name="preprocess", state="cancelled")]
    run = Run(
        identifier="x",
        run_id="1",
        pipeline="training",
        engine="vertex",
        started=datetime.now(UTC),
        parameters={},
        data=Data(source="", fingerprint=""),
        git=Git(commit=None, dirty=None),
        versions={},
        tasks=tasks,
    )
    used = prices.used(run, spec)
    assert used.seconds == {"train-model": 2100, "split-data": 180.5}
    assert used.machines == {"train-model": "e2-standard-8", "split-data": "e2-standard-4"}
    assert used.usd == pytest.approx(0.03 + (2100 * 0.308253 + 180.5 * 0.154126) / 3600, rel=1e-4)
    assert used.unpriced == []


def test_run_on_the_service_shows_its_estimate_and_then_what_it_has_used(vertex, local_run, tmp_path, capsys):
    (tmp_path / "own.py").write_text(
        "from kfp import dsl\nfrom pipeline.tests.test_prices import greet\n\n"
        "@dsl.pipeline(name='greeting')\ndef greeting(name: str = 'you'):\n    greet(name=name)\n"
    )
    command = ("--identifier", "costs", "--pipeline", f"{tmp_path / 'own.py'}:greeting", "--profile", "standard")
    checked = local_run(*command, "--check")
    assert "machines: 1 start, 1 in series: about 2 to 3 min and $0.035 to $0.038" in checked.out
    done = local_run(*command)
    assert done.status == 0, done.err
    assert "1 start, 1 in series: about 2 to 3 min and $0.035 to $0.038; the steps' own work" in done.err
    assert done.record["used"]["seconds"].keys() == {"greet"}
    assert done.record["used"]["machines"] == {"greet": "e2-standard-4"}
    assert re.search(
        rf"^used    greet \d+ s: about \$0\.03\d \(prices on demand of {prices.DATE}, us-central1\)$", done.out, re.M
    )
    assert __main__.main(["runs", "costs"]) == 0
    header, line = capsys.readouterr().out.splitlines()[:2]
    assert "cost" in header
    assert re.search(r" \$0\.03\d ", line)


def test_run_here_costs_nothing_and_says_nothing_of_it(local_run, capsys):
    done = local_run("--identifier", "x", "--data", "sample:100", "--set", "max_iter=1", "--check")
    assert "machines:" not in done.out
    done = local_run("--identifier", "x", "--data", "sample:100", "--set", "max_iter=1")
    assert done.record["used"] is None
    assert "used" not in done.out
    assert __main__.main(["runs", "x"]) == 0
    assert "cost" not in capsys.readouterr().out
