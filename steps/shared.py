"""Pure functions that several steps share; KFP pastes their source in front of each step that names them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def classes_of(labels: "pd.Series") -> list:
    """Return the distinct labels in order; the place of a class in this list is its code."""
    return sorted(labels.unique().tolist())
