"""OPC UA security: real servers with certificates good and bad, and what went over the wire."""

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import logging
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asyncua import Server, ua
from asyncua.client.client import Client
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.security_policies import SecurityPolicyFactory
from asyncua.server.internal_server import InternalServer
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.plant import Source
from connectors.base import SourceLost, SourceRefused
from connectors.opcua import certificates, security
from tests import listening
from tests.certificates import DAY, LEAF_USAGE, SHA1_SIGNED, URI, Made, authority, crl, leaf, usage
from tests.servers import silent_server, within

USER, PASSWORD = "reader", "geheimes-Kennwort-7"
NOW = dt.datetime.now(dt.UTC)
OLD = {"begin": -9 * DAY, "end": -DAY}
BEST = "Basic256Sha256/SignAndEncrypt"
SIGN = "Basic256Sha256/Sign"
ALL = [kind for kind in ua.SecurityPolicyType if kind.name.startswith(("Basic256Sha256", "Aes128", "Aes256"))]


def pki(tmp_path: Path, trusted: list[bytes] = (), issuers: list[bytes] = (), crls: list[bytes] = ()) -> Path:
    """A pki folder with these files."""
    for folder, files in (("trusted", trusted), ("issuers", issuers), ("crl", crls), ("rejected", ())):
        (tmp_path / "pki" / folder).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(files):
            (tmp_path / "pki" / folder / f"{folder}{number}.bin").write_bytes(data)
    return tmp_path / "pki"


def source(url: str = "opc.tcp://127.0.0.1:4840", folder: Path = Path("pki"), **settings) -> Source:
    return Source(id="o", kind="opcua", url=url, timeout="5s", pki=folder, **({"security": BEST} | settings))


def user(**settings) -> dict:
    return {"user": USER, "password": PASSWORD} | settings


class Users:
    """Admits one user name, one certificate, and, where told so, nobody else."""

    def __init__(self, certificate: bytes = b"") -> None:
        self._certificate = certificate

    def get_user(self, iserver, username=None, password=None, certificate=None):
        if username is None and self._certificate and certificate != self._certificate:
            return None
        if username is not None and (username, password) != (USER, PASSWORD):
            return None
        return User(role=UserRole.User)


@contextlib.asynccontextmanager
async def server(made: Made, *, policies=ALL, tokens=None, certificate_user=b"", uri=URI, port=0):
    """A server with this certificate, whatever its faults, and a variable `ns=2;s=a`; yields it and its URL."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    running = Server(InternalServer(user_manager=Users(certificate_user)))
    running.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    running.set_security_policy(policies)
    if tokens is not None:
        running.set_identity_tokens(tokens)
    await running.init()
    await running.set_application_uri(uri)
    running.iserver.certificate, running.iserver.private_key = made.certificate, made.key
    await running.register_namespace("urn:test")
    await running.nodes.objects.add_variable(ua.NodeId("a", 2), "a", 1.5)
    await running.start()
    try:
        yield running, f"opc.tcp://127.0.0.1:{running.bserver.port}"
    finally:
        await running.stop()


class Wire:
    """Stands between client and server, and keeps what it passes on."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._tasks: list[asyncio.Task] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.sent, self.answered = bytearray(), bytearray()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, up_writer]
        self._tasks.append(asyncio.current_task())
        await asyncio.gather(self.copy(reader, up_writer, self.sent), self.copy(up_reader, writer, self.answered))

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                kept += data
                writer.write(data)
                await writer.drain()
        writer.close()

    def holds(self, secret: str) -> bool:
        raw = secret.encode()
        forms = (raw, secret.encode("utf-16-le"), secret.encode("utf-16-be"), base64.b64encode(raw).rstrip(b"="))
        return any(form in data for form in forms for data in (self.sent, self.answered))

    @property
    def secured(self) -> bool:
        """Whether the client asked for a channel with security."""
        return b"SecurityPolicy#Basic256Sha256" in self.sent

    async def finish(self) -> None:
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks, *(w.wait_closed() for w in self._writers), return_exceptions=True)


@contextlib.asynccontextmanager
async def wire(url: str):
    """Record what goes to a server and back; its `url` leads through it."""
    recorder = Wire(url)
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.url = f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield recorder
    finally:
        await listening.close(server)
        await recorder.finish()


@contextlib.asynccontextmanager
async def session(settings: Source, change=lambda created: created):
    """The steps of a connection; `change` is what a device between does to CreateSession's answer."""
    client = Client(settings.url, timeout=5)
    try:
        secured = await security.secure(client, settings)
        with security.refusals(settings):
            await client.connect_socket()
            await client.send_hello()
            await client.open_secure_channel()
            created = change(await client.create_session())
        await security.activate(client, settings, secured, created)
        yield client, secured
    finally:
        with contextlib.suppress(ConnectionError):
            await client.disconnect()


async def value(settings: Source) -> float:
    async with session(settings) as (client, _):
        return await client.get_node("ns=2;s=a").read_value()


async def refusal(settings: Source, **how) -> str:
    """What the connection is refused with."""
    with pytest.raises(SourceRefused) as refused:
        async with session(settings, **how):
            pass
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def checked(made: Made, folder: Path, *chain: Made, uri: str = URI, host: str = "127.0.0.1") -> list[str]:
    return certificates.check_server(b"".join(m.der for m in (made, *chain)), folder, uri, host, NOW)


