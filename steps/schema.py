"""Describe a table before anything is learned from it: what each column is, what is left out, what stands in the way.

KFP pastes these functions in front of a step that names DESCRIBING in its additional_funcs.
"""

from typing import TYPE_CHECKING, Any

from steps.reading import local_path, plain_column

if TYPE_CHECKING:
    import pyarrow as pa


def describe_table(
    table: Any,
    label: str,
    weight: str = "",
    split_by: str = "",
    group_by: str = "",
    min_class_rows: int = 0,
    is_part: bool = False,
    drop: list = [],
    keep: list = [],
) -> tuple:
    """Describe a table and find what a classifier can be trained on.

    Args:
        table: Arrow dataset.
        label: Name of the column that holds the classes.
        weight: Name of the column of the rows' weights, "" for none.
        split_by: Name of the column that puts the rows in order, "" for none.
        group_by: Name of the column of groups that stay together, "" for none.
        min_class_rows: Classes of fewer rows are left out with their rows.
        is_part: Whether the rows are only a part of the table, so that a class may not have been seen.
        drop: Names of columns to leave out.
        keep: Names of columns that stay, though they look like identifiers.

    Returns:
        The schema: {"rows", "label", "classes": {name: rows}, "removed_classes": {name: rows}, "columns": [{"name",
        "type", "role", "missing", "distinct", "min" and "max" or "values", "note"}], "warnings": [of the whole table],
        "problems": [what makes training impossible]}; which rows are kept, None for all; and the classes as they are.

    Raises:
        ValueError: a column that was named is not there.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = table.schema.names
    roles = roles_of(names, label, weight, split_by, group_by, drop, keep)
    schema = {"rows": table.count_rows(), "label": label, "classes": {}, "removed_classes": {}}
    schema |= {"columns": [], "warnings": [], "problems": []}
    if schema["rows"] == 0:
        schema["problems"].append("The table has column names but no rows. Add the rows to learn from.")
        return schema, None, []
    if len(names) < 2:
        schema["problems"].append(
            f"The table has no column but the label {label!r}. Add the columns to learn from; "
            "where there are some, the file has another delimiter than comma, semicolon, tab or bar."
        )
        return schema, None, []

    labels = label_column(table.to_table(columns=[label]).column(0))
    problem = label_problem(labels, label)
    if problem:
        schema["problems"].append(problem)
        return schema, None, []
    labels = labels.dictionary_encode().unify_dictionaries().combine_chunks()
    counted = labels.value_counts()
    n_many = pc.sum(pc.greater_equal(counted.field("counts"), min_class_rows)).as_py()
    if n_many > 10_000:
        schema["problems"].append(too_many_classes(label, n_many, pa.types.is_integer(labels.type.value_type)))
        return schema, None, []
    counts = {entry["values"]: entry["counts"] for entry in counted.to_pylist()}
    rare = {name: count for name, count in counts.items() if count < min_class_rows}
    classes = sorted(counts.keys() - rare.keys())
    kept = None
    if rare:
        codes = pa.array([code for code, name in enumerate(labels.dictionary.to_pylist()) if name in rare])
        kept = pc.invert(pc.is_in(labels.indices, codes.cast(labels.indices.type)))
        schema["removed_classes"] = {str(name): rare[name] for name in sorted(rare)}
        schema["rows"] -= sum(rare.values())
    schema["classes"] = {str(name): counts[name] for name in classes}
    schema["problems"] += classes_problems({name: counts[name] for name in classes}, label, len(rare), is_part)
    schema["warnings"] += alike_warnings(classes)
    if schema["rows"] == 0:
        return schema, kept, classes
    codes = labels.indices if kept is None else labels.indices.filter(kept)

    # as many columns at once as take some hundred MB
    at_once = max(1, 25_000_000 // (schema["rows"] + 1))
    for start in range(0, len(names), at_once):
        group = table.to_table(columns=names[start : start + at_once])
        for name, column in zip(names[start : start + at_once], group.columns, strict=True):
            column = column if kept is None else column.filter(kept)
            role = roles.get(name, "feature")
            seen = describe_column(name, column, role, name in keep)
            if role == "dropped":
                seen["note"] = joined("as asked", seen["note"])
            if role == "feature" and name.strip().lower() == label.strip().lower():
                seen["note"] = joined(seen["note"], f"its name differs from the label {label!r} only in case or spaces")
            if role == "feature" and seen["distinct"] == len(classes) > 1 and is_copy(column, codes):
                seen["note"] = joined(
                    seen["note"],
                    f"each of its values stands for one class: it reveals the label {label!r}; "
                    "--set drop=COLUMN leaves it out",
                )
            schema["columns"].append(seen)
            schema["problems"] += role_problems(name, column, role)
    if not any(column["role"] == "feature" for column in schema["columns"]) and not is_part:
        dropped = ", ".join(f"{seen['name']!r} ({seen['note']})" for seen in schema["columns"] if seen["note"])[:400]
        schema["problems"].append(
            f"No column is left to learn from: {dropped}. Add columns that tell the classes apart."
        )
    return schema, kept, classes


def roles_of(names: list, label: str, weight: str, split_by: str, group_by: str, drop: list, keep: list) -> dict:
    """Return the role of each column that was named.

    Raises:
        ValueError: a column is not there, or has two roles.
    """
    import difflib

    roles = {}
    for name, role, flag in (
        (label, "label", "--label"),
        (weight, "weight", "--set weight=COLUMN"),
        (split_by, "split", "--set split_by=COLUMN"),
        (group_by, "group", "--set group_by=COLUMN"),
        *((name, "dropped", "--set drop=COLUMN") for name in drop),
        *((name, "feature", "--set keep=COLUMN") for name in keep),
    ):
        if not name and role in ("weight", "split", "group"):
            continue
        if name not in names:
            by_lower = {known.strip().lower(): known for known in reversed(names)}
            near = difflib.get_close_matches(name.strip().lower(), by_lower, n=1, cutoff=0.5)
            hint = f" Did you mean {by_lower[near[0]]!r}?" if near else ""
            shown = ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
            what = {
                "label": "the column of the classes",
                "weight": "the column of the weights",
                "split": "the column of the order",
                "group": "the column of the groups",
                "dropped": "the columns to leave out",
                "feature": "the columns that stay",
            }[role]
            raise ValueError(f"No column {name!r} in the table; it has {shown}.{hint} Name {what} with {flag}.")
        if roles.get(name, role) != role:
            raise ValueError(
                f"The column {name!r} is named as {roles[name]} and as {role}. Name another one with {flag}."
            )
        roles[name] = role
    return roles


def label_column(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return the labels as whole numbers, truth values or text where they are that."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = plain_column(column)
    if plain is None:
        return column
    if pa.types.is_floating(plain.type):
        plain = pc.if_else(pc.is_nan(plain), None, plain)
        finite = plain.drop_null()
        if len(finite) and pc.all(pc.and_(pc.is_finite(finite), pc.equal(finite, pc.floor(finite)))).as_py():
            bounds = pc.min_max(finite).as_py()
            if max(abs(bounds["min"]), abs(bounds["max"])) < 2**53:
                return plain.cast(pa.int64())
    return plain


def label_problem(labels: "pa.ChunkedArray", label: str) -> str:
    """Say why the labels are no classes; "" where they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    n_missing, n_rows = labels.null_count, len(labels)
    if n_missing == n_rows:
        return f"None of the {n_rows:,} rows has a label in {label!r}. Name another column with --label, or fill it in."
    if n_missing:
        first = pc.index(labels.is_null(), True).as_py() + 1
        return (
            f"{n_missing:,} of {n_rows:,} rows have no label in {label!r}, the first is data row {first:,}. "
            "Fill them in or remove the rows. Empty cells and words such as NA, null and nan count as missing."
        )
    kind = labels.type.value_type if pa.types.is_dictionary(labels.type) else labels.type
    if pa.types.is_timestamp(kind):
        return (
            f"The label {label!r} holds dates. This pipeline trains classifiers: name a column of classes with "
            "--label, or make classes of the dates, such as the season."
        )
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    if not any(is_kind(kind) for is_kind in known):
        return f"The label {label!r} holds values of type {kind}, which name no classes. Name another one with --label."
    n_distinct = pc.count_distinct(labels).as_py() if pa.types.is_floating(kind) else 0
    if n_distinct > 20:
        examples = ", ".join(f"{value:.4g}" for value in labels.unique()[:3].to_pylist())
        return (
            f"The label {label!r} holds {n_distinct:,} different decimal numbers such as {examples}: it looks like a "
            "quantity to be estimated (regression), and this pipeline trains classifiers. "
            "Name a column of classes with --label, or make classes of it, such as low, medium and high."
        )
    return ""


