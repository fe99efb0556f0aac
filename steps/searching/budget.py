"""How the time of a search is shared out: a part for what comes before and after, and the rest for three stages.

All is counted in the seconds that the tasks themselves have measured, those of a rung side by side on the cores.
"""

import math

# what reading, evaluation and promotion take, by the rows of the table
SECONDS_BESIDE, SECONDS_BESIDE_A_ROW = 5.0, 5e-5
MOST_BESIDE = 0.4  # of the whole
SHARES = (0.25, 0.65, 1.0)  # of the time for the search, until the first rung, the second and the refit are done
SECONDS_A_TASK = 0.5  # its start, and the reading of its rows
LEAST = 0.2  # of a second, for fitting


def for_search(minutes: float, n_rows: int) -> float:
    """Return the seconds for the search itself, of those of the whole run."""
    whole = 60 * minutes
    return whole - min(SECONDS_BESIDE + SECONDS_BESIDE_A_ROW * n_rows, MOST_BESIDE * whole)


def of_stage(stage: int, seconds: float, spent: float) -> float:
    """Return the seconds until a stage (0, 1 or 2) is to be done; what those before it have left over is in it."""
    return max(SHARES[stage] * seconds - spent, LEAST)


def each(seconds: float, n_tasks: int, side_by_side: int) -> float:
    """Return the seconds of fitting that each of some tasks has, if they are to be done in a time."""
    return max(seconds / math.ceil(n_tasks / side_by_side) - SECONDS_A_TASK, LEAST)


def taken(seconds: list[float], side_by_side: int) -> float:
    """Return the seconds that tasks of a rung have taken, one after the other on so many places."""
    places = [0.0] * side_by_side
    for of_task in seconds:
        places[places.index(min(places))] += of_task + SECONDS_A_TASK
    return max(places)
