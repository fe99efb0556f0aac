"""Everything that can be known before a submission: each check passed, failed with what mends it, or was not made."""

import ast
import builtins
import importlib
import re
import symtable
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from pipeline import CORES, RequestError, arguments, graph, loops, memory
from pipeline.sources import Source, place_file

if TYPE_CHECKING:
    from steps.tables.describing import Described
    from steps.tables.reading import Table
    from steps.tables.schema import Schema

# https://cloud.google.com/vertex-ai/quotas#pipelines
MAX_TASKS = 10_000
MAX_ARTIFACTS = 100  # into and out of one task
MAX_COLLECTED = MAX_ARTIFACTS - 1
MAX_PARAMETER_BYTES = 131_072
MODULE_NAMES = {"__name__", "__file__", "__doc__", "__spec__", "__package__", "__loader__", "__builtins__"}
MAX_BYTES_READ = 200_000_000  # of a table that is read to describe it: some seconds


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    name: str
    state: Literal["passed", "failed", "warning", "not checked"]
    detail: str  # what was found; for a failed one and a warning with what mends it


class Failed(Exception):
    """A check failed; the message says why and what mends it."""


class Warned(Exception):
    """A run may fail for what a check has found; the message says why and what mends it."""


class NotChecked(Exception):
    """A check could not be made; the message says why."""


def make(name: str, check: Callable[[], str]) -> Check:
    """Make one check; it returns what it found, or raises Failed, Warned or NotChecked."""
    try:
        return Check(name, "passed", check())
    except Failed as failed:
        return Check(name, "failed", str(failed))
    except Warned as warned:
        return Check(name, "warning", str(warned))
    except NotChecked as reason:
        return Check(name, "not checked", str(reason))


def require(checks: list[Check]) -> None:
    """Check that none has failed.

    Raises:
        RequestError: some have; all of them are in the one message.
    """
    failed = [check for check in checks if check.state == "failed"]
    if failed:
        raise RequestError("\n".join(f"{check.name}: {check.detail}" for check in failed[:5]))


@dataclass(frozen=True)
class Description:
    """What was seen of a table before a run."""

    schema: "Schema | None" = None  # None where it could not be read
    problems: tuple[str, ...] = ()  # what makes training impossible
    split_problem: str = ""  # why split-data cannot split it
    is_part: bool = False  # whether only its first rows were read
    reason: str = ""  # why it was not read
    found: str = ""  # of one to predict, how it fits the model
    n_values: int = 0  # about how many values there are to learn from in the whole table

    @property
    def memory(self) -> int:
        """Estimated peak memory of a run here, in bytes, without a forest."""
        n_models = len(self.schema.model_codes("fast")) if self.schema else 1
        return memory.of_run(self.n_values, min(CORES, n_models))


def describe(source: Source, parameters: dict[str, Any]) -> Description:
    """Describe a table by the functions of prepare-data, where it is on this machine; of a large one its first rows.

    Args:
        source: The data.
        parameters: Values of the pipeline's parameters.
    """
    if not source.name:
        return Description(reason="the pipeline takes no table")
    if not source.files:
        return Description(reason="the data is not on this machine; prepare-data describes and checks it")
    if "label" not in parameters:
        return Description(reason="the pipeline has no label")
    from steps.cells import NA_VALUES
    from steps.tables.comparing import hold_to
    from steps.tables.describing import describe as described
    from steps.tables.files import damage_told
    from steps.tables.options import ReadOptions
    from steps.tables.reading import open_table
    from steps.tables.roles import Roles

    roles: dict[str, Any] = {name: parameters.get(name) or "" for name in ("label", "weight", "split_by", "group_by")}
    lists: dict[str, Any] = {name: tuple(parameters.get(name) or ()) for name in ("drop", "keep")}
    header, names = parameters.get("header") or "", tuple(parameters.get("names") or ())
    options = ReadOptions(roles["label"], header, names, tuple(parameters.get("na_values", NA_VALUES)))
    with TemporaryDirectory() as folder:
        try:
            with damage_told(source.name):
                table = open_table(source.uri, folder, options, MAX_BYTES_READ)
                least, drop_unlabeled = parameters.get("min_class_rows") or 0, bool(parameters.get("drop_unlabeled"))
                task = parameters.get("task") or ""
                found = described(table, Roles(**roles, **lists), least, drop_unlabeled, task)
                if parameters.get("schema_from"):
                    hold_to(found.schema, place_file(parameters["schema_from"], None, Path(folder)))
                split_problem = _split_problem(table, found, parameters, folder)
        except ValueError as error:
            return Description(problems=(str(error),))
    schema, n_rows = found.schema, found.schema.rows
    if table.is_part:
        n_rows = memory.rows_of(n_rows, source.n_bytes, source.files[0].name, MAX_BYTES_READ)
    n_values = memory.values_of(schema, n_rows)
    return Description(schema, tuple(schema.problems), split_problem, table.is_part, n_values=n_values)


