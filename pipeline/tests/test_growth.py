"""The benchmark of growth: its tables, its sizes, and what it prints."""

import pandas as pd
import pytest

from pipeline import RequestError
from pipeline.benchmark import growth, learners


@pytest.mark.parametrize(("name", "shape", "classes"), [("columns", (60, 2_001), 2), ("texts", (600, 21), 3)])
def test_tables_are_the_same_each_time_and_have_the_size_asked_for(tmp_path, name, shape, classes):
    for place in ("one", "other"):
        growth.SHAPES[name].make(shape[0], tmp_path / place)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    made = pd.read_csv(tmp_path / "one")
    assert made.shape == shape
    assert made[growth.LABEL].nunique() == classes


def test_sizes_are_set_behind_a_shape_and_wrong_ones_refused(tmp_path):
    assert growth.shape_of("classes@400,200").sizes == (200, 400)
    assert growth.shape_of("rows=rows.csv:kind").label == "kind"
    for wrong in ("class", "classes@200", "classes@200,200", "rows=rows.csv"):
        with pytest.raises(RequestError, match=r"shape|sizes"):
            growth.shape_of(wrong)


@pytest.mark.slow
def test_growth_is_told_of_both_contestants_with_the_largest_step(rows, tmp_path, capsys):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    growth.main([f"rows={tmp_path / 'rows.csv'}:Cover_Type@1400,2800", "max_iter=3"])
    told = capsys.readouterr()
    lines = told.out.splitlines()
    smaller, larger, exponent = (line.split(" | ") for line in lines[-3:])
    assert smaller[0] == "| 1,400 rows like those of the table"
    assert larger[0] == "| 2,800 rows like those of the table"
    assert exponent[0] == "| exponent of rows"
    for line in (smaller, larger):
        assert line[9] == line[10]  # both models are the same
        assert line[8].isdigit()
    assert "2,800 rows like those of the table: train-model " in told.err


@pytest.mark.parametrize("name", ["iris", "7"])
def test_learners_are_compared_on_the_same_rows(name, capsys, monkeypatch):
    monkeypatch.setattr(
        learners,
        "boosting",
        lambda X, max_iter=0, **others: learners.HistGradientBoostingClassifier(
            max_iter=5, max_leaf_nodes=5, random_state=0, **others
        ),
    )
    learners.main([name])
    figures = [float(cell) for cell in capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")[3:]]
    assert len(figures) == 9
    assert all(0.5 < figure <= 1 for place, figure in enumerate(figures) if place % 3 != 2)
