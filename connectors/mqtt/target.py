"""What an MQTT URL says: host, port, TLS, WebSocket, and the version of the protocol."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from config.plant import MQTT_PORTS
from connectors.urls import is_whole

FORMS = "mqtt://host:1883, mqtts://host:8883, ws://host:8083/mqtt, wss://host:8084/mqtt"
VERSIONS = ("5", "3.1.1")
PATH = "/mqtt"
"""Where a broker listens for WebSockets, if the URL does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a link goes."""

    host: str
    port: int
    tls: bool
    path: str
    """Of a WebSocket; empty: plain TCP or TLS."""
    version: str
    """One of VERSIONS; empty: 5.0, or 3.1.1 where the broker knows no better."""

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(url: str) -> Target:
    """Return the target of an MQTT URL; raises ValueError naming what is wrong with it, and the forms there are."""
    scheme = url.partition("://")[0]
    if scheme not in MQTT_PORTS:
        raise ValueError(f"url {url!r} is none of {FORMS}")
    if not is_whole(url, scheme):
        raise ValueError(f"url {url!r} has no host, or no good port; write {scheme}://host:{MQTT_PORTS[scheme]}")
    parts = urlsplit(url)
    if "@" in parts.netloc:  # which may hold a password, and is not shown
        raise ValueError(f"url of {parts.hostname}: who connects stands in it; write user and password of the source")
    socket = scheme.startswith("ws")
    if parts.fragment or (parts.path not in ("", "/") and not socket):
        raise ValueError(f"url {url!r}: no path may follow; topics stand in the point table, a path in ws:// URLs")
    return Target(
        host=parts.hostname or "",
        port=parts.port or MQTT_PORTS[scheme],
        tls=scheme in ("mqtts", "wss"),
        path=(parts.path or PATH) if socket else "",
        version=_version(url, parts.query),
    )


def _version(url: str, query: str) -> str:
    version = ""
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "version":
            raise ValueError(f"url {url!r}: option {name!r} is unknown; version=5 or version=3.1.1 may stand there")
        version = value
    if version not in ("", *VERSIONS):
        raise ValueError(f"url {url!r}: version is one of {', '.join(VERSIONS)}, as in mqtt://host:1883?version=3.1.1")
    return version
