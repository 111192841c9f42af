"""OPC UA addresses: `ns=2;s=name`, or `nsu=urn:maker;s=name`, which survives a moved namespace index."""

from collections.abc import Sequence

from asyncua import ua
from asyncua.ua.uaerrors import UaError


def split(address: str) -> tuple[str | None, str]:
    """Return the namespace's URI, None where there is none, and the rest of the address."""
    if not address.startswith("nsu="):
        return None, address
    uri, _, rest = address[4:].partition(";")
    return uri, rest


def fault(address: str) -> str | None:
    """Return what is wrong with an address, or None."""
    uri, rest = split(address)
    try:
        node = ua.NodeId.from_string(rest)
    except (UaError, ValueError, TypeError):
        node = None
    if node is not None and node.Identifier not in (None, "") and uri != "" and not (uri and "ns=" in rest[:3]):
        return None
    return (
        f"address {address!r} is no node id; write ns=2;s=name, ns=2;i=1234 or nsu=urn:maker;s=name, "
        "as the server's browser shows it"
    )


def resolve(address: str, namespaces: Sequence[str]) -> ua.NodeId | None:
    """Return the node id of an address on a server with these namespaces; None where it has no such URI."""
    uri, rest = split(address)
    if uri is None:
        return ua.NodeId.from_string(rest)
    if uri not in namespaces:
        return None
    return ua.NodeId.from_string(f"ns={namespaces.index(uri)};{rest}")
