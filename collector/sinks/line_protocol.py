"""InfluxDB's line protocol from SAMPLE frames, by columns.

`samples,asset=line1/press2,plant=jn1,point=press2.total value=12.5 1790000000000000000`: tags asset, plant and point;
fields `value` (float), `text` (string), `status` (integer; left out where it is 0, Good) and `special` (string):
"NaN", "Infinity" or "-Infinity" in place of a value that is no finite number, "empty" beside a text that is empty. A
row that says nothing (Good, without value and text) is written as `status=0i`.

InfluxDB merges the fields of equal series and time. Hence of rows with the same point and ts the one with the greatest
ts_recv is sent (of equals the one that rule 1 of docs/kpi-rules.md names), and a Good row says `status=0i` where a row
before it may have said otherwise.
"""

import re
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

MEASUREMENT = "samples"

_LOWEST = np.iinfo(np.int64).min
_FINITE = pl.col("value").is_finite().fill_null(value=False)
_UNSAYABLE = re.compile(r"[\x00-\x1f\x7f\\#]")


def tag(text: str) -> str:
    r"""Return a tag's value as a line holds it.

    A comma, an equals sign and a space take a backslash before them. A backslash itself cannot be said (at the end it
    would escape what follows, and servers differ about two of them), nor can a control character (a newline ends the
    line): each becomes `#` and two hexadecimal digits, `#5C` and `#0A`, and `#` itself `#23`. None of these stands in
    an id of a plant's files.
    """
    text = _UNSAYABLE.sub(lambda found: f"#{ord(found[0]):02X}", text)
    return re.sub("[,= ]", r"\\\g<0>", text)


class Series:
    """The series that lines belong to: a code for each point, its lines' beginning, and how far its times rose."""

    def __init__(self, plant: str, assets: Mapping[str, str]) -> None:
        """Take the plant's id, and each point's asset."""
        self._plant, self._assets = plant, assets
        self.points: list[str] = []
        self.prefixes = pl.Series([], dtype=pl.String)
        self.last: NDArray[np.int64] = np.empty(0, np.int64)
        """By code: the greatest ts that was sent of the point, the lowest number where none was [ns]."""
        self._codes = pl.Enum([])
        self._add(list(assets))

    def codes(self, points: pl.Series) -> pl.Series:
        """Return the code of each id (UInt32); a point that the plant no longer knows gets one too."""
        points = points.fill_null("")
        codes = points.cast(self._codes, strict=False)
        if codes.null_count():
            self._add(points.filter(codes.is_null()).unique().sort().to_list())
            codes = points.cast(self._codes)
        return codes.to_physical().cast(pl.UInt32)

    def _add(self, points: list[str]) -> None:
        self.points += points
        self.prefixes = pl.concat([self.prefixes, pl.Series([self._prefix(one) for one in points], dtype=pl.String)])
        self.last = np.concatenate([self.last, np.full(len(points), _LOWEST)])
        self._codes = pl.Enum(self.points)

    def _prefix(self, point: str) -> str:
        # A tag without a value is refused by the server, and tags in the order of their names cost it least.
        tags = {"asset": self._assets.get(point, ""), "plant": self._plant, "point": point}
        return ",".join([MEASUREMENT, *(f"{name}={tag(value)}" for name, value in tags.items() if value)])


def choose(frame: pl.DataFrame, series: Series) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return which rows of a SAMPLE frame are sent, by point and time, and which of these must tell even status 0.

    Told is the status of a row whose ts does not rise above the last one sent of its point, of the first row of each
    point, and of a row that stands for others of its point and ts: any of those may have been sent before. From now on
    the rows count as sent.
    """
    codes, ts = series.codes(frame["point"]).to_numpy(), times(frame)
    order = np.lexsort((ts, codes))
    if _same(codes[order], ts[order]).any():
        order = _by_rule(frame, codes, ts)
    codes, ts = codes[order], ts[order]
    repeats = _same(codes, ts)
    begins = np.ones(len(order), np.bool_)
    begins[1:] = codes[1:] != codes[:-1]
    sent = np.append(~repeats[1:], True)[: len(order)]
    last = series.last[codes]
    tells = (ts <= last) | repeats
    # The first row of a point, wherever its repeats end.
    first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    tells |= (last == _LOWEST) & (ts == ts[first])
    ends = np.append(begins[1:], True)[: len(order)]
    series.last[codes[ends]] = np.maximum(last[ends], ts[ends])
    return order[sent], tells[sent]


def _by_rule(frame: pl.DataFrame, codes: NDArray[np.uint32], ts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the rows' order by point and time, and among repeats the one last that counts (docs/kpi-rules.md, 1)."""
    rule = ["ts_recv", "status", "value", "text"]
    keys = frame.select(rule).with_columns(code=codes, ts=ts, row=np.arange(len(codes)))
    by = ["code", "ts", *rule]
    ordered = keys.sort(by, nulls_last=[name == "value" for name in by], maintain_order=True)
    return ordered["row"].to_numpy().astype(np.intp)


def _same(codes: NDArray[np.uint32], ts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows have the point and time of the row before."""
    same = np.zeros(len(codes), np.bool_)
    same[1:] = (codes[1:] == codes[:-1]) & (ts[1:] == ts[:-1])
    return same


def times(frame: pl.DataFrame) -> NDArray[np.int64]:
    """Return each row's time [ns since 1970, UTC]; the receive time where a row has no other."""
    return frame.select(pl.coalesce(pl.col("ts", "ts_recv").to_physical(), pl.lit(0, pl.Int64))).to_series().to_numpy()


def encode(frame: pl.DataFrame, tells: NDArray[np.bool_], series: Series) -> pl.DataFrame:
    """Return the lines of a SAMPLE frame's rows, with columns code, ts [ns] and line; not in the frame's order.

    tells: by row, whether it tells its status even where that is 0.
    """
    columns = pl.DataFrame(
        {
            "code": series.codes(frame["point"]),
            "ts": times(frame),
            "value": frame["value"],
            "text": frame["text"],
            "status": frame["status"].fill_null(0),
            "tells": tells,
        }
    )
    prefix = pl.lit(series.prefixes).gather(pl.col("code"))
    plain = columns.select(_FINITE & pl.col("text").is_null() & (pl.col("status") == 0) & ~pl.col("tells")).to_series()
    # Nearly all rows hold a number alone, and are written several times as fast as the others.
    numbers, others = columns.filter(plain), columns.filter(~plain)
    made = [numbers.select("code", "ts", line=pl.format("{} value={} {}", prefix, "value", "ts"))]
    if others.height:
        made.append(others.select("code", "ts", line=pl.format("{} {} {}", prefix, _fields(), "ts")))
    return pl.concat(made)


def _fields() -> pl.Expr:
    value, text, status = pl.col("value"), pl.col("text"), pl.col("status")
    quoted = text.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    special = (
        pl.when(value.is_nan())
        .then(pl.lit("NaN"))
        .when(value.is_infinite())
        .then(pl.when(value > 0).then(pl.lit("Infinity")).otherwise(pl.lit("-Infinity")))
        .when(text == "")
        .then(pl.lit("empty"))
    )
    says = pl.col("tells") | (status != 0) | (value.is_null() & text.is_null())
    return pl.concat_str(
        pl.when(_FINITE).then(pl.format("value={}", value)),
        pl.format('text="{}"', quoted),
        pl.format('special="{}"', special),
        pl.when(says).then(pl.format("status={}i", status)),
        separator=",",
        ignore_nulls=True,
    )
