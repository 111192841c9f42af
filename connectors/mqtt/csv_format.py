"""CSV payloads: each line a sample, columns by name or by number."""

import csv
import io
from collections.abc import Sequence

from config.plant import Source, Topic
from config.status import GOOD
from connectors.mqtt.formats import Outcome
from connectors.mqtt.stamps import Stamps, no_time
from connectors.mqtt.values import BadPayload, Maker, Row, text_of, word


class Csv:
    """A payload of lines with cells."""

    def __init__(self, members: Sequence[tuple[int, str]], source: Source, options: Topic, maker: Maker) -> None:
        """See formats.Format; a selector is a column's name, or its number from 1."""
        named = options.header or bool(options.columns)
        for _, column in members:
            if not named and not _is_number(column):
                raise ValueError(f"column {column!r}: no header or columns name it; write its number, from 1")
            if options.columns and not _is_number(column) and column not in options.columns:
                raise ValueError(f"column {column!r} is none of {', '.join(options.columns)}")
        self._members, self._maker, self._stamps = members, maker, Stamps(source, options)
        self._positions = [position for position, _ in members]
        self._header, self._columns = options.header, list(options.columns)
        self._delimiter, self._must = options.delimiter, options.missing == "bad"
        self._time, self._quality = self._stamps.field.removeprefix("/"), options.quality.removeprefix("/")
        self.unmet = set(self._positions)

    def rows(self, payload: bytes, received: int) -> tuple[list[Row], str | None]:
        """See formats.Format."""
        outcome = Outcome(received)
        try:
            text = io.StringIO(text_of(payload), newline="")
            lines = [cells for cells in csv.reader(text, delimiter=self._delimiter, strict=True) if cells]
        except (ValueError, csv.Error) as error:
            return outcome.all_bad(self._positions, f"no CSV in UTF-8: {str(error)[:200]}")
        names = [cell.strip() for cell in lines.pop(0)] if self._header and lines else self._columns
        time, quality = _place(self._time, names), _place(self._quality, names)
        places = [(position, column, _place(column, names)) for position, column in self._members]
        met = 0
        for cells in lines:
            outcome.room()
            ts, status = self._ns(cells, time, received, outcome), self._status(cells, quality)
            met += sum(self._take(cells, ts, status, *place, outcome) for place in places)
        if not met:
            return outcome.all_bad(self._positions, "none of its points is in it")
        return outcome.rows, outcome.reason

    def _ns(self, cells: Sequence[str], time: int, received: int, outcome: Outcome) -> int:
        stamp = _cell(cells, time)
        if not stamp.strip():
            return received
        ns = self._stamps.ns(stamp)
        if ns is None:
            outcome.tell(no_time(stamp))
        return received if ns is None else ns

    def _status(self, cells: Sequence[str], quality: int) -> int:
        word = _cell(cells, quality)
        return self._stamps.status(word) if word.strip() else GOOD

    def _take(
        self, cells: Sequence[str], ts: int, status: int, position: int, column: str, place: int, outcome: Outcome
    ) -> bool:
        """Take one cell; an empty one says nothing."""
        cell = _cell(cells, place)
        if not cell.strip():
            if self._must:
                outcome.bad(position, f"column {column}: nothing there")
            return False
        self.unmet.discard(position)
        try:
            value = cell if self._maker.kind(position) == "string" else word(cell)
            outcome.rows.append(self._maker.row(position, ts, value, status))
        except BadPayload as error:
            outcome.bad(position, f"column {column}: {error}")
        return True


def _is_number(column: str) -> bool:
    return column.isascii() and column.isdecimal() and len(column) < 10 and int(column) > 0


def _cell(cells: Sequence[str], place: int) -> str:
    return cells[place] if 0 <= place < len(cells) else ""


def _place(column: str, names: Sequence[str]) -> int:
    """Return where a column stands, from 0; -1 where nowhere. A name goes before a number."""
    if column in names:
        return names.index(column)
    return int(column) - 1 if _is_number(column) else -1
