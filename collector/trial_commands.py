"""The command `plantproof test`."""

import asyncio
import datetime as dt
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from collector.commands import load_checked
from collector.peers import Certificate
from collector.trial import NAMED, Limits, Reading, SourceTrial, State, try_sources
from collector.trial_sinks import PlaceTrial, try_places
from config import exits
from config.echo import masked_url
from config.plant import Plant
from config.redaction import Redaction, of_sink
from config.units import parse_duration
from connectors.texts import clean


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        found = parse_duration(text) / 1e9
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}") from error
    if not found:
        raise click.BadParameter(f"{text!r}: is no time; write such as 10s")
    return found


@click.command()
@click.argument("plant", type=click.Path(path_type=Path, exists=True))
@click.option("--source", "only", multiple=True, help="Try this source alone, and no sink; repeatable.")
@click.option("--agent", default="", help="Try the sources of this gateway; default all.")
@click.option(
    "--for", "listen", default="10s", show_default=True, callback=_seconds, help="MQTT: how long to wait for messages."
)
@click.option(
    "--timeout", default="30s", show_default=True, callback=_seconds,
    help="How long connecting to each may take, and then reading.",
)  # fmt: skip
@click.option("--points", "whole", is_flag=True, help="List every point with its value.")
@click.option("--json", "as_json", is_flag=True, help="Print an object of JSON.")
def test(
    plant: Path, *, only: tuple[str, ...], agent: str, listen: float, timeout: float, whole: bool, as_json: bool
) -> None:
    """Connect to each source and sink as the agent would, and read each point once.

    \b
    Examples:  plantproof test /etc/plantproof
               plantproof test /etc/plantproof --source line1 --points
               plantproof test /etc/plantproof --for 60s --json

    Nothing is written to a PLC, and no sample into a store. Run it as the agent's user: it makes the same files below
    pki. Exits 3 where points were bad or silent, or the disk is too small, 69 where a source or sink cannot be
    reached, 78 where the configuration is at fault.
    """
    loaded = load_checked(plant, secrets=True)
    limits = Limits(whole=timeout, listen=listen)
    sources, places = asyncio.run(_all(_chosen(loaded, only, agent), limits, sinks=not only))
    _without_secrets(loaded, sources, places)
    if as_json:
        found = {"sources": [_source_json(one) for one in sources], "sinks": [_place_json(one) for one in places]}
        click.echo(json.dumps(found, ensure_ascii=False, indent=1, default=str))
    else:
        for line in (line for one in sources for line in _source_lines(one, whole=whole)):
            click.echo(clean_line(line))
        for line in (line for one in places for line in _place_lines(one)):
            click.echo(clean_line(line))
    if code := _code(sources, places):
        sys.exit(code)


def _chosen(plant: Plant, only: Sequence[str], agent: str) -> Plant:
    """Return the plant with the sources that are to be tried."""
    known = [source.id for source in plant.sources]
    if strange := [name for name in only if name not in known]:
        raise click.BadParameter(f"{strange[0]!r} is none of {', '.join(known)}", param_hint="--source")
    sources = [s for s in plant.sources if (not only or s.id in only) and (not agent or s.agent in ("", agent))]
    return plant.model_copy(update={"sources": tuple(sources)})


async def _all(plant: Plant, limits: Limits, *, sinks: bool) -> tuple[list[SourceTrial], list[PlaceTrial]]:
    sources = asyncio.create_task(try_sources(plant, plant.sources, limits))
    places = await try_places(plant, limits) if sinks else []
    return await sources, places


def _without_secrets(plant: Plant, sources: Sequence[SourceTrial], places: Sequence[PlaceTrial]) -> None:
    """Strike secrets out of what peers and libraries said: they may repeat what they were sent."""
    known = [word for sink in plant.sinks for word in of_sink(sink)]
    redact = Redaction([*known, *(source.password.get_secret_value() for source in plant.sources)])
    for one in sources:
        one.error, one.refused, one.warnings = (
            redact(one.error),
            [*map(redact, one.refused)],
            [*map(redact, one.warnings)],
        )
    for place in places:
        place.error = redact(place.error)


def _code(sources: Sequence[SourceTrial], places: Sequence[PlaceTrial]) -> int:
    if any(one.error for one in sources) or any(one.error for one in places):
        return exits.UNREACHABLE
    whole = all(one.whole for one in sources) and all(one.room for one in places)
    return exits.DONE if whole else exits.QUALITY


