"""Any table: read it, say what it is, hold it to an earlier one, and write what can be learned from as Parquet."""
