"""Who gets in, and what a client may ask of the server: tokens, scopes, TLS, limits."""

import datetime as dt
import http.client
import ipaddress
import json
import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.routing import APIRoute

from kpis.evidence.configuration import config_files
from kpis.server import guard, protocol
from kpis.server.tokens import FILE, TokenFault, Tokens
from kpis.server.works import Works
from plantproof import cli
from tests.serving import DAY, FROM, TO, app_of, basic, filled, make_plant, running, served, token_of

DAY_PARAMS = {"from": DAY[0], "to": DAY[1]}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("access") / "plant")


@pytest.fixture(scope="module")
def api(plant):
    with served(plant) as client:
        yield client


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


@contextmanager
def access_log(api, caplog):
    """The lines that requests put into the access log meanwhile.

    A line is written just after its answer: the answer to one more request says that all before have theirs.
    """
    lines = []
    assert api.get("/health").status_code == 200
    caplog.clear()
    with caplog.at_level(logging.INFO, "plantproof.access"):
        yield lines
        assert api.get("/health").status_code == 200
    lines += [json.loads(one.getMessage()) for one in caplog.records if one.name == "plantproof.access"]


def test_the_access_log_tells_who_asked_what_and_what_was_answered(api, caplog):
    with access_log(api, caplog) as lines:
        good = api.get("/api/v1/indicators", DAY_PARAMS)
        api.without_token().get("/api/v1/indicators", DAY_PARAMS)
        api.get("/nowhere%1b[2J")
    names = {name for name in (line.pop("token") for line in lines) if name}
    assert len(names) == 1
    assert names.pop().startswith("tests-")
    told = [(one["event"], one["client"], one["method"], one["path"], one["status"]) for one in lines]
    assert told == [
        ("request", "127.0.0.1", "GET", "/api/v1/indicators", 200),
        ("request", "127.0.0.1", "GET", "/api/v1/indicators", 401),
        ("request", "127.0.0.1", "GET", "/nowhere\x1b[2J", 404),
    ]
    assert lines[0]["bytes"] == len(good.body)
    assert lines[0]["ms"] > 0
    assert abs(dt.datetime.fromisoformat(lines[0]["time"]) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=2)


def test_the_access_log_has_no_token_no_query_no_control_character_and_no_healthy_probe(api, caplog):
    with access_log(api, caplog):
        api.get("/api/v1/devices", {"token": api.token})
        api.get("/health")
        api.get("/nowhere%1b[2J")
    text = "\n".join(one.getMessage() for one in caplog.records if one.name == "plantproof.access")
    assert api.token not in text
    assert "?" not in text
    assert "\x1b" not in text
    assert "/health" not in text


def test_no_route_answers_without_a_token_but_health(plant, api):
    app = app_of(plant)
    asked = {(route.path, method) for route in app.routes for method in route.methods}
    assert len([route for route in app.routes if isinstance(route, APIRoute)]) >= 14
    assert all(hasattr(route, "path") for route in app.routes)  # no route hides in a router of its own
    answers = {
        (path, method): api.without_token().request(method, re.sub(r"\{\w+\}", "x", path)).status_code
        for path, method in asked
    }
    open_ones = {asked for asked, status in answers.items() if status != 401}
    assert open_ones == {("/health", "GET")}
    assert answers["/health", "GET"] == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/v1/kpis/../../secret", "/health/", "//health", "/HEALTH", "/health%00"]
)
def test_what_is_not_there_is_401_as_well_so_that_nobody_learns_what_is(api, path):
    answer = api.without_token().get(path)
    assert (answer.status_code, answer.error["code"]) == (401, "unauthorized")


def test_a_401_says_how_to_come_in(api):
    answer = api.without_token().get("/api/v1/devices", DAY_PARAMS)
    assert [value.split()[0] for value in answer.headers.get_all("WWW-Authenticate")] == ["Bearer", "Basic"]
    assert answer.error.keys() == {"code", "message", "next"}
    assert "plantproof token new" in answer.error["next"]


@pytest.mark.parametrize(
    "sent",
    ["Bearer", "Bearer ", "Bearer x", "Basic", "Basic x", "Basic ====", "Basic /w==", "Digest {}", "{}", "Bearer {} x",
     "Bearer {}x", "bearer pp_"],
)  # fmt: skip
def test_what_is_no_token_of_ours_is_401(api, sent):
    answer = api.get("/api/v1/rubrics", authorization=sent.format(api.token))
    assert answer.status_code == 401


def test_a_token_comes_as_bearer_or_as_a_browsers_password(api):
    for sent in (f"Bearer {api.token}", f"bearer {api.token}", basic(api.token), basic(api.token, "王工")):
        assert api.get("/api/v1/rubrics", authorization=sent).status_code == 200


