"""`plantproof browse` of MQTT brokers: what payloads are, topics that are alike, rows that an agent then collects."""

import asyncio
import contextlib
import csv
import io
import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator

import pysparkplug as sp
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from config import exits
from config.load import load_plant
from connectors.mqtt.browsing import listing
from connectors.mqtt.browsing.beside import beside, unit_in
from connectors.mqtt.browsing.births import Owner
from connectors.mqtt.browsing.folds import fold, own_levels
from connectors.mqtt.browsing.heard import LOOKED, Topic
from connectors.mqtt.browsing.meanings import meaning
from connectors.mqtt.browsing.rows import rows, to_csv
from connectors.mqtt.browsing.shapes import Member, Shape
from connectors.mqtt.browsing.tables import incomplete, tables
from connectors.mqtt.browsing.walks import LARGEST, look
from connectors.roles import guess
from plantproof import cli
from tests.certificates import authority, leaf
from tests.mqtt_peers import Press, packet, password_file, scripted
from tests.running import lake_of, running, until
from tests.servers import Broker, free_port, mosquitto, silent_server, within
from tests.sparkplug_peer import Peer, metric, now_ms

NOW = 1_795_242_600_000_000_000
MS = NOW // 10**6
COLUMNS = ["point", "asset", "role", "source", "address", "type", "unit", "note"]


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    with mosquitto(tmp_path) as running_broker:
        yield running_broker


def raw(payload) -> bytes:
    """Bytes and texts as they are, all else as JSON."""
    if isinstance(payload, bytes):
        return payload
    return (payload if isinstance(payload, str) else json.dumps(payload)).encode()


def values(payload) -> dict[str, object]:
    """What is in a payload, by its path written with slashes."""
    return {"/".join(path): value for path, value in look(raw(payload)).values}


def kind(payload) -> str:
    return look(raw(payload)).kind


def heard(**payloads) -> list[Topic]:
    """Topics with messages; `__` in a name is a slash, and a list is several messages."""
    found = []
    for name, said in payloads.items():
        topic = Topic(name.replace("__", "/"))
        for one in said if isinstance(said, list) else [said]:
            topic.take(raw(one), 0, NOW, 1000, retained=False)
        found.append(topic)
    return found


def templates(**payloads) -> dict[str, int]:
    return {one.template: len(one.topics) for one in fold(heard(**payloads))}


def rows_of(*, template=False, asset="", **payloads) -> dict[str, tuple[str, str, str]]:
    found = rows(fold(heard(**payloads)), [], "q", asset, guess, template=template)
    return {row.point: (row.role, row.address, row.unit) for row in found}


async def ran(url: str, *words: str):
    """Run the command beside the test's event loop."""
    return await asyncio.to_thread(CliRunner().invoke, cli, ["browse", url, *words])


def browsed(broker: Broker, say: Callable[[Press, int], Awaitable[None]], *words: str, listens: str = "1500ms"):
    """The result of the command while `say` is called again and again."""
    results = []

    async def run() -> None:
        async with Press(broker.port) as press:
            task = asyncio.create_task(ran(broker.url, "--for", listens, *words))
            n = 0
            while not task.done():
                await say(press, n)
                n += 1
                await asyncio.sleep(0.05)
            results.append(await task)

    within(60, run)
    return results[0]


def told(messages, *words: str, granted=None, after: bytes = b"", version=5):
    """The result of the command against a broker that sends these messages, and the broker."""
    results = []

    async def run() -> None:
        async with scripted(granted=granted, version=version) as peer:
            task = asyncio.create_task(ran(peer.url, *(words or ("--for", "500ms"))))
            await until(lambda: peer.filters)
            await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                peer.send_messages(messages, flags=0)
                if after:
                    peer.send(after)
            results.extend((await task, peer))

    within(60, run)
    return results


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- what a payload is ---


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("21.5", "scalar"), ("true", "scalar"), ("running", "scalar"), ('"quoted"', "scalar"),
        ("", "empty"), (b" \n", "empty"),
        ('{"v": 1}', "json"), ("[1, 2]", "json"), (b'\xef\xbb\xbf{"v": 1}', "json"),
        ('{"v": 1', "broken"), ("[" * 100_000, "broken"),
        ("press,line=l1 temperature=21.5 1795242600000000000", "influx"),
        ("temperature value=21.5\ncount value=3i", "influx"),
        ("a=b", "scalar"),
        ("1,2,3", "csv"), ("ts;temp\n1795242600;21.5", "csv"), ("a\t1\t2\nb\t3\t4", "csv"),
        ("Oil low, filter old", "scalar"), ("well, then; 3", "scalar"), ("1.5,", "csv"),
        (b"\xff\xfe\x00", "binary"), (b"\x00\x01", "binary"), (b"\x1f\x8b\x08", "binary"),
        (b" " * LARGEST + b"1", "large"),
    ],
)  # fmt: skip
def test_a_payload_is_told_by_its_bytes(payload, expected):
    assert kind(payload) == expected


def test_members_of_json_have_the_paths_that_an_address_names_them_by():
    assert values({"a": {"b/c": 1, "~": 2}, "n": None, "list": [1, 2], "": 3}) == {
        "a/b~1c": 1, "a/~0": 2, "n": None, "list/0": 1, "list/1": 2, "": 3,
    }  # fmt: skip


