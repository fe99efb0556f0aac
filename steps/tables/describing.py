"""Describe a table before anything is learned from it: its columns, what is left out, what stands in the way."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from steps.tables.columns import describe_column, is_identifier
from steps.tables.leaks import Labels, labels_of, tenths_of
from steps.tables.problems import (
    alike_warnings,
    classes_problem,
    classes_problems,
    missing_problem,
    quantity_problem,
    role_problem,
    task_of,
    too_many_classes,
)
from steps.tables.reading import Table
from steps.tables.roles import Roles
from steps.tables.schema import Schema
from steps.tables.types import label_column

MAX_CLASSES_COUNTED = 10_000
MANY_NUMBERS = 20  # more whole numbers as classes are told
VALUES_AT_ONCE = 25_000_000  # of the columns that are looked at together, some hundred MB


@dataclass
class Described:
    """What a table is, and what of it can be learned from."""

    schema: Schema
    kept: pa.ChunkedArray | None = None  # which rows are, None for all
    classes: list[str | int | float | bool] = field(default_factory=list)  # as they are, in order; none of a quantity


def describe(
    table: Table, roles: Roles, min_class_rows: int = 0, drop_unlabeled: bool = False, task: str = ""
) -> Described:
    """Describe a table and find what a model can be trained on.

    Args:
        table: The table; of a part of one, a class may not have been seen.
        roles: What its columns are for.
        min_class_rows: Classes of fewer rows are left out with their rows.
        drop_unlabeled: Whether rows without a label are left out, too.
        task: classification or regression; "" finds out.

    Raises:
        ValueError: a column that was named is not there, or there is no such task.
    """
    names, label = table.dataset.schema.names, roles.label
    role_of = roles.by_column(names)
    schema = Schema(table.dataset.count_rows(), label, notes=table.notes)
    described = Described(schema)
    if schema.rows == 0:
        schema.problems.append("The table has column names but no rows. Add the rows to learn from.")
        return described
    if len(names) < 2:
        schema.problems.append(
            f"The table has no column but the label {label!r}. Add the columns to learn from; "
            "where there are some, the file has another delimiter than comma, semicolon, tab or bar."
        )
        return described
    labels = _find_labels(described, table, min_class_rows, drop_unlabeled, task)
    if labels is None or schema.rows == 0:
        return described

    at_once = max(1, VALUES_AT_ONCE // (schema.rows + 1))
    for start in range(0, len(names), at_once):
        group = table.dataset.to_table(columns=names[start : start + at_once])
        for name, values in zip(group.column_names, group.columns, strict=True):
            values = values if described.kept is None else values.filter(described.kept)
            role = role_of.get(name, "feature")
            column = describe_column(name, values, role, labels, name in roles.keep, table.decimal)
            if role == "dropped":
                column.add_note("as asked", first=True)
            schema.columns.append(column)
            if problem := role_problem(name, values, role):
                schema.problems.append(problem)
    if not schema.features and not table.is_part:
        dropped = ", ".join(f"{column.name!r} ({column.note})" for column in schema.columns if column.note)[:400]
        schema.problems.append(f"No column is left to learn from: {dropped}. Add columns that tell the classes apart.")
    return described


def _find_labels(
    described: Described, table: Table, min_class_rows: int, drop_unlabeled: bool, task: str
) -> Labels | None:
    """Fill in the task, the classes and which rows are kept; return the labels by row, None for none."""
    schema, label = described.schema, described.schema.label
    labels = label_column(table.dataset.to_table(columns=[label]).column(0))
    n_missing = labels.null_count
    if table.is_part and drop_unlabeled and n_missing == len(labels):
        schema.rows = 0  # those below may have labels
        return None
    if problem := missing_problem(labels, label, drop_unlabeled):
        schema.problems.append(problem)
        return None
    if n_missing:
        schema.warnings.append(f"{n_missing:,} of {schema.rows:,} rows have no label in {label!r} and are left out")
    schema.task = task_of(labels, task, min_class_rows)
    if schema.task == "regression":
        return _find_quantity(described, labels, min_class_rows, table.is_part)
    return _find_classes(described, labels, min_class_rows, table.is_part)


def _find_quantity(described: Described, labels: pa.ChunkedArray, min_class_rows: int, is_part: bool) -> Labels | None:
    """Fill in which rows are kept, and what is to be known of a quantity; return its tenths by row, None for none."""
    schema, known = described.schema, labels.drop_null()
    if problem := quantity_problem(known, schema.label, min_class_rows, is_part):
        schema.problems.append(problem)
        return None
    if labels.null_count:
        described.kept = labels.is_valid().combine_chunks()
        schema.rows = len(known)
    n_distinct, bounds = pc.count_distinct(known).as_py(), pc.min_max(known).as_py()
    told = f"{schema.label!r} is a quantity, {n_distinct:,} different numbers from {bounds['min']:g} to "
    told += f"{bounds['max']:g}: estimated by regression; --set task=classification learns classes"
    if is_identifier(known, n_distinct):
        told += ". It has another value on every row, as an identifier has: look whether it is the right column"
    schema.warnings.append(told)
    return tenths_of(schema.label, known)


def _find_classes(described: Described, labels: pa.ChunkedArray, min_class_rows: int, is_part: bool) -> Labels | None:
    """Fill in the classes and which rows are kept; return them by row, None for none."""
    schema, label, n_missing = described.schema, described.schema.label, labels.null_count
    if problem := classes_problem(labels.drop_null(), label):
        schema.problems.append(problem)
        return None
    labels = labels.dictionary_encode().unify_dictionaries().combine_chunks()
    counted = labels.drop_null().value_counts()
    n_many = pc.sum(pc.greater_equal(counted.field("counts"), min_class_rows)).as_py()
    if n_many > MAX_CLASSES_COUNTED:
        are_numbers = pa.types.is_integer(labels.type.value_type) or pa.types.is_floating(labels.type.value_type)
        schema.problems.append(too_many_classes(label, n_many, are_numbers))
        return None
    counts = {entry["values"]: entry["counts"] for entry in counted.to_pylist()}
    rare = {name: count for name, count in counts.items() if count < min_class_rows}
    described.classes = sorted(counts.keys() - rare.keys())
    if rare or n_missing:
        learned = [code for code, name in enumerate(labels.dictionary.to_pylist()) if name not in rare]
        described.kept = pc.is_in(labels.indices, pa.array(learned, labels.indices.type))  # a missing one is not
        schema.removed_classes = {str(name): rare[name] for name in sorted(rare)}
        schema.rows -= sum(rare.values()) + n_missing
    rows_of = {name: counts[name] for name in described.classes}
    schema.classes = {str(name): rows for name, rows in rows_of.items()}
    schema.problems += classes_problems(rows_of, label, len(rare), is_part)
    schema.warnings += alike_warnings(described.classes)
    if len(rows_of) > MANY_NUMBERS and not schema.problems and pa.types.is_integer(labels.type.value_type):
        told = f"{len(rows_of):,} different whole numbers in {label!r} are taken as classes"
        schema.warnings.append(f"{told}; --set task=regression estimates them as a quantity")
    known = pc.index_in(labels.dictionary, pa.array(described.classes, labels.dictionary.type))
    places = known.fill_null(0).to_numpy()  # no row that is kept is of a class that is left out
    indices = labels.indices if described.kept is None else labels.indices.filter(described.kept)
    return labels_of(label, indices, places, [str(name) for name in described.classes])
