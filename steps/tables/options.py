"""What the user says of how a table is written."""

from dataclasses import dataclass

from steps.cells import NA_VALUES


@dataclass(frozen=True)
class ReadOptions:
    """What the user says of how a table is written."""

    label: str = ""  # the column of the classes
    header: str = ""  # whether the first row names the columns, true or false; "" finds out
    names: tuple[str, ...] = ()  # of the columns of a file without a header
    na_values: tuple[str, ...] = NA_VALUES  # words that stand for a missing value in text files