def test_a_list_of_named_values_is_told_by_their_names_as_kepware_sends_them():
    found = values({"timestamp": MS, "values": [{"id": "C.D.T", "v": 1, "q": True, "t": MS}, {"id": "C/E", "v": 2}]})
    assert found == {
        "timestamp": MS, "values/[id=C.D.T]/v": 1, "values/[id=C.D.T]/q": True, "values/[id=C.D.T]/t": MS,
        "values/[id=C~1E]/v": 2,
    }  # fmt: skip


def test_a_list_of_samples_is_a_star_and_so_is_one_whose_names_number_them():
    assert set(values([{"ts": MS, "v": 1}, {"ts": MS + 1, "v": 2}])) == {"*/ts", "*/v"}
    assert set(values([{"id": str(n), "v": n} for n in range(500)])) == {"*/id", "*/v"}
    assert set(values([{"id": "a]", "v": 1}])) == {"*/id", "*/v"}  # no pointer can write this name


def test_arrays_beside_an_array_of_times_are_samples():
    found = values({"ts": [MS, MS + 1, MS + 2], "v": [1, 2, 3], "w": [1, 2]})
    assert (found["ts"].what, found["v"].what) == ("times", "samples")
    assert (found["w/0"], found["w/1"]) == (1, 2)


def test_what_no_pointer_names_and_what_is_too_much_is_told_as_left_out():
    assert not look(b'{"[a=b]": 1, "c": 2}').whole
    assert not look(json.dumps(list(range(100))).encode()).whole
    assert len(look(json.dumps({str(n): n for n in range(5000)}).encode()).values) == 1000
    deep = json.dumps({"v": 1})
    for _ in range(50):
        deep = f'{{"a": {deep}}}'
    assert look(deep.encode()) == ("json", [], {}, False)


def test_csv_names_columns_by_its_first_line_or_by_number():
    assert look(b"ts;temp\n1795242600;21.5") == (
        "csv", [(("ts",), 1795242600), (("temp",), 21.5)], {"header": True, "delimiter": ";"}, True,
    )  # fmt: skip
    assert look(b"1795242600,21.5,") == ("csv", [(("1",), 1795242600), (("2",), 21.5)], {}, True)


def test_influx_lines_are_measurement_tags_and_field_as_an_address_writes_them():
    assert values(r"my\ press,line=l\,1 part\=count=3i 1795242600000000000") == {
        r"my\ press/,line=l\,1/part\=count": 3, "": "1795242600000000000",
    }  # fmt: skip


# --- what values are ---


def member(*seen, name=False) -> Member:
    found = Member()
    for one in seen:
        found.take(one, NOW, named=name)
    return found


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((1, 2), "whole"), ((1, 2.5), "number"), ((True,), "boolean"), (("a",), "text"), ((1, None), "whole"),
        ((None,), "other"), ((1, "a"), "text"), ((10**400, 1), "whole"), ((float("nan"),), "number"),
    ],
)  # fmt: skip
def test_a_value_is_of_the_kind_that_holds_all_that_was_seen(seen, expected):
    assert member(*seen).kind == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(("1.5", "2"), "number"), (("true", "false"), "bool"), (("1", "a"), ""), (("007",), ""), (("0.5", "0"), "number")],
)
def test_texts_that_spell_numbers_get_a_type_and_names_with_zeros_in_front_do_not(seen, expected):
    assert member(*seen).spells == expected


@pytest.mark.parametrize(
    ("value", "name", "clock"),
    [
        (MS, True, "ms"), (MS // 1000, True, "s"), (MS * 1000, True, "us"), (NOW, True, "ns"), (str(MS), True, "ms"),
        ("2026-11-21T08:00:00+08:00", False, "ISO 8601"), ("2026-11-21 08:00:00", False, "local"),
        (MS, False, "ms"),  # whatever its name: it is now
        (MS - 10**10, False, ""),  # four months ago, and no name says time
        (5, True, ""), ("12-5", True, ""), (True, True, ""),
    ],
)  # fmt: skip
def test_a_time_is_told_by_its_form_or_by_its_name(value, name, clock):
    assert member(value, name=name).clock == clock


def test_how_far_a_time_lags_is_told_of_live_messages_alone():
    found = Member()
    found.take(MS - 90_000, None, named=True)
    assert found.lag is None
    found.take(MS - 90_000, NOW, named=True)
    assert found.lag == 90


def test_what_is_kept_of_a_topic_is_bounded():
    shape = Shape()
    assert shape.take(json.dumps({str(n): n for n in range(900)}).encode(), 0, NOW, 10) == 10
    assert not shape.whole
    topic = Topic("t")
    for n in range(3 * LOOKED):
        topic.take(str(n).encode(), 0, NOW, 10, retained=False)
    assert (topic.messages, topic.shape.kinds["scalar"]) == (3 * LOOKED, LOOKED)
    long = Shape()
    long.take(json.dumps({"k" * 300: 1, "v": "x" * 10_000}).encode(), 0, NOW, 10)
    assert [(path, len(one.example), len(one.words[0])) for path, one in long.members.items()] == [(("v",), 40, 40)]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("energy_kWh", "kWh"), ("energyKWh", "kWh"), ("总电量(kWh)", "kWh"), ("power_kw", "kW"), ("gas_m3", "m3"),
        ("temperature", ""), ("mw", ""), ("W", "W"), ("l", ""), ("weight_kg", "kg"), ("heat_GJ", "GJ"),
    ],
)  # fmt: skip
def test_a_name_may_end_with_a_meters_unit(name, unit):
    assert unit_in(name) == unit


