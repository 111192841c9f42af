"""Browse and Read in parts that the server takes; what it refuses alone is named, and the rest goes on.

A request that the server refuses as a whole is cut in two until the operation that it means stands alone.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIdNames, ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from connectors.opcua.address import local
from connectors.opcua.session import Session
from connectors.opcua.wire import Malformed

REFERENCES = 1000
"""References of one node in one answer; the rest follows by BrowseNext."""
DEPTH = 32
"""Levels of supertypes that are followed."""

Key = tuple[int, Any]
"""A node id that is compared and hashed fast: namespace index and identifier."""
Name = tuple[str, str]
"""A browse name: its namespace's URI, and the name."""
References = list[ua.ReferenceDescription]

_MASK = 1 | 4 | 8 | 16 | 32
"""Of a reference: its type, and the target's class, names and type definition (OPC 10000-4, 5.9.2)."""
_TOO_MUCH = ("BadTooManyOperations", "BadRequestTooLarge", "BadResponseTooLarge", "BadEncodingLimitsExceeded")
_ENDED = ("BadSession", "BadSecure", "BadConnection", "BadShutdown", "BadServerHalted", "BadServiceUnsupported")

T = TypeVar("T")
R = TypeVar("R")


class Requests:
    """A session's Browse and Read, split by the server's limits, which it may have overstated."""

    def __init__(self, session: Session) -> None:
        """Take a session that is open."""
        self._session = session
        self._services = session.services
        self.browses, self.reads = session.limits.browse, session.limits.read
        """Operations in one request; they shrink where the server finds them too many."""
        self.released = False
        """Whether references were left on the server because there was no room for them."""

    async def references(
        self,
        nodes: Sequence[ua.NodeId],
        reference: int = ObjectIds.HierarchicalReferences,
        *,
        classes: int = 0,
        inverse: bool = False,
        room: int | None = None,
    ) -> list[References | int]:
        """Return the references of each node, or the StatusCode with which the server refuses them.

        room: stop following and let the server forget the rest, once so many came.
        """
        wanted = [_description(node, reference, classes, inverse=inverse) for node in nodes]

        async def browse(part: Sequence[ua.BrowseDescription]) -> list[References | int]:
            return await self._browse(part, room)

        return await self._split(wanted, browse, "browses")

    async def _browse(self, wanted: Sequence[ua.BrowseDescription], room: int | None) -> list[References | int]:
        parameters = ua.BrowseParameters(
            RequestedMaxReferencesPerNode=ua.UInt32(REFERENCES), NodesToBrowse=list(wanted)
        )
        results = await self._services.browse(parameters)
        if len(results) != len(wanted):
            raise Malformed(f"{len(results)} results where {len(wanted)} nodes were browsed")
        found = [_outcome(result) for result in results]
        points = {row: bytes(r.ContinuationPoint) for row, r in enumerate(results) if r.ContinuationPoint}
        while points:
            enough = room is not None and sum(len(one) for one in found if isinstance(one, list)) > room
            points = await self._next(points, found, release=enough)
        for row, one in enumerate(found):
            # The server had no continuation point to spare beside the others: now they are free.
            if one == StatusCodes.BadNoContinuationPoints and len(wanted) > 1:
                found[row : row + 1] = await self._browse([wanted[row]], room)
        return found

    async def _next(
        self, points: Mapping[int, bytes], found: list[References | int], *, release: bool
    ) -> dict[int, bytes]:
        """Add what follows to `found`, or let the server forget it; returns the points that are still open."""
        asked = ua.BrowseNextParameters(
            ReleaseContinuationPoints=release,
            ContinuationPoints=[ua.ByteString(point) for point in points.values()],
        )
        answers = await self._services.browse_next(asked)
        if release:
            self.released = True
            return {}
        if len(answers) != len(points):
            raise Malformed(f"{len(answers)} results where {len(points)} nodes were browsed on")
        still: dict[int, bytes] = {}
        for row, answer in zip(points, answers, strict=True):
            more, before = _outcome(answer), found[row]
            if isinstance(more, int) or isinstance(before, int):
                found[row] = more
                continue
            before += more
            if answer.ContinuationPoint:
                still[row] = answer.ContinuationPoint
        return still

    async def attributes(
        self, nodes: Sequence[ua.NodeId], attributes: Sequence[AttributeIds]
    ) -> list[list[ua.DataValue | int]]:
        """Return for each node its attributes, or the StatusCodes with which the server refuses to tell."""
        wanted = [ua.ReadValueId(NodeId=node, AttributeId=ua.IntegerId(a)) for node in nodes for a in attributes]
        found = await self._split(wanted, self._read, "reads")
        return [found[at : at + len(attributes)] for at in range(0, len(found), len(attributes))]

    async def _read(self, wanted: Sequence[ua.ReadValueId]) -> list[ua.DataValue | int]:
        parameters = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Neither, NodesToRead=list(wanted))
        found: list[ua.DataValue | int] = []
        found += await self._services.read(parameters)
        return found

    async def types(self, keys: Iterable[Key]) -> dict[Key, tuple[Name, ...]]:
        """Return each type's name and those of its supertypes, the nearest first; empty where they are not told."""
        chains: dict[Key, tuple[Name, ...]] = dict.fromkeys(keys, ())
        nodes = {key: ua.NodeId(key[1], ua.Int16(key[0])) for key in chains}
        names = await self.attributes(list(nodes.values()), (AttributeIds.BrowseName,))
        for key, (told,) in zip(chains, names, strict=True):
            name = value(told)
            if isinstance(name, ua.QualifiedName):
                chains[key] = (self.name(name),)
            elif not key[0] and key[1] in ObjectIdNames:
                chains[key] = (("", ObjectIdNames[key[1]]),)
        above = {key: node for key, node in nodes.items() if chains[key]}
        for _ in range(DEPTH):
            above = await self._supertypes(above, chains) if above else {}
        return chains

    async def _supertypes(
        self, of: Mapping[Key, ua.NodeId], chains: dict[Key, tuple[Name, ...]]
    ) -> dict[Key, ua.NodeId]:
        asked = {key_of(node): node for node in of.values()}
        found = await self.references(list(asked.values()), ObjectIds.HasSubtype, inverse=True)
        supertypes = {key: one[0] for key, one in zip(asked, found, strict=True) if isinstance(one, list) and one}
        above: dict[Key, ua.NodeId] = {}
        for key, node in of.items():
            if (reference := supertypes.get(key_of(node))) is not None:
                chains[key] += (self.name(reference.BrowseName),)
                above[key] = self.local(reference.NodeId)
        return above

    def name(self, name: ua.QualifiedName) -> Name:
        """Return a browse name with its namespace's URI; empty for namespace 0, and where the server has none."""
        namespaces, index = self._session.namespaces, name.NamespaceIndex
        return (namespaces[index] if 0 < index < len(namespaces) else "", str(name.Name or ""))

    def local(self, node: ua.NodeId) -> ua.NodeId:
        """Return an ExpandedNodeId as a node id of this server."""
        return local(node, self._session.namespaces)

    async def _split(
        self, items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[list[R | int]]], size: str
    ) -> list[R | int]:
        """Return what `call` answers for each item.

        size: the name of how many items the server takes.
        """
        found: list[R | int] = []
        while len(found) < len(items):
            part = items[len(found) : len(found) + getattr(self, size)]
            found += await self._answered(part, call, size)
        return found

    async def _answered(
        self, items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[list[R | int]]], size: str
    ) -> list[R | int]:
        try:
            found = await call(items)
        except UaStatusCodeError as error:
            name = code_name(error.code)
            if name.startswith(_ENDED):
                raise
            if len(items) == 1:
                return [int(error.code)]
            half = (len(items) + 1) // 2
            if name in _TOO_MUCH:
                setattr(self, size, min(getattr(self, size), half))
            return await self._answered(items[:half], call, size) + await self._answered(items[half:], call, size)
        if len(found) != len(items):
            raise Malformed(f"{len(found)} results where {len(items)} were asked for")
        return found


def _description(node: ua.NodeId, reference: int, classes: int, *, inverse: bool) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Inverse if inverse else ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.Int32(reference)),
        IncludeSubtypes=True,
        NodeClassMask=ua.UInt32(classes),
        ResultMask=ua.UInt32(_MASK),
    )


def _outcome(result: ua.BrowseResult) -> References | int:
    return list(result.References or ()) if result.StatusCode.is_good() else int(result.StatusCode.value)


def key_of(node: ua.NodeId) -> Key:
    """Return a node id as a key of this server."""
    return (node.NamespaceIndex, node.Identifier)


def code_name(code: int) -> str:
    """Return a StatusCode's name."""
    return str(ua.StatusCode(ua.UInt32(code)).name)


def value(data: ua.DataValue | int) -> Any:
    """Return what was read; None where it was refused or is null."""
    return data.Value.Value if isinstance(data, ua.DataValue) and data.Value is not None else None


def bad_code(data: ua.DataValue | int) -> int:
    """Return the Bad StatusCode of what was read; 0 where it is good or uncertain."""
    if isinstance(data, int):
        return data
    return int(data.StatusCode.value) if data.StatusCode is not None and data.StatusCode.is_bad() else 0
