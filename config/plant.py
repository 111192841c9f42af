"""Frozen models of a plant: what stands in plant.toml, assets.csv, points.csv and their kin.

Every model is immutable, takes keywords only, and refuses keys that it does not know. `config.load` builds them and
reports all faults at once; nothing here touches a file or a socket.
"""

import datetime as dt
import difflib
import fnmatch
import functools
import re
import zoneinfo
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from config.cells import Date, instant_cell
from config.evidence import Evidence, Push
from config.factors import coal_factors, grid_factor
from config.fields import Id, Model, YesNo
from config.registers import Answer, Declared, Loop, Meter, Process, SqlSource
from config.units import parse_duration, parse_size

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

MODBUS_TIMEOUT_NS = 1_000_000_000
"""How long a Modbus unit may take to answer, if nothing else is said [ns]."""
MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
"""The schemes of an MQTT url, and the port of each where the url names none."""

Element = Literal["production", "setup", "delay", "idle", "planned"]

_ROLE = re.compile(
    r"state|mode|reason|total|good|reject|rework|since_reset|product|order|ideal_cycle|apc|alarm|measure|"
    r"(energy|power)\.[a-z][a-z0-9_]*"
)
ROLES = (
    "state, mode, reason, total, good, reject, rework, since_reset, product, order, ideal_cycle, energy.<medium>, "
    "power.<medium>, apc, alarm, measure"
)


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _role(value: str) -> str:
    if not _ROLE.fullmatch(value):
        raise ValueError(f"is no role; {_near_role(value)}")
    return value


def _near_role(value: str) -> str:
    near = difflib.get_close_matches(value, ROLES.split(", "), 1, 0.6)
    return f"did you mean {near[0]!r}?" if near else f"write one of {ROLES}"


def _near_zone(value: str) -> str:
    near = difflib.get_close_matches(value, sorted(zoneinfo.available_timezones()), 1, 0.8)
    return f"did you mean {near[0]!r}?" if near else "write such as Asia/Shanghai"


def _timezone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"is no time zone of the IANA database; {_near_zone(value)}") from None
    return value


def _control(value: object) -> object:
    if not isinstance(value, str):
        return value
    return {"数控": "nc", "加工单元": "fmc", "无": "none", "否": "none"}.get(value.strip(), value.strip().lower())


def _of_a_day(value: int) -> int:
    if 86_400_000_000_000 % value:
        raise ValueError("does not divide a day; write such as 15min, 30min or 1h")
    return value


Duration = Annotated[int, BeforeValidator(_duration), Field(gt=0)]
"""A duration [ns], written as in "5s"."""

LONGEST_HOLD_NS = 31 * 86_400_000_000_000
"""A sample further away than this says nothing about a period: stores look no further for it [ns]."""


def _hold(value: int) -> int:
    if value > LONGEST_HOLD_NS:
        raise ValueError("is longer than 31d, the furthest that samples are looked for; write at most 31d")
    return value


def _heartbeat(value: int) -> int:
    if value * 5 // 2 > LONGEST_HOLD_NS:
        raise ValueError("is so long that 2.5 of them, the default of max_hold, exceed 31d; write at most 12d")
    return value


Pause = Annotated[int, BeforeValidator(_duration), Field(ge=0)]
"""A duration that may be 0 [ns]."""

Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
"""A size [B], written as in "64MiB"."""


def _file_id(text: str) -> str:
    if text and not re.fullmatch(r"\w[\w.-]*", text):
        raise ValueError("must be letters, digits and - _ . alone, as files bear this name")
    return text


def _coal_factors(name: str) -> str:
    try:
        return coal_factors(name).id
    except LookupError as error:
        raise ValueError(f"cannot be used: {error.args[0]}") from None


def _grid_factor(name: str) -> str:
    try:
        grid_factor(name)
    except LookupError as error:
        raise ValueError(f"cannot be used: {error.args[0]}") from None
    return name


