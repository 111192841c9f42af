"""`plantproof test`: real peers are connected to as the agent would, read once, and never written to."""

import asyncio
import contextlib
import json
import re
import ssl
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from click.testing import CliRunner, Result
from paho.mqtt.enums import CallbackAPIVersion

from config import exits
from config.faults import ConfigError
from connectors.sim.modbus import ModbusServer
from connectors.sim.opcua import OpcuaServer
from plantproof import cli
from tests.certificates import authority, leaf
from tests.influx_peers import Influxd, fake, influxd, ready, reply
from tests.modbus_peers import Bank, tcp
from tests.mqtt_peers import Press
from tests.servers import free_port, mosquitto, silent_server, within
from tests.test_chinese import english_left
from tests.test_opcua_security import PASSWORD, USER, pki
from tests.test_opcua_security import server as secured_server

TIME = 1_800_000_000_000_000_000
MODBUS = '[[source]]\nid = "m"\nkind = "modbus"\nurl = "{url}"\ntimeout = "200ms"\nretries = 0\n'
OPCUA = '[[source]]\nid = "o"\nkind = "opcua"\nurl = "{url}"\nsecurity = "None"\n'
MQTT = '[[source]]\nid = "q"\nkind = "mqtt"\nurl = "{url}"\nclient_id = "gateway"\n'


def write(folder: Path, parts: str, *points: str) -> Path:
    """A plant with these sources and sinks; points are rows of point,source,address,type."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plant.toml").write_text(f'version = 1\n[plant]\nid = "works"\n{parts}', "utf-8")
    (folder / "assets.csv").write_text("asset\npress\n", "utf-8")
    rows = "".join(f"{','.join([name, 'press', *rest])}\n" for name, *rest in (row.split(",") for row in points))
    (folder / "points.csv").write_text(f"point,asset,source,address,type\n{rows}", "utf-8")
    return folder


def run(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["test", str(folder), *options])


async def tried(folder: Path, *options: str) -> Result:
    """Run the command beside the servers of this loop, and let these see that its connections have ended."""
    result = await asyncio.to_thread(run, folder, *options)
    for _ in range(20):
        await asyncio.sleep(0)
    return result


def told(result: Result) -> tuple[dict[str, dict], dict[str, dict]]:
    """Sources and sinks of --json, by name."""
    found = json.loads(result.stdout)
    return {one["source"]: one for one in found["sources"]}, {one["name"]: one for one in found["sinks"]}


def values(source: dict) -> dict[str, tuple[str, object]]:
    return {one["point"]: (one["state"], one["value"]) for one in source["points"]}


def test_each_point_is_read_once_and_nothing_is_written_anywhere(tmp_path):
    async def main() -> None:
        registers = list(range(10))
        async with (
            OpcuaServer({"total": "uint32", "name": "string"}) as server,
            ModbusServer({1: lambda: registers}) as bus,
        ):
            await server.put("total", 7, TIME)
            await server.put("name", "A-7", TIME)
            parts = OPCUA.format(url=server.endpoint) + MODBUS.format(url=bus.endpoint)
            folder = write(tmp_path, parts, "t,o,ns=2;s=total,", "n,o,ns=2;s=name,", "r,m,holding:5,uint16")
            result = await tried(folder, "--json")
            assert result.exit_code == exits.DONE, result.output
            sources, sinks = told(result)
            assert values(sources["o"]) == {"t": ("good", 7.0), "n": ("good", "A-7")}
            assert values(sources["m"]) == {"r": ("good", 5.0)}
            assert bus.requests == {3: 1}
            assert abs(sources["o"]["clock_offset_s"]) < 5  # the server runs on this very clock
            assert sources["m"]["clock_offset_s"] is None
            assert list(sinks) == ["spool"]

    within(30, main)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assets.csv", "plant.toml", "points.csv"]


def test_a_subscribed_point_is_polled_once_and_leaves_no_subscription(tmp_path):
    async def main() -> None:
        async with OpcuaServer({"total": "uint32"}) as server:
            await server.put("total", 7, TIME)
            folder = write(tmp_path, OPCUA.format(url=server.endpoint), "t,o,ns=2;s=total,")
            table = folder / "points.csv"
            rows = (
                table.read_text().replace("type\n", "type,mode,period\n").replace("total,\n", "total,,subscribe,1h\n")
            )
            table.write_text(rows)
            result = await tried(folder, "--json")
            assert values(told(result)[0]["o"]) == {"t": ("good", 7.0)}
            assert server._server.iserver.subscription_service.subscriptions == {}

    within(30, main)


@contextlib.asynccontextmanager
async def half_good(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A plant of two sources, each with a point that is read and one that is not there; yields their URLs."""
    bank = Bank({(1, "holding", 300): "exception 2"})
    async with tcp(bank.answer) as port, OpcuaServer({"total": "uint32"}) as server:
        await server.put("total", 7, TIME)
        opcua, modbus = server.endpoint, f"modbus+tcp://127.0.0.1:{port}"
        rows = ("t,o,ns=2;s=total,", "gone,o,ns=2;s=gone,", "r,m,holding:5,uint16", "out,m,holding:300,uint16")
        write(folder, OPCUA.format(url=opcua) + MODBUS.format(url=modbus), *rows)
        yield opcua, modbus


