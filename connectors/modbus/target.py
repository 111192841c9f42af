"""What a Modbus URL says: the transport, where it goes, and a serial line's settings."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from config.units import parse_duration
from connectors.urls import is_whole

PORTS = {"tcp": 502, "udp": 502, "rtutcp": 502, "tls": 802}
"""Transports over a network and their usual ports; 802 is registered for Modbus Security."""
SERIAL = "rtu"
FORMS = (
    "modbus+tcp://host:502, modbus+tls://host:802, modbus+udp://host:502, modbus+rtutcp://host:502, "
    "modbus+rtu:///dev/ttyUSB0?baud=9600&parity=N&stopbits=1"
)
BITS_A_CHARACTER = 11
"""Start, 8 data, parity and stop (MODBUS over Serial Line V1.02, section 2.5.1)."""

_ON = {"yes": True, "no": False}
_LEVEL = {"high": True, "low": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a link goes."""

    transport: str
    """A key of PORTS, or SERIAL."""
    host: str = ""
    port: int = 0
    device: str = ""
    """The serial port's file."""
    baud: int = 9600
    parity: str = "N"
    stopbits: float = 1
    echo: bool = False
    """Whether the adapter hears what it sends."""
    rs485: bool = False
    """Whether the driver is told to switch the direction of a half-duplex line by RTS."""
    rts_on_send: bool = True
    delay_before_send: float = 0.0
    """Between switching to sending and the first byte [s]."""
    delay_after_send: float = 0.0

    @property
    def serial(self) -> bool:
        """Whether it is a serial line of this machine."""
        return self.transport == SERIAL

    @property
    def framed_as_rtu(self) -> bool:
        """Whether frames have a CRC and no transaction number."""
        return self.transport in (SERIAL, "rtutcp")

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.device if self.serial else f"{self.host}:{self.port}"

    def wire_time(self, count: int) -> float:
        """Return how long `count` bytes take on the serial line [s]; 0 over a network."""
        return count * BITS_A_CHARACTER / self.baud if self.serial else 0.0

    @property
    def silence(self) -> float:
        """How long the line must be quiet between two frames [s] (section 2.5.1.1); 0 over a network."""
        return max(self.wire_time(4) * 3.5 / 4, 0.00175) if self.serial else 0.0


def parse_url(url: str) -> Target:
    """Return the target of a Modbus URL; raises ValueError naming what is wrong with it, and the forms there are."""
    scheme, _, _ = url.partition("://")
    family, _, transport = scheme.partition("+")
    if family != "modbus" or transport not in (*PORTS, SERIAL):
        raise ValueError(f"url {url!r} is none of {FORMS}")
    if transport == SERIAL:
        return _serial(url)
    if not is_whole(url, scheme):
        raise ValueError(
            f"url {url!r} has no host, or no good port; write modbus+{transport}://host:{PORTS[transport]}"
        )
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(f"url of {parts.hostname}: Modbus knows no users; write modbus+{transport}://host:port alone")
    if parts.query or parts.path not in ("", "/"):
        raise ValueError(
            f"url {url!r}: nothing may stand behind the port; baud and kin belong to modbus+rtu:///dev/..."
        )
    return Target(transport=transport, host=parts.hostname or "", port=parts.port or PORTS[transport])


def _serial(url: str) -> Target:
    parts = urlsplit(url)
    if parts.netloc or len(parts.path) < 2 or any(sign.isspace() for sign in url):
        raise ValueError(f"url {url!r} names no serial port; write modbus+rtu:///dev/ttyUSB0?baud=9600, three slashes")
    try:
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"url {url!r}: its options are written ?baud=9600&parity=E&stopbits=1") from None
    found: dict[str, object] = {}
    for name, value in options:
        if name in found:
            raise ValueError(f"url {url!r}: option {name} stands twice")
        found[name] = _option(url, name, value)
    return Target(transport=SERIAL, device=parts.path, **found)  # type: ignore[arg-type]


def _option(url: str, name: str, value: str) -> object:
    choices: dict[str, dict[str, object]] = {
        "parity": {one: one for one in "NEO"},
        "stopbits": {"1": 1, "1.5": 1.5, "2": 2},
        "echo": dict(_ON),
        "rs485": dict(_ON),
        "rts_on_send": dict(_LEVEL),
    }
    if name == "baud":
        if value.isascii() and value.isdigit() and 50 <= int(value) <= 4_000_000:
            return int(value)
        raise ValueError(f"url {url!r}: baud {value!r} is no rate; write such as 9600")
    if name in ("delay_before_send", "delay_after_send"):
        try:
            return parse_duration(value) / 1e9
        except ValueError as error:
            raise ValueError(f"url {url!r}: {name} {value!r} {error}") from error
    if name not in choices:
        known = ", ".join(["baud", *choices, "delay_before_send", "delay_after_send"])
        raise ValueError(f"url {url!r}: option {name!r} is none of {known}")
    if value not in choices[name]:
        raise ValueError(f"url {url!r}: {name} {value!r} is none of {', '.join(choices[name])}")
    return choices[name][value]
