"""Times in payloads that nobody told of: which values are times, and how they are written."""

import re

from connectors.mqtt.times import epoch_ns

TIME_NAMES = (
    "ts", "t", "time", "timestamp", "datetime", "date", "sampletime", "sampledat", "timestampms", "unixtime", "epoch",
    "sourcetimestamp", "sendtime", "sent", "when", "created", "createdat", "updated", "updatedat", "eventtime",
    "collecttime", "reporttime", "时间", "时间戳", "采集时间", "上报时间", "采样时间", "发送时间",
)  # fmt: skip
"""Names of times, in small letters without signs between them."""
_NAIVE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(?<!Z)", re.ASCII)
_LONGEST = 40
_NS = 10**9
_FIRST, _LAST = 10**9 * _NS, 41 * 10**8 * _NS
"""An epoch before September 2001, or after 2099, is a number."""


def time_of(value: object) -> tuple[int, str] | None:
    """Return a time [ns since 1970, UTC] of this century, and how it is written; None where a value is none such."""
    if isinstance(value, str) and "-" in value[1:]:
        ns = epoch_ns(value)
        if ns is not None:
            return ns, "ISO 8601"
        local = epoch_ns(f"{value.strip()}Z") if _NAIVE.fullmatch(value.strip()[:_LONGEST]) is not None else None
        return (local, "local") if local is not None else None
    ns = epoch_ns(value)
    if ns is None or not _FIRST <= ns <= _LAST:
        return None
    size = abs(float(value)) if isinstance(value, int | float | str) else 0.0
    return ns, "s" if size < 10**11 else "ms" if size < 10**14 else "us" if size < 10**17 else "ns"
