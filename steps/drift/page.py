"""The drift of a table from a model's training rows as a page in the style of the evaluation's report."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from steps.drift.measures import ALPHA, LARGE, MODERATE, Drift
from steps.evaluation.html import shorten, shown, table
from steps.evaluation.page import report_page
from steps.evaluation.svg import ACCENT, CLASSES, INK, LINE, MUTED, picture

MAX_PICTURES = 12
MAX_SHOWN = 200  # columns in the table
MAX_CLASSES_DRAWN = 20


def drift_page(
    drifts: list[Drift], drifted: list[Drift], facts: dict[str, object], headline: dict[str, str], notes: Sequence[str]
) -> str:
    """Render what was measured.

    Args:
        drifts: The drift of each column and of the predicted class, the largest first.
        drifted: Of them those that count as drifted.
        facts: What was compared, by name.
        headline: Figures of the predictions by name, as text.
        notes: What was told of the rows when they were checked.
    """
    of_columns = [drift for drift in drifts if not drift.is_of_predictions]
    of_model = next(drift for drift in drifts if drift.is_of_predictions)
    headline = headline | {
        "Drifted": f"{len(drifted):,} of {len(drifts):,}",
        "Largest PSI": f"{drifts[0].psi:.3f}",
        f"PSI of the {of_model.name}": f"{of_model.psi:.3f}",
    }
    pictured = [drift for drift in drifted if drift is not of_model][:MAX_PICTURES]
    is_of_classes = of_model.kind == "classes"
    sections = [
        ("drifted", "What has drifted", _pictures(pictured, drifted, of_model)),
        ("columns", "All columns", _table(of_columns)),
        ("classes", "Predicted classes" if is_of_classes else "Estimates", _predictions(of_model, len(pictured))),
        ("data", "Data", _facts(facts, notes)),
    ]
    return report_page("Predictions and drift", verdict(drifts, drifted, as_html=True), headline, sections)


def verdict(drifts: list[Drift], drifted: list[Drift], as_html: bool = False) -> str:
    """Say what has drifted in one line, without its full stop."""

    def em(text: str) -> str:
        return f"<em>{text}</em>" if as_html else text

    def named(drift: Drift) -> str:
        if drift.is_of_predictions:
            return f"the {drift.name}"
        return shown(drift.name, 40) if as_html else repr(shorten(drift.name, 40))

    if not drifted:
        largest = drifts[0]
        return f"Nothing has drifted: the largest PSI is {em(f'{largest.psi:.3f}')}, of {named(largest)}"
    listed = ", ".join(f"{named(drift)} (PSI {em(f'{drift.psi:.2f}')})" for drift in drifted[:5])
    more = f" and {len(drifted) - 5:,} more" if len(drifted) > 5 else ""
    have = "has" if len(drifted) == 1 else "have"
    return f"{len(drifted):,} of {len(drifts):,} {have} drifted: {listed}{more}"


def _pictures(pictured: list[Drift], drifted: list[Drift], of_model: Drift) -> str:
    if not drifted:
        return "<p>Nothing: no shift is both large and more than chance.</p>"
    others = [drift for drift in drifted if drift is not of_model and drift not in pictured]
    more = f'<p class="note">{len(others):,} more are in the list below.</p>' if others else ""
    if of_model in drifted:
        more += f'<p class="note">So has the {of_model.name}: see below.</p>'
    # one or two are to be no wider than three
    drawn = [*map(_drawn, pictured, range(len(pictured))), *["<div></div>"] * (3 - len(pictured))]
    return f'<div class="panels">{"".join(drawn)}</div>{more}'


def _drawn(drift: Drift, number: int) -> str:
    """Draw the shares of the training rows and of the new ones in each bin."""
    bins, before, now = drift.bins, drift.before, drift.now
    if len(bins) > MAX_CLASSES_DRAWN + 2:
        order = np.argsort(-(before + now), kind="stable")
        kept, rest = order[:MAX_CLASSES_DRAWN], order[MAX_CLASSES_DRAWN:]
        bins = [*(bins[place] for place in kept), f"{len(rest)} others"]
        before, now = (np.append(shares[kept], shares[rest].sum()) for shares in (before, now))
    height = 0.75 + 0.25 * len(bins)
    figure = Figure(figsize=(3.9, height))
    axes = figure.add_axes((0.34, 0.42 / height, 0.62, (height - 0.5) / height))
    places = np.arange(len(bins))
    axes.barh(places - 0.19, before, 0.36, color=MUTED, alpha=0.6)
    axes.barh(places + 0.19, now, 0.36, color=CLASSES[4] if drift.is_significant else ACCENT)
    axes.set(ylim=(len(bins) - 0.5, -0.5), yticks=places)
    axes.set_yticklabels([shorten(name, 18) for name in bins], color=INK, size=8, parse_math=False)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.tick_params(axis="y", colors=INK)
    axes.set_xlabel("share of the rows", color=MUTED, size=9)
    axes.grid(axis="x", color=LINE, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    told = "Shares of the rows in training, grey, and now, coloured"
    drawing = picture(figure, f"drift{number}", f"{told}, in each of {len(bins)} bins; they are in the list below.")
    about = f"PSI {drift.psi:.3f}, {drift.test}, p {_chance(drift)}"
    return f"<figure><h3>{shown(drift.name, 40)}</h3>{drawing}<figcaption>{about}. {told}.</figcaption></figure>"


def _table(drifts: list[Drift]) -> str:
    frame = pd.DataFrame(
        {
            "PSI": [drift.psi for drift in drifts],
            "shift": [_word(drift) for drift in drifts],
            "statistic": [drift.statistic for drift in drifts],
            "p, corrected": [_chance(drift).removeprefix("= ") for drift in drifts],
            "test": [drift.test for drift in drifts],
        },
        index=pd.Index([drift.name for drift in drifts], name="column"),
    )
    caption = (
        "PSI is the population stability index, by tenths of the training rows or by categories: below "
        f"{MODERATE} little, from {LARGE} on a large shift. p is the chance of a difference as large among rows of one "
        "kind, corrected for the number of columns by Benjamini and Hochberg; a shift counts where it is below "
        f"{ALPHA}."
    )
    if len(frame) > MAX_SHOWN:
        caption += f" Shown are the {MAX_SHOWN} largest of {len(frame):,}."
    return table(frame.head(MAX_SHOWN), caption, bars=("PSI",))


def _chance(drift: Drift) -> str:
    return f"= {drift.corrected:.2g}" if drift.corrected >= 1e-4 else "<\u00a00.0001"


def _word(drift: Drift) -> str:
    if not drift.is_significant:
        return "within chance"
    return "large" if drift.psi >= LARGE else "moderate" if drift.psi >= MODERATE else "small"


def _predictions(drift: Drift, number: int) -> str:
    is_quantity = drift.kind == "estimates"
    shares = pd.DataFrame(
        {"share of the test rows": drift.before, "share now": drift.now},
        index=pd.Index(drift.bins, name="range" if is_quantity else "class"),
    )
    caption = "Rows whose estimate lies in each range" if is_quantity else "Rows that the model predicts as each class"
    caption += ": of the test rows when it was trained, and now."
    return f'<div class="panels">{_drawn(drift, number)}<div>{table(shares, caption, bars=("share now",))}</div></div>'


def _facts(facts: dict[str, object], notes: Sequence[str]) -> str:
    listed = "".join(f"<dt>{shown(name)}</dt><dd>{shown(value, 300)}</dd>" for name, value in facts.items())
    told = "".join(f"<li>{shown(note, 300)}</li>" for note in notes)
    told = f"<h3>What the check of the rows has told</h3><ul>{told}</ul>" if notes else ""
    return f'<dl class="facts">{listed}</dl>{told}'
