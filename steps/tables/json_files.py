"""JSON: a list of records, a record in each line, or the columns as pandas writes them."""

import codecs
import itertools
import json
import os
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa

from steps.tables.encodings import encoding_of
from steps.tables.files import READ_ERRORS, Stream, damage, unpacked
from steps.tables.python_values import cells_column

BLOCK_BYTES = 1 << 22  # of text that are read at once
BATCH_RECORDS = 50_000
BLANK = " \t\r\n,"  # between records


def is_json(head: bytes) -> bool:
    """Return whether a text holds records in JSON, by its beginning."""
    text = _text(head)
    within = text[1:].lstrip()
    return (
        within.startswith(('"', "}"))
        if text.startswith("{")
        else text[:1] == "[" and within[:1] in ("{", "[", "]", '"')
    )


def _text(head: bytes) -> str:
    return head.decode(encoding_of(head), "replace").removeprefix("\ufeff").lstrip()


def json_tables(path: str, text: Collection[str], notes: list[str]) -> Iterator[tuple[pa.Table, int]]:
    """Yield the records of a JSON file as tables, each with the length of its text.

    Raises:
        ValueError: it holds none.
    """
    try:
        with unpacked(path, path) as stream:
            yield from _tables(path, stream, text, notes)
    except READ_ERRORS as error:
        raise ValueError(damage(path, error)) from None


def json_names(name: str, stream: Stream) -> tuple[list[str], bool]:
    """Return the names of the columns of a JSON file and whether it has rows, having read its beginning.

    Raises:
        ValueError: it holds no records.
    """
    first = next(_tables(name, stream, (), []), None)
    return (first[0].column_names, first[0].num_rows > 0) if first else ([], False)


def _tables(name: str, stream: Stream, text: Collection[str], notes: list[str]) -> Iterator[tuple[pa.Table, int]]:
    head = stream.read(BLOCK_BYTES)
    is_list = _text(head).startswith("[")
    records = _records(name, stream, head)
    first = next(records, None)
    if first is not None:
        lines = "" if is_list or first[1] == 0 else ", lines=True"
        notes.append(f"{os.path.basename(name)} is JSON; the same with pandas: pd.read_json(…{lines})")
        records = itertools.chain([first], records)
    while batch := [*itertools.islice(records, BATCH_RECORDS)]:
        names = dict.fromkeys(key for record, _ in batch for key in record)
        columns = {key: cells_column([record.get(key) for record, _ in batch], key in text) for key in names}
        yield pa.table(columns), sum(length for _, length in batch)


def _records(name: str, stream: Stream, head: bytes) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield records, each with the length of its text."""
    values = _values(name, stream, head)
    first = next(values, None)
    if first is None or first[0] == {}:
        raise ValueError(f"{name} is JSON without records. Add the rows to learn from.")
    second = next(values, None)
    if (
        second is None
        and isinstance(first[0], dict)
        and any(isinstance(part, (dict, list)) for part in first[0].values())
    ):
        yield from ((record, 0) for record in _of_columns(name, first[0]))
        return
    for place, (value, length) in enumerate(itertools.chain([first], [second] if second else [], values), 1):
        if not isinstance(value, dict):
            raise ValueError(
                f"{name}: record {place:,} of this JSON is {json.dumps(value)[:40]}, no object with names. "
                'Expected [{"name": value, …}, …], or one such object in each line.'
            )
        yield value, length


def _of_columns(name: str, whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of columns, each the values by row: {"x": {"0": 1, "1": 2}}, or of a single record."""
    parts = [*whole.values()]
    if all(isinstance(part, dict) for part in parts) and len({*map(tuple, parts)}) == 1:
        return [{key: part[row] for key, part in whole.items()} for row in parts[0]]
    if all(isinstance(part, list) for part in parts) and len({*map(len, parts)}) == 1 and len(parts) > 1:
        return [dict(zip(whole, row, strict=True)) for row in zip(*parts, strict=True)]
    lists = [key for key, part in whole.items() if isinstance(part, list) and part]
    inside = next((key for key in lists if isinstance(whole[key][0], dict)), lists[0] if lists else None)
    if inside is None:
        return [whole]
    raise ValueError(
        f"{name} is one JSON object with {', '.join(map(repr, [*whole][:5]))}, no list of records. "
        f'Write its part {inside!r} as a file of its own: [{{"name": value, …}}, …], or one such object in each line.'
    )


def _values(name: str, stream: Stream, head: bytes) -> Iterator[tuple[Any, int]]:
    """Yield the values of a list, or values one after another, each with the length of its text."""
    decoder = codecs.getincrementaldecoder(encoding_of(head))("replace")
    rest, place, line, is_end, is_list = decoder.decode(head).removeprefix("\ufeff").lstrip(), 0, 1, False, False
    if rest.startswith("["):
        is_list, place = True, 1
    parse = json.JSONDecoder().raw_decode
    while True:
        while place < len(rest) and rest[place] in BLANK:
            place += 1
        if place < len(rest) and is_list and rest[place] == "]":
            return
        if place < len(rest):
            try:
                value, end = parse(rest, place)
                yield value, end - place
                place = end
                continue
            except json.JSONDecodeError as error:
                problem = error
            except RecursionError:
                raise ValueError(f"{name} is JSON that is nested too deeply for a table.") from None
        if is_end and (place < len(rest) or is_list):
            if place == len(rest):
                raise ValueError(f"{name} is JSON that was cut short: its list has no end. Export it again.")
            at = line + rest.count("\n", 0, problem.pos)
            raise ValueError(f"{name} is damaged JSON in line {at:,}: {problem.msg}. Export it again.")
        if is_end:
            return
        line += rest.count("\n", 0, place)
        read = stream.read(max(BLOCK_BYTES, len(rest) - place))
        is_end = not read
        rest, place = rest[place:] + decoder.decode(read, is_end), 0
