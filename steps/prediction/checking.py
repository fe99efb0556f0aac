"""Hold rows to what a model was trained on, before any is predicted: missing columns and other kinds are told by name.

What hinders no prediction is counted: values that are none of the kind, new categories, numbers and dates out of range.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
from sklearn.pipeline import Pipeline

from steps.cells import category_of, is_marker, read_values
from steps.prediction.rows import frame_of
from steps.tables.types import plain_column

MAX_NAMES = 10  # in a message
MAX_EXAMPLES = 3
TOLD_FROM = 0.001  # share of the rows beyond the reference's range, which has a part of the training rows only


@dataclass
class Counted:
    """What was seen of one column."""

    values: int = 0  # that are there
    unread: int = 0  # of them that are none of the kind
    unread_examples: dict[str, None] = field(default_factory=dict)
    types: dict[str, None] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)  # categories that the model does not know, with their rows
    beyond: int = 0  # values below the least or above the largest of the reference


class RowsCheck:
    """Looks at rows, block by block.

    Args:
        model: The model.
        reference: Training rows of it, as it takes them raw.
        names: Names of the table's columns.
        label: Name of the label in training, which may come along.

    Raises:
        ValueError: columns are missing; the message names them.
    """

    def __init__(self, model: Pipeline, reference: pd.DataFrame, names: Iterable[str], label: str):
        self.model, self.rows, names = model, 0, [*names]
        require_columns(model, names)
        self.new_columns = [name for name in names if name not in model[0].columns and name != label]
        self._counted = {name: Counted() for name in model[0].columns}
        # a text of many values has no list of what it may be
        self._known = {name: {*encoder.categories} for name, encoder in model[1].encoders_.items() if _is_list(encoder)}
        seen = model[0].transform(reference)
        ordered = [name for name in seen if not isinstance(seen[name].dtype, pd.CategoricalDtype)]
        self._range = {name: (seen[name].min(), seen[name].max()) for name in ordered if seen[name].notna().any()}

    def add(self, block: pa.Table) -> None:
        """Look at a block.

        Raises:
            ValueError: a column holds nothing of the kind that the model was trained on.
        """
        self.rows += block.num_rows
        for name, reading in self.model[0].columns.items():
            counted, values = self._counted[name], plain_column(block.column(name))
            counted.types[str(block.schema.field(name).type)] = None
            if values is None:
                raise ValueError(_other_kind(name, reading["kind"], [*counted.types], {}))
            counted.values += len(values) - values.null_count
            if reading["kind"] == "text":
                if name in self._known:
                    self._count_new(counted, values, self._known[name])
            elif not _is_kind(values.type, reading["kind"]):
                _count_unread(counted, values, reading)
        self._count_beyond(block)

    def _count_new(self, counted: Counted, values: pa.ChunkedArray, known: set[str]) -> None:
        for entry in values.value_counts().to_pylist():
            category = category_of(entry["values"])
            if category is not None and category not in known:
                counted.new[category] = counted.new.get(category, 0) + entry["counts"]

    def _count_beyond(self, block: pa.Table) -> None:
        names = [name for name in self._range if self._counted[name].unread < self._counted[name].values]
        if not names:
            return
        first_step = type(self.model[0])({name: self.model[0].columns[name] for name in names})
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of what was counted before
            read = first_step.fit_transform(frame_of(block, self.model))
        for name, values in read.items():
            low, high = self._range[name]
            self._counted[name].beyond += int(((values < low) | (values > high)).sum())

    def notes(self) -> list[str]:
        """Return what is to be known of the rows, a line each.

        Raises:
            ValueError: a column holds nothing of the kind that the model was trained on.
        """
        columns, lines = self.model[0].columns, []
        wrong = [name for name, of in self._counted.items() if 0 < of.values == of.unread]
        if wrong:
            of = self._counted[wrong[0]]
            more = f"\nSo do {len(wrong) - 1:,} more: {_names(wrong[1:])}." if len(wrong) > 1 else ""
            raise ValueError(_other_kind(wrong[0], columns[wrong[0]]["kind"], [*of.types], of.unread_examples) + more)
        if self.new_columns:
            number = "1 column is" if len(self.new_columns) == 1 else f"{len(self.new_columns):,} columns are"
            lines.append(f"{number} new and not looked at: {_names(self.new_columns)}")
        for name, of in self._counted.items():
            if of.values == 0:
                lines.append(f"{name!r}: every value is missing")
            if of.unread:
                examples = ", ".join(map(repr, of.unread_examples))
                kind = columns[name]["kind"]
                lines.append(f"{name!r}: {of.unread:,} values are no {kind} and taken as missing, such as {examples}")
            if of.new:
                often = sorted(of.new, key=of.new.__getitem__, reverse=True)
                shown = ", ".join(f"{value[:30]!r} ({of.new[value]:,})" for value in often[:MAX_EXAMPLES])
                more = f" and {len(often) - MAX_EXAMPLES:,} more" if len(often) > MAX_EXAMPLES else ""
                rows = sum(of.new.values())
                lines.append(f"{name!r}: {rows:,} rows have new categories, which count as missing: {shown}{more}")
            if of.beyond > TOLD_FROM * self.rows:
                low, high = map(_bound, self._range[name])
                lines.append(f"{name!r}: {of.beyond:,} values lie outside of {low} to {high}, the range in training")
        return lines


def require_columns(model: Pipeline, names: Iterable[str]) -> None:
    """Check that a table has the columns that a model takes.

    Raises:
        ValueError: some are missing; the message names them.
    """
    names = {*names}
    missing = [name for name in model[0].columns if name not in names]
    if missing:
        number = "a column" if len(missing) == 1 else f"{len(missing):,} columns"
        raise ValueError(
            f"The table lacks {number} of the {len(model[0].columns):,} that the model was trained on: "
            f"{_names(missing)}.\nIt has {_names(sorted(names))}. Name a table like that of training, or train anew."
        )


def _is_list(encoder: object) -> bool:
    """Return whether an encoder takes text of few values, each of which it lists."""
    return hasattr(encoder, "categories") and not hasattr(encoder, "letters")


def _is_kind(kind: pa.DataType, wanted: str) -> bool:
    """Return whether an Arrow column of a type needs no reading to be of a kind."""
    types = pa.types
    if wanted in ("number", "boolean"):
        is_wanted = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    elif wanted == "date":
        is_wanted = types.is_timestamp(kind)
    else:
        is_wanted = types.is_time(kind) or types.is_duration(kind)
    return bool(is_wanted or types.is_null(kind))


def _count_unread(counted: Counted, values: pa.ChunkedArray, reading: dict[str, str]) -> None:
    """Count values that RawRows takes as missing, since they are none of the kind and no marker of a missing one."""
    entries = [entry for entry in values.value_counts().to_pylist() if entry["values"] is not None]
    read = read_values([entry["values"] for entry in entries], reading)
    for entry, is_na in zip(entries, pd.isna(read), strict=True):
        if not is_na:
            continue
        if is_marker(entry["values"]):
            counted.values -= entry["counts"]
            continue
        counted.unread += entry["counts"]
        if len(counted.unread_examples) < MAX_EXAMPLES:
            counted.unread_examples[str(entry["values"])[:30]] = None


def _other_kind(name: str, kind: str, found: list[str], examples: Iterable[str]) -> str:
    shown = ", ".join(map(repr, examples))
    such = f", such as {shown}" if shown else ""
    return (
        f"The column {name!r} holds {' and '.join(found)}{such}, and the model was trained on a {kind} in it. "
        "Mend the column, or train anew."
    )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(repr, names[:MAX_NAMES])) + more


def _bound(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).removesuffix(" 00:00:00")
