"""An edge node: the session it is in, and its run of sequence numbers (Sparkplug 3.0.0, chapters 5 and 6)."""

from connectors.mqtt.sparkplug.owner import Owner

SEQS = 256
"""Sequence numbers are 0 to 255, and again from 0 on."""
MOST_LATE = 64
"""A hole of more messages than these is no change of order."""
IN_ORDER, LATE, GAP = "", "out of order", "sequence gap"


class Node:
    """An edge node of which there are points, and what is known of its session."""

    def __init__(self, group: str, name: str) -> None:
        """Take who it is."""
        self.group, self.name = group, name
        self.own = Owner(group, name, "")
        self.devices: dict[str, Owner] = {}
        """The devices of which there are points; others are not remembered."""
        self.bdseq: int | None = None
        """The number of the session, as the last NBIRTH gave it."""
        self.seq: int | None = None
        """The number of the last message in the sequence."""
        self.skipped: set[int] = set()
        """Numbers that may still come late."""
        self.known = 0
        """Up to when the values are known [ns since 1970, UTC]."""
        self.unread = 0
        """So many messages came since the one of `seq` whose numbers could not be read."""
        self.doubted = True
        """Whether the session may be another than `bdseq` says, as births may have passed by unread."""
        self.last: tuple[str, bytes] | None = None
        """Topic and payload of the last message in the sequence."""
        self.dead = False
        self.awaits = False
        """Whether devices may still follow a birth of the node."""

    def owners(self) -> list[Owner]:
        """Return the node's own metrics and the devices', as far as there are points of them."""
        return [self.own, *self.devices.values()]

    def positions(self) -> list[int]:
        """Return the points of the node and its devices."""
        return [position for owner in self.owners() for position in owner.positions]

    def owner(self, device: str) -> Owner | None:
        """Return whose points a device's messages feed, None where there are none."""
        return self.devices.get(device) if device else self.own

    def begin(self, seq: int | None) -> None:
        """Begin a run of sequence numbers; None where its first number is not known yet."""
        self.seq, self.skipped, self.unread = seq, set(), 0

    def step(self, seq: int) -> str:
        """Go on to a message's number; return IN_ORDER, LATE or GAP."""
        expected = None if self.seq is None else (self.seq + 1) % SEQS
        if expected is None or (seq - expected) % SEQS <= self.unread:
            self.seq, self.unread = seq, 0
            self.skipped.discard(seq)
            return IN_ORDER
        if seq in self.skipped:
            self.skipped.discard(seq)
            return LATE
        hole = (seq - expected) % SEQS
        self.skipped = {(expected + n) % SEQS for n in range(hole)} if hole <= MOST_LATE else set()
        self.seq, self.unread = seq, 0
        return GAP
