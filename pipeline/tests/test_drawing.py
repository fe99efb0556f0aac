"""Graphs of specs and runs."""

import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
from kfp import dsl

from pipeline import PIPELINES, ROOT, __main__, compiler, drawing, graph, loading
from pipeline.target import Target
from pipeline.tests.conformance import conditions, loops

DRAWN = {"training": "docs/assets/training.svg", "search": "docs/assets/search.svg"}
OTHERS = [
    component
    for module in (conditions, loops)
    for component in vars(module).values()
    if isinstance(component, dsl.graph_component.GraphComponent)
]


def spec_of(pipeline, **target):
    return graph.parsed(compiler.compiled(pipeline, Target(**target)))


def boxes_of(box):
    for inner in box.boxes:
        yield inner
        yield from boxes_of(inner)


def overlaps(one, other):
    is_beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    return not is_beside and one.y < other.y + other.height and other.y < one.y + one.height


def check_places(box):
    """Nothing lies on another, or outside of what it is in; each edge ends where its box begins."""
    for one, other in combinations(box.boxes, 2):
        assert not overlaps(one, other), (one.name, other.name)
    for inner in box.boxes:
        assert inner.x >= 0
        assert inner.y >= drawing.HEADER
        assert inner.x + inner.width <= box.width
        assert inner.y + inner.height <= box.height
        if inner.is_dag:
            check_places(inner)
    places = {inner.name: inner for inner in box.boxes}
    for edge, path in box.paths:
        x, y = map(float, path.split()[-2:])
        target = places[edge.target]
        assert x == pytest.approx(target.x, abs=0.1)
        assert target.y < y < target.y + target.height


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("name", PIPELINES)
def test_own_pipelines_are_drawn_with_all_tasks_and_nothing_on_another(name, fuse):
    pipeline = loading.load(name)
    spec = spec_of(pipeline, fuse=fuse)
    root = ElementTree.fromstring(drawing.draw(spec, ".svg"))
    tasks = [each for each in root.iter() if each.get("class", "").startswith("task")]
    assert len(tasks) == len(graph.nodes(spec))
    whole = drawing.tree(spec)
    drawing._lay_out(whole)
    check_places(whole)


@pytest.mark.parametrize("pipeline", OTHERS, ids=lambda pipeline: pipeline.name)
def test_conditions_and_loops_are_drawn(pipeline):
    whole = drawing.tree(spec_of(pipeline))
    drawing._lay_out(whole)
    check_places(whole)
    titles = [box.title for box in boxes_of(whole) if box.is_dag]
    assert titles
    assert all("pipelinechannel" not in title for title in titles)


def test_condition_and_loop_are_told():
    titles = {box.title for box in boxes_of(drawing.tree(spec_of(conditions.nested)))}
    assert {"if number-Output > 3", "if number-Output < 9"} <= titles
    training = {box.title for box in boxes_of(drawing.tree(spec_of(loading.load("training"))))}
    assert "for each of prepare-data → Output" in training


@pytest.mark.parametrize("name", DRAWN)
def test_graph_in_the_docs_is_the_one_that_the_command_draws(name, tmp_path):
    assert __main__.main(["graph", name, str(tmp_path / "drawn.svg")]) == 0
    told = f"the pipeline has changed: python -m pipeline graph {name} {DRAWN[name]}"
    assert (tmp_path / "drawn.svg").read_text("utf-8") == (ROOT / DRAWN[name]).read_text("utf-8"), told


def test_run_is_drawn_with_its_states_and_in_its_report(local_run, tmp_path):
    done = local_run("--identifier", "x", "--data", "sample:1500", "--set", "max_iter=2")
    assert __main__.main(["graph", "x", "latest", str(tmp_path / "run.svg")]) == 0
    drawn = (tmp_path / "run.svg").read_text("utf-8")
    assert drawn.count('class="task succeeded"') == 7
    assert "7 succeeded, " in drawn
    assert '<section id="graph">' in (done.folder / "report.html").read_text("utf-8")
    failed = local_run("--identifier", "y", "--data", "sample:1500", "--set", "min_class_rows=9999")
    assert failed.status == 1
    assert __main__.main(["graph", "y", "latest", str(tmp_path / "failed.mmd")]) == 0
    mermaid = (tmp_path / "failed.mmd").read_text("utf-8")
    assert mermaid.count(":::failed") == 1
    assert mermaid.count(":::skipped") == 6


def test_names_are_text(tmp_path):
    @dsl.component(base_image="python:3.11")
    def say(text: str):
        print(text)

    @dsl.pipeline(name="signs")
    def signs():
        say(text="").set_display_name('<b>&"quoted"]|;' + 60 * "long")

    svg = ElementTree.fromstring(drawing.draw(spec_of(signs), ".svg"))
    assert any((each.text or "").startswith('<b>&"quoted"]|;long') for each in svg.iter())
    mermaid = drawing.draw(spec_of(signs), ".mmd")
    assert '["#60;b#62;#38;#34;quoted#34;#93;#124;#59;long' in mermaid


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["training.png"], "written as .svg or .mmd, not as '.png'"),
        (["a", "b", "c", "d.svg"], "Expected [PIPELINE] FILE"),
        (["nothing", "latest", "x.svg"], "no run"),
        (["nothing", "x.svg"], "nothing"),
    ],
)
def test_wrong_requests_are_refused(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path))
    assert __main__.main(["graph", *words]) == 2
    assert told in capsys.readouterr().err
