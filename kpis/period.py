"""What `--from` and `--to` mean: dates are production days of the plant, instants are ISO 8601 with an offset."""

import datetime as dt

from config.plant import Plant
from kpis.calendar import local_ns, to_ns


def instant(plant: Plant, text: str) -> int:
    """Return a date or instant as [ns since 1970, UTC]; a date is the start of that production day.

    Raises ValueError that says what to write.
    """
    try:
        return local_ns(plant, dt.date.fromisoformat(text), plant.day_start)
    except ValueError:
        pass
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date and no instant; write 2026-11-21 or 2026-11-21T08:00:00+08:00") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; write {text}+08:00, or Z for UTC")
    return to_ns(moment)
