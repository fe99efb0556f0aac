"""Answers requests with a model's predictions."""

import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import pandas as pd
from pydantic_core import to_json
from sklearn.pipeline import Pipeline
from threadpoolctl import ThreadpoolController

from steps.serving.rows import BadRequest, Reader, instances_of

PIECE = 1_000  # rows that are predicted at once; between them other requests have their turn
FEW = 100  # rows of which threads take more time than they save
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Predictor:
    """A model, and how it answers. It is used by one thread at a time."""

    def __init__(self, model: Pipeline, facts: dict[str, Any]):
        """Args: the model, which begins with RawRows and Features, and the facts of its folder."""
        self.read_raw, self.rest = model[0], model[1:]
        self.classes = facts["classes"]
        self.reader = Reader(model, facts.get("na_values", ()))
        self.threads = ThreadpoolController()
        _share(model[-1].estimators_)

    def answer(self, body: bytes) -> Iterator[tuple[bytes, list[int]] | None]:
        """Give None between pieces of the work, and in the end the answer as JSON, and how often each class is in it.

        Raises:
            BadRequest: the request cannot be answered.
        """
        table, told = self.reader.table(instances_of(body))
        # the one thread that predicts is the only one that uses warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                rows = self.read_raw.transform(table)
            except ValueError as error:
                raise BadRequest(str(error)) from None
        told += [str(warning.message) for warning in caught]
        parts = []
        for start in range(0, len(rows), PIECE):
            if start:
                yield None
            parts.append(self._probabilities(rows.iloc[start : start + PIECE]))
        probabilities = np.concatenate(parts)
        codes = probabilities.argmax(axis=1)
        answer = {
            "predictions": [
                {"class": self.classes[code], "probabilities": dict(zip(self.classes, row, strict=True))}
                for code, row in zip(codes.tolist(), probabilities.tolist(), strict=True)
            ]
        }
        if told:
            print(*told, sep="\n", file=sys.stderr, flush=True)
            answer["metadata"] = {"warnings": told}  # which Vertex AI hands on
        yield to_json(answer, inf_nan_mode="null"), np.bincount(codes, minlength=len(self.classes)).tolist()

    def _probabilities(self, rows: pd.DataFrame) -> np.ndarray:
        with self.threads.limit(limits=1 if len(rows) <= FEW else CORES, user_api="openmp"):
            return self.rest.predict_proba(rows)


class _Shared:
    """Encodes rows once for classifiers that were fitted on the same rows, and so encode them alike."""

    def __init__(self, preprocessor: Any):
        self.preprocessor, self.rows, self.encoded = preprocessor, None, None

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        if rows is not self.rows:
            self.rows, self.encoded = rows, self.preprocessor.transform(rows)
        return self.encoded


def _share(classifiers: list[Any]) -> None:
    """Let classifiers whose encoders are equal share one: of a single row, each takes longer than all the trees."""
    encoders = [getattr(classifier, "_preprocessor", None) for classifier in classifiers]
    if encoders[0] is not None and len({*map(joblib.hash, encoders)}) == 1:
        shared = _Shared(encoders[0])
        for classifier in classifiers:
            classifier._preprocessor = shared
