import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import HTML, Artifact, Dataset, Model
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from steps.choose_candidates import choose_candidates
from steps.choose_models import choose_models
from steps.combine_members import combine_members
from steps.fit_member import fit_member
from steps.preprocess import preprocess
from steps.propose_candidates import propose_candidates
from steps.score_candidate import score_candidate
from steps.searching.choosing import settle
from steps.searching.growing import grow
from steps.searching.pairing import find_pairs
from steps.searching.plan import read_plan
from steps.searching.rows import read_rows_of
from steps.searching.scoring import read_scored
from steps.searching.spaces import SPACES, propose
from steps.split_data import split_data


@pytest.fixture
def prepared(artifact):
    """Split and preprocess rows as the pipeline does."""

    def run(frame, label="y", **roles):
        dataset, train, test, features, preprocessor = (
            artifact(kind) for kind in (Dataset, Dataset, Dataset, Dataset, Artifact)
        )
        dataset = artifact(Dataset, frame, label=label, **roles)
        split_data.python_func(dataset, train, test)
        preprocess.python_func(train, test, features, artifact(Dataset), preprocessor)
        return SimpleNamespace(dataset=dataset, train=train, test=test, features=features, preprocessor=preprocessor)

    return run


@pytest.fixture
def proposing(artifact):
    return _proposing(artifact)


def _proposing(artifact):
    def run(given, **parameters):
        plan, rows = artifact(Artifact), artifact(Artifact)
        names = propose_candidates.python_func(
            given.dataset, given.train, given.features, plan, rows, **{"minutes": 0.05, "candidates": 4} | parameters
        )
        return SimpleNamespace(names=names, plan=plan, rows=rows)

    return run


@pytest.fixture
def searched(artifact):
    return _searched(artifact)


def _searched(artifact):
    """Run all of the search's own steps, one after the other."""
    proposing = _proposing(artifact)

    def score(given, name, plan, rows):
        scored = artifact(Artifact)
        score_candidate.python_func(name, given.features, plan, rows, scored)
        return scored

    def run(given, max_model_mb=200.0, **parameters):
        proposed = proposing(given, **parameters)
        first = [score(given, name, proposed.plan, proposed.rows) for name in proposed.names]
        next_plan, chosen, board, page, model = (artifact(kind) for kind in (Artifact, Artifact, Artifact, HTML, Model))
        better = choose_candidates.python_func(first, proposed.plan, proposed.rows, next_plan)
        last = [score(given, name, next_plan, proposed.rows) for name in better]
        members = choose_models.python_func(
            first, last, next_plan, proposed.rows, chosen, board, page, max_model_mb=max_model_mb
        )
        fitted = []
        for name in members:
            fitted.append(artifact(Model))
            fit_member.python_func(name, given.features, chosen, proposed.rows, fitted[-1])
            fitted[-1].metadata.clear()  # as KFP leaves it of collected artifacts
        combine_members.python_func(fitted[::-1], chosen, given.preprocessor, given.train, model)
        return SimpleNamespace(
            model=joblib.load(Path(model.path, "model.joblib")),
            artifact=model,
            first=[read_scored(scored.path) for scored in first],
            last=[read_scored(scored.path) for scored in last],
            names=proposed.names,
            plan=read_plan(next_plan.path),
            chosen=json.loads(Path(chosen.path).read_text()),
            board=json.loads(Path(board.path).read_text()),
            shown=board.metadata,
            page=Path(page.path).read_text(),
        )

    return run


@pytest.fixture
def mixed():
    """A table of numbers, categories, dates, text and missing values, with a class of three rows."""
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b"], 300)
    y[[7, 70, 170]] = "c"
    return pd.DataFrame(
        {
            "number": np.where(rng.random(300) < 0.2, np.nan, rng.normal(size=300) + (y == "a")),
            "other": rng.normal(size=300),
            "kind": pd.Series(np.where(y == "b", "u", rng.choice(["v", "w"], 300))).where(rng.random(300) > 0.1),
            "day": pd.date_range("2026-01-01", periods=300),
            "patient": rng.integers(0, 30, 300).astype(str),
            "weight": rng.uniform(0.5, 2, 300),
            "y": y,
        }
    )