CoalFactors = Annotated[str, AfterValidator(_coal_factors)]
GridFactor = Annotated[str, AfterValidator(_grid_factor)]


class Device(Model):
    """One Modbus unit that wants to be asked otherwise than its neighbours on the link."""

    unit: int = Field(ge=0, le=255)
    timeout: Pause = 0
    """How long it may take to answer [ns]; 0: as the source."""
    pause: Pause = 0
    """Silence before a request to it [ns], where it is longer than the source's."""
    max_registers: int | None = Field(default=None, ge=1, le=125)
    """Registers in a request; empty: as the source."""
    max_bits: int | None = Field(default=None, ge=1, le=2000)
    """Coils or discrete inputs in a request; empty: as the source."""
    max_gap: int | None = Field(default=None, ge=0, le=124)
    """Unasked registers that are read along; empty: as the source."""
    forbidden: tuple[str, ...] = ()
    """Ranges that must not be read, besides the source's."""


def _zone_or_none(value: str) -> str:
    return _timezone(value) if value else value


def _delimiter(value: str) -> str:
    if len(value) != 1 or value in '"\r\n':
        raise ValueError("is no delimiter; write one sign, such as ; or \\t, no quote and no line break")
    return value


class Topic(Model):
    """How the messages of an MQTT topic are read, where the point table's addresses do not say it all."""

    topic: str = Field(min_length=1)
    """A topic filter; `{name}` stands for one level, like +, and may be named again in `will`."""
    payload: Literal["", "scalar", "json", "csv", "influx"] = ""
    """What its messages are; empty: JSON where an address has a pointer, else one plain value."""
    time: str | None = None
    """Where a message has its own time: JSON Pointer, or the column of a CSV; default the source's `time_field`."""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    """Unit of a time that is a number; auto: by its magnitude."""
    time_zone: Annotated[str, AfterValidator(_zone_or_none)] = ""
    """Zone of times that have no offset; empty: they are no times."""
    quality: str = ""
    """Where a value's quality stands beside it, as `time`, or the field or tag of a line of Influx; empty: good."""
    good: tuple[str, ...] = ("true", "192", "good", "ok")
    """Words of quality that are good; 64 and "uncertain" are uncertain, all others bad."""
    missing: Literal["stands", "bad"] = "stands"
    """What becomes of a point that a message does not speak of."""
    retained: Literal["uncertain", "good", "ignore"] = "uncertain"
    """What a retained message without a time of its own is worth: it may be of any age."""
    delimiter: Annotated[str, AfterValidator(_delimiter)] = ","
    """CSV: between cells."""
    header: bool = False
    """CSV: whether the first line of each message names the columns."""
    columns: tuple[str, ...] = ()
    """CSV: names of the columns, where no header says them."""
    will: str = ""
    """Topic (and `#/pointer`) of the publisher's last will; `{name}` as in `topic`."""
    offline: tuple[str, ...] = ("offline", "false", "0")
    """Payloads of `will` that say that the publisher is gone; any other says that it is there."""
    stale_after: Duration | None = None
    """A topic that is silent for longer is told of [ns]; default three heartbeats of its points."""


