"""Draws a compiled spec as SVG or as a Mermaid flowchart: its tasks, loops and conditions; of a run with its states.

Tasks stand in columns, each right of those that it waits for. What is inside of a loop, a condition or a sub-pipeline
stands in a box of its own, since in KFP's specs no edge leaves the DAG that it is in.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any

from pipeline import RequestError, graph
from pipeline.runs import Run, Task
from pipeline.texts import shortened

SUFFIXES = (".svg", ".mmd")
MOST_LINES, MOST_SIGNS = 4, 30  # of a box, and of each of its lines
TITLE, LINE = (15, 8.4), (14, 6.4)  # height of a line and width of a sign, in pixels
PADDING, GAP_ACROSS, GAP_DOWN, HEADER = 10.0, 34.0, 18.0, 24.0
SWEEPS = 8  # to bring each box near to those that it is joined with
# what a run's tasks of one box are together: the first of these that one of them is
STATES = ("failed", "cancelled", "lost", "running", "succeeded", "cached", "skipped")


@dataclass
class Edge:
    """What goes from one box of a DAG to another."""

    source: str
    target: str
    names: list[str] = field(default_factory=list)  # of the outputs; none where the target only waits


@dataclass
class Box:
    """A task, or a DAG of tasks."""

    name: str
    title: str
    lines: list[str] = field(default_factory=list)
    state: str = ""
    boxes: list["Box"] = field(default_factory=list)  # of a DAG
    edges: list[Edge] = field(default_factory=list)
    is_dag: bool = False
    x: float = 0.0  # in its DAG
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    paths: list[tuple[Edge, str]] = field(default_factory=list)  # of its edges, drawn


def draw(spec: dict[str, Any], suffix: str, run: Run | None = None) -> str:
    """Return the drawing of a compiled spec.

    Args:
        spec: The spec.
        suffix: .svg or .mmd.
        run: A run of it whose states are shown; None for none.

    Raises:
        RequestError: there is no such form.
    """
    if suffix not in SUFFIXES:
        raise RequestError(f"A graph is written as {' or '.join(SUFFIXES)}, not as {shortened(suffix or 'no suffix')}.")
    whole = tree(spec, run)
    return _mermaid(whole) if suffix == ".mmd" else _svg(whole)


def tree(spec: dict[str, Any], run: Run | None = None) -> Box:
    """Return the tasks of a spec as boxes in boxes."""
    tasks: dict[tuple[str, ...], list[Task]] = defaultdict(list)
    for task in run.tasks if run else ():
        place = task.path.split("/") if task.path else [task.name]
        tasks[tuple(part for part in place if not part.isdigit())].append(task)
    name = spec["pipelineInfo"]["name"]
    title = f"{name}: {run.identifier}/{run.run_id}, {run.status}" if run else name
    return Box("root", title, is_dag=True, **_inside(spec, spec["root"]["dag"], (), tasks, run))


def _inside(
    spec: dict[str, Any],
    dag: dict[str, Any],
    place: tuple[str, ...],
    tasks: dict[tuple[str, ...], list[Task]],
    run: Run | None,
) -> dict[str, Any]:
    boxes: list[Box] = []
    edges: dict[tuple[str, str], Edge] = {}
    for name, task in graph.in_order(dag.get("tasks", {})).items():
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            inner = _inside(spec, component["dag"], (*place, name), tasks, run)
            boxes.append(Box(name, _title_of_dag(name, task), is_dag=True, **inner))
        else:
            boxes.append(_box(spec, name, task, component, tasks.get((*place, name), []), run))
        for source, output in _produced(task):
            edge = edges.setdefault((source, name), Edge(source, name))
            if output and _short(output) not in edge.names:
                edge.names.append(_short(output))
    return {"boxes": boxes, "edges": [*edges.values()]}


def _box(spec: dict[str, Any], name: str, task: Any, component: Any, tasks: list[Task], run: Run | None) -> Box:
    title = task.get("taskInfo", {}).get("name", name)
    executor = spec["deploymentSpec"]["executors"].get(component["executorLabel"], {})
    plan = graph.plan_of(executor.get("container", {}))
    if plan:
        title, names = name, {step["name"] for step in plan["steps"]}
        lines = [step["name"] for step in plan["steps"]]
        tasks = tasks or [one for one in (run.tasks if run else ()) if one.name in names]
    else:
        lines = [f"→ {output}" for output in component.get("outputDefinitions", {}).get("artifacts", {})]
    if task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED":
        lines.insert(0, "however the others end")
    if condition := task.get("triggerPolicy", {}).get("condition"):
        lines.insert(0, f"if {_readable(condition)}")
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"… {len(lines) - MOST_LINES + 1} more"]
    if tasks:
        counts = Counter("cached" if one.cached and one.state == "succeeded" else one.state for one in tasks)
        return Box(name, title, [*lines, _told(tasks, counts)], next(state for state in STATES if counts[state]))
    if run and run.status != "running":
        return Box(name, title, [*lines, "not run"], "skipped")
    return Box(name, title, lines)


def _told(tasks: list[Task], counts: Counter[str]) -> str:
    """Return the states of the tasks of a box, how many of them have each in a loop, and their seconds together."""
    told = ", ".join((f"{counts[state]} " if len(tasks) > 1 else "") + state for state in STATES if counts[state])
    seconds = sum(task.seconds or 0 for task in tasks)
    return f"{told}, {seconds:,.1f} s" if seconds >= 0.05 else told


def _produced(task: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the task and the output of each input that another task of the DAG puts out, and what it only waits for."""
    sources = dict.fromkeys(task.get("dependentTasks", ()), "")
    for given in task.get("inputs", {}).get("parameters", {}).values():
        if from_task := given.get("taskOutputParameter"):
            yield from_task["producerTask"], from_task["outputParameterKey"]
            sources.pop(from_task["producerTask"], None)
    for given in task.get("inputs", {}).get("artifacts", {}).values():
        if from_task := given.get("taskOutputArtifact"):
            yield from_task["producerTask"], from_task["outputArtifactKey"]
            sources.pop(from_task["producerTask"], None)
    yield from sources.items()


