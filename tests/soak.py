"""How many made-up cases a test runs: enough for each day, and many times that in a soak (`make soak`)."""

import os

TIMES = int(os.environ.get("PLANTPROOF_CASES", "1"))
"""How many times the cases of each day."""


def cases(daily: int) -> int:
    """Return how many cases to run where so many are run each day; the first ones of a soak are those."""
    return daily * TIMES
