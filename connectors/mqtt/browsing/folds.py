"""Topics that are alike, as one: those with payloads of the same shape that differ in some levels alone."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from connectors.mqtt.browsing.beside import GENERIC, QUALITIES, UNIT_NAMES, Beside, beside
from connectors.mqtt.browsing.clocks import TIME_NAMES
from connectors.mqtt.browsing.heard import Topic
from connectors.mqtt.browsing.shapes import Member, bare, merged
from connectors.mqtt.browsing.walks import Path
from connectors.texts import safe

NAMES = {1: ("machine",), 2: ("line", "machine"), 3: ("area", "line", "machine"),
         4: ("site", "area", "line", "machine")}  # fmt: skip
"""What levels that differ are called, by how many there are."""
_ALIKE = 0.5
"""Topics with the same last level are alike where they share so much of their members."""
_COMPARED = 50
_DIGITS = re.compile(r"\d+")
STRUCTURED = ("json", "csv", "influx")
_ROOTED = 3
"""Topics of so many levels are alike only below the same first one."""

Key = tuple[object, ...]


@dataclass(slots=True, eq=False)
class Fold:
    """One topic, or several that are alike."""

    topics: list[Topic]
    levels: tuple[str, ...]
    """Of the template: words, and names in braces."""
    words: dict[str, list[str]]
    """The words seen of each name, in order."""
    members: dict[Path, Member] = field(default_factory=dict)
    beside: Beside = field(default_factory=Beside)

    @property
    def template(self) -> str:
        """The topic, with {names} where several have words of their own."""
        return "/".join(self.levels)

    @property
    def kind(self) -> str:
        """What the payloads are."""
        return self.topics[0].shape.kind

    @property
    def options(self) -> dict[str, object]:
        """What a [[source.topic]] table must say of the format."""
        return {key: value for topic in self.topics for key, value in topic.shape.options.items()}

    @property
    def lone_scalar(self) -> bool:
        """Whether the topic alone says what its value is."""
        return _is_lone(self.kind, self.members)


def fold(topics: Iterable[Topic]) -> list[Fold]:
    """Return topics, those that are alike together, in the order of their names."""
    groups: dict[Key, list[Topic]] = defaultdict(list)
    for topic in topics:
        series(topic)
        groups[_key(topic)].append(topic)
    folds = [_made(some) for group in _joined(groups) for some in _split(group)]
    return sorted(folds, key=lambda one: one.levels)


def series(topic: Topic) -> None:
    """Leave out the tags of a measurement's field that has but one series: an address may leave them out as well."""
    members = topic.shape.members
    if topic.shape.of != "influx":
        return
    tags: dict[tuple[str, str], set[str]] = defaultdict(set)
    for head, said, name in (path for path in members if path):
        tags[head, name].add(said)
    topic.shape.members = {
        (path[0], "", path[2]) if path and len(tags[path[0], path[2]]) == 1 else path: member
        for path, member in members.items()
    }


def _is_lone(kind: str, members: Iterable[Path]) -> bool:
    """Return whether a payload is one value that has no name of its own."""
    names = {bare(path[-1]) for path in members if path}
    return kind not in STRUCTURED or (kind == "json" and not names - {*GENERIC, *TIME_NAMES, *QUALITIES, *UNIT_NAMES})


def _key(topic: Topic) -> Key:
    """Return what topics must have in common to be alike."""
    levels = topic.name.split("/")
    fit = all(safe(level) == level for level in levels if level)
    kind, members = topic.shape.kind, topic.shape.members
    if not fit or not members or any(level == "" for level in levels[1:]):
        return (topic.name,)
    first = levels[0] if len(levels) >= _ROOTED else ""
    if _is_lone(kind, members):
        types = frozenset(member.kind in ("whole", "number") for member in members.values())
        return len(levels), first, kind, _DIGITS.sub("0", levels[-1]), frozenset(members), types
    return len(levels), first, kind, frozenset(members)


def _joined(groups: dict[Key, list[Topic]]) -> list[list[Topic]]:
    """Return the groups, those together that end with the same level and share most of their members."""
    done: list[tuple[Key, str, list[Topic]]] = []
    lists: list[list[Topic]] = []
    for key, topics in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        last = topics[0].name.rpartition("/")[2]
        target = None
        if len(key) == 4 and key[2] in ("json", "influx"):
            target = next((old for (old, ending, _) in done[:_COMPARED] if ending == last and _near(old, key)), None)
        if target is not None and all(topic.name.endswith(f"/{last}") for topic in topics):
            next(some for old, _, some in done if old == target).extend(topics)
            continue
        lists.append(topics)
        if len(key) == 4 and all(topic.name.endswith(f"/{last}") for topic in topics):
            done.append((key, last, topics))
    return lists


def _near(old: Key, key: Key) -> bool:
    mine, other = old[3], key[3]
    if old[:3] != key[:3] or not isinstance(mine, frozenset) or not isinstance(other, frozenset):
        return False
    return len(mine & other) >= _ALIKE * len(mine | other)


def _split(topics: list[Topic]) -> list[list[Topic]]:
    """Return a group as it is, or by the last level where that names what is measured: each place has all of them."""
    places: dict[str, set[str]] = defaultdict(set)
    for topic in topics:
        place, _, last = topic.name.rpartition("/")
        places[place].add(last)
    lasts = set().union(*places.values())
    full = len(places) > 1 and len(lasts) > 1 and all(words == lasts for words in places.values())
    if not full or len({_DIGITS.sub("0", last) for last in lasts}) == 1:
        return [topics]
    by_last: dict[str, list[Topic]] = defaultdict(list)
    for topic in topics:
        by_last[topic.name.rpartition("/")[2]].append(topic)
    return list(by_last.values())


def _made(topics: list[Topic]) -> Fold:
    topics = sorted(topics, key=lambda topic: topic.name)
    split = [topic.name.split("/") for topic in topics]
    columns = [list(dict.fromkeys(words)) for words in zip(*split, strict=True)]
    holes = [n for n, words in enumerate(columns) if len(words) > 1]
    names = NAMES.get(len(holes)) or tuple(f"level{n + 1}" for n in holes)
    levels, words = list(split[0]), dict[str, list[str]]()
    for n, name in zip(holes, names, strict=True):
        levels[n], words[name] = f"{{{name}}}", sorted(columns[n])
    members = topics[0].shape.members if len(topics) == 1 else merged(topic.shape for topic in topics)
    return Fold(topics, tuple(levels), words, members, beside(topics[0].shape.kind, members))


def hole_words(fold: Fold, topic: Topic) -> dict[str, str]:
    """Return what the names of a template are in one of its topics."""
    pairs = zip(fold.levels, topic.name.split("/"), strict=True)
    return {level[1:-1]: word for level, word in pairs if level[1:-1] in fold.words and level.startswith("{")}


def own_levels(fold: Fold) -> tuple[Sequence[str], Sequence[str]]:
    """Return the levels of a template that name the machine, and those behind them."""
    holes = [n for n, level in enumerate(fold.levels) if level.startswith("{") and level[1:-1] in fold.words]
    if holes:
        end = holes[-1] + 1
    elif fold.lone_scalar or bare(fold.levels[-1]) in DATA:
        end = len(fold.levels) - 1
    else:
        end = len(fold.levels)
    return (fold.levels[:end], fold.levels[end:]) if end else (fold.levels, ())


DATA = (
    "data", "telemetry", "values", "status", "state", "json", "raw", "payload", "report", "up", "measurement",
    "measurements", "event", "events", "数据", "上报",
)  # fmt: skip
"""Last levels that say nothing of what is measured."""
