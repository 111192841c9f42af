"""Where a point stands in MQTT: a topic, and what of its payload. `topic#selector`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from config.plant import Source, Topic

SPARKPLUG = "spBv1.0/"
"""Topics of Sparkplug B begin so (3.0.0, chapter 4.1)."""
FORMATS = ("scalar", "json", "csv", "influx")
_MARKED = re.compile(r"(csv|influx):(.*)", re.DOTALL)
_HOLE = re.compile(r"\{([^{}/]+)\}")
_LONGEST = 0xFFFF
_EACH = Topic(topic="#")
"""How topics are read that no table of the source speaks of."""
_WILDCARDS = "the wildcards + and # stand for whole levels, # for the last alone; write such as plant/+/data or plant/#"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a point's values are."""

    topic: str
    """A topic filter."""
    payload: str
    """One of FORMATS."""
    selector: str
    """What of the payload: a JSON Pointer, a column, a measurement with tags and field; empty: all of it."""
    options: Topic
    """How its topic is read."""


def is_sparkplug(address: str) -> bool:
    """Return whether an address is one of Sparkplug B."""
    return address.startswith(SPARKPLUG)


def parse(source: Source, address: str) -> Address:
    """Return what an address says, with what the source says of its topic; raises ValueError naming what is wrong."""
    topic, selector = cut(address)
    if fault := filter_fault(topic):
        raise ValueError(f"address {address!r}: {fault}")
    options = options_of(source, topic)
    marked = _MARKED.fullmatch(selector)
    payload = marked[1] if marked is not None else options.payload or ("json" if selector else "scalar")
    selector = marked[2] if marked is not None else selector
    if payload == "json" and not selector.startswith("/"):
        raise ValueError(f"address {address!r}: after the # stands a JSON Pointer such as /press/temperature")
    if payload == "scalar" and selector:
        raise ValueError(f"address {address!r}: a plain value has no parts; leave out what stands after the #")
    if payload in ("csv", "influx") and not selector:
        example = "temperature, or 3 for the third column" if payload == "csv" else "press,line=l1 temperature"
        raise ValueError(f"address {address!r}: after the # stands what to take of it, such as {example}")
    return Address(topic, payload, selector, options)


def cut(address: str) -> tuple[str, str]:
    """Return the topic and the selector of an address; a # that ends a filter, as in a/#, belongs to the topic."""
    topic, sign, selector = address.partition("#")
    if sign and (not topic or topic.endswith("/")) and (not selector or selector.startswith("#")):
        return f"{topic}#", selector[1:]
    return topic, selector


def filter_fault(topic: str) -> str | None:
    """Return what is wrong with a topic filter [MQTT 5.0, 4.7], or None."""
    levels = topic.split("/")
    if not topic or "\0" in topic or len(topic.encode(errors="replace")) > _LONGEST:
        return "a topic has 1 to 65,535 bytes and no NUL; write such as plant/press2/data"
    if any(sign in level for level in levels for sign in "+#" if level != sign) or "#" in levels[:-1]:
        return _WILDCARDS
    if "{" in topic or "}" in topic:
        rule = "a {name} stands for a word of the asset's id or a column of the register, and the row has none for it"
        return f"{rule}; write the asset as {{name}} as well, or the topic in full"
    if topic.startswith("$share/"):
        return "a shared subscription is no part of a topic; write its group as `share` of the source"
    return None


def holes(topic: str) -> list[str]:
    """Return the names in braces of a topic template; raises ValueError where a brace stands alone."""
    if any(sign in _HOLE.sub("", topic) for sign in "{}"):
        raise ValueError(f"topic {topic!r}: a brace stands alone; write such as plant/{{line}}/{{machine}}/data")
    names: list[str] = _HOLE.findall(topic)
    for level in topic.split("/"):
        if _HOLE.search(level) and _HOLE.fullmatch(level) is None:
            raise ValueError(
                f"topic {topic!r}: {level!r} is part of a level; a {{name}} stands for a whole one, "
                "such as plant/{machine}/data"
            )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"topic {topic!r}: {{{twice}}} stands there twice; give each level a name of its own")
    return names


def as_filter(topic: str) -> str:
    """Return a topic template as the filter that it is for a broker."""
    return _HOLE.sub("+", topic)


def options_of(source: Source, topic: str) -> Topic:
    """Return what the source says of a topic filter: the first table whose filter covers it."""
    return next((one for one in source.topic if covers(as_filter(one.topic), topic)), _EACH)


def covers(wide: str, narrow: str) -> bool:
    """Return whether every topic of filter `narrow` is one of filter `wide`; a topic is a filter of itself."""
    mine, other = ("#" if wide == "+/#" else wide).split("/"), narrow.split("/")  # every topic has a first level
    if mine[0] in ("+", "#") and other[0].startswith("$"):  # wildcards do not reach the broker's own topics [4.7.2]
        return False
    for n, level in enumerate(mine):
        if level == "#":
            return True
        if n >= len(other) or other[n] == "#" or (level not in ("+", other[n])):
            return False
    return len(mine) == len(other)


def overlap(one: str, other: str) -> bool:
    """Return whether there are topics of both filters."""
    mine, its = one.split("/"), other.split("/")
    if any(a[0] in ("+", "#") and b[0].startswith("$") for a, b in ((mine, its), (its, mine))):  # as in `covers`
        return False
    for n in range(max(len(mine), len(its)) + 1):
        left, right = (levels[n] if n < len(levels) else None for levels in (mine, its))
        if "#" in (left, right) or left is None or right is None:
            return left == right or "#" in (left, right)
        if left != right and "+" not in (left, right):
            return False
    return True


def filled(template: str, pattern: str, topic: str) -> str | None:
    """Return a template with what stands in `topic` where `pattern` has the same names; None where it does not fit."""
    found = dict(_named(pattern, topic))
    if not covers(as_filter(pattern), topic) or any(name not in found for name in _HOLE.findall(template)):
        return None
    return _HOLE.sub(lambda hole: found[hole[1]], template)


def _named(pattern: str, topic: str) -> Iterator[tuple[str, str]]:
    for level, word in zip(pattern.split("/"), topic.split("/"), strict=False):
        if (hole := _HOLE.fullmatch(level)) is not None:
            yield hole[1], word
