"""The status report as Prometheus metrics, made anew at each scrape.

Labels are ids of the configuration, names of figures and events are ours: nothing that a machine or a store said
becomes a label. A figure that the report has not is a sample that is not there.
"""

import datetime as dt
import importlib.metadata
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

Report = Mapping[str, Any]
"""As `Status.report` returns it."""

SPARING = 20
"""An answer is given again for so many times what it took: scrapers in a flood take a twentieth of a core a format."""
OPENMETRICS = "application/openmetrics-text"


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric: where its value stands in a part of the report."""

    name: str
    help: str
    value: Callable[[Report], float | None]
    kind: Literal["gauge", "counter"] = "gauge"
    unit: str = ""
    """The word that the name ends with, before _total."""


def _at(*path: str) -> Callable[[Report], float | None]:
    """Return what looks a value up, None where it is not there."""

    def found(part: Report) -> float | None:
        value: Any = part
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None else float(value)

    return found


def _is(name: str, *, but: str = "") -> Callable[[Report], float]:
    """Return what says 1 where a text is `but`, or where there is any."""
    return lambda part: float(part.get(name) == but if but else bool(part.get(name)))


def _count(name: str, of: str, path: tuple[str, ...], text: str) -> Figure:
    return Figure(f"{of}_{name}_total", text, _at(*path), "counter", name.rpartition("_")[2])


BUILD = Figure("plantproof_build_info", "1, of the version that runs", lambda _: 1.0)
NAMES = Figure("plantproof_agent_info", "1, of this gateway and its plant", lambda _: 1.0)
AGENT = (
    Figure("plantproof_up", "1 while the agent collects, 0 once it has stopped", lambda r: float(not r["stopped"])),
    Figure("plantproof_healthy", "1 where every source is fresh and spool and sinks are without error", _at("healthy")),
    Figure(
        "plantproof_start_time_seconds",
        "When the agent began, since 1970-01-01 UTC",
        lambda r: dt.datetime.fromisoformat(r["started"]).timestamp(),
        unit="seconds",
    ),
    Figure("plantproof_watchdog_fed", "1 while every loop that is watched goes round", _at("watchdog_fed")),
    Figure(
        "plantproof_config_last_reload_successful",
        "1 where the configuration was taken when it was last reloaded",
        lambda r: None if r["reload"] is None else float(not r["reload"]["refused"]),
    ),
)

_SOURCE = "plantproof_source"
SOURCE = (
    Figure(f"{_SOURCE}_connected", "1 while the link stands", _is("state", but="connected")),
    Figure(f"{_SOURCE}_fresh", "1 where data came within three periods", _at("fresh")),
    Figure(f"{_SOURCE}_data_age_seconds", "Time since data came last", _at("age_s"), unit="seconds"),
    Figure(f"{_SOURCE}_configured_points", "Points that the point table gives to it", _at("points"), unit="points"),
    Figure(
        f"{_SOURCE}_monitored_points", "Of these, points that it knows", _at("coverage", "monitored"), unit="points"
    ),
    Figure(f"{_SOURCE}_fresh_points", "Of these, points that are fresh", _at("coverage", "fresh"), unit="points"),
    Figure(f"{_SOURCE}_silent_points", "Points that spoke once and are silent now", _at("silent"), unit="points"),
    _count("rows", _SOURCE, ("rows",), "Rows that were taken"),
    _count("connects", _SOURCE, ("connects",), "How often its link was made"),
    _count("faults", _SOURCE, ("faults",), "What was dropped, overflowed or did not fit"),
    Figure(
        f"{_SOURCE}_flags_total",
        "What was kept although it is in doubt",
        lambda source: float(sum(source["flags"].values())),
        "counter",
        "flags",
    ),
    _count("filled_rows", _SOURCE, ("filled",), "Rows filled in from its own history"),
    Figure(
        f"{_SOURCE}_bus_time_ratio",
        "Modbus: share of the last 10 s in which the link was busy",
        _at("link", "bus_time"),
        unit="ratio",
    ),
    _count(
        "missed_polls", _SOURCE, ("link", "polls_missed"), "Modbus: polls that were skipped since the link was made"
    ),
)

_SINK = "plantproof_sink"
SINK = (
    _count("rows", _SINK, ("rows",), "Rows stored since the agent's start"),
    Figure(f"{_SINK}_cursor", "Number of the batch up to which all are stored", _at("cursor")),
    Figure(f"{_SINK}_lag_batches", "Batches that it has not stored yet", _at("lag"), unit="batches"),
    Figure(f"{_SINK}_behind_seconds", "How far it is behind the present", _at("behind_s"), unit="seconds"),
    Figure(f"{_SINK}_error", "1 while something stops it", _is("error")),
    Figure(f"{_SINK}_upkeep_error", "1 while something keeps its housekeeping from its work", _is("upkeep")),
    Figure(f"{_SINK}_lake_days", "Parquet: days in the lake", _at("figures", "days"), unit="days"),
    Figure(f"{_SINK}_lake_files", "Parquet: files of all writers", _at("figures", "files"), unit="files"),
    Figure(f"{_SINK}_lake_bytes", "Parquet: size of the lake", _at("figures", "bytes"), unit="bytes"),
    Figure(f"{_SINK}_merging_files", "Parquet: files that are being merged", _at("figures", "merging"), unit="files"),
    _count("requests", _SINK, ("figures", "requests"), "InfluxDB: requests"),
    _count("sent_bytes", _SINK, ("figures", "sent_bytes"), "InfluxDB: bytes sent, compressed"),
    _count("sent_rows", _SINK, ("figures", "sent_rows"), "InfluxDB: rows dealt with"),
    _count("retries", _SINK, ("figures", "retries"), "InfluxDB: writes that came again after a fault"),
    _count("refused_rows", _SINK, ("figures", "refused_rows"), "InfluxDB: rows that the server refused"),
    _count("expired_rows", _SINK, ("figures", "expired_rows"), "InfluxDB: rows older than its retention"),
)

_SPOOL = "plantproof_spool"
SPOOL = (
    Figure(f"{_SPOOL}_bytes", "Size of all segments", _at("bytes"), unit="bytes"),
    Figure(f"{_SPOOL}_max_bytes", "The most that they may take", _at("max_bytes"), unit="bytes"),
    Figure(f"{_SPOOL}_last_batch", "Number of the last batch that was committed", _at("last")),
    Figure(f"{_SPOOL}_pending_rows", "Rows in memory that wait for a commit", _at("pending_rows"), unit="rows"),
    Figure(f"{_SPOOL}_quarantined_bytes", "Size of what lies in quarantine", _at("quarantined_bytes"), unit="bytes"),
    Figure(f"{_SPOOL}_error", "1 while nothing can be committed", _is("error")),
)
EVENTS = Figure("plantproof_ledger_events_total", "Entries of the ledger", _at("count"), "counter", "events")

Part = tuple[tuple[str, ...], Report]
"""Values of labels, and a part of the report."""


class StatusCollector(Collector):
    """All metrics of an agent; `report` is called at each scrape."""

    def __init__(self, report: Callable[[], Report]) -> None:
        self._report = report
        self._version = importlib.metadata.version("plantproof")

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its samples of now."""
        report = self._report()
        yield from _families([BUILD], ("version",), [((self._version,), report)])
        yield from _families([NAMES], ("agent", "plant"), [((report["agent"], report["plant"]), report)])
        last = report["spool"].get("last", 0)
        sinks = {name: {**one, "lag": max(0, last - one["cursor"])} for name, one in report["sinks"].items()}
        yield from _families(AGENT, (), [((), report)])
        yield from _families(SOURCE, ("source", "kind"), _named(report["sources"]))
        yield from _families(SINK, ("sink", "kind"), _named(sinks))
        yield from _families(SPOOL, (), [((), report["spool"])])
        events = sorted(report["ledger"].items())
        yield from _families([EVENTS], ("event",), [((event,), {"count": count}) for event, count in events])


