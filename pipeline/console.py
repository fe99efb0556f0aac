"""What the user sees: progress on standard error, results on standard output."""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pipeline import ending, files, history, prices, results, runs, texts
from pipeline.check import Check, Description
from pipeline.compare import Comparison
from pipeline.graph import Node
from pipeline.runs import Run, Task
from pipeline.sources import Source
from steps.champions import Champion

if TYPE_CHECKING:
    from steps.tables.schema import Column


class Terminal(Console):
    """Shows names and messages as they are, not read as markup, and without control characters: any may be another's.

    What rich itself sends to move the cursor or to colour stands apart from the texts and is left alone.
    """

    def __init__(self, **options: Any):
        super().__init__(markup=False, highlight=False, soft_wrap=True, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render something to segments of text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=texts.printable(segment.text))


progress_console = Terminal(stderr=True)
error_console = Terminal(stderr=True)
result_console = Terminal()
MAX_DIFF_LINES = 24  # of a step's source, on the terminal
N_COLUMNS_SHOWN = 40  # of a table, and those with a note
N_NOTES_SHOWN = 10
N_RETURNED_SHOWN = 30
N_CLASSES_SHOWN = 10  # of what was predicted
N_CANDIDATES_SHOWN = 10  # of a search
N_FIGURES = 4  # of a pipeline's own, in one line
MAX_LENGTH = 200  # of a value that a pipeline or a record has; in a table much less
MAX_ERROR_LENGTH = 4_000

STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "succeeded": "green",
    "cached": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "skipped": "dim",
    "lost": "bold red",
    "passed": "green",
    "not checked": "dim",
    "warning": "yellow",
}


def _state(name: str) -> Text:
    return Text(name, STYLES[name])


def _task_state(task: Task) -> Text:
    state = _state("cached" if task.cached else task.state)
    return state.append(f", {task.retried}", "yellow") if task.retries else state


class Lines:
    """Shows one line for each task as it starts and as it ends."""

    def note(self, message: str) -> None:
        """Something takes its time before the tasks."""
        show(message)

    def submitted(self, run: Run) -> None:
        """A job has been submitted."""
        show(f"Job    {run.url}")

    def started(self, task: Task) -> None:
        """A task has started."""
        progress_console.print(f"  {task.title:<24} started")

    def ended(self, task: Task) -> None:
        """A task has ended."""
        state = _task_state(task)
        seconds = "" if task.seconds is None else f"{task.seconds:6.1f} s"
        progress_console.print(
            Text(f"  {task.title:<24} ").append_text(state).append(f"{'':<{max(1, 10 - len(state))}}{seconds}")
        )


class LiveTable(Lines):
    """Shows all tasks of a run in one table that is drawn anew as they go on."""

    def __init__(self, run: Run, nodes: list[Node]):
        self._run, self._nodes = run, nodes
        self._since: dict[int, float] = {}

    def started(self, task: Task) -> None:
        """A task has started."""
        self._since[id(task)] = time.monotonic()

    def ended(self, task: Task) -> None:
        """A task has ended."""

    def __rich__(self) -> Table:
        table = Table("task", "item", "state", "seconds", box=None, padding=(0, 2))
        table.columns[3].justify = "right"
        tasks = list(self._run.tasks)
        # a terminal shows the top of what is higher than it is: the end of a long loop would never be seen
        folded = len(tasks) + len(self._nodes) > progress_console.height
        for node in self._nodes:
            names = {node.name, *(step.name for step in node.inside)}
            of_node = [task for task in tasks if task.name in names]
            if node.in_loop:
                of_node.sort(key=lambda task: str(task.item))
            ended = [task for task in of_node if task.state in ("succeeded", "cancelled")]
            if folded and len(ended) > 1:
                of_node = [task for task in of_node if task not in ended]
                total = sum(task.seconds or 0 for task in ended)
                table.add_row(node.name, f"{len(ended)} items", _state(ended[-1].state), f"{total:.1f}")
            for task in of_node:
                seconds = task.seconds
                if seconds is None and id(task) in self._since and task.state == "running":
                    seconds = time.monotonic() - self._since[id(task)]
                item = "" if task.item is None else str(task.item)
                table.add_row(task.name, Text(item), _task_state(task), "" if seconds is None else f"{seconds:.1f}")
            if not of_node and not ended:
                table.add_row(node.name, "…" if node.in_loop else "", _state("waiting"), "")
        return table


