"""Small functions that two steps name in their additional_funcs: KFP pastes their source in front of each."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def classes_of(labels: "pd.Series") -> list[Any]:
    """Return the distinct labels in order; the place of a class in this list is its code."""
    return sorted(labels.unique().tolist())


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