# --- what stands beside values ---


def found_beside(payload):
    shape = Shape()
    shape.take(json.dumps(payload).encode(), 0, NOW, 1000)
    return beside("json", shape.members)


@pytest.mark.parametrize(
    ("payload", "time", "quality"),
    [
        ({"ts": MS, "v": 1}, ("ts",), None),
        ({"header": {"time": MS}, "data": {"v": 1, "w": 2}}, ("header", "time"), None),
        ({"timestamp": MS, "values": [{"id": "a", "v": 1, "q": True, "t": MS}]}, ("t",), ("q",)),
        ([{"ts": MS, "v": 1, "quality": "good"}], ("ts",), ("quality",)),
        ({"v": 1, "q": 3.5}, None, None),  # a flow, perhaps
        ({"v": 1, "installed": "2020-01-01T00:00:00Z", "ts": MS}, ("ts",), None),
        ({"v": 1}, None, None),
    ],
)
def test_the_time_is_the_one_nearest_to_most_values(payload, time, quality):
    found = found_beside(payload)
    assert (found.time, found.quality) == (time, quality)


def test_a_unit_beside_a_single_value_is_its_unit():
    assert rows_of(m__energy={"value": 5, "unit": "度", "ts": MS}) == {
        "m.energy": ("energy.electricity", "m/energy#/value", "kWh"),
    }  # fmt: skip
    assert not found_beside({"a": 1, "b": 2, "unit": "kWh"}).units  # of which?


# --- topics that are alike ---

PRESS = {"ts": MS, "state": 1, "part_count": 5}


def test_topics_of_one_shape_that_differ_in_levels_are_one_template():
    assert templates(
        plant__l1__p1__data=PRESS, plant__l1__p2__data=PRESS, plant__l2__p3__data=PRESS, office__x__y__data=PRESS
    ) == {"plant/{line}/{machine}/data": 3, "office/x/y/data": 1}
    assert templates(p1=PRESS, p2=PRESS) == {"{machine}": 2}
    (one,) = fold(heard(plant__l1__p1=PRESS, plant__l2__p2=PRESS))
    assert one.words == {"line": ["l1", "l2"], "machine": ["p1", "p2"]}
    assert own_levels(one) == (("plant", "{line}", "{machine}"), ())


def test_topics_whose_payloads_lack_a_member_now_and_then_are_alike_all_the_same():
    extra = {**PRESS, "alarm": 3}
    assert templates(a__p1__data=PRESS, a__p2__data=extra) == {"a/{machine}/data": 2}
    assert templates(a__p1__data=PRESS, a__p2__data={"x": 1, "y": 2}) == {"a/p1/data": 1, "a/p2/data": 1}


def test_a_level_that_names_what_is_measured_is_no_hole():
    assert templates(a__p1__speed="1", a__p2__speed="2", a__p1__state="x", a__p2__state="y") == {
        "a/{machine}/speed": 2, "a/{machine}/state": 2,
    }  # fmt: skip
    assert templates(a__p1__speed={"value": 1}, a__p1__power={"value": 2}) == {"a/p1/speed": 1, "a/p1/power": 1}
    assert templates(speed__p1="1", speed__p2="2") == {"speed/{machine}": 2}
    phase = {"a": 1, "b": 2, "c": 3}
    assert templates(m__p1__volt=phase, m__p1__amp=phase, m__p2__volt=phase, m__p2__amp=phase) == {
        "m/{machine}/volt": 2, "m/{machine}/amp": 2,
    }  # fmt: skip


def test_topics_whose_words_no_id_can_have_are_not_folded():
    payload = json.dumps(PRESS)
    topics = [Topic("a/p 1/data"), Topic("a/p2/data"), Topic("a/p3/data")]
    for topic in topics:
        topic.take(payload.encode(), 0, NOW, 100, retained=False)
    assert [one.template for one in fold(topics)] == ["a/p 1/data", "a/{machine}/data"]


def test_the_only_tags_of_a_measurement_are_left_out_so_that_topics_are_alike():
    lines = {f"t__p{n}": f"press,machine=p{n} temperature=1.5" for n in (1, 2)}
    assert rows_of(template=True, **lines) == {
        "t/{machine}.press.temperature": ("measure", "t/{machine}#influx:press temperature", ""),
    }  # fmt: skip
    assert list(rows_of(t="press,m=p1 v=1\npress,m=p2 v=2")) == ["t.press.m_p1", "t.press.m_p2"]


# --- rows ---


def test_a_row_has_a_safe_id_and_the_address_that_the_agent_reads():
    assert rows_of(plant__l1__p1__data={"ts": MS, "part_count": 5, "temp": 1.5, "nothing": None, "text": "x"}) == {
        "plant/l1/p1.part_count": ("total", "plant/l1/p1/data#/part_count", ""),
        "plant/l1/p1.temp": ("measure", "plant/l1/p1/data#/temp", ""),
        "plant/l1/p1.text": ("measure", "plant/l1/p1/data#/text", ""),
    }
    assert rows_of(plant__p1__温度="21.5") == {"plant/p1.温度": ("measure", "plant/p1/温度", "")}
    assert rows_of(alone="21.5") == {"alone.value": ("measure", "alone", "")}
    assert rows_of(asset="x/y", plant__p1__温度="21.5") == {"x/y.温度": ("measure", "plant/p1/温度", "")}


