"""How many threads a task may use."""

import os


def n_threads() -> int:
    """Return how many threads a task may use: what its engine says, or the cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
