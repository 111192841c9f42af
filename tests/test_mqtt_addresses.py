"""Where points stand in MQTT: addresses, topic filters, templates, URLs and wills, and what `check` says of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.plant import Point, Source, Topic
from connectors import mqtt
from connectors.mqtt.address import as_filter, covers, cut, filled, filter_fault, holes, options_of, overlap, parse
from connectors.mqtt.presence import Presence
from connectors.mqtt.target import Target, parse_url


def source(*topics, url="mqtt://broker", **settings):
    return Source(id="q", kind="mqtt", url=url, topic=topics, **settings)


def point(address, kind="", name="p"):
    return Point(point=name, asset="a", source="q", address=address, type=kind)


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "topic", "selector"),
    [
        ("a/b", "a/b", ""),
        ("a/b#", "a/b", ""),
        ("a/b#/x/0", "a/b", "/x/0"),
        ("a/+/b#/x", "a/+/b", "/x"),
        ("a/#", "a/#", ""),  # a # that ends a filter belongs to the topic
        ("a/##/x", "a/#", "/x"),
        ("#", "#", ""),
        ("##/x", "#", "/x"),
        ("a#/", "a", "/"),
        ("a/#/x", "a/", "/x"),  # a topic may end in a slash
        ("a#/b#c", "a", "/b#c"),
        ("a#csv:3", "a", "csv:3"),
        ("/", "/", ""),
        ("a/", "a/", ""),  # and is no filter then
        ("", "", ""),
    ],
)
def test_an_address_is_a_topic_and_what_of_its_payload(address, topic, selector):
    assert cut(address) == (topic, selector)


JSON, LINES = Topic(topic="j/#", payload="json"), Topic(topic="c/{line}", payload="csv", header=True)


@pytest.mark.parametrize(
    ("address", "payload", "selector"),
    [
        ("t", "scalar", ""),
        ("t#/x", "json", "/x"),
        ("t#csv:temp", "csv", "temp"),
        ("t#influx:press,line=l1 temp", "influx", "press,line=l1 temp"),
        ("j/a#/x", "json", "/x"),
        ("j/a#csv:1", "csv", "1"),  # the address goes before the table
        ("c/l1#temp", "csv", "temp"),
    ],
)
def test_the_selector_or_the_topic_s_table_says_what_the_payload_is(address, payload, selector):
    found = parse(source(JSON, LINES), address)
    assert (found.payload, found.selector) == (payload, selector)


def test_the_first_table_that_covers_a_topic_says_how_it_is_read():
    made = source(Topic(topic="a/{m}", good=("1",)), Topic(topic="a/#", good=("2",)))
    assert options_of(made, "a/b").good == ("1",)
    assert options_of(made, "a/b/c").good == options_of(made, "a/#").good == ("2",)
    assert options_of(made, "x") == Topic(topic="#")


# --- filters ---


@pytest.mark.parametrize(
    ("topic", "sound"),
    [
        ("a", True), ("/", True), ("a//b", True), ("a b/温度", True), ("$SYS/x", True), ("#", True), ("+", True),
        ("+/a/+/#", True), ("/#", True), ("x" * 65_535, True), ("", False), ("a\0", False), ("x" * 65_536, False),
        ("温" * 21_846, False), ("a+", False), ("a/+b/c", False), ("a/#/b", False), ("a#", False), ("a/b#", False),
        ("##", False), ("a/{x}", False), ("a}", False), ("$share/g/a", False),
    ],
)  # fmt: skip
def test_a_filter_is_as_mqtt_5_section_4_7_says(topic, sound):
    fault = filter_fault(topic)
    assert (fault is None) == sound
    assert sound or "; write " in fault


LEVELS = st.sampled_from(["", "a", "b", "$s"])
FILTERS = st.builds(
    lambda levels, end: "/".join(levels + end),
    st.lists(LEVELS | st.just("+"), max_size=3), st.sampled_from([[], ["#"], ["+"], ["a"]]),
).filter(bool)  # fmt: skip
TOPICS = [
    "/".join(some)
    for n in range(1, 6)
    for some in itertools.product(["", "a", "z", "$s"], repeat=n)
    if any(some) or n > 1
]


def matches(wide, topic):
    """Topic matching level by level, as MQTT 5.0 says it in 4.7.1 and 4.7.2."""

    def of(levels, words):
        if levels == ["#"]:
            return True
        if not levels or not words:
            return not levels and not words
        return levels[0] in ("+", words[0]) and of(levels[1:], words[1:])

    def parent(levels, words):
        return levels[-1:] == ["#"] and of(levels[:-1], words)

    levels, words = wide.split("/"), topic.split("/")
    if topic.startswith("$") and wide[0] in "+#":
        return False
    return of(levels, words) or parent(levels, words)


@pytest.mark.parametrize(
    ("wide", "topic", "expected"),
    [  # the examples of MQTT 5.0, 4.7.1.2 to 4.7.3
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/x", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("ACCOUNTS", "Accounts", False),
    ],
)
def test_a_filter_covers_the_topics_of_the_specification_s_examples(wide, topic, expected):
    assert covers(wide, topic) == expected
    assert matches(wide, topic) == expected
    assert overlap(wide, topic) == expected


@given(FILTERS, FILTERS)
def test_a_filter_covers_another_if_it_matches_each_of_its_topics(wide, narrow):
    topics = [topic for topic in TOPICS if matches(narrow, topic)]
    if topics or "b" not in narrow:
        assert covers(wide, narrow) == (bool(topics) and all(matches(wide, topic) for topic in topics))


@given(FILTERS, FILTERS)
def test_filters_overlap_if_one_topic_matches_both(one, other):
    one, other = one.replace("b", "z"), other.replace("b", "z")
    assert overlap(one, other) == any(matches(one, topic) and matches(other, topic) for topic in ["", *TOPICS])
    assert overlap(one, other) == overlap(other, one)


@given(FILTERS, st.sampled_from(TOPICS))
def test_a_filter_covers_a_topic_if_it_matches_it(wide, topic):
    assert covers(wide, topic) == matches(wide, topic)


# --- templates of topics ---


@pytest.mark.parametrize(
    ("topic", "names", "as_one"),
    [
        ("plant/{line}/{machine}/data", ["line", "machine"], "plant/+/+/data"),
        ("plant/+/data", [], "plant/+/data"),
        ("{产线}/#", ["产线"], "+/#"),
    ],
)
def test_names_in_braces_stand_for_levels(topic, names, as_one):
    assert holes(topic) == names
    assert as_filter(topic) == as_one


@pytest.mark.parametrize("topic", ["a/{", "a/}", "{}", "a/{b/c}", "a/x{b}", "a/{b}{c}", "{{b}}", "a/{b}/{b}"])
def test_braces_that_stand_for_no_level_are_told(topic):
    with pytest.raises(ValueError, match=r"topic .*; (write|a \{name\}|give) .*"):
        holes(topic)


@pytest.mark.parametrize(
    ("template", "pattern", "topic", "expected"),
    [
        ("s/{l}/{m}/online", "p/{l}/{m}/data", "p/l1/press/data", "s/l1/press/online"),
        ("s/{m}", "p/{l}/{m}/data", "p/l1/press/data", "s/press"),
        ("s/{m}", "p/{m}/#", "p/press/a/b", "s/press"),
        ("s/{m}", "p/{m}/#", "p/press", "s/press"),
        ("s/all", "p/{m}", "p/press", "s/all"),
        ("s/{m}", "p/{m}", "q/press", None),  # the topic is of another kind
        ("s/{x}", "p/{m}", "p/press", None),  # a name that the pattern has not
        ("s/{m}", "p/{m}", "p/+", "s/+"),  # for `check` to refuse
    ],
)
def test_a_template_is_filled_from_a_topic(template, pattern, topic, expected):
    assert filled(template, pattern, topic) == expected


# --- what check says of a point ---


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("t", ""), ("t#/x", "uint16"), ("a/+/b#/x", ""), ("a/##/s/*/v", "string"), ("t#csv:3", "bool"),
        ("t#influx:m f", "number"), ("spBv1.0/G/N/D#Metric", ""), ("j/x#/a", ""), ("c/l1#temp", ""),
    ],
)  # fmt: skip
def test_a_sound_address_has_no_fault(address, kind):
    made = source(JSON, LINES)
    assert mqtt.check_source(made) is None
    assert mqtt.check(made, point(address, kind)) is None


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("", "a topic has 1 to 65,535 bytes and no NUL; write such as"),
        ("#x", "a topic has 1 to 65,535 bytes and no NUL; write such as"),
        ("a+/b", "the wildcards + and # stand for whole levels, # for the last alone; write such as"),
        ("a/{m}#/x", "a {name} stands for a word of the asset's id"),
        ("$share/g/a", "write its group as `share` of the source"),
        ("a#x", "after the # stands a JSON Pointer such as /press/temperature"),
        ("a#/x~", "a lone ~ stands in it; write ~0 for a key's ~"),
        ("j/a", "after the # stands a JSON Pointer such as /press/temperature"),
        ("s/a#/x", "a plain value has no parts; leave out what stands after the #"),
        ("c/l1", "after the # stands what to take of it, such as temperature, or 3 for the third column"),
        ("a#csv:", "after the # stands what to take of it, such as temperature, or 3 for the third column"),
        ("a#csv:temp", "no header or columns name it; write its number, from 1"),
        ("a#influx:", "after the # stands what to take of it, such as press,line=l1 temperature"),
        ("a#influx:m", "is no measurement, tags and field; write such as: press,line=l1 temperature"),
        ("spBv1.0/G", "spBv1.0/"),
    ],
)
def test_a_faulty_address_is_told_with_what_to_write(address, rule):
    made = source(JSON, LINES, Topic(topic="s/#", payload="scalar"))
    told = mqtt.check(made, point(address))
    assert repr(address) in told
    assert rule in told


def test_a_type_that_there_is_not_is_told():
    assert mqtt.check(source(), point("t", "int7")).startswith("type 'int7' is none of bool, string, number, int16")
    assert mqtt.check(source(), point("t", "datetime")).endswith("; leave it empty to take the payload's own")


def test_a_time_that_the_address_s_format_cannot_have_is_told():
    told = mqtt.check(source(Topic(topic="#", time="when")), point("t#/x"))
    assert told == "address 't#/x': time 'when' is no JSON Pointer; write such as /press/temperature"
    assert mqtt.check(source(Topic(topic="#", time="when", header=True)), point("t#csv:x")) is None


# --- what check says of a source ---


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"time_field": "ts"}, "time_field 'ts' is no JSON Pointer; write such as"),
        ({"keepalive": 10**8}, "keepalive 100ms: MQTT has 1s to 65535s; write such as 10s"),
        ({"keepalive": 10**14}, "MQTT has 1s to 65535s"),
        ({"max_packet": 2**29}, "max_packet 536870912 B: MQTT has none beyond 256MiB; write such as 4MiB"),
        ({"max_packet": 4095}, "max_packet 4095 B is less than the broker's own answers may have; write 4KiB or more"),
        ({"client_id": "a\0b"}, r"client_id 'a\x00b' is no text of MQTT: at most 65,535 bytes of UTF-8 without NUL"),
        ({"client_id": "\ud800"}, r"client_id '\ud800' is no text of MQTT"),
        ({"client_id": "x" * 65_536}, "…' is no text of MQTT".replace("…", r"\u2026")),
        ({"client_id": "温" * 21_846}, "is no text of MQTT"),
        ({"password": "x"}, "password without user: the broker would not look at it; write the user as well"),
        ({"share": "g"}, "share 'g' is a word without / + #, beside a client_id of the source's own; write both"),
        ({"share": "a/b", "client_id": "c"}, "share 'a/b' is a word"),
        ({"ca": "ca.pem"}, "ca belongs to mqtts:// and wss:// URLs: here nothing is encrypted; remove it, or use TLS"),
        ({"server_name": "x", "url": "ws://h"}, "server_name belongs to mqtts:// and wss:// URLs"),
        ({"certificate": "c.pem", "url": "mqtts://h"}, "certificate and private_key belong together; write both"),
        ({"private_key": "c.pem", "url": "wss://h"}, "certificate and private_key belong together; write both"),
    ],
)  # fmt: skip
def test_a_faulty_source_is_told_with_what_to_write(settings, told):
    assert told in mqtt.check_source(source(**settings))


@pytest.mark.parametrize(
    ("topics", "told"),
    [
        ([{"topic": "a+"}], "topic 'a+': the wildcards"),
        ([{"topic": "a/{"}], "topic 'a/{': a brace stands alone; write such as plant/{line}/{machine}/data"),
        ([{"topic": "a", "payload": "json", "time": "ts"}], "time 'ts' is no JSON Pointer"),
        ([{"topic": "a", "payload": "json", "quality": "q"}], "quality 'q' is no JSON Pointer"),
        ([{"topic": "a/{m}", "will": "s/{x}"}], "will 's/{x}': {x} is no name in topic 'a/{m}'; name the level"),
        ([{"topic": "a", "will": "s+"}], "will 's+': the wildcards"),
        ([{"topic": "a", "will": "s#online"}], "will 'online' is no JSON Pointer"),
        ([{"topic": "#"}, {"topic": "a"}], "topic 'a': topic '#' above it covers it, so that nothing is read by it"),
        ([{"topic": "spBv1.0/#"}], "topic 'spBv1.0/#': Sparkplug says itself how its messages are read; remove the"),
        ([{"topic": "spBv1.0/+/NDATA/{n}"}], "Sparkplug says itself how its messages are read; remove the table"),
        ([{"topic": "a/{m}"}, {"topic": "b"}, {"topic": "a/+"}], "topic 'a/+': topic 'a/{m}' above it covers it"),
    ],
)
def test_a_faulty_table_of_a_topic_is_told_with_what_to_write(topics, told):
    assert told in mqtt.check_source(source(*(Topic(**one) for one in topics)))


def test_sound_tables_have_no_fault():
    topics = [
        Topic(topic="a/{m}/data", payload="json", time="/t", quality="/q", will="a/{m}/state#/online"),
        Topic(topic="c/+", payload="csv", time="1", quality="2"),
        Topic(topic="#", missing="bad"),
    ]
    settings = {"client_id": "gateway", "user": "u", "password": "p", "ca": "ca.pem"}
    assert mqtt.check_source(source(*topics, url="mqtts://h", **settings)) is None
    assert mqtt.check_source(source(*topics[1:], url="mqtts://h", share="agents", **settings)) is None


def test_the_longest_client_id_and_the_smallest_max_packet_are_sound():
    assert mqtt.check_source(source(client_id="x" * 65_535, max_packet=4096)) is None


def test_a_group_that_shares_messages_can_follow_neither_a_last_will_nor_a_sequence():
    topic = Topic(topic="a/{m}/data", will="a/{m}/state")
    shared = source(topic, client_id="gateway", share="agents")
    assert "may get the last will; leave one of both out" in mqtt.check_source(shared)
    node = Point(point="p", asset="a", source="q", address="spBv1.0/G/N#v")
    assert "put it into a source without share" in mqtt.check(source(client_id="g", share="agents"), node)


# --- URLs ---


def target(host, port, *, tls=False, path="", version=""):
    return Target(host=host, port=port, tls=tls, path=path, version=version)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://h", target("h", 1883)),
        ("mqtt://h/", target("h", 1883)),
        ("mqtt://10.0.0.7:1884", target("10.0.0.7", 1884)),
        ("mqtts://h", target("h", 8883, tls=True)),
        ("ws://h", target("h", 80, path="/mqtt")),
        ("ws://h:8083/", target("h", 8083, path="/")),
        ("wss://h/ws/mqtt", target("h", 443, tls=True, path="/ws/mqtt")),
        ("mqtt://h?version=5", target("h", 1883, version="5")),
        ("ws://h/mqtt?version=3.1.1", target("h", 80, path="/mqtt", version="3.1.1")),
        ("mqtt://[fe80::1]:1883", target("fe80::1", 1883)),
    ],
)
def test_a_url_names_host_port_transport_and_version(url, expected):
    assert parse_url(url) == expected


def test_a_target_is_called_by_host_and_port():
    assert parse_url("mqtt://h").name == "h:1883"
    assert parse_url("mqtt://[fe80::1]").name == "[fe80::1]:1883"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("tcp://h", "is none of mqtt://host:1883, mqtts://host:8883, ws://host:8083/mqtt, wss://host:8084/mqtt"),
        ("h:1883", "is none of mqtt://host:1883"),
        ("MQTT://h", "is none of mqtt://host:1883"),
        ("mqtt://", "has no host, or no good port; write mqtt://host:1883"),
        ("mqtts://:8883", "has no host, or no good port; write mqtts://host:8883"),
        ("mqtt://h:0", "no good port"),
        ("mqtt://h:65536", "no good port"),
        ("mqtt://h:x", "no good port"),
        ("mqtt://h h", "no good port"),
        ("ws://h/a\r\nX: y", "no good port"),
        ("mqtt://[fe80::1", "no good port"),
        ("mqtt://h/plant", "no path may follow; topics stand in the point table"),
        ("mqtt://h#x", "no path may follow"),
        ("mqtt://h?v=5", "option 'v' is unknown; version=5 or version=3.1.1 may stand there"),
        ("mqtt://h?version=4", "version is one of 5, 3.1.1, as in mqtt://host:1883?version=3.1.1"),
        ("mqtt://me@h", "url of h: who connects stands in it; write user and password of the source"),
    ],
)
def test_a_url_that_is_none_is_told_with_the_forms_that_there_are(url, told):
    assert told in mqtt.check_source(source(url=url))


def test_a_password_in_a_url_is_never_shown():
    assert "hunter2" not in mqtt.check_source(source(url="mqtt://me:hunter2@h"))


# --- what is read ---


def test_reads_names_the_filters_and_each_point():
    made = source(Topic(topic="plant/{m}/data", will="plant/{m}/state"), share="agents", client_id="c", rebirth=True)
    points = [
        point("plant/press/data#/temp", name="temp"),
        point("plant/press/data#/run", name="run"),
        point("other", name="o"),
        point("spBv1.0/G/N#M", name="m"),
    ]
    told = mqtt.reads(made, points)
    assert told[0].endswith("at QoS 1, for 4 points")
    filters = [line.strip() for line in told if line.startswith("  $share/agents/")]
    assert filters[:3] == ["$share/agents/plant/+/data", "$share/agents/other", "$share/agents/plant/+/state"]
    assert told[0].startswith(f"{len(filters)} topic filters subscribed to")
    assert any("Node Control/Rebirth" in line for line in told)
    assert told[-4:] == [f"    {one.point}: {one.address}" for one in points]


def test_reads_counts_one_as_one():
    assert mqtt.reads(source(qos=0), [point("a")]) == [
        "1 topic filter subscribed to, at QoS 0, for 1 point",
        "  a",
        "    p: a",
    ]


# --- wills ---


@pytest.mark.parametrize(
    ("payload", "pointer", "alive"),
    [
        (b"online", "", True), (b"offline", "", False), (b" OFFLINE\n", "", False), (b"\xef\xbb\xbfoffline", "", False),
        (b"0", "", False), (b"false", "", False), (b"1", "", True), (b"ONLINE (v2)", "", True),
        (b"", "", False), (b" ", "", False),  # a retained topic that was cleared
        (b'{"online": true}', "/online", True), (b'{"online": false}', "/online", False),
        (b'{"s": {"state": "Offline"}}', "/s/state", False), (b'{"s": {"state": "on"}}', "/s/state", True),
        (b'{"online": null}', "/online", False), (b"{}", "/online", False), (b"no JSON", "/online", False),
        (b"\xff", "/online", False), (b"[" * 100_000, "/online", False), (b'{"online": {"a": 1}}', "/online", True),
    ],
)  # fmt: skip
def test_a_will_says_whether_its_publisher_is_there(payload, pointer, alive):
    presence = Presence("t", pointer, ("offline", "false", "0"), [0])
    assert presence.alive is None
    assert presence.take(payload) is alive
    assert presence.alive is alive


@pytest.mark.parametrize(
    ("topic", "will", "address", "told"),
    [
        ("p/{m}/data", "p/{m}/state#/online", "p/press/data#/x", None),
        ("p/{m}/data", "p/all", "p/+/data#/x", None),
        ("p/{m}/data", "p/{m}/state", "p/+/data#/x", "cannot be filled from it"),
        ("p/+/data", "p/+/state", "p/press/data#/x", "name the levels that differ in topic 'p/+/data' as well"),
    ],
)
def test_a_will_is_filled_from_the_point_s_topic_or_told(topic, will, address, told):
    found = mqtt.check(source(Topic(topic=topic, will=will)), point(address))
    assert found is None if told is None else told in found


@given(st.text(max_size=30), st.text(max_size=10))
def test_check_never_raises(address, pointer):
    made = source(Topic(topic="a/{m}", will=pointer, time=pointer, quality=pointer))
    told = mqtt.check(made, point(address))
    assert told is None or isinstance(told, str)
    mqtt.check_source(made)


@given(st.text(max_size=30).map("mqtt://".__add__) | st.text(max_size=30))
def test_no_url_raises(url):
    mqtt.check_source(source(url=url))
