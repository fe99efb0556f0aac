"""The first step of new_pipeline: read the table."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.places")
@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("pandas", "pyarrow"))
def read_new_pipeline(source: str, fingerprint: str, rows: Output[Dataset]) -> None:
    """Read a CSV or a Parquet file, here or in a bucket.

    Args:
        source: Path of the file, here or gs://….
        fingerprint: Digest of its content, so that a changed file is never taken from a cache.

    Returns:
        rows: The table as Parquet, with its numbers of rows and columns in the metadata.
    """
    import pandas as pd

    from steps.places import local_path

    read = pd.read_parquet if source.endswith((".parquet", ".pq")) else pd.read_csv
    frame = read(local_path(source))
    print(f"{len(frame):,} rows, {len(frame.columns):,} columns")

    frame.to_parquet(rows.path)
    rows.metadata.update(fingerprint=fingerprint, rows=len(frame), columns=len(frame.columns))
