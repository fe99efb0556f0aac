"""Reading a table as most scripts do."""

from pathlib import Path

import pandas as pd


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, gzipped CSV or Parquet file; the first bytes tell which it is."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return pd.read_parquet(path)
    return pd.read_csv(path, compression="gzip" if magic[:2] == b"\x1f\x8b" else None)