def _title_of_dag(name: str, task: dict[str, Any]) -> str:
    title = str(task.get("taskInfo", {}).get("name", name))
    iterator = task.get("parameterIterator") or task.get("artifactIterator")
    if iterator:
        items = iterator["items"]
        over = items.get("inputParameter") or items.get("inputArtifact") or items.get("raw", "")
        given = task.get("inputs", {}).get("parameters", {}).get(over, {}).get("taskOutputParameter")
        what = f"{given['producerTask']} → {given['outputParameterKey']}" if given else _short(str(over))
        return f"for each of {what}"
    if condition := task.get("triggerPolicy", {}).get("condition"):
        return f"if {_readable(condition)}"
    return title


def _readable(condition: str) -> str:
    """Return a condition of a spec with the names of its inputs as the pipeline has them."""
    text = re.sub(r"inputs\.parameter(?:_value)?s\['(?:pipelinechannel--)?(.*?)'\](?:\.\w+_value)?", r"\1", condition)
    return re.sub(r"\b(?:int|double|bool)\((\w[\w-]*)\)", r"\1", text)


def _short(name: str) -> str:
    return name.removeprefix("pipelinechannel--")


def _cut(text: str, signs: int = MOST_SIGNS) -> str:
    text = " ".join(text.split())
    return text if len(text) <= signs else f"{text[: signs - 1]}…"


# layout


def _lay_out(box: Box) -> None:
    """Give a box its size, and those inside of it their places."""
    if not box.is_dag:
        widths = [len(_cut(box.title)) * TITLE[1], *(len(_cut(line)) * LINE[1] for line in box.lines)]
        box.width = max(70.0, *widths) + 2 * PADDING
        box.height = TITLE[0] + LINE[0] * len(box.lines) + 2 * PADDING
        return
    for inner in box.boxes:
        _lay_out(inner)
    columns, chains = _columns(box)
    x = PADDING
    left, right = [], []
    for column in columns:
        widest = max(one.width for one in column)
        left.append(x)
        right.append(x + widest)
        for one in column:
            one.x = x
        x += widest + GAP_ACROSS
    box.width = max(x - GAP_ACROSS + PADDING, len(_cut(box.title, 60)) * TITLE[1] + 2 * PADDING)
    box.height = max((one.y + one.height for column in columns for one in column), default=HEADER) + PADDING
    places = {one.name: number for number, column in enumerate(columns) for one in column if one.name}
    box.paths = [(edge, _path(chain, places[edge.source], left, right)) for edge, chain in chains]