def fails(made: Made, folder: Path, *chain: Made, **settings) -> str:
    with pytest.raises(SourceRefused) as refused:
        checked(made, folder, *chain, **settings)
    return str(refused.value)


# --- settings ---


@pytest.mark.parametrize("policy", security.POLICIES)
@pytest.mark.parametrize("mode", security.MODES)
def test_each_policy_and_mode_is_good(policy, mode):
    assert security.fault(source(security=f"{policy}/{mode}")) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"security": ""}, ["security is not set", "None", BEST]),
        ({"security": "none"}, ["'none'", "did you mean 'None'?"]),
        ({"security": "basic256sha256/signandencrypt"}, [f"did you mean '{BEST}'?"]),
        ({"security": "Aes128Sha256RsaOaep/Sign"}, ["did you mean 'Aes128_Sha256_RsaOaep/Sign'?"]),
        ({"security": "Basic256Sha256"}, ['no mode ""', '"Basic256Sha256/SignAndEncrypt"']),
        ({"security": "Basic256Sha256/None"}, ['no mode "None"']),
        ({"security": "Basic256/Sign"}, ["Basic256 is broken", BEST]),
        ({"security": "Basic128Rsa15/SignAndEncrypt"}, ["Basic128Rsa15 is broken"]),
        ({"security": "TLS 1.3"}, ["'TLS 1.3' is unknown", "write one of None"]),
        ({"security": "None", "user": "u", "password": PASSWORD}, ["'u'", "readable on the wire", BEST]),
        ({"security": "None", "user_certificate": "u.der", "user_key": "u.key"}, ["u.der", "unproven"]),
        ({"password": PASSWORD}, ["password without user"]),
        ({"user": ""}, ["'' is empty", "leave the line out"]),
        ({"user": "  ", "password": PASSWORD}, ["'  ' is empty"]),
        ({"user": "u", "user_certificate": "u.der", "user_key": "u.key"}, ["'u'", "one user"]),
        ({"certificate": "a.der"}, ["'a.der' without private_key"]),
        ({"private_key": "a.key"}, ["'a.key' without certificate"]),
        ({"user_certificate": "u.der"}, ["'u.der' without user_key"]),
        ({"user_key": "u.key"}, ["'u.key' without user_certificate"]),
        ({"url": f"opc.tcp://u:{PASSWORD}@h:4840"}, ["url", "write user and password"]),
    ],
)
def test_a_bad_setting_is_named_with_the_next_step_and_never_the_password(settings, words):
    settings = dict(settings)
    fault = security.fault(source(settings.pop("url", "opc.tcp://h:4840"), **settings))
    assert all(word in fault for word in words), fault
    assert PASSWORD not in fault


@pytest.mark.parametrize(
    "settings",
    [
        {"security": "None"},
        {"user": "u"},
        {"user": "u", "password": "p"},
        {"user_certificate": "missing.der", "user_key": "missing.key"},
        {"certificate": "missing.der", "private_key": "missing.key"},
    ],
)
def test_good_settings_are_no_fault_though_no_file_is_there(settings):
    assert security.fault(source(**settings)) is None


def test_a_bad_setting_is_refused_before_any_socket(tmp_path):
    async def run() -> None:
        assert "readable on the wire" in await refusal(source("opc.tcp://127.0.0.1:1", security="None", **user()))

    within(5, run)


# --- good connections ---


@pytest.mark.parametrize("mode", security.MODES)
@pytest.mark.parametrize("policy", security.POLICIES)
def test_each_policy_and_mode_connects_and_reads(tmp_path, policy, mode):
    made = leaf()

    async def run() -> None:
        async with server(made) as (_, url), wire(url) as seen:
            folder = pki(tmp_path, [made.der])
            settings = source(seen.url, folder, security=f"{policy}/{mode}", **user())
            assert await value(settings) == 1.5
            assert not seen.holds(PASSWORD)
            async with session(source(url, folder, security=f"{policy}/{mode}")) as (client, secured):
                assert await client.get_node("ns=2;s=a").read_value() == 1.5
                assert secured.warnings == ()
                assert secured.endpoint.SecurityPolicyUri.endswith(f"#{policy}")
                assert client.application_uri == certificates.application_uri()

    within(30, run)


def test_none_connects_without_a_pki_folder(tmp_path):
    async def run() -> None:
        async with server(leaf(), policies=[ua.SecurityPolicyType.NoSecurity]) as (_, url):
            assert await value(source(url, tmp_path / "pki", security="None")) == 1.5

    within(30, run)
    assert not list(tmp_path.iterdir())


def test_a_certificate_in_pem_is_trusted_as_well(tmp_path):
    made = leaf()
    assert checked(made, pki(tmp_path, [leaf("other").pem + made.pem])) == []


# --- the own certificate ---


def test_the_own_certificate_is_made_once_and_kept_from_others(tmp_path):
    folder = tmp_path / "pki"
    first = certificates.own_pair(source(folder=folder), NOW)
    assert certificates.own_pair(source(folder=folder), NOW).certificate == first.certificate
    assert stat.S_IMODE((folder / "own" / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "own").stat().st_mode) == 0o700
    assert sorted(p.name for p in folder.iterdir()) == ["crl", "issuers", "own", "rejected", "trusted"]