def clean_line(line: str) -> str:
    """Return a line without what a terminal obeys, its indentation kept."""
    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + clean(text)


# --- in words ---


def _source_lines(trial: SourceTrial, *, whole: bool) -> Iterator[str]:
    head = f"source {trial.source.id} ({masked_url(trial.source.url)}): "
    if trial.connect_s is not None:
        bad, silent, uncertain = trial.count("bad"), trial.count("silent"), trial.count("uncertain")
        parts = [f"{trial.count('good') + uncertain} of {len(trial.readings)} points read"]
        parts += [f"{uncertain} of them uncertain"] * bool(uncertain) + [f"{bad} bad"] * bool(bad)
        parts += [f"{silent} silent"] * bool(silent)
        yield f"{head}connected in {trial.connect_s:.2f} s, {', '.join(parts)}"
    else:
        yield f"{head}{'NOT CONNECTED' if trial.error else 'not tried'}"
    if trial.error:
        yield f"  fault: {trial.error}"
    yield from _certificate_lines(trial.certificate)
    if trial.clock_offset_s is not None:
        yield f"  clock: {abs(trial.clock_offset_s):.3f} s {'ahead of' if trial.clock_offset_s > 0 else 'behind'} ours"
    yield from (f"  warning: {warning}" for warning in trial.warnings)
    yield from (f"  refused: {one}" for one in trial.refused)
    yield from _points_lines(trial.readings, whole=whole)


def _points_lines(readings: Sequence[Reading], *, whole: bool) -> Iterator[str]:
    states: tuple[State, ...] = ("bad", "silent", *(("good", "uncertain") if whole else ()))
    told = [one for one in readings if one.state in states]
    for one in told if whole else told[:NAMED]:
        value = "" if one.value is None else f" {_value(one.value)}"
        yield f"  {one.state}: {one.point}{value} {'' if one.state == 'good' else one.status}".rstrip()
    if not whole and len(told) > NAMED:
        yield f"  and {len(told) - NAMED} more: --points lists all"


def _value(value: float | str) -> str:
    return f"{value:.15g}" if isinstance(value, float) else repr(value)


def _place_lines(trial: PlaceTrial) -> Iterator[str]:
    word = "spool" if trial.kind == "spool" else f"sink {trial.name}"
    answers = [f"answers in {trial.took_s:.2f} s"] if trial.kind == "influxdb" else []
    how = "NOT USABLE" if trial.error else ", ".join([*answers, *trial.facts])
    yield f"{word} ({masked_url(trial.where)}): {how}"
    if trial.error:
        yield f"  fault: {trial.error}"
    yield from _certificate_lines(trial.certificate)


def _certificate_lines(found: Certificate | None) -> Iterator[str]:
    if found is not None:
        soon = "; have it renewed" if found.ends_soon(dt.datetime.now(dt.UTC)) else ""
        yield f"  certificate: {found.subject}, until {found.expires:%Y-%m-%d}{soon}"


# --- as JSON ---


def _source_json(trial: SourceTrial) -> dict[str, Any]:
    states: tuple[State, ...] = ("good", "uncertain", "bad", "silent")
    return {
        "source": trial.source.id,
        "kind": trial.source.kind,
        "url": masked_url(trial.source.url),
        "connected": trial.connected,
        "error": trial.error,
        "connect_s": trial.connect_s,
        "certificate": _certificate_json(trial.certificate),
        "clock_offset_s": trial.clock_offset_s,
        "counts": {state: trial.count(state) for state in states},
        "points": [{**asdict(one), "value": _json_value(one.value)} for one in trial.readings],
        "refused": trial.refused,
        "warnings": trial.warnings,
    }


def _json_value(value: float | str | None) -> float | str | None:
    """Return a value as JSON has it; what is no finite number there is a word."""
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _place_json(trial: PlaceTrial) -> dict[str, Any]:
    found = {name: getattr(trial, name) for name in ("name", "kind", "error", "took_s", "facts", "room")}
    return {**found, "where": masked_url(trial.where), "certificate": _certificate_json(trial.certificate)}


def _certificate_json(found: Certificate | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "expires": found.expires.isoformat()}
