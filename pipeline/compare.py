"""Two runs of a pipeline side by side: what was asked, the data, the code, the figures, and what chance explains."""

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import RequestError, graph, results, runs
from pipeline.history import NOT_CHANGED
from pipeline.runs import Run

if TYPE_CHECKING:
    import pandas as pd


JUDGED = ("macro_f1", "mean_absolute_error")


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs; pairs are of the first and the second."""

    asked: dict[str, tuple[Any, Any]]  # parameters and versions that differ
    data: dict[str, tuple[Any, Any]]  # source, fingerprint and rows
    code: dict[str, list[str]]  # lines of the unified diff of the steps' sources, by the steps that share it
    metrics: dict[str, tuple[Any, Any]]  # by the names that they are shown as; None for one that a run does not have
    judged: str  # the figure by which models are compared, macro-F1, or MAE of a quantity
    chance: str  # whether the difference in it is larger than chance, or why that is not known; "" without it
    problems: tuple[str, ...]  # what could not be compared


def compare(first: Run, second: Run) -> Comparison:
    """Compare two runs of the same pipeline.

    Raises:
        RequestError: they are of different pipelines.
    """
    if first.pipeline != second.pipeline:
        raise RequestError(
            f"{first.run_id} is a run of {first.pipeline} and {second.run_id} one of {second.pipeline}: "
            "only runs of one pipeline can be compared."
        )
    parameters = [{k: v for k, v in run.parameters.items() if k not in NOT_CHANGED} for run in (first, second)]
    asked = _differing(*parameters) | _differing(*(_around(run) for run in (first, second)))
    problems: list[str] = []
    try:
        code = _code(*(graph.load(run.folder / runs.SPEC) for run in (first, second)))
    except RequestError as error:
        code = {}
        problems.append(str(error))
    judged = next((name for name in JUDGED if name in {*(first.metrics or ())} & {*(second.metrics or ())}), "macro_f1")
    return Comparison(
        asked=asked,
        data={name: (getattr(first.data, name), getattr(second.data, name)) for name in runs.Data.model_fields},
        code=code,
        metrics=_metrics(first, second),
        judged=results.HEADLINES[judged],
        chance=_chance(first, second, judged),
        problems=tuple(problems),
    )


def _around(run: Run) -> dict[str, Any]:
    """Return what a run ran with."""
    return {"engine": run.engine, "commit": run.git.commit, **run.versions}


def _differing(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*first, *(name for name in second if name not in first)]
    pairs = {name: (first.get(name), second.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _code(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[str]]:
    sources = [graph.steps(spec) for spec in (first, second)]
    steps_of_diff: dict[tuple[str, ...], list[str]] = {}
    for step, pair in _differing(*sources).items():
        one, other = ((source or "").splitlines() for source in pair)
        lines = difflib.unified_diff(one, other, n=1, lineterm="")
        changes = tuple(line for line in lines if not line.startswith(("--- ", "+++ ", "@@ ")))
        steps_of_diff.setdefault(changes, []).append(step)  # a function that steps share differs in all of them
    return {", ".join(steps): [*changes] for changes, steps in steps_of_diff.items()}


def _metrics(first: Run, second: Run) -> dict[str, tuple[Any, Any]]:
    figures = [_flat(run) for run in (first, second)]
    names = [*figures[0], *(name for name in figures[1] if name not in figures[0])]
    return {name: (figures[0].get(name), figures[1].get(name)) for name in names}


def _flat(run: Run) -> dict[str, Any]:
    f1 = {f"f1 of {name}": f1 for name, (*_, f1) in results.of_classes(run).items()}
    returned = {f"output {name}": value for name, value in run.outputs.items() if results.is_number(value)}
    return results.figures(run) | f1 | returned


def _chance(first: Run, second: Run, judged: str) -> str:
    """Say whether the difference in the figure that is judged is larger than chance."""
    if all(run.metrics is None and run.status == "succeeded" for run in (first, second)):
        return ""  # of a pipeline without figures
    for run in (first, second):
        if run.metrics is None:
            return f"not known: {run.run_id} has no figures, it is {run.status}."
    metrics = [run.metrics or {} for run in (first, second)]
    if {*JUDGED} <= {*metrics[0]} | {*metrics[1]}:
        return "not known: one model tells classes, the other estimates a quantity."
    have = [judged in figures for figures in metrics]
    if not all(have):
        return f"not known: {(first, second)[have.index(False)].run_id} has none." if any(have) else ""
    try:
        tests = [_of_output(run, "test") for run in (first, second)]
        shared = [name for name in tests[0] if name in tests[1]]  # a column may have been left out of one
        same_table = first.data.fingerprint == second.data.fingerprint or {*tests[0]} == {*tests[1]}
        if not (shared and same_table) or not tests[0][shared].equals(tests[1][shared]):
            return "not known: the runs were not measured on the same test rows."
        predictions = [_of_output(run, "predictions") for run in (first, second)]
    except RequestError as error:
        return f"not known: {error}"
    from steps.promotion.chance import N_RESAMPLES, bootstrap, bootstrap_errors  # with numpy

    true = predictions[0]["true"].to_numpy()
    a, b = (frame["predicted"].to_numpy() for frame in predictions)
    if not len(tests[0]) == len(a) == len(b) > 0:
        return "not known: the runs have not kept a prediction of each test row."
    if (a == b).all():
        return "no difference: both models predict the same for every test row."
    try:
        low, high = (bootstrap if judged == "macro_f1" else bootstrap_errors)(true, a, b)
    except (TypeError, ValueError) as error:  # of classes that are no text, or none
        return f"not known: the predictions cannot be compared: {error}."
    digits = "4f" if judged == "macro_f1" else "4g"
    verdict = "larger than chance" if low > 0 or high < 0 else "not larger than chance"
    return (
        f"{verdict}: in 95% of {N_RESAMPLES:,} resamples of the same {len(true):,} test rows it lies "
        f"between {low:+.{digits}} and {high:+.{digits}} (paired bootstrap)."
    )


def _of_output(run: Run, name: str) -> "pd.DataFrame":
    for task in reversed(run.tasks):
        if name in task.outputs and task.item is None:
            frame = run.frame(task.title, name)
            if {*results.EXPECTED[name].columns} <= {*frame}:
                return frame
    raise RequestError(f"{run.run_id} has not kept its {name}.")