def test_the_own_certificate_holds_what_opc_ua_wants(tmp_path):
    made = certificates.own_pair(source(folder=tmp_path / "pki"), NOW).certificate
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    host = certificates.host_name()
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:{host}:plantproof"]
    assert names.get_values_for_type(x509.DNSName) == [host]
    assert made.extensions.get_extension_for_class(x509.KeyUsage).value == LEAF_USAGE
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert made.public_key().key_size == 2048
    assert made.signature_hash_algorithm.name == "sha256"
    assert 5 * 365 <= (made.not_valid_after_utc - NOW).days <= 5 * 366
    made.verify_directly_issued_by(made)


@pytest.mark.parametrize("host", ["x" * 200, "werk_1", "压机", ""])
def test_a_strange_host_name_makes_a_certificate_all_the_same(tmp_path, monkeypatch, host):
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    made = certificates.own_pair(source(folder=tmp_path / "pki"), NOW).certificate
    assert certificates.own_uris(made) == [certificates.application_uri()]


def test_eight_that_start_at_once_agree_on_one_own_certificate(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(lambda _: certificates.own_pair(source(folder=tmp_path / "pki"), NOW), range(8)))
    assert len({certificates.thumbprint(pair.certificate) for pair in pairs}) == 1
    assert not list((tmp_path / "pki").glob(".own-*"))


def test_a_crash_while_it_is_made_leaves_nothing_behind(tmp_path, monkeypatch):
    def crash(path: Path) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(certificates, "_sync", crash)
        with pytest.raises(SourceRefused, match="no space left"):
            certificates.own_pair(source(folder=tmp_path / "pki"), NOW)
    assert not (tmp_path / "pki" / "own").exists()
    assert certificates.own_pair(source(folder=tmp_path / "pki"), NOW)


def test_the_plants_own_pair_is_used_and_its_uri_sent(tmp_path):
    made, own = leaf(), leaf("agent", uris=["urn:plant:gateway-7"])
    certificate, key = own.stored(tmp_path, "agent")

    async def run() -> None:
        async with server(made) as (_, url):
            folder = pki(tmp_path, [made.der])
            settings = source(url, folder, certificate=certificate, private_key=key)
            async with session(settings) as (client, _):
                assert client.application_uri == "urn:plant:gateway-7"
                assert client.security_policy.host_certificate == own.der
            assert not (folder / "own").exists()

    within(30, run)


def test_what_is_wrong_with_an_own_pair_is_said(tmp_path):
    own, other = leaf("agent"), leaf("other")
    certificate, key = own.stored(tmp_path, "agent")
    other_key = other.stored(tmp_path, "other")[1]
    expired = leaf("agent", **OLD).stored(tmp_path, "expired")
    nameless = leaf("agent", san=False).stored(tmp_path, "nameless")
    short = leaf("agent", bits=1024, key_name="short").stored(tmp_path, "short")
    locked = tmp_path / "locked.key"
    locked.write_bytes(_locked(own))
    for pair, words in (
        ((certificate, other_key), "is not the private key of"),
        ((certificate, locked), "has a pass phrase"),
        ((certificate, tmp_path / "none.key"), "cannot be read"),
        ((tmp_path / "none.der", key), "none.der is no readable certificate"),
        ((certificate, certificate), "is no private key"),
        (expired, "expired on"),
        (nameless, "names no application URI"),
        (short, "1024 bits"),
    ):
        settings = source(folder=tmp_path / "pki", certificate=pair[0], private_key=pair[1])
        with pytest.raises(SourceRefused, match=words):
            certificates.own_pair(settings, NOW)


