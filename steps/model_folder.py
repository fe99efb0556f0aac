"""The folder of a trained model: the model, and what is to be known and had to use it."""

import hashlib
import io
import json
import os
from typing import TYPE_CHECKING, Any

from steps.places import local_path

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MODEL = "model.joblib"
FACTS = "model.json"  # what the model is and takes, for programs
CARD = "model_card.md"  # the same for people
REFERENCE = "reference.parquet"  # some of the training rows, against which drift is measured
TRAINING_ROWS = "training_rows.npy"  # a hash of each
SCRIPT = "predict.py"
REQUIREMENTS = "requirements.txt"


def load_model(folder: str, sha256: str = "") -> "Pipeline":
    """Load a model, if its file has the SHA-256 that was recorded of it: loading one executes what it says.

    Args:
        folder: Folder of the model, here or gs://….
        sha256: SHA-256 of the file in hexadecimal; "" for that which the folder itself has recorded.

    Raises:
        ValueError: there is no such model, or its file is not the one that was recorded.
    """
    import joblib

    expected = sha256 or read_facts(folder)["sha256"]
    content = _content(folder, MODEL)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"{folder}/{MODEL} is not the file that was recorded: its SHA-256 is {found[:12]}…, expected "
            f"{expected[:12]}…. It is not loaded. Train again, or name another model."
        )
    return joblib.load(io.BytesIO(content))


def read_facts(folder: str) -> dict[str, Any]:
    """Return what a model's folder tells of it; see steps.promotion.folder.

    Raises:
        ValueError: it is no folder of a model.
    """
    try:
        facts: dict[str, Any] = json.loads(_content(folder, FACTS))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{folder}/{FACTS} is damaged: {str(error)[:200]}.") from None
    wanted = {"sha256": str, "classes": list, "columns": dict, "label": str}
    wrong = [name for name, kind in wanted.items() if not isinstance(facts, dict) or type(facts.get(name)) is not kind]
    if wrong:
        raise ValueError(f"{folder}/{FACTS} is damaged: it has no {' and no '.join(wrong)}.")
    return facts


def _content(folder: str, name: str) -> bytes:
    path = os.path.join(local_path(folder), name)
    if not os.path.isfile(path):
        raise ValueError(
            f"{folder} is no folder of a model: it has no {name}. Name one that promote-model has written."
        )
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"{folder}/{name} cannot be read: {error.strerror or error}.") from None