def test_search_finds_a_model_that_takes_raw_rows(rows, prepared, searched):
    given = prepared(rows, "Cover_Type")
    found = searched(given)
    test = pd.read_parquet(given.test.path)
    X, y = test.drop(columns="Cover_Type"), test["Cover_Type"].to_numpy()

    assert found.model.classes_.tolist() == [*range(7)]
    assert found.model.score(X, y) > 0.6
    probabilities = found.model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (found.model.classes_[probabilities.argmax(axis=1)] == found.model.predict(X)).all()
    np.testing.assert_array_equal(found.model.predict_proba(X[X.columns[::-1]].assign(more="x")), probabilities)


@pytest.mark.slow
def test_model_names_the_packages_that_it_needs(mixed, prepared, searched):
    found = searched(prepared(mixed))
    named = set()

    class Unpickler(joblib.numpy_pickle.NumpyUnpickler):
        def find_class(self, module, name):
            named.add(module.split(".")[0])
            return super().find_class(module, name)

    content = Path(found.artifact.path, "model.joblib")
    plain = content.with_name("plain.joblib")
    joblib.dump(found.model, plain)
    with open(plain, "rb") as file:
        Unpickler(str(plain), file, ensure_native_byte_order=False).load()
    assert "steps" not in named
    needed = ["xgboost-cpu"] if any(member["learner"] == "XGBoost" for member in found.chosen["members"]) else []
    assert found.artifact.metadata["packages"] == found.model[-1].packages == needed
    assert ("xgboost" in named) == bool(needed)


@pytest.mark.parametrize("candidate", propose(4, 0, True), ids=lambda candidate: candidate["learner"])
def test_same_seed_gives_the_same_member_where_time_does_not_bind(mixed, prepared, candidate):
    X = pd.read_parquet(prepared(mixed).features.path)
    y = pd.factorize(X.pop("y"), sort=True)[0]
    pairs = find_pairs(X, y, 0)
    assert pairs == find_pairs(X, y, 0)
    one, other = (grow(candidate, pairs, X, y, None, 100.0, 0, rounds=20) for _ in range(2))
    assert one.rounds == other.rounds == 20
    np.testing.assert_array_equal(one.member.predict_proba(X), other.member.predict_proba(X))


@pytest.mark.parametrize("learner", ["ExtraTrees", "HistGradientBoosting"])
def test_rounds_in_parts_are_those_in_one(mixed, prepared, learner):
    """What a search scores is what is fitted again."""
    X = pd.read_parquet(prepared(mixed).features.path)
    y = pd.factorize(X.pop("y"), sort=True)[0]
    candidate = next(one for one in propose(4, 0, False) if one["learner"] == learner)
    grown = grow(candidate, [], X, y, None, 100.0, 0, rounds=20)
    whole = Pipeline([*grown.member[:1].steps, ("learner", clone(grown.member[-1]))])
    whole[-1].set_params(warm_start=False)
    np.testing.assert_allclose(whole.fit(X, y).predict_proba(X), grown.member.predict_proba(X), atol=1e-4)


def test_candidates_are_scored_on_rows_that_they_are_not_fitted_on(rows, prepared, proposing):
    given = prepared(rows, "Cover_Type")
    divided = read_rows_of(proposing(given).rows.path)
    assert len(divided.codes) == given.train.metadata["rows"]
    assert divided.n_folds == 4
    validated = []
    for fit, held in divided.parts(divided.n_folds, 10**9):
        assert not {*fit} & {*held}
        assert {*fit} | {*held} == {*range(len(divided.codes))}
        validated += [*held]
    assert sorted(validated) == [*range(len(divided.codes))]
    assert validated == divided.validated(4).tolist()


def test_a_part_of_the_rows_has_each_class_by_its_share(rows, prepared, proposing):
    rows["Cover_Type"] = np.where(np.arange(len(rows)) < 3, 9, rows["Cover_Type"])
    divided = read_rows_of(proposing(prepared(rows, "Cover_Type")).rows.path)
    fit, _ = next(divided.parts(1, 200))
    assert len(fit) == 200
    whole, part = (np.bincount(codes, minlength=8) / len(codes) for codes in (divided.codes, divided.codes[fit]))
    assert (part > 0).all()
    np.testing.assert_allclose(part, whole, atol=0.03)