def _locked(made: Made) -> bytes:
    locked = serialization.BestAvailableEncryption(b"x")
    return made.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def test_none_is_made_before_the_clock_is_set(tmp_path):
    with pytest.raises(SourceLost, match="the clock shows 1970-01-01"):
        certificates.own_pair(source(folder=tmp_path / "pki"), dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    assert not (tmp_path / "pki" / "own").exists()


def test_an_expired_user_certificate_is_refused_before_any_socket(tmp_path):
    certificate, key = leaf("person", **OLD).stored(tmp_path, "person")
    settings = source("opc.tcp://127.0.0.1:1", tmp_path / "pki", user_certificate=certificate, user_key=key)

    async def run() -> None:
        assert "the user's certificate cannot serve: it expired on" in await refusal(settings)

    within(10, run)


def test_half_an_own_pair_is_an_error_and_is_not_made_anew(tmp_path):
    (tmp_path / "pki" / "own").mkdir(parents=True)
    (tmp_path / "pki" / "own" / "key.pem").write_bytes(leaf("agent").key_bytes())
    with pytest.raises(SourceRefused, match=r"cert\.der is no readable certificate"):
        certificates.own_pair(source(folder=tmp_path / "pki"), NOW)


# --- bad certificates of a server ---

CA = authority("plant ca")
REVOKED = leaf(issuer=CA)
BAD = {
    "unknown": (leaf(), {}, "it is not trusted"),
    "expired": (leaf(**OLD), {"trust": True}, "it expired on"),
    "not yet valid": (leaf(begin=DAY), {"trust": True}, "it is not yet valid"),
    "wrong URI": (leaf(uris=["urn:other"]), {"trust": True}, "its application URI 'urn:other' is not"),
    "wrong host": (leaf(hosts=["10.1.1.1", "plc7"]), {"trust": True}, "its hosts 'plc7', '10.1.1.1' are not"),
    "revoked": (
        REVOKED,
        {"trusted": [CA.pem], "crls": [crl(CA, REVOKED.certificate.serial_number)]},
        "is revoked since",
    ),
    "wrong usage": (leaf(key_usage=usage("digital_signature")), {"trust": True}, "its usage lacks keyEncipherment"),
}


@pytest.mark.parametrize("which", BAD)
def test_a_bad_certificate_is_refused_and_nothing_more_is_sent(tmp_path, which):
    made, files, words = BAD[which]
    files = dict(files)
    if files.pop("trust", False):
        files["trusted"] = [made.der]

    async def run() -> None:
        async with server(made) as (_, url), wire(url) as seen:
            text = await refusal(source(seen.url, pki(tmp_path, **files), **user()))
            assert words in text
            assert f"CN=server (SHA-1 {certificates.thumbprint(made.certificate)})" in text
            assert not seen.holds(PASSWORD)
            assert not seen.secured
            assert USER.encode() not in seen.sent

    within(30, run)


def swap(monkeypatch, other: Made) -> None:
    """Let the server answer CreateSession with another certificate than GetEndpoints."""
    create = SecurityPolicyFactory.create

    def swapped(self, peer):
        policy = create(self, peer)
        if policy.host_certificate:
            policy.host_certificate = other.der
        return policy

    monkeypatch.setattr(SecurityPolicyFactory, "create", swapped)


def test_a_swapped_certificate_is_refused_before_the_password(tmp_path, monkeypatch):
    made = leaf()
    swap(monkeypatch, leaf("other"))

    async def run() -> None:
        async with server(made) as (_, url), wire(url) as seen:
            for name in (BEST, SIGN):
                text = await refusal(source(seen.url, pki(tmp_path, [made.der]), security=name, **user()))
                assert text.startswith("swapped: ")
            assert seen.secured
            assert not seen.holds(PASSWORD)
            assert USER.encode() not in seen.sent

    within(30, run)


def test_an_impostor_who_shows_a_trusted_certificate_without_its_key_gets_no_session(tmp_path):
    made = leaf()

    async def run() -> None:
        async with server(Made(made.certificate, leaf("other").key)) as (_, url), wire(url) as seen:
            settings = source(seen.url, pki(tmp_path, [made.der]), **user())
            client = Client(settings.url, timeout=0.5)
            await security.secure(client, settings)
            await client.connect_socket()
            await client.send_hello()
            with pytest.raises((TimeoutError, ConnectionError)):
                await client.open_secure_channel()
            client.disconnect_socket()
            assert USER.encode() not in seen.sent
            assert not seen.holds(PASSWORD)

    within(30, run)


def _endpoints(change):
    def changed(created: ua.CreateSessionResult) -> ua.CreateSessionResult:
        return dataclasses.replace(created, ServerEndpoints=[change(e) for e in created.ServerEndpoints])

    return changed


def _no_policy(endpoint: ua.EndpointDescription) -> ua.EndpointDescription:
    tokens = [dataclasses.replace(t, SecurityPolicyUri="") for t in endpoint.UserIdentityTokens]
    return dataclasses.replace(endpoint, UserIdentityTokens=tokens)


@pytest.mark.parametrize(
    ("change", "is_good"),
    [
        (lambda created: dataclasses.replace(created, ServerCertificate=leaf("other").der), False),
        (lambda created: dataclasses.replace(created, ServerCertificate=None), False),
        (lambda created: dataclasses.replace(created, ServerNonce=b"short"), False),
        (lambda created: dataclasses.replace(created, ServerEndpoints=[]), False),
        (_endpoints(lambda e: dataclasses.replace(e, ServerCertificate=leaf("other").der)), False),
        (_endpoints(lambda e: dataclasses.replace(e, SecurityMode=ua.MessageSecurityMode.None_)), False),
        (_endpoints(lambda e: dataclasses.replace(e, Server=ua.ApplicationDescription(ApplicationUri="urn:x"))), False),
        (_endpoints(_no_policy), False),
        # What OPC 10000-4 lets a server leave out there.
        (
            _endpoints(lambda e: dataclasses.replace(e, ServerCertificate=None, Server=ua.ApplicationDescription())),
            True,
        ),
        (lambda created: dataclasses.replace(created, ServerCertificate=created.ServerCertificate + CA.der), True),
    ],
)
def test_a_session_must_show_what_was_chosen_from(tmp_path, change, is_good):
    made = leaf()

    async def run() -> None:
        async with server(made) as (_, url), wire(url) as seen:
            settings = source(seen.url, pki(tmp_path, [made.der]), security=SIGN, **user())
            if is_good:
                async with session(settings, change):
                    pass
            else:
                await refusal(settings, change=change)
                assert USER.encode() not in seen.sent
            assert not seen.holds(PASSWORD)

    within(30, run)


def test_all_faults_of_a_certificate_are_told_at_once(tmp_path):
    text = fails(leaf(**OLD, uris=["urn:x"], hosts=["plc7"]), pki(tmp_path))
    for words in ("not trusted", "expired", "application URI", "hosts"):
        assert words in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"key_usage": usage("key_encipherment", "data_encipherment")}, "lacks digitalSignature (KeyUsage)"),
        ({"key_usage": usage("digital_signature", "key_encipherment")}, "lacks dataEncipherment (KeyUsage)"),
        ({"extended": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])}, "lacks serverAuth"),
        ({"san": False}, "no SubjectAlternativeName"),
        ({"bits": 1024, "key_name": "short"}, "its RSA key has 1024 bits"),
        ({"hosts": ["localhost"]}, "'localhost' are not the url's, '127.0.0.1'"),
        ({"hosts": []}, "its hosts (none)"),
        ({"uris": []}, "its application URI (none)"),
    ],
)
def test_a_trusted_certificate_must_still_keep_the_rules(tmp_path, settings, words):
    made = leaf(**settings)
    assert words in fails(made, pki(tmp_path, [made.der]))