@contextmanager
def progress(run: Run, nodes: list[Node]) -> Iterator[Lines]:
    """Show the progress of a run: a live table on a terminal, plain lines elsewhere."""
    if not progress_console.is_terminal or os.environ.get("NO_COLOR") or os.environ.get("CI"):
        yield Lines()
        return
    table = LiveTable(run, nodes)
    # the local engine redirects what kfp prints by itself
    with Live(table, console=progress_console, redirect_stdout=False, redirect_stderr=False):
        yield table


def show_progress(shown: bool) -> None:
    """Show progress from here on, or only results and errors."""
    progress_console.quiet = not shown


def show(message: str) -> None:
    """Show a line about the run."""
    progress_console.print(message)


def show_error(message: str) -> None:
    """Show what went wrong."""
    error_console.print(Text("Error: ", "bold red").append(_first(message, MAX_ERROR_LENGTH)))
    ending.told(message)


def show_checks(checks: list[Check]) -> None:
    """Show one line for each check."""
    for check in checks:
        line = _state(check.state).append(f"{'':<{13 - len(check.state)}}")
        result_console.print(line.append(f"{check.name}: {check.detail}", "default"))


def show_description(described: Description, source: Source, profile: str, reason: str) -> None:
    """Show what was seen of a table before a run, and the profile that follows."""
    schema = described.schema
    if schema is None:
        return
    columns = schema.columns
    part = "the first " if described.is_part else ""
    result_console.print(
        f"{source.name}: {part}{schema.rows:,} rows, {len(columns):,} columns, {source.n_bytes:,} bytes"
    )
    table = Table("column", "type", "role", "missing", "values", "note", box=None, padding=(0, 2, 0, 0))
    shown = [column for place, column in enumerate(columns) if place < N_COLUMNS_SHOWN or column.note]
    shown = shown[: 3 * N_COLUMNS_SHOWN]
    for column in shown:
        missing = f"{column.missing:.1%}" if column.missing else ""
        texts = (repr(column.name)[1:-1], column.type, column.role, missing, _values(column), column.note)
        table.add_row(*map(Text, texts))
    _show_table(table, 160)
    if len(shown) < len(columns):
        result_console.print(f"… and {len(columns) - len(shown):,} more columns")
    classes = schema.classes
    if classes:
        result_console.print(f"{len(classes):,} classes in {schema.label!r}")
        most, n_rows = max(classes.values()), sum(classes.values())
        for name, count in [*classes.items()][:100]:
            bar = ("#" if result_console.options.ascii_only else "█") * round(30 * count / most)
            result_console.print(f"  {name[:40]:<20} {count:>12,} {count / n_rows:>6.1%}  {bar}")
    for note in schema.table_notes():
        result_console.print(f"note: {note}")
    if not described.problems:
        at_least = "at least " if described.is_part else ""
        result_console.print(f"memory of a run here: {at_least}about {described.memory / 1e9:.1f} GB")
    result_console.print(f"profile {profile}: {reason}")


def _values(column: "Column") -> str:
    """Return the range of a column, or its most frequent values."""
    if column.min is not None:
        low, high = (f"{end:.6g}" if isinstance(end, float) else str(end) for end in (column.min, column.max))
        return f"{low} … {high}"
    values = [value if len(value) <= 20 else f"{value[:19]}…" for value in [*(column.values or ())][:3]]
    more = (column.distinct or 0) - len(values)
    return ", ".join(repr(value)[1:-1] for value in values) + (f" and {more:,} more" if more > 0 else "")


