"""What a run knows of itself, put into the page that evaluate_model wrote.

The page marks the places, since the step must not know them: the run's id or times would make each evaluation another.
"""

from html import escape
from typing import Any

from pipeline import drawing, prices
from pipeline.runs import Candidate, Run


def complete(page: str, run: Run, previous: Run | None, spec: dict[str, Any] | None = None) -> str:
    """Return a report with the run's parameters, versions, commit and times, and the comparison in its verdict.

    Args:
        page: The page, with the places marked <!-- verdict -->, <!-- nav --> and <!-- run -->; each may be missing.
        run: The run that made it, with its figures.
        previous: The run to compare with; None for none.
        spec: What ran, for its graph; None for none.
    """
    for mark, filling in (
        ("<!-- verdict -->", _against(run, previous)),
        ("<!-- nav -->", f'{_links(run, spec)}<a href="#run">Run</a>'),
        ("<!-- run -->", _leaderboard(run) + _promotion(run) + _graph(run, spec) + _section(run, previous)),
    ):
        page = page.replace(mark, filling, 1)
    return page


def _against(run: Run, previous: Run | None) -> str:
    if previous is None or not previous.metrics or not run.metrics:
        return ""
    names = {"accuracy": "accuracy", "macro_f1": "macro-F1", "r2": "R²", "mean_absolute_error": "MAE"}
    differences = {
        name: run.metrics[figure] - previous.metrics[figure]
        for figure, name in names.items()
        if isinstance(run.metrics.get(figure), float) and isinstance(previous.metrics.get(figure), float)
    }
    if not differences:
        return ""
    changes = [
        f"{name} is {'up' if value > 0 else 'down'} {abs(value):.3f}"
        for name, value in differences.items()
        if abs(value) >= 0.0005
    ] or ["nothing has changed"]
    data = "" if run.data.fingerprint == previous.data.fingerprint else " on other data"
    return f"; against the previous run{data}, {' and '.join(changes)}"


_TABLE = '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table class="one">'
_VERDICTS = {
    "promoted": "The model is the champion now.",
    "kept": "The champion stays.",
    "tie": "The champion stays: neither model is better.",
}


def _links(run: Run, spec: dict[str, Any] | None) -> str:
    """Return the links to those parts that not every run has."""
    parts = {"leaderboard": "Leaderboard"} if run.leaderboard else {}
    parts |= {"promotion": "Promotion"} if run.verdict else {}
    parts |= {"graph": "Pipeline"} if spec else {}
    return "".join(f'<a href="#{name}">{title}</a>' for name, title in parts.items())


