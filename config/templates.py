"""Rows of the point table that stand for the same point of many assets: `{name}` in point, asset and address.

A name is a word of the asset's id where the asset column has it in braces (`{line}/{machine}`; `{asset}` is the whole
id), or else a column of the device register.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from config.faults import Fault
from config.plant import Asset, Point

HOLE = re.compile(r"\{([^{}/]+)\}")
WHOLE = "asset"
"""The name of a whole id."""


Words = Mapping[str, str]


def is_template(point: Point, kind: str | None) -> bool:
    """Return whether a row stands for many points; `kind` is its source's, None where it has none.

    In the addresses of other protocols, braces are signs as any other, such as those of a GUID.
    """
    cells = (point.point, point.asset, point.address if kind in ("mqtt", None) else "")
    return any(HOLE.search(cell) for cell in cells)


def words(assets: Sequence[Asset]) -> dict[str, Words]:
    """Return what each asset's columns of the register say, by the asset's id."""
    return {
        asset.asset: {
            **asset.columns,
            **{name: value for name, value in asset.model_dump().items() if isinstance(value, str)},
        }
        for asset in assets
    }


def expand(
    point: Point, place: str, register: Mapping[str, Words], faults: list[Fault]
) -> Iterator[tuple[dict[str, str], str, str]]:
    """Yield the cells, the place and the id of each point that a row with names in braces stands for.

    register: see `words`. Assets that have no word for one of the names are passed over. What is wrong goes to
    `faults`.
    """
    pattern, groups = _pattern(point.asset)
    matches = ((asset, pattern.fullmatch(asset)) for asset in register)
    meant = {
        asset: {**register[asset], **{name: match[group] for name, group in groups.items()}}
        for asset, match in matches
        if match is not None
    }
    names = {*HOLE.findall(point.point), *HOLE.findall(point.address)}
    full = {asset: known for asset, known in meant.items() if all(known.get(name) for name in names)}
    thing = f"point {point.point}"
    if not full:
        rule, hint = _nobody(meant, names)
        faults.append(Fault(f"{place} asset", thing, point.asset, rule, hint))
        return
    ids = [_filled(point.point, known) for known in full.values()]
    if len(set(ids)) < len(ids):
        hint = "put the names that tell the assets apart into the point's id as well"
        faults.append(Fault(f"{place} point", thing, point.point, "names points of several assets alike", hint))
        return
    for (asset, known), name in zip(full.items(), ids, strict=True):
        cells = {"point": name, "asset": asset, "address": _filled(point.address, known)}
        yield cells, f"{place.removesuffix(' column')} (asset {asset}) column", name


def fits(asset: str, pattern: str) -> bool:
    """Return whether an asset's id fits an asset column with names in braces."""
    return _pattern(pattern)[0].fullmatch(asset) is not None


def _pattern(text: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the expression of an asset column with names in braces, and each name's group in it."""
    parts, groups = HOLE.split(text), dict[str, str]()
    expression = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        if name in groups:  # the same name twice is the same word twice
            expression += f"(?P={groups[name]})"
        else:
            groups[name] = f"g{len(groups)}"
            expression += f"(?P<{groups[name]}>{'.+' if name == WHOLE else '[^/]+'})"
        expression += re.escape(literal)
    return re.compile(expression), groups


def _nobody(meant: Mapping[str, Words], names: Collection[str]) -> tuple[str, str]:
    if not meant:
        return "fits no asset of the device register", "mend it, or add the assets to assets.csv"
    known = {name for words in meant.values() for name, word in words.items() if word}
    missing = ", ".join(f"{{{name}}}" for name in sorted(names) if name not in known) or "all names at once"
    hint = "name it in the asset column, such as {line}/{machine}, or fill a column of that name in assets.csv"
    return f"fits assets of which none has a word for {missing}", hint


def _filled(text: str, known: Words) -> str:
    return HOLE.sub(lambda hole: known[hole[1]], text)
