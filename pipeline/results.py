"""What follows from the outputs of a run's tasks: figures, model, schema and report, by the names in one table.

No step has to have such outputs. One of such a name without what is expected of it is the step's own affair.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import RequestError, files, graph, history, prices, report, storage
from pipeline.runs import SPEC, Artifact, Candidate, Predicted, Run, Task, Verdict
from steps.tables.fingerprints import sha256
from steps.tables.schema import read_schema


@dataclass(frozen=True)
class Expected:
    """What makes an output a result of its run; its task has succeeded and stands in no loop."""

    schema_title: str = ""  # of its type; "" for any
    metadata: Mapping[str, type] = field(default_factory=dict)
    file: str | None = None  # what must be there, below its place: "" for itself, else the metadata with the name
    columns: tuple[str, ...] = ()  # of the table that it is; seen only when the table is read


EXPECTED = {
    "dataset": Expected(metadata={"rows": int}),  # rows of the table
    "schema": Expected(metadata={"columns": int, "notes": int}, file=""),  # what the table's columns are, as JSON
    "test": Expected(metadata={"duplicates_in_train": int}),  # its rows that stand in the training part as well
    "model": Expected(metadata={"file": str}, file="file"),  # and, of a classifier, classes: their names by code
    "metrics": Expected(schema_title="system.Metrics"),  # f1_3 is the f1 of the class of code 3, where each has one
    "report": Expected(schema_title="system.HTML", file=""),
    "verdict": Expected(metadata={"verdict": str, "reasons": list}),  # whether the model became the champion, and why
    "leaderboard": Expected(metadata={"metric": str, "candidates": list}),  # of a search
    "predicted": Expected(metadata={"file": str, "rows": int, "classes": list, "class_mix": list}, file="file"),
    "drift": Expected(metadata={"verdict": str}),  # of the rows that were predicted
    "predictions": Expected(columns=("true", "predicted")),
}

# names of evaluate_model's figures that have places of their own where they are shown
HEADLINES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
HEADLINES |= {"r2": "R²", "mean_absolute_error": "MAE", "interval_coverage": "in the interval"}
SHOWN_AS = HEADLINES | {
    "mean_f1": "mean F1",
    "root_mean_squared_error": "RMSE",
    "mean_squared_error": "MSE",
    "median_absolute_error": "median absolute error",
    "interval_width": "width of the interval",
    "baseline_r2": "R² of always the median",
    "baseline_mean_absolute_error": "MAE of always the median",
    "baseline_root_mean_squared_error": "RMSE of always the median",
    "baseline_mean_squared_error": "MSE of always the median",
}
OF_CLASSES = ("rows", "precision", "recall", "f1")
MORE_OF_CLASSES = ("average_precision", "rest_precision", "rest_recall", "rest_f1", "rest_average_precision")


def conclude(run: Run) -> list[str]:
    """Fill in the results of a run that has ended, and complete its report.

    Returns:
        What could not be taken of its outputs, in words.
    """
    notes: list[str] = []
    for name, take in {"dataset": _take_rows, "test": _take_duplicates, "schema": _take_schema}.items():
        _take(run, name, take, notes)
    classes: list[str] = []

    def take_model(run: Run, model: Artifact) -> None:
        run.model_file = f"{model.uri}/{model.metadata['file']}"
        _record_sha256(run, run.model_file, model)
        classes[:] = _classes(model)

    # one that names its classes last, so that it stands before others
    _take(run, "model", take_model, notes, order=lambda model: bool(_classes(model)))
    _take(run, "predictions", _take_predictions, notes)
    _take(run, "verdict", _take_verdict, notes)
    _take(run, "leaderboard", _take_leaderboard, notes)
    _take(run, "predicted", _take_predicted, notes)
    _take(run, "drift", _take_drift, notes)
    run.metrics = _metrics(run.tasks, classes) or None
    _take(run, "report", _keep_report, notes)
    return notes


def _take(
    run: Run,
    name: str,
    take: Callable[[Run, Artifact], None],
    notes: list[str],
    order: Callable[[Artifact], Any] = lambda _: 0,
) -> None:
    """Take what a run has of the outputs of a name; one that cannot be taken costs no more than itself."""
    for output in sorted(_taken(run, name), key=order):
        try:
            take(run, output)
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            notes.append(f"the {name} of {run.run_id} cannot be used: {reason}")


def _take_rows(run: Run, dataset: Artifact) -> None:
    run.data.rows = int(dataset.metadata["rows"])


def _take_duplicates(run: Run, test: Artifact) -> None:
    run.data.duplicates = int(test.metadata["duplicates_in_train"])


def _take_schema(run: Run, schema: Artifact) -> None:
    if not storage.is_object(schema.uri):
        read_schema(schema.uri).all_notes()  # as those who show it will
    run.schema_file = schema.uri


def _taken(run: Run, name: str) -> list[Artifact]:
    """Return the outputs of that name with what is expected of it, in the order of their tasks: the last one counts."""
    outputs = (task.artifacts[name] for task in run.tasks if _is_single(task) and name in task.artifacts)
    # a job's files are in a bucket: a path that it names would be one of this machine
    return [
        output for output in outputs if _fits(output, EXPECTED[name]) and (not run.job or storage.is_object(output.uri))
    ]


def _is_single(task: Task) -> bool:
    return task.item is None and task.state == "succeeded"


def _fits(output: Artifact, expected: Expected) -> bool:
    if expected.schema_title not in ("", output.schema_title):
        return False
    if not all(_is(output.metadata.get(key), kind) for key, kind in expected.metadata.items()):
        return False
    if expected.file is None:
        return True
    inside = Path(output.metadata.get(expected.file, ""))
    if inside.is_absolute() or ".." in inside.parts:
        return False
    return storage.is_object(output.uri) or Path(output.uri, inside).is_file()


def _is(value: Any, kind: type) -> bool:
    if kind is int:  # a service has one kind of number
        return type(value) in (int, float) and float(value).is_integer()
    return isinstance(value, kind)


def _classes(model: Artifact) -> list[str]:
    classes = model.metadata.get("classes")
    return classes if isinstance(classes, list) and all(isinstance(name, str) for name in classes) else []


def _take_verdict(run: Run, verdict: Artifact) -> None:
    told = verdict.metadata
    run.verdict = Verdict(**{name: told[name] for name in Verdict.model_fields if name in told})


def _take_leaderboard(run: Run, leaderboard: Artifact) -> None:
    told = leaderboard.metadata
    run.leaderboard = [Candidate.model_validate(candidate) for candidate in told["candidates"]]
    if run.profile:
        of_second, run.leaderboard_prices = prices.of_candidates(run.profile)
        for candidate in run.leaderboard:
            candidate.usd = round(candidate.seconds * of_second, 6)


def _take_predictions(run: Run, predictions: Artifact) -> None:
    _record_sha256(run, predictions.uri, predictions)


def _take_predicted(run: Run, predicted: Artifact) -> None:
    told = predicted.metadata
    file, class_mix = f"{predicted.uri}/{told['file']}", dict(zip(told["classes"], told["class_mix"], strict=True))
    run.predicted = Predicted(file=file, rows=int(told["rows"]), class_mix=class_mix)
    _record_sha256(run, file, predicted)


def _take_drift(run: Run, drift: Artifact) -> None:
    if run.predicted:
        run.predicted.drift = drift.metadata["verdict"]


def _record_sha256(run: Run, uri: str, artifact: Artifact) -> None:
    """Record the SHA-256 of a file that is loaded later: of an object, what its step tells of it."""
    told = artifact.metadata.get("sha256")
    if not storage.is_object(uri):
        if Path(uri).is_file():
            run.sha256[uri] = sha256(uri)
    elif isinstance(told, str):
        run.sha256[uri] = told


def _keep_report(run: Run, page: Artifact) -> None:
    path = run.folder / "report.html"
    if not storage.is_object(page.uri):
        shutil.copyfile(page.uri, path)
    elif storage.find(page.uri):
        storage.fetch(page.uri, path)
    elif storage.find(f"{page.uri}/"):  # a folder
        return
    else:
        raise FileNotFoundError(f"there is no object {page.uri}")
    run.report = str(path)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:  # it has no places of ours
        return
    spec = graph.load(run.folder / SPEC) if (run.folder / SPEC).exists() else None
    files.write(path, report.complete(text, run, history.former(run), spec))


def _metrics(tasks: list[Task], classes: list[str]) -> dict[str, Any]:
    """Gather what tasks have logged as Metrics, so that none takes the place of another.

    Those of outputs named metrics stand under their names; where several tasks log the same name so, that of the one
    with figures of each class does. What is left, in loops too, stands under the title of its task.
    """
    named = [task for task in tasks if _is_single(task) and "metrics" in _logged(task)]
    main = [task for task in named if _by_class(_logged(task)["metrics"], classes) != _logged(task)["metrics"]]
    times = Counter(name for task in named for name in _logged(task)["metrics"])
    of_run: dict[str, Any] = {}
    of_tasks: dict[str, dict[str, Any]] = {}
    for task in tasks:
        logged = _logged(task)
        if task in named:
            taken = {name: value for name, value in logged["metrics"].items() if times[name] == 1 or main == [task]}
            of_run |= taken
            logged["metrics"] = {name: value for name, value in logged["metrics"].items() if name not in taken}
        if figures := _of_outputs(logged):
            of_tasks[_free(task.title, of_tasks)] = figures
    metrics = _by_class(of_run, classes)
    for title, figures in of_tasks.items():
        metrics[_free(title, metrics)] = figures
    return metrics


def _logged(task: Task) -> dict[str, dict[str, Any]]:
    """Return what a task has logged by the names of its outputs."""
    outputs = {name: output for name, output in sorted(task.artifacts.items()) if _fits(output, EXPECTED["metrics"])}
    return {name: dict(output.metadata) for name, output in outputs.items()}


def _of_outputs(logged: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of several outputs by their names, with the output's before one that several have."""
    times = Counter(name for figures in logged.values() for name in figures)
    return {
        name if times[name] == 1 else f"{output} {name}": value
        for output, figures in logged.items()
        for name, value in figures.items()
    }


