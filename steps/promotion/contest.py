"""A new model against the champion, on rows that neither was trained on."""

import os
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from steps import champions
from steps.champions import Champion
from steps.model_folder import TRAINING_ROWS, load_model, read_facts
from steps.places import local_path
from steps.promotion.judging import Verdict, judge, judge_quantity
from steps.promotion.rows import digest_of, row_hashes


def contest(
    place: str, folder: str, run: str, test: pd.DataFrame, predicted: np.ndarray, max_class_loss: float
) -> tuple[Verdict, Champion | None]:
    """Promote a model if it is better than the champion; return the verdict and who is champion now.

    Args:
        place: Path or gs:// address of champion.json; "" where no champion is kept.
        folder: Folder of the new model, the challenger.
        run: Id of the run that trained it, or the name of its job.
        test: Test rows, which the challenger was not trained on.
        predicted: What it predicts of them, classes as text, a quantity as numbers; shape (n_rows,).
        max_class_loss: F1 that a class may lose.

    Raises:
        ValueError: the champion's model or champion.json is damaged or was tampered with.
    """
    if not place:
        return Verdict("kept", ["no champion is kept: the parameter champion is empty"]), None
    facts = read_facts(folder)
    while True:
        champion = champions.read(place)
        if champion and champion.sha256 == facts["sha256"] and champions.folder_of(champion, place) == folder:
            return Verdict("promoted", [champion.reason]), champion  # by an attempt of this task that was lost then
        verdict = _verdict(champion, place, facts, test, predicted, max_class_loss)
        if verdict.name != "promoted":
            return verdict, champion
        new = champions.made(place, run, folder, facts["sha256"], facts["figures"], verdict.reasons[0])
        try:
            return verdict, champions.promote(place, new, champion)
        except champions.Changed:  # another run was promoted meanwhile: it is the one to beat
            continue


def _verdict(
    champion: Champion | None,
    place: str,
    facts: dict[str, Any],
    test: pd.DataFrame,
    predicted: np.ndarray,
    max_class_loss: float,
) -> Verdict:
    if champion is None:
        return Verdict("promoted", ["it is the first model"])
    if champion.sha256 == facts["sha256"]:
        return Verdict("tie", [f"it is the same file as the champion's, of {champion.run}"])
    of_champion = champions.folder_of(champion, place)
    former = read_facts(of_champion)
    by_hand = "Nothing was compared; to promote it all the same: python -m pipeline promote NAME RUN"
    if former["label"] != facts["label"]:
        labels = f"{former['label']!r}, and this model {facts['label']!r}"
        return Verdict("kept", [f"the champion predicts {labels}. {by_hand}"])
    tasks = [of.get("task", "classification") for of in (former, facts)]
    if tasks[0] != tasks[1]:
        return Verdict("kept", [f"the champion is of {tasks[0]}, and this model of {tasks[1]}. {by_hand}"])
    missing = [name for name in former["columns"] if name not in test]
    if missing:
        named = f"{missing[:10]}" + (f" and {len(missing) - 10:,} more" if len(missing) > 10 else "")
        return Verdict("kept", [f"the champion needs columns that today's table does not have: {named}. {by_hand}"])
    model = load_model(of_champion, champion.sha256)
    try:
        unseen, told = _unseen(model, of_champion, former, facts, test)
    except ValueError as error:
        return Verdict("kept", [f"the champion cannot read today's table: {error} {by_hand}"])
    if not unseen.any():
        return Verdict("kept", [f"{told} {by_hand}"])
    rows, predicted = test[unseen], predicted[unseen]
    if tasks[1] == "regression":
        verdict = judge_quantity(rows[facts["label"]].to_numpy(float), model.predict(rows), predicted)
    else:
        true = rows[facts["label"]].astype(str).to_numpy()
        verdict = judge(true, model.predict(rows).astype(str), predicted, max_class_loss)
    return verdict.with_reason(told) if told else verdict


def _unseen(
    model: Pipeline, folder: str, former: dict[str, Any], facts: dict[str, Any], test: pd.DataFrame
) -> tuple[np.ndarray, str]:
    """Return which test rows the champion was not trained on, and what is to be told of that."""
    hashes = row_hashes(model, test, facts["label"])
    if former["fingerprint"] == facts["fingerprint"] and former["test_rows"] == digest_of(hashes):
        return np.ones(len(test), dtype=bool), ""
    trained_on = np.load(os.path.join(local_path(folder), TRAINING_ROWS), allow_pickle=False)
    unseen = ~np.isin(hashes, trained_on)
    n_seen = int((~unseen).sum())
    if not n_seen:
        return unseen, ""
    if not unseen.any():
        return unseen, f"the champion was trained on rows equal to each of the {n_seen:,} test rows."
    return unseen, (
        f"{n_seen:,} of {len(test):,} test rows stand among the champion's training rows and were left out of the "
        "comparison"
    )