def _columns(box: Box) -> tuple[list[list[Box]], list[tuple[Edge, list[Box]]]]:
    """Return the columns of a DAG, with lanes where edges pass one, and the boxes and lanes on the way of each edge."""
    by_name = {inner.name: inner for inner in box.boxes}
    edges = [edge for edge in box.edges if {edge.source, edge.target} <= by_name.keys()]
    column_of = dict.fromkeys(by_name, 0)
    for inner in box.boxes:  # in the order of their dependencies
        before = [column_of[edge.source] for edge in edges if edge.target == inner.name]
        column_of[inner.name] = max(before, default=-1) + 1
    columns: list[list[Box]] = [[] for _ in range(max(column_of.values(), default=-1) + 1)]
    for inner in box.boxes:
        columns[column_of[inner.name]].append(inner)
    chains = []
    lanes: dict[tuple[str, int], Box] = {}  # where the edges of a box pass a column, all together
    for edge in edges:
        chain = [by_name[edge.source]]
        for number in range(column_of[edge.source] + 1, column_of[edge.target]):
            if (edge.source, number) not in lanes:
                lanes[edge.source, number] = Box("", "", height=LINE[0])
                columns[number].append(lanes[edge.source, number])
            chain.append(lanes[edge.source, number])
        chains.append((edge, [*chain, by_name[edge.target]]))
    _arrange(columns, chains)
    return columns, chains


def _arrange(columns: list[list[Box]], chains: Iterable[tuple[Edge, list[Box]]]) -> None:
    """Order the boxes of each column by those that they are joined with, and place them near to these."""
    near: dict[int, list[Box]] = defaultdict(list)
    for _, chain in chains:
        for one, other in pairwise(chain):
            near[id(one)].append(other)
            near[id(other)].append(one)
    for column in columns:
        _stack(column, [0.0] * len(column))
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            wanted = {
                id(one): sum(other.y + other.height / 2 for other in near[id(one)]) / len(near[id(one)])
                if near[id(one)]
                else one.y + one.height / 2
                for one in column
            }
            column.sort(key=lambda one: wanted[id(one)])
            _stack(column, [wanted[id(one)] - one.height / 2 for one in column])
    top = min((one.y for column in columns for one in column), default=0.0)
    for column in columns:
        for one in column:
            one.y += HEADER + PADDING - top


def _stack(column: list[Box], wanted: list[float]) -> None:
    """Place boxes below each other, in the mean where they want to be."""
    y, shifts = 0.0, []
    for number, (one, place) in enumerate(zip(column, wanted, strict=True)):
        y = place if number == 0 else max(y, place)
        shifts.append(place - y)
        one.y = y
        y += one.height + GAP_DOWN
    shift = sum(shifts) / len(shifts) if shifts else 0.0
    for one in column:
        one.y += shift


def _path(chain: list[Box], first: int, left: list[float], right: list[float]) -> str:
    """Return the line of an edge: level through each column, and curved between two."""
    start = chain[0]
    path = f"M{start.x + start.width:.1f} {start.y + start.height / 2:.1f}"
    for number, (one, other) in enumerate(pairwise(chain), first):
        from_x, from_y = right[number], one.y + one.height / 2
        to_x, to_y = left[number + 1], other.y + other.height / 2
        middle = (from_x + to_x) / 2
        path += f"H{from_x:.1f}C{middle:.1f} {from_y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    return path


# SVG

STYLE = """
.graph{--ink:#1c2320;--soft:#5d6b64;--line:#9aa8a0;--box:#fff;--dag:#7f8c8514;font-family:system-ui,sans-serif}
.graph text{fill:var(--ink);font-size:13px}.graph .line{fill:var(--soft);font-size:11px}.graph .title{font-weight:600}
.graph rect{fill:var(--box);stroke:var(--line)}.graph .dag>rect{fill:var(--dag);stroke-dasharray:4 3}
.graph .edge{fill:none;stroke:var(--line);stroke-width:1.4}.graph .waits{stroke-dasharray:3 3}
.graph .head{fill:var(--line)}
.graph .succeeded>rect{stroke:#2e8b57;stroke-width:2}.graph .cached>rect{stroke:#4a7fb5;stroke-width:2}
.graph .failed>rect,.graph .lost>rect{stroke:#c0392b;stroke-width:3}
.graph .cancelled>rect{stroke:#b8860b;stroke-width:2}
.graph .running>rect{stroke:#b8860b;stroke-width:2;stroke-dasharray:6 3}.graph .skipped{opacity:.5}
@media (prefers-color-scheme:dark){.graph{--ink:#e6ece8;--soft:#a5b1aa;--line:#71807a;--box:#1d2421;--dag:#ffffff0d}}
"""


