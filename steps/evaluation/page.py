"""The evaluation of a model as one page that loads nothing."""

import pkgutil
from html import escape
from string import Template
from typing import TypedDict

import numpy as np
import pandas as pd

from steps.evaluation.errors import MIN_SLICE_ROWS, Pair, Slices, confused_pairs, failing_slices
from steps.evaluation.html import shown, table, weakest_first
from steps.evaluation.importance import SHUFFLES, Importance, column_importance, features_of_columns
from steps.evaluation.measures import Evaluation
from steps.evaluation.pictures import confusion_picture, curves

MAX_COLUMNS_SHOWN = 12  # of an example
Section = tuple[str, str, str]  # anchor, heading and content as HTML


class TableMetadata(TypedDict):
    """What the steps before have written down of the test rows."""

    source: str
    fingerprint: str
    label: str
    classes: dict[str, int]  # with their rows in the whole table
    duplicates_in_train: int


def evaluation_page(evaluation: Evaluation, facts: dict[str, object]) -> str:
    """Render an evaluation as a page, with what the model leans on and where it fails; the same gives the same page.

    Args:
        evaluation: The evaluation.
        facts: What the figures were measured on, by name.
    """
    X, codes, per_class, figures = evaluation.X, evaluation.codes, evaluation.per_class, evaluation.figures
    came_of = features_of_columns(evaluation.pipeline, X, evaluation.features)
    importance = column_importance(evaluation.pipeline[-1], evaluation.features, codes, came_of)
    columns = importance.ranked(list(X))
    slices = failing_slices(X, codes, evaluation.codes_pred, len(per_class), columns)
    pairs = confused_pairs(codes, evaluation.codes_pred, evaluation.sure)
    is_class = np.arange(len(per_class)) == codes[:, None]
    facts = facts | {"Classes": len(per_class), "Test rows": f"{len(X):,}", "Columns": f"{X.shape[1]:,}"}
    if n_unknown := (codes < 0).sum():
        facts["Unknown classes"] = f"{n_unknown:,} test rows are of classes that the model has not learned"

    with_rows = per_class["f1"][per_class["rows"] > 0]
    by_one = ""
    if importance.dominant is not None and X.shape[1] > 1:
        lost = importance.table["importance"].iloc[0]
        by_one = (
            f", nearly all of it by the one column <em>{shown(importance.dominant, 40)}</em>: shuffled, it loses "
            f"<em>{lost:.1%}</em> (is it known before the label is?)"
        )
    verdict = (
        f"Of {len(X):,} test rows the model gets <em>{figures['accuracy']:.1%}</em> right{by_one}; its macro-F1 is "
        f"<em>{figures['macro_f1']:.3f}</em>, and the weakest class is <em>{shown(with_rows.idxmin(), 40)}</em> with "
        f"an F1 of <em>{with_rows.min():.3f}</em>"
    )
    headline = {
        "Accuracy": f"{figures['accuracy']:.4f}",
        "Macro-F1": f"{figures['macro_f1']:.4f}",
        "Mean F1 against the rest": f"{figures['mean_f1']:.4f}",
        "Test rows": f"{len(X):,}",
    }
    sections = [
        ("classes", "Classes", classes_report(per_class)),
        ("confusion", "Confusion matrix", confusion_picture(evaluation.confusion, evaluation.names)),
        ("curves", "Curves", curves(is_class, evaluation.probabilities, evaluation.names)),
        ("columns", "Importance of the columns", importance_table(importance, X.shape[1])),
        ("pairs", "Most confused", pairs_report(pairs, evaluation, columns)),
        ("slices", "Where it fails", slices_report(slices)),
        ("data", "Data", data_report(facts, X)),
    ]
    return report_page("Evaluation of the model", verdict, headline, sections)


def table_facts(metadata: TableMetadata) -> dict[str, object]:
    """Return what is known of a table of test rows, by the names that a reader sees.

    Args:
        metadata: Of the test rows.
    """
    return {
        "Source": metadata["source"],
        "Fingerprint": metadata["fingerprint"],
        "Rows of the table": f"{sum(metadata['classes'].values()):,.0f}",
        "Label": metadata["label"],
        "Test rows seen in training": f"{metadata['duplicates_in_train']:,.0f}",
    }


def report_page(title: str, verdict: str, figures: dict[str, str], sections: list[Section]) -> str:
    """Return a whole page; <!-- nav -->, <!-- verdict --> and <!-- run --> mark where more may go.

    Args:
        title: Heading of the page.
        verdict: What came out in one sentence, without its full stop, as HTML.
        figures: Headline figures by name, as text.
        sections: The sections.
    """
    return Template(_data_file("page.html")).substitute(
        title=escape(title),
        style=_data_file("page.css"),
        verdict=verdict,
        figures="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in figures.items()),
        links="".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections),
        sections="\n".join(
            f'<section id="{anchor}"><h2>{escape(heading)}</h2>{content}</section>'
            for anchor, heading, content in sections
        ),
    )


def _data_file(name: str) -> str:
    """Return the text of a file beside this one, also where both were shipped."""
    content = pkgutil.get_data(__package__, name)
    if content is None:
        raise FileNotFoundError(name)
    return content.decode()


