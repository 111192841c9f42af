"""What `browse` heard of a broker, for people and for scripts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from connectors.mqtt.browsing.beside import STEADY_S, Beside
from connectors.mqtt.browsing.births import Owner
from connectors.mqtt.browsing.folds import STRUCTURED, Fold
from connectors.mqtt.browsing.meanings import GUESSED, Guess, is_presence, meaning, named, of_tag, values
from connectors.mqtt.browsing.rows import selector
from connectors.mqtt.browsing.shapes import Is, Member
from connectors.mqtt.browsing.walks import Path
from connectors.texts import clean, harmless

SHOWN = 300
"""So many kinds of topics a table shows; --json and --points have all."""
MEMBERS = 60
"""So many members of one kind of payload."""
_CELL = 80
"""Longest text in a cell that a table shows."""
_WORDS = 6
_NUMBERS = ("topics", "heard", "per s", "alias")
"""Columns that are never folded."""
_NAMES = {"whole": "integer", "number": "number", "boolean": "bool", "text": "text", "other": ""}
NO_BIRTH = "no birth heard yet: one comes when the node starts, or at a rebirth request, which browse never sends"

Row = Sequence[str]


def tables(folds: Sequence[Fold], nodes: Sequence[Owner], seconds: float, guess: Guess) -> Iterator[Table | str]:
    """Yield what was heard: a table of topics, one of the members of each payload, and those of Sparkplug."""
    shown = folds[:SHOWN]
    if shown:
        head = ("topic", "topics", "heard", "per s", "payload", "role", "note")
        yield _table(head, [_topic(fold, seconds, guess) for fold in shown])
    if len(folds) > len(shown):
        yield f"and {len(folds) - len(shown)} more kinds of topics; --json and --points list all, --topic narrows"
    for fold in shown:
        if fold.words or fold.kind in STRUCTURED:
            yield from _detail(fold, guess)
    for owner in list(nodes)[:SHOWN]:
        yield from _owner(owner, seconds, guess)
    if len(nodes) > SHOWN:
        yield f"and {len(nodes) - SHOWN} more Sparkplug nodes and devices; --json and --points list all"


def _table(head: Row, lines: Sequence[Row]) -> Table:
    """Return a table; columns that say nothing are left out."""
    table = Table()
    kept = [n for n, name in enumerate(head) if n == 0 or any(line[n] for line in lines)]
    for n in kept:
        right = head[n] in _NUMBERS
        table.add_column(head[n], overflow="fold", justify="right" if right else "left", no_wrap=right)
    for line in lines:
        table.add_row(*(Text(line[n]) for n in kept))
    return table


def _short(text: str) -> str:
    text = clean(text[: 2 * _CELL])
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"


def _topic(fold: Fold, seconds: float, guess: Guess) -> Row:
    messages, live = (sum(getattr(topic, name) for topic in fold.topics) for name in ("messages", "live"))
    what, role, note = payload(fold), "", ""
    alone = [pair for pair in values(fold) if not pair[0]]
    for path, member in alone:
        means = meaning(guess, named(fold, path), member)
        what = " ".join(filter(None, (f"{what}:", member.example, means.unit)))
        role = "" if is_presence(fold) else means.role
        note = "online or not" if is_presence(fold) else means.note
    notes = "; ".join(filter(None, (retention(fold), *remarks(fold), note if note != GUESSED else "")))
    count = str(len(fold.topics)) if len(fold.topics) > 1 else ""
    name, rate = _short(fold.template), _rate(live, seconds)
    return name, count, str(messages), rate, what, role, notes


def payload(fold: Fold) -> str:
    """Return what the payloads of a topic are, in words."""
    if fold.kind == "scalar":
        member = fold.members.get(())
        return _NAMES[member.kind] if member is not None else ""
    words = {"json": "JSON", "csv": "CSV", "influx": "Influx lines", "broken": "broken JSON", "large": "too large"}
    return words.get(fold.kind, fold.kind)


def retention(fold: Fold) -> str:
    """Return whether messages were retained ones."""
    messages, retained = (sum(getattr(topic, name) for topic in fold.topics) for name in ("messages", "retained"))
    return "" if not retained else "retained" if retained == messages else f"{retained} retained"


def remarks(fold: Fold) -> Iterator[str]:
    """Yield what of a topic's payloads could not be taken as the others."""
    others: dict[str, int] = {}
    for topic in fold.topics:
        for kind, count in topic.shape.others.items():
            others[kind] = others.get(kind, 0) + count
    if others:
        yield "also " + ", ".join(f"{count} {kind}" for kind, count in others.items())
    if fold.kind in STRUCTURED and not all(topic.shape.whole for topic in fold.topics):
        yield "not all of it was looked into"


def _rate(messages: int, seconds: float) -> str:
    rate = messages / seconds if seconds > 0 else 0.0
    return f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"


def _detail(fold: Fold, guess: Guess) -> Iterator[Table | str]:
    yield f"\n{_titled(fold)}"
    for name, words in fold.words.items():
        more = f" and {len(words) - _WORDS} more" if len(words) > _WORDS else ""
        yield f"  {name}: {', '.join(_short(word) for word in words[:_WORDS])}{more}"
    if fold.kind not in STRUCTURED:
        return
    lines = [_member(fold, path, member, guess) for path, member in list(fold.members.items())[:MEMBERS]]
    if len(fold.members) > MEMBERS:
        lines.append((f"and {len(fold.members) - MEMBERS} more", *[""] * 5))
    if lines:
        yield _table(("member", "type", "example", "unit", "role", "note"), lines)