def test_points_that_are_bad_are_named_with_the_reason_and_the_others_are_read(tmp_path):
    async def main() -> None:
        async with half_good(tmp_path):
            result = await tried(tmp_path)
            assert result.exit_code == exits.QUALITY, result.output
            assert "points read, 1 bad" in result.stdout
            assert "  bad: gone BadNodeIdUnknown\n" in result.stdout
            assert "  bad: out Bad" in result.stdout
            assert "t 7" not in result.stdout
            assert "  good: t 7\n" in (await tried(tmp_path, "--points")).stdout

    within(30, main)


def test_in_chinese_the_same_is_told_and_json_stays_as_it_is(tmp_path):
    async def main() -> None:
        async with half_good(tmp_path) as (opcua, modbus):
            result = await tried(tmp_path, "--lang", "zh", "--points")
            lines = re.sub(r"\d+\.\d\d+ 秒", "N 秒", result.stdout).splitlines()
            assert f"数据源 o（{opcua}）：N 秒连接成功，2 个点位中读到 1 个，坏值 1 个" in lines
            assert f"数据源 m（{modbus}）：N 秒连接成功，2 个点位中读到 1 个，坏值 1 个" in lines
            assert {"  坏值：gone BadNodeIdUnknown", "  正常：t 7", "  坏值：out BadConfigurationError"} <= set(lines)
            assert re.search(r"^  时钟：比本机[快慢] N 秒$", "\n".join(lines), re.MULTILINE)
            assert result.exit_code == exits.QUALITY
            english, chinese = [told(await tried(tmp_path, "--json", *words))[0] for words in ((), ("--lang", "zh"))]
            passing = {"connect_s": 0, "clock_offset_s": 0}
            assert {name: one | passing for name, one in chinese.items()} == {
                name: one | passing for name, one in english.items()
            }

    within(30, main)


def test_a_source_that_is_not_there_is_69_and_the_others_are_still_told(tmp_path):
    async def main() -> None:
        async with tcp(Bank().answer) as port:
            nobody = MODBUS.format(url=f"modbus+tcp://127.0.0.1:{free_port()}").replace('"m"', '"nobody"')
            parts = nobody + MODBUS.format(url=f"modbus+tcp://127.0.0.1:{port}")
            folder = write(tmp_path, parts, "a,nobody,holding:1,uint16", "b,m,holding:2,uint16")
            result = await tried(folder, "--json")
            assert result.exit_code == exits.UNREACHABLE
            sources, _ = told(result)
            assert not sources["nobody"]["connected"]
            assert sources["nobody"]["error"].startswith("no Modbus connection to 127.0.0.1:")
            assert sources["nobody"]["points"] == []
            lost = (await tried(folder, "--lang", "zh")).stdout.splitlines()
            assert lost[0].endswith("：未能连接")
            assert lost[1].startswith("  故障：无法建立到 127.0.0.1:")
            assert "连接失败" in lost[1]
            assert values(sources["m"]) == {"b": ("good", 2.0)}
            only = await tried(folder, "--source", "m", "--json")
            assert only.exit_code == exits.DONE
            assert told(only)[1] == {}  # sinks are not tried then

    within(30, main)


