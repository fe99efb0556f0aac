import json
import os

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from pipeline import RequestError, runs
from pipeline import __main__ as verbs
from pipeline.compare import compare
from pipeline.runs import Data, load
from steps.promotion.chance import bootstrap


@pytest.fixture
def train(local_run):
    return lambda *arguments: local_run("--identifier", "x", "--data", "sample:300", *arguments)


def test_runs_stand_side_by_side_with_what_differs_and_what_chance_explains(train, capsys):
    first = train("--set", "max_iter=1")
    second = train("--set", "max_iter=20")
    pair = (first, second)
    difference = second.record["metrics"]["macro_f1"] - first.record["metrics"]["macro_f1"]
    assert f"against {first.record['run_id']}: accuracy " in second.out
    assert f"macro-F1 {difference:+.4f}   (max_iter=20)" in second.out

    assert verbs.main(["compare", "x", "previous", "latest"]) == 0
    shown = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split() for line in shown.splitlines() if line}
    assert lines["max_iter"] == ["max_iter", "1", "20"]
    assert lines["data rows"] == ["data", "rows", "300", "300"]
    f1 = [f"{run.record['metrics']['macro_f1']:.4f}" for run in pair]
    assert lines["macro-F1"] == ["macro-F1", *f1, f"{difference:+.4f}"]
    assert "resamples of the same 59 test rows" in shown
    assert "The source of all steps is the same." in shown
    assert "seed" not in shown


@pytest.mark.slow
def test_changed_source_is_shown_as_a_diff_once_for_the_steps_that_share_it(train, capsys):
    first = train("--set", "max_iter=1")
    train("--set", "max_iter=1")
    spec = first.folder / "pipeline.yaml"
    text = spec.read_text().replace("l2_regularization=l2_regularization", "l2_regularization=7")
    spec.write_text(text.replace("return sorted(labels.unique().tolist())", "return []"))

    found = compare(load("x", "previous"), load("x", "latest"))
    assert found.asked == {}
    assert found.chance == "no difference: both models predict the same for every test row."
    assert found.code == {
        "combine-models, prepare-data": ["-    return []", "+    return sorted(labels.unique().tolist())"],
        "train-model": [
            "-    return []",
            "+    return sorted(labels.unique().tolist())",
            "-        l2_regularization=7,",
            "+        l2_regularization=l2_regularization,",
        ],
    } or "\n".join(map(str, found.code.items()))


@pytest.mark.slow
def test_failed_and_half_deleted_runs_are_compared_as_far_as_they_go(train, local_run, tmp_path, capsys):
    good = train("--set", "max_iter=1")
    (tmp_path / "rows.csv").write_text("size,kind\n1,a\n2,b\n3,a\n4,b\n5,\n")
    failed = local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--label", "kind")
    assert failed.status == 1
    (good.folder / "pipeline.yaml").unlink()

    assert verbs.main(["compare", "x"]) == 0
    shown = capsys.readouterr()
    assert f"not known: {failed.record['run_id']} has no figures, it is failed." in shown.out
    assert f"{good.record['metrics']['accuracy']:.4f}" in shown.out
    assert "pipeline.yaml cannot be read" in shown.err
    assert "prepare-data failed: 1 of 5 rows have no label" in shown.err


@pytest.mark.slow
def test_other_test_rows_and_lost_predictions_leave_chance_unknown(train):
    first = train("--set", "max_iter=1")
    train("--set", "max_iter=2", "--set", "drop=Slope")  # the same rows, of fewer columns
    assert "resamples of the same 59 test rows" in compare(load("x", "previous"), load("x")).chance
    third = train("--set", "max_iter=2", "--set", "seed=1")
    assert "not measured on the same test rows" in compare(load("x", "previous"), load("x")).chance
    (third.folder / "artifacts" / "split-data" / "test").unlink()
    told = compare(load("x", first.record["run_id"]), load("x")).chance
    assert told.startswith("not known: The file")
    assert told.endswith(f"of the run {third.record['run_id']} is gone.")


def test_runs_of_different_pipelines_are_refused(tmp_path):
    made = []
    for pipeline in ("training", "prediction"):
        data = Data(source="none", fingerprint="")
        made.append(runs.new(tmp_path, "x", pipeline=pipeline, engine="local", parameters={}, data=data))
    with pytest.raises(RequestError, match="one of prediction: only runs of one pipeline can be compared"):
        compare(*made)


def test_bootstrap_is_that_of_resampled_rows():
    generator = np.random.default_rng(0)
    true = generator.choice(["a", "b", "c"], 400, p=[0.6, 0.3, 0.1])
    first, second = (np.where(generator.random(400) < share, true, "a") for share in (0.6, 0.8))
    differences = []
    for _ in range(400):
        rows = generator.integers(400, size=400)
        scores = [f1_score(true[rows], predicted[rows], average="macro") for predicted in (first, second)]
        differences.append(scores[1] - scores[0])
    assert bootstrap(true, first, second) == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=0.02)
    assert bootstrap(true, second, first) == pytest.approx(
        [-high for high in bootstrap(true, first, second)[::-1]], abs=0.01
    )


def test_interval_tells_noise_from_a_difference():
    generator = np.random.default_rng(0)
    true = generator.integers(3, size=3_000)
    first, second, better = (np.where(generator.random(3_000) < share, true, 0) for share in (0.7, 0.7, 0.8))
    low, high = bootstrap(true, first, second)
    assert low < 0 < high
    low, high = bootstrap(true, first, better)
    assert 0 < low < high


DAMAGED_OUTPUTS = {
    "no Parquet": lambda path, frame: path.write_text("PAR1, but no more"),
    "nothing": lambda path, frame: path.write_bytes(b""),
    "half a file": lambda path, frame: path.write_bytes(path.read_bytes()[:200]),
    "other columns": lambda path, frame: frame.rename(columns=str.upper).to_parquet(path),
    "no rows": lambda path, frame: frame[:0].to_parquet(path),
    "fewer rows": lambda path, frame: frame[:-1].to_parquet(path),
    "predictions of text and of nothing": lambda path, frame: frame.assign(
        predicted=[None, *["a"] * (len(frame) - 1)]
    ).to_parquet(path),
}


@pytest.mark.slow
def test_damaged_outputs_leave_chance_unknown(train):
    train("--set", "max_iter=1")
    second = train("--set", "max_iter=2")
    record = second.folder / "run.json"
    whole = json.loads(record.read_text())
    record.write_text(json.dumps(whole | {"sha256": {}}))  # else none of them is read
    for place in ("evaluate-model/predictions", "split-data/test"):
        path = second.folder / "artifacts" / place
        kept, frame = path.read_bytes(), pd.read_parquet(path)
        for case, damage in DAMAGED_OUTPUTS.items():
            if case.startswith("predictions") and not place.endswith("predictions"):
                continue
            damage(path, frame)
            told = compare(load("x", "previous"), load("x", "latest")).chance
            assert told.startswith("not known: "), (case, place, told)
        path.write_bytes(kept)
    record.write_text(json.dumps(whole))
    path = second.folder / "artifacts" / "split-data" / "test"
    path.unlink()
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(path)):
        make()
        assert compare(load("x", "previous"), load("x", "latest")).chance.startswith("not known: ")
        path.rmdir() if path.is_dir() else path.unlink()
    for place in ("\0", "x" * 300, "/dev/zero"):
        record.write_text(json.dumps(whole).replace(json.dumps(str(path)), json.dumps(place)))
        assert compare(load("x", "previous"), load("x", "latest")).chance.startswith("not known: ")