def test_the_ids_of_a_gateway_name_devices():
    said = {"values": [{"id": f"Line1.P{n}.PartCount", "v": n} for n in (1, 2)]}
    assert {point: role for point, (role, *_) in rows_of(gw=said).items()} == {
        "gw/Line1.P1.PartCount": "total", "gw/Line1.P2.PartCount": "total",
    }  # fmt: skip


def test_ids_that_would_be_the_same_are_told_apart():
    assert list(rows_of(a__p={"x y": 1, "x_y": 2, "x/y": 3})) == ["a/p.x_y", "a/p.x_y_2", "a/p.x_y_3"]


@pytest.mark.parametrize(
    ("name", "seen", "role"),
    [
        ("part_count", (1, 2, 3), "total"),
        ("part_count", (100, 0, 1), "total"),  # a reset
        ("part_count", (5, 3, 4), "measure"),  # no counter falls
        ("part_count", (1.5,), "measure"),
        ("合格数", (1, 2), "good"), ("不良品数", (0, 1), "reject"), ("总产量", (7,), "total"),
        ("state", (1, 2), "state"), ("state", ("RUN", "STOP"), "state"),
        ("state", (70_000,), "measure"), ("status", ("online", "offline"), "measure"),
        ("state", tuple("abcdefghij"), "measure"),
        ("energy_kWh", (1.5, 2.5), "energy.electricity"), ("energy_kWh", (2.5, 1.5), "measure"),
        ("power_kW", (2.5, 1.5), "power.electricity"), ("energy", (1.5,), "measure"),
        ("temperature", (21.5,), "measure"),
    ],
)  # fmt: skip
def test_roles_are_guessed_where_name_unit_and_behaviour_agree(name, seen, role):
    means = meaning(guess, name, member(*seen))
    assert means.role == role
    assert (means.note == "role guessed") == (role != "measure")


def test_an_asset_has_a_role_once_and_the_other_value_says_so():
    found = rows(fold(heard(p1={"part_count": 1, "total_count": 2})), [], "q", "", guess, template=False)
    assert [(row.role, row.note) for row in found] == [("total", "role guessed"), ("measure", "may be total as well")]


def test_what_a_table_cannot_hold_is_left_out_and_counted():
    hostile = {"=cmd|' C calc'!A0": 1, "\x1b[31m": 2, "{hole}": 3, " end ": 4, "fine": 5, "\ud800": 6}
    found = rows(fold(heard(a__b={**hostile, "ts": MS})), [], "q", "", guess, template=False)
    found += rows(fold([*heard(a__="1")]), [], "q", "", guess, template=False)
    found += rows(fold(heard(**{"=x__y": "1", "a b__c": "1"})), [], "q", "", guess, template=False)
    text, kept, left_out = to_csv(found)
    assert {row["address"] for row in table(text)} == {"a/", "a/b#/=cmd|' C calc'!A0", "a/b#/fine", "a b/c"}
    assert sum(left_out.values()) == len(found) - len(kept) == 5
    assert not any(cell.startswith(("=", "+", "@")) for row in table(text) for cell in row.values())


def test_the_table_of_a_template_says_time_unit_payload_and_last_will():
    folds = fold(heard(
        plant__l1__p1__data={"time": MS, "v": 1, "w": 2}, plant__l2__p2__data={"time": MS, "v": 1, "w": 2},
        plant__l1__p1__status="online", plant__l2__p2__status="offline",
    ))  # fmt: skip
    assert tomllib.loads("\n".join(tables(folds, template=True))) == {"source": {"topic": [{
        "topic": "plant/{line}/{machine}/data", "payload": "json", "time": "/time", "time_unit": "ms",
        "will": "plant/{line}/{machine}/status",
    }]}}  # fmt: skip


def test_a_table_goes_before_the_wider_one_that_would_speak_of_its_topics():
    folds = fold(heard(a__b={"time": MS, "v": 1, "w": 2}, a__c={"time": MS, "v": 1, "w": 2}, a__state="1"))
    found = tomllib.loads("\n".join(tables(folds, template=True)))["source"]["topic"]
    assert found == [{"topic": "a/state", "time": "/ts"}, {"topic": "a/{machine}", "time": "/time", "time_unit": "ms"}]