class Source(Model):
    """Something to read from: one server, link or broker."""

    id: Id
    kind: str
    """The connector's module in connectors/: opcua, modbus, mqtt."""
    url: str
    period: Duration = 1_000_000_000
    """Poll period of its points [ns]."""
    timeout: Duration = 4_000_000_000
    """How long one request may take [ns]."""
    agent: str = ""
    """The gateway that reads it; empty: any."""
    security: str = ""
    """OPC UA policy and mode, "Basic256Sha256/SignAndEncrypt"; "None" must be asked for by name."""
    user: str = ""
    password: SecretStr = SecretStr("")
    user_certificate: Path | None = None
    """OPC UA: certificate (PEM or DER) that names the user, in place of user and password."""
    user_key: Path | None = None
    """Private key of `user_certificate`."""
    certificate: Path | None = None
    """OPC UA: the agent's own application certificate; empty: one is made in `pki`/own on first use. TLS: ours."""
    private_key: Path | None = None
    """Private key of `certificate`."""
    pki: Path = Path("pki")
    """OPC UA: folder of own, trusted, rejected, issuers and crl."""
    failover: tuple[str, ...] = ()
    """OPC UA: further URLs of the same server (redundant, or another network card), tried in order."""
    timestamp: Literal["source", "server", "receive"] = "source"
    """OPC UA: whose time a sample bears; the receive time is kept beside it in any case."""
    history: bool = False
    """OPC UA: whether the server's history fills gaps after a reconnect."""
    client_id: str = ""
    """MQTT client id; names the persistent session."""
    session_expiry: Duration = 86_400_000_000_000
    """MQTT: how long the broker keeps the session, and what comes in for it, while the agent is away [ns]."""
    keepalive: Duration = 10_000_000_000
    """MQTT: silence after which the broker is asked for a sign of life [ns]."""
    qos: int = Field(default=1, ge=0, le=1)
    """MQTT: quality of service that is subscribed with."""
    receive_maximum: int = Field(default=1000, ge=1, le=65_535)
    """MQTT 5.0: so many messages may be unacknowledged; then the broker waits."""
    max_packet: Size = 4 * 2**20
    """MQTT: larger messages are not taken [B]."""
    share: str = ""
    """MQTT: group of agents that share the messages among them; empty: this agent gets all."""
    topic: tuple[Topic, ...] = ()
    """MQTT: how the messages of topics are read."""
    rebirth: bool = False
    """Sparkplug: whether a node may be asked to send its births again, the one message that is ever sent."""
    unit: int = Field(default=1, ge=0, le=255)
    """Modbus unit where an address names none."""
    device: tuple[Device, ...] = ()
    """Modbus units that differ from the others of the link."""
    pause: Pause = 0
    """Modbus: silence before each request [ns]."""
    pause_after_connect: Pause = 0
    """Modbus: silence after connecting, for devices that are not ready at once [ns]."""
    retries: int = Field(default=1, ge=0, le=10)
    """Modbus: how often a unit that was silent is asked again before it rests."""
    max_registers: int = Field(default=125, ge=1, le=125)
    """Modbus: registers in a request."""
    max_bits: int = Field(default=2000, ge=1, le=2000)
    """Modbus: coils or discrete inputs in a request."""
    max_gap: int = Field(default=16, ge=0, le=124)
    """Modbus: so many unasked registers are read along rather than ask twice; of bits sixteen times as many."""
    forbidden: tuple[str, ...] = ()
    """Modbus: ranges that must not be read, not even along: holding:100-199, 3/input:7."""
    ca: Path | None = None
    """TLS: certificates that are trusted (PEM); empty: those of the operating system."""
    server_name: str = ""
    """TLS: the host name in the server's certificate, where the URL has another."""
    time_field: str = "/ts"
    """JSON Pointer to an MQTT payload's own time; the receive time where a payload has none."""

    @model_validator(mode="before")
    @classmethod
    def _patience(cls, data: Any) -> Any:
        """Modbus units answer quickly or not at all, and their neighbours wait meanwhile: 1 s, if none is given."""
        if isinstance(data, dict) and data.get("kind") == "modbus" and "timeout" not in data:
            return data | {"timeout": MODBUS_TIMEOUT_NS}
        return data

    def below(self, root: Path) -> "Source":
        """Return the source with its files as seen from the plant's folder; absolute paths stay."""
        names = ("pki", "user_certificate", "user_key", "certificate", "private_key", "ca")
        paths = {name: getattr(self, name) for name in names}
        return self.model_copy(update={name: root / path for name, path in paths.items() if path is not None})


