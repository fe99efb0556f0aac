"""new_step is called as the plain function that it is, with real artifacts."""

import pandas as pd
import pytest
from kfp.dsl import Dataset

from pipeline.templates.new_step import new_step


def test_columns_with_too_few_values_are_left_out(artifact):
    frame = pd.DataFrame({"full": [1, 2, 3, 4], "half": [1, 2, None, None], "empty": [None] * 4})
    rows, result = artifact(Dataset, frame, source="here"), artifact(Dataset)

    assert new_step.python_func(rows=rows, result=result) == 1

    pd.testing.assert_frame_equal(pd.read_parquet(result.path), frame[["full", "half"]])
    assert result.metadata == {"source": "here", "rows": 4, "columns": 2}


def test_share_outside_of_0_to_1_is_refused(rows, artifact):
    table, result = artifact(Dataset, rows), artifact(Dataset)
    with pytest.raises(ValueError, match="max_missing is a share of the rows from 0 to 1, not 2"):
        new_step.python_func(rows=table, result=result, max_missing=2)