def test_a_certificate_without_usages_or_with_a_weak_signature(tmp_path):
    bare = leaf(key_usage=None, extended=None)
    weak = x509.load_pem_x509_certificate(SHA1_SIGNED)
    folder = pki(tmp_path, [bare.der, SHA1_SIGNED])
    assert checked(bare, folder) == []
    assert "signed with sha1" in fails(Made(weak, bare.key), folder)


def test_a_host_is_found_by_name_in_any_case_and_by_address_in_any_form(tmp_path):
    made = leaf(hosts=["PLC7.plant.example", "fe80::1"])
    folder = pki(tmp_path, [made.der])
    for host in ("plc7.PLANT.example", "plc7.plant.example.", "fe80:0::1"):
        assert checked(made, folder, host=host) == []
    assert "hosts" in fails(made, folder, host="plc7")


def test_a_servers_own_uri_must_not_be_empty(tmp_path):
    made = leaf(uris=[""])
    assert "application URI" in fails(made, pki(tmp_path, [made.der]), uri="")


@pytest.mark.parametrize("data", [b"", b"x", b"\x30\x82\x01\x00", b"\x30\x82\x00\x00" * 9, leaf().der[:-1]])
def test_what_is_no_certificate_is_refused(tmp_path, data):
    with pytest.raises(SourceRefused, match="cannot be read"):
        certificates.check_server(data, pki(tmp_path), URI, "127.0.0.1", NOW)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_flipped_byte_passes_or_crashes(tmp_path):
    made = leaf(issuer=CA)
    folder = pki(tmp_path, [CA.der])
    assert checked(made, folder) == []
    for position in range(0, len(made.der), 3):
        data = bytearray(made.der)
        data[position] ^= 1 << position % 8
        with pytest.raises(SourceRefused):
            certificates.check_server(bytes(data), folder, URI, "127.0.0.1", NOW)


# --- the trust list ---


def test_the_rejected_file_moved_to_trusted_makes_the_next_connection_work(tmp_path):
    made = leaf()

    async def run() -> None:
        async with server(made) as (_, url):
            settings = source(url, pki(tmp_path))
            text = await refusal(settings)
            (rejected,) = (tmp_path / "pki" / "rejected").iterdir()
            assert rejected.name == f"server [{certificates.thumbprint(made.certificate)}].der"
            assert str(rejected) in text
            await refusal(settings)
            rejected.rename(tmp_path / "pki" / "trusted" / rejected.name)
            assert await value(settings) == 1.5
            assert not list((tmp_path / "pki" / "rejected").iterdir())

    within(30, run)


@pytest.mark.parametrize(
    "common", ["../../x", "/etc/passwd", "..", " . ", "a\nb\x1b[31m", "压机" * 10, "x" * 64, "*?[a]"]
)
def test_a_hostile_subject_names_a_file_in_rejected_and_nothing_else(tmp_path, common):
    folder = pki(tmp_path)
    text = fails(leaf(common, key_name="server"), folder)
    assert text.isprintable()
    (kept,) = (folder / "rejected").iterdir()
    assert kept.suffix == ".der"
    assert kept.name.isprintable()
    assert {p.name for p in tmp_path.iterdir()} == {"pki"}
    assert {p.name for p in folder.iterdir()} == {"crl", "issuers", "rejected", "trusted"}


def test_rejected_keeps_a_hundred_and_leaves_other_files_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "REJECTED", 3)
    folder = pki(tmp_path)
    (folder / "rejected" / "note.txt").write_text("mine")
    for number in range(5):
        fails(leaf(f"s{number}", key_name="server"), folder)
    kept = sorted(p.name.split(" ")[0] for p in (folder / "rejected").iterdir())
    assert kept == ["note.txt", "s2", "s3", "s4"]


@pytest.mark.parametrize("where", ["trusted", "issuers", "crl"])
def test_an_unreadable_file_is_named(tmp_path, where):
    made = leaf()
    folder = pki(tmp_path, [made.der])
    (folder / where / ".gitkeep").write_text("")
    assert checked(made, folder) == []
    (folder / where / "notes.txt").write_text("call Li")
    assert f"{where}/notes.txt is no readable" in fails(made, folder)


def test_a_folder_among_the_trusted_is_named(tmp_path):
    folder = pki(tmp_path)
    (folder / "trusted" / "certs").mkdir()
    assert "trusted/certs is no readable certificate" in fails(leaf(), folder)


def test_an_authority_is_trusted_through_issuers_and_revokes(tmp_path):
    between = authority("line ca", CA)
    made = leaf(issuer=between)

    async def run() -> None:
        async with server(made) as (_, url), wire(url) as seen:
            folder = pki(tmp_path, [CA.pem], [between.der])
            assert await value(source(seen.url, folder, **user())) == 1.5
            (folder / "crl" / "line.crl").write_bytes(crl(between, made.certificate.serial_number))
            assert "is revoked since" in await refusal(source(seen.url, folder, **user()))

    within(30, run)


