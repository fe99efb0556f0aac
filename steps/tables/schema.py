"""What a table is, as the schema file of a run holds it: its columns, its classes, and what is to be known of them."""

import json
from dataclasses import asdict, dataclass, field, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from steps.places import local_path
from steps.tables.files import require_regular

MAX_NAMES = 10  # in one line
MAX_PROBLEMS = 4  # in one message


@dataclass
class Column:
    """One column of a table."""

    name: str
    type: str  # number, category, text, boolean, date, time, duration, missing (no values at all) or other
    role: str  # feature, label, weight, split, group or dropped
    missing: float = 0.0  # share of the rows
    distinct: int | None = None
    note: str = ""
    min: float | int | str | None = None
    max: float | int | str | None = None
    values: dict[str, int] | None = None  # the 50 most frequent, each with its rows
    further_values: list[str] | None = None  # the other values of a category
    reading: dict[str, str] | None = None  # how its text is read by raw_rows, where it is a number, time or date

    def add_note(self, note: str, first: bool = False) -> None:
        """Note something, behind or before what was noted."""
        notes = [note, self.note] if first else [self.note, note]
        self.note = "; ".join(part for part in notes if part)

    def drop(self, note: str) -> None:
        """Leave the column out for a reason, unless it was named for a role."""
        self.add_note(note, first=True)
        if self.role == "feature":
            self.role = "dropped"


@dataclass(frozen=True)
class Finding:
    """What differs from the schema of an earlier run."""

    verdict: str  # error, warning or left out
    text: str


@dataclass
class Schema:
    """What was seen of a table."""

    rows: int
    label: str
    task: str = "classification"  # or regression
    classes: dict[str, int] = field(default_factory=dict)  # with their rows
    removed_classes: dict[str, int] = field(default_factory=dict)
    columns: list[Column] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # of the whole table
    problems: list[str] = field(default_factory=list)  # what makes training impossible
    notes: list[str] = field(default_factory=list)  # on how the files are written
    findings: list[Finding] = field(default_factory=list)

    def model_codes(self, preset: str) -> list[int]:
        """Return the codes of the models that are trained side by side.

        Of classes one each, of two the second's alone, which tells both; before them -1 for a forest of all where the
        preset has one; of a quantity 0 for the mean, 1 and 2 for the ends of an interval.
        """
        if self.task == "regression":
            return [0, 1, 2]
        codes = list(range(len(self.classes)))
        return [-1] * (preset in ("balanced", "best")) + (codes if len(codes) > 2 else codes[-1:])

    @property
    def kept(self) -> list[Column]:
        """The columns that are not left out."""
        return [column for column in self.columns if column.role != "dropped"]

    @property
    def features(self) -> list[Column]:
        """The columns to learn from."""
        return [column for column in self.columns if column.role == "feature"]

    def table_notes(self) -> list[str]:
        """Return how the files are written and what is to be known of the table as a whole, a line each."""
        lines = [*self.notes, *self.warnings]
        if self.removed_classes:
            few = ", ".join(f"{name!r} ({rows:,})" for name, rows in [*self.removed_classes.items()][:MAX_NAMES])
            lines.append(f"classes of too few rows are left out with their rows: {few}")
        if not any(finding.verdict == "error" for finding in self.findings):  # else they are among the problems
            lines += findings_lines(self.findings)
        return lines

    def all_notes(self) -> list[str]:
        """Return the notes of the table, and which columns are left out, capped or to be looked at, a line each."""
        lines = self.table_notes()
        for column in self.columns:
            if column.note:
                what = " is left out" if column.role == "dropped" else ""
                lines.append(f"{column.name!r}{what}: {column.note}")
        return lines

    def require_no_problems(self) -> None:
        """Check that a model can be trained.

        Raises:
            ValueError: something makes that impossible.
        """
        if self.problems:
            raise ValueError("\n".join(self.problems[:MAX_PROBLEMS]))

    def write(self, path: str) -> None:
        """Write the schema as JSON; what a column does not have is not in it."""
        whole = asdict(self)
        whole["columns"] = [
            {name: value for name, value in column.items() if value is not None} for column in whole["columns"]
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(whole, file, indent=1, allow_nan=False)


def read_schema(path: str) -> Schema:
    """Read a schema that was written as JSON.

    Raises:
        OSError: there is no such file.
        ValueError: it is no schema.
    """
    require_regular(local_path(path))
    with open(local_path(path), encoding="utf-8") as file:
        try:
            schema: Schema = _typed(json.load(file), Schema)
            return schema
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no schema of a table: {str(error)[:200]}") from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def _typed(value: Any, kind: Any) -> Any:
    """Return a JSON value as a type: a dataclass, a list, a dictionary, one of several or a plain one.

    Raises:
        KeyError: it has a field that the dataclass does not have.
        TypeError: it is of another type.
    """
    outer, inner = get_origin(kind), get_args(kind)
    if outer is UnionType:
        for each in inner:
            if isinstance(value, get_origin(each) or each):
                return _typed(value, each)
    elif isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind)
        return kind(**{name: _typed(each, kinds[name]) for name, each in value.items()})
    elif outer is list and isinstance(value, list):
        return [_typed(each, inner[0]) for each in value]
    elif outer is dict and isinstance(value, dict):
        return {name: _typed(each, inner[1]) for name, each in value.items()}
    elif not outer and not is_dataclass(kind):
        is_whole = kind is float and isinstance(value, int)
        if (isinstance(value, kind) or is_whole) and not isinstance(value, bool):
            return value
    raise TypeError(f"{repr(value)[:50]} is no {getattr(kind, '__name__', kind)}")


def findings_lines(findings: list[Finding]) -> list[str]:
    """Return what differs from an earlier run's schema, a line for each verdict."""
    lines = []
    for verdict in ("error", "warning", "left out"):
        texts = [finding.text for finding in findings if finding.verdict == verdict]
        more = f"; and {len(texts) - 8} more" if len(texts) > 8 else ""
        if texts:
            lines.append(f"{verdict}: {'; '.join(texts[:8])}{more}")
    return lines