def _leaderboard(run: Run) -> str:
    """Return what a search has tried, the best first."""
    if not run.leaderboard:
        return ""
    longest = max(one.weight for one in run.leaderboard) or 1
    rows = [
        f'<tr><th scope="row">{escape(one.name)}</th><td class="bar"><b>{one.weight:.2f}</b>'
        f'<i style="--v:{one.weight / longest:.4f}"></i></td><td>{one.score:.4f}</td><td>{one.spread:.4f}</td>'
        f"<td>{one.rung}</td><td>{one.seconds:,.1f}</td>{_cost(one)}<td>{one.megabytes:,.1f}</td>"
        f'<td class="text">{escape(one.parameters)}</td></tr>'
        for one in run.leaderboard
    ]
    heads = '<th scope="col">candidate</th><th scope="col" class="bar">weight</th>'
    heads += "".join(f'<th scope="col">{head}</th>' for head in ("score", "spread", "rung", "seconds", "cost", "MB"))
    told = "Scored on validation rows, not on the test rows; those of a later rung had more rows and time."
    if run.leaderboard_prices:
        told += f" {escape(prices.CANDIDATES_COST.format(run.leaderboard_prices))}."
    return (
        f'<section id="leaderboard"><h2>Leaderboard</h2>{_TABLE}<caption><span>{told}</span></caption>'
        f'<thead><tr>{heads}<th scope="col" class="text">parameters</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _cost(candidate: Candidate) -> str:
    return f"<td>{'' if candidate.usd is None else escape(prices.shown(candidate.usd))}</td>"


def _promotion(run: Run) -> str:
    """Return whether the model has become the champion, and why."""
    if not run.verdict:
        return ""
    reasons = "".join(f"<li>{escape(reason[:1].upper() + reason[1:])}.</li>" for reason in run.verdict.reasons)
    champion = _listing({"Champion": (run.verdict.champion or "none", False)})
    told = escape(_VERDICTS.get(run.verdict.verdict, run.verdict.verdict))
    compared = _side_by_side(run.verdict.f1)
    return f'<section id="promotion"><h2>Promotion</h2><p>{told}</p><ul>{reasons}</ul>{compared}{champion}</section>'


def _side_by_side(f1: dict[str, tuple[float, float]]) -> str:
    """Return the F1 of the former champion and of this model, class by class."""
    if not f1:
        return ""
    rows = [
        f'<tr><th scope="row">{escape(name)}</th>{_bar(former)}{_bar(new)}<td>{new - former:+.3f}</td></tr>'
        for name, (former, new) in f1.items()
    ]
    return (
        f"{_TABLE}<caption><span>F1 of each class on the same rows.</span></caption>"
        '<thead><tr><th scope="col">class</th><th scope="col" class="bar">champion</th>'
        '<th scope="col" class="bar">this model</th><th scope="col">difference</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _bar(share: float) -> str:
    return f'<td class="bar"><b>{share:.3f}</b><i style="--v:{share:.4f}"></i></td>'


def _graph(run: Run, spec: dict[str, Any] | None) -> str:
    """Return the graph of what ran, with the states of its tasks."""
    if not spec:
        return ""
    drawn = drawing.draw(spec, ".svg", run)
    return (
        f'<section id="graph"><h2>Pipeline</h2><div class="scroll" tabindex="0" role="group" aria-label="Graph">{drawn}'
        "</div></section>"
    )


def _section(run: Run, previous: Run | None) -> str:
    commit = run.git.commit or "no git checkout"
    facts = {
        "Run": f"{run.identifier}/{run.run_id}",
        "Pipeline": run.pipeline,
        "Engine": run.engine,
        "State": run.status,
        "Started": f"{run.started:%Y-%m-%d %H:%M:%S} UTC",
        "Seconds": "" if run.seconds is None else f"{run.seconds:,.1f}",
        "Commit": f"{commit}, with changes" if run.git.dirty else commit,
        "Compared with": previous.run_id if previous else "no run before it",
    }
    former = previous.parameters if previous else run.parameters
    parameters = {name: (value, value != former.get(name)) for name, value in run.parameters.items()}
    versions = {name: (version, False) for name, version in run.versions.items()}
    return (
        f'<section id="run"><h2>Run</h2>{_listing({name: (value, False) for name, value in facts.items()})}'
        f"<h3>Parameters</h3>{_listing(parameters)}<h3>Versions</h3>{_listing(versions)}"
        f"<h3>Time of the tasks</h3>{_times(run)}</section>"
    )


def _listing(pairs: dict[str, tuple[Any, bool]]) -> str:
    changed = ' <span class="tag">changed</span>'
    items = (
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}{changed if differs else ''}</dd>"
        for name, (value, differs) in pairs.items()
    )
    return f'<dl class="facts">{"".join(items)}</dl>'


def _times(run: Run) -> str:
    longest = max((task.seconds or 0 for task in run.tasks), default=0) or 1
    rows = []
    for task in run.tasks:
        state = "from the cache" if task.cached else task.state
        if task.seconds is None:
            time = "<td>\u2013</td>"
        else:
            time = f'<td class="bar"><b>{task.seconds:,.1f}</b><i style="--v:{task.seconds / longest:.4f}"></i></td>'
        rows.append(f'<tr><th scope="row">{escape(task.title)}</th>{time}<td class="text">{escape(state)}</td></tr>')
    return (
        f"{_TABLE}<caption><span>In the order of their start; those of a loop ran side by side.</span></caption>"
        '<thead><tr><th scope="col">task</th><th scope="col" class="bar">seconds</th>'
        '<th scope="col" class="text">state</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
