"""What the tasks of a rung are to do, as a file."""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Plan:
    """The candidates of a search, and what a rung gives each of them."""

    candidates: list[dict[str, Any]]  # all that were proposed, with name, learner and parameters
    pairs: list[tuple[str, str, str]]  # of features by their names, the best first
    metric: str
    seconds: float  # of the whole search
    side_by_side: int  # tasks
    spent: float  # of these seconds, until the rung begins
    rung: int
    rows: int  # at most, to fit on
    folds: int  # that are validated
    each: float  # seconds of a candidate, its folds together

    def candidate(self, name: str) -> dict[str, Any]:
        """Return the candidate of a name."""
        return next(candidate for candidate in self.candidates if candidate["name"] == name)

    def write(self, path: str) -> None:
        """Write it as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)


def read_plan(path: str) -> Plan:
    """Read a plan."""
    with open(path, encoding="utf-8") as file:
        return Plan(**json.load(file))
