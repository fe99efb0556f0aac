import pandas as pd
import pytest
from kfp.dsl import Dataset

from pipeline.templates.read_new_pipeline import read_new_pipeline


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_table_is_read(rows, artifact, tmp_path, ending):
    source, table = tmp_path / f"rows.{ending}", artifact(Dataset)
    rows.to_csv(source, index=False) if ending == "csv" else rows.to_parquet(source)

    read_new_pipeline.python_func(source=str(source), fingerprint="1", rows=table)

    assert pd.read_parquet(table.path).astype(str).equals(rows.astype(str))
    assert table.metadata == {"fingerprint": "1", "rows": len(rows), "columns": len(rows.columns)}