def test_times_without_an_offset_get_the_zone_that_they_seem_to_be_of():
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(NOW // 10**9 + 8 * 3600))
    near = "\n".join(tables(fold(heard(a={"ts": local, "v": 1})), template=False))
    assert tomllib.loads(near)["source"]["topic"][0]["time_zone"] == "Asia/Shanghai"
    old = "\n".join(tables(fold(heard(a={"ts": "2026-01-01 00:00:00", "v": 1})), template=False))
    assert '# time_zone = ""  # its times have no offset: write their zone' in old


def test_topics_at_the_same_levels_with_payloads_of_two_shapes_keep_rows_and_tables_of_their_own():
    said = {f"a__p{n}": {"time": MS, "v": 1, "w": 2} for n in (1, 2)}
    said |= {f"a__q{n}": {"at": MS, "x": 1, "y": 2} for n in (1, 2)}
    found = rows(fold(heard(**said)), [], "q", "", guess, template=True)
    assert not any(row.holes for row in found)
    lines = tomllib.loads("\n".join(tables(fold(heard(**said)), template=True)))["source"]["topic"]
    assert [(one["topic"], one["time"]) for one in lines] == [
        ("a/q1", "/at"), ("a/q2", "/at"), ("a/{machine}", "/time"),
    ]  # fmt: skip


def test_a_machine_that_lacks_a_topic_of_the_others_is_named():
    folds = fold(heard(a__p1__data=PRESS, a__p2__data=PRESS, a__p3__data=PRESS, a__p1__speed="1", a__p2__speed="2"))
    assert incomplete(folds) == [
        "a/{machine}/speed was not heard of p3, which a/{machine}/data was: their points of it will stay silent"
    ]


def test_a_birth_that_is_no_payload_is_told_of():
    owner = Owner("G", "N", "")
    assert owner.take("NBIRTH", b"\xff\xff\xff", 0, 100) == 0
    assert owner.fault.startswith("NBIRTH: ")


def test_on_a_terminal_of_80_columns_nothing_is_cut_off():
    payloads = {f"plant__l{n}__press{n}__总产量": ["1234567", "2234567"] for n in (1, 2)}
    payloads |= {f"plant__l{n}__press{n}__status": "offline" for n in (1, 2)}
    payloads |= {f"plant__l{n}__press{n}__data": {"ts": MS, "energy_kWh": [1.5], "a" * 100: "b" * 100} for n in (1, 2)}
    console = Console(width=80, file=io.StringIO())
    for part in listing.tables(fold(heard(**payloads)), [], 10, guess):
        console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))
    boxed = [line for line in console.file.getvalue().splitlines() if line.startswith(("│", "┃"))]
    assert boxed
    assert all(line.endswith(("│", "┃")) and cell_len(line) <= 80 for line in boxed)


# --- against a broker ---


async def works(press: Press, n: int) -> None:
    """What a small works says."""
    ms = time.time_ns() // 10**6
    for line, machine in (("l1", "p1"), ("l1", "p2"), ("l2", "p3")):
        body = {"time": ms, "state": "RUN", "part_count": 100 + n, "energy_kWh": 10.5 + n, "spare": None}
        await press.say(f"plant/{line}/{machine}/data", body)
        await press.say(f"plant/{line}/{machine}/总产量", str(100 + n))
        await press.say(f"plant/{line}/{machine}/status", "online", retain=True)
    gateway = [{"id": "C.P9.PartCount", "v": n, "q": True, "t": ms}, {"id": "C.P9.Temp", "v": 71.5, "q": True, "t": ms}]
    await press.say("iotgateway", {"timestamp": ms, "values": gateway})
    await press.say("csv/m1", f"time;温度;压力\n{ms};20.5;3")
    await press.say("telegraf/a", f"press,line=l1 temperature={n}.5,count={n}i {ms}000000")
    await press.say("series/a", {"ts": [ms - 2, ms - 1], "vibration": [0.5, 0.25]})


@pytest.mark.service
@pytest.mark.parametrize("version", ["", "?version=3.1.1"])
def test_a_person_sees_topics_payloads_and_roles_in_tables_without_overlong_lines(broker, version):
    broker_url = broker.url
    result = browsed(broker, works) if not version else None
    if version:
        results = []

        async def run() -> None:
            async with Press(broker.port) as press:
                task = asyncio.create_task(ran(broker_url + version, "--for", "1s"))
                while not task.done():
                    await works(press, 1)
                    await asyncio.sleep(0.05)
                results.append(await task)

        within(60, run)
        (result,) = results
    assert result.exit_code == exits.DONE, result.output
    lines = result.stdout.splitlines()
    data = next(line for line in lines if "plant/{line}/{machine}/data " in line)
    assert [cell.strip() for cell in data.split("│")][1:3] == ["plant/{line}/{machine}/data", "3"]
    assert "  machine: p1, p2, p3" in lines
    assert re.search(r"│ /time +│ time, ms +│ \d+ +│ +│ +│ as of now +│", result.stdout)
    assert re.search(r"│ /energy_kWh +│ number +│ \S+ +│ kWh +│ energy.electricity +│", result.stdout)
    assert re.search(r"│ /spare +│ null alone +│", result.stdout)
    assert re.search(r"│ /values/\[id=C\.P9\.PartCount\]/v +│ integer +│", result.stdout)
    assert re.search(r"│ /vibration +│ array of number samples +│", result.stdout)
    assert re.search(r"status +│ +3 │ .* text: online +│ .*online or not", result.stdout)
    boxed = [line for line in lines if line.startswith("│")]
    assert max(map(cell_len, lines)) <= 200
    blocks = "\n".join(line if line.startswith(("│", "┏", "└", "┡", "┃")) else "" for line in lines).split("\n\n")
    assert all(len({cell_len(line) for line in block.strip().splitlines()}) <= 1 for block in blocks)  # 总产量 is wide
    assert boxed


