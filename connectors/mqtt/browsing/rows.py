"""Rows of the point table that what was heard suggests: safe ids, guessed roles, addresses that check accepts."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from config.plant import Point
from connectors.mqtt import address as addresses
from connectors.mqtt import sparkplug
from connectors.mqtt.browsing.beside import GENERIC
from connectors.mqtt.browsing.births import Owner
from connectors.mqtt.browsing.folds import DATA, Fold, hole_words, own_levels
from connectors.mqtt.browsing.meanings import COUNTING, Guess, is_presence, meaning, named, of_tag, parts_of, values
from connectors.mqtt.browsing.shapes import bare
from connectors.mqtt.browsing.walks import Path
from connectors.texts import cell, clean, safe

COLUMNS = ("point", "asset", "role", "source", "address", "type", "unit", "note")
_ONCE = ("state", "product", *COUNTING)
"""Roles that an asset has once; of meters it has one as well unless somebody says that they add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the point table."""

    point: str
    asset: str
    role: str
    source: str
    address: str
    type: str = ""
    unit: str = ""
    note: str = ""
    holes: tuple[str, ...] = ()
    """Names in braces that are meant."""


def rows(folds: Sequence[Fold], nodes: Sequence[Owner], source: str, asset: str, guess: Guess, *,
         template: bool) -> list[Row]:  # fmt: skip
    """Return the rows of all that was heard; `template`: one for all topics that are alike."""
    # Of topics at the same levels with payloads of several shapes, no template can tell which has which.
    shapes = Counter(fold.template for fold in folds)
    found = [
        row for fold in folds
        for row in _of_fold(fold, source, guess, template=template and shapes[fold.template] == 1)
    ]  # fmt: skip
    found += [row for owner in nodes for row in _of_owner(owner, source, guess)]
    several = len({row.asset for row in found}) > 1
    return _settled([_below(row, asset, several=several) for row in found])


def _below(row: Row, asset: str, *, several: bool) -> Row:
    if not asset:
        return row
    mine = f"{asset}/{row.asset}" if several or row.holes else asset
    return replace(row, asset=mine, point=f"{mine}{row.point.removeprefix(row.asset)}")


def _of_fold(fold: Fold, source: str, guess: Guess, *, template: bool) -> Iterator[Row]:
    own, behind = own_levels(fold)
    for path, member in values(fold):
        means = meaning(guess, named(fold, path), member, fold.beside.units.get(path, ""))
        if is_presence(fold):
            means = replace(means, role="measure", note="says whether the publisher is there")
        device, parts = _device(fold.kind, path)
        words = [*(safe(one) for one in behind if bare(one) not in DATA), *_words(fold.kind, parts)]
        if not words:
            words = [safe(next(iter([*parts[-1:], *behind[-1:]]), "value"))]
        where_in = selector(fold.kind, path)
        for topic in [None] if template and fold.words else fold.topics:
            if topic is not None and path not in topic.shape.members:
                continue
            held = {} if topic is None else hole_words(fold, topic)
            levels = [held.get(level[1:-1], level) if level[1:-1] in fold.words else level for level in own]
            holes = tuple(fold.words) if topic is None else ()
            of = "/".join(one if one[1:-1] in holes else safe(one) for one in (*levels, *device) if one) or "x"
            where = fold.template if topic is None else topic.name
            yield Row(
                point=f"{of}.{'.'.join(words)}", asset=of, role=means.role, source=source,
                address=f"{where}#{where_in}" if where_in else where, type=means.type, unit=means.unit,
                note=means.note, holes=holes,
            )  # fmt: skip


def _device(kind: str, path: Path) -> tuple[Sequence[str], Sequence[str]]:
    """Return the device that a value's id names, as gateways do: `Channel1.Press1.PartCount`, and the other names."""
    parts = [part for part in parts_of(kind, path) if part.strip()]
    named = [token[1:-1].partition("=")[2] for token in path if kind == "json" and token.startswith("[")]
    if len(named) == 1 and "." in named[0].strip("."):
        device, _, tag = named[0].strip(".").rpartition(".")
        return (device,), [tag if part == named[0] else part for part in parts]
    return (), parts


def _words(kind: str, parts: Sequence[str]) -> list[str]:
    kept = [part for part in parts if bare(part) not in GENERIC]
    return [f"c{part}" if kind == "csv" and part.isdecimal() else safe(part) for part in kept]


def selector(kind: str, path: Path) -> str:
    """Return what stands behind the # of an address; empty: nothing does."""
    if kind == "json":
        return "".join(f"/{token}" for token in path)
    if kind == "influx":
        return f"influx:{path[0]}{path[1]} {path[2]}"
    return f"csv:{path[0]}" if kind == "csv" else ""


def _of_owner(owner: Owner, source: str, guess: Guess) -> Iterator[Row]:
    of = "/".join(safe(one) for one in (owner.group, owner.node, owner.device) if one)
    for tag in owner.tags.values():
        if tag.kind == "other":
            continue
        means = of_tag(guess, tag)
        words = ".".join(safe(one) for one in tag.name.split("/") if one.strip()) or "x"
        yield Row(
            point=f"{of}.{words}", asset=of, role=means.role, source=source, address=f"{owner.name}#{tag.name}",
            unit=means.unit, note=means.note,
        )  # fmt: skip


def _settled(found: Sequence[Row]) -> list[Row]:
    """Leave an asset one value of each role that it has once; make ids unique."""
    taken: set[tuple[str, str]] = set()
    ids: Counter[str] = Counter()
    used: set[str] = set()
    result = []
    for row in found:
        role, note = row.role, row.note
        if role in _ONCE or role.startswith(("energy.", "power.")):
            if (row.asset, role) in taken:
                role, note = "measure", f"may be {role} as well"
            taken.add((row.asset, role))
        point = row.point
        while point in used:
            ids[row.point] += 1
            point = f"{row.point}_{ids[row.point] + 1}"
        used.add(point)
        result.append(replace(row, point=point, role=role, note=note))
    return result


def to_csv(found: Sequence[Row]) -> tuple[str, list[Row], Mapping[str, int]]:
    """Return the rows of points.csv, those that are in it, and how many were left out by reason."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    kept, left_out = list[Row](), Counter[str]()
    for row in found:
        if (reason := _unfit(row)) is not None:
            left_out[reason] += 1
            continue
        kept.append(row)
        writer.writerow([cell(text) for text in (row.point, row.asset, row.role, row.source, row.address, row.type,
                                                 clean(row.unit), clean(row.note))])  # fmt: skip
    return out.getvalue(), kept, left_out


def _unfit(row: Row) -> str | None:
    """Return why a row would not be read as it is meant, or None."""
    text = row.address
    for name in row.holes:
        text = text.replace(f"{{{name}}}", "x")
    if not text.isprintable() or text != text.strip() or text.startswith(("=", "+", "-", "@")):
        return "topics and names that no table can hold as they are"
    if "{" in text or "}" in text:
        return "topics and names with braces, which mean something in the point table"
    topic, _, selector = text.partition("#")
    try:
        if addresses.is_sparkplug(text):
            sparkplug.parse_address(text)
        elif addresses.cut(text) != (topic, selector) or addresses.filter_fault(topic):
            return "topics that no address can write"
        Point(point=row.point, asset=row.asset, role=row.role, source=row.source, address=text)
    except (ValidationError, ValueError):
        return "names of which no id or address can be made"
    return None