def show_machines(
    nodes: list[Node],
    profile: str,
    reason: str,
    estimate: prices.Estimate | None = None,
    fused: prices.Estimate | None = None,
) -> None:
    """Show the machine and the retries that each task gets, by the profile or by what the pipeline asks for itself.

    Args:
        nodes: The tasks.
        profile: Name of the profile.
        reason: Why it is that one.
        estimate: What the machines take and cost at least.
        fused: What they would with --fuse, where that saves starts.
    """
    show(f"Profile {profile}: {reason}")
    accelerated = any(node.accelerator for node in nodes)
    columns = ("step", "CPUs", "memory", *(["accelerator"] if accelerated else []), "retries")
    table = Table(*columns, box=None, padding=(0, 2))
    for node in nodes:
        name = f"{node.name} (one per item)" if node.in_loop else node.name
        accelerator = [node.accelerator] if accelerated else []
        table.add_row(name, node.cpus, re.sub(r"G$", " GB", node.memory), *accelerator, str(node.retries))
    progress_console.print(table)
    if estimate:
        show(str(estimate))
    if fused:
        show(f"With --fuse: {fused.brief}")


def show_estimate(estimate: prices.Estimate, fused: prices.Estimate | None = None) -> None:
    """Show what a run takes and costs at least, as a result, and what it would with --fuse."""
    result_console.print(f"machines: {estimate}")
    if fused:
        result_console.print(f"with --fuse: {fused.brief}")


def show_schedule(name: str, times: list[datetime], stays: list[str]) -> None:
    """Show the name of a schedule, its next times, and what stays the same in all its runs."""
    result_console.print(f"Schedule {name}")
    for when in times:
        result_console.print(f"  next {when:%a %Y-%m-%d %H:%M %Z}")
    for sentence in stays:
        result_console.print(f"  note: {sentence}")


def show_result(run: Run) -> None:
    """Show how a run has ended: its figures, those of the run before it, and where things are, or what failed."""
    if run.leaderboard:
        _show_table(_leaderboard(run.leaderboard), 120)
        if run.leaderboard_prices:
            result_console.print(prices.CANDIDATES_COST.format(_brief(run.leaderboard_prices)))
    if run.metrics:
        if of_classes := results.of_classes(run):
            _show_table(_table_of_classes(of_classes, f"{run.pipeline} of {run.identifier}, test rows"), 80)
        _show_figures(run)
        if former := history.former(run):
            result_console.print(_against(run, former))
    if run.verdict:
        result_console.print(f"{run.verdict.verdict}: {'; '.join(run.verdict.reasons)}")
    if run.data.duplicates:
        seen = "stand in the training part as well: their figures tell what was memorised."
        show(f"note: {run.data.duplicates:,} test rows {seen}")
    _show_notes(run)
    _show_returned(run)
    show_failures(run)
    if run.status == "running" and run.job:
        show(f"The job runs on. Follow it: python -m pipeline follow {run.job}")
        show(f"Cancel it: python -m pipeline cancel {run.job}")
    if run.predicted:
        result_console.print(_mix(run.predicted.rows, run.predicted.class_mix))
        result_console.print(f"drift: {run.predicted.drift or 'not measured'}")
    if run.used:
        result_console.print(_used(run.used))
    rows = run.predicted.file if run.predicted else None
    show_places({"report": run.report, "model": run.model_file, "rows": rows, "run": run.folder, "job": run.url})


def _leaderboard(candidates: list[runs.Candidate]) -> Table:
    """Return the first candidates of a search as a table."""
    columns = ("candidate", "weight", "score", "seconds", "cost", "MB", "parameters")
    table = Table(*columns, title="candidates, on validation rows", title_justify="left")
    for column in table.columns[1:6]:
        column.justify = "right"
    for one in candidates[:N_CANDIDATES_SHOWN]:
        score, weight = f"{one.score:.4f} ± {one.spread:.4f}", f"{one.weight:.2f}" if one.weight else ""
        cost = "" if one.usd is None else prices.shown(one.usd)
        figures = (weight, score, f"{one.seconds:.1f}", cost, f"{one.megabytes:.1f}")
        table.add_row(Text(one.name), *figures, Text(_brief(one.parameters, 80)))
    return table