def _free(name: str, taken: Iterable[str]) -> str:
    """Return a name, with a number behind it where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return free


def _by_class(figures: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    """Gather figures named like f1_3, one for each class, under their names: {"f1": {"Aspen": 0.8}}."""
    metrics: dict[str, Any] = {}
    for name, value in sorted(figures.items()):  # a service returns them in any order
        group, _, code = name.rpartition("_")
        names = [f"{group}_{place}" for place in range(len(classes))]
        is_one_of_all = (
            group and name in names and figures.keys() >= {*names} and f"{group}_{len(names)}" not in figures
        )
        if not is_one_of_all or group in figures:
            metrics[name] = value
        elif code == "0":
            of_classes = [figures[of_class] for of_class in names]
            if group == "rows" and all(_is(count, int) for count in of_classes):
                of_classes = [*map(int, of_classes)]
            metrics[group] = dict(zip(classes, of_classes, strict=True))
    return metrics


def schema_of(run: Run) -> str:
    """Return the place of the schema that a run has left.

    Raises:
        RequestError: it has none.
    """
    place = run.schema_file
    if not place or not (storage.is_object(place) or Path(place).exists()):
        raise RequestError(
            f"--set schema_from: the run {run.run_id} of {run.identifier} has no schema: its prepare-data did not "
            "succeed, or it is older than schemas. Name another run."
        )
    return place


def figures(run: Run) -> dict[str, Any]:
    """Return the overall figures of a run by the names that they are shown as: evaluate_model's, then all others."""
    metrics = run.metrics or {}
    return {shown: metrics[name] for name, shown in SHOWN_AS.items() if is_number(metrics.get(name))} | own(run)


def own(run: Run) -> dict[str, Any]:
    """Return the figures of a run that evaluate_model knows nothing of, by the names that they are shown as."""
    found: dict[str, Any] = {}
    for name, value in (run.metrics or {}).items():
        if not isinstance(value, dict):
            found |= {} if name in SHOWN_AS else {name: value}
        elif name not in (*OF_CLASSES, *MORE_OF_CLASSES):
            found |= {f"{name} {inner}": of_inner for inner, of_inner in value.items()}
    return found


def of_classes(run: Run) -> dict[str, tuple[Any, ...]]:
    """Return the rows, precision, recall and F1 of each class; none where the run has not all of them as numbers."""
    columns: list[Any] = [(run.metrics or {}).get(name) for name in OF_CLASSES]
    if not all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns):
        return {}
    if not all(is_number(value) for column in columns for value in column.values()):
        return {}
    return {name: tuple(column[name] for column in columns) for name in columns[0]}


def is_number(value: object) -> bool:
    """Return whether a figure is one that can be compared: a step may log anything, 1e400 and NaN among them."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
