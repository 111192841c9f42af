"""What changed between two states of the registers: rows that came, went, or say something else."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError
from rich.table import Table

from config.approvals import KINDS, Approval, ApprovalError
from config.faults import Fault
from config.plant import Asset, Plant, Point
from config.registers import Loop, Meter, Process
from config.tables import heads_of, read_table
from kpis.registers.show import plain, production

_MODELS: Mapping[str, tuple[type[BaseModel], str]] = {
    "assets": (Asset, "asset"),
    "points": (Point, "point"),
    "processes": (Process, "process"),
    "loops": (Loop, "loop"),
    "meters": (Meter, "meter"),
}

Cells = Mapping[str, tuple[object, str]]
"""What a row says: column -> value that is compared, text that is shown."""


@dataclass(frozen=True, slots=True)
class State:
    """The registers as they were or are, on a production day."""

    name: str
    day: dt.date
    rows: Mapping[str, Mapping[str, Cells]]
    """Kind of table -> id -> cells."""
    assets: Sequence[Asset]
    approval: Approval | None = field(default=None)

    @property
    def production(self) -> int:
        """How many assets are production equipment that counts."""
        return len(production(self.assets, self.day))


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: a row that came or went, or one field of a row."""

    register: str
    row: str
    change: Literal["added", "removed", "changed"]
    column: str = ""
    old: str = ""
    new: str = ""


def state_of_plant(plant: Plant, name: str, day: dt.date) -> State:
    """Return the registers as a plant's files say them now."""
    files = {kind: plant.root / plant.tables[kind] for kind in KINDS if kind in plant.tables}
    return _state(name, day, files)


def state_of_approval(approval: Approval, name: str, day: dt.date) -> State:
    """Return the registers of an approved snapshot; raises ApprovalError where one of its files cannot be read."""
    return _state(name, day, {kind: approval.folder / file for kind, file in approval.files.items()}, approval)


def changes(old: State, new: State) -> Iterator[Change]:
    """Yield what differs between two states: by table, and by id in the order of the newer one, then what went."""
    for kind in KINDS:
        before, after = old.rows.get(kind, {}), new.rows.get(kind, {})
        for row, cells in after.items():
            if row not in before:
                yield Change(kind, row, "added", new=cells["name"][1] if "name" in cells else "")
                continue
            yield from _fields(kind, row, before[row], cells)
        for row, cells in before.items():
            if row not in after:
                yield Change(kind, row, "removed", old=cells["name"][1] if "name" in cells else "")


def table(found: Sequence[Change], title: str) -> Table:
    """Return changes as a terminal table."""
    shown = Table(title=title, title_justify="left")
    for name in ("register", "row", "change", "field", "old", "new"):
        shown.add_column(name, overflow="fold")
    for one in found:
        shown.add_row(*map(plain, (one.register, one.row, one.change, one.column, one.old, one.new)))
    return shown


def _fields(kind: str, row: str, before: Cells, after: Cells) -> Iterator[Change]:
    for column in dict.fromkeys([*after, *before]):
        old, new = before.get(column, ("", "")), after.get(column, ("", ""))
        if old[0] != new[0]:
            yield Change(kind, row, "changed", column, old[1], new[1])


def _state(name: str, day: dt.date, files: Mapping[str, Path], approval: Approval | None = None) -> State:
    rows: dict[str, dict[str, Cells]] = {}
    assets: list[Asset] = []
    for kind, path in files.items():
        model, key = _MODELS[kind]
        faults: list[Fault] = []
        found = read_table(path, path.name, (key,), faults, heads=heads_of(kind))
        if found is None:
            raise ApprovalError("; ".join(map(str, faults)))
        rows[kind] = {}
        for row in found:
            made = _made(model, row.cells)
            rows[kind][row.cells.get(key, "")] = _cells(model, row.cells, made)
            if isinstance(made, Asset):
                assets.append(made)
    return State(name, day, rows, assets, approval)


def _made(model: type[BaseModel], cells: Mapping[str, str]) -> BaseModel | None:
    """Return a row as its model takes it; None where this version's model does not."""
    try:
        return model.model_validate({name: cell for name, cell in cells.items() if name in model.model_fields})
    except ValidationError:
        return None


def _cells(model: type[BaseModel], cells: Mapping[str, str], made: BaseModel | None) -> Cells:
    """Return what a row says: an empty cell is the default, and yes is 是."""
    further = {name: (cell, cell) for name, cell in cells.items() if made is None or name not in model.model_fields}
    fields = [name for name in model.model_fields if name != "columns"] if made is not None else []
    return {**{name: (getattr(made, name), cells.get(name, _shown(getattr(made, name)))) for name in fields}, **further}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
