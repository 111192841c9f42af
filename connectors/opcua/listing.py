"""What `browse` found, for people and for the point table: harmless texts, safe ids, guessed roles."""

import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asyncua import ua
from pydantic import ValidationError

from config.plant import Point
from connectors.opcua import address, companion
from connectors.opcua.browse import Found, Node
from connectors.roles import guess
from connectors.texts import cell, clean, harmless, safe

COLUMNS = ("point", "asset", "role", "source", "address", "type", "unit", "mode", "states", "note")
SHORT = 40
"""Longest value that is shown."""
_ONCE = ("state", "product", "total", "good", "reject", "rework")
"""Roles that an asset has once: a second counter would be added to the first."""
_EVENTS = ("state", "product", "order", "alarm")
"""Roles whose changes must not be missed between two polls."""
_NO_SAMPLE = (
    "arrays, structures and bytes, of which an address with [n] or .Field takes a part; times and ids, which are texts"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One variable, or the part of its value that has a role, as it is listed."""

    path: str
    address: str
    type: str
    unit: str
    value: str
    description: str
    role: str
    asset: str
    states: str
    note: str
    point: str
    unfit: str
    """Why it is no row of the point table; empty: it is one."""


def shown(value: Any) -> str:
    """Return a value in one short line."""
    if isinstance(value, ua.LocalizedText | ua.QualifiedName):
        value = value.Text if isinstance(value, ua.LocalizedText) else value.Name
    elif isinstance(value, ua.NodeId):
        value = value.to_string()
    elif isinstance(value, list | bytes):
        value = f"{len(value)} {'values' if isinstance(value, list) else 'bytes'}"
    elif dataclasses.is_dataclass(value):
        value = "structure"
    text = clean(f"{value:.9g}" if isinstance(value, float) else "" if value is None else str(value))
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def entries(found: Found, asset: str = "") -> list[Entry]:
    """Return what was found, branch by branch, with roles guessed where names or specifications say them.

    asset: the asset of all rows; empty: machines by their names, other variables by the object they lie below.
    """
    known = companion.machines(found)
    ids = _ids([safe(machine.name) for machine in known])
    names = [_asset(asset, one, len(known)) for one in ids]
    owner = {id(node): (machine, name) for machine, name in zip(known, names, strict=True) for node in machine.nodes}
    picked = {id(pick.node): pick for machine in known for pick in companion.picks(found, machine)}
    rows = []
    for node in _in_tree_order(found):
        machine, of = owner.get(id(node), (None, asset or _top(found, node)))
        rows.append(_entry(found, node, of, picked.get(id(node)), machine))
    return _settled(rows)


def _in_tree_order(found: Found) -> list[Node]:
    """Return the variables branch by branch, as a server's browser shows them."""
    place = {id(node): n for n, node in enumerate(found.nodes)}
    key: dict[int, tuple[int, ...]] = {id(found.start): ()}
    for node in found.nodes:  # parents come first
        key.setdefault(id(node), (*key[id(node.parent)], place[id(node)]))
    return sorted(found.variables(), key=lambda node: key[id(node)])


def _asset(given: str, own: str, count: int) -> str:
    return own if not given else given if count == 1 else f"{given}/{own}"


def _top(found: Found, node: Node) -> str:
    """Return the object below the start that a variable lies in; the start itself for its own variables."""
    path = node.path
    return safe(path[0]) if len(path) > 1 else safe(found.start.shown)


def _entry(
    found: Found, node: Node, asset: str, pick: companion.Pick | None, machine: companion.Machine | None
) -> Entry:
    path, unit = [clean(name) for name in node.path], clean(node.unit)
    role = pick.role if pick is not None else "measure"
    if pick is None and not node.is_property:
        role = guess(node.name[1], node.kind, unit)
        if machine is not None and role.partition(".")[0] not in ("energy", "power"):
            role = "measure"  # the specification says where the others are
    part = pick.part if pick is not None else ""
    notes = (machine.specifications if pick is not None and machine is not None else "", pick.note if pick else "",
             node.note, f"status {node.status}" if node.status else "")  # fmt: skip
    base = len(machine.node.path) if machine is not None else int(len(path) > 1)
    own = ".".join(safe(name) for name in path[base:]) or safe(node.name[1])
    return Entry(
        path="/".join(path),
        address=found.address(node) + part,
        type=f"{clean(node.data_type)}{'[]' if node.rank > 0 else ''}",
        unit=unit,
        value=f"({node.status})" if node.status else shown(node.value),
        description=clean(node.description) if node.description != node.name[1] else "",
        role=role,
        asset=asset,
        states=pick.states if pick is not None else "",
        note=clean("; ".join(filter(None, notes))),
        point=f"{asset}.{role if pick is not None else own}",
        unfit="" if pick is not None else _unfit(node),
    )


def _unfit(node: Node) -> str:
    if node.is_property:
        return "properties, which describe and seldom change"
    return _NO_SAMPLE if node.kind == "other" else ""


def _ids(names: Sequence[str]) -> list[str]:
    """Return names of which each is its own: the second `a` is `a_2`."""
    taken: set[str] = set()
    result = []
    for name in names:
        one, n = name, 1
        while one in taken:
            n += 1
            one = f"{name}_{n}"
        taken.add(one)
        result.append(one)
    return result


def _settled(rows: Sequence[Entry]) -> list[Entry]:
    """Leave an asset one variable of each role that it has once, and its upper meters; make ids unique."""
    depth: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row.asset, row.role
        depth[key] = min(depth.get(key, 99), _rank(row))
    taken: Counter[tuple[str, str]] = Counter()
    result = []
    for row, point in zip(rows, _ids([row.point for row in rows]), strict=True):
        key = row.asset, row.role
        upper = _rank(row) == depth[key]
        role = row.role if (upper and (row.role not in _ONCE or not taken[key])) or not _counts(row.role) else "measure"
        taken[key] += role == row.role
        note = row.note if role == row.role else "; ".join(filter(None, (row.note, f"may be {row.role} as well")))
        result.append(replace(row, point=point, role=role, note=note))
    return result


def _rank(row: Entry) -> int:
    """Return how deep a row lies; what a specification names goes before all that is guessed."""
    return -1 if row.states or row.point == f"{row.asset}.{row.role}" else row.path.count("/")


def _counts(role: str) -> bool:
    return role in _ONCE or role.startswith(("energy.", "power."))


# --- what leaves the program ---


def to_json(rows: Sequence[Entry]) -> str:
    """Return the rows as JSON in which every character that a terminal obeys is escaped."""
    keys = [name for name in Entry.__slots__ if name != "unfit"]
    text = json.dumps([{key: getattr(row, key) for key in keys} for row in rows], ensure_ascii=False, indent=1)
    return harmless(text)


def to_points(rows: Sequence[Entry], source: str) -> tuple[str, Mapping[str, int]]:
    """Return the rows of points.csv, and how many were left out by reason."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    left_out: Counter[str] = Counter()
    for row in rows:
        if (reason := _left_out(row, source)) is not None:
            left_out[reason] += 1
            continue
        mode = "subscribe" if row.role in _EVENTS else ""
        cells = (row.point, row.asset, row.role, source, row.address, "", row.unit, mode, row.states, row.note)
        writer.writerow([cell(text) for text in cells])
    return out.getvalue(), left_out


def _left_out(row: Entry, source: str) -> str | None:
    if row.unfit:
        return row.unfit
    if not row.address.isprintable():
        return "addresses with control characters, which no table holds"
    if address.fault(row.address) is not None:
        return "node ids that an address cannot write"
    try:
        Point(point=row.point, asset=row.asset, role=row.role, source=source, address=row.address)
    except ValidationError:
        return "names of which no id can be made"
    return None


def needed_assets(rows: Sequence[Entry]) -> Iterator[str]:
    """Yield the assets of the rows that the point table holds, each once."""
    return iter(dict.fromkeys(row.asset for row in rows if not row.unfit))