def _titled(fold: Fold) -> str:
    said = {"delimiter": "between cells", "header": "first line names the columns"}
    options = [f"{said[key]}" if value is True else f"{value!r} {said[key]}"
               for key, value in fold.options.items() if key in said]  # fmt: skip
    return ", ".join((_short(fold.template), *options))


def _member(fold: Fold, path: Path, member: Member, guess: Guess) -> Row:
    name = _short(selector(fold.kind, path).removeprefix(f"{fold.kind}:")) if path else "(time of the line)"
    if path in fold.beside.aside or not path:
        note = lag(member) if member.is_time else "beside its value"
        what = f"time, {member.clock}" if member.is_time else type_of(member)
        return name, what, member.example, "", "", note
    means = meaning(guess, named(fold, path), member, fold.beside.units.get(path, ""))
    role = means.role if member.kind != "other" else ""
    return name, type_of(member), member.example, means.unit, role, "" if means.note == GUESSED else means.note


def type_of(member: Member) -> str:
    """Return what a value was seen to be, in words."""
    if member.kinds & Is.SAMPLES:
        return f"array of {_NAMES[member.kind]} samples"
    if member.kind == "other":
        return "times" if member.kinds & Is.TIMES else "array" if member.kinds & Is.ARRAY else "null alone"
    return _NAMES[member.kind] + (f", spells a {member.spells}" if member.spells else "")


def lag(member: Member | Beside) -> str:
    """Return how far a time lies behind the messages' arrival, in words."""
    if member.lag is None:
        return ""
    if member.clock == "local":
        return "without an offset: name its zone with time_zone"
    if abs(member.lag) < STEADY_S:
        return "as of now"
    return f"{abs(member.lag):.0f} s {'behind' if member.lag > 0 else 'ahead of'} now: look at the clock"


def _owner(owner: Owner, seconds: float, guess: Guess) -> Iterator[Table | str]:
    said = f"births {owner.births}, data {owner.data} ({_rate(owner.data, seconds)} per second), deaths {owner.deaths}"
    faults = [f"  {clean(owner.fault)[:_CELL]}"] if owner.fault else []
    births = [f"  {NO_BIRTH}"] if not owner.births else []
    yield "\n".join((f"\n{_short(owner.name)}: {said}", *births, *faults))
    if not owner.tags:
        return
    lines = list[Row]()
    for tag in list(owner.tags.values())[:MEMBERS]:
        means = of_tag(guess, tag)
        alias = "" if tag.alias is None else str(tag.alias)
        role = means.role if tag.kind != "other" else ""
        lines.append((_short(tag.name), tag.datatype, alias, tag.example, _short(tag.unit), role, clean(tag.doubt)))
    if len(owner.tags) > MEMBERS:
        lines.append((f"and {len(owner.tags) - MEMBERS} more", *[""] * 6))
    yield _table(("metric", "type", "alias", "example", "unit", "role", "note"), lines)


# --- for scripts ---


def to_json(folds: Sequence[Fold], nodes: Sequence[Owner], seconds: float, guess: Guess) -> str:
    """Return what was heard as a JSON list in which every character that a terminal obeys is escaped."""
    found = [*(_object(fold, seconds, guess) for fold in folds), *(_node(owner, guess) for owner in nodes)]
    return harmless(json.dumps(found, ensure_ascii=False, indent=1))


def _object(fold: Fold, seconds: float, guess: Guess) -> Mapping[str, Any]:
    messages, live = (sum(getattr(topic, name) for topic in fold.topics) for name in ("messages", "live"))
    members, own = [], {path for path, _ in values(fold)}
    for path, member in fold.members.items():
        means = meaning(guess, named(fold, path), member, fold.beside.units.get(path, ""))
        point = path in own
        members.append({
            "selector": selector(fold.kind, path) if path or fold.kind != "influx" else "",
            "type": f"time, {member.clock}" if member.is_time else type_of(member),
            "example": member.example, "unit": means.unit, "role": means.role if point else "",
            "note": means.note if point else "",
        })  # fmt: skip
    beside = fold.beside
    return {
        "topic": fold.template, "topics": [topic.name for topic in fold.topics], "words": fold.words,
        "messages": messages, "retained": messages - live, "per_second": round(live / max(seconds, 1e-3), 3),
        "payload": fold.kind, "other_payloads": sum(sum(topic.shape.others.values()) for topic in fold.topics),
        "time": None if beside.time is None else {
            "member": "".join(f"/{token}" for token in beside.time), "clock": beside.clock, "lag_s": beside.lag,
        },
        "members": members,
    }  # fmt: skip


def _node(owner: Owner, guess: Guess) -> Mapping[str, Any]:
    metrics = [
        {"selector": tag.name, "type": tag.datatype, "alias": tag.alias, "example": tag.example, "unit": tag.unit,
         "role": of_tag(guess, tag).role if tag.kind != "other" else "", "note": tag.doubt}
        for tag in owner.tags.values()
    ]  # fmt: skip
    return {
        "topic": owner.name, "payload": "sparkplug", "messages": owner.messages, "retained": owner.retained,
        "births": owner.births, "data": owner.data, "deaths": owner.deaths, "members": metrics,
        "note": "; ".join(filter(None, ("" if owner.births else NO_BIRTH, owner.fault))),
    }  # fmt: skip
