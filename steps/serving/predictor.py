"""Answers requests with a model's predictions."""

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import to_json
from sklearn.pipeline import Pipeline

from steps.serving.rows import BadRequest, Reader, instances_of
from steps.serving.trees import JoinedTrees, share_encoder

PIECE = 1_000  # rows that are predicted at once; between them other requests have their turn
FEW = 100  # rows that the joined trees predict faster than the classifier


class Predictor:
    """A model, and how it answers. It is used by one thread at a time."""

    def __init__(self, model: Pipeline, facts: dict[str, Any]):
        """Args: the model, which is RawRows, Features and a classifier or regressor, and the facts of its folder."""
        self.read_raw, self.features, self.classifier = model
        self.is_quantity = facts.get("task") == "regression"
        self.classes = facts["classes"]
        self.reader = Reader(model, facts.get("na_values", ()))
        rows = self.features.transform(self.read_raw.transform(self.reader.table([facts["example"]])[0]))
        if self.is_quantity:
            self.joined = None
            self.classifier.predict_interval(rows)  # which warms it
        else:
            share_encoder(self.classifier)
            self.joined = self._joined(rows)

    def _joined(self, rows: pd.DataFrame) -> JoinedTrees | None:
        """Return the joined trees, if they predict an example as the classifier does; this warms both."""
        expected = self.classifier.predict_proba(rows)
        try:
            joined = JoinedTrees(self.classifier)
            if np.array_equal(joined.predict_proba(rows), expected):
                return joined
            why = "they predict the example otherwise"
        except (AttributeError, ImportError, TypeError, ValueError) as error:
            why = str(error)
        print(f"Single rows take longer: the trees cannot be joined, {why}.", file=sys.stderr, flush=True)
        return None

    def answer(self, body: bytes) -> Iterator[tuple[bytes, list[int]] | None]:
        """Give None between pieces of the work, and in the end the answer as JSON, and how often each class is in it.

        Of a quantity, the number of rows stands in place of those of each class.

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
            piece = rows.iloc[start : start + PIECE]
            parts.append(self._intervals(piece) if self.is_quantity else self._probabilities(piece))
        found = np.concatenate(parts)
        if self.is_quantity:
            by_class = [len(found)]
            predictions = [dict(zip(("predicted", "lower", "upper"), row, strict=True)) for row in found.tolist()]
        else:
            codes = found.argmax(axis=1)
            by_class = np.bincount(codes, minlength=len(self.classes)).tolist()
            predictions = [
                {"class": self.classes[code], "probabilities": dict(zip(self.classes, row, strict=True))}
                for code, row in zip(codes.tolist(), found.tolist(), strict=True)
            ]
        answer: dict[str, Any] = {"predictions": predictions}
        if told:
            print(*told, sep="\n", file=sys.stderr, flush=True)
            answer["metadata"] = {"warnings": told}  # which Vertex AI hands on
        yield to_json(answer, inf_nan_mode="null"), by_class

    def _intervals(self, rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.classifier.predict_interval(self.features.transform(rows)))

    def _probabilities(self, rows: pd.DataFrame) -> np.ndarray:
        features = self.features.transform(rows)
        return (self.joined if self.joined and len(rows) <= FEW else self.classifier).predict_proba(features)
