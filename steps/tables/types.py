"""What kinds of values Arrow columns hold, and one kind for the columns of several files."""

import contextlib
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return a column as numbers, truth values, text, categories, dates, times, durations; None where it is none.

    Decimals become floating-point numbers, dates points in time.
    """
    kind, types = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        return plain_column(column)
    if types.is_dictionary(kind):
        if types.is_string(kind.value_type):
            return column
        if types.is_large_string(kind.value_type) or types.is_string_view(kind.value_type):
            return column.cast(pa.dictionary(pa.int32(), pa.string()))
        return plain_column(column.cast(kind.value_type))
    if types.is_large_string(kind) or types.is_string_view(kind):
        return column.cast(pa.string())
    if types.is_decimal(kind):
        return column.cast(pa.float64())
    if types.is_float16(kind):
        return column.cast(pa.float32())
    if types.is_date(kind):
        return column.cast(pa.timestamp("ms"))
    if types.is_binary(kind) or types.is_large_binary(kind):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            return None
    known = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_null, types.is_temporal)
    return column if any(is_kind(kind) for is_kind in known) else None


def finite(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Return a column with missing values in place of infinite ones and NaN, and how many were infinite."""
    if not pa.types.is_floating(column.type) or pc.all(pc.is_finite(column)).as_py() is not False:
        return column, 0
    n_infinite = pc.sum(pc.is_inf(column)).as_py() or 0
    return pc.if_else(pc.is_finite(column), column, None), n_infinite


def label_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the labels as whole numbers, truth values or text where they are that."""
    if pa.types.is_decimal(column.type):
        with contextlib.suppress(pa.ArrowInvalid):  # fractions, or beyond 64 bits
            return column.cast(pa.int64())
    plain = plain_column(column)
    if plain is None:
        return column
    if pa.types.is_floating(plain.type):
        plain = pc.if_else(pc.is_nan(plain), None, plain)
        plain = pc.add(plain, pa.scalar(0, plain.type))  # -0 and 0 are one class
        finite = plain.drop_null()
        if len(finite) and pc.all(pc.and_(pc.is_finite(finite), pc.equal(finite, pc.floor(finite)))).as_py():
            bounds = pc.min_max(finite).as_py()
            if max(abs(bounds["min"]), abs(bounds["max"])) < 2**53:
                return plain.cast(pa.int64())
    return plain


def one_schema(schemas: list[pa.Schema]) -> tuple[pa.Schema, set[str]]:
    """Return the schema that holds the rows of all, and the columns whose types have but text in common.

    A column keeps its type where all agree; whole and decimal numbers become decimal ones, dates and times the finer.
    """
    kinds: dict[str, dict[pa.DataType, None]] = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, {})[field.type] = None
    fields, mixed = [], set()
    for name, found in kinds.items():
        types = [kind for kind in found if not pa.types.is_null(kind)] or [pa.null()]
        values = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types]
        if len(types) == 1:
            kind = types[0]
        elif len({*values}) == 1:
            kind = values[0]
        elif all(pa.types.is_date(value) or (pa.types.is_timestamp(value) and not value.tz) for value in values):
            kind = pa.timestamp("us")
        else:
            try:
                merged = pa.unify_schemas(
                    [pa.schema([(name, value)]) for value in values], promote_options="permissive"
                )
                kind = merged.field(name).type
                if pa.types.is_floating(kind) and any(map(pa.types.is_boolean, values)):
                    raise pa.ArrowTypeError("a truth value is no number")
            except pa.ArrowException:
                kind = pa.string()
                mixed.add(name)
        fields.append((name, kind))
    return pa.schema(fields), mixed


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema; those that it lacks are missing values."""
    if table.schema.equals(schema):
        return table
    there = dict(zip(table.column_names, table.columns, strict=True))
    columns = []
    for field in schema:
        if field.name not in there:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            column = there[field.name]
            is_encoded = pa.types.is_dictionary(column.type) and column.type == field.type
            columns.append(column if is_encoded else column.cast(field.type))
    return pa.table(columns, schema=schema)


def different_columns(files: list[str], schemas: list[pa.Schema]) -> list[str]:
    """Say which columns are not in every file; their values count as missing there."""
    counts = Counter(name for schema in schemas for name in schema.names)
    lacking = [name for name, count in counts.items() if count < len(schemas)]
    shown = ", ".join(map(repr, lacking[:10])) + (" …" if len(lacking) > 10 else "")
    return [f"not in every one of the {len(files)} files, and missing there: {shown}"] if lacking else []


def require_distinct(path: str, names: list[str]) -> None:
    """Check that no two columns have one name.

    Raises:
        ValueError: some have.
    """
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        shown = ", ".join(map(repr, repeated[:10])) + (f" and {len(repeated) - 10} more" if len(repeated) > 10 else "")
        raise ValueError(f"{path}: columns occur more than once: {shown}. Rename them.")
