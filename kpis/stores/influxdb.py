"""Samples from InfluxDB: InfluxQL over HTTP, of 1.x, of 2.x (through its DBRP mapping) and of 3 Core.

Rows lie in the measurement `samples`, with the tags plant, asset and point, and the fields value, text, status
(0 where left out) and special: "NaN", "Infinity" or "-Infinity" for a value, "empty" for an empty text. Signs that a
tag cannot hold stand there in hexadecimal. The receive time is not stored there; `ts_recv` is `ts`.

Rows come as CSV, which cannot tell of a fault: 1.6 answers a missing database with nothing at all, and a query that it
gives up with what it has so far. So what is there is counted first, as JSON, and a shorter answer is an error.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import urllib3

from config.plant import Plant, Sink
from config.redaction import Redaction, of_sink
from config.schema import SAMPLE, UTC_NS
from kpis.intervals import resolve, series
from kpis.stores.arrays import Stretch
from kpis.stores.base import StoreError, nearest

FIELDS = ("value", "text", "status", "special")
PIECE_ROWS = 500_000
"""So many rows are asked for at once, about."""
PIECE_BYTES = 256 * 2**20
"""A longer answer is not read on, but asked for in halves [B]."""
POINTS = 200
"""So many points are asked for at once: InfluxDB 1.6 takes disproportionately long over more."""

_SECOND = 1_000_000_000
_GRAINS = ((3600 * _SECOND, "1h"), (60 * _SECOND, "1m"), (_SECOND, "1s"))
"""By what rows are counted, so that a period can be cut into pieces: [ns], and as InfluxQL writes it."""
_EVER = (-(2**63) + 2, 2**63 - 2)
"""The times that InfluxDB can hold [ns]."""
_COLUMNS = {"time": pl.Int64(), "value": pl.Float64(), "status": pl.Int64()}
_UNSAYABLE = re.compile(r"[\x00-\x1f\x7f\\#]")
_ESCAPED = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
"""How a tag's value is written beside its name; not all versions escape it."""
_EMPTY = pl.DataFrame(schema=dict(SAMPLE))


class _TooLong(Exception):  # noqa: N818
    """An answer is longer than PIECE_BYTES."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a period, [start, end) [ns], and how many cells of each field lie in it."""

    start: int
    end: int
    cells: tuple[int, ...]

    @property
    def rows(self) -> int:
        """At most so many rows."""
        return sum(self.cells)