class Asset(Model):
    """One row of the device register (设备台账)."""

    asset: Id
    name: str = ""
    kind: str = ""
    process: str = ""
    """工序"""
    production: YesNo = True
    """生产设备: counts in the equipment networking rate."""
    key_equipment: YesNo = False
    key_process: YesNo = False
    control: Annotated[Literal["cnc", "nc", "dnc", "fmc", "plc", "dcs", "pcs", "none"], BeforeValidator(_control)] = (
        "none"
    )
    digital: YesNo = False
    ideal_cycle: float | None = Field(default=None, gt=0)
    """Planned run time per item of the default product [s]."""
    excluded: str = ""
    """Why it does not count; empty: it counts."""
    segment: str = ""
    """业务环节 that its data belong to, where that is not told by what its points are: 安全生产, 能耗管理 ..."""
    in_use_from: Date | None = None
    """Production day from which it is in use; empty: always was."""
    in_use_until: Date | None = None
    """Last production day of its use; empty: still is."""
    approved_by: str = ""
    """Who stands for this row of the register."""
    approved_at: Date | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)
    """Further columns of the register, kept as they are."""


class Point(Model):
    """One row of the point table (采集点表)."""

    point: Id
    asset: Id
    role: Annotated[str, AfterValidator(_role)] = "measure"
    source: str = ""
    """Which source reads it; empty: nothing does, and its samples come from files."""
    address: str = ""
    map: str = ""
    """Modbus: a register map whose points stand in place of this row; gone once they do."""
    type: str = ""
    """The value's type on the wire, where the protocol does not say: uint16, int32, float32 ..."""
    unit: str = ""
    scale: float = 1.0
    scale_register: str = ""
    """Modbus: registers that the value is multiplied by: holding:6, or 10^holding:14 for a power of ten."""
    offset: float = 0.0
    no_value: str = ""
    """Modbus: raw values that mean "no value": 65535 0x8000 nan."""
    minimum: float | None = None
    """A value below is bad [unit]."""
    maximum: float | None = None
    """A value above is bad [unit]."""
    period: Duration | None = None
    mode: Literal["poll", "subscribe"] = "poll"
    store: Literal["change", "all"] = "change"
    deadband: float = Field(default=0.0, ge=0)
    """A change up to this much [unit] is no change."""
    deadband_percent: float = Field(default=0.0, ge=0, le=100)
    """OPC UA subscriptions: a change up to this share of the node's EURange [%] is not sent by the server."""
    sampling: Duration | None = None
    """OPC UA subscriptions: how often the server looks at the value [ns]; default the period."""
    queue: int = Field(default=10_000, ge=1, le=1_000_000)
    """OPC UA subscriptions: changes that the server keeps until it can send them."""
    trigger: Literal["", "status", "value", "timestamp"] = ""
    """OPC UA subscriptions: what is a change; empty: value, or timestamp where every poll is stored."""
    heartbeat: Annotated[Duration, AfterValidator(_heartbeat)] = 60_000_000_000
    """A value that stays is stored again after this [ns]."""
    max_hold: Annotated[Duration, AfterValidator(_hold)] | None = None
    """How long a value holds without a new row [ns]; default 2.5 heartbeats."""
    modulus: float | None = Field(default=None, gt=0)
    """Where a counter starts again at 0 [unit]: 65536 for 16 bits, 655.36 where they are scaled by 0.01."""
    max_rate: float | None = Field(default=None, gt=0)
    """The fastest a counter can truly count [unit/s]."""
    states: str = "default"
    """The state map of a state point."""
    note: str = ""

    @property
    def hold_ns(self) -> int:
        """How long a good value holds without a new row [ns]."""
        return self.max_hold if self.max_hold is not None else self.heartbeat * 5 // 2

    @property
    def medium(self) -> str | None:
        """The medium of an energy or power role."""
        head, _, medium = self.role.partition(".")
        return medium if head in ("energy", "power") else None


class Break(Model):
    """Planned pause inside a shift, in the plant's time of day."""

    start: dt.time
    end: dt.time