def _svg(whole: Box) -> str:
    _lay_out(whole)
    size = f'width="{whole.width:.0f}" height="{whole.height:.0f}" viewBox="0 0 {whole.width:.0f} {whole.height:.0f}"'
    told = escape(f"{whole.title}, as a graph of its tasks")
    head = (
        '<defs><marker id="graph-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    style = f"<style>{''.join(STYLE.split(chr(10)))}</style>"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" {size}>']
    parts.append(f"<title>{told}</title>{style}{head}")
    parts.append(f'<text class="title" x="{PADDING}" y="19">{escape(_cut(whole.title, 60))}</text>')
    parts += _svg_inside(whole)
    return "\n".join([*parts, "</svg>\n"])


def _svg_inside(box: Box) -> Iterator[str]:
    for edge, path in box.paths:
        kind = "edge" if edge.names else "edge waits"
        told = escape(f"{edge.source} → {edge.target}: {', '.join(edge.names) or 'waits for it'}")
        yield f'<path class="{kind}" marker-end="url(#graph-head)" d="{path}"><title>{told}</title></path>'
    for inner in box.boxes:
        place = f'transform="translate({inner.x:.1f} {inner.y:.1f})"'
        yield f'<g class="{"dag" if inner.is_dag else "task"} {inner.state}" {place}>'
        yield f"<title>{escape(inner.title if inner.is_dag else f'{inner.name}: {inner.title}')}</title>"
        yield f'<rect width="{inner.width:.1f}" height="{inner.height:.1f}" rx="{3 if inner.is_dag else 6}"/>'
        signs = 60 if inner.is_dag else MOST_SIGNS
        kind = "line" if inner.is_dag else "title"
        yield f'<text class="{kind}" x="{PADDING}" y="{PADDING + 11}">{escape(_cut(inner.title, signs))}</text>'
        for number, line in enumerate(inner.lines, 1):
            y = PADDING + 10 + TITLE[0] + LINE[0] * (number - 1)
            yield f'<text class="line" x="{PADDING}" y="{y + 2}">{escape(_cut(line))}</text>'
        yield from _svg_inside(inner)
        yield "</g>"


# Mermaid


def _mermaid(whole: Box) -> str:
    lines = ["flowchart LR", *_mermaid_inside(whole, "    ", "n")]
    colours = {"succeeded": "#2e8b57", "cached": "#4a7fb5", "failed": "#c0392b", "running": "#b8860b"}
    colours |= {"cancelled": "#b8860b", "lost": "#c0392b", "skipped": "#9aa8a0"}
    lines += [f"    classDef {state} stroke:{colour},stroke-width:2px" for state, colour in colours.items()]
    return "\n".join(lines) + "\n"


def _mermaid_inside(box: Box, indent: str, prefix: str) -> Iterator[str]:
    ids = {inner.name: f"{prefix}{number}" for number, inner in enumerate(box.boxes)}
    for inner in box.boxes:
        mark = ids[inner.name]
        if inner.is_dag and inner.boxes:
            yield f'{indent}subgraph {mark}["{_quoted(inner.title)}"]'
            yield from _mermaid_inside(inner, indent + "    ", f"{mark}_")
            yield f"{indent}end"
        else:
            label = "<br/>".join(map(_quoted, [inner.title, *inner.lines]))
            yield f'{indent}{mark}["{label}"]{f":::{inner.state}" if inner.state else ""}'
    for edge in box.edges:
        if {edge.source, edge.target} <= ids.keys():
            named = f'-->|"{_quoted(", ".join(edge.names))}"|' if edge.names else "-.->"
            yield f"{indent}{ids[edge.source]} {named} {ids[edge.target]}"


def _quoted(text: str) -> str:
    """Return a text as Mermaid takes it between quotes: what means something there as an entity."""
    return "".join(f"#{ord(sign)};" if sign in '"<>&#;`\\[]{}|' else sign for sign in _cut(text, 60))
