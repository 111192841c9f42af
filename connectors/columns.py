"""Small work on parallel arrays that connectors and the collector share."""

import numpy as np
from numpy.typing import NDArray


def rounds(points: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return positions so that each round holds a point once, and rounds keep the order of each point's rows."""
    order = np.argsort(points, kind="stable")
    ordered = points[order]
    fresh = np.ones(len(points), np.bool_)
    fresh[1:] = ordered[1:] != ordered[:-1]
    starts = np.maximum.accumulate(np.where(fresh, np.arange(len(points)), 0))
    nth = np.arange(len(points)) - starts
    if not nth.any():
        return [np.arange(len(points))]
    by_round = np.argsort(nth, kind="stable")
    edges = np.flatnonzero(np.diff(nth[by_round])) + 1
    return [np.sort(order[part]) for part in np.split(by_round, edges)]
