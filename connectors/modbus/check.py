"""What is wrong with a Modbus source or point, and what it reads: told without connecting."""

from collections.abc import Sequence
from functools import partial

from config.plant import Point, Source
from config.units import NS_PER_SECOND, format_duration
from connectors.modbus.address import BIT_TABLES, Address
from connectors.modbus.frames import Read
from connectors.modbus.layout import sentinels
from connectors.modbus.plan import Request, Slot, factors_of, limits_of, parse_range, plan, slot_of, unreadable
from connectors.modbus.target import parse_url
from connectors.polling import by_period


def check(source: Source, point: Point) -> str | None:
    """Return what is wrong with the point's address, type or scaling, or None."""
    if point.mode != "poll":
        return "mode 'subscribe': Modbus has no subscriptions; write poll"
    try:
        slot = slot_of(source, point)
        sentinels(point.no_value, slot.datatype)
        slots = [slot, *(factor.slot for factor in factors_of(source, point))]
        limits = limits_of(source, slot.unit)
    except ValueError as error:
        return str(error)
    if slot.unit == 0 and source.url.startswith("modbus+rtu"):
        return f"address {point.address!r}: on a serial line unit 0 is everybody, and nobody answers; name the unit"
    return next((fault for one in slots if (fault := unreadable(one, limits)) is not None), None)


def check_source(source: Source) -> str | None:
    """Return what is wrong with the source's URL, ranges or certificates, or None."""
    try:
        target = parse_url(source.url)
        for unit in {None: 0} | {device.unit: 0 for device in source.device}:
            limits_of(source, source.unit if unit is None else unit)
    except ValueError as error:
        return str(error)
    for device in source.device:
        for text in device.forbidden:
            if parse_range(text, device.unit)[0] not in (None, device.unit):
                return f"device: unit {device.unit} forbids {text!r}, which is another unit's; write it of that unit"
    twice = [d.unit for n, d in enumerate(source.device) if d.unit in [e.unit for e in source.device[:n]]]
    if twice:
        return f"device: unit {twice[0]} stands twice; keep one [[source.device]] for each unit"
    if target.transport != "tls" and (key := _of_tls(source)):
        return (
            f"{key} belongs to modbus+tls:// URLs: over {target.transport} nothing is encrypted; remove it, or use TLS"
        )
    if target.transport == "tls" and (source.certificate is None) != (source.private_key is None):
        return "certificate and private_key belong together; write both, or none"
    return None


def _of_tls(source: Source) -> str:
    keys = ("ca", "server_name", "certificate", "private_key")
    return next((key for key in keys if getattr(source, key)), "")


def reads(source: Source, points: Sequence[Point]) -> list[str]:
    """Return a line for each request of a cycle, and one for each point, as a person compares them with a manual.

    Of a serial line the first says how much of its time that takes at least.
    """
    lines: list[str] = []
    share = 0.0
    for period, positions in by_period(source, points, range(len(points))).items():
        mine = [points[position] for position in positions]
        slots = [slot_of(source, point) for point in mine]
        scales = dict.fromkeys(factor.slot for point in mine for factor in factors_of(source, point))
        requests = plan([*slots, *scales], partial(limits_of, source))
        told = [f"{p.point}: {_place(slot)}{_scaled(p)}" for p, slot in zip(mine, slots, strict=True)]
        told += [f"scale register: {_place(slot)}" for slot in scales]
        counts = f"{_counted(len(requests), 'request')} for {_counted(len(mine), 'point')}"
        lines.append(f"every {format_duration(period)}: {counts}")
        for request in requests:
            lines.append(_request(request))
            lines += [f"    {told[row]}" for row in request.rows]
        share += line_time(source, requests) * NS_PER_SECOND / period
    if share > 0:
        enough = "" if share < 1 else ": more than it has; lengthen periods, raise the baud rate, or read less"
        lines.insert(0, f"takes {share:.1%} of the line's time or more{enough}")
    return lines


def line_time(source: Source, requests: Sequence[Request]) -> float:
    """Return how long requests and their answers take on a serial line [s], without the devices' own delay.

    Source: MODBUS over Serial Line V1.02, section 2.5.1: a request has 8 characters, an answer 5 and its data, and
    before each the line is quiet for 3.5. Over a network it is 0.
    """
    target = parse_url(source.url)
    sizes = [Read(one.unit, one.table, one.address, one.count).size for one in requests]
    quiet = max(target.silence, source.pause / NS_PER_SECOND) + target.silence
    return sum(target.wire_time(13 + size) + quiet for size in sizes) if target.serial else 0.0


def _request(request: Request) -> str:
    what = "bit" if request.table in BIT_TABLES else "register"
    span = _span(request.address, request.count)
    return f"  unit {request.unit}: {request.table} {span}, {_counted(request.count, what)}"


def _place(slot: Slot) -> str:
    """Return where a value lies, counted from zero and in the classic form, and how it reads."""
    first = f"{slot.table} {_span(slot.address, slot.end - slot.address)}"
    classic = Address(slot.unit, slot.table, slot.address).classic
    if slot.datatype.name in ("coil", "bit"):
        return f"{first} ({classic})" + (f", bit {slot.bit}" if slot.bit is not None else "")
    return f"{first} ({classic}), {str(slot.datatype).removesuffix(' AB')}"


def _scaled(point: Point) -> str:
    """Return what becomes of the raw value."""
    parts = [f"times {point.scale:g}" if point.scale != 1 else ""]
    parts.append(f"times {point.scale_register}" if point.scale_register else "")
    parts.append(f"plus {point.offset:g}" if point.offset else "")
    parts.append(f"in {point.unit}" if point.unit else "")
    parts.append(f"no value: {point.no_value}" if point.no_value else "")
    return "".join(f", {part}" for part in parts if part)


def _span(first: int, count: int) -> str:
    return f"{first}" if count == 1 else f"{first}-{first + count - 1}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