def _named(parts: Mapping[str, Report]) -> list[Part]:
    return [((name, one["kind"]), one) for name, one in parts.items()]


def _families(figures: Iterable[Figure], labels: tuple[str, ...], parts: list[Part]) -> Iterator[Metric]:
    for figure in figures:
        made = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
        family = made(figure.name, figure.help, labels=labels, unit=figure.unit)
        for names, part in parts:
            if (value := figure.value(part)) is not None:
                family.add_metric(names, value)
        yield family


class Process(ProcessCollector):
    """Memory, CPU and descriptors of this process, also where /proc shows processes alone (`ProcSubset=pid`)."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class Exposition:
    """The metrics of an agent as text; nothing is registered beyond it."""

    def __init__(
        self, report: Callable[[], Report], *, proc: str = "/proc", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what returns the status report; proc: where processes are shown, clock: [s]."""
        self._clock = clock
        self._made: dict[bool, tuple[float, tuple[str, bytes]]] = {}
        """By format: until when it is given again, and what."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(StatusCollector(report))
        Process(proc=proc, registry=self._registry)

    def text(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body in the format that a scraper's Accept asks for; no word of it is repeated."""
        wanted = OPENMETRICS in {part.partition(";")[0].strip().lower() for part in accept.split(",")}
        began = self._clock()
        until, made = self._made.get(wanted, (began, ("", b"")))
        if began >= until:
            encode, kind = choose_encoder(f"{OPENMETRICS}; version=1.0.0" if wanted else "")
            made = kind, encode(self._registry)
            ended = self._clock()
            self._made[wanted] = ended + SPARING * (ended - began), made
        return made
