"""What makes training on a table impossible or doubtful, in words that say what to do."""

import warnings

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from steps.tables.types import plain_column

MAX_CLASSES = 97  # a task of the service has at most 100 artifacts: combine-models a model a class, and three more
MAX_DECIMAL_LABELS = 20  # more different decimal numbers are a quantity
MIN_QUANTITY_ROWS = 10  # fewer cannot be split and learned from
TASKS = ("", "classification", "regression")


def task_of(labels: pa.ChunkedArray, asked: str, min_class_rows: int) -> str:
    """Return what is to be learned: classification of classes, or regression of a quantity.

    A quantity is found where a label has more than 20 different decimal numbers, or more different whole numbers than
    there may be classes; truth values and text are always classes.

    Args:
        labels: The labels as label_column() gives them.
        asked: What was asked for; "" to find out.
        min_class_rows: Least number of rows of a class, whose other rows are left out.

    Raises:
        ValueError: what was asked for is no such task.
    """
    if asked not in TASKS:
        raise ValueError(f"task is classification, regression or empty to find out, not {asked!r}.")
    if asked:
        return asked
    if not (pa.types.is_floating(labels.type) or pa.types.is_integer(labels.type)):
        return "classification"
    rows_of_values = labels.drop_null().value_counts().field("counts")
    n_classes = pc.sum(pc.greater_equal(rows_of_values, min_class_rows)).as_py() or 0
    most = MAX_DECIMAL_LABELS if pa.types.is_floating(labels.type) else MAX_CLASSES
    return "regression" if n_classes > most else "classification"


def quantity_problem(labels: pa.ChunkedArray, label: str, min_class_rows: int, is_part: bool) -> str:
    """Say why labels that all rows have are no quantity that can be estimated; "" where they are.

    Args:
        labels: The labels.
        label: Name of their column.
        min_class_rows: What was said of rare classes.
        is_part: Whether these are only the first rows.
    """
    kind = labels.type.value_type if pa.types.is_dictionary(labels.type) else labels.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        holds = "text" if pa.types.is_string(kind) else "true and false" if pa.types.is_boolean(kind) else str(kind)
        return (
            f"task=regression estimates a number, and the label {label!r} holds {holds}. Name a column of numbers with "
            "--label, or leave --set task=regression out to learn classes."
        )
    if n_infinite := pc.sum(pc.is_inf(labels)).as_py() if pa.types.is_floating(kind) else 0:
        return f"{n_infinite:,} labels in {label!r} are infinite, which no model can estimate. Correct or remove them."
    if min_class_rows:
        return (
            f"min_class_rows={min_class_rows} leaves rare classes out, and the label {label!r} is a quantity "
            "(regression). Leave it out, or say --set task=classification."
        )
    if is_part:
        return ""
    if len(labels) < MIN_QUANTITY_ROWS:
        return f"The table has {len(labels)} rows; to estimate {label!r}, at least {MIN_QUANTITY_ROWS} are needed."
    if pc.count_distinct(labels).as_py() < 2:
        return f"The label {label!r} has only the value {labels[0].as_py()!r}. Add rows of other values."
    return ""


def missing_problem(labels: pa.ChunkedArray, label: str, drop_unlabeled: bool = False) -> str:
    """Say that rows have no label; "" where all have one, or those without may be left out.

    Args:
        labels: The labels as label_column() gives them.
        label: Name of their column.
        drop_unlabeled: Whether rows without one are left out.
    """
    n_missing, n_rows = labels.null_count, len(labels)
    if n_missing == n_rows:
        return f"None of the {n_rows:,} rows has a label in {label!r}. Name another column with --label, or fill it in."
    if n_missing and not drop_unlabeled:
        first = pc.index(labels.is_null(), True).as_py() + 1
        return (
            f"{n_missing:,} of {n_rows:,} rows have no label in {label!r}, the first is data row {first:,}. "
            "Fill them in, or leave these rows out with --set drop_unlabeled=true. Empty cells and words such as NA, "
            "null and nan count as missing; --set na_values=WORDS says which words do (a JSON list; [] for none, so "
            "that NA can be North America)."
        )
    return ""


