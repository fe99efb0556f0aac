"""The README's sequence on the real rows: from a table over promotion and prediction to an answer over HTTP."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest

from pipeline import ROOT, __main__


@pytest.fixture
def served():
    """Start a verb that serves; returns the address that it tells."""
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "pipeline", "serve", *arguments]
        processes.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
        for line in processes[-1].stderr:
            if found := re.search(r"http://\S+/predict", line):
                return found[0]
        raise AssertionError("it has ended")

    yield start
    for process in processes:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stderr.close()


def ask(address, instances):
    body = json.dumps({"instances": instances}).encode()
    for _ in range(100):  # it may still load its model
        try:
            with urllib.request.urlopen(urllib.request.Request(address, body)) as answer:
                return json.load(answer)["predictions"]
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.1)
    raise AssertionError("it does not answer")


@pytest.mark.slow
def test_from_a_table_to_an_answer_over_http(covertype_csv, local_run, served, tmp_path, capsys):
    first = local_run("--identifier", "trees", "--data", str(covertype_csv), "--set", "max_iter=10")
    assert first.record["verdict"]["verdict"] == "promoted"
    better = local_run("--identifier", "trees", "--data", str(covertype_csv))
    assert better.record["verdict"]["verdict"] == "promoted", better.record["verdict"]
    worse = local_run("--identifier", "trees", "--data", str(covertype_csv), "--set", "max_iter=5")
    assert worse.record["verdict"]["verdict"] == "kept"
    champion = json.loads((better.folder.parent / "champion.json").read_text())
    assert champion["run"] == better.folder.name
    assert [each["run"] for each in champion["before"]] == [first.folder.name]

    rows = pd.read_csv(covertype_csv).iloc[-5_000:]
    rows.drop(columns="Cover_Type").to_csv(tmp_path / "rows.csv", index=False)
    out = str(tmp_path / "predictions.parquet")
    assert __main__.main(["predict", "trees", str(tmp_path / "rows.csv"), "-o", out, "--keep", "Elevation"]) == 0
    here = pd.read_parquet(out)
    assert here["Elevation"].tolist() == rows["Elevation"].tolist()
    assert (here["class"].to_numpy() == rows["Cover_Type"].to_numpy()).mean() > 0.85
    capsys.readouterr()

    piped = local_run("--identifier", "trees", "--pipeline", "prediction", "--data", str(tmp_path / "rows.csv"))
    assert piped.status == 0, piped.err
    predicted = pd.read_parquet(piped.folder / "artifacts" / "predict-rows" / "predicted" / "predictions.parquet")
    pd.testing.assert_frame_equal(predicted, here.drop(columns="Elevation"))
    assert "largest PSI" in piped.out

    some = rows.drop(columns="Cover_Type").head(50)
    answers = ask(served("trees", "--port", "0"), json.loads(some.to_json(orient="records")))
    assert [each["class"] for each in answers] == here["class"].head(50).astype(str).tolist()
    for name, of_class in pd.DataFrame([each["probabilities"] for each in answers]).items():
        np.testing.assert_allclose(of_class, here[f"probability_{name}"].head(50), atol=1e-9)

    assert __main__.main(["rollback", "trees"]) == 0
    again = ask(served("trees", "--port", "0"), json.loads(some.to_json(orient="records")))
    assert [each["probabilities"] for each in again] != [each["probabilities"] for each in answers]
