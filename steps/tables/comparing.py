"""Hold a table to the schema of an earlier run."""

from steps.tables.schema import Column, Finding, Schema, findings_lines, read_schema

ORDER = ("error", "warning", "left out")
MAX_CATEGORIES_SHOWN = 5


def hold_to(schema: Schema, schema_from: str) -> None:
    """Hold a table to the schema file of an earlier run: what differs joins its findings, and its problems if it must.

    Raises:
        ValueError: the file is no schema.
    """
    try:
        former = read_schema(schema_from)
    except (OSError, ValueError) as error:
        raise ValueError(f"The earlier run's schema {schema_from} cannot be read: {error}. Name another run.") from None
    schema.findings = compare_schemas(schema, former)
    if any(finding.verdict == "error" for finding in schema.findings):
        schema.problems.append(
            "The table differs from the earlier run's:\n" + "\n".join(findings_lines(schema.findings))
        )


def compare_schemas(schema: Schema, former: Schema) -> list[Finding]:
    """Return what differs between a table and that of an earlier run, errors first.

    Args:
        schema: Of the table; columns that the earlier run did not have become dropped in it.
        former: Of the earlier run.
    """
    findings = []
    if schema.label != former.label:
        findings.append(Finding("error", f"the label was {former.label!r} and is {schema.label!r}"))
    elif schema.task != former.task:
        told = f"the task was {former.task} and is {schema.task}; --set task={former.task} keeps it"
        findings.append(Finding("error", told))
    now = {column.name: column for column in schema.columns}
    for before in former.columns:
        column = now.get(before.name)
        if before.role == "dropped":
            if column and column.role == "feature":
                column.drop("left out as in the earlier run")
                findings.append(Finding("left out", f"{before.name!r} was left out there, too ({before.note})"))
        elif column is None:
            findings.append(Finding("error", f"the column {before.name!r} ({before.type}) is missing"))
        else:
            findings += _of_column(column, before, schema, former)
    known = {before.name for before in former.columns}
    for name, column in now.items():
        if name not in known and column.role in ("feature", "dropped"):
            column.drop("the earlier run did not have it")
            findings.append(Finding("left out", f"the column {name!r} is new"))
    return sorted(findings, key=lambda finding: ORDER.index(finding.verdict))


def _of_column(column: Column, before: Column, schema: Schema, former: Schema) -> list[Finding]:
    """Return what differs in a column that both tables have."""
    kinds = ["text" if kind == "category" else kind for kind in (before.type, column.type)]
    if kinds[0] != kinds[1] and kinds[1] != "missing":
        return [Finding("error", f"the column {column.name!r} was {before.type} and is {column.type}")]
    findings = []
    if column.role == "dropped":
        findings.append(Finding("warning", f"{column.name!r} was a {before.role}: {column.note}"))
    if column.role == "label":
        findings += [Finding("warning", f"the class {name!r} is new") for name in _beyond(schema, former)]
        findings += [Finding("warning", f"the class {name!r} is gone") for name in _beyond(former, schema)]
    elif before.type == column.type == "category":
        unknown = sorted(_categories(column) - _categories(before))
        if unknown:
            shown = ", ".join(map(repr, unknown[:MAX_CATEGORIES_SHOWN]))
            if len(unknown) > MAX_CATEGORIES_SHOWN:
                shown += f" and {len(unknown) - MAX_CATEGORIES_SHOWN} more"
            text = f"{column.name!r} has new categories, which count as missing to that run's model: {shown}"
            findings.append(Finding("warning", text))
    return findings


def _beyond(schema: Schema, other: Schema) -> list[str]:
    """Return the classes of a table that another does not have."""
    return [name for name in schema.classes if name not in other.classes]


def _categories(column: Column) -> set[str]:
    return {*(column.values or ()), *(column.further_values or ())}
