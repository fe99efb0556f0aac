"""A table with a quantity as its label, from training to use."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from pipeline import __main__ as verbs
from pipeline import command_line


def houses(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": rng.uniform(20, 200, n_rows), "town": rng.choice(["here", "there"], n_rows)})
    return frame.assign(price=2.5 * frame["size"] + 90 * (frame["town"] == "here") + rng.normal(0, 9, n_rows))


@pytest.fixture
def verb(capsys):
    """Run a verb of python -m pipeline; returns its status and what it printed."""

    def command(*arguments):
        status = command_line(verbs.app, [*map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


@pytest.mark.slow
def test_a_quantity_goes_the_way_from_training_to_use(local_run, verb, tmp_path):
    houses(300).to_csv(tmp_path / "houses.csv", index=False)
    houses(150, seed=1).to_csv(tmp_path / "fresh.csv", index=False)
    asked = ("--identifier", "houses", "--data", str(tmp_path / "houses.csv"), "--label", "price")

    checked = local_run(*asked, "--check")
    assert checked.status == 0, checked.err
    assert "passed       table: 300 rows, 2 columns to learn from, a quantity in 'price'" in checked.out

    first = local_run(*asked, "--set", "max_iter=5")
    assert first.status == 0, first.err
    metrics, told = first.record["metrics"], first.out.splitlines()
    assert metrics["r2"] > 0.9
    assert metrics["mean_absolute_error"] < metrics["baseline_mean_absolute_error"]
    assert f"R² {metrics['r2']:.4f}   MAE {metrics['mean_absolute_error']:.4f}   in the interval" in first.out
    assert "promoted: it is the first model" in told
    assert re.search(
        r"^note: 'price' is a quantity, 300 different numbers .* --set task=classification", first.err, re.M
    )
    report = (first.folder / "report.html").read_text("utf-8")
    assert '<section id="promotion">' in report
    assert "always the median" in report

    second = local_run(*asked, "--set", "max_iter=6")
    assert re.search(r"^against .*: R² [+-]\d.*   MAE [+-]\d.* \(max_iter=6\)$", second.out, re.M)
    assert re.search(r"^(tie|kept|promoted): mean absolute error .* of the champion on the same 60", second.out, re.M)
    assert "against the previous run" in (second.folder / "report.html").read_text("utf-8")

    status, out, err = verb("runs", "houses")
    assert status == 0, err
    assert re.search(r"^run .* R² +MAE +in the interval$", out.splitlines()[0].strip())
    status, out, err = verb("compare", "houses", "previous", "latest")
    assert status == 0, err
    assert re.search(r"^Difference in MAE: (not )?larger than chance: |^Difference in MAE: no difference", out, re.M)
    assert re.search(r"^MAE of always the median +\d", out, re.M)
    status, out, err = verb("replay", "houses", "latest/train-model[1]")
    assert status == 0, err

    status, out, err = verb("predict", "houses", tmp_path / "fresh.csv", "-o", tmp_path / "out.csv", "--keep", "town")
    assert status == 0, err
    assert out.startswith("predicted 150 rows\nR² 0.9")
    found = pd.read_csv(tmp_path / "out.csv")
    assert [*found] == ["town", "predicted", "lower", "upper"]

    done = local_run("--identifier", "houses", "--pipeline", "prediction", "--data", str(tmp_path / "fresh.csv"))
    assert done.status == 0, done.err
    assert "predicted 150 rows\ndrift: Nothing has drifted" in done.out
    assert done.record["metrics"]["labelled_rows"] == 150
    assert json.loads((tmp_path / "runs" / "houses" / "champion.json").read_text("utf-8"))["figures"]["r2"] > 0.9


def test_a_task_that_the_label_has_not_is_refused_before_anything_is_started(local_run, tmp_path):
    houses(40).to_csv(tmp_path / "houses.csv", index=False)
    asked = ("--identifier", "houses", "--data", str(tmp_path / "houses.csv"), "--label", "town")
    refused = local_run(*asked, "--set", "task=regression", "--check")
    assert refused.status == 2
    assert "task=regression estimates a number, and the label 'town' holds text." in refused.out
    assert "Traceback" not in refused.out + refused.err
