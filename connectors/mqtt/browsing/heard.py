"""What was heard of one topic."""

from dataclasses import dataclass, field

from connectors.mqtt.browsing.shapes import Shape

LOOKED = 200
"""So many messages of a topic are looked into; further ones are counted."""
LOOKED_BYTES = 8 * 2**20
"""And so many bytes of a topic [B]."""


@dataclass(slots=True, eq=False)
class Topic:
    """One topic, what it bore, and how often."""

    name: str
    shape: Shape = field(default_factory=Shape)
    messages: int = 0
    retained: int = 0
    size: int = 0
    """Of all payloads [B]."""

    def take(self, payload: bytes, size: int, received: int, room: int, *, retained: bool) -> int:
        """Take a message that came at `received` [ns since 1970, UTC]; see Shape.take."""
        look = self.messages < LOOKED and (self.messages == 0 or self.size < LOOKED_BYTES)
        self.messages += 1
        self.retained += retained
        self.size += size or len(payload)
        return self.shape.take(payload, size, None if retained else received, room) if look else 0

    @property
    def live(self) -> int:
        """Messages that were sent while we listened."""
        return self.messages - self.retained
