"""Raw values to the unit of the point table: scale and offset, and integers that a float64 cannot hold."""

from collections.abc import Sequence
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

from config.plant import Point

EXACT_LIMIT = 2**53
"""Every integer up to this size is a float64; above it some are not."""

_DECIMAL = Context(prec=60)


class Scaling:
    """Scale and offset of a connector's points: value = raw * scale + offset.

    A scale that is one over a whole number divides instead: 1234 at scale 0.01 is 12.34, not 12.34 and a bit.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        """Take the points in the connector's order."""
        scales = np.array([point.scale for point in points], np.float64)
        whole = np.rint(np.divide(1.0, scales, out=np.zeros_like(scales), where=scales != 0))
        inverse = np.divide(1.0, whole, out=np.zeros_like(whole), where=whole != 0)
        divides = (np.abs(whole) > 1) & (inverse == scales)
        self.factor = np.where(divides, 1.0, scales)
        self.divisor = np.where(divides, whole, 1.0)
        self.offset = np.array([point.offset for point in points], np.float64)
        self.none = bool(np.all(scales == 1.0) and np.all(self.offset == 0.0))
        self._points = points

    def apply(self, positions: NDArray[np.intp], raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values [the points' units] of raw numbers; without scale and offset the bits stay."""
        if self.none:
            return raw
        return _scaled(raw, self.factor[positions], self.divisor[positions], self.offset[positions])

    def apply_all(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of one raw number of each point, in the points' order."""
        return raw if self.none else _scaled(raw, self.factor, self.divisor, self.offset)

    def exact(self, position: int, raw: int) -> str:
        """Return all digits of a raw integer's value, for integers beyond EXACT_LIMIT."""
        point = self._points[position]
        if point.scale == 1.0 and point.offset == 0.0:
            return str(raw)
        scaled = _DECIMAL.multiply(Decimal(raw), Decimal(repr(point.scale)))
        return format(_DECIMAL.add(scaled, Decimal(repr(point.offset))), "f")


def _scaled(
    raw: NDArray[np.float64], factor: NDArray[np.float64], divisor: NDArray[np.float64], offset: NDArray[np.float64]
) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):  # what overflows is infinite
        value = raw * factor / divisor
        result: NDArray[np.float64] = np.where(offset == 0.0, value, value + offset)
    return result