def test_two_authorizations_are_none(api):
    connection = http.client.HTTPConnection(api.base.removeprefix("http://"), timeout=30)
    connection.putrequest("GET", "/api/v1/rubrics")
    connection.putheader("Authorization", "Bearer x")
    connection.putheader("Authorization", f"Bearer {api.token}")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 401
    connection.close()


def test_each_scope_opens_what_it_is_for(plant, api):
    reader, builder = (token_of(plant, scope, name=scope) for scope in ("read", "build"))
    order = {"from": DAY[0], "to": DAY[1]}
    assert api.with_token(reader).get("/api/v1/rubrics").status_code == 200
    assert api.with_token(builder).post("/api/v1/evidence", order).status_code == 202
    for token, answer in (
        (reader, api.with_token(reader).post("/api/v1/evidence", order)),
        (builder, api.with_token(builder).get("/api/v1/rubrics")),
    ):
        assert (answer.status_code, answer.error["code"]) == (403, "missing_scope")
        assert token not in answer.body.decode()


def test_work_is_not_started_by_what_a_browser_remembers(api):
    answer = api.post("/api/v1/evidence", {"from": DAY[0], "to": DAY[1]}, authorization=basic(api.token))
    assert (answer.status_code, answer.error["code"]) == (403, "bearer_only")


def test_a_form_of_another_site_is_no_order(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = api.post("/api/v1/evidence", {"from": DAY[0], "to": DAY[1]}, content_type=kind)
        assert (answer.status_code, answer.error["code"]) == (422, "invalid_request")


def test_a_token_is_printed_once_and_kept_as_a_hash_for_its_owner_alone(tmp_path):
    folder = make_plant(tmp_path / "plant")
    made = run("token", "new", folder, "--name", "erp", "--scope", "read", "--days", "30")
    token = made.stdout.strip()
    assert made.exit_code == 0
    assert re.fullmatch(r"pp_[A-Za-z0-9_-]{43}", token)  # 256 bits
    kept = folder / FILE
    assert token not in kept.read_text()
    assert token.removeprefix("pp_") not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    (listed,) = json.loads(run("token", "list", folder, "--json").stdout)
    assert (listed["name"], listed["scopes"], listed["expired"]) == ("erp", ["read"], False)
    assert dt.datetime.fromisoformat(listed["expires_at"]) > dt.datetime.now(dt.UTC) + dt.timedelta(days=29)
    assert "erp: read; made" in run("token", "list", folder).stdout
    with running(app_of(folder)) as client:
        assert client.with_token(token).get("/api/v1/rubrics").status_code == 200


def test_two_tokens_are_never_alike_and_a_name_is_of_one(tmp_path):
    folder = make_plant(tmp_path / "plant")
    first, second = (run("token", "new", folder, "--name", name).stdout for name in ("a", "b"))
    assert first != second
    again = run("token", "new", folder, "--name", "a")
    assert again.exit_code == 1
    assert "there is a token 'a' already; revoke it first" in again.stderr


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 65, "\x1b[31m"])
def test_a_name_that_nobody_can_read_is_refused(tmp_path, name):
    with pytest.raises(TokenFault, match="is no name of a token"):
        Tokens(tmp_path).make(name, ["read"])


def test_a_token_is_revoked_at_once_in_a_running_server(plant, api):
    token = run("token", "new", plant, "--name", "short").stdout.strip()
    client = api.with_token(token)
    assert client.get("/api/v1/rubrics").status_code == 200
    assert run("token", "revoke", plant, "--name", "short").exit_code == 0
    assert client.get("/api/v1/rubrics").status_code == 401
    assert "there is no token 'short'" in run("token", "revoke", plant, "--name", "short").stderr


def test_a_token_expires_to_the_second_and_its_name_is_free_again(tmp_path):
    now = [1_000_000.0]
    tokens = Tokens(tmp_path, lambda: now[0])
    token = tokens.make("erp", ["read"], days=1)
    now[0] += 86_399
    assert tokens.find(token) is not None
    now[0] += 1
    assert tokens.find(token) is None
    assert tokens.find(tokens.make("erp", ["read"], days=1)) is not None
    assert len(tokens.all()) == 1


