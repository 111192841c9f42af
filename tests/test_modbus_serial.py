"""Modbus over real pseudo-terminals, TLS and UDP: one line with two units, one of which dies; keys and certificates."""

import asyncio
import contextlib
import itertools
import ssl

import pytest

from config import status
from config.plant import Device, Point, Source
from connectors import modbus
from connectors.base import SourceLost, SourceRefused
from connectors.modbus import units
from connectors.modbus.target import parse_url
from tests.certificates import authority, leaf
from tests.modbus_peers import Bank, Line, rtu_over_tcp, tcp, udp
from tests.running import descriptors
from tests.servers import within


def source(url, **settings):
    settings = {"period": "50ms", "timeout": "150ms"} | settings
    return Source(id="line", kind="modbus", url=url, **settings)


def points(*addresses, **settings):
    return [Point(point=a, asset="m", source="line", address=a, **settings) for a in addresses]


class Seen:
    """What a connector yields, point by point."""

    def __init__(self, connector, table):
        self.connector, self.table = connector, table
        self.rows = {point.point: [] for point in table}

    async def until(self, condition):
        async for readings in self.connector.readings():
            for row, point in enumerate(readings.points.tolist()):
                value = float(readings.value[row]) if readings.valid[row] else None
                self.rows[self.table[point].point].append((value, int(readings.status[row])))
            if condition(self.rows):
                return

    def values(self, point):
        return {value for value, _ in self.rows[point]}

    def statuses(self, point):
        return {code for _, code in self.rows[point]}


@contextlib.asynccontextmanager
async def reading(url, table, **settings):
    connector = modbus.Connector(source(url, **settings), table)
    await connector.connect()
    try:
        yield Seen(connector, table)
    finally:
        await connector.close()


def polls(count):
    return lambda rows: all(len(found) >= count for found in rows.values())


# --- a serial line ---


def test_two_units_of_a_line_are_read_and_one_that_dies_does_not_stop_the_other():
    async def run():
        bank = Bank()
        with Line(bank.answer) as line:
            table = points("1/holding:5", "2/holding:7")
            async with reading(f"modbus+rtu://{line.device}?baud=19200", table) as seen:
                await seen.until(polls(3))
                assert seen.values("1/holding:5") == {5.0}
                assert seen.values("2/holding:7") == {7.0}
                bank.silent.add(2)
                before = len(seen.rows["1/holding:5"])
                await seen.until(lambda rows: rows["2/holding:7"][-1][1] == status.BAD_NO_COMMUNICATION)
                await seen.until(polls(before + 10))
                assert seen.values("1/holding:5") == {5.0}  # not one poll of the living unit is bad
                assert seen.statuses("1/holding:5") == {0}
                asked = sum(unit == 2 for unit, *_ in bank.requests)
                await seen.until(polls(before + 15))
                assert sum(unit == 2 for unit, *_ in bank.requests) == asked  # it rests
                assert any("unit 2 did not answer" in told for told in seen.connector.warnings())

    within(20, run)


def test_a_unit_that_comes_back_is_read_again(monkeypatch):
    monkeypatch.setattr(units, "REST_NS", (200_000_000, 400_000_000))

    async def run():
        bank = Bank()
        bank.silent.add(2)
        with Line(bank.answer) as line:
            table = points("1/holding:5", "2/holding:7", "2/holding:90")
            async with reading(f"modbus+rtu://{line.device}", table) as seen:
                await seen.until(polls(3))
                assert seen.statuses("2/holding:7") == {status.BAD_NO_COMMUNICATION}
                bank.silent.clear()
                await seen.until(lambda rows: rows["2/holding:7"][-1][0] == 7.0 and rows["2/holding:90"][-1][0] == 90.0)
                assert seen.connector.warnings() == []

    within(20, run)


