"""The fast path under every security policy: chunked messages, keys that change, and no word of it readable."""

import pytest
from asyncua import ua

from config.plant import Point
from connectors import opcua
from connectors.base import SourceRefused
from connectors.opcua import session
from tests.certificates import authority, crl, leaf
from tests.servers import within
from tests.test_opcua_security import PASSWORD, USER, pki, server, source, wire

NODES = 3_000
SECURITIES = [
    f"{policy}/{mode}"
    for policy in ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
    for mode in ("Sign", "SignAndEncrypt")
]


async def with_variables(running) -> None:
    for n in range(NODES):
        await running.nodes.objects.add_variable(ua.NodeId(f"v{n}", 2), f"v{n}", float(n))


def points(**settings) -> list[Point]:
    return [Point(point=f"v{n}", asset="a", source="o", address=f"ns=2;s=v{n}", **settings) for n in range(NODES)]


async def all_values(stream) -> dict[int, float]:
    found: dict[int, float] = {}
    while len(found) < NODES:
        readings = await anext(stream)
        found |= zip(readings.points.tolist(), readings.value.tolist(), strict=True)
    return found


def test_thousands_of_values_come_in_chunks_under_every_policy(tmp_path):
    made = leaf()

    async def run() -> None:
        async with server(made) as (running, url):
            await with_variables(running)
            folder = pki(tmp_path, trusted=[made.der])
            for kind in SECURITIES:
                settings = source(url, folder, security=kind, period="20ms", user=USER, password=PASSWORD)
                connector = opcua.Connector(settings, points())
                await connector.connect()
                stream = connector.readings()
                for _ in range(2):
                    assert await all_values(stream) == {n: float(n) for n in range(NODES)}, kind
                await connector.close()

    within(100, run)


def test_a_channel_that_gets_new_keys_again_and_again_loses_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "RENEW_AT", 0.00002)  # of an hour: every 72 ms
    made = leaf()

    async def run() -> None:
        async with server(made) as (running, url), wire(url) as recorder:
            await with_variables(running)
            settings = source(
                recorder.url, pki(tmp_path, trusted=[made.der]), period="10ms", user=USER, password=PASSWORD
            )
            connector = opcua.Connector(settings, points())
            await connector.connect()
            stream = connector.readings()
            for _ in range(15):
                assert await all_values(stream) == {n: float(n) for n in range(NODES)}
            opened = bytes(recorder.sent).count(b"OPNF")
            await connector.close()
            assert opened > 5
            assert not recorder.holds(PASSWORD)
            assert b"v1700" not in recorder.sent  # five bytes, which no cipher text spells by chance

    within(60, run)


def test_a_certificate_that_is_revoked_while_the_connection_stands_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "RENEW_AT", 0.00002)
    root = authority("root")
    made = leaf(issuer=root)

    async def run() -> None:
        async with server(made) as (_, url):
            folder = pki(tmp_path, trusted=[root.der], crls=[crl(root)])
            connector = opcua.Connector(
                source(url, folder, period="10ms"), [Point(point="a", asset="a", source="o", address="ns=2;s=a")]
            )
            await connector.connect()
            stream = connector.readings()
            await anext(stream)
            (folder / "crl" / "crl0.bin").write_bytes(crl(root, made.certificate.serial_number))
            with pytest.raises(SourceRefused, match="revoked"):
                async for _ in stream:
                    pass
            await connector.close()
            with pytest.raises(SourceRefused, match="revoked"):
                await opcua.Connector(source(url, folder), []).connect()

    within(30, run)
