"""When a plant's devices were not known, one part of a period after the other, and what their rows said meanwhile."""

from collections.abc import Sequence

import polars as pl

from config.plant import Asset
from config.schema import UTC_NS
from config.status import GOOD, NAMES, SEVERITY_MASK
from kpis.indicators.evidenced import Lost
from kpis.intervals import Ints

SILENT, NO_VALUE = "silent", "no_value"
"""No row came; rows came that were good, but had neither number nor text."""
_NAMES = {number: name for name, number in NAMES.items()}
_CODE = 0xFFFF_0000
"""The lower half of a StatusCode tells no other status apart."""
_LOST = {name: pl.Int64() for name in ("asset", "begin", "end", "planned_ns")}
_SAID = {"asset": pl.Int64(), "begin": pl.Int64(), "status": pl.UInt32(), "rows": pl.Int64()}


class Gaps:
    """What was not known so far, and the statuses of the rows that came meanwhile."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lost = [pl.DataFrame(schema=_LOST)]
        self._said = [pl.DataFrame(schema=_SAID)]

    def add(self, lost: Lost, asset: Ints, ts: Ints, status: Ints) -> None:
        """Take what was not known in a part, and the rows of it that are not good.

        asset, ts, status: by number, [ns since 1970, UTC] and as StatusCode; arrays of length n, in no order.
        """
        pieces = pl.DataFrame(list(lost), schema=_LOST)
        self._lost.append(pieces)
        if not len(ts) or pieces.is_empty():
            return
        rows = pl.DataFrame({"asset": asset, "ts": ts, "status": status & _CODE}).sort("ts")
        within = rows.join_asof(
            pieces.sort("begin"), left_on="ts", right_on="begin", by="asset", check_sortedness=False
        )
        said = within.filter(pl.col("ts") < pl.col("end")).group_by("asset", "begin", "status").agg(rows=pl.len())
        self._said.append(said.select(pl.col(name).cast(kind) for name, kind in _SAID.items()))

    def table(self, assets: Sequence[Asset]) -> pl.DataFrame:
        """Return GAPS with planned time in them; what goes on over a part's end is one gap."""
        lost = pl.concat(self._lost).sort("asset", "begin")
        apart = (pl.col("begin") != pl.col("end").shift(1)) | (pl.col("asset") != pl.col("asset").shift(1))
        pieces = lost.with_columns(gap=apart.fill_null(value=True).cum_sum())
        gaps = pieces.group_by("gap", maintain_order=True).agg(
            pl.first("asset"), start=pl.first("begin"), end=pl.last("end"), planned_ns=pl.sum("planned_ns")
        )
        told = gaps.filter(pl.col("planned_ns") > 0).join(self._causes(pieces), on="gap", how="left")
        told = told.sort("asset", "start")
        names = pl.Series("asset", [asset.asset for asset in assets], dtype=pl.String)
        cause = pl.col("cause").fill_null(SILENT)
        return told.select(names.gather(told["asset"]), pl.col("start", "end").cast(UTC_NS), "planned_ns", cause)

    def _causes(self, pieces: pl.DataFrame) -> pl.DataFrame:
        """Return what most rows of each gap said: of as many, what has the lowest StatusCode."""
        rows = pl.concat(self._said).join(pieces.select("asset", "begin", "gap"), on=["asset", "begin"])
        counted = (
            rows.group_by("gap", "status")
            .agg(pl.sum("rows"))
            .sort("gap", "rows", "status", descending=[False, True, False])
        )
        first = counted.group_by("gap", maintain_order=True).agg(pl.first("status"))
        causes = {status: cause_of(status) for status in first["status"].unique()}
        cause = pl.col("status").replace_strict(causes, default=None, return_dtype=pl.String)
        return first.select("gap", cause=cause)


def cause_of(status: int) -> str:
    """Return the name of a status that is not good, its number where it has no name here."""
    if status & SEVERITY_MASK == GOOD:
        return NO_VALUE
    return _NAMES.get(status & _CODE, f"0x{status:08X}")