def _split_problem(table: "Table", described: "Described", parameters: dict[str, Any], folder: str) -> str:
    """Say why split-data cannot split a table, such as for a class that only the newest rows have; "" where it can.

    Each class has rows in both parts of a random split. That of another is made here as there, of the same values.
    """
    roles = {role: parameters.get(role) or "" for role in ("weight", "split_by", "group_by")}
    schema = described.schema
    if not any(roles.values()) or parameters.get("test_size") is None or table.is_part or schema.problems:
        return ""
    from steps.splitting import hold_back, read_rows, untested_classes
    from steps.tables.writing import write_table

    columns = [column for column in schema.columns if column.role in ("label", "weight", "split", "group")]
    path = str(Path(folder, "roles.parquet"))
    write_table(table.dataset, replace(described, schema=replace(schema, columns=columns)), path)
    rows, weight = read_rows(path), roles.pop("weight")
    try:
        seed, is_quantity = parameters.get("seed") or 0, schema.task == "regression"
        held = hold_back(rows, schema.label, parameters["test_size"], seed, **roles, is_quantity=is_quantity)
        if not is_quantity:
            untested_classes(rows, schema.label, held, weight)
    except ValueError as error:
        return str(error)
    return ""


def of_spec(
    spec: dict[str, Any], parameters: dict[str, Any], described: Description, *, is_here: bool = False
) -> list[Check]:
    """Make the checks of a compiled spec and its parameters, which need no network.

    Args:
        spec: The compiled spec.
        parameters: Values of the pipeline's parameters, those without a default among them.
        described: What was seen of the data.
        is_here: Whether the tasks run on this machine, where a task may have more artifacts than on the service.
    """
    return [
        make("spec", lambda: _limits(spec, parameters, described.schema, Warned if is_here else Failed)),
        make("steps", lambda: _steps(spec)),
        make("packages", lambda: _packages(spec)),
        make("images", lambda: _images(spec)),
        make("parameters", lambda: _parameters(spec, parameters)),
        make("arguments", lambda: _arguments(spec, parameters, described)),
        make("table", lambda: _table(spec, described)),
    ]


def of_memory(spec: dict[str, Any], parameters: dict[str, Any], described: Description, *, is_here: bool) -> Check:
    """Hold the memory that the training is estimated to take against what its machines, or this one, have.

    Args:
        spec: The compiled spec, with its machines.
        parameters: Values of the pipeline's parameters; a preset may add a forest, which is not counted, nor is that
            of a quantity, of up to 20 million values.
        described: What was seen of the data.
        is_here: Whether the tasks run on this machine.
    """
    without = ""
    if described.schema and described.schema.task == "regression":
        without = f", its forest of up to {memory.FOREST_OF_A_QUANTITY / 1e9:.1f} GB not counted"
    elif parameters.get("preset", "fast") != "fast":
        without = ", its forest not counted"
    return make("memory", lambda: _memory(spec, described, is_here, without))


def _memory(spec: dict[str, Any], described: Description, is_here: bool, without: str) -> str:
    known = memory.BYTES_PER_VALUE.keys() & {step.step for node in graph.nodes(spec) for step in node.steps}
    if described.schema is None or described.problems or not known:
        raise NotChecked(described.reason or "nothing is known of what the steps take")
    at_least = "at least " if described.is_part else ""
    if not is_here:
        if lacking := memory.too_small(spec, described.n_values):
            raise Warned(f"{'; '.join(lacking)}. Take a larger --profile, or fewer rows.")
        largest = max(known, key=lambda step: memory.of_step(step, described.n_values))
        needs = memory.of_step(largest, described.n_values)
        return f"{largest} takes {at_least}about {needs / 1e9:.1f} GB{without}"
    has = memory.of_machine()
    told = (
        f"a run takes {at_least}about {described.memory / 1e9:.1f} GB{without}, and this machine has {has / 1e9:.1f} GB"
    )
    if described.memory > has:
        raise Warned(f"{told}. Take fewer rows, or a machine with more: --engine vertex --profile large.")
    return told