def test_no_step_of_the_search_reads_the_test_rows(mixed, prepared, searched):
    given = prepared(mixed)
    Path(given.test.path).unlink()
    searched(given)
    for step in (propose_candidates, score_candidate, choose_candidates, choose_models, fit_member, combine_members):
        assert not {"test", "test_features"} & {*step.component_spec.inputs}


def test_newest_rows_are_validated_where_the_newest_are_the_test(mixed, prepared, proposing):
    shuffled = mixed.sample(frac=1, random_state=1).reset_index(drop=True)
    given = prepared(shuffled, split_by="day")
    divided = read_rows_of(proposing(given).rows.path)
    days = pd.read_parquet(given.train.path)["day"].to_numpy()
    assert divided.n_folds == 1
    assert days[divided.fold == 0].min() > days[divided.fold == -1].max()


def test_whole_groups_are_validated_where_whole_groups_are_the_test(mixed, prepared, proposing):
    given = prepared(mixed, group_by="patient")
    divided = read_rows_of(proposing(given).rows.path)
    train = pd.read_parquet(given.train.path)
    patients = mixed.set_index("day").loc[train["day"], "patient"].to_numpy()  # each row has a day of its own
    assert {*patients[divided.fold == 0]}
    assert not {*patients[divided.fold == 0]} & {*patients[divided.fold == -1]}


@pytest.mark.slow
@pytest.mark.parametrize("roles", [{}, {"split_by": "day"}, {"group_by": "patient"}, {"weight": "weight"}])
def test_any_table_is_searched(mixed, prepared, searched, roles):
    given = prepared(mixed, **roles)
    found = searched(given)
    test = pd.read_parquet(given.test.path)
    assert found.model.classes_.tolist() == ["a", "b", "c"]
    assert found.model.score(test.drop(columns="y"), test["y"].to_numpy()) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("classes", [["no", "yes"], [False, True], [0.5, 1.5]])
def test_two_classes_are_predicted_as_they_were_named(mixed, prepared, searched, classes):
    mixed["y"] = np.array(classes)[(mixed["y"] == "a").astype(int)]
    found = searched(prepared(mixed))
    assert found.model.classes_.tolist() == classes
    assert set(found.model.predict(mixed)) == {*classes}


@pytest.mark.slow
def test_table_of_categories_only_has_no_pairs(mixed, prepared, searched):
    found = searched(prepared(mixed[["kind", "y"]].assign(more=mixed["patient"])), candidates=8)
    assert all(candidate["parameters"]["pairs"] == 0 for candidate in found.plan.candidates)
    assert len(found.names) == 8


@pytest.mark.slow
def test_infinite_and_missing_values_are_predicted(mixed, prepared, searched):
    found = searched(prepared(mixed))
    odd = mixed.drop(columns="y").head(3).assign(number=[np.inf, np.nan, 1e300], other=[0.0, np.nan, -1e300], kind="x")
    probabilities = found.model.predict_proba(odd)
    assert np.isfinite(probabilities).all()


def test_best_third_goes_on_with_all_rows_and_folds(mixed, prepared, searched):
    found = searched(prepared(mixed), candidates=9)
    assert len(found.last) == 3
    best = max(found.first, key=lambda scored: scored.objective)
    assert best.name in {scored.name for scored in found.last}
    assert len({scored.learner for scored in found.last}) > 1
    assert all(scored.rung == 2 for scored in found.last)


def test_leaderboard_has_each_candidate_once(mixed, prepared, searched):
    found = searched(prepared(mixed))
    candidates = found.board["candidates"]
    assert sorted(one["name"] for one in candidates) == sorted(found.names)
    assert found.shown["candidates"] == candidates
    assert sum(one["weight"] for one in candidates) == pytest.approx(1, abs=1e-3)
    assert {one["name"] for one in candidates if one["weight"]} == {one["name"] for one in found.chosen["members"]}
    rungs = [one["rung"] for one in candidates]
    assert rungs == sorted(rungs, reverse=True)
    assert all(one["seconds"] > 0 and one["megabytes"] > 0 and one["spread"] > 0 for one in candidates)
    assert all(name in found.page for name in found.names)
    assert "<script" not in found.page


