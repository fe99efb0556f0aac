import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from steps.evaluation.html import shorten, shown, table, weakest_first
from steps.evaluation.page import report_page
from steps.evaluation.pictures import confusion_picture, curves
from steps.evaluation.svg import picture

ATTACK = '<img src=x onerror="alert(1)">&amp;'


def test_text_is_escaped_kept_to_a_width_and_rid_of_what_no_page_may_hold():
    assert shown(ATTACK) == "<bdi>&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;amp;</bdi>"
    assert shorten("山毛榉林", 5) == "山毛…"
    assert shorten("beech", 5) == "beech"
    assert shorten("a\x00b\nc\ud800") == "a b c "


def test_a_figure_becomes_a_part_of_the_page_with_its_colours_and_no_address():
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.plot([0, 1], [0, 1], color="#010205", marker="o")
    axes.text(0.5, 0.5, ATTACK + "$x$ 山", parse_math=False)
    drawn = [picture(figure, name, ATTACK) for name in ("first", "second")]

    assert drawn[0].startswith("<svg ")
    assert "&lt;img" in drawn[0]
    assert "<img" not in drawn[0]
    assert "山" in drawn[0]
    assert "var(--c0)" in drawn[0]
    assert "http" not in drawn[0]
    ids = [{*re.findall(r' id="([^"]+)"', svg)} for svg in drawn]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert drawn[0] == picture(figure, "first", ATTACK)


def test_a_table_has_heads_bars_of_each_share_and_a_dash_for_no_figure():
    frame = pd.DataFrame({"rows": [1200, 3], "F1": [0.5, float("nan")]}, index=pd.Index([ATTACK, "b"], name="class"))
    html = table(frame, "caption", bars=("F1",))
    assert "<td>1,200</td>" in html
    assert '<b>0.500</b><i style="--v:0.5000">' in html
    assert "<b>\u2013</b>" in html
    assert html.count('scope="row"') == 2
    assert "<img" not in html


def test_bars_with_a_spread_are_as_long_as_their_share_of_the_longest():
    frame = pd.DataFrame({"lost": [0.2, -0.1], "spread": [0.1, 0.0]}, index=["a", "b"])
    html = table(frame, "", bars=("lost",), spread="spread")
    assert re.findall(r"--v:([\d.]+)", html) == ["0.6667", "0.0000"]
    assert "left:33.3%;width:66.7%" in html


def test_of_a_long_table_the_weakest_rows_come_first_but_not_those_of_few_rows():
    frame = pd.DataFrame(
        {"F1": np.linspace(1, 0, 40), "few": [False] * 39 + [True]}, index=[f"v{n}" for n in range(40)]
    )
    html = weakest_first(frame, "", "F1", ("F1",), few="few")
    above, below = html.split("<details>")
    assert above.index("v38") < above.index("v37")
    assert "v39" not in above
    assert below.count('scope="row"') == 40
    assert "<details>" not in weakest_first(frame.head(10), "", "F1", ("F1",), few="few")


def test_confusion_matrix_shows_counts_and_shares_and_of_many_classes_those_with_errors():
    html = confusion_picture(np.array([[90, 10], [0, 0]]), ["yes", ATTACK])
    assert {">90<", ">90%<", ">10<", ">10%<"} <= {*re.findall(r">[^<>]+<", html)}
    assert "<img" not in html

    matrix = np.diag(np.full(60, 7))
    matrix[41, 42] = 5
    html = confusion_picture(matrix, [f"class {number}" for number in range(60)])
    assert "class 41" in html
    assert ">40 others<" in html
    assert ">280<" in html  # the others are right among themselves


@pytest.mark.parametrize("n_classes", [2, 60])
def test_curves_are_drawn_of_all_classes_that_have_rows(n_classes):
    rng = np.random.default_rng(0)
    is_class = np.arange(n_classes) == (np.arange(600) % n_classes)[:, None]
    is_class[:, -1] &= n_classes == 2  # the last of the many has no rows
    probabilities = rng.dirichlet(np.ones(n_classes), 600) / 2 + is_class / 2
    html = curves(is_class, probabilities, [f"class {number}" for number in range(n_classes)])
    assert html.count("<svg") == 3
    assert "nan" not in html
    assert html.count("AUC 1.000") == min(n_classes, 7)
    assert ("52 other classes" in html) == (n_classes == 60)


def test_page_holds_its_sections_and_the_marks_of_what_may_come_later():
    page = report_page(ATTACK, "It works", {"Accuracy": "0.9"}, [("one", "First & last", "<p>content</p>")])
    assert "<img" not in page
    assert '<a href="#one">First &amp; last</a>' in page
    assert '<section id="one"><h2>First &amp; last</h2><p>content</p></section>' in page
    assert "It works<!-- verdict -->." in page
    assert "<!-- nav -->" in page
    assert "<!-- run -->" in page