@pytest.mark.service
def test_json_is_a_list_with_each_kind_of_topic(broker):
    result = browsed(broker, works, "--json")
    found = {one["topic"]: one for one in json.loads(result.stdout)}
    data = found["plant/{line}/{machine}/data"]
    assert data["topics"] == ["plant/l1/p1/data", "plant/l1/p2/data", "plant/l2/p3/data"]
    assert data["words"] == {"line": ["l1", "l2"], "machine": ["p1", "p2", "p3"]}
    assert data["per_second"] > 1
    assert (data["time"]["member"], data["time"]["clock"]) == ("/time", "ms")
    assert abs(data["time"]["lag_s"]) < 5
    roles = {one["selector"]: (one["type"], one["role"]) for one in data["members"]}
    assert roles["/part_count"] == ("integer", "total")
    assert 0 <= found["plant/{line}/{machine}/status"]["retained"] <= 3
    assert found["csv/m1"]["payload"] == "csv"


@pytest.mark.service
@pytest.mark.parametrize("template", [False, True])
def test_the_rows_and_tables_make_a_plant_that_an_agent_collects_with_right_values(broker, tmp_path, template):
    result = browsed(broker, works, "--points", "--source", "cells", *(["--template"] if template else []))
    assert result.exit_code == exits.DONE, result.stderr
    found = table(result.stdout)
    assert list(found[0]) == COLUMNS
    assert ("plant/{line}/{machine}.part_count" in {row["point"] for row in found}) == template
    _, _, rest = result.stderr.partition("[[source.topic]]")
    topics, _, needed = rest.partition("assets.csv needs:")
    assets = [name for name in re.split(r"[,\s]+", needed) if name and name != "asset"]
    folder = tmp_path / "works"
    folder.mkdir()
    (folder / "points.csv").write_text(result.stdout, "utf-8")
    (folder / "assets.csv").write_text("asset\n" + "\n".join(assets) + "\n", "utf-8")
    (folder / "plant.toml").write_text(
        'version = 1\n[plant]\nid = "works"\nassets = "assets.csv"\npoints = "points.csv"\n'
        '[spool]\npath = "spool"\ncommit = "20ms"\n[[sink]]\nkind = "parquet"\npath = "lake"\nevery = "100ms"\n'
        f'[[source]]\nid = "cells"\nkind = "mqtt"\nurl = "{broker.url}"\nclient_id = "gw"\n[[source.topic]]{topics}',
        "utf-8",
    )
    checked = CliRunner().invoke(cli, ["check", str(folder)])
    assert checked.exit_code == exits.DONE, checked.output
    plant = load_plant(folder)
    roles = {point.point: point.role for point in plant.points}
    assert roles["plant/l2/p3.part_count"] == "total"
    assert roles["plant/l2/p3.energy_kWh"] == "energy.electricity"
    assert roles["plant/l2/p3.总产量"] == "measure"  # the other counter of the asset

    async def run() -> None:
        async with running(plant, connected=False) as agent:
            await until(lambda: "cells" in agent.status.sources)
            status = agent.status.sources["cells"]
            await until(lambda: status.state == "connected")
            async with Press(broker.port) as press:
                await works(press, 5)
                await until(lambda: lake_of(plant).height > 20 and "series/a.vibration" in lake_of(plant)["point"])
        assert not agent.status.sources["cells"].faults

    within(60, run)
    lake = lake_of(plant)
    last = {row["point"]: row for row in lake.sort("ts").iter_rows(named=True) if row["status"] == 0}
    expected = {
        "plant/l1/p1.part_count": 105, "plant/l2/p3.energy_kWh": 15.5, "plant/l1/p2.总产量": 105,
        "iotgateway/C.P9.PartCount": 5, "iotgateway/C.P9.Temp": 71.5, "csv/m1.温度": 20.5, "csv/m1.压力": 3,
        "telegraf/a.press.temperature": 5.5, "telegraf/a.press.count": 5, "series/a.vibration": 0.25,
    }  # fmt: skip
    assert {point: last[point]["value"] for point in expected} == expected
    assert last["plant/l1/p1.state"]["text"] == "RUN"
    stamped = ["plant/l1/p1.part_count", "csv/m1.温度", "telegraf/a.press.count", "iotgateway/C.P9.Temp"]
    assert len({last[point]["ts"] for point in stamped}) == 1  # the time that the messages bear


@pytest.mark.service
def test_sparkplug_births_give_names_and_who_has_none_is_named(broker):
    edge, old = Peer(broker.port, "G", "E"), Peer(broker.port, "G", "Old")
    old.connect()
    old.birth()

    async def say(press: Press, n: int) -> None:
        if n == 0:
            await asyncio.to_thread(edge.connect)
        edge.birth([metric("Speed", sp.DataType.DOUBLE, 12.5, now_ms(), alias=5)])
        counted = metric("Counters/总产量", sp.DataType.INT64, 77, now_ms(), alias=6)
        edge.device_birth("D1", [counted, metric("Table", sp.DataType.BYTES, b"12", now_ms())])
        old.data([metric(None, sp.DataType.INT32, 5, now_ms(), alias=9)])

    try:
        result = browsed(broker, say)
        points = browsed(broker, say, "--points", "--asset", "site")
    finally:
        edge.close()
        old.close()
    assert re.search(r"│ Speed +│ Double +│ +5 │ 12.5 +│ measure │", result.stdout)
    assert re.search(r"│ Counters/总产量 +│ Int64 +│ +6 │ 77 +│ total +│", result.stdout)
    assert "spBv1.0/G/Old: no birth heard yet: one comes when the node starts, or at a rebirth request" in result.stderr
    assert result.exit_code == exits.DONE
    assert [(row["point"], row["role"], row["address"]) for row in table(points.stdout)] == [
        ("site/G/E.Speed", "measure", "spBv1.0/G/E#Speed"),
        ("site/G/E/D1.Counters.总产量", "total", "spBv1.0/G/E/D1#Counters/总产量"),
    ]
    assert not edge.asked
    assert not old.asked


