"""How often loops run, as far as that is known before."""

import pytest

from pipeline import RequestError, compiler, graph, loops, prices, quota
from pipeline.request import Request
from pipeline.settings import settle
from pipeline.target import Target
from steps.searching.rungs import n_next
from steps.tables.schema import Schema

CLASSES = Schema(rows=700, label="y", classes={str(code): 100 for code in range(7)})
QUANTITY = Schema(rows=700, label="y", task="regression")


def spec_of(pipeline, profile="standard", fuse=False):
    return graph.parsed(compiler.compiled(compiler.load(pipeline), Target("vertex", profile, fuse=fuse)))


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize(
    ("schema", "given", "n_models"),
    [
        (CLASSES, {}, 7),
        (CLASSES, {"preset": "fast"}, 7),
        (CLASSES, {"preset": "balanced"}, 8),  # and a forest of all
        (CLASSES, {"preset": "best"}, 8),
        (QUANTITY, {}, 3),
        (QUANTITY, {"preset": "balanced"}, 3),
    ],
)
def test_models_of_a_training_are_counted_by_its_preset(schema, given, n_models, fuse):
    spec = spec_of("training", fuse=fuse)
    found = loops.found_before(spec, given, schema)
    assert found == {"prepare-data": n_models}
    estimate, fixed = prices.estimate(spec, given, found), prices.estimate(spec, given, {"prepare-data": 0})
    assert estimate.starts == fixed.starts + n_models
    assert "at " not in estimate.brief
    assert quota.at_once(spec, found) == quota.Need(8 * n_models, 8 * n_models)


@pytest.mark.parametrize(("given", "rungs"), [({}, (16, 6)), ({"candidates": 9}, (9, 3)), ({"candidates": 2}, (2, 2))])
def test_candidates_of_a_search_are_counted_by_their_rungs(given, rungs):
    spec = spec_of("search")
    found = loops.found_before(spec, given, CLASSES)
    assert (found["propose-candidates"], found["choose-candidates"], found["choose-models"]) == (*rungs, rungs[1])
    estimate = prices.estimate(spec, given, found)
    # of the rest, as in training: six, and the three that propose and choose
    assert (estimate.starts, estimate.in_series) == (9 + rungs[0] + 2 * rungs[1], 12)
    assert estimate.brief.startswith(f"at most {estimate.starts} starts, 12 in series")
    assert quota.at_once(spec, found) == quota.Need(8 * rungs[0], 8 * rungs[0])
    fused = prices.estimate(spec_of("search", fuse=True), given, found)
    assert fused.brief.startswith("at most ")
    assert fused.in_series < 12
    assert loops.found_before(spec_of("search", fuse=True), given, CLASSES) == found


def test_each_rung_of_a_search_has_the_machines_and_the_retries_of_what_learns():
    asked = {node.name: (node.cpus, node.memory, node.retries) for node in graph.nodes(spec_of("search"))}
    learning = {"score-candidate", "score-candidate-2", "fit-member"}
    assert {name for name, machine in asked.items() if machine == ("8", "32G", 2)} == learning
    assert {machine for name, machine in asked.items() if name not in learning} == {("4", "16G", 0)}
    fused = graph.nodes(spec_of("search", fuse=True))
    assert {node.name for node in fused if node.in_loop} == learning


@pytest.mark.parametrize(
    ("profile", "flags", "expected"),
    [
        ("standard", {}, loops.MOST_CANDIDATES),
        ("standard", {"parallelism": 3}, 3),
        ("standard", {"fuse": True}, loops.MOST_CANDIDATES),
        ("small", {"fuse": True}, 1),  # all of them are one task
    ],
)
def test_time_of_a_search_is_shared_by_what_runs_side_by_side_on_the_service(profile, flags, expected, tmp_path):
    settings = settle(
        identifier="x", engine="vertex", project="p", region="r", bucket="trees", profile=profile, data="sample:50",
        runs_dir=tmp_path, **flags
    )  # fmt: skip
    assert Request.of(settings, "search").parameters["side_by_side"] == expected
    Request.of(settings, "search").compile_for_elsewhere(tmp_path / "spec.yaml")
    defined = graph.load(tmp_path / "spec.yaml")["root"]["inputDefinitions"]["parameters"]
    assert defined["side_by_side"]["defaultValue"] == expected
    here = settle(identifier="x", engine="local", data="sample:50", runs_dir=tmp_path)
    assert "side_by_side" not in Request.of(here, "search").parameters
    with pytest.raises(RequestError, match="side_by_side follows from --parallelism"):
        Request.of(settings, "search", ["side_by_side=2"])


def test_members_of_a_refit_are_known_from_what_was_found():
    found = loops.found_before(spec_of("refit"), {"members": '{"members": [{}, {}, {}]}'}, CLASSES)
    assert found["take-members"] == 3
    assert "take-members" not in loops.found_before(spec_of("refit"), {"members": "[1]"}, CLASSES)


def test_what_is_not_known_before_is_none():
    spec = spec_of("training")
    assert loops.found_before(spec, {}) == {}
    assert quota.at_once(spec).loops
    assert prices.estimate(spec, {}).brief.startswith("at least ")


@pytest.mark.parametrize("n_candidates", range(1, 20))
def test_best_third_goes_on_and_three_at_least(n_candidates):
    assert n_next(n_candidates) == min(n_candidates, max(3, (n_candidates + 2) // 3))
