"""What is wrong with an MQTT source or point, and what it reads: told without connecting."""

from collections.abc import Sequence

from config.plant import Point, Source, Topic
from config.units import NS_PER_SECOND, format_duration
from connectors.mqtt import address as addresses
from connectors.mqtt import sparkplug
from connectors.mqtt.address import as_filter, covers, cut, filter_fault, holes
from connectors.mqtt.pointer import parse_pointer
from connectors.mqtt.routes import FORMATS, Routes
from connectors.mqtt.target import parse_url
from connectors.mqtt.values import TYPES, Maker
from connectors.scaling import Scaling

_TLS = ("ca", "server_name", "certificate", "private_key")
_SHOWN = 60
"""So much of a text that is at fault is shown."""
_KEEPALIVE_NS = NS_PER_SECOND, 65_535 * NS_PER_SECOND
"""Keep alive is in whole seconds, of two bytes [MQTT 5.0, 3.1.2.10]."""
_SMALLEST_PACKET, _LARGEST_PACKET = 4 * 2**10, 256 * 2**20
"""The broker's own answers must fit [B]; no packet is larger than the latter [MQTT 5.0, 2.1.4]."""
_LONGEST_TEXT = 65_535
"""[B; MQTT 5.0, 1.5.4]"""


def check(source: Source, point: Point) -> str | None:
    """Return what is wrong with the point's address or type, or None."""
    try:
        if addresses.is_sparkplug(point.address):
            sparkplug.parse_address(point.address)
            if source.share:
                rule = "a node's messages are a sequence, which share would divide; put it into a source without share"
                return f"address {point.address!r}: {rule}"
        else:
            where = addresses.parse(source, point.address)
            FORMATS[where.payload]([(0, where.selector)], source, where.options, Maker([point.type], Scaling([point])))
            Routes(source, [(0, point)], Maker([point.type], Scaling([point])))
    except ValueError as error:
        text = str(error)
        return text if repr(point.address) in text else f"address {point.address!r}: {text}"
    if point.type not in TYPES:
        return f"type {point.type!r} is none of {', '.join(TYPES[1:])}; leave it empty to take the payload's own"
    return None


def check_source(source: Source) -> str | None:
    """Return what is wrong with the source's URL, session, certificates or topics, or None."""
    try:
        target = parse_url(source.url)
        parse_pointer(source.time_field, "time_field")
        for one in source.topic:
            _check_topic(one)
        _check_order(source.topic)
        _check_session(source)
    except ValueError as error:
        return str(error)
    if not target.tls and (key := next((key for key in _TLS if getattr(source, key)), "")):
        return f"{key} belongs to mqtts:// and wss:// URLs: here nothing is encrypted; remove it, or use TLS"
    if (source.certificate is None) != (source.private_key is None):
        return "certificate and private_key belong together; write both, or none"
    return None


def _check_session(source: Source) -> None:
    if not _KEEPALIVE_NS[0] <= source.keepalive <= _KEEPALIVE_NS[1]:
        raise ValueError(f"keepalive {format_duration(source.keepalive)}: MQTT has 1s to 65535s; write such as 10s")
    if source.max_packet > _LARGEST_PACKET:
        raise ValueError(f"max_packet {source.max_packet} B: MQTT has none beyond 256MiB; write such as 4MiB")
    if source.max_packet < _SMALLEST_PACKET:
        rule = "is less than the broker's own answers may have; write 4KiB or more, such as 4MiB"
        raise ValueError(f"max_packet {source.max_packet} B {rule}")
    if _unfit(source.client_id):
        shown = source.client_id[:_SHOWN] + ("…" if len(source.client_id) > _SHOWN else "")
        rule = "is no text of MQTT: at most 65,535 bytes of UTF-8 without NUL; write such as works-gateway1"
        raise ValueError(f"client_id {shown!a} {rule}")
    if source.password.get_secret_value() and not source.user:
        raise ValueError("password without user: the broker would not look at it; write the user as well")
    if source.share and (any(sign in source.share for sign in "/+#") or not source.client_id):
        rule = "is a word without / + #, beside a client_id of the source's own; write both"
        raise ValueError(f"share {source.share!r} {rule}")
    if source.share and any(one.will for one in source.topic):
        raise ValueError(
            f"share {source.share!r}: another agent of the group may get the last will; leave one of both out"
        )


def _unfit(text: str) -> bool:
    """Return whether a text is none that MQTT can carry [MQTT 5.0, 1.5.4]."""
    try:
        return "\0" in text or len(text.encode()) > _LONGEST_TEXT
    except UnicodeEncodeError:
        return True


def _check_order(topics: Sequence[Topic]) -> None:
    for n, one in enumerate(topics):
        for above in topics[:n]:
            if covers(as_filter(above.topic), as_filter(one.topic)):
                rule = f"topic {above.topic!r} above it covers it, so that nothing is read by it; swap the two"
                raise ValueError(f"topic {one.topic!r}: {rule}")


def _check_topic(one: Topic) -> None:
    names = holes(one.topic)
    if fault := filter_fault(as_filter(one.topic)):
        raise ValueError(f"topic {one.topic!r}: {fault}")
    if addresses.is_sparkplug(one.topic):
        rule = "Sparkplug says itself how its messages are read; remove the table"
        raise ValueError(f"topic {one.topic!r}: {rule}")
    if one.payload == "json":  # in the others these are columns, or fields
        parse_pointer(one.time or "", "time")
        parse_pointer(one.quality, "quality")
    if not one.will:
        return
    will, pointer = cut(one.will)
    if missing := [name for name in holes(will) if name not in names]:
        raise ValueError(
            f"will {one.will!r}: {{{missing[0]}}} is no name in topic {one.topic!r}; name the level there as well"
        )
    if fault := filter_fault(as_filter(will)):
        raise ValueError(f"will {one.will!r}: {fault}")
    parse_pointer(pointer, "will")


def reads(source: Source, points: Sequence[Point]) -> list[str]:
    """Return the filters that are subscribed to, and each point's topic and place in the payload."""
    scaling = Scaling(points)
    maker = Maker([point.type for point in points], scaling)
    plain = [(n, point) for n, point in enumerate(points) if not addresses.is_sparkplug(point.address)]
    nodes = [sparkplug.parse_address(point.address) for point in points if addresses.is_sparkplug(point.address)]
    filters = [*Routes(source, plain, maker).filters, *sparkplug.filters(nodes)]
    group = f"$share/{source.share}/" if source.share else ""
    count = f"{len(filters)} topic filter{'s' if len(filters) != 1 else ''}"
    head = f"{count} subscribed to, at QoS {source.qos}, for {len(points)} point{'s' if len(points) != 1 else ''}"
    asks = ["  asked of Sparkplug nodes where their births are missing: spBv1.0/GROUP/NCMD/NODE, Node Control/Rebirth"]
    return [
        head,
        *(f"  {group}{one}" for one in filters),
        *(asks if source.rebirth and nodes else []),
        *(f"    {point.point}: {point.address}" for point in points),
    ]
