"""The one command that a host of ours ever gives: the request of a rebirth (Sparkplug 3.0.0, chapter 5, Commands)."""

from connectors.mqtt.protobuf import written
from connectors.mqtt.sparkplug.address import NAMESPACE

REBIRTH = "Node Control/Rebirth"
"""The metric that is set; it has no alias, so that a host that knows nothing of a node can ask."""
_BOOLEAN = 11


def rebirth(group: str, node: str, now_ms: int) -> tuple[str, bytes]:
    """Return topic and payload that ask a node for its births and its devices', to be sent with QoS 0, not retained.

    now_ms: the time of the request [ms since 1970, UTC].
    """
    metric = written(1, REBIRTH) + written(3, now_ms) + written(4, _BOOLEAN) + written(14, 1)
    return f"{NAMESPACE}/{group}/NCMD/{node}", written(1, now_ms) + written(2, metric)