class Shift(Model):
    """A shift's times of day; an end before or at the start lies on the next day."""

    name: str
    start: dt.time
    end: dt.time
    breaks: tuple[Break, ...] = ()


class Calendar(Model):
    """Which shifts which assets plan to work on which weekdays."""

    assets: tuple[str, ...] = ("*",)
    """Patterns of asset ids; `line1/*`."""
    weekdays: tuple[Weekday, ...] = WEEKDAYS
    shifts: tuple[Shift, ...] = Field(min_length=1)
    holidays: str = ""
    """Country whose public holidays are not worked, and whose make-up days are: CN, DE, DE-BY; empty: none."""
    exceptions: str = ""
    """File of dates that differ: date, shift, working, start, end, note."""
    exception_rows: tuple["CalendarException", ...] = ()
    """The rows of that file."""

    def covers(self, asset: str) -> bool:
        """Return whether a pattern of this calendar matches the asset's id."""
        return any(fnmatch.fnmatchcase(asset, pattern) for pattern in self.assets)


class CalendarException(Model):
    """A date on which a shift is worked although the weekday says no, is not worked, or has other times."""

    date: dt.date
    shift: str = ""
    """Name of the shift; empty: every shift of the calendar."""
    working: YesNo
    start: dt.time | None = None
    end: dt.time | None = None
    note: str = ""


class Refinement(Model):
    """What an asset's mode or order says about a time element that its state gave."""

    element: Element
    """The element that is looked at."""
    mode: tuple[str, ...] = ()
    """It becomes another one in these modes."""
    mode_not: tuple[str, ...] = ()
    """It becomes another one in any known mode but these."""
    order: bool | None = None
    """It becomes another one while an order is loaded (true), or none is (false)."""
    becomes: Element


class Swap(Model):
    """A counter or meter that was replaced by another one."""

    point: Id
    at: Annotated[dt.datetime, BeforeValidator(instant_cell)]
    """When; with an offset, or in the plant's time."""
    last: float | None = Field(default=None, ge=0)
    """What the old one said last [unit]; empty: what was read of it last."""
    first: float = Field(default=0.0, ge=0)
    """What the new one said first [unit]."""
    note: str = ""


class Product(Model):
    """The planned run time per item of a product on an asset."""

    product: str
    asset: str = "*"
    """Asset id or pattern."""
    ideal_cycle: float = Field(gt=0)
    """Planned run time per item, PRI [s]."""


class Spool(Model):
    """The durable queue between sources and sinks."""

    path: Path = Path("var/spool")
    max_size: Size = 2 * 2**30
    when_full: Literal["drop_oldest", "stop"] = "drop_oldest"
    segment_size: Size = 64 * 2**20
    commit: Duration = 250_000_000
    """Samples are committed together this often [ns]; what a power cut may lose of polled data."""


