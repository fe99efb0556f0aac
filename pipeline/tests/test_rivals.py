"""The search beside AutoGluon: the same rows for both, what is refused, and the ranks."""

import json
import sys

import pandas as pd
import pytest

from pipeline import RequestError
from pipeline.benchmark import rivals
from pipeline.benchmark.rivals import AUTOGLUON, DEFAULT, SEARCH, Found

# stands in for AutoGluon, which needs packages of its own: it predicts the most frequent class
LIBRARY = """
from pathlib import Path

class TabularPredictor:
    def __init__(self, label, path, verbosity):
        self.label, self.path = label, Path(path)

    def fit(self, rows, presets, time_limit):
        assert (presets, time_limit) == ("medium_quality", 6.0)
        self.known = rows[self.label].mode()[0]
        rows.to_csv(self.path.parents[1] / "seen.csv", index=False)

    def predict(self, rows):
        assert self.label not in rows
        return rows.iloc[:, 0].map(lambda _: self.known).rename(self.label)

    def clone_for_deployment(self, path):
        Path(path).mkdir()
        Path(path, "predictor.pkl").write_bytes(b"x" * 1_500_000)
        return path
"""


@pytest.fixture
def python(tmp_path):
    """A Python that has the stand-in, and nothing of the checkout on its path."""
    package = tmp_path / "library" / "autogluon" / "tabular"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(LIBRARY)
    known = package.parent.parent / "autogluon.tabular-1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: autogluon.tabular\nVersion: 1.0\n")
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={package.parent.parent} exec {sys.executable} -P "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_all_see_the_same_rows(python, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rivals, "TemporaryDirectory", lambda prefix: _Kept(tmp_path))
    frame = rivals.table_of("iris")[0].assign(target=lambda rows: rows["target"].map({0: "a", 1: "b", 2: "c"}))
    frame.loc[3, "target"] = None
    frame.loc[len(frame)] = [1, 1, 1, 1, "the only one"]
    frame.to_csv(tmp_path / "flowers.csv", index=False)
    given = [f"{tmp_path / 'flowers.csv'}:target", "--python", python, "--minutes", "0.1"]
    assert rivals.main(given) == 0
    told = capsys.readouterr()
    assert "autogluon.tabular 1.0" in told.out
    assert "2 rows without a label, or the only ones of their class, are left out" in told.err
    cells = [cell.strip() for cell in told.out.split("| flowers.csv |")[1].splitlines()[0].split("|")]
    assert cells[:2] == ["149", "3"]
    assert min(map(float, cells[2:4])) > 0.8  # the default and the search
    assert float(cells[4]) == pytest.approx(1 / 3, abs=0.02)
    assert cells[13] == "1.5"

    parts = [tmp_path / SEARCH / "rivals" / "latest" / "artifacts" / "split-data" / name for name in ("train", "test")]
    train, test = (pd.read_parquet(part) for part in parts)
    seen = pd.read_csv(tmp_path / "seen.csv")
    assert (seen.to_numpy() == train.to_numpy()).all()
    assert (pd.read_csv(tmp_path / "test.csv").to_numpy() == test.to_numpy()).all()


class _Kept:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return str(self.path)

    def __exit__(self, *_):
        return None


def test_what_a_run_and_the_benchmark_have_split_otherwise_is_refused(tmp_path, monkeypatch):
    class Model:
        def predict(self, rows):
            return rows["target"].to_numpy()

    told = rivals.divided(*rivals.table_of("iris"), tmp_path, seed=0, minutes=1)
    (tmp_path / "rivals" / "latest").mkdir(parents=True)
    record = {"model": str(told.test), "metrics": {"accuracy": 0.9}}
    (tmp_path / "rivals" / "latest" / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr(rivals.joblib, "load", lambda path: Model())
    with pytest.raises(rivals.ContestantFailed, match="both have not split the table alike"):
        rivals._of_pipeline(tmp_path, told)


@pytest.mark.parametrize(
    ("name", "told"),
    [("iris.csv", "expected FILE:LABEL"), ("no.csv:y", "expected FILE:LABEL"), ("rows.csv:z", "which has x, y")],
)
def test_wrong_table_is_told(tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"x": [1, 2], "y": ["a", "a"]}).to_csv("rows.csv", index=False)
    with pytest.raises(RequestError, match=told):
        rivals.table_of(name)


@pytest.mark.parametrize("python", [sys.executable, "/no/python"])
def test_python_without_autogluon_is_told(capsys, python):
    assert rivals.main(["iris", "--python", python]) == 2
    assert "expected a Python that imports autogluon.tabular" in capsys.readouterr().err


def test_ranks_are_shared_by_those_that_are_alike():
    def table(*accuracies):
        found = (Found(accuracy, accuracy / 2, 1.0, 1.0, 0.0) for accuracy in accuracies)
        return dict(zip((DEFAULT, SEARCH, AUTOGLUON), found, strict=True))

    lines = rivals.ranks([table(0.8, 0.9, 0.9), table(0.7, 0.6, 0.8)])
    assert lines[2] == "| accuracy | 2.50 | 2.25 | 1.25 | 0 | 1 | 1 |"
