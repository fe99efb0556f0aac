"""The leaderboard of a search: for programs, for a page, and as lines of a log."""

from html import escape
from typing import Any

from steps.searching.plan import Plan
from steps.searching.scoring import Scored

MOST_SHOWN = 20  # candidates, where they are shown beside other things
FIGURES = ("score", "spread", "accuracy", "macro_f1", "rounds", "rows", "seconds", "megabytes")


def table_of(scored: list[Scored], decided: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return the leaderboard as JSON holds it: the model that was chosen, and each candidate in its last rung.

    Args:
        scored: The candidates of all rungs, in the order of the rungs.
        decided: What was chosen; see steps.searching.choosing.settle.
        plan: What the last rung gave its candidates.
    """
    weights = {member["name"]: member["weight"] for member in decided["members"]}
    seconds = dict.fromkeys((one.name for one in scored), 0.0)
    for one in scored:
        seconds[one.name] += one.seconds
    last = {one.name: one for one in scored}
    ranked = sorted(last.values(), key=lambda one: (-one.rung, -one.objective, one.name))
    candidates = [
        {
            "name": one.name,
            "parameters": short(one.parameters),
            "rung": one.rung,
            "weight": round(weights.get(one.name, 0.0), 4),
            **{name: round(getattr(one, name), 4) for name in FIGURES},
            "seconds": round(seconds[one.name], 2),
        }
        for one in ranked
    ]
    chosen = {"score": decided["score"], "exponent": decided["exponent"], **decided["figures"]}
    return {"metric": plan.metric, "chosen": chosen, "candidates": candidates}


def short(parameters: dict[str, Any]) -> str:
    """Return parameters as a text of one line."""
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in parameters.items()
    )


def lines(board: dict[str, Any]) -> list[str]:
    """Return the leaderboard as lines of text."""
    chosen = board["chosen"]
    head = f"chosen: {board['metric']} {chosen['score']:.4f}, probabilities ÷ (class share)^{chosen['exponent']}"
    return [
        head,
        *(
            f"{one['name']:24} rung {one['rung']}  weight {one['weight']:.2f}  {one['score']:.4f} ± {one['spread']:.4f}"
            f"  {one['seconds']:.1f} s  {one['megabytes']:.1f} MB  {one['parameters']}"
            for one in board["candidates"]
        ),
    ]


def page_of(board: dict[str, Any]) -> str:
    """Return the leaderboard as an HTML page that loads nothing."""
    heads = ("candidate", "parameters", "rung", "weight", "score", "spread", "seconds", "MB")
    body = "".join(
        f"<tr><th>{escape(one['name'])}</th><td class=text>{escape(one['parameters'])}</td><td>{one['rung']}</td>"
        f"<td>{one['weight']:.2f}</td><td>{one['score']:.4f}</td><td>{one['spread']:.4f}</td>"
        f"<td>{one['seconds']:.1f}</td><td>{one['megabytes']:.1f}</td></tr>"
        for one in board["candidates"]
    )
    style = (
        "body{font:15px system-ui,sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}"
        "th:first-child,.text{text-align:left}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Leaderboard</title><style>{style}</style>'
        f"<h1>Leaderboard</h1><p>{escape(lines(board)[0])}</p><table><thead><tr>"
        f"{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead><tbody>{body}</tbody></table></html>\n"
    )