class Sink(Model):
    """A store that samples are written to."""

    kind: str
    """The sink's module in collector/sinks/: parquet, influxdb."""
    id: Annotated[str, AfterValidator(_file_id)] = ""
    """Name of its cursor, and of files that bear it; default its kind."""
    every: Duration | None = None
    """The longest a sample waits for more before it is written [ns]; default 60 s, influxdb 1 s."""
    rows: int = Field(default=1_000_000, gt=0)
    """What waits is written once it is this many rows."""
    points: tuple[str, ...] = ()
    """Patterns of ids of the points that are written; empty: all."""
    exclude: tuple[str, ...] = ()
    """Patterns of ids of points that are not written, even if `points` names them."""
    max_rate: int | None = Field(default=None, gt=0)
    """So many rows are written in a second at most, so that a backlog leaves room on the line; default no limit."""
    path: Path = Path("var/lake")
    """Parquet: the lake's folder."""
    keep: Duration | None = None
    """Parquet: days that ended longer ago than this are removed [ns]; default none ever is."""
    keep_size: Size | None = None
    """Parquet: the oldest days are removed while the lake is larger [B]; default none ever is."""
    url: str = ""
    """InfluxDB: http://host:8086 or https://host:8086."""
    api: Literal["v1", "v2", "v3"] = "v2"
    """InfluxDB: v1 for 1.x, v2 for 2.x, v3 for 3 Core."""
    database: str = ""
    """InfluxDB v1 and v3: where samples go; v1 makes it where it is missing."""
    retention_policy: str = ""
    """InfluxDB v1: the database's policy that samples go to; empty: its default."""
    org: str = ""
    """InfluxDB v2."""
    bucket: str = ""
    """InfluxDB v2: where samples go."""
    user: str = ""
    """InfluxDB v1."""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    """InfluxDB v2 and v3."""
    ca: Path | None = None
    """TLS: certificates that are trusted (PEM); empty: those of the operating system."""
    timeout: Duration = 30_000_000_000
    """InfluxDB: how long one request may take [ns]."""

    @property
    def name(self) -> str:
        """The cursor's name."""
        return self.id or self.kind

    @property
    def wait(self) -> int:
        """The longest a sample waits for more before it is written [ns]."""
        return self.every or (1_000_000_000 if self.kind == "influxdb" else 60_000_000_000)


class Networking(Model):
    """Rule of the equipment networking rate."""

    evidenced_share: float = Field(default=0.5, gt=0, le=1)
    """Share of planned time with good samples from which a device is networked."""


def _listen(value: str) -> str:
    host, port = host_and_port(value)
    if not host or any(c.isspace() or c in "/@*" for c in host) or not 0 < port < 65_536:
        raise ValueError('is no address with a port; write such as "127.0.0.1:9103" or "[::1]:9103"')
    return value


def host_and_port(listen: str) -> tuple[str, int]:
    """Return the two parts of `host:port`, an IPv6 address without its brackets; port 0 where there is none."""
    host, _, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed:
        host = ""
    return host[1:-1] if bracketed else host, int(port) if port.isascii() and port.isdigit() else 0