def test_noise_before_a_reply_and_an_echo_of_the_request_are_told_from_it():
    async def run():
        bank = Bank()
        with Line(bank.answer) as line:
            line.echo = True
            async with reading(f"modbus+rtu://{line.device}?echo=yes", points("1/holding:5")) as seen:
                await seen.until(polls(3))
                assert seen.values("1/holding:5") == {5.0}
                assert not seen.connector.faults

    within(20, run)


def test_a_reply_with_a_wrong_crc_is_asked_for_again_and_never_taken():
    async def run():
        garbled = iter([True, False, False] * 100)
        bank = Bank()

        def reply(unit, pdu):
            answer = bank.answer(unit, pdu)
            if next(garbled):  # behind the right frame's data another byte: the CRC does not fit
                return answer[:-1] + bytes([answer[-1] ^ 1, 0x55])
            return answer

        with Line(reply) as line:
            table = points("1/holding:5", "1/holding:200")
            async with reading(f"modbus+rtu://{line.device}", table) as seen:
                await seen.until(polls(6))
                assert seen.values("1/holding:5") <= {5.0, None}
                assert seen.values("1/holding:200") <= {200.0, None}
                assert 5.0 in seen.values("1/holding:5")
                assert any("a reply was refused" in reason for reason in seen.connector.faults)

    within(20, run)


def test_the_line_is_quiet_for_three_and_a_half_characters_and_for_the_pause_before_each_request():
    async def run():
        bank, times = Bank(), []

        def reply(unit, pdu):
            times.append(asyncio.get_running_loop().time())
            return bank.answer(unit, pdu)

        with Line(reply) as line:
            table = points("1/holding:5", "1/holding:100", "2/holding:5", "2/holding:100")
            device = (Device(unit=2, pause="30ms"),)
            url = f"modbus+rtu://{line.device}?baud=9600"
            async with reading(url, table, pause="10ms", device=device, period="300ms") as seen:
                await seen.until(polls(2))
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert pauses[0] >= 0.010  # before the second request to unit 1
        assert min(pauses[1:3]) >= 0.030  # before both to unit 2

    within(20, run)
    # 3.5 characters of 11 bits at 9600 baud are 4.01 ms; from 19200 baud on the standard says 1.75 ms
    assert parse_url("modbus+rtu:///dev/ttyS0?baud=9600").silence == pytest.approx(0.00401, abs=1e-5)
    assert parse_url("modbus+rtu:///dev/ttyS0?baud=115200").silence == 0.00175


def test_a_line_where_nobody_answers_is_lost_and_so_is_one_that_is_unplugged():
    async def run():
        with Line(lambda unit, pdu: None) as line:
            async with reading(f"modbus+rtu://{line.device}", points("1/holding:5")) as seen:
                with pytest.raises(SourceLost, match="unit 1 did not answer"):
                    await seen.until(polls(1))
        with Line(Bank().answer) as line:
            async with reading(f"modbus+rtu://{line.device}", points("1/holding:5")) as seen:
                await seen.until(polls(1))
                line.unplug()
                with pytest.raises(SourceLost):
                    await seen.until(polls(50))

    within(20, run)


def test_a_port_that_is_not_there_or_taken_is_lost_by_name():
    async def run():
        connector = modbus.Connector(source("modbus+rtu:///dev/does-not-exist"), points("1/holding:5"))
        with pytest.raises(SourceLost, match="/dev/does-not-exist"):
            await connector.connect()
        await connector.close()
        with Line(Bank().answer) as line:
            first = modbus.Connector(source(f"modbus+rtu://{line.device}"), points("1/holding:5"))
            second = modbus.Connector(source(f"modbus+rtu://{line.device}"), points("1/holding:5"))
            await first.connect()
            with pytest.raises(SourceLost, match=line.device):
                await second.connect()
            await second.close()
            await first.close()

    within(20, run)


