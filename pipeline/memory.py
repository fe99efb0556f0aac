"""The memory that each step of the training takes: an estimate before a run, held against its machine.

A step takes what its packages do, and so many bytes a value of the table, measured by python -m
pipeline.benchmark.growth. A column of text counts as the 30 numbers that it becomes. Others' steps, and forests, are
not known.
"""

from typing import Any

from pipeline import graph, prices
from pipeline.profiles import GB
from steps.tables.schema import Schema

OF_PACKAGES = GB // 4
BYTES_PER_VALUE = {  # of 2,905,060 rows of 13 columns, 2026-11-27
    "prepare-data": 13,
    "split-data": 18,
    "preprocess": 28,
    "train-model": 19,
    "combine-models": 1,
    "evaluate-model": 9,
    "promote-model": 26,
}
# beside the rest of train-model, of 20 million values, the most that steps.regression gives a forest, 2026-11-26
FOREST_OF_A_QUANTITY = 900_000_000
TEXT = 30  # numbers of a column of text
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")  # text, which is about this many times as long unpacked
UNPACKED = 4
MOST_PER_BYTE = 40  # bytes of memory that a byte of a file may take: a packed one of numbers takes about 25


def rows_of(read: int, n_bytes: int, name: str, most_bytes: int) -> int:
    """Return about how many rows a table has, of which only so many were read.

    Args:
        read: Rows that were read.
        n_bytes: Size of all its files.
        name: Its name, which tells packed files.
        most_bytes: How many bytes were read, of text that is packed after it was unpacked.
    """
    return int(read * max(1, n_bytes * (UNPACKED if name.lower().endswith(PACKED) else 1) / most_bytes))


def values_of(schema: Schema, n_rows: int) -> int:
    """Return the number of values to learn from."""
    return n_rows * sum(TEXT if column.type == "text" else 1 for column in schema.kept)


def of_step(step: str, n_values: int) -> int:
    """Return about how many bytes one task of a step takes; 0 of a step that is not known."""
    return OF_PACKAGES + BYTES_PER_VALUE[step] * n_values if step in BYTES_PER_VALUE else 0


def of_run(n_values: int, at_once: int) -> int:
    """Return about how many bytes a run takes on one machine, with so many models trained at once."""
    alone = max(BYTES_PER_VALUE.values()) * n_values
    together = at_once * BYTES_PER_VALUE["train-model"] * n_values
    return 2 * OF_PACKAGES + max(alone, together)


def too_small(spec: dict[str, Any], n_values: int) -> list[str]:
    """Say which machines of a compiled spec have less memory than their tasks take; the largest lack first.

    Args:
        spec: The compiled spec, with the limits of its machines.
        n_values: Values of the table.
    """
    found: dict[str, tuple[int, str]] = {}
    for node in graph.nodes(spec):
        try:
            has = prices.amount(node.memory, is_memory=True) * GB
        except ValueError:
            continue  # no limit, or a parameter
        step = max(node.steps, key=lambda inside: of_step(inside.step, n_values)).step
        needs = of_step(step, n_values)
        if needs > has:
            found[step] = needs, f"{step} takes about {needs / GB:,.1f} GB, and its machine has {has / GB:,.0f} GB"
    return [told for _, told in sorted(found.values(), reverse=True)]


def may_lack(n_bytes: int) -> bool:
    """Return whether this machine may have too little memory for a table whose files have so many bytes."""
    return n_bytes * MOST_PER_BYTE > GB and n_bytes * MOST_PER_BYTE > of_machine()


def of_machine() -> int:
    """Return how many bytes of memory this machine has."""
    import psutil

    return psutil.virtual_memory().total
