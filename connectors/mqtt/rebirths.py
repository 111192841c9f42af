"""Asks Sparkplug nodes for their births, where that is allowed, and not too often."""

import logging
import time
from collections.abc import Iterable

from connectors.mqtt import sparkplug
from connectors.mqtt.link import Link

log = logging.getLogger("plantproof.mqtt")

FIRST_S, LONGEST_S = 10.0, 600.0
"""Before a node is asked again [s]; twice as long each time, up to the longest."""
CALM_S = 1800.0
"""A node that needs no birth for so long is asked as for the first time again [s]."""


_ASKED: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
"""When each node of a broker was asked, and how long it then has [s]: a link that flaps must not ask more often."""


class Rebirths:
    """When each node was asked."""

    def __init__(self, broker: str, *, allowed: bool) -> None:
        """`allowed`: the plant's configuration says so; otherwise nothing is ever sent. `broker`: its URL."""
        self._allowed = allowed
        self._asked = _ASKED.setdefault(broker, {})

    def ask(self, nodes: Iterable[tuple[str, str]], link: Link) -> None:
        """Ask nodes (group, node) for their births, each at most once in its pause."""
        if not self._allowed:
            return
        now = time.monotonic()
        for node in dict.fromkeys(nodes):
            last, pause = self._asked.get(node, (-LONGEST_S, FIRST_S / 2))
            if now - last > CALM_S:
                pause = FIRST_S / 2
            elif now - last < pause:
                continue
            self._asked[node] = now, min(2 * pause, LONGEST_S)
            log.info("Sparkplug node %s/%s is asked for its birth", *node)
            link.ask(*sparkplug.rebirth(*node, time.time_ns() // 1_000_000))
