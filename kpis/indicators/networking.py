"""Equipment networking rate (设备联网率): networked production equipment / production equipment.

Three states per device, all shown: connectable (an address is configured), connected (any row of its points in the
window that is not BadNoCommunication), evidenced (good samples in at least a share of its planned time). The headline
counts the evidenced. Definition: 中小企业数字化水平评测指标（2024年版）, 设备联网率; the share is the plant's rule and
stands in every result.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from config.plant import Asset, Plant
from config.schema import RESULT, UTC_NS
from config.status import BAD_NO_COMMUNICATION
from kpis.calendar import WORK, spans
from kpis.compute import assets_of
from kpis.intervals import Series, known, resolve, series, timeline

STATES = ("connectable", "connected", "evidenced")


def devices(plant: Plant, samples: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """Return one row per asset of the register: whether it counts, its three states, and the share behind them.

    samples: as for `kpis.facts.facts`; [start, end) in [ns since 1970, UTC].
    Columns: asset, name, kind, counted, excluded, connectable, connected, evidenced, share, first_good, last_good.
    """
    resolved = resolve(samples)
    found = series(resolved, uncertain_is_good=plant.uncertain == "good")
    inside = (pl.col("ts") >= pl.lit(start).cast(UTC_NS)) & (pl.col("ts") < pl.lit(end).cast(UTC_NS))
    spoke = set(resolved.filter(inside & (pl.col("status") != BAD_NO_COMMUNICATION))["point"].unique())
    rows = [_device(plant, asset, found, spoke, start, end) for asset in plant.assets]
    instants = {name: pl.col(name).cast(pl.Int64).cast(UTC_NS) for name in ("first_good", "last_good")}
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(**instants, share=pl.col("share").cast(pl.Float64))


def passes(plant: Plant, share: float | None) -> bool:
    """Return whether a device of this share of known planned time counts as networked."""
    return share is not None and share >= plant.networking.evidenced_share


def _device(
    plant: Plant, asset: Asset, found: dict[str, Series], spoke: set[str], start: int, end: int
) -> dict[str, object]:
    points = plant.points_of(asset.asset)
    share = _evidenced_share(plant, asset, found, start, end)
    good = [s.ts[s.good & (s.ts >= start) & (s.ts < end)] for p in points if (s := found.get(p.point)) is not None]
    times = np.concatenate(good) if good else np.empty(0, np.int64)
    return {
        "asset": asset.asset,
        "name": asset.name,
        "kind": asset.kind,
        "counted": asset.production and not asset.excluded,
        "excluded": asset.excluded or ("" if asset.production else "not production equipment"),
        "connectable": any(p.source and p.address for p in points),
        "connected": any(p.point in spoke for p in points),
        "evidenced": passes(plant, share),
        "share": share,
        "first_good": int(times.min()) if len(times) else None,
        "last_good": int(times.max()) if len(times) else None,
    }


def _evidenced_share(plant: Plant, asset: Asset, found: dict[str, Series], start: int, end: int) -> float | None:
    """Return the share of planned time in which any point of the asset was known; None without planned time."""
    planned = spans(plant, asset.asset, start, end)
    lines = [
        timeline(known(s, p.hold_ns), 0, start, end, unknown=1)
        for p in plant.points_of(asset.asset)
        if (s := found.get(p.point)) is not None
    ]
    cuts = np.unique(np.concatenate([planned.edges, *(line.edges for line in lines)]))
    work = planned.kind[np.searchsorted(planned.edges, cuts[:-1], "right") - 1] == WORK
    told = np.zeros(len(cuts) - 1, np.bool_)
    for line in lines:
        told |= line.code[np.searchsorted(line.edges, cuts[:-1], "right") - 1] == 0
    length = np.diff(cuts)
    total = int(length[work].sum())
    return int(length[work & told].sum()) / total if total else None


def rates(plant: Plant, table: pl.DataFrame, start: int, end: int, subjects: Sequence[str]) -> pl.DataFrame:
    """Return RESULT rows: the networking rate of each subject, and the connected and connectable rates beside it."""
    return pl.concat([pl.DataFrame(schema=dict(RESULT)), *(_rate(plant, table, start, end, s) for s in subjects)])


def _rate(plant: Plant, table: pl.DataFrame, start: int, end: int, subject: str) -> pl.DataFrame:
    mine = table.filter(pl.col("counted") & pl.col("asset").is_in(assets_of(plant, subject)))
    total = mine.height
    coverage = mine["share"].fill_null(0.0).mean() if total else None
    share = plant.networking.evidenced_share
    rules = {
        "evidenced": ("equipment_networking_rate", f"equipment_networking_rate@1 evidenced>={share:g}"),
        "connected": ("equipment_connected_rate", "equipment_connected_rate@1"),
        "connectable": ("equipment_connectable_rate", "equipment_connectable_rate@1"),
    }
    rows = []
    for state, (kpi, rule) in rules.items():
        n = int(mine[state].sum())
        value = n / total if total else None
        rows.append(
            {"kpi": kpi, "subject": subject, "period": "total", "start": start, "end": end, "value": value,
             "low": value, "high": value, "unit": "1", "numerator": float(n), "denominator": float(total),
             "coverage": coverage, "flags": [], "rule": rule}
        )  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"flags": pl.List(pl.String)}).cast(pl.Schema(RESULT))
