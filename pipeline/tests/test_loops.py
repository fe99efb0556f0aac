"""How often loops run, as far as that is known before."""

import pytest

from pipeline import compiler, graph, loops, prices, quota
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
