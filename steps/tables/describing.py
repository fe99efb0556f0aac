"""Describe a table before anything is learned from it: its columns, what is left out, what stands in the way."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from steps.tables.columns import describe_column
from steps.tables.leaks import Labels, labels_of
from steps.tables.problems import alike_warnings, classes_problems, label_problem, role_problem, too_many_classes
from steps.tables.reading import Table
from steps.tables.roles import Roles
from steps.tables.schema import Schema
from steps.tables.types import label_column

MAX_CLASSES_COUNTED = 10_000
VALUES_AT_ONCE = 25_000_000  # of the columns that are looked at together, some hundred MB


@dataclass
class Described:
    """What a table is, and what of it can be learned from."""

    schema: Schema
    kept: pa.ChunkedArray | None = None  # which rows are, None for all
    classes: list[str | int | float | bool] = field(default_factory=list)  # as they are, in order


def describe(table: Table, roles: Roles, min_class_rows: int = 0, drop_unlabeled: bool = False) -> Described:
    """Describe a table and find what a classifier can be trained on.

    Args:
        table: The table; of a part of one, a class may not have been seen.
        roles: What its columns are for.
        min_class_rows: Classes of fewer rows are left out with their rows.
        drop_unlabeled: Whether rows without a label are left out, too.

    Raises:
        ValueError: a column that was named is not there.
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
    labels = _find_classes(described, table, min_class_rows, drop_unlabeled)
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


def _find_classes(described: Described, table: Table, min_class_rows: int, drop_unlabeled: bool) -> Labels | None:
    """Fill in the classes and which rows are kept; return them by row, None for none."""
    schema, label = described.schema, described.schema.label
    labels = label_column(table.dataset.to_table(columns=[label]).column(0))
    n_missing = labels.null_count
    if table.is_part and drop_unlabeled and n_missing == len(labels):
        schema.rows = 0  # those below may have labels
        return None
    if problem := label_problem(labels, label, drop_unlabeled):
        schema.problems.append(problem)
        return None
    labels = labels.dictionary_encode().unify_dictionaries().combine_chunks()
    counted = labels.drop_null().value_counts()
    n_many = pc.sum(pc.greater_equal(counted.field("counts"), min_class_rows)).as_py()
    if n_many > MAX_CLASSES_COUNTED:
        schema.problems.append(too_many_classes(label, n_many, pa.types.is_integer(labels.type.value_type)))
        return None
    counts = {entry["values"]: entry["counts"] for entry in counted.to_pylist()}
    rare = {name: count for name, count in counts.items() if count < min_class_rows}
    described.classes = sorted(counts.keys() - rare.keys())
    if n_missing:
        schema.warnings.append(f"{n_missing:,} of {schema.rows:,} rows have no label in {label!r} and are left out")
    if rare or n_missing:
        learned = [code for code, name in enumerate(labels.dictionary.to_pylist()) if name not in rare]
        described.kept = pc.is_in(labels.indices, pa.array(learned, labels.indices.type))  # a missing one is not
        schema.removed_classes = {str(name): rare[name] for name in sorted(rare)}
        schema.rows -= sum(rare.values()) + n_missing
    rows_of = {name: counts[name] for name in described.classes}
    schema.classes = {str(name): rows for name, rows in rows_of.items()}
    schema.problems += classes_problems(rows_of, label, len(rare), table.is_part)
    schema.warnings += alike_warnings(described.classes)
    known = pc.index_in(labels.dictionary, pa.array(described.classes, labels.dictionary.type))
    places = known.fill_null(0).to_numpy()  # no row that is kept is of a class that is left out
    indices = labels.indices if described.kept is None else labels.indices.filter(described.kept)
    return labels_of(label, indices, places, [str(name) for name in described.classes])
