"""JSON payloads: values by pointer, arrays of samples, times and qualities beside them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from config.plant import Source, Topic
from config.status import BAD_NOT_SUPPORTED, GOOD
from connectors.mqtt.formats import Outcome
from connectors.mqtt.pointer import MISSING, Containers, Nearest, Path, Seen, Step, child, found, parse_pointer
from connectors.mqtt.stamps import Stamps, no_time
from connectors.mqtt.values import BadPayload, Maker, Row, shown, text_of


class Constant(float):
    """NaN or an infinity that stands in a document as such: other infinities are numbers that no float64 can hold."""


_DECODE = json.JSONDecoder(parse_constant=Constant).raw_decode
_BLANK = " \t\r\n"


class Member(NamedTuple):
    """One point of a document."""

    position: int
    pointer: str
    key: str
    step: Step | None
    """From the container to the value; None: the container is the value."""


class Json:
    """A payload that is a JSON document."""

    def __init__(self, members: Sequence[tuple[int, str]], source: Source, options: Topic, maker: Maker) -> None:
        """See formats.Format; a selector is a JSON Pointer."""
        self._row, self._stamps = maker.row, Stamps(source, options)
        self._positions = [position for position, _ in members]
        self._time = Nearest(parse_pointer(self._stamps.field, "time"))
        self._quality = Nearest(parse_pointer(options.quality, "quality")) if options.quality else None
        self._must = options.missing == "bad"
        self.unmet = set(self._positions)
        # What stands in the same container has its time and quality in common: one look for all of it.
        groups: dict[tuple[Path, bool], list[Member]] = defaultdict(list)
        for position, pointer in members:
            path = parse_pointer(pointer)
            if path[-1].plain:
                groups[path[:-1], True].append(Member(position, pointer, path[-1].key, path[-1]))
            else:
                groups[path, False].append(Member(position, pointer, "", None))
        self._groups = [(prefix, some) for (prefix, _), some in groups.items()]

    def rows(self, payload: bytes, received: int) -> tuple[list[Row], str | None]:
        """See formats.Format."""
        outcome = Outcome(received)
        try:
            text = text_of(payload).strip(_BLANK)
            document, end = _DECODE(text)
            if end != len(text):
                raise ValueError(f"more follows after character {end}")  # noqa: TRY301
        except (ValueError, RecursionError) as error:
            return outcome.all_bad(self._positions, f"no JSON: {str(error)[:200]}")
        met, seen = 0, dict[tuple[int, str], dict[str, list[object]]]()
        for prefix, members in self._groups:
            mine = 0
            for container, around in found(document, prefix, seen) if prefix else ((document, ()),):
                mine += self._take(container, around, members, seen, outcome)
            met += mine
            if self._must:
                self._missing(document, prefix, members, seen, outcome)
        if not met and (self._must or outcome.reason is not None or not isinstance(document, dict | list)):
            return outcome.all_bad(self._positions, outcome.reason or "none of its points is in it")
        return outcome.rows, outcome.reason

    def _take(
        self, container: object, around: Containers, members: Sequence[Member], seen: Seen, outcome: Outcome
    ) -> int:
        """Take what stands in a container; return how many of the members do."""
        outcome.room()
        get = container.get if isinstance(container, dict) else None
        met, ts, status, beside = 0, 0, GOOD, None
        for position, pointer, key, step in members:
            if step is None:
                value = container
            else:
                value = get(key, MISSING) if get is not None else child(container, step)
                if value is MISSING:
                    continue
            met += 1
            if beside is None:
                around = around if step is None else (*around, container)
                ts, status, beside = self._beside(around, seen, outcome)
            if isinstance(value, (list, dict)):
                self._several(position, pointer, value, status, beside, outcome)
            else:
                self._add(position, pointer, ts, value, status, outcome)
            if self.unmet:
                self.unmet.discard(position)
        return met

    def _beside(self, around: Containers, seen: Seen, outcome: Outcome) -> tuple[int, int, tuple[object, object]]:
        """Return time and status of a value in these containers, and what the two were told by: perhaps arrays."""
        stamp = self._time.of(around, seen)
        quality = self._quality.of(around, seen) if self._quality is not None else None
        ts = outcome.received if stamp is None or isinstance(stamp, list) else self._ns(stamp, outcome)
        return ts, GOOD if quality is None else self._stamps.status(quality), (stamp, quality)

    def _ns(self, stamp: object, outcome: Outcome) -> int:
        ns = self._stamps.ns(stamp)
        if ns is None:
            outcome.tell(no_time(stamp))
            return outcome.received
        return ns

    def _several(
        self,
        position: int,
        pointer: str,
        value: object,
        status: int,
        beside: tuple[object, object],
        outcome: Outcome,
    ) -> None:
        """Take an array beside an array of as many times as samples; no other structure is a value."""
        stamps, qualities = beside
        if not isinstance(value, list) or not isinstance(stamps, list) or len(value) != len(stamps):
            self._structure(position, pointer, outcome.received, value, outcome)
            return
        outcome.room(len(value))
        states = [status] * len(value)
        if isinstance(qualities, list) and len(qualities) == len(value):
            states = [GOOD if quality is None else self._stamps.status(quality) for quality in qualities]
        for one, stamp, state in zip(value, stamps, states, strict=True):
            ts = self._ns(stamp, outcome)
            if isinstance(one, list | dict):
                self._structure(position, pointer, ts, one, outcome)
            else:
                self._add(position, pointer, ts, one, state, outcome)

    @staticmethod
    def _structure(position: int, pointer: str, ts: int, value: object, outcome: Outcome) -> None:
        outcome.rows.append((position, ts, None, None, BAD_NOT_SUPPORTED))
        outcome.tell(f"{pointer}: {shown(value)} is no value; name a member of it, or /* for all elements")

    def _add(self, position: int, pointer: str, ts: int, value: object, status: int, outcome: Outcome) -> None:
        try:
            row = self._row(position, ts, value, status)
        except BadPayload as error:
            outcome.bad(position, f"{pointer}: {error}")
            return
        if type(value) is float and value - value != 0:  # the decoder makes 1e400 infinite
            outcome.bad(position, f"{pointer}: a number that no float64 can hold")
            return
        outcome.rows.append(row)

    def _missing(self, document: object, prefix: Path, members: Sequence[Member], seen: Seen, outcome: Outcome) -> None:
        """Make bad what stands in none of a group's containers."""
        containers = [container for container, _ in found(document, prefix, seen)]
        for member in members:
            step = member.step
            if not any(step is None or child(one, step) is not MISSING for one in containers):
                outcome.bad(member.position, f"{member.pointer}: nothing there")