def classes_problem(labels: pa.ChunkedArray, label: str) -> str:
    """Say why labels that all rows have are no classes; "" where they are."""
    kind = labels.type.value_type if pa.types.is_dictionary(labels.type) else labels.type
    if pa.types.is_timestamp(kind):
        return (
            f"The label {label!r} holds dates. Name a column of classes or of numbers with --label, or make one of the "
            "dates, such as the season."
        )
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    if not any(is_kind(kind) for is_kind in known):
        return f"The label {label!r} holds values of type {kind}, which name no classes. Name another one with --label."
    if not pa.types.is_floating(kind):
        return ""
    if (pc.max(pc.abs(labels.filter(pc.is_finite(labels)))).as_py() or 0) >= 2**63:
        return (
            f"The label {label!r} holds numbers beyond 64 bits, whose last digits are lost, and classes that differ in "
            "them alone would become one. Write the classes as text, such as a letter before each number."
        )
    return ""


def classes_problems(
    counts: dict[str | int | float | bool, int], label: str, n_removed: int, is_part: bool
) -> list[str]:
    """Say why the classes, given with their rows, cannot be trained."""
    n_classes = len(counts)
    if n_classes > MAX_CLASSES:
        return [too_many_classes(label, n_classes, all(isinstance(name, int | float) for name in counts))]
    if is_part:
        return []
    if n_classes < 2:
        removed = f" that has enough rows; {n_removed} were removed" if n_removed else ""
        only = f"only the value {next(iter(counts))!r}" if counts else "no class"
        return [
            f"The label {label!r} has {only}{removed}; "
            "a classifier needs at least two classes. Add rows of another class."
        ]
    single = sorted(str(name) for name, count in counts.items() if count < 2)
    if single:
        shown = ", ".join(single[:10]) + (f" and {len(single) - 10} more" if len(single) > 10 else "")
        are_numbers = all(isinstance(name, int | float) and not isinstance(name, bool) for name in counts)
        quantity = " If it is a quantity, estimate it with --set task=regression." if are_numbers else ""
        return [
            f"Only one row has the label {shown} in {label!r}; each class needs at least two, one to train and one to "
            f"test on. Add rows of it, or leave it out with --set min_class_rows=2.{quantity}"
        ]
    return []


def too_many_classes(label: str, n_classes: int, are_numbers: bool) -> str:
    """Say that there are more classes than models that a task can take, a limit of Vertex AI."""
    what = "Estimate it as a quantity with --set task=regression, name" if are_numbers else "Name"
    return (
        f"The label {label!r} has {n_classes:,} different values; at most {MAX_CLASSES} classes can be trained, "
        f"because a task of the service takes at most 100 artifacts. {what} a column of classes with --label, "
        "join rare classes, or leave them out with --set min_class_rows=N."
    )


def alike_warnings(classes: list[str | int | float | bool]) -> list[str]:
    """Say which classes differ only by case or by spaces around them."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(str(name).strip().casefold(), []).append(str(name))
    return [
        f"The classes {' and '.join(map(repr, alike))} differ only in case or spaces; each is learned on its own."
        for alike in groups.values()
        if len(alike) > 1
    ]


def role_problem(name: str, values: pa.ChunkedArray, role: str) -> str:
    """Say why a column cannot have the role that it was named for; "" where it can."""
    if role not in ("weight", "split", "group"):
        return ""
    flag = {"weight": "weight", "split": "split_by", "group": "group_by"}[role]
    problem = _why_not(values, role)
    return f"--set {flag}={name}: {problem}" if problem else ""


def _why_not(values: pa.ChunkedArray, role: str) -> str:
    plain = plain_column(values)
    kind = pa.null() if plain is None else plain.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if role == "weight" and not is_number:
        return "the column holds no numbers. Name a column of weights, 0 or above."
    n_missing = values.null_count if plain is None else plain.null_count
    if plain is not None and pa.types.is_floating(kind):
        n_missing = len(plain) - (pc.sum(pc.is_finite(plain)).as_py() or 0)
    if n_missing:
        return f"{n_missing:,} of {len(values):,} values are missing or infinite. Fill them in or remove the rows."
    if role == "weight":
        bounds = pc.min_max(plain).as_py()
        if bounds["min"] < 0:
            return f"a weight is {bounds['min']:g}; each must be 0 or above."
        return "every weight is 0. Some rows must count." if bounds["max"] == 0 else ""
    if role == "split" and not is_number and not pa.types.is_timestamp(kind):
        wrong = [str(kind)]
        if plain is not None and (pa.types.is_dictionary(kind) or pa.types.is_string(kind)):
            texts = plain.cast(pa.string()).unique().to_pandas()
            with warnings.catch_warnings(action="ignore"):  # of slow formats
                wrong = texts[pd.to_datetime(texts, errors="coerce", format="mixed").isna()].tolist()
        if wrong:
            return f"{wrong[0]!r} is no date and no number. Name a column of dates, times or numbers."
    return ""
