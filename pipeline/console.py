"""What the user sees: progress on standard error, results on standard output."""

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import runs
from pipeline.runs import Run, Task

# names and messages may come from the data: they are shown as they are, not read as markup
progress_console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
result_console = Console(markup=False, highlight=False, soft_wrap=True)

STYLES = {"succeeded": "green", "failed": "bold red", "cancelled": "yellow"}


class Lines:
    """Shows one line for each task as it starts and as it ends."""

    def started(self, task: Task) -> None:
        """A task has started."""
        progress_console.print(f"  {task.title:<24} started")

    def ended(self, task: Task) -> None:
        """A task has ended."""
        line = Text(f"  {task.title:<24} ").append(f"{task.state:<10}", STYLES[task.state])
        progress_console.print(line.append(f"{task.seconds:6.1f} s"))


def show(message: str) -> None:
    """Show a line about the run."""
    progress_console.print(message)


def show_error(message: str) -> None:
    """Show what went wrong."""
    progress_console.print(Text("Error: ", "bold red").append(message))


def show_result(run: Run) -> None:
    """Show how a run has ended: its figures and where things are, or what failed."""
    if run.metrics:
        figures = run.metrics
        columns = ("rows", "precision", "recall", "f1")
        table = Table("class", *columns, title=f"{run.pipeline} of {run.identifier}, test rows")
        for column in table.columns[1:]:
            column.justify = "right"
        for name in figures["f1"]:
            rows, *shares = (figures[column][name] for column in columns)
            table.add_row(Text(name), f"{int(rows):,}", *(f"{share:.3f}" for share in shares))
        result_console.print(table)
        result_console.print(
            f"accuracy {figures['accuracy']:.4f}   macro-F1 {figures['macro_f1']:.4f}   {run.seconds:.1f} s"
        )
    for task in run.tasks:
        if task.state == "failed":
            show_error(f"{task.title} failed: {task.error or 'it ended without a message'}\nLog: {near(run.log(task))}")
    if run.status == "cancelled":
        show_error("the run was cancelled.")
    if run.error:
        show_error(f"{run.error}\nLog: {near(run.folder / runs.ERROR_LOG)}")
    for name, path in (("report", run.report), ("model", run.model), ("run", run.folder)):
        if path:
            result_console.print(f"{name:<7} {near(Path(path))}")


def near(path: Path) -> str:
    """Return a path relative to the current folder where it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
