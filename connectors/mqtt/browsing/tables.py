"""The [[source.topic]] tables and the rows of assets.csv that rows of the point table need."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from connectors.mqtt.address import as_filter, overlap
from connectors.mqtt.browsing.folds import Fold, hole_words, own_levels
from connectors.mqtt.browsing.heard import Topic
from connectors.mqtt.browsing.meanings import is_presence
from connectors.mqtt.browsing.rows import Row
from connectors.mqtt.times import UNITS
from connectors.texts import harmless

MANY = 500
"""Of more kinds of topics the tables are not held against each other."""
_PRESENCE = {"online": "offline", "connected": "disconnected", "alive": "dead", "up": "down", "在线": "离线"}
"""Words of presence, and of absence."""
_ZONES = {0: "UTC", 8: "Asia/Shanghai"}
_NEAR_S = 300.0

Table = dict[str, object]


def tables(folds: Sequence[Fold], *, template: bool) -> list[str]:
    """Return the TOML lines of the tables that the addresses of folds need, those of single topics first."""
    wills = {own_levels(fold)[0]: fold for fold in folds if is_presence(fold)}
    found: dict[str, tuple[Table, Fold]] = {}
    spare: list[tuple[str, Table, Fold]] = []
    for fold in sorted(folds, key=lambda one: -len(one.topics)):
        table = _table(fold, wills.get(own_levels(fold)[0]))
        wide = as_filter(fold.template)
        if wide in found:  # the same levels, another shape
            spare += [(topic.name, {**table, "topic": topic.name}, fold) for topic in fold.topics]
        else:
            found[wide] = table, fold
    several = [*((wide, *pair) for wide, pair in found.items()), *spare]
    wanted = [(wide, table, fold) for wide, table, fold in several if _needed(table, fold, template=template)]
    if len(several) <= MANY:
        wanted = _with_neighbours(wanted, several)
    wanted.sort(key=lambda one: (one[0].split("/").count("+"), one[0]))
    return [line for _, table, _ in wanted for line in _toml(table)]


def _needed(table: Table, fold: Fold, *, template: bool) -> bool:
    return len(table) > 1 or (template and bool(fold.words) and bool(fold.members) and not is_presence(fold))


def _with_neighbours(
    wanted: Sequence[tuple[str, Table, Fold]], several: Sequence[tuple[str, Table, Fold]]
) -> list[tuple[str, Table, Fold]]:
    """Return the tables with those of topics that another's would speak of; say what payloads are where none would."""
    found = []
    for wide, table, fold in several:
        others = [other for other, *_ in wanted if other != wide and overlap(other, wide)]
        if (wide, table, fold) in wanted:
            alone = not any(other != wide and overlap(other, wide) for other, *_ in several)
            payload = {"topic": table["topic"], "payload": fold.kind} if alone else {}
            found.append((wide, {**payload, **table}, fold))
        elif others and fold.members:
            found.append((wide, {**table, "time": "/ts"}, fold))
    return found


def _table(fold: Fold, presence: Fold | None) -> Table:
    table: Table = {"topic": fold.template, **fold.options}
    beside = fold.beside
    if beside.time is not None:
        if fold.kind != "influx" and (where := "".join(f"/{token}" for token in beside.time)) != "/ts":
            table["time"] = where if fold.kind == "json" else where[1:]
        if beside.clock in UNITS:
            table["time_unit"] = beside.clock
        if beside.clock == "local":
            table["time_zone"] = _zone(beside.lag)
    elif any(path and path[-1] == "ts" for path in fold.members):
        table["time"] = ""  # what is called so is no time
    if beside.quality is not None:
        table["quality"] = "".join(f"/{token}" for token in beside.quality)
        if beside.good:
            table["good"] = list(beside.good)
    if presence is not None and presence is not fold and fold.members:
        table |= _will(presence)
    return table


def _will(presence: Fold) -> Table:
    """Return where the publisher's presence stands, and the words of its absence where they are not the usual one."""
    words = {word.casefold() for word in presence.members[()].words}
    gone = [off for on, off in _PRESENCE.items() if words & {on, off}]
    return {"will": presence.template, **({"offline": gone} if gone != ["offline"] else {})}


def _zone(lag: float | None) -> str:
    """Return the zone that local times seem to be of, by how far they lie ahead of UTC."""
    hours = round(-(lag or 0.0) / 3600)
    if lag is None or abs(-lag - hours * 3600) > _NEAR_S or abs(hours) > 12:
        return ""
    return _ZONES.get(hours, f"Etc/GMT{-hours:+d}")


def _toml(table: Mapping[str, object]) -> Iterator[str]:
    yield "[[source.topic]]"
    for key, value in table.items():
        line = harmless(f"{key} = {json.dumps(value, ensure_ascii=False)}")
        yield line if value != "" or key != "time_zone" else f"# {line}  # its times have no offset: write their zone"
    yield ""


def assets(kept: Sequence[Row], folds: Sequence[Fold]) -> list[str]:
    """Return the assets of the rows, each once: of templates all that were seen."""
    by_holes = {fold.template: fold for fold in folds if fold.words}
    found: dict[str, None] = {}
    for row in kept:
        if not row.holes:
            found[row.asset] = None
            continue
        fold = by_holes[row.address.partition("#")[0]]
        for topic in fold.topics:
            found[_filled(row.asset, fold, topic)] = None
    return list(found)


def _filled(asset: str, fold: Fold, topic: Topic) -> str:
    for name, word in hole_words(fold, topic).items():
        asset = asset.replace(f"{{{name}}}", word)
    return asset


def incomplete(folds: Sequence[Fold]) -> list[str]:
    """Return what to say of machines that lack a topic that others of their kind have."""
    places: dict[tuple[str, ...], dict[str, set[tuple[str, ...]]]] = {}
    for fold in folds:
        if fold.words and fold.members:
            seen = {tuple(hole_words(fold, topic).values()) for topic in fold.topics}
            places.setdefault(tuple(own_levels(fold)[0]), {})[fold.template] = seen
    said = []
    for of in places.values():
        for (one, mine), (other, its) in product(of.items(), repeat=2):
            if missing := sorted(its - mine):
                names = ", ".join("/".join(words) for words in missing[:5]) + (" ..." if len(missing) > 5 else "")
                said.append(f"{one} was not heard of {names}, which {other} was: their points of it will stay silent")
    return said[:20]