def classes_problems(counts: dict, label: str, n_removed: int, is_part: bool) -> list:
    """Say why the classes, given with their rows, cannot be trained."""
    n_classes = len(counts)
    if n_classes > 99:
        return [too_many_classes(label, n_classes, all(isinstance(name, int) for name in counts))]
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
        return [
            f"Only one row has the label {shown} in {label!r}; each class needs at least two, one to train and one to "
            "test on. Add rows of it, or leave it out with --set min_class_rows=2."
        ]
    return []


def too_many_classes(label: str, n_classes: int, are_numbers: bool) -> str:
    """Say that there are more classes than models that a task can take, a limit of Vertex AI."""
    what = "It looks like a number or an identifier: name" if are_numbers else "Name"
    return (
        f"The label {label!r} has {n_classes:,} different values; at most 99 classes can be trained, because a task of "
        f"the service takes at most 100 artifacts. {what} a column of classes with --label, join rare classes, or "
        "leave them out with --set min_class_rows=N."
    )


def alike_warnings(classes: list) -> list:
    """Say which classes differ only by case or by spaces around them."""
    groups = {}
    for name in classes:
        groups.setdefault(str(name).strip().casefold(), []).append(str(name))
    return [
        f"The classes {' and '.join(map(repr, alike))} differ only in case or spaces; each is learned on its own."
        for alike in groups.values()
        if len(alike) > 1
    ]


