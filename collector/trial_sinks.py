"""One try of each store, and of the spool's folder: can it be reached and written, without a sample written to it.

InfluxDB is asked whether it is well and has its database or bucket; whether we may write is asked by a request that
has a comment and no line. Nothing is made that is missing.
"""

import asyncio
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from collector import host
from collector.peers import Certificate, shown_at
from collector.sinks.base import SinkRefused
from collector.sinks.influx_apis import V1, V3, Api, headers
from collector.sinks.influx_http import Http
from collector.trial import Limits
from config.plant import Plant, Sink
from config.redaction import of_sink

_COMMENT = zlib.compress(b"# may it write?\n", 1, 31)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(slots=True, kw_only=True)
class PlaceTrial:
    """What trying a store, or the spool's folder, came to."""

    name: str
    kind: str
    where: str
    error: str = ""
    """Why it cannot be used; empty: it can."""
    took_s: float = 0.0
    certificate: Certificate | None = None
    facts: list[str] = field(default_factory=list)
    room: bool = True
    """Whether the disk has room for what the configuration allows it to take."""


async def try_places(plant: Plant, limits: Limits) -> list[PlaceTrial]:
    """Try the spool's folder and every sink, all at once; each fails alone."""
    spool = plant.resolve(plant.spool.path)
    trials = [asyncio.to_thread(_folder, "spool", "spool", spool, plant.spool.max_size)]
    trials += [asyncio.to_thread(_sink, plant, sink, limits.whole) for sink in plant.sinks]
    return list(await asyncio.gather(*trials))


def _sink(plant: Plant, sink: Sink, limit: float) -> PlaceTrial:
    if sink.kind == "parquet":
        return _folder(sink.name, sink.kind, plant.resolve(sink.path), sink.keep_size)
    trial = PlaceTrial(name=sink.name, kind=sink.kind, where=sink.url)
    ca = plant.resolve(sink.ca) if sink.ca else None
    limit = min(limit, sink.timeout / 1e9)
    http = Http(sink.url, headers=headers(sink), secrets=of_sink(sink), ca=ca, timeout=limit)
    began = time.monotonic()
    try:
        trial.facts += _asked(http, sink)
        trial.certificate = shown_at(sink.url, str(ca) if ca else None, limit)
    except (OSError, SinkRefused) as error:
        trial.error = str(error)
    finally:
        http.close()
    trial.took_s = time.monotonic() - began
    return trial


# --- InfluxDB ---


def _asked(http: Http, sink: Sink) -> Sequence[str]:
    """Return what the server says of itself and of us; raises OSError and SinkRefused."""
    match sink.api:
        case "v1":
            return _v1(http, sink)
        case "v2":
            from collector.sinks.influx_v2 import V2  # noqa: PLC0415  only 2.x needs its client

            api: Api = V2(http, sink)
            api.ready()
            return [f"bucket {sink.bucket} is there", _may_write(http, api)]
    V3(http, sink).ready()
    return [f"it lets us in; whether database {sink.database} is there, and may be written, the first write shows"]


def _v1(http: Http, sink: Sink) -> Sequence[str]:
    reply = http.request("POST", "/query", urlencode({"q": "SHOW DATABASES"}).encode(), _FORM)
    http.demand(reply, V1.hint)
    try:
        (result,) = reply.json["results"]
        if "error" in result:
            raise SinkRefused(f"{http.name}: {http.clean(str(result['error']))}; {V1.hint}")
        names = {row[0] for series in result.get("series", ()) for row in series.get("values", ())}
    except (TypeError, LookupError, ValueError, AttributeError):
        words = http.clean(reply.text)
        raise SinkRefused(f"{http.name}: {words!r} is no answer of InfluxDB 1; check url and api") from None
    if sink.database not in names:
        return [f"database {sink.database} is not there: the agent makes it, where its user may"]
    api = V1(http, sink)
    api.ready()
    return [f"database {sink.database} is there", _may_write(http, api)]


def _may_write(http: Http, api: Api) -> str:
    """Send a comment in place of lines; raises SinkRefused where it is forbidden."""
    reply = api.write(_COMMENT)
    if reply.status in (401, 403, 404):
        http.demand(reply, api.hint)
    return "we may write" if reply.status in (200, 204) else "whether we may write, the first write shows"


# --- folders ---


def _folder(name: str, kind: str, folder: Path, most: int | None) -> PlaceTrial:
    """Try a folder; most: what it may take of the disk [B], None where nothing is said of it."""
    trial = PlaceTrial(name=name, kind=kind, where=str(folder))
    began = time.monotonic()
    try:
        there = _nearest(folder)
        with tempfile.TemporaryFile(dir=there):
            pass
        free = host.free_space(there)
        trial.facts += [] if there == folder.absolute() else ["the agent makes it"]
        trial.facts.append(f"can be written, {free / 2**30:.3g} GiB free")
        if most is not None and (lacking := most - _size(folder) - free) > 0:
            trial.room = False
            trial.facts.append(f"{lacking / 2**30:.3g} GiB too little for the {most / 2**30:.3g} GiB that it may take")
    except OSError as error:
        trial.error = f"cannot be written ({error.strerror}): let the agent's user write there"
    trial.took_s = time.monotonic() - began
    return trial


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return folder if folder.exists() else _nearest(folder.parent)


def _size(folder: Path) -> int:
    """Return what the files of a folder take [B]; those that go meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
