"""The model that predicts: taken once from the place that is named, so that all steps of a run use the same."""

import os
import shutil

from sklearn.pipeline import Pipeline

from steps.champions import current
from steps.model_folder import FACTS, MODEL, REFERENCE, load_model
from steps.places import local_path


def take_model(place: str, sha256: str, folder: str) -> Pipeline:
    """Copy what predicting needs of a model into a folder, and load it.

    Args:
        place: Folder of a model, or a champion.json, which names the folder of the day; here or gs://….
        sha256: What the model's file must have, "" for what is recorded of it.
        folder: Folder to make; what is in it is gone.

    Raises:
        ValueError: there is no such model, it is no model of this project, or not the recorded one.
    """
    if place.endswith(".json"):
        place, recorded = current(place)
        sha256 = sha256 or recorded
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in (MODEL, FACTS, REFERENCE):
        try:
            shutil.copyfile(os.path.join(local_path(place), name), os.path.join(folder, name))
        except OSError as error:
            raise ValueError(
                f"{place} is no folder of a model: {name} cannot be read ({error.strerror or error}). "
                "Name the folder that promote-model has written."
            ) from None
    model = load_model(folder, sha256)
    require_own(model, place)
    return model


def require_own(model: object, place: str) -> None:
    """Check that a model is one that takes raw rows, as training makes them.

    Raises:
        ValueError: it is another.
    """
    is_own = (
        isinstance(model, Pipeline)
        and hasattr(model[0], "columns")
        and (hasattr(model, "predict_proba") or hasattr(model[-1], "predict_interval"))
    )
    if not is_own:
        raise ValueError(
            f"{place} holds a {type(model).__name__}, no model that takes raw rows. Name one that training has made."
        )