def of_names(job_id: str, display_name: str, labels: dict[str, str]) -> str:
    """Check that the names of a job are within the service's limits, and say what they are."""
    if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", job_id):
        raise Failed(f"the job id {job_id!r} is not 1 to 128 of a-z, 0-9 and -. Use a shorter --identifier.")
    if len(display_name) > 128:
        raise Failed(f"the display name {display_name!r} is longer than 128 characters. Use a shorter --identifier.")
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise Failed(f"the label {key}={value} is not at most 63 of a-z, 0-9, _ and -.")
    return f"job {job_id}, {len(labels)} labels"


def unresolved_names(source: str) -> set[str]:
    """Return the names that a source uses and does not have: those that exist only where it was written.

    They are resolved as Python does it, by its own symbol tables; nothing is executed.
    """
    tables = [*_symbol_tables(symtable.symtable(source, "shipped source", "exec"))]
    used = {symbol.get_name() for table in tables for symbol in table.get_symbols() if _is_global_use(symbol, table)}
    known = {symbol.get_name() for symbol in tables[0].get_symbols() if _is_bound(symbol)}
    declared = {symbol.get_name() for table in tables for symbol in table.get_symbols() if _is_made_global(symbol)}
    missing = used - known - declared - MODULE_NAMES - vars(builtins).keys()
    return missing - _star_names(source) if missing else missing


def _symbol_tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    """Yield the symbol table of a module and those of all scopes in it."""
    yield table
    for child in table.get_children():
        yield from _symbol_tables(child)


def _is_global_use(symbol: symtable.Symbol, table: symtable.SymbolTable) -> bool:
    """Return whether a scope looks a name up in the module."""
    return symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _is_made_global(symbol: symtable.Symbol) -> bool:
    return symbol.is_declared_global() and _is_bound(symbol)