def test_tokens_made_at_the_same_time_are_all_kept(tmp_path):
    threads = [threading.Thread(target=Tokens(tmp_path).make, args=(f"t{n}", ["read"])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.name for one in Tokens(tmp_path).all()} == {f"t{n}" for n in range(8)}


def test_a_file_of_tokens_that_others_may_write_opens_nothing(tmp_path):
    folder = make_plant(tmp_path / "plant")
    token = token_of(folder)
    (folder / FILE).chmod(0o666)
    with running(app_of(folder)) as client:
        answer = client.with_token(token).get("/api/v1/rubrics")
        assert (answer.status_code, answer.error["code"]) == (503, "tokens_unreadable")
        assert "chmod 600" in answer.error["next"]
        assert client.get("/health").status_code == 200
    assert run("serve", folder).exit_code == 1


def test_a_damaged_file_of_tokens_is_told_and_opens_nothing(tmp_path):
    token = Tokens(tmp_path).make("erp", ["read"])
    for text in ("{", "[]", '{"tokens": [{}]}', '{"tokens": 1}', ""):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(TokenFault, match="is damaged"):
            Tokens(tmp_path).find(token)


def test_no_package_holds_the_tokens(tmp_path):
    folder = make_plant(tmp_path / "plant")
    token_of(folder)
    assert not [name for name in config_files(folder) if "token" in name or name.startswith("var")]


def test_serve_says_how_to_make_a_token_where_none_is(tmp_path):
    folder = make_plant(tmp_path / "plant")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = run("serve", folder, "--port", taken.getsockname()[1])
    assert f"plantproof token new {folder} --name NAME" in found.stderr
    assert found.exit_code == 1
    assert "name another --port" in found.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "plant.local", ""])
def test_another_host_than_loopback_wants_tls_or_a_word(tmp_path, host):
    found = run("serve", make_plant(tmp_path / "plant"), "--host", host)
    assert found.exit_code == 2
    for word in ("--tls-cert", "--tls-key", "--plain-http"):
        assert word in found.stderr.replace("\n", " ")


def test_a_certificate_that_is_none_is_told_before_anything_is_served(tmp_path):
    cert, key = certificate(tmp_path)
    folder = make_plant(tmp_path / "plant")
    other = certificate(tmp_path / "other")[1]
    for words in (
        ("--tls-cert", cert),
        ("--tls-cert", key, "--tls-key", cert),
        ("--tls-cert", cert, "--tls-key", other),
    ):
        found = run("serve", folder, *words)
        assert found.exit_code == 2, words
        assert "--tls-cert" in found.stderr or "belong together" in found.stderr.replace("\n", " ")