@pytest.mark.service
def test_broker_statistics_are_left_out_and_nothing_heard_names_the_next_step(broker):
    result = browsed(broker, lambda *_: asyncio.sleep(0), listens="300ms")
    assert (result.exit_code, result.stdout) == (exits.QUALITY, "")
    assert "listen longer with --for 60s" in result.stderr
    assert "access list" in result.stderr


@pytest.mark.service
def test_what_a_filter_names_is_listened_to_and_a_message_of_two_filters_counts_once(broker):
    async def say(press: Press, n: int) -> None:
        if n == 10:
            await press.say("a/b", "1", retain=True)
            await press.say("c/d", "1", retain=True)

    browsed(broker, say)
    result = browsed(broker, lambda *_: asyncio.sleep(0), "--json", "--topic", "a/+", "--topic", "+/b", listens="500ms")
    assert [(one["topic"], one["messages"]) for one in json.loads(result.stdout)] == [("a/b", 1)]


@pytest.mark.service
def test_a_wrong_password_is_told_with_the_option_and_the_right_one_opens(tmp_path):
    file = password_file(tmp_path, "ann", "right")
    (tmp_path / "pw").write_text("right\n")
    with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {file}\n") as broker:
        result = CliRunner().invoke(cli, ["browse", broker.url, "--for", "100ms"])
        assert result.exit_code == exits.CONFIG
        assert "--user and --password-file" in result.stderr
        words = ["--user", "ann", "--password-file", str(tmp_path / "pw"), "--for", "100ms"]
        assert CliRunner().invoke(cli, ["browse", broker.url, *words]).exit_code == exits.QUALITY  # nothing is said


@pytest.mark.service
@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
def test_over_tls_the_brokers_certificate_is_checked_and_ours_is_shown(tmp_path, scheme):
    port, ca = free_port(), authority("Plant CA")
    files = leaf("broker", ca).stored(tmp_path, "server")
    own = leaf("gateway", ca, extended=None).stored(tmp_path, "own")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    for file in (*files, tmp_path / "ca.pem"):
        file.chmod(0o644)
    settings = (
        f"allow_anonymous true\nlistener {port} 127.0.0.1\ncafile {tmp_path}/ca.pem\ncertfile {files[0]}\n"
        f"keyfile {files[1]}\nrequire_certificate true\n" + ("protocol websockets\n" if scheme == "wss" else "")
    )
    with mosquitto(tmp_path, settings) as broker:

        async def say() -> None:
            async with Press(broker.port) as press:
                await press.say("a", "21.5", retain=True)

        within(10, say)
        url, words = f"{scheme}://127.0.0.1:{port}", ["--certificate", str(own[0]), "--private-key", str(own[1])]
        result = CliRunner().invoke(cli, ["browse", url, "--for", "300ms", *words])
        assert result.exit_code == exits.CONFIG
        assert "its certificate is not trusted" in result.stderr
        trusting = [*words, "--ca", str(tmp_path / "ca.pem")]
        result = CliRunner().invoke(cli, ["browse", url, "--for", "300ms", *trusting])
        assert result.exit_code == exits.DONE, result.output
        assert re.search(r"│ a +│ +1 │ +0 │ number: 21.5 +│ measure +│ retained │", result.stdout)


def test_nobody_is_exit_code_69_also_where_a_port_is_open_and_silent():
    result = CliRunner().invoke(cli, ["browse", f"mqtt://127.0.0.1:{free_port()}"])
    assert (result.exit_code, result.stdout) == (exits.UNREACHABLE, "")

    async def run() -> None:
        async with silent_server() as port:
            silent = await ran(f"mqtt://127.0.0.1:{port}", "--timeout", "200ms")
            assert silent.exit_code == exits.UNREACHABLE
            assert "within 0.2 s" in silent.stderr

    within(20, run)


# --- against brokers that say anything ---


def test_a_refused_filter_is_exit_code_78_and_one_of_several_is_exit_code_3():
    result, _ = told([], granted=[0x87])
    assert result.exit_code == exits.CONFIG
    assert "refuses to let this user read # (not authorized (0x87))" in result.stderr
    result, _ = told([("b/x", b"1")], "--for", "300ms", "--topic", "a/#", "--topic", "b/#", granted=[0x87, 0])
    assert result.exit_code == exits.QUALITY
    assert "the broker refuses a/# (not authorized (0x87))" in result.stderr
    assert "b/x" in result.stdout


def test_an_old_broker_is_asked_again_in_its_own_version_and_nothing_is_ever_published():
    result, peer = told([("a", b"1")], version=4)
    assert (result.exit_code, peer.versions, peer.filters, peer.asked) == (exits.DONE, [5, 4], ["#"], [])