class Health(Model):
    """Where the agent answers how it does: /metrics, /healthz, /livez; without it the agent listens nowhere."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:9103"
    """Address and port; localhost is 127.0.0.1."""
    beyond_loopback: bool = False
    """Whether it may be an address that other machines reach: anyone there may read, without login and encryption."""


class Plant(Model):
    """A whole plant: its sources, registers, calendars and stores."""

    id: Id
    name: str = ""
    kind: Literal["discrete", "process"] = "discrete"
    timezone: Annotated[str, AfterValidator(_timezone)] = "Asia/Shanghai"
    day_start: dt.time = dt.time(0, 0)
    """The production day turns here."""
    uncertain: Literal["bad", "good"] = "bad"
    """How a KPI takes a sample of uncertain status."""
    demand_interval: Annotated[Duration, AfterValidator(_of_a_day)] = 900_000_000_000
    micro_stop: Duration = 120_000_000_000
    """A stop shorter than this is a micro-stop [ns]."""
    startup: Duration = 600_000_000_000
    """Rejects this soon after a setup are losses of the start-up [ns]."""
    coal_factors: CoalFactors = "sme-2024"
    """The set of standard coal coefficients (config/factors) that energy is converted to tce with."""
    co2_factors: GridFactor = "co2-grid-2023:national"
    """The set and scope (`set:scope`) of the grid's CO2 factor that electricity is converted to kgCO2 with."""
    sources: tuple[Source, ...] = ()
    assets: tuple[Asset, ...] = ()
    points: tuple[Point, ...] = ()
    products: tuple[Product, ...] = ()
    calendars: tuple[Calendar, ...] = ()
    states: Mapping[str, Mapping[str, Element]] = Field(default_factory=dict)
    """State maps: raw value as text -> time element."""
    refinements: Mapping[str, tuple[Refinement, ...]] = Field(default_factory=dict)
    """What mode and order change of a state map's elements; the first that fits counts."""
    swaps: tuple[Swap, ...] = ()
    """Replaced counters and meters."""
    nc_rule: Literal["all", "any"] = "all"
    """When a key process is under numerical control: where all of its key equipment is, or any."""
    utilization: Literal["planned", "calendar"] = "planned"
    """What production time is divided by in 设备综合利用率: planned operation time, or calendar time."""
    processes: tuple[Process, ...] = ()
    """Register of processes (工序); empty: those that assets name."""
    loops: tuple[Loop, ...] = ()
    """Register of control loops."""
    meters: tuple[Meter, ...] = ()
    """Register of meters; empty: every meter of the point table counts."""
    business: tuple[Declared, ...] = ()
    """Declared values."""
    business_sources: tuple[SqlSource, ...] = ()
    """Databases that hold further declared values."""
    answers: tuple[Answer, ...] = ()
    """Declared answers to items of assessments."""
    networking: Networking = Networking()
    spool: Spool = Spool()
    health: Health | None = None
    """Where the agent answers how it does; empty: nowhere."""
    sinks: tuple[Sink, ...] = ()
    evidence: Evidence = Evidence()
    push: tuple[Push, ...] = ()
    """Where each new evidence package is sent."""
    root: Path = Path()
    """The folder of plant.toml; relative paths start here."""
    tables: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """The tables that were read: assets, points, processes ... -> file name as seen from `root`."""
    places: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Point id -> file and line of its row, for messages."""

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The plant's time zone."""
        return zoneinfo.ZoneInfo(self.timezone)

    def resolve(self, path: Path) -> Path:
        """Return a path of the config as seen from here."""
        return path if path.is_absolute() else self.root / path

    def points_of(self, asset: str) -> tuple[Point, ...]:
        """Return the asset's points in the point table's order."""
        return tuple(point for point in self.points if point.asset == asset)

    def ideal_cycle(self, asset: Asset, product: str | None) -> float | None:
        """Return the planned run time per item [s] of a product on an asset; None where nothing says it.

        An exact asset in products.csv goes before a pattern, and both before the register's default.
        """
        rows = _indexed(_Table(self.products)).of_product.get(product, [])
        exact = [row.ideal_cycle for row in rows if row.asset == asset.asset]
        pattern = [row.ideal_cycle for row in rows if fnmatch.fnmatchcase(asset.asset, row.asset)]
        return next(iter(exact + pattern), asset.ideal_cycle)

    def lists_cycle(self, asset: str) -> bool:
        """Return whether products.csv has a planned run time per item of any product on an asset."""
        patterns = _indexed(_Table(self.products)).patterns
        return asset in patterns or any(fnmatch.fnmatchcase(asset, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class _Index:
    """The rows of products.csv by product, in their order, and the assets and patterns that any of them names."""

    of_product: Mapping[str | None, Sequence[Product]]
    patterns: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The rows of products.csv, told from others by being the same tuple: to compare them costs what the index does."""

    rows: tuple[Product, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and self.rows is other.rows

    def __hash__(self) -> int:
        return id(self.rows)


@functools.lru_cache(maxsize=8)
def _indexed(table: _Table) -> _Index:
    of_product: dict[str | None, list[Product]] = defaultdict(list)
    for row in table.rows:
        of_product[row.product].append(row)
    return _Index(of_product, frozenset(row.asset for row in table.rows))


def groups(assets: Iterable[str]) -> list[str]:
    """Return every prefix of asset ids that names a group (`line1` of `line1/press2`), sorted."""
    found = {"/".join(parts[:n]) for parts in (a.split("/") for a in assets) for n in range(1, len(parts))}
    return sorted(found)


def members(assets: Iterable[str], subject: str) -> list[str]:
    """Return the assets that are `subject` or lie below it, in their order."""
    return [asset for asset in assets if asset == subject or asset.startswith(f"{subject}/")]
