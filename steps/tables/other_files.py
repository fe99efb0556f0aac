"""Tables in the formats of others: Excel and OpenDocument, Feather and Arrow, ORC."""

import datetime
import io
import os
from collections.abc import Collection, Iterator
from typing import IO, Any

import pyarrow as pa
from pyarrow import feather, ipc, orc

from steps.tables.delimiters import below_titles
from steps.tables.files import READ_ERRORS, damage
from steps.tables.headers import UNREAD, find_header
from steps.tables.options import ReadOptions
from steps.tables.python_values import cells_column
from steps.tables.types import require_distinct

MOST_ROWS = 1000  # that tell the header


def arrow_tables(name: str, file: IO[bytes]) -> Iterator[pa.Table]:
    """Yield the rows of a Feather file, an Arrow file or stream, first none of them.

    Raises:
        ValueError: it is damaged.
    """
    try:
        magic = file.read(6)
        file.seek(0)
        if magic[:4] == b"FEA1":
            whole = feather.read_table(io.BytesIO(file.read()))
            yield from (whole.slice(0, 0), whole)
        elif magic == b"ARROW1":
            reader = ipc.open_file(file)
            yield reader.schema.empty_table()
            for place in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(place)])
        else:
            stream = ipc.open_stream(file)
            yield stream.schema.empty_table()
            for batch in stream:
                yield pa.Table.from_batches([batch])
    except READ_ERRORS as error:
        raise ValueError(damage(name, error)) from None


def orc_tables(name: str, file: IO[bytes]) -> Iterator[pa.Table]:
    """Yield the rows of an ORC file, first none of them.

    Raises:
        ValueError: it is damaged.
    """
    try:
        reader = orc.ORCFile(file)
        yield reader.schema.empty_table()
        for place in range(reader.nstripes):
            yield pa.Table.from_batches([reader.read_stripe(place)])
    except READ_ERRORS as error:
        raise ValueError(damage(name, error)) from None


def excel_table(name: str, file: IO[bytes], options: ReadOptions, text: Collection[str], notes: list[str]) -> pa.Table:
    """Return a sheet of a workbook of Excel or OpenDocument, and note what else it has.

    It is the first one with the name of the label in its first row, or else that has cells with values.

    Raises:
        ValueError: it cannot be read, or holds no table.
    """
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(file.read()))
        names = [sheet.name for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
        rows: list[list[Any]] = []
        chosen, sheet = names[0] if names else None, None
        for each in names:
            of_sheet = book.get_sheet_by_name(each)
            found = [[_cell(value) for value in row] for row in of_sheet.to_python(skip_empty_area=False)]
            first = next((row for row in found if any(value is not None for value in row)), [])
            has_label = options.label in map(str, first)
            if has_label or (first and not rows):
                rows, chosen, sheet = found, each, of_sheet
            if has_label:
                break
    except PasswordError:
        raise ValueError(f"{name} has a password. Save it without one, or export the sheet as CSV.") from None
    except (CalamineError, ValueError, *READ_ERRORS) as error:
        raise ValueError(f"{name} is no workbook that can be read: {str(error)[:200]}. Save it again.") from None
    short = os.path.basename(name)
    others = [other for other in names if other != chosen]
    filled = [row for row in rows if any(value is not None for value in row)]
    if not filled:
        raise ValueError(f"{name} has no cell with a value. A table needs a header line with the names of its columns.")
    shown = [["" if value is None else str(value) for value in row] for row in filled[:MOST_ROWS]]
    n_titles = below_titles(shown, options.label)
    header = find_header(name, shown[n_titles:], options)
    above = next(place for place, row in enumerate(rows) if row is filled[n_titles])
    n_blank = sum(1 for row in rows[above:] if all(value is None for value in row))
    n_blank -= next(place for place, row in enumerate(rows[::-1]) if row is filled[-1])  # those at the end
    arguments: dict[str, Any] = {"sheet_name": chosen} if chosen != names[0] else {}
    if above:
        arguments["skiprows"] = above
    arguments |= header.arguments
    facts = [f"the sheet {chosen!r} is read", *header.facts]
    if others:
        shown_others = ", ".join(map(repr, others[:5])) + (" …" if len(others) > 5 else "")
        facts.append(f"not {shown_others}")
    if n_titles:
        facts.append(f"{n_titles} row{'s' if n_titles > 1 else ''} before the header skipped")
    if n_blank > 0:
        facts.append(f"{n_blank:,} empty row{'s' if n_blank > 1 else ''} left out")
    if getattr(sheet, "merged_cell_ranges", None):
        facts.append("merged cells hold their value in the first of them only")
    how = "".join(f", {key}={value!r}" for key, value in (arguments | {"engine": "calamine"}).items())
    notes.append(f"{short}: {', '.join(facts)}")
    notes.append(f"{short}: the same with pandas: pd.read_excel(…{how})")
    notes += header.notes
    require_distinct(name, header.names)
    data = filled[n_titles + header.n_rows :]
    missing = {*options.na_values}
    columns = {}
    for place, column in enumerate(header.names):
        if column == UNREAD:
            continue
        values = [row[place] for row in data]
        values = [None if isinstance(value, str) and value in missing else value for value in values]
        columns[column] = cells_column(values, column in text)
    return pa.table(columns)


def _cell(value: Any) -> Any:
    """Return a value as pandas takes it: nothing for an empty text, whole numbers as such."""
    if value == "" and isinstance(value, str):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if type(value) is datetime.date:
        return datetime.datetime(value.year, value.month, value.day)
    return value