def test_rs485_is_asked_of_the_driver_and_its_no_is_told():
    async def run():
        with Line(Bank().answer) as line:  # a pseudo-terminal has no RS-485 driver
            connector = modbus.Connector(source(f"modbus+rtu://{line.device}?rs485=yes"), points("1/holding:5"))
            with pytest.raises(SourceLost, match=r"RS.?485|rs485"):
                await connector.connect()
            await connector.close()

    within(20, run)


def test_a_serial_url_has_every_setting_of_a_line():
    target = parse_url(
        "modbus+rtu:///dev/ttyUSB0?baud=19200&parity=E&stopbits=2&rs485=yes&rts_on_send=low"
        "&delay_before_send=1ms&delay_after_send=500us&echo=yes"
    )
    assert (target.device, target.baud, target.parity, target.stopbits) == ("/dev/ttyUSB0", 19200, "E", 2)
    assert (target.rs485, target.rts_on_send, target.echo) == (True, False, True)
    assert (target.delay_before_send, target.delay_after_send) == (0.001, 0.0005)


def test_check_says_how_much_of_a_serial_line_s_time_its_polls_take():
    url = "modbus+rtu:///dev/ttyUSB0?baud=9600"
    table = [Point(point=f"p{n}", asset="m", source="line", address=f"holding:{n}") for n in range(100)]
    # one request: 8 characters, an answer: 5 and 200 of data; 213 of 11 bits at 9600 baud are 244 ms, and twice 4 ms
    assert modbus.reads(source(url, period="1s"), table)[0] == "takes 25.2% of the line's time or more"
    crowded = modbus.reads(source(url, period="200ms"), table)[0]
    assert crowded.startswith("takes 126.0% of the line's time or more: more than it has; lengthen periods")
    assert modbus.reads(source("modbus+tcp://h", period="1s"), table)[0] == "every 1s: 1 request for 100 points"


def test_close_leaves_no_descriptor_of_the_port_behind():
    async def run():
        with Line(Bank().answer) as line:
            before = descriptors()
            for _ in range(5):
                async with reading(f"modbus+rtu://{line.device}", points("1/holding:5")) as seen:
                    await seen.until(polls(1))
            assert descriptors() == before

    within(20, run)


# --- UDP, RTU over TCP ---


@pytest.mark.parametrize("transport", ["udp", "rtutcp"])
def test_units_are_read_over(transport):
    async def run():
        serve = {"udp": udp, "rtutcp": rtu_over_tcp}[transport]
        async with serve(Bank().answer) as port:
            table = points("1/holding:5", "2/input:7", "1/coil:3")
            async with reading(f"modbus+{transport}://127.0.0.1:{port}", table) as seen:
                await seen.until(polls(3))
                assert [seen.values(p.point) for p in table] == [{5.0}, {7.0}, {1.0}]
                assert not seen.connector.faults

    within(20, run)


def test_a_port_where_nobody_listens_is_lost_over_udp():
    async def run():
        async with udp(Bank().answer) as port:
            pass
        async with reading(f"modbus+udp://127.0.0.1:{port}", points("1/holding:5")) as seen:
            with pytest.raises(SourceLost):
                await seen.until(polls(1))

    within(20, run)


def test_the_link_tells_its_bus_time():
    async def run():
        async with tcp(Bank().answer) as port:
            table = points("1/holding:5", "2/holding:5", "2/holding:500")
            async with reading(f"modbus+tcp://127.0.0.1:{port}", table) as seen:
                await seen.until(polls(4))
                figures = seen.connector.figures()
                assert 0 < figures["bus_time"] < 1
                assert figures["requests_a_cycle"] == 3
                assert figures["polls_missed"] == 0
                assert 0 < figures["request_ms"] <= figures["longest_ms"]

    within(20, run)


# --- TLS (Modbus Security) ---


CA = authority("Plant CA")
METER = leaf("meter", CA)
AGENT = leaf("agent", CA, extended=None)