def test_a_server_that_accepts_and_says_nothing_does_not_hold_the_command_up(tmp_path):
    async def main() -> None:
        async with silent_server() as port:
            folder = write(tmp_path, OPCUA.format(url=f"opc.tcp://127.0.0.1:{port}"), "t,o,ns=2;s=total,")
            result = await tried(folder, "--timeout", "300ms")
            assert result.exit_code == exits.UNREACHABLE
            assert "fault: no connection within 0.3 s" in result.stdout
            chinese = await tried(folder, "--timeout", "300ms", "--lang", "zh")
            assert "  故障：0.3 秒内未能连接\n" in chinese.stdout

    within(20, main)


def test_units_of_a_gateway_fail_alone_and_all_of_them_make_it_unreachable(tmp_path):
    async def main() -> None:
        async with tcp(Bank(units=frozenset({1})).answer) as port:
            parts = MODBUS.format(url=f"modbus+tcp://127.0.0.1:{port}")
            result = await tried(write(tmp_path / "1", parts, "a,m,1/holding:1,uint16", "b,m,2/holding:1,uint16"))
            assert result.exit_code == exits.QUALITY, result.output
            assert "1 of 2 points read, 1 bad" in result.stdout
            alone = await tried(write(tmp_path / "2", parts, "b,m,2/holding:1,uint16"))
            assert alone.exit_code == exits.UNREACHABLE, alone.output
            assert "fault: " in alone.stdout

    within(30, main)


def secured(url: str, folder: Path, password: str = PASSWORD) -> Path:
    """A plant with one secured OPC UA source, whose password lies in a file."""
    parts = OPCUA.format(url=url).replace('"None"', '"Basic256Sha256/SignAndEncrypt"')
    write(folder, f'{parts}user = "{USER}"\npassword = "${{file:password}}"\n', "a,o,ns=2;s=a,")
    (folder / "password").write_text(password)
    return folder


def test_an_opcua_server_s_certificate_is_told_and_its_user_is_tried(tmp_path):
    made = leaf("press server")

    async def main() -> None:
        async with secured_server(made) as (_, url):
            pki(tmp_path, trusted=[made.der])
            result = await tried(secured(url, tmp_path), "--json")
            assert result.exit_code == exits.DONE, result.output
            shown = told(result)[0]["o"]["certificate"]
            assert shown["subject"] == "CN=press server"
            assert shown["expires"] == made.certificate.not_valid_after_utc.isoformat()
            wrong = await tried(secured(url, tmp_path, "falsches-Wort-8"))
            assert wrong.exit_code == exits.UNREACHABLE
            assert "NOT CONNECTED" in wrong.stdout
            assert "falsches" not in wrong.output

    within(60, main)


def test_an_opcua_server_that_nobody_trusts_is_refused_with_the_next_step(tmp_path):
    async def main() -> None:
        async with secured_server(leaf("stranger")) as (_, url):
            pki(tmp_path)
            folder = secured(url, tmp_path)
            result = await tried(folder)
            assert result.exit_code == exits.UNREACHABLE
            assert "trusted" in result.stdout
            (fault,) = re.findall("^  故障：(.*)$", (await tried(folder, "--lang", "zh")).stdout, re.MULTILINE)
            assert fault.startswith("服务器证书 CN=stranger")
            assert "被拒绝：不受信任" in fault
            assert english_left(fault.replace(str(tmp_path), "")) == []

    within(60, main)


