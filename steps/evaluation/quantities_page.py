"""The evaluation of a model that estimates a quantity as one page that loads nothing."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steps.evaluation.errors import MAX_SLICED_COLUMNS, MAX_SLICES, MIN_SLICE_ROWS, Slices
from steps.evaluation.html import shown, table
from steps.evaluation.importance import features_of_columns, quantity_importance
from steps.evaluation.page import MAX_COLUMNS_SHOWN, data_report, importance_table, report_page
from steps.evaluation.quantities import QuantityEvaluation, errors
from steps.evaluation.svg import ACCENT, CLASSES, LINE, MUTED, picture

MAX_POINTS = 1_500  # of a picture
N_BINS = 30  # of a histogram
N_WORST = 6  # rows that are shown
MAX_WORST_SLICES = 8  # of a column with many


def evaluation_page(evaluation: QuantityEvaluation, facts: dict[str, object]) -> str:
    """Render an evaluation as a page, with what the model leans on and where its error is large.

    Args:
        evaluation: The evaluation.
        facts: What the figures were measured on, by name.
    """
    X, figures = evaluation.X, evaluation.figures
    came_of = features_of_columns(evaluation.pipeline, X, evaluation.features)
    importance = quantity_importance(evaluation.pipeline[-1], evaluation.features, evaluation.y, came_of)
    columns = importance.ranked(list(X))
    facts = facts | {"Test rows": f"{len(X):,}", "Columns": f"{X.shape[1]:,}"}
    by_one = ""
    if importance.dominant is not None and X.shape[1] > 1:
        by_one = (
            f", nearly all of it by the one column <em>{shown(importance.dominant, 40)}</em> (is it known before the "
            "label is?)"
        )
    error, guessed = figures["mean_absolute_error"], figures["baseline_mean_absolute_error"]
    less = f"<em>{1 - error / guessed:.1%}</em> less than" if 0 < error < guessed else "against"
    verdict = (
        f"The model explains <em>{figures['r2']:.1%}</em> of the variance of {len(X):,} test rows{by_one}; it is off "
        f"by <em>{error:,.4g}</em> on average, {less} the <em>{guessed:,.4g}</em> of always the median, and "
        f"<em>{figures['interval_coverage']:.1%}</em> of the rows lie in their interval"
    )
    headline = {
        "R²": f"{figures['r2']:.4f}",
        "Mean absolute error": f"{error:,.5g}",
        "Root mean squared error": f"{figures['root_mean_squared_error']:,.5g}",
        "In the 90 % interval": f"{figures['interval_coverage']:.1%}",
        "Test rows": f"{len(X):,}",
    }
    sections = [
        ("figures", "Figures", figures_report(figures)),
        ("estimates", "Estimates", estimates_report(evaluation)),
        ("columns", "Importance of the columns", importance_table(importance, X.shape[1], "R²")),
        ("worst", "Furthest off", worst_report(evaluation, columns)),
        ("slices", "Where the error is large", slices_report(error_slices(evaluation, columns))),
        ("data", "Data", data_report(facts, X)),
    ]
    return report_page("Evaluation of the model", verdict, headline, sections)


def table_facts(metadata: dict[str, object]) -> dict[str, object]:
    """Return what is known of a table of test rows, by the names that a reader sees.

    Args:
        metadata: Of the test rows.
    """
    return {
        "Source": metadata["source"],
        "Fingerprint": metadata["fingerprint"],
        "Rows of the table": f"{metadata['table_rows']:,.0f}",
        "Label": f"{metadata['label']}, a quantity",
        "Test rows seen in training": f"{metadata['duplicates_in_train']:,.0f}",
    }


def figures_report(figures: dict[str, float]) -> str:
    """Render the figures beside those of a guess."""
    names = {
        "r2": "R²",
        "mean_absolute_error": "mean absolute error",
        "root_mean_squared_error": "root mean squared error",
        "mean_squared_error": "mean squared error",
    }
    rows = {title: [f"{figures[of + name]:,.6g}" for of in ("", "baseline_")] for name, title in names.items()}
    rows["median absolute error"] = [f"{figures['median_absolute_error']:,.6g}", "\u2013"]
    rows["rows in the interval"] = [f"{figures['interval_coverage']:.1%}", "\u2013"]
    rows["mean width of the interval"] = [f"{figures['interval_width']:,.6g}", "\u2013"]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["model", "always the median"]).rename_axis("figure")
    told = (
        "Beside the model stands the estimate that is always the median of the training rows. The ends of an interval "
        "are meant to have 5 % of the rows beyond each."
    )
    return table(frame, told)


def estimates_report(evaluation: QuantityEvaluation) -> str:
    """Draw what is estimated against what is true, and how far it is off."""
    y, estimated, residuals = evaluation.y, evaluation.y_pred, evaluation.residuals
    places = np.sort(np.random.default_rng(0).permutation(len(y))[:MAX_POINTS])

    axes = _axes("true", "estimated")
    ends = [min(y.min(), estimated.min()), max(y.max(), estimated.max())]
    axes.plot(ends, ends, color=MUTED, lw=0.8, ls=(0, (1, 2)))
    axes.scatter(y[places], estimated[places], s=5, color=ACCENT, alpha=0.5, lw=0)
    against = picture(axes.figure, "against", "Estimates against what is true; on the diagonal they are right.")

    axes = _axes("estimated", "true less estimated")
    axes.axhline(0, color=MUTED, lw=0.8, ls=(0, (1, 2)))
    axes.scatter(estimated[places], residuals[places], s=5, color=ACCENT, alpha=0.5, lw=0)
    off = picture(axes.figure, "residuals", "How far the estimates are off, against the estimates.")

    axes = _axes("true less estimated", "test rows")
    low, high = np.quantile(residuals, [0.005, 0.995])
    axes.hist(residuals[(low <= residuals) & (residuals <= high)], bins=N_BINS, color=ACCENT, alpha=0.8)
    axes.axvline(0, color=CLASSES[4], lw=1)
    spread = picture(axes.figure, "spread", "How many test rows are off by how much.")

    drawn = {"Estimated against true": against, "Residuals": off, "Their spread": spread}
    told = "On the dotted line an estimate is right. The spread is of the 99 % of the rows that are in its middle."
    if len(places) < len(y):
        told += f" Drawn are {len(places):,} of the {len(y):,} test rows."
    figures = "".join(f"<figure><h3>{name}</h3>{svg}</figure>" for name, svg in drawn.items())
    return f'<div class="panels">{figures}</div><p class="note">{told}</p>'


def _axes(x: str, y: str) -> Axes:
    axes = Figure(figsize=(3.9, 3.5)).add_axes((0.2, 0.14, 0.77, 0.83))
    axes.set_xlabel(x, color=MUTED, size=9)
    axes.set_ylabel(y, color=MUTED, size=9)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.locator_params(nbins=5)
    axes.grid(color=LINE, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return axes


def worst_report(evaluation: QuantityEvaluation, columns: list[str]) -> str:
    """Render the rows whose estimates are furthest off.

    Args:
        evaluation: The evaluation.
        columns: All columns, the most important first.
    """
    worst = np.argsort(-np.abs(evaluation.residuals), kind="stable")[:N_WORST]
    rows = evaluation.X.iloc[worst][columns[:MAX_COLUMNS_SHOWN]].astype(object)
    of_each = {"true": evaluation.y, "estimated": evaluation.y_pred, "lower": evaluation.lower}
    for place, (name, values) in enumerate((of_each | {"upper": evaluation.upper}).items()):
        rows.insert(place, name, values[worst], allow_duplicates=True)
    rows = rows.where(rows.notna(), "\u2013").map(
        lambda value: f"{value:,.6g}" if isinstance(value, float) else str(value)
    )
    rows = rows.set_axis([f"row {place + 1:,}" for place in worst]).T.rename_axis("column")
    caption = "The test rows whose estimates are furthest off, by their number"
    is_part = len(columns) > MAX_COLUMNS_SHOWN
    caption += f", with the {MAX_COLUMNS_SHOWN} most important of {len(columns):,} columns." if is_part else "."
    return table(rows, caption)


def error_slices(evaluation: QuantityEvaluation, columns: list[str]) -> Slices:
    """Measure the rows of each tenth of the quantity, quarter of the first numeric column, and value of those of few.

    Args:
        evaluation: The evaluation.
        columns: All columns, the most important first.
    """
    X, kinds = evaluation.X.reset_index(drop=True), evaluation.X.dtypes
    found = {"the quantity itself": _figures_of(evaluation, _spans(pd.Series(evaluation.y), 5), "the quantity itself")}
    left_out: list[str] = []
    number = next((name for name in columns if kinds[name].kind in "iuf" and X[name].nunique() > 1), None)
    if number is not None:
        found[number] = _figures_of(evaluation, _spans(X[number].astype(float), 4), number)
    n_columns = 0
    for name in columns:
        is_text = isinstance(kinds[name], (pd.CategoricalDtype, pd.StringDtype, pd.BooleanDtype))
        if not is_text and kinds[name].kind not in "Ob":
            continue
        values = X[name].astype("str") if n_columns < MAX_SLICED_COLUMNS else None
        if values is None or values.nunique() > MAX_SLICES:
            left_out.append(name)
            continue
        n_columns += 1
        figures = _figures_of(evaluation, values, name)
        order = figures.assign(least=-figures["mean absolute error"]).sort_values(["few", "least"], kind="stable").index
        found[name] = figures.loc[order]
    return Slices(found, left_out)


def _spans(values: pd.Series, n_parts: int) -> pd.Series:
    """Return the name of the part that each number lies in, of parts of as many rows; missing numbers have none."""
    ends = np.unique(np.nanquantile(values, np.linspace(0, 1, n_parts + 1)))
    names = [f"{low:,.6g} \u2013 {high:,.6g}" for low, high in pairwise(ends)] or [f"{ends[0]:,.6g}"]
    places = np.searchsorted(ends[1:-1], values.to_numpy(), side="left").clip(max=len(names) - 1)
    parts = pd.Categorical.from_codes(np.where(values.isna(), -1, places), names, ordered=True)
    return pd.Series(parts)


def _figures_of(evaluation: QuantityEvaluation, groups: pd.Series, name: str) -> pd.DataFrame:
    """Return of each group its rows, errors, share in the interval, and whether it has few rows."""
    places, values = pd.factorize(groups, sort=True, use_na_sentinel=True)
    inside = (evaluation.lower <= evaluation.y) & (evaluation.y <= evaluation.upper)
    found = {}
    for place in range(-1, len(values)):
        rows = places == place
        if not rows.any():
            continue
        figures = errors(evaluation.y[rows], evaluation.y_pred[rows])
        found["(missing)" if place < 0 else str(values[place])] = {
            "rows": int(rows.sum()),
            "mean absolute error": figures["mean_absolute_error"],
            "mean of true less estimated": float(evaluation.residuals[rows].mean()),
            "in the interval": float(inside[rows].mean()),
            "few": bool(rows.sum() < MIN_SLICE_ROWS),
        }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis(name)


def slices_report(slices: Slices) -> str:
    """Render what error_slices() found."""
    told = f"Slices of less than {MIN_SLICE_ROWS} rows are slanted and come last."
    if slices.left_out:
        names = ", ".join(shown(name, 40) for name in slices.left_out[:20])
        names += ", …" if len(slices.left_out) > 20 else ""
        told += f" Left out, for more than {MAX_SLICES} values or after the eighth column: {names}."
    page = f'<p class="note">{told}</p>'
    for name, frame in slices.figures.items():
        caption = f"{len(frame)} slices of {frame['rows'].sum():,} test rows."
        error = frame["mean absolute error"].map(lambda value: f"{value:,.5g}")
        mean = frame["mean of true less estimated"].map(lambda value: f"{value:,.5g}")
        as_text = frame.assign(**{"mean absolute error": error, "mean of true less estimated": mean})
        whole = table(as_text, caption, bars=("in the interval",), few="few")
        if len(frame) > 2 * MAX_WORST_SLICES:
            worst = table(
                as_text.head(MAX_WORST_SLICES),
                f"The {MAX_WORST_SLICES} of the largest error. {caption}",
                bars=("in the interval",),
                few="few",
            )
            whole = f"{worst}<details><summary>All {len(frame)}</summary>{whole}</details>"
        page += f"<h3>{shown(name)}</h3>{whole}"
    return page