def _used(used: runs.Used) -> str:
    """Return one line of what a run has used of the service's machines, and what that costs."""
    tasks = ", ".join(f"{_brief(name, 40)} {seconds:,.0f} s" for name, seconds in used.seconds.items())
    unpriced = _brief(", ".join(used.unpriced))
    without = f", without {unpriced}, of whose machines no price is known" if unpriced else ""
    return f"used    {tasks or 'no machine'}: about {prices.shown(used.usd)}{without} ({_brief(used.prices, 60)})"


def show_places(places: dict[str, str | Path | None]) -> None:
    """Show where things are, of those that there are."""
    for name, place in places.items():
        if place:
            result_console.print(f"{name:<7} {near(place)}")


def show_predicted(n_rows: int, class_mix: dict[str, float], figures: dict[str, float], seconds: float) -> None:
    """Show what rows were predicted as, how good that is where it is known, and how long it took."""
    result_console.print(_mix(n_rows, class_mix))
    shown = [f"{name} {_figure(figures[figure])}" for figure, name in results.HEADLINES.items() if figure in figures]
    result_console.print("   ".join([*shown, f"{seconds:.1f} s"]))


def _mix(n_rows: int, class_mix: dict[str, float]) -> str:
    """Return one line of how many rows were predicted, and as what."""
    often = sorted(class_mix.items(), key=lambda pair: -pair[1])
    shown = ", ".join(f"{_brief(name, 40)}: {share:.1%}" for name, share in often[:N_CLASSES_SHOWN])
    more = f" and {len(often) - N_CLASSES_SHOWN:,} more classes" if len(often) > N_CLASSES_SHOWN else ""
    return f"predicted {n_rows:,} rows" + (f", {shown}{more}" if class_mix else "")


def show_champion(champion: Champion, former: Champion | None, said: str = "before") -> None:
    """Show which model is the champion now, and which was, with what is said of that one."""
    figures = ", ".join(
        f"{shown} {champion.figures[name]:.4f}"
        for name, shown in results.HEADLINES.items()
        if results.is_number(champion.figures.get(name))
    )
    result_console.print(f"champion  {champion.run}{f', {figures}' if figures else ''}")
    result_console.print(f"{said:<9} {former.run if former else 'none'}")


def show_deployment(file: Path, command: str) -> None:
    """Show the file of a service and the command that starts it."""
    show(f"service {near(file)}\nStart it with:")
    result_console.print(command, soft_wrap=True)


def show_json(run: Run) -> None:
    """Print run.json; what failed is told on standard error."""
    show_failures(run)
    path = run.folder / runs.RECORD
    try:
        files.read(path, Run)
        record = files.text(path)
    except files.Damaged as error:  # another has been at it
        show_error(f"The record {near(path)} cannot be read: {error}. This is the one that was to be there.")
        record = run.model_dump_json(indent=2) + "\n"
    result_console.file.write(texts.printable_json(record, result_console.encoding))


def show_failures(run: Run) -> None:
    """Show what failed in a run, where the log is, and how to try the task again."""
    for task in run.tasks:
        if task.state == "failed":
            where = f"\nLog: {near(task.log)}" if task.log else ""
            again = f"\nAgain: python -m pipeline replay {run.identifier} '{run.run_id}/{task.title}' --pdb"
            again = again if task.log else ""  # one that could not begin has nothing to try again
            again = f"\n{task.advice}" if task.advice else again
            tries = f", {task.retried}" if task.retries else ""
            show_error(f"{task.title} failed{tries}: {task.error or 'it ended without a message'}{where}{again}")
    if run.error:
        log = run.folder / runs.ERROR_LOG
        show_error(run.error + (f"\nLog: {near(log)}" if log.exists() else ""))
    elif run.status == "cancelled":
        show_error("the run was cancelled.")