def describe_column(name: str, column: "pa.ChunkedArray", role: str, is_kept: bool = False) -> dict:
    """Describe one column; a feature that teaches nothing gets the role dropped, and the note says why.

    A column that is kept is no identifier. Values are counted in the first million rows where they are many.
    """
    from datetime import timedelta

    import pyarrow as pa
    import pyarrow.compute as pc

    n_rows, source = len(column), column.type
    plain = plain_column(column)
    seen = {"name": name, "type": "other", "role": role, "missing": 0.0, "distinct": None, "note": ""}
    if plain is None:
        what = (
            "lists" if "list" in str(source) else "records" if "struct" in str(source) else f"values of type {source}"
        )
        seen |= {"missing": rounded(column.null_count / n_rows), "note": f"holds {what}, which are no single values"}
        return dropped(seen)
    plain, n_infinite = finite(plain)
    seen["missing"] = rounded(plain.null_count / n_rows)
    if n_infinite:
        seen["note"] = f"{n_infinite:,} infinite value{'s' if n_infinite > 1 else ''}: taken as missing"
    if plain.null_count == n_rows:
        seen |= {"type": "missing", "distinct": 0, "note": joined("every value is missing", seen["note"])}
        return dropped(seen)

    kind, types = plain.type, pa.types
    head = plain.slice(0, 1_000_000)
    if types.is_string(kind):
        head = head.dictionary_encode()
    counts = head.value_counts()
    n_distinct = len(counts) - (1 if head.null_count else 0)
    if n_rows > len(head) and n_distinct <= 10_000:
        counts = plain.value_counts()
        n_distinct = len(counts) - (1 if plain.null_count else 0)
    if types.is_dictionary(kind) or types.is_string(kind):
        merged = {}
        for entry in counts.to_pylist():  # the blocks of a file have dictionaries of their own
            if entry["values"] is not None:
                merged[entry["values"]] = merged.get(entry["values"], 0) + entry["counts"]
        merged = dict(sorted(merged.items(), key=lambda pair: -pair[1]))
        n_distinct = len(merged)
        seen |= {"type": "category" if n_distinct <= 254 else "text", "values": dict([*merged.items()][:50])}
        if 50 < n_distinct <= 254:
            seen["further_values"] = sorted([*merged][50:])
        seen["note"] = joined(seen["note"], text_note(plain, merged))
    elif types.is_boolean(kind):
        pairs = [(entry["values"], entry["counts"]) for entry in counts.to_pylist() if entry["values"] is not None]
        seen |= {"type": "boolean", "values": {str(value).lower(): count for value, count in sorted(pairs)}}
    elif types.is_temporal(kind):
        seen["type"] = "date" if types.is_timestamp(kind) else "time" if types.is_time(kind) else "duration"
        if types.is_duration(kind):  # Arrow cannot compare them
            bounds = pc.min_max(plain.cast(pa.duration("us"), safe=False).cast(pa.int64())).as_py()
            seen |= {side: str(timedelta(microseconds=bound)) for side, bound in bounds.items()}
        else:
            if types.is_timestamp(kind):
                plain = plain.cast(pa.timestamp("s", kind.tz), safe=False)
            bounds = pc.min_max(plain)
            seen |= {side: bounds[side].cast(pa.string()).as_py() for side in ("min", "max")}
    else:
        seen |= {"type": "number"} | pc.min_max(plain).as_py()
        if types.is_floating(kind) and max(abs(seen["min"]), abs(seen["max"])) >= 2**63:
            whole = pc.all(pc.equal(pc.floor(head.drop_null()), head.drop_null())).as_py()
            if whole:
                seen["note"] = joined(
                    seen["note"], "whole numbers beyond 64 bits: read as decimal numbers, their last digits are lost"
                )
    seen["distinct"] = n_distinct
    if role != "feature":
        return seen
    if n_distinct == 1 and plain.null_count == 0:
        seen["note"] = joined("constant: every row has the same value", seen["note"])
        return dropped(seen)
    if not is_kept and is_identifier(plain, n_distinct):
        why = "identifier: another value on every row; --set keep=COLUMN keeps it"
        seen["note"] = joined(why, seen["note"])
        return dropped(seen)
    if seen["type"] == "text":
        number = f"{n_distinct:,} or more" if n_rows > len(head) else f"{n_distinct:,}"
        capped = f"{number} different values: the 254 most frequent are its categories, the rest one"
        seen["note"] = joined(seen["note"], capped)
    if seen["missing"] > 0.5:
        seen["note"] = joined(seen["note"], f"{seen['missing']:.0%} missing")
    return seen