def device_side(folder, certificate=METER, *, wants=CA):
    """The TLS of a device that wants a client certificate of `wants`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate.stored(folder, "device"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=wants.pem.decode())
    return context


def secured(folder, port, *, trusted=CA, own=AGENT, **settings):
    certificate, private_key = own.stored(folder, "agent") if own is not None else (None, None)
    ca = folder / "ca.pem"
    ca.write_bytes(trusted.pem)
    url = f"modbus+tls://127.0.0.1:{port}"
    return source(url, ca=ca, certificate=certificate, private_key=private_key, timeout="2s", **settings)


def answers(folder, device, **settings):
    """The value that a secured source reads, or the error that it meets."""
    found = []

    async def run():
        bank = Bank()
        async with tcp(bank.answer, tls=device) as port:
            connector = modbus.Connector(secured(folder, port, **settings), points("1/holding:5"))
            try:
                await connector.connect()
                async for readings in connector.readings():
                    found.append(readings.value[0])
                    break
            finally:
                await connector.close()
                assert len(bank.requests) == len(found)  # not one byte of Modbus went where no trust was

    within(20, run)
    return found


def test_a_device_with_a_trusted_certificate_is_read_over_tls_and_sees_ours(tmp_path):
    assert answers(tmp_path, device_side(tmp_path)) == [5.0]


def test_a_device_s_own_certificate_may_be_trusted_without_its_issuer(tmp_path):
    assert answers(tmp_path, device_side(tmp_path), trusted=METER) == [5.0]


def test_a_device_of_another_name_is_refused_unless_the_config_names_it(tmp_path):
    other = leaf("other", CA, hosts=("meter7.plant.example",))
    with pytest.raises(SourceRefused, match=r"certificate is not trusted .*put the certificate"):
        answers(tmp_path, device_side(tmp_path, other))
    assert answers(tmp_path, device_side(tmp_path, other), server_name="meter7.plant.example") == [5.0]


def test_a_device_whose_issuer_is_a_stranger_is_refused(tmp_path):
    stranger = leaf("meter", authority("Another CA"))
    with pytest.raises(SourceRefused, match="not trusted"):
        answers(tmp_path, device_side(tmp_path, stranger))


def test_a_device_that_does_not_know_our_certificate_gets_no_request(tmp_path):
    with pytest.raises(SourceLost):
        answers(tmp_path, device_side(tmp_path, wants=authority("Another CA")))
    with pytest.raises(SourceLost):
        answers(tmp_path, device_side(tmp_path), own=None)


def test_a_device_that_offers_tls_1_1_alone_is_refused(tmp_path):
    old = device_side(tmp_path)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(SourceLost):
        answers(tmp_path, old)


def test_a_certificate_file_that_cannot_be_read_is_refused_by_name(tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    made = source("modbus+tls://127.0.0.1:1", ca=tmp_path / "ca.pem")
    with pytest.raises(SourceRefused, match="ca, certificate or private_key cannot be read"):
        within(5, modbus.Connector(made, points("1/holding:5")).connect)


@pytest.mark.parametrize("key", ["ca", "server_name", "certificate", "private_key"])
def test_tls_settings_of_a_source_without_tls_are_refused_lest_it_be_taken_for_encrypted(key):
    made = source("modbus+tcp://127.0.0.1:502", **{key: "meter.pem"})
    fault = modbus.check_source(made)
    assert fault is not None
    assert f"{key} belongs to modbus+tls:// URLs" in fault
    assert modbus.check_source(source("modbus+tcp://127.0.0.1:502")) is None


def test_a_server_without_tls_is_lost_with_a_reason(tmp_path):
    async def run():
        async with tcp(lambda unit, pdu: None) as port:
            connector = modbus.Connector(secured(tmp_path, port), points("1/holding:5"))
            with pytest.raises(SourceLost, match=r"no Modbus connection .*\(.+\)|within 2 s"):
                await connector.connect()
            await connector.close()

    within(20, run)
