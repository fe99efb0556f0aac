"""What the columns of a table are for, as the user named them."""

import difflib
from dataclasses import dataclass

# of each role what the column is and the flag that names it
ROLES = {
    "label": ("the column of the classes", "--label"),
    "weight": ("the column of the weights", "--set weight=COLUMN"),
    "split": ("the column of the order", "--set split_by=COLUMN"),
    "group": ("the column of the groups", "--set group_by=COLUMN"),
    "dropped": ("the columns to leave out", "--set drop=COLUMN"),
    "feature": ("the columns that stay", "--set keep=COLUMN"),
}


@dataclass(frozen=True)
class Roles:
    """Names of columns; "" is none."""

    label: str  # holds the classes
    weight: str = ""  # holds the weights of the rows
    split_by: str = ""  # puts the rows in order
    group_by: str = ""  # holds groups that stay together
    drop: tuple[str, ...] = ()  # left out
    keep: tuple[str, ...] = ()  # stay, though they look like identifiers

    def by_column(self, names: list[str]) -> dict[str, str]:
        """Return the role of each column that was named.

        Args:
            names: Names of the table's columns.

        Raises:
            ValueError: a column is not there, or has two roles.
        """
        found: dict[str, str] = {}
        named = {"weight": self.weight, "split": self.split_by, "group": self.group_by}
        asked = [("label", self.label), *((role, name) for role, name in named.items() if name)]
        asked += [*(("dropped", name) for name in self.drop), *(("feature", name) for name in self.keep)]
        for role, name in asked:
            what, flag = ROLES[role]
            if name not in names:
                raise ValueError(
                    f"No column {name!r} in the table; it has {_near(name, names)} Name {what} with {flag}."
                )
            if found.setdefault(name, role) != role:
                raise ValueError(
                    f"The column {name!r} is named as {found[name]} and as {role}. Name another one with {flag}."
                )
        return found


def _near(name: str, names: list[str]) -> str:
    """Return the names that there are, and the one that is nearest to one that is not there."""
    by_lower = {known.strip().lower(): known for known in reversed(names)}
    near = difflib.get_close_matches(name.strip().lower(), by_lower, n=1, cutoff=0.5)
    hint = f" Did you mean {by_lower[near[0]]!r}?" if near else ""
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "") + f".{hint}"
