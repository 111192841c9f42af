"""What an OPC UA server offers: its nodes, breadth first, each once, and what its variables say now."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from connectors.opcua.address import browse_path, node_id, parse, written
from connectors.opcua.requests import Key, Name, Requests, bad_code, code_name, key_of, value
from connectors.opcua.session import Session
from connectors.roles import Kind, unit_of

LIMIT = 100_000
"""Most nodes that are visited where nothing else is said."""
_CLASSES = int(ua.NodeClass.Object) | int(ua.NodeClass.Variable)
_ATTRIBUTES = (
    AttributeIds.DataType,
    AttributeIds.ValueRank,
    AttributeIds.UserAccessLevel,
    AttributeIds.Description,
    AttributeIds.Value,
)
_OF_PARENT = {("", name) for name in ("EngineeringUnits", "EURange", "EnumStrings", "EnumValues")}
"""Properties that say more of their parent (OPC 10000-8, 5.3)."""
_STANDARD: tuple[Key, ...] = tuple((0, n) for n in (ObjectIds.Server, ObjectIds.Aliases, ObjectIds.Locations))
"""Objects of every server, which say nothing of a machine."""
_READABLE = 1
_KINDS: Mapping[int, Kind] = {
    **dict.fromkeys(range(2, 10), "whole"), 1: "boolean", 10: "number", 11: "number", 12: "text", 17: "text",
    20: "text", 21: "text",
}  # fmt: skip
"""Built-in type -> kind of its samples; arrays, structures, bytes and times have none (OPC 10000-6, 5.1.2)."""
_KINDS_OF_TYPES: Mapping[str, Kind] = {
    "Enumeration": "whole", "Integer": "whole", "UInteger": "whole", "Float": "number", "Double": "number",
    "Number": "number", "Boolean": "boolean", "String": "text", "LocalizedText": "text", "NodeId": "text",
}  # fmt: skip


@dataclass(slots=True, repr=False)  # asyncio writes out what a task returns, and a node leads to all others
class Node:
    """An object or variable, where it was met first."""

    id: ua.NodeId
    name: Name
    shown: str
    """Its DisplayName."""
    is_variable: bool
    is_property: bool = False
    type: Key = (0, 0)
    """Its type definition."""
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)
    """All that it refers to, also what was met elsewhere before."""
    data_type: str = ""
    kind: Kind = "other"
    rank: int = -1
    value: Any = None
    status: str = ""
    """Why there is no value; empty: there is one."""
    description: str = ""
    unit: str = ""
    note: str = ""
    readable: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """The browse names from the start to here, without the start's."""
        names: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            names.append(node.name[1])
            node = node.parent
        return tuple(reversed(names))

    @property
    def describes_parent(self) -> bool:
        """Whether it is a property that says more of its parent."""
        return self.is_property and self.name in _OF_PARENT

    def child(self, *names: str) -> "Node | None":
        """Return what lies at a path of browse names below; None where nothing does."""
        node: Node | None = self
        for name in names:
            node = next((c for c in node.children if c.name[1] == name), None) if node is not None else None
        return node


@dataclass(slots=True, kw_only=True, repr=False)
class Found:
    """All that was found below a node."""

    start: Node
    nodes: list[Node]
    """Breadth first, without the start."""
    namespaces: Sequence[str]
    types: Mapping[Key, tuple[Name, ...]]
    """Type definition -> its name and those of its supertypes, the nearest first."""
    refused: Counter[str]
    """StatusCode -> nodes that the server did not let be browsed or read."""
    cut: bool
    """Whether there is more than was asked for."""

    def variables(self) -> Iterator[Node]:
        """Yield the variables that can be read, without the properties that describe their parent."""
        return (n for n in self.nodes if n.is_variable and n.readable and not n.describes_parent)

    def address(self, node: Node) -> str:
        """Return a node's address, by namespace URI where it has one that an address can hold."""
        return written(node.id, self.namespaces)

    def is_a(self, node: Node, uri: str, name: str) -> bool:
        """Return whether a node's type, or one that it derives from, is a specification's."""
        return (uri, name) in self.types.get(node.type, ())