@pytest.mark.slow
def test_size_limit_keeps_forests_out(rows, prepared, searched):
    given = prepared(rows, "Cover_Type")
    found = searched(given, max_model_mb=0.1)
    assert Path(found.artifact.path, "model.joblib").stat().st_size < 200_000


def test_time_limit_is_kept(rows, prepared, proposing, artifact):
    given = prepared(rows, "Cover_Type")
    proposed = proposing(given, minutes=0.2)
    plan = read_plan(proposed.plan.path)
    for name in proposed.names:
        started = time.perf_counter()
        score_candidate.python_func(name, given.features, proposed.plan, proposed.rows, artifact(Artifact))
        assert time.perf_counter() - started < plan.each + 2  # the first rounds are made whatever they take


def test_member_is_never_fitted_again_on_less_than_it_was_scored_with(rows, prepared, proposing, artifact):
    given = prepared(rows, "Cover_Type")
    proposed = proposing(given, candidates=1)
    divided, plan = read_rows_of(proposed.rows.path), read_plan(proposed.plan.path)
    found = []
    for name in proposed.names:
        scored = artifact(Artifact)
        score_candidate.python_func(name, given.features, proposed.plan, proposed.rows, scored)
        found.append(replace(read_scored(scored.path), fit_seconds=60.0))
    late = replace(plan, spent=2 * plan.seconds)
    (member,) = settle(found, late, divided, max_megabytes=200.0)["members"]
    assert found[0].rows <= member["rows"] < len(divided.codes)
    assert member["seconds"] >= 60


def test_chance_does_not_make_a_forest_small(mixed, prepared):
    X = pd.read_parquet(prepared(mixed).features.path)
    y = pd.factorize(X.pop("y"), sort=True)[0]
    scores = iter(np.linspace(1, 0, 20))
    for learner, rounds in (("ExtraTrees", 256), ("HistGradientBoosting", 8)):
        candidate = next(one for one in propose(4, 0, False) if one["learner"] == learner)
        found = grow(candidate, [], X, y, None, 100.0, 0, judge=lambda member, known: (next(scores), np.zeros(1)))
        assert found.rounds == rounds


def test_time_is_shared_by_what_runs_side_by_side(mixed, prepared, proposing):
    given = prepared(mixed)
    plans = {n: read_plan(proposing(given, minutes=1.0, candidates=8, side_by_side=n).plan.path) for n in (1, 4, 200)}
    assert [plan.side_by_side for plan in plans.values()] == [1, 4, 8]
    assert plans[4].each > 3 * plans[1].each
    assert plans[200].each > 1.9 * plans[4].each
    assert read_plan(proposing(given, candidates=8).plan.path).side_by_side in range(1, 9)  # cores


def test_candidates_are_drawn_by_the_seed():
    one, other, third = propose(30, 0, True), propose(30, 0, True), propose(30, 1, True)
    assert one == other != third
    assert len({candidate["name"] for candidate in one}) == 30
    assert len({json.dumps(candidate["parameters"], sort_keys=True) for candidate in one}) == 30
    assert {candidate["learner"] for candidate in propose(4, 0, True)} == {space.learner for space in SPACES}


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"metric": "auc"}, "metric is 'auc', and the search knows mean, accuracy, macro_f1"),
        ({"validation_size": 1.0}, "validation_size is a share of the rows between 0 and 1, not 1.0"),
    ],
)
def test_wrong_parameters_are_told(mixed, prepared, proposing, parameters, told):
    with pytest.raises(ValueError, match=told):
        proposing(prepared(mixed), **parameters)


def test_steps_of_the_search_can_run_again_over_what_a_lost_attempt_has_left(mixed, prepared, artifact):
    """As test_run_again holds the other steps to; what these write tells seconds, which are others each time."""

    def left_over(kind):
        made = artifact(kind)
        if kind is HTML or kind is Artifact:
            Path(made.path).write_bytes(b"{" * 1_000_000)  # longer than what is written now
        return made

    found = _searched(left_over)(prepared(mixed))
    assert found.board["candidates"]
    assert found.page.endswith("</html>\n")
    assert len(found.model.predict(mixed)) == len(mixed)