def test_a_link_that_breaks_leaves_what_was_heard():
    result, _ = told([("a", b"21.5")], "--for", "20s", after=b"\x00\x00")
    assert result.exit_code == exits.QUALITY
    assert "21.5" in result.stdout
    assert "the link is gone after" in result.stderr


HOSTILE = [
    ("\x1b[2J\x1b]0;owned\x07/a\nb", b'{"\\u001b[31mred": "\\u001b[2J=cmd", "=1+1": "x\\ny", "s": "\\ud800"}'),
    ("=cmd|' /C calc'!A0", b"1"), ("@sum", b"2"), ("-1/+2", b"=1+1"),
    ("big", b'{"v": "' + b"x" * 1_000_000 + b'"}'), ("long/" + "t" * 60_000, b"3"),
    ("deep", b"[" * 50_000), ("keys", json.dumps({f"k{n}": n for n in range(20_000)}).encode()),
    ("binary", bytes(range(256))), ("nan", b'{"v": NaN, "w": 1e400, "x": ' + b"9" * 4000 + b"}"),
    ("spBv1.0/G/NBIRTH/N", b"\xff" * 100), ("spBv1.0/G/NCMD/N", b""), ("spBv1.0/", b"1"), ("$SYS/load", b"1"),
    ("a//b", b"1"), ("/", b"1"), (" ", b"1"), ("..", b"{}"), ("{x}/y", b"1"), ("\u202ertl\u200b", b"1"),
]  # fmt: skip


@pytest.mark.parametrize("words", [(), ("--json",), ("--points",), ("--points", "--template")])
def test_hostile_topics_and_payloads_are_harmless(words, tmp_path):
    no_utf8 = packet(0x30, b"\x00\x04a/\xff\xfe\x00" + b"1")
    result, _ = told(HOSTILE, "--for", "1500ms", *words, after=no_utf8)
    assert result.exit_code == exits.QUALITY, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for text in (result.stdout, result.stderr):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e\u200b]", text)
    assert "topics that are no UTF-8" in result.stderr
    assert "payloads that no format reads" in result.stderr
    assert "Sparkplug messages of 1 nodes and devices could not be read" in result.stderr
    assert "$SYS" not in result.stdout
    if not words:
        assert max(map(cell_len, result.stdout.splitlines())) <= 200
    if "--points" in words:
        assert not any(cell.startswith(("=", "+", "@", "-")) for row in table(result.stdout) for cell in row.values())
        assert len(result.stdout) < 400_000
        names = [row["point"] for row in table(result.stdout)]
        assert len(set(names)) == len(names)
    if "--json" in words:
        assert len(json.loads(result.stdout)) >= 15


def test_more_topics_than_the_limit_end_the_listening():
    result, _ = told([(f"t/{n}x/v{n}", b"1") for n in range(300)], "--for", "30s", "--limit", "100", "--json")
    assert result.exit_code == exits.QUALITY
    assert "cut after 100 topics; raise --limit, or narrow with --topic" in result.stderr
    assert sum(len(one["topics"]) for one in json.loads(result.stdout)) == 100
    exact, _ = told([(f"t/{n}x/v{n}", b"1") for n in range(100)], "--for", "500ms", "--limit", "100", "--json")
    assert exact.exit_code == exits.DONE


def test_fifty_thousand_topics_are_listed_in_bounded_room():
    messages = [(f"plant/l{n % 50}/m{n}/data", b'{"ts": 1795242600000, "v": 1, "w": 2}') for n in range(50_000)]
    result, _ = told(messages, "--for", "30s")
    assert result.exit_code == exits.QUALITY
    assert "cut after 20000 topics" in result.stderr
    assert re.search(r"│ plant/\{line\}/\{machine\}/data │ +20000 │", result.stdout)
    assert len(result.stdout) < 5000


# --- the command line ---


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["opc.tcp://h:4840", "--topic", "a"], "--topic belongs to mqtt:// URLs"),
        (["opc.tcp://h:4840", "--for", "5s"], "--for belongs to mqtt:// URLs"),
        (["modbus+tcp://h:502", "--template"], "--template belongs to mqtt:// URLs"),
        (["mqtt://h:1883", "--units", "1"], "--units belongs to modbus+ URLs"),
        (["mqtt://h:1883", "--security", "None"], "--security belongs to opc.tcp:// URLs"),
        (["mqtt://h:1883", "--ca", __file__], "nothing is encrypted"),
        (["mqtt://h:1883/path"], "no path may follow"),
        (["mqtt://h:1883", "--topic", "a/#/b"], "# for the last alone"),
        (["mqtt://h:1883", "--topic", "$share/g/a"], "--topic '$share/g/a'"),
        (["mqtt://h:1883", "--for", "5"], "--for '5': is no number with a unit"),
        (["mqtt://h:1883", "--password-file", __file__], "password without user"),
        (["amqp://h:1"], "mqtt://host:1883"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(words, says):
    result = CliRunner().invoke(cli, ["browse", *words])
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_the_commands_module_imports_no_protocol():
    code = (
        "import sys, connectors.commands; "
        "print([name for name in sys.modules if name.startswith(('connectors.m', 'connectors.o', 'asyncua'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
