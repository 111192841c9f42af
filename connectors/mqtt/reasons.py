"""What a broker's reason codes mean (MQTT 5.0, 2.4; 3.1.1, 3.2.2.3), and which of them a person must mend."""

NAMES = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "session taken over",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x94: "topic alias invalid",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}
FAILURE = 0x80
"""Codes from here on are failures."""
OLD_VERSION = 0x84
TAKEN_OVER = 0x8E

FROM_311 = {1: OLD_VERSION, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
"""Return codes of a CONNACK of MQTT 3.1.1 as those of 5.0."""

_TO_MEND = {
    0x85: "give the source another client_id",
    0x86: "mend user and password of the source",
    0x87: "mend user and password of the source, or let the broker's access list allow this user and client_id",
    0x8A: "ask who keeps the broker",
    0x8C: "the agent knows user, password and certificates alone; configure the broker for one of them",
    TAKEN_OVER: "another client uses this client_id; give each its own",
    0x9C: "mend the url",
    0x9D: "mend the url",
}
"""Codes that do not pass by themselves, and what a person can do."""


def told(code: int) -> str:
    """Return a code's name and number."""
    return f"{NAMES.get(code, 'reason unknown')} (0x{code:02X})"


def advice(code: int) -> str | None:
    """Return what a person must do before another try makes sense; None where it may pass."""
    return _TO_MEND.get(code)