def finite(column: "pa.ChunkedArray") -> tuple:
    """Return a column with missing values in place of infinite ones and NaN, and how many were infinite."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type) or pc.all(pc.is_finite(column)).as_py() is not False:
        return column, 0
    n_infinite = pc.sum(pc.is_inf(column)).as_py() or 0
    return pc.if_else(pc.is_finite(column), column, None), n_infinite


def dropped(seen: dict) -> dict:
    """Return the description of a column as one that is left out, unless it was named for a role."""
    return seen | {"role": "dropped"} if seen["role"] == "feature" else seen


def joined(*notes: str) -> str:
    """Join notes into one."""
    return "; ".join(note for note in notes if note)


def rounded(share: float) -> float:
    """Return a share of the rows to six digits; none that is above 0 becomes 0."""
    return round(share, 6) or (1e-6 if share else 0.0)


def text_note(column: "pa.ChunkedArray", counts: dict) -> str:
    """Say of text whose values are most often numbers how many are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    number = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
    total = len(column) - column.null_count
    values = pa.array([*counts], pa.string())
    if sum(counts.values()) == total:
        others = values.filter(pc.invert(pc.match_substring_regex(values, number)))
        n_others = sum(counts[value] for value in others.to_pylist())
    else:  # not all of them were counted
        text = column.cast(pa.string())
        others = text.filter(pc.invert(pc.match_substring_regex(text, number)))
        n_others = len(others) - others.null_count
    if not 0 < n_others < total / 2:
        return ""
    examples = ", ".join(repr(value[:30]) for value in others[:3].to_pylist())
    return f"{n_others:,} of {total:,} values are not numbers, such as {examples}: read as text"


