"""References and rules of the registers: assets, processes, loops and meters."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from config.faults import Fault, near
from config.plant import Asset, Plant
from config.registers import Loop, Meter, Process

Places = Mapping[tuple[str, str], str]


def check(plant: Plant, places: Places) -> Iterator[Fault]:
    """Yield the faults between the registers of a plant; `places` says where each row stands."""
    processes = _known("Process", (process.process for process in plant.processes), places)
    assets = _known("Asset", (asset.asset for asset in plant.assets), places)
    yield from _assets(plant, processes, places)
    for process in plant.processes:
        place = places.get(("Process", process.process), "processes.csv")
        yield from _approval(process, f"process {process.process}", place)
    yield from _loops(plant, assets, processes, places)
    yield from _meters(plant, places)


def _known(model: str, ids: Iterable[str], places: Places) -> Collection[str]:
    """Return the ids of a register's rows; one that has a fault of its own is still one that was meant."""
    return dict.fromkeys([*ids, *(name for of, name in places if of == model and name)])


def _assets(plant: Plant, processes: Collection[str], places: Places) -> Iterator[Fault]:
    for asset in plant.assets:
        place, thing = places.get(("Asset", asset.asset), "assets.csv"), f"asset {asset.asset}"
        yield from _process(asset.process, processes, place, thing)
        if asset.in_use_from and asset.in_use_until and asset.in_use_from > asset.in_use_until:
            rule = f"lies after the last day of its use, {asset.in_use_until}"
            yield Fault(f"{place} column in_use_from", thing, asset.in_use_from, rule, "mend one of the two dates")
        yield from _approval(asset, thing, place)


def _process(process: str, known: Collection[str], place: str, thing: str) -> Iterator[Fault]:
    if process and known and process not in known:
        hint = near(process, known) or "add the process to the register of processes"
        yield Fault(f"{place} column process", thing, process, "is not in the register of processes", hint)


def _approval(row: Asset | Process | Loop | Meter, thing: str, place: str) -> Iterator[Fault]:
    if row.approved_by and row.approved_at is None:
        rule = f"is missing, and {row.approved_by} is said to have approved it"
        yield Fault(f"{place} column approved_at", thing, "", rule, "write the date, such as 2026-03-01")
    if row.approved_at is not None and not row.approved_by:
        rule = f"is missing, and it is said to be approved on {row.approved_at}"
        yield Fault(f"{place} column approved_by", thing, "", rule, "write the name of who approved it")


def _loops(plant: Plant, assets: Collection[str], processes: Collection[str], places: Places) -> Iterator[Fault]:
    controlled = {point.asset for point in plant.points if point.role == "apc"}
    first: dict[str, str] = {}
    for loop in plant.loops:
        place, thing = places.get(("Loop", loop.loop), "loops.csv"), f"loop {loop.loop}"
        yield from _process(loop.process, processes, place, thing)
        yield from _approval(loop, thing, place)
        before = first.setdefault(loop.asset, loop.loop)
        if loop.asset not in assets:
            hint = near(loop.asset, assets) or "add the asset to assets.csv"
            yield Fault(f"{place} column asset", thing, loop.asset, "is not in the device register", hint)
        elif loop.asset not in controlled:
            rule = f"asset {loop.asset} has no point of role apc, so nothing says when it is under advanced control"
            yield Fault(f"{place} column loop", thing, "", rule, "add such a point to points.csv, or mend the asset")
        elif before != loop.loop:
            rule = f"asset {loop.asset} is that of loop {before} already, and its time would count twice"
            yield Fault(f"{place} column loop", thing, "", rule, "give each loop an asset of its own")


def _meters(plant: Plant, places: Places) -> Iterator[Fault]:
    points = _known("Point", (point.point for point in plant.points), places)
    roles = {point.point: point.role for point in plant.points}
    first: dict[str, str] = {}
    for meter in plant.meters:
        place, thing = places.get(("Meter", meter.meter), "meters.csv"), f"meter {meter.meter}"
        role = roles.get(meter.point)
        yield from _approval(meter, thing, place)
        before = first.setdefault(meter.point, meter.meter)
        if meter.point not in points:
            hint = near(meter.point, points) or "add the point to points.csv"
            yield Fault(f"{place} column point", thing, meter.point, "is not in the point table", hint)
        elif role is not None and role.partition(".")[0] not in ("energy", "power"):
            rule = f"is no meter: its role is {role}"
            hint = "name a point of role energy.<medium> or power.<medium>"
            yield Fault(f"{place} column point", thing, meter.point, rule, hint)
        elif before != meter.meter:
            rule = f"is that of meter {before} already, and its amount would count twice"
            yield Fault(f"{place} column point", thing, meter.point, rule, "keep one of the two meters")