def _show_figures(run: Run) -> None:
    """Show a run's overall figures: the best known and the time in one line, those of its own in lines below."""
    shown = [f"{name} {_figure(value)}" for name, value in _headlines(run).items()]
    own = [f"{_brief(name)} {_figure(value)}" for name, value in results.own(run).items()]
    if not shown:
        shown, own = own[:N_FIGURES], own[N_FIGURES:]
    seconds = [] if run.seconds is None else [f"{run.seconds:.1f} s"]
    lines = [[*shown, *seconds], *(own[at : at + N_FIGURES] for at in range(0, len(own), N_FIGURES))]
    for line in lines:
        result_console.print("   ".join(line))


def _show_returned(run: Run) -> None:
    """Show what a pipeline returns; of one without an accuracy what its tasks do, values and artifacts."""
    lines = [("output", name, value) for name, value in run.outputs.items()]
    if run.status == "succeeded" and not _headlines(run) and not run.predicted:
        for task in run.tasks:
            lines += [(task.title, name, value) for name, value in (task.values | task.outputs).items()]
    for owner, name, value in lines[:N_RETURNED_SHOWN]:
        shown = near(value) if isinstance(value, str) and value.startswith("/") else str(value)
        result_console.print(f"{owner} {_brief(name)}: {_brief(shown)}")
    if len(lines) > N_RETURNED_SHOWN:
        result_console.print(f"and {len(lines) - N_RETURNED_SHOWN:,} more: {near(run.folder / 'run.json')}")


def _headlines(run: Run) -> dict[str, Any]:
    figures = results.figures(run)
    return {name: figures[name] for name in results.HEADLINES.values() if name in figures}


def _against(run: Run, former: Run) -> str:
    """Return one line that compares a run with the one before it."""
    now, then = results.figures(run), results.figures(former)
    names = [*_headlines(run)] or [*now][:N_FIGURES]
    both = [name for name in names if results.is_number(now[name]) and results.is_number(then.get(name))]
    differences = "   ".join(f"{name} {now[name] - then[name]:+.4f}" for name in both) or "no figure in common"
    changes = [f"{name}={_brief(value, 60)}" for name, value in history.changed(run, former).items()]
    if run.data.fingerprint != former.data.fingerprint:
        changes.append("other data")
    return f"against {former.run_id}: {differences}" + (f"   ({', '.join(changes)})" if changes else "")


def _figure(value: Any) -> str:
    """Return a figure as text; a step may log anything."""
    if not isinstance(value, float):
        return "" if value is None else _brief(value, 60)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def _show_notes(run: Run) -> None:
    """Show what of the table was left out, capped or is to be looked at."""
    if not run.schema_file or not os.path.exists(run.schema_file):
        return
    from steps.tables.schema import read_schema

    try:
        notes = read_schema(run.schema_file).all_notes()
    except (OSError, ValueError) as error:
        notes = [f"the schema {near(run.schema_file)} cannot be read: {error}"]
    for note in notes[:N_NOTES_SHOWN]:
        show(f"note: {note}")
    if len(notes) > N_NOTES_SHOWN:
        show(f"and {len(notes) - N_NOTES_SHOWN} more: {near(run.schema_file)}")


def show_history(found: list[Run], damaged: list[str]) -> None:
    """Show one line for each run, newest first, with the parameters that changed from the one before it."""
    headlines = [_headlines(run) for run in found]
    names = [name for name in results.HEADLINES.values() if any(name in figures for figures in headlines)]
    own = [", ".join(f"{_brief(name, 60)}={_figure(value)}" for name, value in _own_in_short(run)) for run in found]
    costs = [f"{prices.shown(run.used.usd)}{'+' if run.used.unpriced else ''}" if run.used else "" for run in found]
    cost, more = (["cost"] if any(costs) else []), (["figures"] if any(own) else [])
    columns = ("run", "engine", "state", "seconds", *cost, "data", "changed", *names, *more)
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for column in table.columns:  # a narrow terminal breaks the line, not the words
        column.no_wrap = True
    for place, (run, former) in enumerate(zip(found, [*found[1:], None], strict=True)):
        changes = ", ".join(f"{name}={_brief(value, 60)}" for name, value in history.changed(run, former).items())
        figures = [*(_figure(headlines[place].get(name)) for name in names), *([own[place]] if any(own) else [])]
        seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
        engine, source, changes = _brief(run.engine, 20), _brief(run.data.source, 80), _brief(changes, MAX_LENGTH)
        costing = [costs[place]] if cost else []
        before, after = (run.run_id, engine), (seconds, *costing, source, changes, *figures)
        table.add_row(*map(Text, before), _state(run.status), *map(Text, after))
    _show_table(table, 250)
    for run in found:
        if run.status == "lost":
            result_console.print(f"{run.run_id} is lost: {run.error}")
    for problem in damaged:
        show_error(problem)


