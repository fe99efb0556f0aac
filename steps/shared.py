"""Pure functions that several steps share; KFP pastes their source in front of each step that names them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def classes_of(labels: "pd.Series") -> list:
    """Return the distinct labels in order; the place of a class in this list is its code."""
    return sorted(labels.unique().tolist())


def report_page(title: str, figures: dict, facts: dict, classes: "pd.DataFrame", confusion: "pd.DataFrame") -> str:
    """Render an evaluation as one HTML page that loads nothing from outside.

    Args:
        title: Heading of the page.
        figures: Headline figures by name, each between 0 and 1.
        facts: What the figures were measured on, by name.
        classes: One row a class, indexed by its name.
        confusion: Test rows counted by true class (down) and predicted class (across).
    """
    from html import escape

    def listing(pairs: dict) -> str:
        items = (f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs.items())
        return f"<dl>{''.join(items)}</dl>"

    def table(frame: "pd.DataFrame") -> str:
        # to_html escapes the names, which come from the data
        return f'<div class="scroll">{frame.to_html(float_format="{:.3f}".format, border=0)}</div>'

    style = (
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}.scroll{overflow-x:auto}table{border-collapse:collapse}th,td{padding:.3rem .7rem;"
        "text-align:right;border-bottom:1px solid #8884}dl{display:grid;grid-template-columns:max-content auto;"
        "gap:.2rem 1rem}dd{margin:0}"
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><h1>{escape(title)}</h1>"
        + listing({name: f"{value:.4f}" for name, value in figures.items()})
        + f"<h2>Classes</h2>{table(classes)}"
        + "<h2>Confusion matrix</h2><p>Test rows: true class down, predicted class across.</p>"
        + table(confusion)
        + f"<h2>Data</h2>{listing(facts)}</body></html>\n"
    )