def _star_names(source: str) -> set[str]:
    """Return the names that a source imports by a star, as KFP's own first lines do."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == "*" for alias in node.names):
            module = importlib.import_module(node.module)
            names |= {*getattr(module, "__all__", (name for name in vars(module) if not name.startswith("_")))}
    return names


def _limits(
    spec: dict[str, Any], parameters: dict[str, Any], schema: "Schema | None", too_many: type[Warned | Failed]
) -> str:
    nodes = graph.nodes(spec)
    if len(nodes) > MAX_TASKS:
        raise Failed(f"{len(nodes):,} tasks are more than the service's {MAX_TASKS:,}. Make fewer, larger steps.")
    for task, number, n_collected in _artifacts(spec, parameters, schema):
        if n_collected > MAX_COLLECTED or (n_collected and number > MAX_ARTIFACTS):
            raise too_many(
                f"{task} has {number:,} artifacts, {n_collected:,} of them collected from loops; the service allows "
                f"a task {MAX_ARTIFACTS}, {MAX_COLLECTED} of loops. Loop over fewer, or let each iteration return a "
                "parameter."
            )
        if number > MAX_ARTIFACTS:
            raise too_many(f"{task} has more than {MAX_ARTIFACTS} artifacts. Put several into one folder.")
    return f"{spec['pipelineInfo']['name']} compiles, {len(nodes)} tasks and their loops"


def _artifacts(
    spec: dict[str, Any], parameters: dict[str, Any], schema: "Schema | None"
) -> Iterator[tuple[str, int, int]]:
    """Yield the tasks with how many artifacts they take and put out, and how many of these are collected from loops.

    A loop over what is not known before counts as one iteration, and one over the candidates of a search as all that
    there may be.
    """
    found = loops.found_before(spec, parameters, schema)
    of_root = arguments.with_defaults(spec["root"], parameters)
    for component, known in ((spec["root"], of_root), *((component, {}) for component in spec["components"].values())):
        dag = component.get("dag", {})
        for name, task in dag.get("tasks", {}).items():
            taken = [
                _n_taken(spec, dag, task, key, known, found) for key in task.get("inputs", {}).get("artifacts", {})
            ]
            outputs = spec["components"][task["componentRef"]["name"]].get("outputDefinitions", {})
            n_artifacts = sum(taken) + len(outputs.get("artifacts", {}))
            yield name, n_artifacts, sum(number for number in taken if number > 1)


def _n_taken(
    spec: dict[str, Any], dag: dict[str, Any], task: dict[str, Any], key: str, known: dict[str, Any], found: loops.Found
) -> int:
    """Return how many artifacts a task takes by one of its inputs, as far as that is known before a run."""
    output = task["inputs"]["artifacts"][key].get("taskOutputArtifact")
    if not output or key == task.get("artifactIterator", {}).get("items", {}).get("inputArtifact"):
        return 1
    producer = dag["tasks"][output["producerTask"]]
    number = arguments.n_artifacts(spec, producer, output["outputArtifactKey"])
    if producer.get("parameterIterator", {}).get("items", {}).get("raw"):
        return number
    return number * (loops.n_items(spec, dag, producer, known, found) or 1)


def _arguments(spec: dict[str, Any], parameters: dict[str, Any], described: Description) -> str:
    sizes = arguments.estimates(spec, parameters, described.schema.classes if described.schema else None)
    task, n_bytes = max(sizes, key=lambda pair: pair[1], default=("no task", 0))
    if n_bytes > arguments.MAX_BYTES:
        raise Failed(
            f"{task} is given about {n_bytes:,} bytes in one argument of its command, --executor_input, and Linux "
            f"takes {arguments.MAX_BYTES:,}: the values of its parameters, and addresses and metadata of artifacts. "
            "Give it shorter values and fewer artifacts, or hand them on in a file."
        )
    return f"the largest --executor_input has about {n_bytes:,} of {arguments.MAX_BYTES:,} bytes, of {task}"


def _steps(spec: dict[str, Any]) -> str:
    containers = graph.containers(spec)
    for step, container in containers.items():
        source = container["command"][-1]
        if len(source.encode()) > arguments.MAX_BYTES:
            raise Failed(
                f"{step} ships {len(source.encode()):,} bytes of source, and Linux takes {arguments.MAX_BYTES:,} as "
                "one argument of a command. Ship fewer additional_funcs."
            )
        for file, text in graph.sources(container).items():
            if missing := unresolved_names(text):
                where = f", in {file}," if file else ""
                raise Failed(
                    f"{step}{where} names {', '.join(sorted(missing))}, which its shipped source does not have. "
                    "Import or define it inside the function, or name the function in additional_funcs."
                )
    return f"{len(containers)} steps name nothing that is only here"


def _packages(spec: dict[str, Any]) -> str:
    for step, container in graph.containers(spec).items():
        for package in graph.packages(container):
            if not _is_pinned(package):
                raise Failed(
                    f"{step} installs {package} in any version. Pin it: packages_to_install=pinned({package!r})."
                )
    return "every package is pinned"


def _is_pinned(package: str) -> bool:
    """Return whether a requirement is of one version: pinned, a file, or a revision of a repository."""
    package = package.partition(";")[0].strip()  # without its marker
    address = package.partition(" @ ")[2] or package
    if "://" in address and address.startswith(("git+", "hg+", "svn+", "bzr+")):
        return "@" in address.partition("://")[2].partition("/")[2]
    return "==" in package or address.endswith((".whl", ".zip", ".tar.gz"))


def _images(spec: dict[str, Any]) -> str:
    for step, container in graph.containers(spec).items():
        if not re.search(r"[:@]", container.get("image", "").rpartition("/")[2]):
            raise Failed(f"{step} has the image {container.get('image')!r}, without a tag. Name one as base_image.")
    return ", ".join(sorted({container["image"] for container in graph.containers(spec).values()})) or "no step has one"


def _parameters(spec: dict[str, Any], parameters: dict[str, Any]) -> str:
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(parameters.keys() - known.keys())
    missing = sorted(name for name, p in known.items() if not p.get("isOptional") and name not in parameters)
    if unknown or missing:
        raise Failed(f"unknown: {', '.join(unknown) or 'none'}; without a value: {', '.join(missing) or 'none'}.")
    n_bytes = sum(len(str(value).encode()) for value in parameters.values())
    if n_bytes > MAX_PARAMETER_BYTES:
        raise Failed(f"the parameters have {n_bytes:,} bytes, the service takes {MAX_PARAMETER_BYTES:,}. Shorten them.")
    return f"{len(parameters)} of {len(known)} given, the others have defaults"


def _table(spec: dict[str, Any], described: Description) -> str:
    schema = described.schema
    if described.problems:
        raise Failed("\n".join(described.problems[:4]))
    if described.split_problem and "split-data" in graph.steps(spec):
        raise Failed(described.split_problem)
    if described.found and not described.is_part:
        return described.found
    if schema is None:
        raise NotChecked(described.reason or f"only its beginning was read: {described.found}")
    what = "a quantity" if schema.task == "regression" else f"{len(schema.classes)} classes"
    found = f"{schema.rows:,} rows, {len(schema.features):,} columns to learn from, {what} in {schema.label!r}"
    if described.is_part:
        raise NotChecked(f"only its beginning was read, {found}; prepare-data reads all")
    return found
