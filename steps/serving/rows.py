"""The rows of a request: from JSON to what a model's first step gets of a CSV file."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import from_json, to_json
from sklearn.pipeline import Pipeline

MOST_ROWS = 10_000  # of a request
NUMBERS = {int, float, bool, type(None)}
OPENING = re.compile(rb"[\[{]")
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class BadRequest(Exception):
    """A request that cannot be answered; the message says what was expected, what came, and where."""

    def __init__(self, message: str, code: int = 400):
        super().__init__(message)
        self.code = code


def instances_of(body: bytes) -> list[Any]:
    """Return the instances of a request.

    Raises:
        BadRequest: it is no JSON, has no instances, none in them, or too many.
    """
    if (
        body.count(b"[") + body.count(b"{") > 2 * MOST_ROWS
        and len(OPENING.findall(TEXT.sub(b"", body))) > 2 * MOST_ROWS
    ):
        raise BadRequest(f"The request holds too many lists or objects; at most {MOST_ROWS:,} instances are taken.")
    try:
        asked = from_json(body)
    except ValueError as error:
        raise BadRequest(f"The request is no JSON in UTF-8, or nested too deeply: {str(error)[:200]}.") from None
    if not isinstance(asked, dict) or "instances" not in asked:
        raise BadRequest(f'Expected {{"instances": [...]}}, and {_told(asked)} came.')
    instances = asked["instances"]
    if not isinstance(instances, list):
        raise BadRequest(f'"instances": expected a list of rows, and {_told(instances)} came.')
    if not instances:
        raise BadRequest('"instances" is empty: expected at least one row.')
    if len(instances) > MOST_ROWS:
        raise BadRequest(f'"instances" holds {len(instances):,} rows: at most {MOST_ROWS:,} are taken at once.')
    return instances


class Reader:
    """Makes a table of instances, each a list in the order of the model's columns or an object by their names."""

    def __init__(self, model: Pipeline, na_values: Iterable[str]):
        """Args: the model, and the words that stood for a missing value in the files that it was trained on."""
        self.kinds = {name: reading["kind"] for name, reading in model[0].columns.items()}
        # a word that is a category of the training rows is no missing value
        self.missing = {
            name: {*na_values} - {*getattr(model[1].encoders_[name], "categories", ())}
            for name, kind in self.kinds.items()
            if kind == "text"
        }

    def table(self, instances: list[Any]) -> tuple[pd.DataFrame, list[str]]:
        """Return the rows as a table, and what is to be told of them.

        Raises:
            BadRequest: an instance has not the model's columns, or holds what is no cell.
        """
        kind, first = type(instances[0]), _told(instances[0])
        if kind not in (list, dict):
            raise BadRequest(f"instances[0]: expected a list or an object of {self._columns()}, and {first} came.")
        other = next((place for place, instance in enumerate(instances) if type(instance) is not kind), None)
        if other is not None:
            raise BadRequest(f"instances[{other}]: {_told(instances[other])} came, and instances[0] is {first}.")
        columns, told = self._of_lists(instances) if kind is list else self._of_objects(instances)
        made = {name: self._values(name, cells, told) for name, cells in columns.items()}
        return pd.DataFrame(made, index=pd.RangeIndex(len(instances))), told

    def _columns(self) -> str:
        return f"{len(self.kinds):,} columns ({_names(self.kinds)})"

    def _of_lists(self, instances: list[list[Any]]) -> tuple[dict[str, Sequence[Any]], list[str]]:
        lengths = [*map(len, instances)]
        if {*lengths} != {len(self.kinds)}:
            row = next(place for place, length in enumerate(lengths) if length != len(self.kinds))
            raise BadRequest(f"instances[{row}]: expected {self._columns()}, and {lengths[row]:,} values came.")
        return dict(zip(self.kinds, zip(*instances, strict=True), strict=True)), []

    def _of_objects(self, instances: list[dict[str, Any]]) -> tuple[dict[str, Sequence[Any]], list[str]]:
        others = sorted({*()}.union(*instances) - {*self.kinds})
        columns: dict[str, Sequence[Any]]
        try:
            columns = {name: [instance[name] for instance in instances] for name in self.kinds}
        except KeyError:
            row, instance = next(found for found in enumerate(instances) if not self.kinds.keys() <= found[1].keys())
            missing = [name for name in self.kinds if name not in instance]
            more = f" There are others that the model does not know: {_names(others)}." if others else ""
            raise BadRequest(
                f"instances[{row}]: columns are missing: {_names(missing)}. A missing value is null.{more}"
            ) from None
        return columns, [f"Columns that the model does not know are left out: {_names(others)}."] if others else []

    def _values(self, name: str, cells: Sequence[Any], told: list[str]) -> np.ndarray | pd.Series:
        """Return the cells of a column as pandas would have them of a file.

        Raises:
            BadRequest: one is a list or an object, or a number where a date or a time is expected.
        """
        kind, types = self.kinds[name], {*map(type, cells)}
        if not types.isdisjoint((list, dict)):
            raise self._wrong(name, cells, (list, dict), "a single value")
        if kind in ("number", "boolean"):
            return self._numbers(name, cells, types, told)
        if kind == "text":
            if bool in types:  # which pandas would take for 1 and 0 beside numbers
                cells = [str(cell) if type(cell) is bool else cell for cell in cells]
            if not self.missing[name].isdisjoint(cells):
                cells = [None if cell in self.missing[name] else cell for cell in cells]
        elif not types <= {str, type(None)}:
            cells = [None if cell != cell else cell for cell in cells]  # NaN
            if not {*map(type, cells)} <= {str, type(None)}:
                raise self._wrong(name, cells, (int, float, bool), f"the text of a {kind}")
        return pd.Series(cells, dtype=object)

    def _numbers(self, name: str, cells: Sequence[Any], types: set[type], told: list[str]) -> np.ndarray | pd.Series:
        if int in types:
            try:
                np.array([cell for cell in cells if type(cell) is int], dtype=float)
            except OverflowError:  # as a file's 1e999
                cells = [_float(cell) if type(cell) is int else cell for cell in cells]
        infinite = sum(type(cell) is float and math.isinf(cell) for cell in cells) if types & {int, float} else 0
        if infinite:
            told.append(f"{name!r}: {infinite:,} values are infinite and taken as missing.")
        return np.array(cells, dtype=float) if types <= NUMBERS else pd.Series(cells, dtype=object)

    def _wrong(self, name: str, cells: Sequence[Any], types: tuple[type, ...], expected: str) -> BadRequest:
        row = next(place for place, cell in enumerate(cells) if type(cell) in types)
        return BadRequest(f"instances[{row}], column {name!r}: expected {expected}, and {_told(cells[row])} came.")


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _told(value: Any) -> str:
    """Say what came."""
    if isinstance(value, list | dict):
        return f"a{' list' if isinstance(value, list) else 'n object'} of {len(value):,}"
    return to_json(value).decode() if value is None or isinstance(value, bool) else repr(value)[:100]


def _names(names: Iterable[str]) -> str:
    """Return the first of some names."""
    names = [*names]
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return ", ".join(repr(name[:100]) for name in names[:10]) + more
