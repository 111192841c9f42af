"""Register maps: a whole meter's points from one row of the point table.

A map is a table of its own: those of config/modbus_maps, each with its document in index.toml, or a plant's file.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from config.faults import Fault, did_you_mean
from config.plant import Device, Point, Source
from config.tables import Row, read_table

COLUMNS = (
    "point", "address", "type", "unit", "scale", "scale_register", "offset", "no_value", "minimum", "maximum",
    "modulus", "role", "note",
)  # fmt: skip
"""What a map says of each point; the row that names it says the rest."""
TAKEN = ("period", "store", "deadband", "heartbeat", "max_hold", "max_rate")
"""Columns of the row that hold for every point of the map."""
OWN = ("point", "asset", "source", "address", "map", "note", *TAKEN)

LAST_UNIT = 255
LAST_REGISTERS = 125
"""No request of any device has more."""

_UNIT = re.compile(r"([0-9]{1,3})/?")
_RELATIVE = re.compile(r"(?<![\w.])\+[0-9]")


def names() -> list[str]:
    """Return the names of the maps that come along."""
    return sorted(file.name.removesuffix(".csv") for file in _folder().iterdir() if file.name.endswith(".csv"))


def expand(
    point: Point, place: str, written: Sequence[str], root: Path, faults: list[Fault]
) -> Iterator[tuple[dict[str, str], str, str]]:
    """Yield the cells, the place and the id of each point that a row with a map stands for.

    written: the row's columns that are not empty.
    What is wrong goes to `faults`.
    """
    name, _, wanted = point.map.partition(":")
    rows = _rows(name.strip(), place, root, faults)
    if rows is None:
        return
    wrong = list(_misplaced(point, place, written))
    picked = list(_picked(point, place, rows, wanted.split(), wrong))
    relative = any(row.cells.get("address", "").startswith("+") for row in rows)
    if not rows:
        wrong.append(Fault(f"{place} map", f"point {point.point}", name, "has no rows", "write the meter's registers"))
    wrong += _misbased(point, place, relative=relative)
    faults += wrong
    if wrong:
        return
    for row in picked:
        id_ = f"{point.point}/{row.cells['point']}"
        cells = {column: cell for column, cell in row.cells.items() if column in COLUMNS}
        cells |= {"point": id_, "address": _based(point.address, row.cells.get("address", ""))}
        if "scale_register" in cells:
            cells["scale_register"] = _RELATIVE.sub(lambda m: point.address + m[0], cells["scale_register"])
        yield cells, f"{place.removesuffix(' column')} (map {name}, line {row.line}) column", id_


def files(table: Path) -> list[str]:
    """Return the map files of the plant's own that a point table names."""
    rows = read_table(table, table.name, (), []) if table.is_file() else None
    named = [row.cells.get("map", "").partition(":")[0].strip() for row in rows or ()]
    return [name for name in dict.fromkeys(named) if name.endswith((".csv", ".xlsx"))]


def most_registers(point: Point) -> int | None:
    """Return how many registers a request to a meter of this map may have, where its maker says so."""
    about = tomllib.loads(_folder().joinpath("index.toml").read_text(encoding="utf-8"))
    most: int | None = about.get(point.map.partition(":")[0].strip(), {}).get("max_registers")
    return most


def limited(source: Source, rows: Sequence[Point]) -> Source:
    """Return a source that asks the units of these rows with maps for no more registers than their makers say.

    What the plant itself says of a unit stays.
    """
    limits: dict[int, int] = {}
    for point in rows:
        unit = re.match(r"([0-9]{1,3})(?:/|$)", point.address)
        number = int(unit[1]) if unit is not None else source.unit
        most = most_registers(point)
        if most is not None and number <= LAST_UNIT:
            limits[number] = min(most, limits.get(number, most), source.max_registers)
    devices = [
        device.model_copy(update={"max_registers": min(limits[device.unit], device.max_registers or LAST_REGISTERS)})
        if device.unit in limits
        else device
        for device in source.device
    ]
    known = {device.unit for device in devices}
    devices += [Device(unit=unit, max_registers=most) for unit, most in limits.items() if unit not in known]
    return source.model_copy(update={"device": tuple(devices)})


def _folder() -> Traversable:
    return resources.files("config").joinpath("modbus_maps")


def _rows(name: str, place: str, root: Path, faults: list[Fault]) -> list[Row] | None:
    if name in names():
        with resources.as_file(_folder().joinpath(f"{name}.csv")) as path:
            return read_table(path, f"{name}.csv", ("point", "address"), faults, COLUMNS)
    if not name.endswith((".csv", ".xlsx")):
        hint = f"{did_you_mean(name, names()).removeprefix('remove it, or ')}, or name a .csv file of your own"
        faults.append(Fault(f"{place} map", "map", name, "is no register map", hint))
        return None
    return read_table(root / name, name, ("point", "address"), faults, COLUMNS)


def _misplaced(point: Point, place: str, written: Sequence[str]) -> Iterator[Fault]:
    for column in written:
        if column not in OWN:
            rule = "stands in a row with a map, which says it for each point"
            hint = "empty the cell; for other figures copy the map into a file of your own"
            yield Fault(f"{place} {column}", f"point {point.point}", column, rule, hint)


def _picked(point: Point, place: str, rows: Sequence[Row], wanted: Sequence[str], faults: list[Fault]) -> Iterator[Row]:
    known = [row.cells.get("point", "") for row in rows]
    for word in wanted:
        if word not in known:
            hint = did_you_mean(word, known)
            faults.append(Fault(f"{place} map", f"point {point.point}", word, "is no point of the map", hint))
    for row, name in zip(rows, known, strict=True):
        if not name:
            rule = f"has no point in line {row.line}"
            faults.append(Fault(f"{place} map", f"map {point.map}", "", rule, "name it, or remove the line"))
        elif not wanted or name in wanted:
            yield row


def _misbased(point: Point, place: str, *, relative: bool) -> Iterator[Fault]:
    bare = not point.address or _UNIT.fullmatch(point.address) is not None
    if relative and bare:
        rule = "says nowhere where the model begins, from which its map counts"
        hint = "write its first register, such as 3/holding:40069; `plantproof browse` finds it"
        yield Fault(f"{place} address", f"point {point.point}", point.address, rule, hint)
    elif relative and "+" in point.address:
        rule = "counts on, and so does its map"
        yield Fault(f"{place} address", f"point {point.point}", point.address, rule, "write the sum of both")
    elif not relative and not bare:
        rule = "is more than a unit, and the map has addresses of its own"
        yield Fault(f"{place} address", f"point {point.point}", point.address, rule, "write the unit alone, such as 3")


def _based(base: str, address: str) -> str:
    """Return an address of the map as seen from the row's: behind its first register, or of its unit."""
    if address.startswith("+"):
        return base + address
    unit = re.match(r"([0-9]{1,3})(?:/|$)", base)
    return f"{unit[1]}/{address}" if unit is not None and "/" not in address else address


def taken(point: Point, written: Sequence[str]) -> Mapping[str, object]:
    """Return what a row with a map says for each of its points."""
    return {column: getattr(point, column) for column in TAKEN if column in written}
