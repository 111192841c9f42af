"""Structures by the server's own type definitions (OPC 10000-3, 8.48; encoding: OPC 10000-6, 5.2.6 and 5.2.7).

The library keeps types it loaded in one place for all servers, by node id; two servers may give one id to two types.
Here each session has its own.
"""

import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import unpack_uatype

from connectors.opcua.session import Session
from connectors.opcua.wire import Malformed

log = logging.getLogger("plantproof.opcua")

_BUILT_IN = 25
"""Data types of namespace 0 up to this number are built in."""
_DEPTH = 16


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: "ua.VariantType | Definition"
    is_array: bool
    optional: bool


@dataclass(slots=True)
class Definition:
    """A structure's fields in the order of their encoding; filled in after its own fields may refer to it."""

    fields: Sequence[_Field] = ()
    optional: bool = False
    union: bool = False


class Structures:
    """The structures of one session."""

    def __init__(self) -> None:
        """Begin without any; `learn` asks the server."""
        self._by_encoding: dict[ua.NodeId, Definition] = {}
        self._by_type: dict[ua.NodeId, ua.VariantType | Definition] = {}

    async def learn(self, session: Session, encodings: Iterable[ua.NodeId]) -> None:
        """Ask the server what lies behind the encodings of structures; what it does not tell stays unknown."""
        for encoding in encodings:
            if encoding in self._by_encoding:
                continue
            try:
                above = await _inverse(session, encoding, ObjectIds.HasEncoding)
                found = await self._kind(session, above) if above is not None else None
            except Malformed as error:  # one type that cannot be read is no matter of the other points
                log.warning("structures of %s are not read: %s", encoding.to_string(), error)
                self._by_type = {}
                continue
            if isinstance(found, Definition):
                self._by_encoding[encoding] = found

    def decode(self, encoding: ua.NodeId, body: bytes) -> Mapping[str, Any]:
        """Return a structure's fields by name. Raises Malformed, also where its type is unknown."""
        definition = self._by_encoding.get(encoding)
        if definition is None:
            raise Malformed(f"the type of structures of {encoding.to_string()} is unknown")
        try:
            return _fields(definition, Buffer(body), 0)
        except (NotEnoughData, struct.error, ValueError, TypeError) as error:
            raise Malformed(f"a structure does not fit its definition: {error}") from error

    async def _kind(self, session: Session, data_type: ua.NodeId) -> "ua.VariantType | Definition":
        """Return how values of a data type are encoded."""
        if data_type in self._by_type:
            return self._by_type[data_type]
        number = data_type.Identifier if data_type.NamespaceIndex == 0 else None
        if isinstance(number, int) and number <= _BUILT_IN:
            return ua.VariantType(24 if number == 24 else number)
        if number == ObjectIds.Enumeration:
            return ua.VariantType.Int32
        (read,) = await session.read([data_type], AttributeIds.DataTypeDefinition)
        told = read.Value.Value if read.Value is not None else None
        if isinstance(told, ua.StructureDefinition):
            return await self._define(session, data_type, told)
        above = await _inverse(session, data_type, ObjectIds.HasSubtype)
        if above is None:
            raise Malformed(f"the server does not tell what data type {data_type.to_string()} is")
        self._by_type[data_type] = found = await self._kind(session, above)
        return found

    async def _define(self, session: Session, data_type: ua.NodeId, told: ua.StructureDefinition) -> Definition:
        kind = int(told.StructureType)
        definition = Definition(optional=kind == 1, union=kind in (2, 4))
        self._by_type[data_type] = definition
        fields = []
        for one in told.Fields:
            in_object = kind in (3, 4) and one.IsOptional  # a subtype may stand there, so it says its type
            of = ua.VariantType.ExtensionObject if in_object else await self._kind(session, one.DataType)
            if one.ValueRank > 1:
                raise Malformed(f"field {one.Name} is an array of {one.ValueRank} dimensions, which is not read")
            fields.append(_Field(str(one.Name), of, one.ValueRank == 1, kind == 1 and one.IsOptional))
        definition.fields = fields
        if told.DefaultEncodingId is not None and not told.DefaultEncodingId.is_null():
            self._by_encoding[told.DefaultEncodingId] = definition
        return definition


async def _inverse(session: Session, node: ua.NodeId, reference: int) -> ua.NodeId | None:
    """Return the first node that a reference comes from."""
    description = ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Inverse,
        ReferenceTypeId=ua.NodeId(ua.Int32(reference)),
        IncludeSubtypes=False,
        ResultMask=ua.UInt32(0),
    )
    (result,) = await session.services.browse(ua.BrowseParameters(NodesToBrowse=[description]))
    return result.References[0].NodeId if result.References else None


def _fields(definition: Definition, data: Buffer, depth: int) -> dict[str, Any]:
    if depth > _DEPTH:
        raise Malformed("structures lie too deep in one another")
    if definition.union:
        switch = _uint32(data)
        if switch > len(definition.fields):
            raise Malformed(f"a union's switch is {switch} of {len(definition.fields)}")
        return {one.name: _value(one, data, depth) for one in definition.fields[switch - 1 : switch] if switch}
    present = _uint32(data) if definition.optional else 0
    found: dict[str, Any] = {}
    bit = 0
    for one in definition.fields:
        if one.optional:
            bit += 1
            if not present >> (bit - 1) & 1:
                found[one.name] = None
                continue
        found[one.name] = _value(one, data, depth)
    return found


def _value(field: _Field, data: Buffer, depth: int) -> Any:
    if not field.is_array:
        return _one(field, data, depth)
    count = _uint32(data)
    if count == 0xFFFF_FFFF:
        return None
    if count > len(data):
        raise Malformed(f"field {field.name} has {count} elements in {len(data)} bytes")
    return [_one(field, data, depth) for _ in range(count)]


def _one(field: _Field, data: Buffer, depth: int) -> Any:
    if isinstance(field.kind, Definition):
        return _fields(field.kind, data, depth + 1)
    return unpack_uatype(field.kind, data)


def _uint32(data: Buffer) -> int:
    number: int = struct.unpack("<I", data.read(4))[0]
    return number