def is_identifier(column: "pa.ChunkedArray", n_distinct: int) -> bool:
    """Return whether a column names its rows: text of a word or two, or running or very large whole numbers.

    Every row has another value, none is missing, and there are at least 20. Whole numbers are a key if they ascend or
    descend from row to row, fill their range by half or more, or lie more than 2**40 apart; an elevation does none.
    Text of more than three words a value is no key but something to read.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    n_rows, kind = len(column), column.type
    if n_rows < 20 or column.null_count or n_distinct < min(n_rows, 1_000_000):
        return False
    if pa.types.is_integer(kind):
        values = column.to_numpy()
        ordered = np.sort(values)
        if not (ordered[1:] > ordered[:-1]).all():
            return False
        width = int(ordered[-1]) - int(ordered[0]) + 1
        in_order = (values == ordered).all() or (values == ordered[::-1]).all()
        return bool(in_order or width <= 2 * n_rows or width > 2**40)
    if not pa.types.is_string(kind) and not pa.types.is_dictionary(kind):
        return False
    text = column.cast(pa.string())
    words = pc.add(pc.count_substring_regex(pc.utf8_trim_whitespace(text.slice(0, 10_000)), r"\s+"), 1)
    if pc.mean(words).as_py() > 3:
        return False
    if n_rows <= 1_000_000:
        return True
    import pandas as pd

    hashes = np.concatenate([pd.util.hash_array(chunk.to_numpy(zero_copy_only=False)) for chunk in text.chunks])
    return len(np.unique(hashes)) == n_rows


def is_copy(column: "pa.ChunkedArray", codes: "pa.Array") -> bool:
    """Return whether each value of a column stands for one class and the other way round."""
    import numpy as np
    import pyarrow as pa

    column, _ = finite(plain_column(column))
    if column.null_count:
        return False
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.unify_dictionaries().combine_chunks()
    pairs = values.indices.to_numpy().astype(np.int64) * 1_000_000 + codes.to_numpy()
    n_pairs = len(np.unique(pairs))
    return n_pairs == len(np.unique(codes.to_numpy())) == len(np.unique(pairs // 1_000_000))


def role_problems(name: str, column: "pa.ChunkedArray", role: str) -> list:
    """Say why a column cannot have the role that it was named for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if role not in ("weight", "split", "group"):
        return []
    flag = {"weight": "weight", "split": "split_by", "group": "group_by"}[role]
    plain = plain_column(column)
    kind = pa.null() if plain is None else plain.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if role == "weight" and not is_number:
        return [f"--set {flag}={name}: the column holds no numbers. Name a column of weights, 0 or above."]
    n_missing = column.null_count if plain is None else plain.null_count
    if pa.types.is_floating(kind):
        n_missing = len(plain) - (pc.sum(pc.is_finite(plain)).as_py() or 0)
    if n_missing:
        return [
            f"--set {flag}={name}: {n_missing:,} of {len(column):,} values are missing or infinite. Fill them in or "
            "remove the rows."
        ]
    if role == "weight":
        bounds = pc.min_max(plain).as_py()
        if bounds["min"] < 0:
            return [f"--set {flag}={name}: a weight is {bounds['min']:g}; each must be 0 or above."]
        return [f"--set {flag}={name}: every weight is 0. Some rows must count."] if bounds["max"] == 0 else []
    if role == "split" and not is_number and not pa.types.is_timestamp(kind):
        import warnings

        import pandas as pd

        if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
            values = plain.cast(pa.string()).unique().to_pandas()
            with warnings.catch_warnings(action="ignore"):  # of slow formats
                dates = pd.to_datetime(values, errors="coerce", format="mixed")
            wrong = values[dates.isna()].tolist()
        else:
            wrong = [str(kind)]
        if wrong:
            return [
                f"--set {flag}={name}: {wrong[0]!r} is no date and no number. Name a column of dates, times or numbers."
            ]
    return []