def classes_report(per_class: pd.DataFrame) -> str:
    """Render the figures of the classes."""
    names = {
        "rows": "rows",
        "f1": "F1",
        "precision": "precision",
        "recall": "recall",
        "average_precision": "average precision",
        "rest_f1": "F1 against the rest",
    }
    has_rows = per_class["rows"] > 0
    shown_classes = per_class[list(names)].astype({"rows": object}).rename(columns=names).rename_axis("class")
    shown_classes.loc[~has_rows, shown_classes.columns[1:]] = np.nan
    told = "A row gets its most probable class. Against the rest, a class is recognised at a probability above a half."
    if not has_rows.all():
        told += " A class without test rows has no figures and does not count in the means."
    return weakest_first(shown_classes, told, "F1", ("F1", "precision", "recall"))


def importance_table(importance: Importance, n_columns: int, figure: str = "accuracy") -> str:
    """Render what columns are worth, of a table of a number of columns, by what is lost of a figure."""
    lost = importance.table.rename(columns={"importance": f"{figure} lost", "spread": "± deviation"})
    of_classes = ", of each class alike as far as there are" if figure == "accuracy" else ""
    told = (
        f"How much {figure} is lost when the values of one column are shuffled among rows: mean and standard deviation "
        f"of {SHUFFLES} shuffles of {importance.n_rows:,} test rows{of_classes}."
    )
    if len(lost) < n_columns:
        what = "the classes apart" if of_classes else "the quantity"
        told += f" Measured are the {len(lost)} of {n_columns:,} columns that tell {what} best."
    return table(lost, told, bars=(f"{figure} lost",), spread="± deviation")


def pairs_report(pairs: list[Pair], evaluation: Evaluation, columns: list[str]) -> str:
    """Render the pairs of classes that are confused most often, with examples.

    Args:
        pairs: The pairs.
        evaluation: Where they were found.
        columns: All columns, the most important first.
    """
    if not pairs:
        return "<p>Every test row got its class.</p>"
    names, totals, sure = evaluation.names, evaluation.confusion.sum(axis=1).tolist(), evaluation.sure
    listed, examples = [], ""
    for pair in pairs:
        true, other = names[pair.true], names[pair.predicted]
        listed.append((true, other, pair.n_rows, pair.n_rows / totals[pair.true]))
        example = evaluation.X.iloc[pair.surest][columns[:MAX_COLUMNS_SHOWN]].astype(object)
        example = example.where(example.notna(), "\u2013").map(
            lambda value: f"{value:,.6g}" if isinstance(value, float) else str(value)
        )
        example.insert(0, "probability", [f"{probability:.3f}" for probability in sure[pair.surest]])
        example = example.set_axis([f"row {place + 1:,}" for place in pair.surest]).T
        example.index.name = "column"
        caption = "The rows that it was surest of, by their number in the test rows"
        is_part = len(columns) > MAX_COLUMNS_SHOWN
        caption += f", with the {MAX_COLUMNS_SHOWN} most important of {len(columns):,} columns." if is_part else "."
        examples += (
            f"<details{'' if examples else ' open'}><summary>{shown(true, 40)} taken for {shown(other, 40)} "
            f"<span>{pair.n_rows:,} rows</span></summary>{table(example, caption)}</details>"
        )
    heads = ["true class", "predicted class", "rows", "share of the true class"]
    frame = pd.DataFrame(listed, columns=heads).set_index(heads[0])
    caption = "The classes that were most often taken for another."
    return table(frame, caption, bars=(heads[3],)) + examples


def slices_report(slices: Slices) -> str:
    """Render what failing_slices() found."""
    told = (
        "Macro-F1 is over the classes that have rows in a slice. Slices of less "
        f"than {MIN_SLICE_ROWS} rows are slanted and come last."
    )
    if slices.left_out:
        names = ", ".join(shown(name, 40) for name in slices.left_out[:20])
        names += ", …" if len(slices.left_out) > 20 else ""
        told += f" Left out, for more than 40 values or after the eighth column: {names}."
    page = f'<p class="note">{told}</p>'
    for name, frame in slices.figures.items():
        frame = frame.rename(columns={"macro_f1": "macro-F1"})
        page += f"<h3>{shown(name)}</h3>" + weakest_first(
            frame, f"{len(frame)} slices of {frame['rows'].sum():,} test rows.", "macro-F1", ("macro-F1",), few="few"
        )
    return page


def data_report(facts: dict[str, object], X: pd.DataFrame) -> str:
    """Render what the figures were measured on.

    Args:
        facts: Facts by name.
        X: Raw test rows, for their missing values.
    """
    missing = X.isna().sum()
    missing = missing[missing > 0].sort_values(ascending=False, kind="stable")
    facts = facts | {
        "Missing values": f"{missing.sum():,} in the test rows" if len(missing) else "none in the test rows"
    }
    listed = "".join(f"<dt>{shown(name)}</dt><dd>{shown(value, 300)}</dd>" for name, value in facts.items())
    page = f'<dl class="facts">{listed}</dl>'
    if len(missing):
        frame = pd.DataFrame({"missing rows": missing, "share": missing / len(X)}).head(30)
        frame.index.name = "column"
        caption = f"Missing values in {len(missing):,} of {X.shape[1]:,} columns of the test rows"
        page += table(frame, caption + (", the most first." if len(missing) > 30 else "."), bars=("share",))
    return page