def test_a_chain_may_come_from_the_server_but_never_its_end(tmp_path):
    between = authority("line ca", CA)
    made = leaf(issuer=between)
    assert checked(made, pki(tmp_path, [CA.der]), between) == []
    assert "not trusted" in fails(made, pki(tmp_path / "empty"), between, CA)
    assert "not trusted" in fails(made, pki(tmp_path / "issuers", [], [between.der, CA.der]), between, CA)
    assert "not trusted" in fails(made, pki(tmp_path / "gap", [CA.der]))


@pytest.mark.parametrize(
    "pretender",
    [
        authority("line ca", CA, is_ca=False),
        authority("line ca", CA, key_usage=usage("digital_signature")),
        authority("line ca", CA, **OLD),
        authority("line ca", authority("plant ca", key_name="forged")),
        leaf("line ca", CA, key_name="line ca"),
    ],
    ids=["no authority", "may not sign", "expired", "signed by a namesake", "a leaf"],
)
def test_what_is_no_authority_makes_nobody_trusted(tmp_path, pretender):
    made = leaf(issuer=pretender)
    folder = pki(tmp_path, [CA.der], [pretender.der])
    assert "not trusted" in fails(made, folder)


def test_a_path_length_is_kept(tmp_path):
    root = authority("short ca", path_length=0)
    between = authority("line ca", root)
    assert checked(leaf(issuer=root), pki(tmp_path, [root.der])) == []
    assert "not trusted" in fails(leaf(issuer=between), pki(tmp_path / "2", [root.der], [between.der]))


def test_a_chain_may_be_long_but_not_endless(tmp_path):
    chain = [CA]
    for number in range(certificates.DEPTH + 1):
        chain.append(authority(f"ca {number}", chain[-1], key_name="between"))
    folder = pki(tmp_path, [CA.der], [between.der for between in chain[1:]])
    assert checked(leaf(issuer=chain[certificates.DEPTH]), folder) == []
    assert "not trusted" in fails(leaf(issuer=chain[certificates.DEPTH + 1]), folder)


def test_an_authority_between_must_be_strongly_signed_and_a_trusted_one_is_taken_as_it_is(tmp_path):
    weak = x509.load_pem_x509_certificate(SHA1_SIGNED)
    between = certificates.Trust(tmp_path, (), (weak,), ()).authority_faults(weak, 0, NOW)
    anchor = certificates.Trust(tmp_path, (weak,), (), ()).authority_faults(weak, 0, NOW)
    assert [text for text in between if text not in anchor] == [
        "it is signed with sha1 and needs SHA-256 or better; a new one is needed"
    ]


def test_a_trusted_leaf_is_no_authority_for_others(tmp_path):
    trusted = leaf("server a")
    assert "not trusted" in fails(leaf("server b", issuer=trusted), pki(tmp_path, [trusted.der]))


def test_an_expired_authority_is_told(tmp_path):
    old = authority("old ca", **OLD)
    text = fails(leaf(issuer=old), pki(tmp_path, [old.der]))
    assert "CN=old ca" in text
    assert "expired" in text


def test_a_directly_trusted_certificate_can_be_revoked(tmp_path):
    made = leaf(issuer=CA)
    files = {"trusted": [made.der], "crls": [crl(CA, made.certificate.serial_number)]}
    assert "is revoked" in fails(made, pki(tmp_path, issuers=[CA.der], **files))
    # Nobody can say whether the list is true: it is not passed over.
    assert "cannot be checked" in fails(made, pki(tmp_path / "2", **files))
    # And a namesake that the server sends along does not help.
    assert "cannot be checked" in fails(made, pki(tmp_path / "2", **files), authority("plant ca", key_name="forged"))


def test_an_authority_between_can_be_revoked(tmp_path):
    between = authority("line ca", CA)
    made = leaf(issuer=between)
    revoking = crl(CA, between.certificate.serial_number)
    assert "CN=line ca" in fails(made, pki(tmp_path, [CA.der], [between.der], [revoking]))


def test_another_authoritys_list_does_not_revoke(tmp_path):
    other, made = authority("other ca"), leaf(issuer=CA)
    serial = made.certificate.serial_number
    folder = pki(tmp_path, [CA.der, other.der], crls=[crl(other, serial), crl(CA, serial + 1)])
    assert checked(made, folder) == []


def test_a_list_that_only_bears_the_name_does_not_revoke_and_is_told(tmp_path):
    made, forger = leaf(issuer=CA), authority("plant ca", key_name="forged")
    forged = crl(CA, made.certificate.serial_number, signer=forger)
    (warning,) = checked(made, pki(tmp_path, [CA.der], crls=[forged]))
    assert "not its signature" in warning


def test_an_old_list_still_revokes_and_asks_for_a_new_one(tmp_path):
    made = leaf(issuer=CA)
    (warning,) = checked(made, pki(tmp_path, [CA.der], crls=[crl(CA, next_update=-DAY)]))
    assert "was to be renewed" in warning
    old = crl(CA, made.certificate.serial_number, next_update=-DAY)
    assert "is revoked" in fails(made, pki(tmp_path / "2", [CA.der], crls=[old]))


