"""OPC UA addresses: which node, and which part of its value.

* `ns=2;s=name`, `ns=2;i=1234`, and `nsu=urn:maker;s=name`, which survives a moved namespace index;
* `/Objects/2:Line/2:Speed` or `/Objects/nsu=urn:maker;Line/...`: a browse path from the root; `&` before a character
  takes its meaning away;
* behind either `[3]`, `[1,2]`, `[2:5]` for elements of an array and `.Field` for a field of a structure, one after
  another. A string id may itself end so (`ns=3;s="DB1"."arr"[3]`): the longest part that the server knows as a
  variable is the node, and the rest is the part of its value.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError

Step = str | int | tuple[int, int]
"""A field's name, an element's index, or the first and last index of a range."""

_STEP = re.compile(r"\.([^.\[\]\"]+)|\[(\d+(?:,\d+)*)\]|\[(\d+):(\d+)\]")
_STEPS = re.compile(rf"(?:{_STEP.pattern})*")
_NAME = re.compile(r"(?:nsu=(?P<uri>[^;]+);|(?P<index>\d+):)?(?P<name>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Name:
    """One element of a browse path."""

    name: str
    index: int = 0
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One reading of an address: a node, by id or by path, and the way into its value."""

    steps: tuple[Step, ...] = ()
    node: str = ""
    """Node id without `nsu=`; empty for a path."""
    uri: str | None = None
    path: tuple[Name, ...] = ()


def parse(address: str) -> tuple[Target, ...]:
    """Return what an address may mean, the longest node first. Raises ValueError saying what is wrong."""
    if address.startswith("/"):
        return _paths(address)
    uri, rest = _split(address)
    if uri == "" or (uri and rest.startswith("ns=")):
        raise ValueError("a namespace stands as ns=2 or as nsu=urn:maker, not as both and not empty")
    targets = [Target(steps, node, uri) for node, steps in _cuts(rest, _is_string(rest))]
    good = [target for target in targets if _is_node_id(target.node)]
    if not good:
        raise ValueError("it is no node id")
    return tuple(good)


def fault(address: str) -> str | None:
    """Return what is wrong with an address, or None."""
    try:
        parse(address)
    except ValueError as error:
        return (
            f"address {address!r}: {error}; write ns=2;s=name, ns=2;i=1234, nsu=urn:maker;s=name or "
            "/Objects/2:Line/2:Speed, as the server's browser shows it, and [3] or .Field behind it for a part"
        )
    return None


def node_id(target: Target, namespaces: Sequence[str]) -> ua.NodeId | None:
    """Return a target's node id on a server with these namespaces; None where it has no such URI, or is a path."""
    if target.path or (target.uri is not None and target.uri not in namespaces):
        return None
    prefix = f"ns={namespaces.index(target.uri)};" if target.uri is not None else ""
    return ua.NodeId.from_string(prefix + target.node)


def written(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """Return a node id as an address that survives a moved namespace index."""
    index = node.NamespaceIndex
    uri = namespaces[index] if 0 < index < len(namespaces) else ""
    if not uri or ";" in uri or not uri.isprintable():
        return str(ua.NodeId(node.Identifier, ua.Int16(index), node.NodeIdType).to_string())
    return f"nsu={uri};{ua.NodeId(node.Identifier, ua.Int16(0), node.NodeIdType).to_string()}"


def local(node: ua.NodeId, namespaces: Sequence[str]) -> ua.NodeId:
    """Return an ExpandedNodeId as a node id of this server."""
    uri = getattr(node, "NamespaceUri", None)
    index = namespaces.index(uri) if uri and uri in namespaces else node.NamespaceIndex
    return ua.NodeId(node.Identifier, ua.Int16(index), node.NodeIdType)


def browse_path(target: Target, namespaces: Sequence[str]) -> ua.BrowsePath | None:
    """Return a target's path from the root; None where the server has not each of its namespaces."""
    if any(name.uri is not None and name.uri not in namespaces for name in target.path):
        return None
    elements = [
        ua.RelativePathElement(
            ReferenceTypeId=ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences)),
            IsInverse=cast(ua.Boolean, False),
            IncludeSubtypes=cast(ua.Boolean, True),
            TargetName=ua.QualifiedName(
                name.name, ua.UInt16(namespaces.index(name.uri) if name.uri is not None else name.index)
            ),
        )
        for name in target.path
    ]
    return ua.BrowsePath(ua.NodeId(ua.Int32(ObjectIds.RootFolder)), ua.RelativePath(elements))


def _split(address: str) -> tuple[str | None, str]:
    """Return the namespace's URI, None where there is none, and the rest of the address."""
    if not address.startswith("nsu="):
        return None, address
    uri, _, rest = address[4:].partition(";")
    return uri, rest


def _is_string(text: str) -> bool:
    return re.match(r"(ns=\d+;)?s=", text) is not None


def _is_node_id(text: str) -> bool:
    try:
        return ua.NodeId.from_string(text).Identifier not in (None, "")
    except (UaError, ValueError, TypeError):
        return False


def _cuts(text: str, is_string: bool) -> list[tuple[str, tuple[Step, ...]]]:
    """Return every way to cut a text into a node and the steps behind it, the longest node first.

    Only a string id or a browse name may itself hold `.` and `[`.
    """
    places = [m.start() for m in re.finditer(r"[.\[]", text) if _STEPS.fullmatch(text, m.start())]
    cuts = [(text[:at], _steps(text[at:])) for at in reversed(places) if at]
    if is_string:
        return [(text, ()), *cuts]
    return cuts[-1:] or [(text, ())]


def _steps(text: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    for match in _STEP.finditer(text):
        field, indices, first, last = match.groups()
        if field is not None:
            steps.append(field)
        elif indices is not None:
            steps += [int(index) for index in indices.split(",")]
        else:
            steps.append((int(first), int(last)))
    return tuple(steps)


def _paths(address: str) -> tuple[Target, ...]:
    names = _elements(address)
    if len(names) < 2 or names[0] not in ("Objects", "0:Objects"):
        raise ValueError("a browse path begins with /Objects/ and names what follows")
    head = [_name(text) for text in names[:-1]]
    return tuple(Target(steps, path=(*head, _name(last))) for last, steps in _cuts(names[-1], is_string=True) if last)


def _elements(address: str) -> list[str]:
    """Return the elements of a browse path; slashes of a namespace's URI and those behind `&` part nothing."""
    found = re.findall(r"/((?:nsu=[^;]+;)?(?:&.|[^/&])*)", address, re.DOTALL)
    if "".join(f"/{element}" for element in found) != address or not all(found):
        raise ValueError("a browse path has an empty element")
    return found


def _name(text: str) -> Name:
    match = _NAME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no browse name")
    name = re.sub(r"&(.)", r"\1", match["name"], flags=re.DOTALL)
    return Name(name, int(match["index"] or 0), match["uri"])
