"""SunSpec: the chain of models that an inverter or meter says it has, and the register map that serves each.

Source: SunSpec Device Information Model Specification V1.0, section 4; names and lengths from the models' own files
(sunspec/models).
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from connectors.modbus.address import LAST
from connectors.modbus.frames import ExceptionReply, Read, WrongReply
from connectors.modbus.identify import Ask
from connectors.modbus.link import Silent
from connectors.texts import clean

BASES = (40000, 0, 50000)
"""Holding registers at which a chain may begin."""
MARKER = b"SunS"
END = 0xFFFF
"""The number in place of a model's behind the last one."""
MOST_MODELS = 100
"""No device has so many models; a chain that goes on is none."""

COMMON = 1
NAMES = {
    1: "common", 2: "basic aggregator", 10: "communication interface", 11: "Ethernet", 12: "IPv4", 13: "IPv6",
    17: "serial interface", 101: "inverter, single phase", 102: "inverter, split phase", 103: "inverter, three phase",
    111: "inverter, single phase, float", 112: "inverter, split phase, float", 113: "inverter, three phase, float",
    120: "nameplate", 121: "basic settings", 122: "measurements and status", 123: "immediate controls",
    124: "storage", 125: "pricing", 126: "static volt-var", 127: "frequency-watt", 128: "dynamic reactive current",
    129: "low-voltage ride-through", 130: "high-voltage ride-through", 131: "watt-power factor", 132: "volt-watt",
    133: "scheduling", 134: "frequency-watt curve", 145: "extended settings", 160: "MPPT inverter extension",
    201: "meter, single phase", 202: "meter, split phase", 203: "meter, three phase wye",
    204: "meter, three phase delta", 211: "meter, single phase, float", 212: "meter, split phase, float",
    213: "meter, three phase wye, float", 214: "meter, three phase delta, float", 302: "irradiance",
    303: "back-of-module temperature", 304: "inclinometer", 305: "GPS", 306: "reference point", 307: "weather station",
    308: "small weather station", 401: "string combiner", 402: "string combiner, advanced", 403: "string combiner",
    404: "string combiner, advanced", 501: "solar module, float", 502: "solar module", 701: "DER AC measurement",
    702: "DER capacity", 703: "DER enter service", 704: "DER AC controls", 705: "DER volt-var", 706: "DER volt-watt",
    707: "DER trip, low voltage", 708: "DER trip, high voltage", 709: "DER trip, low frequency",
    710: "DER trip, high frequency", 711: "DER frequency droop", 712: "DER watt-var", 713: "DER storage capacity",
    714: "DER DC measurement", 801: "energy storage (withdrawn)", 802: "battery", 803: "lithium-ion battery bank",
    804: "lithium-ion string", 805: "lithium-ion module",
}  # fmt: skip
_SERVED = {
    (1,): ("sunspec-common", 65),
    (101,): ("sunspec-inverter-single-phase", 50),
    (102, 103): ("sunspec-inverter-three-phase", 50),
    (111, 112, 113): ("sunspec-inverter-float", 60),
    (201, 202, 203, 204): ("sunspec-meter-three-phase", 105),
}
MAPS = {number: served for numbers, served in _SERVED.items() for number in numbers}
"""Models that a map of config/modbus_maps serves, and the registers it counts on; kin lay the same values alike."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a chain."""

    number: int
    first: int
    """Address of its number, zero-based; its length follows, then its values."""
    length: int
    """Registers behind its length."""

    @property
    def name(self) -> str:
        """What the model is; empty where it is not known here."""
        return NAMES.get(self.number, "maker's own" if self.number >= 64000 else "")

    @property
    def map(self) -> str:
        """The register map that serves it; empty where none does, or the model is shorter than it should be."""
        name, registers = MAPS.get(self.number, ("", 0))
        return name if self.length >= registers else ""


@dataclass(slots=True)
class Chain:
    """What a unit's SunSpec registers say."""

    base: int
    """Address of the marker, zero-based."""
    models: list[Model] = field(default_factory=list)
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    note: str = ""
    """Why models may be missing; empty: none are."""


async def walk(ask: Ask, unit: int) -> Chain | None:
    """Return a unit's chain of models, None where it has no marker; raises SourceLost where the link is gone."""
    for base in BASES:
        try:
            if await ask(Read(unit, "holding", base, 2)) == MARKER:
                break
        except (ExceptionReply, Silent, WrongReply):
            continue
    else:
        return None
    chain = Chain(base)
    notes = [await _follow(ask, unit, chain), await _describe(ask, unit, chain)]
    chain.note = "; ".join(filter(None, notes))
    return chain


async def _follow(ask: Ask, unit: int, chain: Chain) -> str:
    """Collect the models; returns why there may be more."""
    try:
        async for model in _models(ask, unit, chain.base + len(MARKER) // 2):
            chain.models.append(model)
    except ValueError as error:
        return f"the chain ends at {error}"
    except (ExceptionReply, Silent, WrongReply) as error:
        last = f"model {chain.models[-1].number}" if chain.models else "its marker"
        return f"the chain breaks off behind {last}: {error}"
    return ""


async def _models(ask: Ask, unit: int, first: int) -> AsyncIterator[Model]:
    """Yield models until the end; raises ValueError where the chain is none."""
    for _ in range(MOST_MODELS):
        number, length = await _head(ask, unit, first)
        if number == END:
            return
        if number == 0 or length == 0:
            raise ValueError(f"holding:{first}, where model {number} of {length} registers is none")
        if first + 2 + length > LAST:
            raise ValueError(f"holding:{first}, where model {number} of {length} registers goes beyond {LAST}")
        yield Model(number, first, length)
        first += 2 + length
    raise ValueError(f"holding:{first}, after {MOST_MODELS} models and no end")


async def _head(ask: Ask, unit: int, first: int) -> tuple[int, int]:
    """Return a model's number and length; at the end some devices have no register for a length."""
    try:
        data = await ask(Read(unit, "holding", first, 2)) if first < LAST else b""
    except ExceptionReply:
        data = b""
    data = data or await ask(Read(unit, "holding", first, 1)) + b"\0\0"
    return int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")


async def _describe(ask: Ask, unit: int, chain: Chain) -> str:
    """Read from the common model who made the device; returns why that is unknown."""
    common = next((model for model in chain.models if model.number == COMMON and model.map), None)
    if common is None:
        return "no common model says who made it"
    try:
        names = await ask(Read(unit, "holding", common.first + 2, 32))
        chain.manufacturer, chain.model = string(names[:32]), string(names[32:])
        chain.serial_number = string(await ask(Read(unit, "holding", common.first + 50, 16)))
    except (ExceptionReply, Silent, WrongReply) as error:
        return f"its common model cannot be read: {error}"
    return ""


def string(raw: bytes) -> str:
    """Return a string of registers as harmless text: it ends at the first NUL, and is padded by blanks or NULs."""
    return clean(re.split(b"\0", raw, maxsplit=1)[0].decode("utf-8", "replace"))
