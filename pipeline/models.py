"""Which model is meant: the champion of an identifier, that of a run, or one that lies somewhere."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import RequestError, history, results, runs, storage
from pipeline.answers import answers_told
from pipeline.runs import Run
from pipeline.settings import Settings
from steps import champions
from steps.champions import Champion
from steps.model_folder import FACTS, MODEL, read_facts

CHAMPION = "champion"
NEWEST = {"latest": 0, "previous": 1}  # places among the runs that train, newest first
PARAMETERS = {"model", "sha256"}  # of a pipeline that uses a trained model


@dataclass(frozen=True)
class FoundModel:
    """A model, and how its file is known again."""

    folder: str  # path or gs:// address
    sha256: str  # of its model.joblib
    title: str  # what it is, in words


def champion_place(settings: Settings) -> str:
    """Return the path or address of an identifier's champion.json, where the chosen engine keeps it."""
    if settings.chosen_engine()[0] == "vertex":
        return f"gs://{settings.bucket}/{settings.identifier}/{champions.FILE}"
    return str(Path(settings.runs_dir, settings.required("identifier"), champions.FILE).absolute())


def find(settings: Settings, name: str = CHAMPION) -> FoundModel:
    """Return a model.

    Args:
        settings: The settings; those of the engine say where the champion is.
        name: champion, latest, previous, the id of a run or the beginning of one, or the path or gs:// address of a
            model's folder or of its file.

    Raises:
        RequestError: there is no such model.
    """
    if name == CHAMPION:
        champion = read_champion(champion_place(settings))
        if champion is None:
            raise RequestError(
                f"{settings.identifier} has no champion yet. Train one: python run.py --identifier "
                f"{settings.identifier}, or name a model."
            )
        folder = champions.folder_of(champion, champion_place(settings))
        return FoundModel(folder, champion.sha256, f"the champion of {settings.identifier}, of {champion.run}")
    if "/" in name or Path(name).exists():
        folder = name.rstrip("/").removesuffix(f"/{MODEL}") if name != MODEL else "."
        return FoundModel(folder, sha256_of(folder), folder)
    if name in NEWEST:
        found, _ = history.of(settings.runs_dir, settings.required("identifier"))
        name = next((run.run_id for run in _training(found)[NEWEST[name] :]), name)
    return of_run(runs.load(settings.required("identifier"), name, settings.runs_dir))


def _training(found: list[Run]) -> list[Run]:
    """Return the runs that may have trained a model; those of a prediction, which stand between them, use one."""
    return [run for run in found if not run.parameters.keys() >= PARAMETERS]


def of_run(run: Run) -> FoundModel:
    """Return the model that a run has handed on.

    Raises:
        RequestError: it has none.
    """
    file = run.model_file or ""
    if not file.endswith(f"/{MODEL}") or file not in run.sha256:
        raise RequestError(
            f"The run {run.run_id} of {run.identifier}, {run.status}, has handed on no model: {run.pipeline} has no "
            "promote-model, or did not come to it. Name another run."
        )
    return FoundModel(file.removesuffix(f"/{MODEL}"), run.sha256[file], f"the model of {run.run_id}")


def sha256_of(folder: str) -> str:
    """Return what a model's folder has recorded as the SHA-256 of its file.

    Raises:
        RequestError: it is no folder of a model.
    """
    with TemporaryDirectory() as here:
        if storage.is_object(folder):
            try:
                with answers_told(folder, "The model"):
                    storage.fetch(f"{folder}/{FACTS}", Path(here, FACTS))
            except FileNotFoundError as error:
                raise RequestError(f"{folder} is no folder of a model: {error}") from None
            folder = here
        try:
            sha256: str = read_facts(folder)["sha256"]
            return sha256
        except ValueError as error:
            raise RequestError(str(error)) from None


def read_champion(place: str) -> Champion | None:
    """Return the champion that a champion.json names; None where there is none.

    Raises:
        RequestError: the file is damaged.
    """
    with answers_told(place, "The champion"):
        try:
            return champions.read(place)
        except ValueError as error:
            raise RequestError(str(error)) from None


def champion_told(place: str, columns: Collection[str]) -> str:
    """Return who the champion is that a new model will be compared with, and what it will lack in a table.

    Args:
        place: Path or gs:// address of champion.json.
        columns: Those of the table.

    Raises:
        RequestError: champion.json is damaged, or its model's folder is gone or is none.
    """
    champion = read_champion(place)
    if champion is None:
        return "none yet; the first model promotes itself"
    try:
        wanted = read_facts(champions.folder_of(champion, place))["columns"]
    except ValueError as error:
        raise RequestError(f"{error} To promote another by hand: python -m pipeline promote NAME RUN") from None
    missing = [name for name in wanted if name not in columns]
    if not missing:
        return f"of {champion.run}; a new model is compared with it"
    more = f" and {len(missing) - 10:,} more" if len(missing) > 10 else ""
    return f"of {champion.run}; it needs columns that are not there, so it stays uncompared: {missing[:10]}{more}"


def copied_champion(place: str, folder: Path) -> str:
    """Return the place of a copy of champion.json below a folder, which names the same model; "" where there is none.

    Raises:
        RequestError: the file is damaged.
    """
    champion = read_champion(place)
    if champion is None:
        return ""
    model = champions.folder_of(champion, place)
    if storage.is_object(model):
        with answers_told(model, "The model"):
            model = str(storage.fetch_all(model, folder / "champion" / "model"))
    copy = str(folder / "champion" / champions.FILE)
    champions.promote(copy, replace(champion, model=model), None)
    return copy


def promote(settings: Settings, run: Run) -> tuple[Champion, Champion | None]:
    """Make the model of a run the champion, whatever its figures; return the champion and the one before it.

    Raises:
        RequestError: the run has no model, or it is the champion's.
    """
    place, found = champion_place(settings), of_run(run)
    names = (*results.HEADLINES, "f1")
    figures = {name: value for name, value in (run.metrics or {}).items() if name in names}
    while True:
        former = read_champion(place)
        if former and former.sha256 == found.sha256 and champions.folder_of(former, place) == found.folder:
            raise RequestError(f"The model of {run.run_id} is the champion of {run.identifier} already.")
        new = champions.made(place, run.run_id, found.folder, found.sha256, figures, "promoted by hand")
        try:
            return champions.promote(place, new, former), former
        except champions.Changed:  # a run was promoted meanwhile, and goes into the history
            continue


def roll_back(settings: Settings) -> tuple[Champion, Champion]:
    """Make the champion before the present one the champion again; return both, the withdrawn one last.

    Raises:
        RequestError: there is none before it, or a run was promoted meanwhile.
    """
    try:
        return champions.roll_back(champion_place(settings))
    except ValueError as error:
        raise RequestError(str(error)) from None
    except champions.Changed:
        raise RequestError(
            "Another model was promoted meanwhile. Look at it, and roll back again if you mean it."
        ) from None
