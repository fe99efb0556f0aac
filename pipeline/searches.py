"""What a search has found, for a pipeline that fits it on other rows."""

import contextlib
import json
from dataclasses import dataclass

from pipeline import RequestError, files, history, runs
from pipeline.runs import Run
from pipeline.settings import Settings

CHOOSING, CHOSEN = "choose-models", "chosen"  # the task of a search that settles its members, and its output of them
NEWEST = {"latest": 0, "previous": 1}  # places among the searches, newest first
OF_MEMBER = ("name", "learner", "parameters", "weight", "rounds", "megabytes")


@dataclass(frozen=True)
class FoundSearch:
    """What a search has found."""

    run_id: str
    identifier: str
    members: str  # as JSON, as the step take-members takes it
    told: str  # its members, in words

    @property
    def title(self) -> str:
        """Which search it is, in words."""
        return f"{self.run_id} of {self.identifier}"


def find(settings: Settings, name: str) -> FoundSearch:
    """Return what a search has found.

    Args:
        settings: The settings.
        name: latest or previous of the searches, or the id of one or its beginning.

    Raises:
        RequestError: there is no such search, or it has found nothing.
    """
    identifier = settings.required("identifier")
    if name not in NEWEST:
        return of_run(runs.load(identifier, name, settings.runs_dir))
    found = [run for run in history.of(settings.runs_dir, identifier)[0] if _is_search(run)]
    if len(found) <= NEWEST[name]:
        has = "one search" if found else "no search"
        raise RequestError(
            f"--from-search {name}: {identifier} has {has} that came to a choice. "
            f"Search: python run.py --identifier {identifier} --pipeline search"
        )
    return of_run(found[NEWEST[name]])


def _is_search(run: Run) -> bool:
    return any(task.name == CHOOSING and CHOSEN in task.outputs and task.state == "succeeded" for task in run.tasks)


def of_run(run: Run) -> FoundSearch:
    """Return what a run has found.

    Raises:
        RequestError: it is no search that came to a choice, or its file is gone or damaged.
    """
    if not _is_search(run):
        raise RequestError(
            f"--from-search: the run {run.run_id} of {run.identifier} is no search that came to a choice: its pipeline "
            f"is {run.pipeline}, and it is {run.status}. Name a search, or latest."
        )
    task = next(task for task in reversed(run.tasks) if task.name == CHOOSING)
    path = run.output(task.title, CHOSEN)
    with contextlib.suppress(files.Damaged, ValueError, KeyError, TypeError):
        chosen = json.loads(files.text(path))
        members = [{key: member[key] for key in OF_MEMBER} for member in chosen["members"]]
        most = max(member["parameters"]["pairs"] for member in members)
        found = {"members": members, "pairs": chosen["pairs"][:most]}
        found |= {"exponent": chosen["exponent"], "n_rows": chosen["n_rows"]}
        told = ", ".join(f"{member['name']} ({member['weight']:.2f})" for member in members)
        return FoundSearch(run.run_id, run.identifier, json.dumps(found, sort_keys=True), told)
    raise RequestError(
        f"--from-search: what the search {run.run_id} has found cannot be read: {path}\n"
        "It is damaged, or of an older version. Search again."
    )