def compare_schemas(schema: dict, former: dict) -> list:
    """Hold a table to the schema of an earlier run.

    Args:
        schema: Of the table; columns that the earlier run did not have become dropped in it.
        former: Of the earlier run.

    Returns:
        The findings, each with its verdict: {"verdict": "error", "warning" or "left out", "text"}.
    """
    findings = []
    if schema["label"] != former["label"]:
        findings.append({"verdict": "error", "text": f"the label was {former['label']!r} and is {schema['label']!r}"})
    now = {column["name"]: column for column in schema["columns"]}
    for before in former["columns"]:
        name, column = before["name"], now.get(before["name"])
        if before["role"] == "dropped":
            if column and column["role"] == "feature":
                column |= {"role": "dropped", "note": joined("left out as in the earlier run", column["note"])}
                findings.append({"verdict": "left out", "text": f"{name!r} was left out there, too ({before['note']})"})
            continue
        if column is None:
            findings.append({"verdict": "error", "text": f"the column {name!r} ({before['type']}) is missing"})
            continue
        kinds = [{"category": "text"}.get(kind, kind) for kind in (before["type"], column["type"])]
        if kinds[0] != kinds[1] and kinds[1] != "missing":
            text = f"the column {name!r} was {before['type']} and is {column['type']}"
            findings.append({"verdict": "error", "text": text})
            continue
        if column["role"] == "dropped":
            findings.append({"verdict": "warning", "text": f"{name!r} was a {before['role']}: {column['note']}"})
        if column["role"] == "label":
            for new, text in ((True, "is new"), (False, "is gone")):
                sides = [schema["classes"], former["classes"]]
                sides = sides if new else sides[::-1]
                findings += [
                    {"verdict": "warning", "text": f"the class {value!r} {text}"}
                    for value in sides[0]
                    if value not in sides[1]
                ]
        elif before["type"] == column["type"] == "category":
            there = [{*found["values"], *found.get("further_values", ())} for found in (before, column)]
            unknown = sorted(there[1] - there[0])
            if unknown:
                shown = ", ".join(map(repr, unknown[:5])) + (
                    f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
                )
                text = f"{name!r} has new categories, which count as missing to that run's model: {shown}"
                findings.append({"verdict": "warning", "text": text})
    known = {before["name"] for before in former["columns"]}
    for name, column in now.items():
        if name not in known and column["role"] in ("feature", "dropped"):
            column |= {"role": "dropped", "note": joined("the earlier run did not have it", column["note"])}
            findings.append({"verdict": "left out", "text": f"the column {name!r} is new"})
    order = ("error", "warning", "left out")
    return sorted(findings, key=lambda finding: order.index(finding["verdict"]))


def held_to(schema: dict, schema_from: str) -> list:
    """Hold a table to the schema file of an earlier run; what forbids training joins the schema's problems.

    Raises:
        ValueError: the file is no schema.
    """
    import json

    try:
        with open(local_path(schema_from), encoding="utf-8") as file:
            former = json.load(file)
        findings = compare_schemas(schema, former)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The earlier run's schema {schema_from} cannot be read: {error}. Name another run.") from None
    if any(finding["verdict"] == "error" for finding in findings):
        schema["problems"].append("The table differs from the earlier run's:\n" + "\n".join(findings_lines(findings)))
    return findings


def findings_lines(findings: list) -> list:
    """Return what differs from an earlier run's schema, a line for each verdict."""
    lines = []
    for verdict in ("error", "warning", "left out"):
        texts = [finding["text"] for finding in findings if finding["verdict"] == verdict]
        more = f"; and {len(texts) - 8} more" if len(texts) > 8 else ""
        if texts:
            lines.append(f"{verdict}: {'; '.join(texts[:8])}{more}")
    return lines


def table_notes(schema: dict) -> list:
    """Return how the files are written and what is to be known of the table as a whole, a line each."""
    lines = [*schema.get("notes", ()), *schema["warnings"]]
    if schema["removed_classes"]:
        few = ", ".join(f"{name!r} ({rows:,})" for name, rows in [*schema["removed_classes"].items()][:10])
        lines.append(f"classes of too few rows are left out with their rows: {few}")
    findings = schema.get("findings", ())
    if not any(finding["verdict"] == "error" for finding in findings):  # else they are among the problems
        lines += findings_lines(findings)
    return lines


def shown_notes(schema: dict) -> list:
    """Return the notes of the table, and which columns are left out, capped or to be looked at, a line each."""
    lines = table_notes(schema)
    for column in schema["columns"]:
        if column["note"]:
            what = " is left out" if column["role"] == "dropped" else ""
            lines.append(f"{column['name']!r}{what}: {column['note']}")
    return lines


DESCRIBING = [
    describe_table,
    roles_of,
    label_column,
    label_problem,
    classes_problems,
    too_many_classes,
    alike_warnings,
    describe_column,
    finite,
    dropped,
    joined,
    rounded,
    text_note,
    is_identifier,
    is_copy,
    role_problems,
    compare_schemas,
    held_to,
    findings_lines,
    table_notes,
    shown_notes,
]