async def browse(session: Session, start: str = "", limit: int = LIMIT) -> Found:
    """Return what lies below `start`, an address; empty: the Objects folder without what every server has there.

    limit: most nodes.
    Raises LookupError where the server has no such node, and what the library raises where the link breaks.
    """
    walk = _Walk(session, limit)
    root = await walk.root(start)
    if not start:
        walk.seen |= dict.fromkeys(_STANDARD)
    await walk.down(root)
    await walk.look()
    types = await walk.requests.types(node.type for node in walk.nodes if node.type[0])
    return Found(
        start=root,
        nodes=walk.nodes,
        namespaces=session.namespaces,
        types=types,
        refused=walk.refused,
        cut=walk.cut,
    )


class _Walk:
    """One walk over one server."""

    def __init__(self, session: Session, limit: int) -> None:
        self._session, self._limit = session, limit
        self.requests = Requests(session)
        self.nodes: list[Node] = []
        self.seen: dict[Key, Node | None] = {}
        self.refused: Counter[str] = Counter()
        self.cut = False

    async def root(self, start: str) -> Node:
        """Return the node to begin at."""
        found = await self._find(start) if start else ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder))
        asked = (AttributeIds.BrowseName, AttributeIds.DisplayName, AttributeIds.NodeClass)
        (told,) = await self.requests.attributes([found], asked)
        name, shown, kind = map(value, told)
        if name is None:
            raise LookupError(f"{start or 'the Objects folder'}: the server has no such node, or does not show it")
        node = Node(found, self.requests.name(name), _text(shown) or name.Name, kind == ua.NodeClass.Variable)
        self.seen[key_of(found)] = node
        if node.is_variable:
            self.nodes.append(node)
        return node

    async def _find(self, start: str) -> ua.NodeId:
        try:
            target = next(target for target in parse(start) if not target.steps)
        except (ValueError, StopIteration) as error:
            why = error or "it names a part of a value"
            raise LookupError(f"{start!r} is no address: {why}; write ns=2;s=name or /Objects/2:Line") from error
        namespaces = self._session.namespaces
        if not target.path:
            if (found := node_id(target, namespaces)) is None:
                raise LookupError(f"{start}: the server has no namespace {target.uri!r}")
            return found
        path = browse_path(target, namespaces)
        results = await self._session.services.translate_browsepaths_to_nodeids([path]) if path is not None else []
        if not results or not results[0].Targets:
            raise LookupError(f"{start}: the server has no such path")
        return self.requests.local(results[0].Targets[0].TargetId)

    # --- nodes ---

    async def down(self, root: Node) -> None:
        """Visit everything below, level by level."""
        level = [root]
        while level and not self.cut:
            below: list[Node] = []
            at = 0
            while at < len(level) and not self.cut:
                part = level[at : at + self.requests.browses]
                at += len(part)
                below += await self._visit(part)
            level = below

    async def _visit(self, part: Sequence[Node]) -> list[Node]:
        room = self._limit - len(self.nodes)
        found = await self.requests.references([node.id for node in part], classes=_CLASSES, room=room)
        self.refused.update(code_name(one) for one in found if isinstance(one, int))
        below: list[Node] = []
        for node, references in zip(part, found, strict=True):
            below += self._take(node, references) if isinstance(references, list) else ()
        self.cut = self.cut or self.requests.released
        return below

    def _take(self, node: Node, references: Sequence[ua.ReferenceDescription]) -> Iterator[Node]:
        """Hang what a node refers to below it, and yield what is to be visited next."""
        for reference in references:
            key = key_of(target := self.requests.local(reference.NodeId))
            if getattr(reference.NodeId, "ServerIndex", 0):
                continue
            if key in self.seen:
                if (known := self.seen[key]) is not None:
                    node.children.append(known)
                continue
            if len(self.nodes) >= self._limit:
                self.cut = True
                return
            new = self._node(target, reference, node)
            self.seen[key] = new
            node.children.append(new)
            self.nodes.append(new)
            if not new.is_property:
                yield new

    def _node(self, target: ua.NodeId, reference: ua.ReferenceDescription, parent: Node) -> Node:
        name = self.requests.name(reference.BrowseName)
        return Node(
            target,
            name,
            _text(reference.DisplayName) or name[1],
            is_variable=reference.NodeClass == ua.NodeClass.Variable,
            is_property=key_of(reference.ReferenceTypeId) == (0, ObjectIds.HasProperty),
            type=key_of(self.requests.local(reference.TypeDefinition)),
            parent=parent,
        )

    # --- what variables say ---

    async def look(self) -> None:
        """Read the attributes of the variables, and let properties speak for their parents."""
        variables = [node for node in self.nodes if node.is_variable and not node.describes_parent]
        rows = await self.requests.attributes([node.id for node in variables], _ATTRIBUTES)
        data_types: list[ua.NodeId | None] = []
        for node, (data_type, rank, access, description, data) in zip(variables, rows, strict=True):
            node.readable = not isinstance(level := value(access), int) or bool(level & _READABLE)
            node.rank = found if isinstance(found := value(rank), int) else -1
            node.description = _text(value(description))
            node.value, node.kind = value(data), _kind(data)
            if code := bad_code(data):
                node.status = code_name(code)
            data_types.append(value(data_type))
        await self._name_types(variables, data_types)
        told = [node for node in self.nodes if node.describes_parent]
        for node, (data,) in zip(told, await self._values([node.id for node in told]), strict=True):
            if node.parent is not None:
                _describe(node.parent, node.name[1], value(data))
        self.refused.update(_refusals(variables))

    async def _values(self, nodes: Sequence[ua.NodeId]) -> list[list[ua.DataValue | int]]:
        return await self.requests.attributes(nodes, (AttributeIds.Value,))

    async def _name_types(self, variables: Sequence[Node], data_types: Sequence[ua.NodeId | None]) -> None:
        """Name the data types, and note the words of enumerations."""
        each = {key_of(data_type): data_type for data_type in data_types if data_type is not None}
        chains = await self.requests.types(each)
        enumerations = [key for key in each if ("", "Enumeration") in chains[key][1:]]
        words = await self._enumerations([each[key] for key in enumerations])
        notes = dict(zip(enumerations, words, strict=True))
        for node, data_type in zip(variables, data_types, strict=True):
            if data_type is None:
                continue
            chain = chains[key_of(data_type)]
            node.data_type = chain[0][1] if chain else str(data_type.to_string())
            node.note = notes.get(key_of(data_type), "")
            if node.value is None and node.rank == -1:
                known = (_KINDS_OF_TYPES[name] for uri, name in chain if not uri and name in _KINDS_OF_TYPES)
                node.kind = next(known, "other")

    async def _enumerations(self, data_types: Sequence[ua.NodeId]) -> list[str]:
        """Return the words of enumerations; empty where the server does not tell them."""
        found = await self.requests.references(data_types, ObjectIds.HasProperty)
        told = [
            (row, self.requests.local(reference.NodeId))
            for row, references in enumerate(found)
            for reference in (references if isinstance(references, list) else ())
            if reference.BrowseName.Name in ("EnumStrings", "EnumValues")
        ]
        values = await self._values([node for _, node in told])
        notes = [""] * len(data_types)
        for (row, _), (data,) in zip(told, values, strict=True):
            notes[row] = _words(value(data)) or notes[row]
        return notes


