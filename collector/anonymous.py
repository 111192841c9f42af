"""Names of a plant replaced, each by the same word wherever it stands."""

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from config.plant import Plant, groups

_IP = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_KEYED = ("sources", "sinks", "states", "refinements")
"""Tables whose keys are names of the plant's own."""
_BUILT_IN = ("default", "packml", "mtconnect", "opc40001", "opc40501", "parquet", "influxdb")


class Names:
    """Word for name; a name that comes up later (an address of a host) gets its word then."""

    def __init__(self, plant: Plant, agents: Iterable[str] = ()) -> None:
        self._words: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        for kind, name in _named(plant, agents):
            self._add(kind, name)
        ordered = sorted(self._words, key=len, reverse=True)
        self._known = re.compile("|".join(map(_bounded, ordered))) if ordered else None

    def _add(self, kind: str, name: str) -> str:
        if name not in self._words:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._words[name] = f"{kind}{self._counts[kind]}"
        return self._words[name]

    def __call__(self, text: str) -> str:
        """Return a text with words in place of names and of addresses of hosts."""
        if text in self._words:
            return self._words[text]
        if self._known is not None:
            text = self._known.sub(lambda match: self._words[match[0]], text)
        return _IP.sub(self._host, text)

    def _host(self, match: re.Match[str]) -> str:
        try:
            local = ipaddress.ip_address(match[0]).is_loopback
        except ValueError:  # a version of four numbers
            return match[0]
        return match[0] if local else self._add("host", match[0])


def replaced(value: Any, replace: Any, *, keyed: bool = False) -> Any:
    """Return plain data with every text replaced; `keyed`: the keys too, which else are words of ours."""
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, Mapping):
        return {
            (replace(key) if keyed else key): replaced(inner, replace, keyed=not keyed and key in _KEYED)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [replaced(one, replace) for one in value]
    return value


def _named(plant: Plant, agents: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and name of everything that a plant has a name for; what is built in is no such name."""
    yield from (
        (kind, name) for kind, name in _all(plant, agents) if name and name not in _BUILT_IN and not _is_local(name)
    )


def _all(plant: Plant, agents: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield from (("plant", plant.id), ("name", plant.name))
    yield "folder", str(plant.root.resolve())
    yield "folder", str(plant.root)
    yield from (("point", point.point) for point in plant.points)
    for asset in plant.assets:
        yield from (("asset", asset.asset), ("name", asset.name))
        yield from (("word", name) for name in (asset.process, asset.segment, asset.kind))
        yield "person", asset.approved_by
    yield from (("group", name) for name in groups(asset.asset for asset in plant.assets))
    yield from _of_links(plant)
    yield from (("agent", name) for name in agents)
    yield "gateway", socket.gethostname()
    yield from (("shift", shift.name) for calendar in plant.calendars for shift in calendar.shifts)
    yield from (("states", name) for name in plant.states)


def _of_links(plant: Plant) -> Iterator[tuple[str, str]]:
    modbus = {source.id for source in plant.sources if source.kind == "modbus"}
    for source in plant.sources:
        yield from (("source", source.id), ("agent", source.agent))
        yield from (("word", name) for name in (source.user, source.client_id, source.share, source.server_name))
        yield from (("topic", name) for topic in source.topic for name in (topic.topic, topic.will))
    yield from (("address", point.address) for point in plant.points if point.source not in modbus)
    for sink in plant.sinks:
        yield "sink", sink.id
        names = (sink.database, sink.retention_policy, sink.org, sink.bucket, sink.user)
        yield from (("word", name) for name in names)
    yield from (("push", push.id or "") for push in plant.push)
    yield from (("database", one.id) for one in plant.business_sources)
    urls = [url for source in plant.sources for url in (source.url, *source.failover)]
    urls += [*(sink.url for sink in plant.sinks), *(push.url for push in plant.push)]
    urls += [one.url.get_secret_value() for one in plant.business_sources]
    yield from (("host", _host_of(url)) for url in urls)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_local(name: str) -> bool:
    return name in ("localhost", "127.0.0.1", "::1", ".", "/")


def _bounded(name: str) -> str:
    """Return a pattern for a name: not inside a longer word, where it begins or ends with a letter of ours."""
    before = r"(?<![A-Za-z0-9_])" if name[0].isascii() and (name[0].isalnum() or name[0] == "_") else ""
    after = r"(?![A-Za-z0-9_])" if name[-1].isascii() and (name[-1].isalnum() or name[-1] == "_") else ""
    return f"{before}{re.escape(name)}{after}"