def test_a_modbus_device_s_certificate_is_told_and_a_stranger_s_is_refused(tmp_path):
    ca, context = authority("Works CA"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*leaf("meter", ca).stored(tmp_path / "device", "meter"))

    async def main() -> None:
        async with tcp(Bank().answer, tls=context) as port:
            parts = MODBUS.format(url=f"modbus+tls://127.0.0.1:{port}") + 'ca = "ca.pem"\n'
            folder = write(tmp_path / "plant", parts.replace("200ms", "5s"), "r,m,holding:5,uint16")
            (folder / "ca.pem").write_bytes(ca.pem)
            good = await tried(folder)
            assert good.exit_code == exits.DONE, good.output
            assert "  certificate: CN=meter, until 20" in good.stdout
            (folder / "ca.pem").write_bytes(authority("Other CA").pem)
            bad = await tried(folder)
            assert bad.exit_code == exits.UNREACHABLE
            assert "not trusted" in bad.stdout

    within(30, main)


@pytest.mark.service
def test_points_of_topics_that_are_silent_are_named_and_retained_ones_are_uncertain(tmp_path):
    async def main() -> None:
        with mosquitto(tmp_path / "broker") as broker:
            async with Press(broker.port) as press:
                await press.say("kept", 5, retain=True)
                folder = write(tmp_path / "plant", MQTT.format(url=broker.url), "kept,q,kept,", "never,q,never,")
                result = await tried(folder, "--for", "500ms")
                assert result.exit_code == exits.QUALITY, result.output
                assert "1 of 2 points read, 1 of them uncertain, 1 silent" in result.stdout
                assert "  silent: never\n" in result.stdout
                chinese = (await tried(folder, "--for", "500ms", "--lang", "zh")).stdout
                assert "2 个点位中读到 1 个，其中 1 个不确定，无数据 1 个\n  无数据：never\n" in chinese

    (tmp_path / "broker").mkdir()
    within(30, main)


@pytest.mark.service
def test_a_trial_takes_neither_the_agent_s_session_nor_what_waits_in_it(tmp_path):
    async def main() -> None:
        with mosquitto(tmp_path / "broker") as broker:
            agent = paho.Client(CallbackAPIVersion.VERSION2, "gateway", clean_session=False)
            got: list[bytes] = []
            agent.on_message = lambda client, data, message: got.append(message.payload)
            agent.on_connect = lambda client, *rest: client.subscribe("kept", 1)
            agent.on_disconnect = lambda *rest: got.append(b"cut off")
            agent.connect("127.0.0.1", broker.port)
            agent.loop_start()
            folder = write(tmp_path / "plant", MQTT.format(url=broker.url), "kept,q,kept,")
            async with Press(broker.port) as press:
                trial = asyncio.create_task(tried(folder, "--for", "10s"))
                while not trial.done():
                    await press.say("kept", 5)
                assert trial.result().exit_code == exits.DONE, trial.result().output
            assert agent.is_connected()
            assert set(got) == {b"5"}
            agent.loop_stop()
            agent._sock_close()

    (tmp_path / "broker").mkdir()
    within(30, main)


def test_a_source_that_no_point_reads_is_not_tried_and_no_fault(tmp_path):
    result = run(write(tmp_path, MODBUS.format(url=f"modbus+tcp://127.0.0.1:{free_port()}")))
    assert result.exit_code == exits.DONE, result.output
    assert "not tried" in result.stdout
    assert "no point reads it" in result.stdout
    chinese = run(tmp_path, "--lang", "zh").stdout
    assert "：未测试\n  提醒：没有点位读取它：未测试；请在采集点表的 source 列填写它\n" in chinese


# --- stores ---


def influx(url: str, **settings: str) -> str:
    return "".join([f'[[sink]]\nkind = "influxdb"\nurl = "{url}"\n', *(f'{k} = "{v}"\n' for k, v in settings.items())])


