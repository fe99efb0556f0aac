"""Columns of values as Python has them, such as a workbook or JSON gives."""

import datetime
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

NUMBERS = {int, float}
DATES = {datetime.datetime, datetime.date}
KINDS = {datetime.time: pa.time64("us"), datetime.timedelta: pa.duration("us"), bool: pa.bool_(), str: pa.string()}


def cells_column(values: Sequence[Any], is_text: bool = False) -> pa.Array:
    """Return values as a column of the type that all have, of text where they differ; None is a missing one.

    Args:
        values: The values.
        is_text: Whether they become text in any case.
    """
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    if not is_text and kinds <= NUMBERS:
        if kinds == {float}:
            return pa.array(values, pa.float64())
        whole = [value for value in values if value is not None]
        if kinds == {int} and min(whole) >= -(2**63) and max(whole) < 2**63:
            return pa.array(values, pa.int64())
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if not is_text and kinds <= DATES:
        return pa.array(values, pa.timestamp("us"))
    if not is_text and len(kinds) == 1 and (kind := KINDS.get(next(iter(kinds)))):
        return pa.array(values, kind)
    texts = [None if value is None else _text(value) for value in values]
    if not is_text and kinds <= {list, dict}:
        return pa.array([None if text is None else [text] for text in texts], pa.list_(pa.string()))
    return pa.array(texts, pa.string())


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
