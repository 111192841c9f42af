"""What is wrong with a Modbus source or point, and what it reads: told without connecting."""

from collections.abc import Sequence

from config.plant import Point, Source
from config.units import format_duration
from connectors.modbus.address import LAST, parse_address
from connectors.modbus.layout import sentinels
from connectors.modbus.plan import Slot, factors_of, limits_of, plan, slot_of, unreadable
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
    twice = [d.unit for n, d in enumerate(source.device) if d.unit in [e.unit for e in source.device[:n]]]
    if twice:
        return f"device: unit {twice[0]} stands twice; keep one [[source.device]] for each unit"
    if target.transport == "tls" and (source.certificate is None) != (source.private_key is None):
        return "certificate and private_key belong together; write both, or none"
    return None


def reads(source: Source, points: Sequence[Point]) -> list[str]:
    """Return a line for each request of a cycle, and one for each point, as a person compares them with a manual."""
    lines = []
    for period, positions in by_period(source, points, range(len(points))).items():
        slots = [slot_of(source, points[position]) for position in positions]
        scales = dict.fromkeys(f.slot for position in positions for f in factors_of(source, points[position]))
        requests = plan([*slots, *scales], lambda unit: limits_of(source, unit))
        lines.append(f"every {format_duration(period)}: {len(requests)} requests for {len(positions)} points")
        names = [points[position].point for position in positions] + [""] * len(scales)
        every = [*slots, *scales]
        for request in requests:
            what = "bits" if request.table in ("coil", "discrete") else "registers"
            lines.append(f"  unit {request.unit}: {request.table} {_span(request.address, request.count)}, "
                         f"{request.count} {what}")  # fmt: skip
            for row in request.rows:
                name = names[row] or "(scales others)"
                lines.append(f"    {name}: {told(every[row])}")
    return lines


def told(slot: Slot) -> str:
    """Return where a value lies, in both ways of counting."""
    address = parse_address(f"{slot.table}:{slot.address}", slot.unit)
    if slot.datatype.name == "coil":
        return f"{slot.table} {slot.address} ({address.classic})"
    bit = f", bit {slot.bit}" if slot.bit is not None else ""
    count = slot.datatype.registers
    of = f"{count} registers" if count > 1 else "1 register"
    return f"{slot.table} {_span(slot.address, count)} ({address.classic}), {of}, {slot.datatype}{bit}"


def _span(first: int, count: int) -> str:
    return f"{first}" if count == 1 else f"{first}-{min(first + count - 1, LAST)}"
