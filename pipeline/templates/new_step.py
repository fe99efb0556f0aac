"""Leave out the columns that have too few values."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned


@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("pandas", "pyarrow"))
def new_step(rows: Input[Dataset], result: Output[Dataset], max_missing: float = 0.5) -> int:
    """Leave out the columns of a table in which too many values are missing.

    Args:
        rows: Table as Parquet.
        max_missing: Share of missing values that a column may have, from 0 to 1.

    Returns:
        result: The table without these columns as Parquet, with its numbers of rows and columns in the metadata.
        Output: Number of columns that were left out.
    """
    import pandas as pd

    if not 0 <= max_missing <= 1:
        raise ValueError(f"max_missing is a share of the rows from 0 to 1, not {max_missing}.")
    frame = pd.read_parquet(rows.path)
    missing = frame.isna().mean()
    left_out = [name for name, share in missing.items() if share > max_missing]
    print(f"{len(left_out)} of {len(missing)} columns are left out", *left_out, sep="\n")

    frame = frame.drop(columns=left_out)
    frame.to_parquet(result.path)
    result.metadata.update(rows.metadata, rows=len(frame), columns=len(frame.columns))
    return len(left_out)