class InfluxDB:
    """The samples that a plant's sink of kind influxdb wrote."""

    kind = "influxdb"

    def __init__(self, config: Sink, plant: Plant) -> None:
        """Take the sink's config; contacts nothing."""
        self._config, self._plant, self._redact = config, plant, Redaction(of_sink(config), shortest=1)
        self._database = config.bucket if config.api == "v2" else config.database
        trusted = str(plant.resolve(config.ca)) if config.ca is not None else None
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(config.timeout / 1e9), ca_certs=trusted)

    def __str__(self) -> str:
        parts = urlsplit(self._config.url)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return f"{url}, {'bucket' if self._config.api == 'v2' else 'database'} {self._database}"

    def read(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC], and their neighbours outside it.

        Raises StoreError where the server cannot be read, or what it gives is not whole.
        """
        return pl.concat([self.before(points, start), self.rows(points, start, end), self.after(points, end)])

    def before(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return, per point, the rows before an instant [ns since 1970, UTC] back to the nearest good one.

        Raises StoreError.
        """
        return nearest(self.rows, points, border, last=True)

    def after(self, points: Sequence[str], border: int) -> pl.DataFrame:
        """Return, per point, the rows from an instant [ns since 1970, UTC] on up to the nearest good one.

        Raises StoreError.
        """
        return nearest(self.rows, points, border, last=False)

    def stretch(self, points: Sequence[str], start: int, end: int, *, uncertain_is_good: bool) -> Stretch:
        """Return the points' samples in [start, end) [ns since 1970, UTC]; raises StoreError."""
        found = series(resolve(self.rows(points, start, end)), uncertain_is_good=uncertain_is_good)
        return Stretch(apart=found)

    def height(self, start: int, end: int) -> int:
        """Return how many rows the plant's points have in [start, end) [ns]; raises StoreError."""
        points = [point.point for point in self._plant.points]
        start, end = max(start, _EVER[0]), min(end, _EVER[1])
        return sum(piece.rows for some in _batches(points) for piece in self._pieces(some, start, end))

    def __reduce__(self) -> tuple[type["InfluxDB"], tuple[Sink, Plant]]:
        """Hand another process the settings, not the connection."""
        return InfluxDB, (self._config, self._plant)

    def extent(self, points: Sequence[str]) -> tuple[int, int] | None:
        """Return the first and last time of the points' samples [ns since 1970, UTC]; None where there are none.

        Raises StoreError where the server cannot be read.
        """
        found: list[int] = []
        for some in _batches(points):
            for order in ("ASC", "DESC"):
                text = f"SELECT {', '.join(FIELDS)} FROM samples WHERE {self._where(some, *_EVER)}"  # noqa: S608
                found += [row["time"] for row in self._json(f"{text} ORDER BY time {order} LIMIT 1")]
        return (min(found), max(found)) if found else None

    def rows(self, points: Sequence[str], start: int, end: int) -> pl.DataFrame:
        """Return the SAMPLE rows of the points in [start, end) [ns since 1970, UTC]; raises StoreError."""
        start, end = max(start, _EVER[0]), min(end, _EVER[1])
        frames = [
            self._piece(some, piece) for some in _batches(points) for piece in _joined(self._pieces(some, start, end))
        ]
        return pl.concat([_EMPTY, *frames])

    def _pieces(self, points: Sequence[str], start: int, end: int) -> Iterator[_Piece]:
        """Yield what is not empty of [start, end) [ns], in order, so finely that none has too many rows."""
        grain, written = next((g for g in _GRAINS if g[0] < end - start), (0, ""))
        counts = ", ".join(f"count({field}) AS {field}" for field in FIELDS)
        text = f"SELECT {counts} FROM samples WHERE {self._where(points, start, end)}"  # noqa: S608
        for row in self._json(f"{text} GROUP BY time({written}) fill(none)" if grain else text):
            first = max(row["time"], start) if grain else start
            piece = _Piece(first, min(row["time"] + grain, end) if grain else end, _cells(row))
            if grain and piece.rows > PIECE_ROWS:
                yield from self._pieces(points, piece.start, piece.end)
            elif piece.rows:
                yield piece

    def _piece(self, points: Sequence[str], piece: _Piece) -> pl.DataFrame:
        where = self._where(points, piece.start, piece.end)
        query = f"SELECT {', '.join(FIELDS)} FROM samples WHERE {where} GROUP BY point"  # noqa: S608
        try:
            body = self._ask(query, "application/csv", PIECE_BYTES)
        except _TooLong:
            if piece.end - piece.start < 2:
                raise self._error(f"holds more than {PIECE_BYTES} B at one instant; ask for fewer points") from None
            middle = (piece.start + piece.end) // 2
            return pl.concat([self.rows(points, piece.start, middle), self.rows(points, middle, piece.end)])
        try:
            table = _table(body, points)
            rows = _samples(table)
        except (pl.exceptions.PolarsError, ValueError) as error:
            first = str(error).partition("\n")[0]
            raise self._error(f"answers what is no table of samples: {first}; is it an InfluxDB?") from error
        self._check_whole(table, piece)
        return rows

    def _check_whole(self, table: pl.DataFrame, piece: _Piece) -> None:
        """Raise StoreError where there is less than was counted; more the agent may have written meanwhile."""
        got = {field: table.height - table[field].null_count() for field in FIELDS}
        got["text"] += int((table["special"] == "empty").sum())  # CSV cannot tell an empty text from none
        counted = dict(zip(FIELDS, piece.cells, strict=True))
        if any(got[field] < counted[field] for field in FIELDS):
            raise self._error(
                f"gave {table.height} rows where it had counted more ({got} of {counted}): it ended its answer early; "
                "look at its log and its limits (query-timeout, max-select-point), and try again"
            )

    def _where(self, points: Sequence[str], start: int, end: int) -> str:
        any_of = " OR ".join(f"point = {_quoted(point)}" for point in points)
        return f"plant = {_quoted(self._plant.id)} AND ({any_of}) AND time >= {start} AND time < {end}"

    def _json(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query by column's name."""
        body, rows, partial = self._ask(query, "application/json", None), [], False
        try:
            for result in (one for line in body.splitlines() for one in json.loads(line)["results"]):
                if "error" in result:
                    said = str(result["error"])
                    raise self._error(f"says: {said}; {self._hint(404 if 'not found' in said else 0)}")
                partial = result.get("partial", False)
                for series in result.get("series", ()):
                    rows += [dict(zip(series["columns"], row, strict=True)) for row in series["values"]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._error(f"answers {body[:100]!r}, which is no result of a query; is it an InfluxDB?") from error
        if partial or not body:
            raise self._error("ended its answer early; look at its log, and try again")
        return rows

    def _ask(self, query: str, accept: str, most: int | None) -> bytes:
        """Return the whole answer to a query; raises StoreError, and _TooLong where it is longer than `most` [B]."""
        form = {"q": query, "db": self._database, "epoch": "ns", "chunked": "true"}
        if self._config.retention_policy:
            form["rp"] = self._config.retention_policy
        url = f"{self._config.url.rstrip('/')}/query"
        try:
            headers = {"Accept": accept, **self._authorization()}
            answer = self._http.request(
                "POST", url, fields=form, headers=headers, encode_multipart=False, preload_content=False
            )
            with answer:  # what is not read to its end is not kept open either
                body = answer.read(most if most is None else most + 1)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._error(_told(error)) from error
        if answer.status != 200:
            raise self._error(f"answers {answer.status}: {_words(body)}; {self._hint(answer.status)}")
        if most is not None and len(body) > most:
            raise _TooLong
        return body

    def _authorization(self) -> dict[str, str]:
        """Return the headers that say who asks."""
        config = self._config
        if config.api == "v1":
            user = base64.b64encode(f"{config.user}:{config.password.get_secret_value()}".encode()).decode()
            return {"Authorization": f"Basic {user}"} if config.user else {}
        token = config.token.get_secret_value()
        scheme = "Token" if config.api == "v2" else "Bearer"
        return {"Authorization": f"{scheme} {token}"} if token else {}

    def _error(self, what: str) -> StoreError:
        what = self._redact(what)  # a server may repeat what it was sent
        return StoreError("".join(sign if sign.isprintable() else " " for sign in f"InfluxDB at {self}: {what}"))

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            keys = "`user` and `password`" if self._config.api == "v1" else "`token`"
            return f"check {keys} of the sink, and that they may read this {str(self).rpartition(', ')[2]}"
        if status == 404 and self._config.api == "v2":
            return "check `url` and `bucket` of the sink, and that a DBRP mapping names the bucket"
        if status == 404:
            return "check `url`, `database` and `retention_policy` of the sink; has the agent run?"
        return "look at the server's log and its limits, and try again, or name a shorter period"


def _told(error: Exception) -> str:
    """Return what went wrong on the way to the server, and the next step."""
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError):
        return f"cannot be reached ({error}); is it running, and is `url` of the sink right?"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"does not answer in time ({error}); is it well? raise `timeout` of the sink, or name a shorter period"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"cannot be trusted ({error}); check `ca` of the sink, and the host in `url`"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return f"ended its answer early ({error}); look at its log, and try again"
    return f"cannot be asked ({error}); check `url` of the sink"


def _words(body: bytes) -> str:
    """Return what a server says of a fault, in JSON or CSV or otherwise."""
    text = body[:2000].decode(errors="replace")
    try:
        said = json.loads(text)
        return str(said.get("error") or said.get("message") or said)
    except (ValueError, AttributeError, RecursionError):
        return " ".join(text.removeprefix("error\n").split())[:300] or "nothing more"


def _tag(name: str) -> str:
    """Return an id as the tag's value says it."""
    return _UNSAYABLE.sub(lambda sign: f"#{ord(sign[0]):02X}", name)


def _quoted(name: str) -> str:
    """Return an id as InfluxQL writes its tag's value, which holds no backslash and no line break."""
    return "'" + _tag(name).replace("'", "\\'") + "'"


def _batches(points: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(points), POINTS):
        yield points[first : first + POINTS]


def _cells(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[field] or 0 for field in FIELDS)


def _joined(pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    """Yield the pieces, neighbours joined while they have few rows."""
    last = None
    for piece in pieces:
        if last is not None and last.rows + piece.rows <= PIECE_ROWS:
            cells = tuple(a + b for a, b in zip(last.cells, piece.cells, strict=True))
            last = _Piece(last.start, piece.end, cells)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def _table(body: bytes, points: Sequence[str]) -> pl.DataFrame:
    """Return an answer's columns point, time and FIELDS; raises ValueError or PolarsError where it is no such table."""
    header = body[: body.find(b"\n") + 1].decode().strip().split(",") if body else ["point", "time", *FIELDS]
    schema = {column: _COLUMNS.get(column, pl.String()) for column in header}
    if missing := {"time", *FIELDS} - set(header):
        raise ValueError(f"{', '.join(sorted(missing))} is no column of it")
    table = pl.read_csv(body, schema=schema) if body else pl.DataFrame(schema=schema)
    if "point" not in header:
        plain = {f"point={_tag(point)}": point for point in points}
        escaped = {f"point={_tag(point).translate(_ESCAPED)}": point for point in points}
        table = table.with_columns(point=pl.col("tags").replace_strict(plain | escaped, return_dtype=pl.String))
    return table.select("point", "time", *FIELDS)


def _samples(table: pl.DataFrame) -> pl.DataFrame:
    """Return SAMPLE rows."""
    special = pl.col("special")
    number = pl.when(special.is_in(["NaN", "Infinity", "-Infinity"])).then(special.str.to_lowercase().cast(pl.Float64))
    ts = pl.col("time").cast(UTC_NS)
    return table.select(
        "point",
        ts=ts,
        ts_recv=ts,
        value=pl.coalesce("value", number),
        text=pl.coalesce("text", pl.when(special == "empty").then(pl.lit(""))),
        status=pl.col("status").fill_null(0).cast(pl.UInt32),
    )
