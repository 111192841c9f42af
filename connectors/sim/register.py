"""The simulated plant's files: plant.toml, device register (设备台账), point table (采集点表), products."""

import csv
import datetime as dt
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.sim.modbus import ENERGY, REJECT, STATE, TOTAL
from connectors.sim.plant import BRACKET, IDEAL_CYCLES, MILLS, PRESSES, ROBOT, SECOND, SHORT_TOTAL

TIMEZONE = "Asia/Shanghai"
ROBOT_TOPIC = "jn-demo/line2/robot1"
MAX_RATE = "20"  # the fastest a counter can truly count [1/s]; energy [kWh/s] stays far below

Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where the servers listen: URLs as plant.toml takes them."""

    opcua: str
    modbus: str
    mqtt: str


def write_plant(folder: Path, endpoints: Endpoints, start: int, duration: int) -> Path:
    """Write the plant's four files into `folder` and return the path of plant.toml.

    One shift of 24 h begins about six hours before `start` [ns since 1970, UTC], so that a run of `duration`
    [ns] lies inside it. Raises ValueError for a run longer than 12 h.
    """
    if duration > 12 * 3600 * SECOND:
        raise ValueError(f"a run of {duration / SECOND} s is too long; take 12 h or less")
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "assets.csv", list(_assets()))
    _write_csv(folder / "points.csv", list(_points()))
    _write_csv(
        folder / "products.csv",
        [{"product": name, "asset": "*", "ideal_cycle": str(ns / SECOND)} for name, ns in IDEAL_CYCLES.items()],
    )
    first = dt.datetime.fromtimestamp(start // SECOND, zoneinfo.ZoneInfo(TIMEZONE)) - dt.timedelta(hours=6)
    toml = folder / "plant.toml"
    toml.write_text(_toml(endpoints, f"{first:%H}:00:00"), encoding="utf-8")
    return toml


def _toml(endpoints: Endpoints, day_start: str) -> str:
    return f"""version = 1

[plant]
id = "jn-demo"
name = "江宁演示工厂"
kind = "discrete"
timezone = "{TIMEZONE}"
day_start = {day_start}
assets = "assets.csv"
points = "points.csv"
products = "products.csv"

[[source]]
id = "line1"
kind = "opcua"
url = "{endpoints.opcua}"
security = "None"
period = "250ms"

[[source]]
id = "mills"
kind = "modbus"
url = "{endpoints.modbus}"
period = "250ms"
timeout = "500ms"

[[source]]
id = "cells"
kind = "mqtt"
url = "{endpoints.mqtt}"
client_id = "jn-demo-gateway"
period = "250ms"

[[calendar]]
shifts = [{{ name = "全天", start = {day_start}, end = {day_start} }}]

[states.default]
"1" = "production"
"2" = "setup"
"3" = "delay"
"4" = "idle"
"5" = "planned"

[[sink]]
kind = "parquet"
path = "var/lake"
every = "2s"
"""


def _assets() -> Iterator[Row]:
    """Yield the register's rows: the networked machines, and what a real register holds besides."""

    def row(asset: str, name: str, kind: str, process: str, **cells: str) -> Row:
        base = {"production": "yes", "key_equipment": "no", "key_process": "no", "control": "none"}
        rest = {"digital": "no", "ideal_cycle": "", "excluded": "", "责任人": ""}
        return {"asset": asset, "name": name, "kind": kind, "process": process, **base, **rest, **cells}

    for n, asset in enumerate(PRESSES, 1):
        key = "yes" if n <= 2 else "no"
        extra = {"key_equipment": key, "key_process": "yes", "control": "plc", "digital": "yes"}
        yield row(asset, f"{n}号冲压机", "press", "冲压", **extra, 责任人="王工")
    for n, asset in enumerate(MILLS, 1):
        extra = {"key_equipment": "yes", "key_process": "yes", "control": "cnc", "digital": "yes"}
        cycle = str(IDEAL_CYCLES[BRACKET] / SECOND)
        yield row(asset, f"{n}号加工中心", "mill", "铣削", **extra, ideal_cycle=cycle, 责任人="李工")
    yield row(ROBOT, "1号焊接机器人", "robot", "焊接", control="nc", digital="yes", 责任人="赵工")
    yield row("line2/saw1", "带锯床", "saw", "下料", key_process="yes", 责任人="李工")
    yield row("site/charger1", "叉车充电桩", "charger", "物流", production="no")
    yield row("line2/lathe9", "旧车床", "lathe", "车削", excluded="已封存,待报废")


def _points() -> Iterator[Row]:
    """Yield the point table's rows."""
    base = {"period": "250ms", "mode": "poll", "heartbeat": "2s"}

    def row(asset: str, role: str, source: str, address: str, **cells: str) -> Row:
        name = "energy" if role == "energy.electricity" else role
        kind = {
            "type": "",
            "unit": "kWh" if name == "energy" else "",
            "scale": "",
            "modulus": "",
            "max_rate": "",
        }
        rate = MAX_RATE if name in ("total", "good", "reject") else ""
        point = f"{asset.rsplit('/', 1)[-1]}.{name}"
        head = {"point": point, "asset": asset, "role": role, "source": source, "address": address}
        return {**head, **kind, **base, "max_rate": rate, **cells}

    for asset in PRESSES:
        name = asset.rsplit("/", 1)[-1]
        for role in ("state", "total", "reject", "product"):
            yield row(asset, role, "line1", f"ns=2;s={name}.{role}")
        yield row(asset, "energy.electricity", "line1", f"ns=2;s={name}.energy")
    for unit, asset in enumerate(MILLS, 1):
        short = asset == SHORT_TOTAL
        total = {"type": "uint16", "modulus": "65536"} if short else {"type": "uint32"}
        yield row(asset, "state", "mills", f"{unit}/holding:{STATE}", type="uint16")
        yield row(asset, "total", "mills", f"{unit}/holding:{TOTAL}", **total)
        yield row(asset, "reject", "mills", f"{unit}/holding:{REJECT}", type="uint32")
        yield row(asset, "energy.electricity", "mills", f"{unit}/holding:{ENERGY}", type="uint32", scale="0.01")
    for role in ("state", "total", "good", "product"):
        yield row(ROBOT, role, "cells", f"{ROBOT_TOPIC}#/{role}")
    yield row(ROBOT, "energy.electricity", "cells", f"{ROBOT_TOPIC}#/energy")


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
