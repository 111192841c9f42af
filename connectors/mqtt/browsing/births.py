"""What was heard of Sparkplug nodes and devices: their births, and who was heard without one."""

from dataclasses import dataclass, field

from connectors.mqtt.browsing.shapes import SHORT, Kind, shown
from connectors.mqtt.browsing.walks import LARGEST
from connectors.mqtt.sparkplug import Described, decode, described
from connectors.mqtt.sparkplug.address import DEVICE_TYPES, NAMESPACE, NODE_TYPES

MOST = 5000
"""So many metrics of one birth are kept."""
LONGEST = 200
"""A metric whose name is longer is left out."""
Key = tuple[str, str, str]
"""Group, node and device, which is empty for the node itself."""
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("Float", "Double"), "number"),
    **dict.fromkeys((f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)), "whole"),
    **dict.fromkeys(("String", "Text", "UUID"), "text"),
    "Boolean": "boolean",
}
_OWN = ("bdSeq", "Node Control/", "Device Control/", "Node Info/", "_types_/")
"""What is for the protocol, not for the plant."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One metric as a birth names it."""

    name: str
    datatype: str
    alias: int | None
    unit: str
    example: str
    doubt: str

    @property
    def kind(self) -> Kind:
        """What it is as a value of the point table."""
        return _KINDS.get(self.datatype, "other")


@dataclass(slots=True, eq=False)
class Owner:
    """A node, or a device of one."""

    group: str
    node: str
    device: str
    births: int = 0
    data: int = 0
    deaths: int = 0
    retained: int = 0
    tags: dict[str, Tag] = field(default_factory=dict)
    fault: str = ""
    """Why a message could not be read."""
    cut: bool = False
    """Whether metrics were left out."""

    @property
    def name(self) -> str:
        """How an address names it."""
        return "/".join(filter(None, (NAMESPACE, self.group, self.node, self.device)))

    @property
    def messages(self) -> int:
        """All of its messages."""
        return self.births + self.data + self.deaths

    def take(self, kind: str, payload: bytes, size: int, room: int) -> int:
        """Take a message of a type; `room`: so many new metrics may be kept. Returns how many were.

        What is malformed is told in `fault`.
        """
        self.births += kind.endswith("BIRTH")
        self.data += kind.endswith("DATA")
        self.deaths += kind.endswith("DEATH")
        if kind.endswith("DEATH") or (kind.endswith("DATA") and self.data > 1):
            return 0
        try:
            if size or len(payload) > LARGEST:
                raise ValueError(f"{size or len(payload)} bytes are not looked into")  # noqa: TRY301
            found = described(decode(payload))
        except (ValueError, RecursionError) as error:
            self.fault = self.fault or f"{kind}: {error}"
            return 0
        before = len(self.tags)
        if kind.endswith("BIRTH"):
            self.tags.clear()
            for one in found:
                self._learn(one, room + before)
        return len(self.tags) - before

    def _learn(self, one: Described, room: int) -> None:
        if not one.name or one.name.startswith(_OWN) or one.name in self.tags:
            return
        if len(one.name) > LONGEST or len(self.tags) >= min(MOST, room):
            self.cut = True
            return
        example = "" if one.value is None else shown(one.value)
        self.tags[one.name] = Tag(one.name, one.datatype, one.alias, one.unit[:SHORT], example, one.doubt[:SHORT])


def owner_of(topic: str) -> tuple[Key, str] | None:
    """Return group, node and device of a topic, and its message's type; None where it is no node's and no device's."""
    parts = topic.split("/")
    if parts[0] != NAMESPACE or len(parts) not in (4, 5) or not all(parts):
        return None
    _, group, kind, node, *device = parts
    if kind not in (DEVICE_TYPES if device else NODE_TYPES):
        return None
    return (group, node, device[0] if device else ""), kind