def certificate(folder: Path):
    """A certificate of 127.0.0.1, and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plant")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*pem))
    return folder / "cert.pem", folder / "key.pem"


def test_with_a_certificate_it_speaks_tls_and_nothing_else(plant, tmp_path):
    cert, key = certificate(tmp_path)
    token = token_of(plant, name="tls")
    trusted = ssl.create_default_context(cafile=cert)
    with running(app_of(plant), (cert, key), trusted) as client:
        assert client.with_token(token).get("/api/v1/rubrics").status_code == 200
        port = int(client.base.rpartition(":")[2])
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            ssl.create_default_context().wrap_socket(connected(port), server_hostname="127.0.0.1")
        with connected(port) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in answered(plain)


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def until_end(sock, end):
    """What a server sends, in however many parts, until it has sent the end."""
    found = b""
    while not found.endswith(end):
        part = sock.recv(65_536)
        assert part, found
        found += part
    return found


def answered(sock):
    """All that a server sends until it closes."""
    found = b""
    try:
        while part := sock.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("path", ["/health", "/api/v1/rubrics", "/nothing", "/docs", "/api/v1/evidence/x/report"])
def test_no_answer_says_what_serves_it_or_may_be_framed_guessed_or_kept(api, path):
    for client in (api, api.without_token()):
        headers = client.get(path).headers
        assert "server" not in headers
        if path != "/health":
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "access-control-allow-origin" not in headers


def test_a_body_of_64_kib_is_read_and_one_more_byte_is_not(api):
    order = json.dumps({"from": DAY[0], "to": DAY[1], "compare": "none"}).encode()
    padded = order.ljust(guard.MAX_BODY)
    assert api.post("/api/v1/evidence", padded).status_code == 202
    answer = api.post("/api/v1/evidence", padded + b" ")
    assert (answer.status_code, answer.error["code"]) == (413, "too_large")


def test_a_body_in_chunks_without_a_length_is_cut_off_as_well(api):
    connection = http.client.HTTPConnection(api.base.removeprefix("http://"), timeout=30)
    parts = (b" " * 1024 for _ in range(65))
    connection.request("POST", "/api/v1/evidence", parts, {"Authorization": f"Bearer {api.token}"}, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "too_large")
    connection.close()


def test_a_body_that_does_not_come_is_not_waited_for(plant, monkeypatch):
    monkeypatch.setattr(guard, "BODY_S", 0.2)
    with served(plant) as client, connected(int(client.base.rpartition(":")[2])) as slow:
        head = f"POST /api/v1/evidence HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n"
        slow.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{".encode())
        answer = slow.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert client.get("/api/v1/rubrics").status_code == 200


def test_a_head_that_never_ends_is_closed(plant, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    with served(plant) as client:
        port = int(client.base.rpartition(":")[2])
        with connected(port) as silent, connected(port) as slow, connected(port) as second:
            slow.sendall(b"GET /health HTTP/1.1\r\nHo")
            second.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert until_end(second, b'{"status":"ok"}').startswith(b"HTTP/1.1 200")
            second.sendall(b"GET /health HT")  # the next head of the same connection
            for sock in (silent, slow, second):
                assert answered(sock) == b""
        assert client.get("/health").status_code == 200


def test_a_head_that_follows_a_request_at_once_must_end_as_well(plant, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    with served(plant) as client, connected(int(client.base.rpartition(":")[2])) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HT")
        sent = time.monotonic()
        assert answered(sock).endswith(b'{"status":"ok"}')
        assert time.monotonic() - sent < protocol.KEEP_ALIVE_S


def test_a_head_that_is_too_long_is_400_in_the_shape_of_every_error(api):
    with connected(int(api.base.rpartition(":")[2])) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * protocol.MAX_HEAD * 2)
        head, _, body = answered(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n"]
)
def test_what_is_no_http_is_400(api, sent):
    with connected(int(api.base.rpartition(":")[2])) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        assert answered(sock)[:13] in (b"HTTP/1.1 400 ", b"")
    assert api.get("/health").status_code == 200


def test_connections_above_the_limit_are_closed_and_the_others_are_served(plant, monkeypatch):
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 2)
    with served(plant) as client:
        port = int(client.base.rpartition(":")[2])
        with connected(port) as first, connected(port):
            first.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert first.recv(65_536).startswith(b"HTTP/1.1 200")
            with connected(port) as third:
                assert answered(third) == b""


def test_requests_above_the_limit_are_429_and_say_when_to_come_back(plant, monkeypatch):
    monkeypatch.setattr(guard, "MOST_AT_ONCE", 0)
    with served(plant) as client:
        answer = client.get("/api/v1/rubrics")
        assert (answer.status_code, answer.error["code"]) == (429, "busy")
        assert int(answer.headers["Retry-After"]) > 0
        assert client.get("/health").status_code == 200


class Held:
    """A builder, or a store, that goes on once it is told to."""

    def __init__(self):
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, *words):
        self.reached.set()
        assert self.go.wait(60)


def test_health_answers_while_figures_are_computed(plant, monkeypatch):
    held = Held()
    monkeypatch.setattr("kpis.server.figures.amounts_of", held)
    with served(plant) as client:
        asking = threading.Thread(target=client.get, args=("/api/v1/kpis", {"from": FROM, "to": TO}))
        asking.start()
        assert held.reached.wait(60)
        assert client.get("/health").status_code == 200
        held.go.set()
        asking.join(60)


def test_what_takes_too_long_is_told_and_keeps_its_thread(plant, monkeypatch):
    held = Held()
    monkeypatch.setattr("kpis.server.figures.amounts_of", held)
    with served(plant, longest_s=0.1) as client:
        answer = client.get("/api/v1/kpis", {"from": FROM, "to": TO})
        assert (answer.status_code, answer.error["code"]) == (422, "took_too_long")
        held.go.set()


def test_computations_that_wait_without_number_are_429(plant, monkeypatch):
    held = Held()
    monkeypatch.setattr("kpis.server.figures.amounts_of", held)
    monkeypatch.setattr("kpis.server.app.Works", lambda longest_s: Works(at_once=1, waiting=0, longest_s=longest_s))
    with served(plant) as client:
        asking = threading.Thread(target=client.get, args=("/api/v1/kpis", {"from": FROM, "to": TO}))
        asking.start()
        assert held.reached.wait(60)
        answer = client.get("/api/v1/devices", DAY_PARAMS)
        assert (answer.status_code, answer.error["code"]) == (429, "busy")
        held.go.set()
        asking.join(60)
        deadline = time.monotonic() + 60
        while client.get("/api/v1/devices", DAY_PARAMS).status_code == 429:
            assert time.monotonic() < deadline


def test_other_verbs_need_nothing_of_the_server(tmp_path):
    folder = make_plant(tmp_path / "plant")
    code = (
        "import sys, click.testing, plantproof\n"
        "for words in (['--help'], ['token', 'list', sys.argv[1]], ['serve', '--help'], ['evidence', '--help']):\n"
        "    click.testing.CliRunner().invoke(plantproof.cli, words)\n"
        "print(sorted({'fastapi', 'uvicorn', 'starlette', 'jinja2'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
