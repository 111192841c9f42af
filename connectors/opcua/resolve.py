"""Addresses to nodes on one server: namespaces, browse paths, and how much of an address is the node."""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from connectors.opcua.address import Step, Target, browse_path, local, node_id, parse
from connectors.opcua.session import Session


@dataclass(frozen=True, slots=True)
class Place:
    """A point's node, and the way into its value."""

    node: ua.NodeId
    steps: tuple[Step, ...] = ()


async def resolve(session: Session, addresses: Sequence[str]) -> list[Place | None]:
    """Return each address's place on this server; None where it has no such namespace or path.

    An address whose end may belong to the node or be a part of its value is tried the longest node first; where the
    server knows none of them, the longest stands, and reading it says why it is bad.
    """
    ways = [list(parse(address)) for address in addresses]
    found: list[Place | None] = [None] * len(ways)
    longest: dict[int, Place] = {}
    waiting = list(range(len(ways)))
    turn = 0
    while waiting:
        tried = {n: ways[n][turn] for n in waiting}
        places = await _places(session, tried)
        unsure = {n: place for n, place in places.items() if len(ways[n]) > 1}
        known = await _variables(session, unsure)
        for n, place in places.items():
            longest.setdefault(n, place)
            if n not in unsure or n in known:
                found[n] = place
        turn += 1
        waiting = [n for n in waiting if found[n] is None and turn < len(ways[n])]
    return [place or longest.get(n) for n, place in enumerate(found)]


async def _places(session: Session, targets: dict[int, Target]) -> dict[int, Place]:
    """Return where targets lie; those whose namespace or path the server has not are left out."""
    names = session.namespaces
    places = {n: Place(node, t.steps) for n, t in targets.items() if (node := node_id(t, names)) is not None}
    paths = {n: path for n, t in targets.items() if t.path and (path := browse_path(t, names)) is not None}
    asked = list(paths)
    for start in range(0, len(asked), session.limits.translate):
        part = asked[start : start + session.limits.translate]
        results = await session.services.translate_browsepaths_to_nodeids([paths[n] for n in part])
        for n, result in zip(part, results, strict=True):
            whole = [one for one in result.Targets or () if one.RemainingPathIndex == 0xFFFF_FFFF]
            if result.StatusCode.is_good() and whole:
                places[n] = Place(local(whole[0].TargetId, names), targets[n].steps)
    return places


async def _variables(session: Session, places: dict[int, Place]) -> set[int]:
    """Return which places are variables that the server knows."""
    classes = await session.read([place.node for place in places.values()], AttributeIds.NodeClass)
    return {
        n
        for n, data in zip(places, classes, strict=True)
        if data.Value is not None and data.Value.Value == ua.NodeClass.Variable
    }