def test_a_rotated_certificate_is_refused_until_it_is_trusted(tmp_path):
    first, second = leaf(), leaf(key_name="next")

    async def run() -> None:
        folder = pki(tmp_path, [first.der])
        async with server(first) as (running, url):
            port = running.bserver.port
            assert await value(source(url, folder, **user())) == 1.5
        async with server(second, port=port) as (_, url), wire(url) as seen:
            assert "not trusted" in await refusal(source(seen.url, folder, **user()))
            assert not seen.holds(PASSWORD)
            (folder / "trusted" / "next.der").write_bytes(second.der)
            assert await value(source(url, folder, **user())) == 1.5

    within(30, run)


def test_an_end_within_thirty_days_is_told_for_all_certificates(tmp_path):
    end = 10 * DAY + dt.timedelta(hours=1)
    made = leaf(end=end)
    certificate, key = leaf("agent", end=end).stored(tmp_path, "agent")
    user_certificate, user_key = leaf("person", end=end).stored(tmp_path, "person")

    async def run() -> None:
        async with server(made) as (_, url):
            own = {"certificate": certificate, "private_key": key}
            own |= {"user_certificate": user_certificate, "user_key": user_key}
            async with session(source(url, pki(tmp_path, [made.der]), **own)) as (_, secured):
                server_text, own_text, user_text = secured.warnings
                assert server_text.startswith("the server's certificate CN=server")
                assert "agent.pem" in own_text
                assert "person.pem" in user_text
                day = (dt.datetime.now(dt.UTC) + end).date()
                assert all(text.endswith(f"expires on {day}, in 10 days") for text in secured.warnings)

    within(30, run)


@pytest.mark.parametrize(("days", "told"), [(29, True), (30, False)])
def test_the_warning_begins_thirty_days_ahead(tmp_path, days, told):
    made = leaf(end=dt.timedelta(days=days, hours=1))
    assert bool(checked(made, pki(tmp_path, [made.der]))) == told


# --- the user ---


def test_a_wrong_password_is_refused_and_the_user_named(tmp_path):
    made = leaf()

    async def run() -> None:
        async with server(made) as (_, url):
            settings = source(url, pki(tmp_path, [made.der]), user=USER, password="wrong-one")
            text = await refusal(settings)
            assert "BadUserAccessDenied" in text
            assert f"does not admit user '{USER}'" in text
            assert "wrong-one" not in text

    within(30, run)


def _strip_token_policies(running: Server, uri: str) -> None:
    for endpoint in running.iserver.endpoints:
        for token in endpoint.UserIdentityTokens:
            token.SecurityPolicyUri = uri


@pytest.mark.parametrize("name", ["None", "Basic128Rsa15"])
def test_a_password_is_not_sent_where_it_could_be_read(tmp_path, name):
    made = leaf()

    async def run() -> None:
        async with server(made) as (running, url), wire(url) as seen:
            _strip_token_policies(running, f"http://opcfoundation.org/UA/SecurityPolicy#{name}")
            text = await refusal(source(seen.url, pki(tmp_path, [made.der]), security=SIGN, **user()))
            assert "readable on the wire" in text
            assert name in text
            assert not seen.holds(PASSWORD)
            assert USER.encode() not in seen.sent

    within(30, run)


def test_of_two_token_policies_the_encrypted_one_is_taken(tmp_path):
    made = leaf()

    async def run() -> None:
        async with server(made) as (running, url), wire(url) as seen:
            for endpoint in running.iserver.endpoints:
                clear = dataclasses.replace(
                    endpoint.UserIdentityTokens[-1], PolicyId="clear", SecurityPolicyUri=security._NO_POLICY
                )
                endpoint.UserIdentityTokens = [clear, *endpoint.UserIdentityTokens]
            assert await value(source(seen.url, pki(tmp_path, [made.der]), security=SIGN, **user())) == 1.5
            assert not seen.holds(PASSWORD)

    within(30, run)


@pytest.mark.parametrize("name", [BEST, SIGN, "Aes256_Sha256_RsaPss/Sign"])
def test_a_certificate_user_logs_in_and_another_does_not(tmp_path, name):
    made, person = leaf(), leaf("person")
    certificate, key = person.stored(tmp_path, "person")
    other_certificate, other_key = leaf("somebody").stored(tmp_path, "somebody")

    async def run() -> None:
        async with server(made, certificate_user=person.der, tokens=[ua.X509IdentityToken]) as (_, url):
            folder = pki(tmp_path, [made.der])
            good = source(url, folder, security=name, user_certificate=certificate, user_key=key)
            assert await value(good) == 1.5
            bad = good.model_copy(update={"user_certificate": other_certificate, "user_key": other_key})
            assert "does not admit the certificate user" in await refusal(bad)

    within(30, run)


def test_a_certificate_user_proves_nothing_without_a_token_policy(tmp_path):
    made = leaf()
    certificate, key = leaf("person").stored(tmp_path, "person")

    async def run() -> None:
        async with server(made) as (running, url):
            _strip_token_policies(running, security._NO_POLICY)
            settings = source(url, pki(tmp_path, [made.der]), user_certificate=certificate, user_key=key)
            assert "without a proof" in await refusal(settings)

    within(30, run)