def test_a_lake_s_folder_is_neither_made_nor_changed(tmp_path):
    folder = write(tmp_path, '[[sink]]\nkind = "parquet"\npath = "store/lake"\n')
    result = run(folder)
    assert result.exit_code == exits.DONE, result.output
    assert "the agent makes it, can be written" in result.stdout
    assert not (folder / "store").exists()
    (folder / "store" / "lake").mkdir(parents=True)
    _, sinks = told(run(folder, "--json"))
    assert [fact.partition(",")[0] for fact in sinks["parquet"]["facts"]] == ["can be written"]
    assert list((folder / "store" / "lake").iterdir()) == []
    chinese = run(folder, "--lang", "zh").stdout
    assert re.search(r"^存储 parquet（\S+/store/lake）：可写入，剩余 \S+ GiB$", chinese, re.MULTILINE)
    assert re.search(r"^缓存（\S+/var/spool）：由采集程序建立，可写入，剩余 \S+ GiB$", chinese, re.MULTILINE)


def test_a_folder_that_is_there_is_not_said_to_be_made_where_the_plant_is_named_relatively(tmp_path, monkeypatch):
    folder = write(tmp_path, '[[sink]]\nkind = "parquet"\npath = "store/lake"\n')
    (folder / "store" / "lake").mkdir(parents=True)
    monkeypatch.chdir(folder.parent)
    _, sinks = told(run(Path(folder.name), "--json"))
    assert [fact.partition(",")[0] for fact in sinks["parquet"]["facts"]] == ["can be written"]


def test_a_lake_whose_folder_cannot_be_is_a_store_that_is_not_reachable(tmp_path):
    folder = write(tmp_path, '[[sink]]\nkind = "parquet"\npath = "assets.csv/lake"\n')
    result = run(folder)
    assert result.exit_code == exits.UNREACHABLE
    assert "sink parquet" in result.stdout
    assert "cannot be written" in result.stdout


def test_a_disk_too_small_for_what_the_lake_may_take_is_told(tmp_path):
    result = run(write(tmp_path, '[[sink]]\nkind = "parquet"\nkeep_size = "900000TiB"\n'))
    assert result.exit_code == exits.QUALITY
    assert "GiB too little" in result.stdout


@pytest.mark.service
def test_a_database_that_is_missing_is_not_made_and_one_that_is_there_gets_no_line(tmp_path):
    with influxd(tmp_path) as server:
        folder = write(tmp_path / "plant", influx(server.url, api="v1", database="plant"))
        missing = run(folder)
        assert missing.exit_code == exits.DONE, missing.output
        assert "database plant is not there: the agent makes it" in missing.stdout
        assert not server.query("SHOW DATABASES")[0].get("values")
        server.query("CREATE DATABASE plant")
        there = run(folder)
        assert there.exit_code == exits.DONE, there.output
        assert "database plant is there, we may write" in there.stdout
        assert server.query("SHOW MEASUREMENTS", "plant") == []


def as_boss(server: Influxd, text: str) -> None:
    """Run InfluxQL as the user boss."""
    form = urllib.parse.urlencode({"q": text, "u": "boss", "p": "b"})
    urllib.request.urlopen(f"{server.url}/query?{form}", b"", timeout=10).close()


@pytest.mark.service
def test_a_user_who_may_only_read_a_database_is_told_before_anything_is_lost(tmp_path):
    with influxd(tmp_path, HTTP_AUTH_ENABLED="true") as server:
        server.query("CREATE USER boss WITH PASSWORD 'b' WITH ALL PRIVILEGES")
        for text in ("CREATE DATABASE plant", "CREATE USER eye WITH PASSWORD 'geheim-9'", "GRANT READ ON plant TO eye"):
            as_boss(server, text)
        secret = {"user": "eye", "password": "${file:word}"}
        folder = write(tmp_path / "plant", influx(server.url, api="v1", database="plant", **secret))
        (folder / "word").write_text("geheim-9")
        result = run(folder)
        assert result.exit_code == exits.UNREACHABLE, result.output
        assert "NOT USABLE" in result.stdout
        assert "geheim-9" not in result.output
        as_boss(server, "GRANT ALL ON plant TO eye")
        assert "we may write" in run(folder).stdout


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (204, exits.DONE, "bucket plant is there, we may write"),
        (400, exits.DONE, "whether we may write, the first write shows"),
        (403, exits.UNREACHABLE, "check the sink's token"),
    ],
)
def test_a_token_is_tried_with_a_request_that_has_no_line(tmp_path, status, code, words):
    with fake(lambda asked: reply(status) if "write" in asked.path else ready(asked)) as server:
        folder = write(tmp_path, influx(server.url, api="v2", org="works", bucket="plant", token="${file:token}"))
        (folder / "token").write_text("tok-4711")
        result = run(folder)
        assert (result.exit_code, words in result.stdout) == (code, True), result.output
        assert [asked.text for asked in server.writes] == ["# may it write?\n"]
        assert "tok-4711" not in result.output


