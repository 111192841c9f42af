"""References and rules between the parts of a plant: what no part can know alone."""

import datetime as dt
import fnmatch
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from urllib.parse import urlsplit

from config import declared_checks, public_holidays, register_checks
from config.faults import Fault, near
from config.plant import MQTT_PORTS, Calendar, Plant, Point, Sink, groups
from config.units import METER_UNITS

_METERS = {"energy": ("energy", "volume", "mass"), "power": ("power",)}
_MODBUS = ("scale_register", "no_value")
_ONCE = ("state", "mode", "order", "reason", "since_reset", "product", "ideal_cycle", "apc")
_SINKS: Mapping[str, tuple[str, ...]] = {
    "parquet": ("path", "keep", "keep_size"),
    "influxdb": ("url", "api", "ca", "timeout"),
    "influxdb v1": ("database", "retention_policy", "user", "password"),
    "influxdb v2": ("org", "bucket", "token"),
    "influxdb v3": ("database", "token"),
}
"""Keys of each kind of sink, and of each api, beside those of every sink."""
_NEEDED = ("database", "org", "bucket")
_COUNTING = ("total", "good", "reject", "rework")

Places = Mapping[tuple[str, str], str]
"""Model and name of a part -> where it stands."""


def cross_check(plant: Plant, places: Places) -> Iterator[Fault]:
    """Yield the faults of a plant whose parts are each sound; `places` says where each part stands."""
    yield from _twice(plant)
    yield from _one_session(plant)
    if plant.id in {*(a.asset for a in plant.assets), *groups(a.asset for a in plant.assets)}:
        rule = "is the id of an asset or group as well, so results could not tell them apart"
        yield Fault("plant.toml: plant.id", "plant", plant.id, rule, "give the plant an id of its own")
    # A part that has a fault of its own is still one that was meant.
    assets = dict.fromkeys([*(a.asset for a in plant.assets), *_named("Asset", places)])
    sources = dict.fromkeys([*(s.id for s in plant.sources), *_named("Source", places)])
    kinds = {source.id: source.kind for source in plant.sources}
    for point in plant.points:
        place = places.get(("Point", point.point), "points.csv")
        yield from _references(point, place, assets, sources)
        yield from _point(plant, point, place, kinds.get(point.source))
    yield from _once_an_asset(plant, places)
    for n, calendar in enumerate(plant.calendars, 1):
        yield from _calendar(plant, calendar, f"plant.toml: calendar[{n}]", places)
    for n, source in enumerate(plant.sources, 1):
        if "://" not in source.url:
            hint = "write such as opc.tcp://host:4840, modbus+tcp://host:502 or mqtt://host:1883"
            yield Fault(f"plant.toml: source[{n}].url", f"source {source.id}", source.url, "has no scheme", hint)
    yield from register_checks.check(plant, places)
    yield from declared_checks.check(plant, places)
    points = dict.fromkeys([*(p.point for p in plant.points), *_named("Point", places)])
    yield from _swaps(plant, points, places)
    for n, sink in enumerate(plant.sinks, 1):
        yield from _sink(sink, places.get(("Sink", sink.name), f"plant.toml: sink[{n}]"), points)


def _twice(plant: Plant) -> Iterator[Fault]:
    several = {
        "source": [source.id for source in plant.sources],
        "sink": [sink.name for sink in plant.sinks],
        "business_source": [source.id for source in plant.business_sources],
    }
    for name, ids in several.items():
        for one, count in Counter(ids).items():
            if count > 1:
                yield Fault(f"plant.toml: {name}", f"{name} id", one, f"stands {count} times", "give each its own id")
    ports = [(s.agent, s.url.partition("?")[0]) for s in plant.sources if s.url.startswith("modbus+rtu:")]
    for (agent, port), count in Counter(ports).items():
        if count > 1:
            rule = f"is read by {count} sources{f' of agent {agent}' if agent else ''}, and a line has one master"
            hint = "put their points into one source: an address names its unit, such as 3/holding:0"
            yield Fault("plant.toml: source", "serial port", port, rule, hint)
    for (product, asset), count in Counter((p.product, p.asset) for p in plant.products).items():
        if count > 1:
            rule = f"has {count} rows for asset {asset}"
            yield Fault("products.csv", "product", product, rule, "keep one ideal cycle for each product and asset")


def _one_session(plant: Plant) -> Iterator[Fault]:
    """Look for sources that would be one client to a broker: it throws one out for the other, again and again."""
    clients = [
        (n, source, broker)
        for n, source in enumerate(plant.sources, 1)
        if source.kind == "mqtt" and source.client_id and (broker := _broker(source.url)) is not None
    ]
    told = set()
    for (_, first, its), (n, second, broker) in combinations(clients, 2):
        one_agent = first.agent == second.agent or "" in (first.agent, second.agent)
        if its == broker and first.client_id == second.client_id and one_agent and n not in told:
            told.add(n)
            rule = f"is that of source {first.id} too, and the broker {broker} keeps one session for each"
            place = f"plant.toml: source[{n}].client_id"
            yield Fault(place, f"source {second.id}", second.client_id, rule, "give each source a client_id of its own")


