"""What `browse` found behind a Modbus link, for people, for scripts and for the point table."""

import csv
import io
import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from connectors.modbus.address import BIT_TABLES
from connectors.modbus.browse import Found, Unit
from connectors.modbus.identify import perhaps
from connectors.modbus.scan import Scanned
from connectors.modbus.sunspec import Model
from connectors.texts import cell, harmless

COLUMNS = ("point", "asset", "role", "source", "address", "map", "type", "note")
SHORT = 80
"""Longest text of a device that a table shows."""
PLAUSIBLE = (1e-6, 1e9)
"""Bounds of a float that is shown; what lies outside is most likely no float."""
_HEAD = ("VendorName", "ProductCode", "MajorMinorRevision")


def short(text: str) -> str:
    """Return a text of a device, cut where it is long."""
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def readings(scanned: Scanned, address: int) -> dict[str, int | float | str]:
    """Return how a register reads alone, and with the one behind it; a float only where it is plausible."""
    value = scanned.values[address]
    if scanned.span.table in BIT_TABLES:
        return {"value": value}
    found: dict[str, int | float | str] = {
        "hex": f"0x{value:04X}", "uint16": value, "int16": value - 0x10000 if value & 0x8000 else value,
    }  # fmt: skip
    if (pair := scanned.pair(address)) is not None:
        for order, raw in {"ABCD": pair, "CDAB": pair[2:] + pair[:2]}.items():
            found[f"uint32 {order}"] = int.from_bytes(raw, "big")
            number = struct.unpack(">f", raw)[0]
            if number == 0 or PLAUSIBLE[0] < abs(number) < PLAUSIBLE[1]:  # false for nan
                found[f"float32 {order}"] = float(f"{number:.7g}")
    return found


# --- for people ---


def tables(found: Found) -> Iterator[Table | str]:
    """Yield what was found: a table of the units, one of each chain of models, and lines for registers."""
    if found.present:
        yield _units(found.present)
    for unit in found.present:
        if unit.chain is not None:
            yield _models(unit)
        for scanned in unit.scans:
            yield "\n".join(_registers(scanned))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _units(units: Sequence[Unit]) -> Table:
    """Return a table of the units; the last columns only where one of them has something to say."""
    names = ("unit", "vendor", "product", "revision", "further", "map", "note")
    rows = [_unit(unit) for unit in units]
    kept = [n for n in range(len(names)) if n < 1 + len(_HEAD) or any(row[n] for row in rows)]
    table = _table("", *(names[n] for n in kept))
    for row in rows:
        table.add_row(*(Text(row[n]) for n in kept))
    return table


def _unit(unit: Unit) -> tuple[str, ...]:
    texts = unit.identity.texts()
    further = "; ".join(f"{name}: {short(text)}" for name, text in texts.items() if name not in _HEAD)
    return (str(unit.number), *(short(texts.get(name, "")) for name in _HEAD), further, guessed(unit), unit.note)


def guessed(unit: Unit) -> str:
    """Return the register maps that may fit, as a guess."""
    names = perhaps(unit.identity)
    return f"perhaps {' or '.join(names)}" if names else ""


def _models(unit: Unit) -> Table:
    assert unit.chain is not None  # noqa: S101  the caller looked
    chain = unit.chain
    about = " ".join(filter(None, (chain.manufacturer, chain.model, chain.serial_number)))
    title = f"unit {unit.number}: SunSpec at holding:{chain.base}" + (f", {short(about)}" if about else "")
    table = _table(title, "model", "name", "first register", "length", "map")
    for model in chain.models:
        row = (str(model.number), model.name, f"{unit.number}/holding:{model.first}", str(model.length), model.map)
        table.add_row(*map(Text, row))
    return table


def _registers(scanned: Scanned) -> Iterator[str]:
    """Yield lines, as there may be many thousands."""
    span = scanned.span
    yield f"{span}: {len(scanned.values)} of {span.count} can be read"
    names = ("value",) if span.table in BIT_TABLES else (
        "hex", "uint16", "int16", "uint32 ABCD", "uint32 CDAB", "float32 ABCD", "float32 CDAB",
    )  # fmt: skip
    widths = [max(len(name), 6) for name in names]
    if scanned.values:
        yield "  ".join(["address".ljust(20), *(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))])
    for address in scanned.values:
        said = readings(scanned, address)
        cells = [_shown(said.get(name, "")).rjust(width) for name, width in zip(names, widths, strict=True)]
        yield "  ".join([f"{span.unit}/{span.table}:{address}".ljust(20), *cells]).rstrip()
    yield from refusals(scanned)