@pytest.mark.parametrize(
    ("tokens", "settings", "words"),
    [
        ([ua.AnonymousIdentityToken], user(), "admits no user name, but anonymous reader"),
        ([ua.UserNameIdentityToken], {}, "does not admit anonymous readers, but user name"),
    ],
)
def test_a_user_that_the_server_does_not_admit_is_refused_before_sending(tmp_path, tokens, settings, words):
    made = leaf()

    async def run() -> None:
        async with server(made, tokens=tokens) as (_, url), wire(url) as seen:
            assert words in await refusal(source(seen.url, pki(tmp_path, [made.der]), security=SIGN, **settings))
            assert ua.NodeId(ua.ObjectIds.ActivateSessionRequest_Encoding_DefaultBinary).Identifier == 467
            assert b"\x01\x00\xd3\x01" not in seen.sent  # the number 467 as a node id: never sent
            assert b"\x01\x00\xcd\x01" in seen.sent  # 461, CreateSession, was

    within(30, run)


def test_a_password_too_long_for_the_key_is_refused_without_a_word_of_it(tmp_path):
    made = leaf()

    async def run() -> None:
        async with server(made) as (_, url):
            long = source(url, pki(tmp_path, [made.der]), security=SIGN, user=USER, password=PASSWORD * 20)
            assert "too long" in await refusal(long)

    within(30, run)


def test_no_log_at_any_level_holds_the_password(tmp_path, caplog):
    made = leaf()

    async def run() -> None:
        async with server(made) as (_, url):
            logging.getLogger("asyncua").setLevel(logging.DEBUG)
            for name in (BEST, SIGN):
                assert await value(source(url, pki(tmp_path, [made.der]), security=name, **user())) == 1.5
            await refusal(source(url, tmp_path / "none", **user()))

    with caplog.at_level(logging.DEBUG):
        within(30, run)
    clients = [record.getMessage() for record in caplog.records if "server" not in record.name]
    assert clients
    assert not [text for text in clients if PASSWORD in text]


# --- what a server offers and objects to ---


def test_a_policy_that_the_server_lacks_is_refused_with_what_it_offers(tmp_path):
    made = leaf()
    offered = [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_Sign]

    async def run() -> None:
        async with server(made, policies=offered) as (_, url):
            text = await refusal(source(url, pki(tmp_path, [made.der])))
            assert "does not offer it, but Basic256Sha256/Sign, None;" in text

    within(30, run)


def test_discovery_leaves_no_trace_in_the_connection_that_follows(tmp_path, monkeypatch):
    made = leaf()

    async def run() -> None:
        async with server(made) as (_, url):
            client = Client(url, timeout=5)
            lifetime, ask, listeners = client.secure_channel_timeout, client.get_endpoints, []

            async def asked():
                client.secure_channel_timeout = 1  # what the server may have made of it
                listeners.append(client.uaclient.protocol.on_connection_lost)
                return await ask()

            monkeypatch.setattr(client, "get_endpoints", asked)
            await security.secure(client, source(url, pki(tmp_path, [made.der])))
            assert client.secure_channel_timeout == lifetime
            assert listeners == [None]  # the late end of its socket is not the end of the next

    within(30, run)


def test_a_policy_with_a_hostile_name_is_quoted():
    endpoint = ua.EndpointDescription(
        EndpointUrl="opc.tcp://h", SecurityMode=ua.MessageSecurityMode.Sign, SecurityPolicyUri="x#\x1b[31m\n"
    )
    assert security._offers([endpoint]).isprintable()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ua.StatusCodes.BadCertificateUntrusted, "copy {own} into the server's trust list"),
        (ua.StatusCodes.BadSecurityChecksFailed, "copy {own} into the server's trust list"),
        (ua.StatusCodes.BadCertificateUriInvalid, "objects to our certificate {own}"),
    ],
)
def test_a_server_that_does_not_trust_us_is_told_with_our_certificate(tmp_path, code, words):
    made = leaf()

    async def distrust(certificate, description):
        raise ServiceError(code)

    async def run() -> None:
        async with server(made) as (running, url):
            running.iserver.certificate_validator = distrust
            text = await refusal(source(url, pki(tmp_path, [made.der]), **user()))
            assert words.format(own=tmp_path / "pki" / "own" / "cert.der") in text
            assert ua.StatusCode(code).name in text

    within(30, run)


@pytest.mark.parametrize(
    "error",
    [InvalidSignature(), ua.UaError("Server certificate mismatch"), ua.UaError("No matching endpoints: 1, 2")],
)
def test_a_session_that_is_signed_or_offered_otherwise_is_swapped(error):
    with pytest.raises(SourceRefused, match="swapped"), security.refusals(source()):
        raise error


def test_refusals_pass_what_is_no_refusal():
    for error in (ua.UaStatusCodeError(ua.StatusCodes.BadTimeout), ua.UaError("odd"), OSError("gone")):
        with pytest.raises(type(error)), security.refusals(source()):
            raise error


def test_the_network_is_lost_and_not_refused(tmp_path):
    async def run() -> None:
        async with silent_server() as port:
            silent = source(f"opc.tcp://127.0.0.1:{port}", tmp_path / "pki").model_copy(update={"timeout": 10**8})
            with pytest.raises(SourceLost, match="no answer in time"):
                await security.secure(Client(silent.url, timeout=0.2), silent)
        with pytest.raises(SourceLost):
            await security.secure(Client(silent.url, timeout=0.2), silent)

    within(10, run)
