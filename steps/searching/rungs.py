"""How many candidates go on from one rung to the next."""

LEAST = 3


def n_next(n_candidates: int) -> int:
    """Return how many of some candidates go on where the time allows: the best third, but three at least."""
    return min(n_candidates, max(LEAST, -(-n_candidates // 3)))