def _text(text: Any) -> str:
    return str(getattr(text, "Text", None) or "")


def _refusals(variables: Sequence[Node]) -> Iterator[str]:
    """Yield the StatusCodes of nodes whose value is kept from us, not of those that have none at the moment."""
    kept = (
        "BadUserAccess",
        "BadNotReadable",
        "BadSecurityMode",
        "BadNodeId",
        "BadTooMany",
        "BadResponse",
        "BadEncoding",
    )
    return (node.status for node in variables if node.readable and node.status.startswith(kept))


def _kind(data: ua.DataValue | int) -> Kind:
    """Return what a sample of this value would be."""
    if isinstance(data, int) or data.Value is None or isinstance(data.Value.Value, list):
        return "other"
    return _KINDS.get(int(getattr(data.Value.VariantType, "value", 0)), "other")


def _describe(node: Node, name: str, said: Any) -> None:
    """Take what a property says of its parent."""
    if name == "EngineeringUnits" and isinstance(said, ua.EUInformation):
        node.unit = unit_of(int(said.UnitId or 0), _text(said.DisplayName))
    elif name == "EURange" and isinstance(said, ua.Range):
        node.note = ", ".join(filter(None, (node.note, f"range {said.Low:g} .. {said.High:g}")))
    elif name in ("EnumStrings", "EnumValues"):
        node.note = _words(said) or node.note


def _words(said: Any) -> str:
    """Return the words of an enumeration: `0 Manual, 1 Automatic`."""
    pairs = (
        (one.Value, _text(one.DisplayName)) if isinstance(one, ua.EnumValueType) else (n, _text(one))
        for n, one in enumerate(said if isinstance(said, list) else ())
    )
    return ", ".join(f"{number} {word}" for number, word in pairs if word)