def refusals(scanned: Scanned) -> Iterator[str]:
    """Yield a line for each range that cannot be read."""
    for refused in scanned.refused:
        yield f"not readable: {refused.span}: {refused.why}"


def _shown(value: float | str) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


# --- for scripts and the point table ---


def to_json(found: Found) -> str:
    """Return the units as a JSON list in which every character that a terminal obeys is escaped."""
    return harmless(json.dumps([_object(unit) for unit in found.units], ensure_ascii=False, indent=1))


def _object(unit: Unit) -> dict[str, Any]:
    scans = [
        {
            "range": str(scanned.span),
            "registers": [
                {"address": f"{unit.number}/{scanned.span.table}:{n}", **readings(scanned, n)} for n in scanned.values
            ],
            "refused": [{"range": str(refused.span), "why": refused.why} for refused in scanned.refused],
        }
        for scanned in unit.scans
    ]
    return {
        "unit": unit.number, "answers": unit.present, "note": unit.note, "identification": unit.identity.texts(),
        "perhaps": perhaps(unit.identity), "sunspec": _chain(unit), "scans": scans,
    }  # fmt: skip


def _chain(unit: Unit) -> dict[str, Any] | None:
    chain = unit.chain
    if chain is None:
        return None
    models = [
        {"model": m.number, "name": m.name, "address": f"{unit.number}/holding:{m.first}", "length": m.length,
         "map": m.map}
        for m in chain.models
    ]  # fmt: skip
    return {
        "address": f"{unit.number}/holding:{chain.base}", "manufacturer": chain.manufacturer, "model": chain.model,
        "serial_number": chain.serial_number, "models": models, "note": chain.note,
    }  # fmt: skip


def to_points(found: Found, source: str, asset: str) -> str:
    """Return the rows of points.csv: one for each model with a map, and one for each register that can be read.

    source: the source's id. asset: the asset of all rows, or of those below it where units are several; empty: u1.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for unit in found.present:
        of = asset_of(found, unit, asset)
        for id_, role, address, name, kind, note in _rows(unit):
            writer.writerow([cell(text) for text in (f"{of}/{id_}", of, role, source, address, name, kind, note)])
    return out.getvalue()


def asset_of(found: Found, unit: Unit, asset: str) -> str:
    """Return the asset of a unit's rows."""
    own = f"u{unit.number}"
    return own if not asset else asset if len(found.present) == 1 else f"{asset}/{own}"


def _rows(unit: Unit) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield point, role, address, map, type and note of each row that is certain."""
    seen: dict[int, int] = {}
    for model in unit.chain.models if unit.chain is not None else ():
        if model.map:
            nth = seen[model.number] = seen.get(model.number, 0) + 1
            id_ = f"sunspec_{model.number}" + (f"_{nth}" if nth > 1 else "")
            yield id_, "", f"{unit.number}/holding:{model.first}", model.map, "", _about(unit, model)
    written: set[str] = set()
    for scanned in unit.scans:
        kind = "bool" if scanned.span.table in BIT_TABLES else "uint16"
        for address in scanned.values:
            id_ = f"{scanned.span.table}_{address}"
            if id_ not in written:  # ranges may overlap
                written.add(id_)
                yield id_, "measure", f"{unit.number}/{scanned.span.table}:{address}", "", kind, ""


def _about(unit: Unit, model: Model) -> str:
    made = "" if unit.chain is None else short(f"{unit.chain.manufacturer} {unit.chain.model}".strip())
    return f"SunSpec model {model.number}, {model.name}" + (f"; {made}" if made else "")


def proposals(found: Found, source: str, asset: str) -> Iterator[str]:
    """Yield rows that a person may add to points.csv, once the device was looked at."""
    for unit in found.present:
        of = asset_of(found, unit, asset)
        for name in perhaps(unit.identity):
            yield f"{of}/{name},{of},,{source},{unit.number},{name},,"
