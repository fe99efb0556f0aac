"""A model's card: what it is, from which rows, how good it is, and where it is not to be trusted, as Markdown.

The parts follow Mitchell et al., Model Cards for Model Reporting, 2019.
"""

from typing import Any

FEW_ROWS = 30  # test rows of a class: the figures of fewer say little
LOW_F1, LOW_R2 = 0.5, 0.5
MOST_COLUMNS = 100  # that are listed


def model_card(facts: dict[str, Any]) -> str:
    """Return the card of a model; see steps.promotion.folder.facts_of for what there is to be known of it."""
    return "\n".join([*_head(facts), *_rows(facts), *_figures(facts), *_limits(facts), *_columns(facts), *_use(facts)])


def _is_quantity(facts: dict[str, Any]) -> bool:
    return facts.get("task") == "regression"


def _what(facts: dict[str, Any]) -> str:
    if _is_quantity(facts):
        low, high = (f"{100 * level:g}" for level in facts["levels"])
        return (
            f"Estimates `{_cell(facts['label'])}` of a row, a quantity, and an interval that it lies in, whose ends "
            f"are meant to have {low} % and {high} % of the rows below them. The estimate is a weighted mean of "
            "gradient boosting, extremely randomised trees and a linear model (scikit-learn's), as far as each helps; "
            "the ends are gradient boosting of quantiles, with the reading of raw rows in front."
        )
    classes, names = facts["classes"], ", ".join(map(_cell, facts["classes"][:20]))
    more = f" and {len(classes) - 20:,} more" if len(classes) > 20 else ""
    learners = " and ".join(facts.get("learners", ()))
    made_of = (
        f"A weighted vote of models by {learners}, "
        if learners
        else "One gradient boosting model of trees for each class (scikit-learn's HistGradientBoostingClassifier), "
        "joined in a OneVsRestClassifier, "
    )
    return (
        f"Predicts `{_cell(facts['label'])}` of a row, one of {len(classes)} classes: {names}{more}. {made_of}"
        "with the reading of raw rows in front."
    )


def _head(facts: dict[str, Any]) -> list[str]:
    return [
        f"# Model card: {_cell(facts['identifier'] or facts['label'])}",
        "",
        _what(facts),
        "",
        f"- Run: {_cell(facts['run'] or 'not told')}",
        f"- Made: {facts['created']}",
        f"- SHA-256 of `model.joblib`: `{facts['sha256']}`",
        f"- Licence: {_cell(facts['licence'] or 'not stated')}",
        "",
    ]


def _rows(facts: dict[str, Any]) -> list[str]:
    split, rows = facts["split"], facts["rows"]
    how = f"a random share of each {'tenth of the label' if _is_quantity(facts) else 'class'}"
    if split["split_by"]:
        how = f"the newest by `{_cell(split['split_by'])}`"
    elif split["group_by"]:
        how = f"whole groups of `{_cell(split['group_by'])}`"
    seed = "" if split["seed"] is None or split["split_by"] else f", seed {split['seed']:.0f}"
    return [
        "## Rows",
        "",
        f"- Source: {_cell(facts['source'] or 'not told')}, fingerprint {_cell(facts['fingerprint'] or 'not told')}",
        f"- Trained on {rows['train']:,} rows, tested on {rows['test']:,} that it has never seen: {how}{seed}",
        "- `reference.parquet` holds up to 10,000 of the training rows as they are, against which drift is measured",
        "",
    ]


def _figures(facts: dict[str, Any]) -> list[str]:
    figures = facts["figures"]
    if _is_quantity(facts):
        names = {
            "r2": "R²",
            "mean_absolute_error": "mean absolute error",
            "root_mean_squared_error": "root mean squared error",
            "interval_coverage": "share of the rows in their interval",
            "interval_width": "mean width of the interval",
        }
        listed = [
            f"| {title} | {_quantity(figures.get(name))} | {_quantity(figures.get(f'baseline_{name}'))} |"
            for name, title in names.items()
        ]
        head = ["| on the test rows | model | always the median |", "|---|--:|--:|"]
        return ["## Figures", "", *head, *listed, ""]
    names = {"accuracy": "Accuracy", "macro_f1": "Macro-F1"}
    overall = [f"{names[name]} {figures[name]:.4f}" for name in names if name in figures]
    table = [
        f"| {_cell(name)} | {_count(figures['rows'].get(name))} | "
        + " | ".join(_figure(figures[figure].get(name)) for figure in ("precision", "recall", "f1"))
        + " |"
        for name in facts["classes"]
    ]
    return [
        "## Figures",
        "",
        f"On the test rows: {', '.join(overall) or 'none'}.",
        "",
        "| class | test rows | precision | recall | F1 |",
        "|---|--:|--:|--:|--:|",
        *table,
        "",
    ]


def _limits(facts: dict[str, Any]) -> list[str]:
    figures, lines = facts["figures"], []
    if _is_quantity(facts) and figures.get("r2", 0) < LOW_R2:
        lines.append(f"R² below {LOW_R2}: most of what makes the rows differ is not in the columns")
    known = {name: rows for name, rows in figures.get("rows", {}).items() if rows is not None}
    few = [name for name, rows in known.items() if rows < FEW_ROWS]
    if few:
        lines.append(f"Fewer than {FEW_ROWS} test rows, so that their figures say little: {_listed(few)}")
    low = [name for name, f1 in figures.get("f1", {}).items() if known.get(name) and f1 is not None and f1 < LOW_F1]
    if low:
        lines.append(f"F1 below {LOW_F1}: {_listed(low)}")
    if facts["duplicates_in_train"]:
        lines.append(
            f"{facts['duplicates_in_train']:,.0f} test rows stand in the training part as well: the figures tell what "
            "was memorised, too"
        )
    if not facts["split"]["split_by"]:
        lines.append("The test rows are of the same time and places as the training rows; later ones may be harder")
    if _is_quantity(facts):
        lines.append("A row unlike all training rows gets an estimate, too, which is little worth")
    else:
        lines.append("A row is given one of the classes above, also one that belongs to none of them")
    lines.append("A category that no training row has counts as missing; a warning tells of values that cannot be read")
    return ["## Limits", "", *(f"- {line}." for line in lines), ""]


def _columns(facts: dict[str, Any]) -> list[str]:
    columns = [*facts["columns"].items()]
    listed = [
        f"| {_cell(name)} | {reading['kind']} | {_cell(facts['example'].get(name))} |" for name, reading in columns
    ]
    more = [f"| and {len(columns) - MOST_COLUMNS:,} more | | |"] if len(columns) > MOST_COLUMNS else []
    return ["## Columns", "", "| column | kind | example |", "|---|---|---|", *listed[:MOST_COLUMNS], *more, ""]


def _use(facts: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{package} {version}" for package, version in facts["packages"].items())
    return [
        "## Use",
        "",
        f"Made with Python {facts['python']}, {versions}.",
        "",
        "```sh",
        "pip install -r requirements.txt && python predict.py rows.csv predictions.csv",
        "```",
        "",
    ]


def _cell(value: Any) -> str:
    """Return a text of the data so that Markdown shows it as it is, on one line of a table."""
    text = "" if value is None else " ".join(str(value).split())[:200]
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#+!|~" else sign for sign in text)


def _listed(names: list[str]) -> str:
    return ", ".join(map(_cell, names[:10])) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def _count(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}"


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.3f}"


def _quantity(value: Any) -> str:
    return "" if value is None else f"{value:,.5g}"
