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
from collector.speaking import Speaker
from collector.trial import NAMED, Limits, Reading, SourceTrial, State, try_sources
from collector.trial_sinks import PlaceTrial, try_places
from collector.trial_words import WORDS
from config import exits
from config.echo import masked_url
from config.language import Lang, lang_option
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
@lang_option()
def test(
    plant: Path,
    *,
    only: tuple[str, ...],
    agent: str,
    listen: float,
    timeout: float,
    whole: bool,
    as_json: bool,
    lang: Lang,
) -> None:
    """Connect to each source and sink as the agent would, and read each point once.

    \b
    Examples:  plantproof test /etc/plantproof
               plantproof test /etc/plantproof --source line1 --points
               plantproof test /etc/plantproof --for 60s --json
               plantproof test /etc/plantproof --lang zh

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
        say = Speaker(WORDS, lang)
        for line in (line for one in sources for line in _source_lines(one, say, whole=whole)):
            click.echo(clean_line(line))
        for line in (line for one in places for line in _place_lines(one, say)):
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


def _source_lines(trial: SourceTrial, say: Speaker, *, whole: bool) -> Iterator[str]:
    yield say("source", name=trial.source.id, url=masked_url(trial.source.url), told=_outcome(trial, say))
    if trial.error:
        yield f"  {say('fault', text=say.heard(trial.error))}"
    yield from _certificate_lines(trial.certificate, say)
    if trial.clock_offset_s is not None:
        yield f"  {say('ahead' if trial.clock_offset_s > 0 else 'slow', seconds=abs(trial.clock_offset_s))}"
    yield from (f"  {say('warning', text=say.heard(warning))}" for warning in trial.warnings)
    yield from (f"  {say('refused', text=one)}" for one in trial.refused)
    yield from _points_lines(trial.readings, say, whole=whole)


def _outcome(trial: SourceTrial, say: Speaker) -> str:
    """Return what trying a source came to, in a few words."""
    if trial.connect_s is None:
        return say("not connected" if trial.error else "not tried")
    bad, silent, uncertain = trial.count("bad"), trial.count("silent"), trial.count("uncertain")
    parts = [say("connected", seconds=trial.connect_s)]
    parts += [say("read", read=trial.count("good") + uncertain, points=len(trial.readings))]
    counts = {"uncertain of them": uncertain, "bad points": bad, "silent points": silent}
    return say.joined([*parts, *(say(word, count=count) for word, count in counts.items() if count)])


def _points_lines(readings: Sequence[Reading], say: Speaker, *, whole: bool) -> Iterator[str]:
    states: tuple[State, ...] = ("bad", "silent", *(("good", "uncertain") if whole else ()))
    told = [one for one in readings if one.state in states]
    for one in told if whole else told[:NAMED]:
        value = "" if one.value is None else f" {_value(one.value)}"
        reading = f"{one.point}{value} {'' if one.state == 'good' else one.status}".rstrip()
        yield f"  {say(one.state, reading=reading)}"
    if not whole and len(told) > NAMED:
        yield f"  {say('more', count=len(told) - NAMED)}"


def _value(value: float | str) -> str:
    return f"{value:.15g}" if isinstance(value, float) else repr(value)


def _place_lines(trial: PlaceTrial, say: Speaker) -> Iterator[str]:
    answers = [say("answers", seconds=trial.took_s)] if trial.kind == "influxdb" else []
    how = say("not usable") if trial.error else say.joined([*answers, *map(say.heard, trial.facts)])
    word = "spool" if trial.kind == "spool" else "sink"
    yield say(word, name=trial.name, url=masked_url(trial.where), told=how)
    if trial.error:
        yield f"  {say('fault', text=say.heard(trial.error))}"
    yield from _certificate_lines(trial.certificate, say)


def _certificate_lines(found: Certificate | None, say: Speaker) -> Iterator[str]:
    if found is not None:
        soon = say("renew") if found.ends_soon(dt.datetime.now(dt.UTC)) else ""
        yield f"  {say('certificate', subject=found.subject, expires=found.expires)}{soon}"


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
