"""The members that a search has found, made ready to be fitted on the rows of another table of the same columns."""

from typing import Any

import numpy as np
import pandas as pd

NO_LIMIT = 7 * 86_400.0  # seconds of a member: the longest that a job runs


def refitted(found: dict[str, Any], X: pd.DataFrame, codes: np.ndarray, max_megabytes: float) -> dict[str, Any]:
    """Return what fit_member and combine_members take, as steps.searching.choosing.settle does of a search.

    The rounds stay, so that nothing is to be validated again. The divisors follow from the shares that the classes
    have now. A forest grows with its rows; where the model gets larger than it may, all members get fewer rounds.

    Args:
        found: What a search has found: members, pairs, exponent, and the number of its rows.
        X: Features of the training rows.
        codes: Classes of these rows.
        max_megabytes: Most megabytes of the model.

    Raises:
        ValueError: features that the members make others of are not there, or are no numbers.
    """
    numeric = {name for name, dtype in X.dtypes.items() if not isinstance(dtype, pd.CategoricalDtype)}
    most = max(member["parameters"]["pairs"] for member in found["members"])
    pairs = found["pairs"][:most]
    missing = sorted({name for _, *names in pairs for name in names} - numeric)
    if missing:
        raise ValueError(
            f"The members take sums, differences and ratios of {', '.join(map(repr, missing[:5]))}, which this table "
            "does not have as numbers. Give it these columns, or search anew: --pipeline search"
        )
    growth = len(X) / found["n_rows"]
    sizes = [one["megabytes"] * (growth if one["learner"] == "ExtraTrees" else 1) for one in found["members"]]
    room = min(1.0, max_megabytes / sum(sizes))
    if room < 1:
        print(f"The model would have {sum(sizes):,.0f} MB: all members get {room:.0%} of their rounds.")
    members = [
        one | {"rounds": max(1, int(one["rounds"] * room)), "rows": len(X), "seconds": NO_LIMIT}
        for one in found["members"]
    ]
    shares = np.bincount(codes) / len(codes)
    return {"members": members, "pairs": pairs, "divisors": (shares ** found["exponent"]).tolist()}
