"""When a payload's values were, and how good they are, by what the payload itself says."""

import zoneinfo

from config.plant import Source, Topic
from config.status import BAD, GOOD, UNCERTAIN
from connectors.mqtt.times import UNITS, epoch_ns
from connectors.mqtt.values import shown

_UNCERTAIN = ("64", "uncertain")


class Stamps:
    """How one topic writes times and qualities."""

    def __init__(self, source: Source, options: Topic) -> None:
        """Take the source, whose `time_field` holds where the topic says nothing of its own."""
        self.field = source.time_field if options.time is None else options.time
        """Where a message has its own time; empty: nowhere."""
        self._unit = UNITS.get(options.time_unit, 0)
        self._zone = zoneinfo.ZoneInfo(options.time_zone) if options.time_zone else None
        self._good = {word.casefold() for word in options.good}

    def ns(self, stamp: object) -> int | None:
        """Return a time in [ns since 1970, UTC]; None where it is none."""
        return epoch_ns(stamp, self._unit, self._zone)

    def status(self, quality: object) -> int:
        """Return the StatusCode of a quality: the topic's words of good, uncertain, or else bad."""
        if isinstance(quality, bool):
            word = "true" if quality else "false"
        elif isinstance(quality, float) and quality.is_integer():  # some write 192.0
            word = str(int(quality))
        else:
            word = quality.strip().casefold() if isinstance(quality, str) else shown(quality).strip("'")
        return GOOD if word in self._good else UNCERTAIN if word in _UNCERTAIN else BAD


def no_time(stamp: object) -> str:
    """Return what to say of a time that is none."""
    return f"time {shown(stamp)} is not one: ISO 8601 with an offset, or an epoch (see time_unit, time_zone)"