def _broker(url: str) -> str | None:
    """Return host and port of a broker's URL, None where it has none; with or without TLS it is the same one."""
    try:
        parts = urlsplit(url)
        port = parts.port or MQTT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return f"{parts.hostname}:{port}" if parts.hostname and port else None


def _named(model: str, places: Places) -> list[str]:
    return [name for of, name in places if of == model and name]


def _sink(sink: Sink, place: str, points: Collection[str]) -> Iterator[Fault]:
    thing, of = f"sink {sink.name}", [sink.kind]
    if sink.kind == "influxdb":
        of.append(f"influxdb {sink.api}")
        yield from _influxdb(sink, place, thing)
    if sink.kind in _SINKS:
        own = [key for kind in of for key in _SINKS[kind]]
        others = dict.fromkeys(key for keys in _SINKS.values() for key in keys if key not in own)
        for key in others:
            if key in sink.model_fields_set:
                users = ", ".join(kind for kind, keys in _SINKS.items() if key in keys)
                yield Fault(f"{place}.{key}", thing, "", f"has a key of {users}", "remove it, or mend kind and api")
    for key in ("points", "exclude"):
        for n, pattern in enumerate(getattr(sink, key), 1):
            if points and not any(fnmatch.fnmatchcase(point, pattern) for point in points):
                hint = near(pattern, points) or f"mend the pattern, or leave {key} out"
                yield Fault(f"{place}.{key}[{n}]", thing, pattern, "matches no point of the point table", hint)


def _influxdb(sink: Sink, place: str, thing: str) -> Iterator[Fault]:
    yield from _http(sink, place, thing)
    for key in _SINKS[f"influxdb {sink.api}"]:
        if key in _NEEDED and not getattr(sink, key):
            yield Fault(f"{place}.{key}", thing, "", f"is missing, and {sink.api} needs it", f'write {key} = "..."')
    if sink.api == "v2" and "token" not in sink.model_fields_set:
        hint = 'write token = "${file:secrets/influx-token}"'
        yield Fault(f"{place}.token", thing, "", "is missing, and v2 needs it", hint)
    if sink.api == "v1" and "password" in sink.model_fields_set and not sink.user:
        yield Fault(f"{place}.user", thing, "", "is missing beside the password", 'write user = "..."')