def _own_in_short(run: Run) -> list[tuple[str, Any]]:
    """Return the first figures of a run's own, where it has none that are better known."""
    return [] if _headlines(run) else [*results.own(run).items()][:N_FIGURES]


def show_comparison(first: Run, second: Run, found: Comparison) -> None:
    """Show two runs side by side."""
    table = Table("", first.run_id, second.run_id, "difference", box=None, padding=(0, 3, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("state", *(_state(run.status) for run in (first, second)), "")
    table.add_row("seconds", *("" if run.seconds is None else f"{run.seconds:.1f}" for run in (first, second)), "")
    for name, pair in found.asked.items():
        table.add_row(_text(name), *map(_text, pair), "")
    for name, (one, other) in found.data.items():
        table.add_row(f"data {name}", _text(one), _text(other), "" if one == other else "other")
    table.add_section()
    for name, (one, other) in found.metrics.items():
        is_pair = results.is_number(one) and results.is_number(other)
        table.add_row(_text(name), *map(_figure, (one, other)), f"{other - one:+.4f}" if is_pair else "")
    _show_table(table, 100)
    if found.chance:
        result_console.print(f"Difference in {found.judged}: {found.chance}")
    for steps, lines in found.code.items():
        result_console.print(f"\nThe source of {_brief(steps)} differs:")
        for line in lines[:MAX_DIFF_LINES]:
            result_console.print(Text(f"  {_first(line, MAX_LENGTH)}", {"+": "green", "-": "red"}.get(line[:1], "")))
        if len(lines) > MAX_DIFF_LINES:
            result_console.print(f"  and {len(lines) - MAX_DIFF_LINES} more lines")
    if not found.code and not found.problems:
        result_console.print("The source of all steps is the same.")
    for problem in found.problems:
        show_error(problem)
    for run in (first, second):
        show_failures(run)


def _show_table(table: Table, width: int) -> None:
    """Show a table; a terminal that is narrower breaks its lines, so that no column is lost."""
    Terminal(width=max(result_console.width, width)).print(table, soft_wrap=False)


def _first(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _brief(value: Any, length: int = MAX_LENGTH) -> str:
    """Return a value as text of one line that is not long: a record may hold anything."""
    return _first(" ".join(str(value).split()), length)


def _text(value: Any) -> Text:
    text = "" if value is None else str(value)
    if len(text) <= 40:
        return Text(text)
    return Text(f"…{text[-24:]}" if "/" in text else f"{text[:16]}…")  # of a path the end tells more


def show_outputs(outputs: dict[str, Any]) -> None:
    """Show what a task has put out."""
    for name, value in outputs.items():
        shown = near(value) if isinstance(value, str) else str(value)
        result_console.print(Text(f"{name:<16} {_first(shown, MAX_ERROR_LENGTH)}"))


def _table_of_classes(of_classes: dict[str, tuple[Any, ...]], title: str) -> Table:
    table = Table("class", *results.OF_CLASSES, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, (rows, *shares) in of_classes.items():
        table.add_row(Text(name), f"{rows:,}", *(f"{share:.3f}" for share in shares))
    return table


def near(place: str | Path) -> str:
    """Return a path relative to the current folder where it lies below it; an address stays as it is."""
    if "://" in str(place) or not os.path.isabs(place):
        return str(place)
    try:
        relative = os.path.relpath(place)
    except OSError:  # the current folder is gone
        return str(place)
    return str(place) if relative.startswith("..") else relative