def test_influxdb_3_is_asked_whether_it_lets_us_in_and_written_nothing(tmp_path):
    with fake(ready) as server:
        folder = write(tmp_path, influx(server.url, api="v3", database="plant", token="${file:token}"))
        (folder / "token").write_text("tok-4711")
        assert "it lets us in" in run(folder).stdout
        assert server.writes == []


def test_a_store_s_certificate_is_told(tmp_path):
    ca, context = authority("Works CA"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*leaf("store", ca).stored(tmp_path / "server", "store"))
    with fake(ready, context) as server:
        folder = write(tmp_path / "plant", influx(server.url, api="v3", database="plant", ca="ca.pem"))
        (folder / "ca.pem").write_bytes(ca.pem)
        _, sinks = told(run(folder, "--json"))
        assert sinks["influxdb"]["certificate"]["subject"] == "CN=store"


def test_a_store_that_is_not_there_is_69(tmp_path):
    result = run(write(tmp_path, influx(f"http://127.0.0.1:{free_port()}", api="v1", database="plant")))
    assert result.exit_code == exits.UNREACHABLE
    assert "sink influxdb" in result.stdout
    chinese = run(tmp_path, "--lang", "zh").stdout
    unusable = r"^存储 influxdb（\S+）：不可用\n  故障：InfluxDB at \S+：无应答：.*连接被拒绝（errno \d+）$"
    assert re.search(unusable, chinese, re.MULTILINE)


# --- the command line ---


def test_a_faulty_configuration_is_told_and_nobody_is_asked(tmp_path):
    asked = []

    async def main() -> None:
        async with tcp(lambda unit, pdu: asked.append(unit)) as port:
            folder = write(tmp_path, MODBUS.format(url=f"modbus+tcp://127.0.0.1:{port}"), "r,m,nowhere:5,uint16")
            result = await tried(folder)
            assert isinstance(result.exception, ConfigError)  # which ends the program with 78
            assert "nowhere" in str(result.exception)

    within(20, main)
    assert asked == []


def test_a_secret_that_is_missing_is_a_fault_of_the_configuration(tmp_path):
    result = run(write(tmp_path, influx("http://127.0.0.1:1", api="v3", database="p", token="${file:nowhere}")))
    assert isinstance(result.exception, ConfigError)
    assert "${file:nowhere}" in str(result.exception)


def test_a_source_that_there_is_not_is_a_fault_of_the_command_line(tmp_path):
    result = run(write(tmp_path, MODBUS.format(url="modbus+tcp://127.0.0.1:1")), "--source", "x")
    assert result.exit_code == exits.USAGE
    assert "'x' is none of m" in result.stderr


def test_the_sources_of_another_gateway_are_left_alone(tmp_path):
    parts = MODBUS.format(url=f"modbus+tcp://127.0.0.1:{free_port()}") + 'agent = "gw2"\n'
    folder = write(tmp_path, parts, "r,m,holding:5,uint16")
    assert run(folder, "--agent", "gw1").exit_code == exits.DONE
    assert run(folder, "--agent", "gw2").exit_code == exits.UNREACHABLE


@pytest.mark.parametrize("option", ["--for", "--timeout"])
def test_times_want_a_unit(tmp_path, option):
    with contextlib.suppress(FileExistsError):
        write(tmp_path, "")
    assert run(tmp_path, option, "5").exit_code == exits.USAGE
    assert run(tmp_path, option, "0s").exit_code == exits.USAGE