def _http(sink: Sink, place: str, thing: str) -> Iterator[Fault]:
    hint = "write such as http://host:8086 or https://host:8086"
    try:
        parts = urlsplit(sink.url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, sound = urlsplit(""), False
    # Its value is not shown: it may hold what is secret.
    if not sink.url:
        yield Fault(f"{place}.url", thing, "", "is missing", hint)
    elif not sound:
        yield Fault(f"{place}.url", thing, "", "is no address of an HTTP server", hint)
    elif parts.username is not None or parts.query or parts.fragment:
        rule = "holds more than scheme, host, port and path"
        yield Fault(f"{place}.url", thing, "", rule, f"{hint}, and user, token and database as keys")
    elif sink.ca is not None and parts.scheme == "http":
        rule = "is of no use: the url is not encrypted"
        yield Fault(f"{place}.ca", thing, sink.ca, rule, "write https:// in the url, or remove ca")


def _references(point: Point, place: str, assets: Collection[str], sources: Collection[str]) -> Iterator[Fault]:
    thing = f"point {point.point}"
    if point.asset not in assets:
        hint = near(point.asset, assets) or "add the asset to assets.csv"
        yield Fault(f"{place} column asset", thing, point.asset, "is not in the device register", hint)
    if point.source and point.source not in sources:
        hint = near(point.source, sources) or "add a [[source]] of this id to plant.toml"
        yield Fault(f"{place} column source", thing, point.source, "is no source of plant.toml", hint)


def _point(plant: Plant, point: Point, place: str, kind: str | None) -> Iterator[Fault]:
    thing = f"point {point.point}"
    if point.source and not point.address:
        yield Fault(f"{place} column address", thing, "", "is missing", "write where the source has it")
    if point.role == "state" and point.states not in plant.states:
        hint = near(point.states, list(plant.states)) or f"write one of {', '.join(plant.states)}"
        yield Fault(f"{place} column states", thing, point.states, "is no state map", hint)
    for column in _MODBUS if kind not in ("modbus", None) else ():
        if value := getattr(point, column):
            rule = f"is for Modbus sources, and {point.source} is {kind}"
            yield Fault(f"{place} column {column}", thing, value, rule, "empty the cell")
    if point.minimum is not None and point.maximum is not None and point.minimum > point.maximum:
        rule = f"is above the maximum, {point.maximum:g}: every value would be bad"
        yield Fault(f"{place} column minimum", thing, point.minimum, rule, "mend one of them")
    yield from _counts(point, thing, place)


def _counts(point: Point, thing: str, place: str) -> Iterator[Fault]:
    head = point.role.partition(".")[0]
    if head in _METERS:
        allowed = [name for name, unit in METER_UNITS.items() if unit.dimension in _METERS[head]]
        if point.unit not in allowed:
            rule = f"is no unit for role {point.role}"
            hint = near(point.unit, allowed) or f"write one of {', '.join(allowed)}"
            yield Fault(f"{place} column unit", thing, point.unit, rule, hint)
    if point.modulus is not None and point.role not in _COUNTING and head != "energy":
        rule = f"only counters roll over, and the role is {point.role}"
        written = int(point.modulus) if point.modulus.is_integer() else point.modulus
        yield Fault(f"{place} column modulus", thing, written, rule, "empty the cell, or mend the role")


def _once_an_asset(plant: Plant, places: Places) -> Iterator[Fault]:
    first: dict[tuple[str, str], str] = {}
    for point in plant.points:
        if point.role not in _ONCE:
            continue
        before = first.setdefault((point.asset, point.role), point.point)
        if before != point.point:
            place = places.get(("Point", point.point), "points.csv")
            rule = f"asset {point.asset} has its {point.role} from {before} already"
            yield Fault(f"{place} column role", f"point {point.point}", point.role, rule, "keep one of them")


def _swaps(plant: Plant, known: Collection[str], places: Places) -> Iterator[Fault]:
    roles = {point.point: point.role for point in plant.points}
    seen: set[tuple[str, dt.datetime]] = set()
    for swap in plant.swaps:
        place = places.get(("Swap", f"{swap.point} {swap.at}"), "swaps.csv")
        thing, role = f"swap of {swap.point}", roles.get(swap.point)
        if swap.point not in known:
            hint = near(swap.point, known) or "add the point to points.csv"
            yield Fault(f"{place} column point", thing, swap.point, "is not in the point table", hint)
        elif role is not None and role not in _COUNTING and not role.startswith("energy."):
            rule = f"is neither a counter nor a meter: its role is {role}"
            yield Fault(f"{place} column point", thing, swap.point, rule, "remove the row, or mend the point")
        at = swap.at if swap.at.tzinfo is not None else swap.at.replace(tzinfo=plant.zone)
        if (swap.point, at) in seen:
            yield Fault(f"{place} column at", thing, swap.at, "stands twice", "keep one of the two rows")
        seen.add((swap.point, at))


def _calendar(plant: Plant, calendar: Calendar, place: str, places: Places) -> Iterator[Fault]:
    names = [shift.name for shift in calendar.shifts]
    for name, count in Counter(names).items():
        if count > 1:
            yield Fault(f"{place}.shifts", "shift", name, f"stands {count} times", "give each shift its own name")
    for pattern in calendar.assets:
        if not any(fnmatch.fnmatchcase(a.asset, pattern) for a in plant.assets):
            hint = "mend the pattern, or leave `assets` out for every asset"
            yield Fault(f"{place}.assets", "pattern", pattern, "matches no asset of the register", hint)
    for row in calendar.exception_rows:
        if row.shift and row.shift not in names:
            hint = near(row.shift, names) or f"write one of {', '.join(names)}, or leave it empty for every shift"
            key = ("CalendarException", f"{calendar.exceptions} {row.date} {row.shift}")
            where = f"{places.get(key, calendar.exceptions)} column shift"
            yield Fault(where, f"exception {row.date}", row.shift, "is no shift of the calendar", hint)
    yield from _breaks(calendar, place)
    yield from _holidays(calendar, place)


def _holidays(calendar: Calendar, place: str) -> Iterator[Fault]:
    """Look up this year's holidays, and in December the next one's: it is told where they are not known yet."""
    today = dt.datetime.now(dt.UTC).date()
    try:
        for year in {today.year, (today + dt.timedelta(days=31)).year} if calendar.holidays else ():
            public_holidays.of_year(calendar.holidays, year)
    except public_holidays.UnknownRegionError as error:
        rule = "is no country, or part of one, whose holidays are known"
        yield Fault(f"{place}.holidays", "holidays", calendar.holidays, rule, error.hint)
    except public_holidays.NotInstalledError:
        return  # a gateway has no KPIs to compute, and no need of the library


def _breaks(calendar: Calendar, place: str) -> Iterator[Fault]:
    for shift in calendar.shifts:
        for pause in shift.breaks:
            over = shift.end <= shift.start
            inside = (shift.start <= pause.start < shift.end) if not over else (
                pause.start >= shift.start or pause.start < shift.end
            )  # fmt: skip
            if not inside:
                rule = f"does not lie in shift {shift.name} ({shift.start} to {shift.end})"
                yield Fault(f"{place}.shifts", "break", str(pause.start), rule, "mend its times, or the shift's")
