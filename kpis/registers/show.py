"""What the registers hold: counts, excluded rows with their reasons, and the rows themselves."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from rich.markup import escape
from rich.table import Table

from config.plant import Asset, Plant
from config.registers import Loop, Meter, Process
from kpis.indicators.counting import out_of_use, uncounted
from kpis.indicators.said import NOTHING

KINDS = ("assets", "processes", "loops", "meters")
_SHOWN: Mapping[str, Sequence[str]] = {
    "assets": ("asset", "name", "process", "production", "key_equipment", "control", "digital", "in_use_from",
               "in_use_until", "excluded", "approved_by", "approved_at"),
    "processes": ("process", "name", "key", "kind", "excluded", "approved_by", "approved_at"),
    "loops": ("loop", "name", "asset", "process", "excluded", "approved_by", "approved_at"),
    "meters": ("meter", "name", "point", "level", "use", "excluded", "approved_by", "approved_at"),
}  # fmt: skip
_WORDS = {True: "yes", False: "no", None: ""}

Row = Asset | Process | Loop | Meter


def production(assets: Sequence[Asset], day: dt.date) -> list[Asset]:
    """Return the assets that are production equipment which counts on a production day."""
    return [asset for asset in assets if uncounted(asset, day) == NOTHING]


def rows_of(plant: Plant, kind: str) -> Sequence[Row]:
    """Return the rows of a register: assets, processes, loops or meters."""
    found: Sequence[Row] = getattr(plant, kind)
    return found


def counts(plant: Plant, kind: str, day: dt.date) -> dict[str, int]:
    """Return what a register's rows come to on a production day, by name."""
    rows = rows_of(plant, kind)
    found = {"rows": len(rows)}
    if kind == "assets":
        of_plant = production(plant.assets, day)
        found |= {
            "production": len(of_plant),
            "not_in_use": sum(out_of_use(asset, day) != NOTHING for asset in plant.assets),
            "key_equipment": sum(asset.key_equipment for asset in of_plant),
            "digital": sum(asset.digital for asset in of_plant),
        }
    if kind == "processes":
        found["key"] = sum(process.key and not process.excluded for process in plant.processes)
    if kind == "meters":
        of_level = [meter.level for meter in plant.meters if not meter.excluded]
        found |= {level: of_level.count(level) for level in get_args(Meter.model_fields["level"].annotation)}
    reasons, approvals = [row for row in rows if row.excluded], [row for row in rows if row.approved_by]
    return found | {"excluded": len(reasons), "approved": len(approvals)}


def excluded(plant: Plant, kind: str) -> list[dict[str, str]]:
    """Return the rows that do not count, each with its reason."""
    return [{"id": _id(row, kind), "reason": row.excluded} for row in rows_of(plant, kind) if row.excluded]


def listed(plant: Plant, kind: str, day: dt.date) -> dict[str, Any]:
    """Return a register as plain data: its file, counts, excluded rows and rows."""
    return {
        "file": plant.tables.get(kind),
        "counts": counts(plant, kind, day),
        "excluded": excluded(plant, kind),
        "rows": [row.model_dump(mode="json") for row in rows_of(plant, kind)],
    }


def table(plant: Plant, kind: str, day: dt.date) -> Table:
    """Return a register as a terminal table, with its counts above."""
    told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts(plant, kind, day).items())
    shown = Table(title=f"{kind}: {told}", title_justify="left")
    for name in _SHOWN[kind]:
        shown.add_column(name, overflow="fold")
    for row in rows_of(plant, kind):
        cells = [getattr(row, name) for name in _SHOWN[kind]]
        shown.add_row(*map(plain, cells))
    return shown


def plain(cell: object) -> str:
    """Return a cell for the terminal: what is no printable sign is written as Python does, and nothing is markup."""
    text = _WORDS[cell] if isinstance(cell, bool) or cell is None else str(cell)
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text))


def _id(row: Row, kind: str) -> str:
    return str(getattr(row, _SHOWN[kind][0]))
