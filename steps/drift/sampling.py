"""An even sample of a table's rows, of any length."""

import numpy as np
import pandas as pd
from pyarrow import dataset
from sklearn.pipeline import Pipeline

from steps.prediction.rows import blocks, frame_of

MOST_ROWS, LEAST_ROWS, MOST_VALUES = 100_000, 10_000, 5_000_000


def even_sample(rows: dataset.Dataset, model: Pipeline) -> pd.DataFrame:
    """Return rows at even distances, as a model takes them raw; all of them where there are not many."""
    columns, n_rows = [*model[0].columns], rows.count_rows()
    most = min(MOST_ROWS, max(LEAST_ROWS, MOST_VALUES // max(1, len(columns))))
    wanted = np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(int))
    parts, begin = [], 0
    for block in blocks(rows, columns):
        inside = wanted[(wanted >= begin) & (wanted < begin + block.num_rows)] - begin
        parts.append(frame_of(block.take(inside), model))
        begin += block.num_rows
    return pd.concat(parts, ignore_index=True)
