"""Batch prediction beside predict_proba: python -m pipeline.benchmark.prediction MODEL SOURCE FOLDER ROUNDS"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from pyarrow import dataset

from pipeline.benchmark.rows import read_table
from steps.model_folder import load_model, read_facts
from steps.prediction.predicting import predict
from steps.prediction.rows import open_rows

FIGURES = "prediction.json"
PLAIN = "predict_proba of a table in memory"
BATCH = "predict_rows, from Parquet to Parquet"
WHOLE = "the same, with the reading of the file"


def main(model_folder: str, source: Path, folder: Path, rounds: int) -> None:
    """Measure one after another, round by round, in one process; write the rows per second as prediction.json.

    Raises:
        ValueError: they do not predict the same.
    """
    model, facts, frame = load_model(model_folder), read_facts(model_folder), read_table(source)
    rows, out = folder / "rows.parquet", str(folder / "out.parquet")
    frame.to_parquet(rows, index=False)
    expected = model.predict_proba(frame)  # also warms what is loaded late

    def whole() -> None:
        with TemporaryDirectory(dir=folder) as spilled:
            predict(model, open_rows(str(source), spilled, model[0].columns, facts).dataset, out)

    contestants = {
        PLAIN: lambda: model.predict_proba(frame),
        BATCH: lambda: predict(model, dataset.dataset(rows), out),
        WHOLE: whole,
    }
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            since = time.perf_counter()
            run()
            speeds[name].append(len(frame) / (time.perf_counter() - since))
            if name != PLAIN:
                found = pd.read_parquet(out).filter(like="probability_").to_numpy()
                np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=name)
    (folder / FIGURES).write_text(json.dumps(speeds), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
