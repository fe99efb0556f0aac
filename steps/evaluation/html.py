"""Text and tables of a page. What comes from the data is escaped where it enters, by shown()."""

import math
import re
import unicodedata
from html import escape
from typing import Any

import pandas as pd

MAX_WEAKEST = 8  # rows of a long table that stand above it


def shorten(value: object, width: int = 60) -> str:
    """Return a value as text of one line and of at most a width in columns of a terminal."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", str(value))  # which no page may hold
    used = 0
    for place, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > width and place < len(text) - 1:
            return text[:place].rstrip() + "…"
    return text


def shown(value: object, width: int = 60) -> str:
    """Return a value as HTML: escaped, shortened, and kept apart from text of the other direction of writing."""
    if isinstance(value, float):
        value = f"{value:.6g}"
    text = shorten(value, width)
    whole = f' title="{escape(shorten(value, 2_000))}"' if text.endswith("…") else ""
    return f"<bdi{whole}>{escape(text)}</bdi>"


def table(frame: pd.DataFrame, caption: str, bars: tuple[str, ...] = (), spread: str = "", few: str = "") -> str:
    """Return a frame as an HTML table, its index as the heads of the rows.

    Args:
        frame: What to show; the names of columns and rows, and texts, may hold anything.
        caption: What the table shows, as HTML.
        bars: Columns of numbers with a bar beside each, as long as its share of 1.
        spread: Column of standard deviations of the first column with bars, drawn over them; the longest is whole.
        few: Column that tells which rows stand on little; it is not shown itself.
    """

    def cell(name: str, value: Any, row: dict[str, Any]) -> str:
        if name in bars:
            share = min(max(value / largest[name], 0), 1) if math.isfinite(value) else 0
            around = ""
            if spread and name == bars[0]:
                low, high = (min(max((value + sign * row[spread]) / largest[name], 0), 1) for sign in (-1, 1))
                around = f'<s style="left:{low:.1%};width:{high - low:.1%}"></s>'
            digits = f"{value:.3f}" if math.isfinite(value) else "\u2013"
            return f'<td class="bar"><b>{digits}</b><i style="--v:{share:.4f}">{around}</i></td>'
        if isinstance(value, float):
            return f"<td>{value:.3f}</td>" if math.isfinite(value) else "<td>\u2013</td>"
        if isinstance(value, int) and not isinstance(value, bool):
            return f"<td>{value:,}</td>"
        return f'<td class="text">{shown(value)}</td>'

    largest = {name: max((frame[name] + frame[spread]).max(), 1e-9) if spread else 1 for name in bars}
    visible = [name for name in frame if name != few]
    # Python's numbers, and a column of whole numbers stays one
    columns = {name: frame[name].tolist() for name in frame}
    body = []
    for place, index in enumerate(frame.index):
        row = {name: values[place] for name, values in columns.items()}
        mark = ' class="few"' if few and row[few] else ""
        cells = "".join(cell(name, row[name], row) for name in visible)
        body.append(f'<tr{mark}><th scope="row">{shown(index, 40)}</th>{cells}</tr>')
    text = {name: isinstance(columns[name][0], str) if len(frame) else False for name in visible}
    kinds = {name: ' class="text"' if text[name] else ' class="bar"' if name in bars else "" for name in visible}
    heads = "".join(f'<th scope="col"{kinds[name]}>{shown(name, 40)}</th>' for name in visible)
    only = ' class="one"' if len(bars) == 1 else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="Table"><table{only}>'
        f"<caption><span>{caption}</span></caption>"
        f'<thead><tr><th scope="col">{shown(frame.index.name or "")}</th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def weakest_first(frame: pd.DataFrame, caption: str, by: str, bars: tuple[str, ...], few: str = "") -> str:
    """Return a frame as table() does, and above a long one that is folded away the rows of the least figures."""
    whole = table(frame, caption, bars=bars, few=few)
    if len(frame) <= 2 * MAX_WEAKEST:
        return whole
    ordered = frame[~frame[few]] if few and not frame[few].all() else frame
    weakest = ordered.sort_values(by, kind="stable").head(MAX_WEAKEST)
    caption = f"The {len(weakest)} of the least {by}. {caption}"
    return (
        table(weakest, caption, bars=bars, few=few) + f"<details><summary>All {len(frame)}</summary>{whole}</details>"
    )
