"""Each new package is sent on, to a webhook that can check it or into a folder: once, in order, whatever fails."""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
from contextlib import contextmanager

import pytest

from config.faults import ConfigError
from config.load import load_plant
from kpis.evidence.contents import Asked
from kpis.server.push import Pushes, webhook
from kpis.server.push.base import Later
from kpis.server.push.delivery import LONGEST_S, pause
from kpis.server.shelf import Shelf
from tests.serving import END, START, built, make_plant, package_of, served
from tests.test_server_access import certificate

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


class Receiver:
    """A real server that takes webhooks, and answers as it is told to, then 204."""

    def __init__(self, *answers, tls=None):
        self.answers, self.requests, self.news = list(answers), [], threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.news:
                    receiver.requests.append((self.path, dict(self.headers), body))
                    status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                    receiver.news.notify_all()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self, n):
        """Wait until so many requests came."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.requests) >= n, 60)


@contextmanager
def receiving(*answers, tls=None):
    receiver = Receiver(*answers, tls=tls)
    try:
        yield receiver
    finally:
        receiver.close()


def pushing(folder, url, more=""):
    """A plant that sends its packages to a webhook."""
    section = f'[[push]]\nkind = "webhook"\nurl = "{url}"\nsecret = "${{file:secrets/webhook}}"\n{more}'
    make_plant(folder, section)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "webhook").write_text(SECRET + "\n")
    return folder


def dropping(folder, path):
    return make_plant(folder, f'[[push]]\nkind = "folder"\nid = "drop"\npath = "{path}"\n')


def at_once(attempts):
    return 0.0


def never(attempts):
    return 3600.0


def until(client, state, n=1):
    """What is told of a target, once so many packages have come to a state."""
    while True:
        (target,) = client.get("/api/v1/push").json()["targets"]
        if sum(one["state"] == state for one in target["packages"]) >= n:
            return target


def verified(request):
    """The body of a request whose signature is what Standard Webhooks asks for."""
    _, headers, body = request
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    return body


def test_the_signature_is_that_of_the_reference_libraries_test():
    # github.com/standard-webhooks/standard-webhooks, libraries: the value that their tests of signing expect.
    key = webhook.key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    said = webhook.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_that_fails_first_gets_the_package_once_it_works_and_can_check_it(tmp_path):
    with receiving((500, {}), (429, {"Retry-After": "0"}), (408, {}), (425, {})) as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}/in")
        with served(folder, pause=at_once) as client:
            one = built(client)
            target = until(client, "delivered")
            data = client.get(f"{one['url']}/package").body
        assert len(receiver.requests) == 5
        assert {path for path, _, _ in receiver.requests} == {"/in"}
        assert {verified(request) for request in receiver.requests} == {data}
        headers = receiver.requests[0][1]
        assert headers["Content-Type"] == "application/zip"
        assert headers["Content-Digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
        assert {each["webhook-id"] for _, each, _ in receiver.requests} == {f"msg_{one['id']}"}
    assert (target["id"], target["kind"], target["to"]) == ("webhook", "webhook", f"http://127.0.0.1:{receiver.port}")
    (package,) = target["packages"]
    assert (package["package"], package["attempts"], package["error"]) == (one["id"], 5, "")
    assert package["next_at"] is None


def test_what_was_delivered_is_not_sent_again_after_a_restart_and_what_was_not_is(tmp_path):
    with receiving((204, {}), (503, {})) as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}")
        with served(folder, pause=never) as client:
            built(client)
            until(client, "delivered")
            second = built(client, compare="none")
            receiver.wait(2)
        assert len(receiver.requests) == 2
        notes = [path for path in (folder / "var" / "evidence" / "push").glob("*/*.json") if "target" not in path.name]
        for path in notes:  # the hour is over
            path.write_text(json.dumps(json.loads(path.read_text()) | {"next_at": None}))
        with served(folder, pause=at_once) as client:
            until(client, "delivered", 2)
        assert len(receiver.requests) == 3
        assert receiver.requests[2][1]["webhook-id"] == f"msg_{second['id']}"


def test_packages_arrive_in_the_order_of_building(tmp_path):
    with receiving((500, {}), (500, {})) as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}")
        with served(folder, pause=at_once) as client:
            ids = [built(client, **{"from": f"2025-11-{day}"})["id"] for day in (19, 17, 18)]
            until(client, "delivered", 3)
        arrived = list(dict.fromkeys(headers["webhook-id"] for _, headers, _ in receiver.requests))
        assert arrived == [f"msg_{one}" for one in ids]


@pytest.mark.parametrize(
    ("status", "said"),
    [(400, "answered 400"), (401, "401"), (410, "410"), (413, "413"), (302, "redirects are not followed")],
)
def test_an_answer_that_will_not_change_ends_it_with_an_error_that_is_told(tmp_path, status, said):
    with receiving() as elsewhere, receiving((status, {"Location": f"http://127.0.0.1:{elsewhere.port}"})) as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}")
        with served(folder, pause=at_once) as client:
            built(client)
            (package,) = until(client, "refused")["packages"]
            assert said in package["error"]
            built(client, compare="none")
            until(client, "delivered")
        with served(folder, pause=at_once) as client:
            assert until(client, "refused")["packages"][0]["attempts"] == 1
        assert len(receiver.requests) == 2
        assert elsewhere.requests == []


@pytest.mark.parametrize(("after", "wait"), [("120", 120), ("99999999", 86_400), ("soon", 60), ("-5", 60), ("", 60)])
def test_retry_after_is_honoured(tmp_path, after, wait):
    with receiving((503, {"Retry-After": after})) as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}")
        plant = load_plant(folder)
        shelf = Shelf(plant, folder / "shelf")
        shelf.start()
        (delivery,) = Pushes(plant, shelf, pause=lambda _: 60.0).deliveries
        delivery._folder.mkdir(parents=True)
        shelf.put(package_of(Asked(period=(START, END), before=None)))
        assert delivery._turn() == wait
        assert delivery._turn() == pytest.approx(wait, abs=30)
        assert len(receiver.requests) == 1


def test_a_date_in_retry_after_is_one_to_wait_for(tmp_path):
    push = load_plant(pushing(tmp_path / "plant", "http://127.0.0.1:9")).push[0]
    sender = webhook.Webhook(push, tmp_path / "plant", lambda: 1_445_412_420.0)
    assert sender._after("Wed, 21 Oct 2015 07:28:00 GMT") == 60.0
    assert sender._after("Wed, 21 Oct 2015 07:00:00 GMT") == 0.0


def test_pauses_double_up_to_an_hour_and_are_spread():
    for attempts, longest in ((1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (10_000, LONGEST_S)):
        found = [pause(attempts) for _ in range(50)]
        assert all(longest / 2 <= one <= longest for one in found)
        assert len(set(found)) > 1


def test_who_does_not_answer_is_told_and_asked_again(tmp_path):
    with receiving() as receiver:
        port = receiver.port
    folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{port}")
    with served(folder, pause=never) as client:
        built(client)
        while not (package := until(client, "waiting")["packages"][0])["error"]:
            pass
    assert "does not answer" in package["error"]
    assert package["next_at"] > package["at"]


def test_a_certificate_that_is_not_trusted_gets_no_package(tmp_path):
    tls = certificate(tmp_path / "tls")
    with receiving(tls=tls) as receiver:
        url = f"https://127.0.0.1:{receiver.port}"
        with served(pushing(tmp_path / "a", url), pause=never) as client:
            built(client)
            while not (package := until(client, "waiting")["packages"][0])["error"]:
                pass
        assert "certificate is not trusted" in package["error"]
        assert receiver.requests == []
        with served(pushing(tmp_path / "b", url, f'ca = "{tls[0]}"\n')) as client:
            built(client)
            until(client, "delivered")
        verified(receiver.requests[0])


@pytest.mark.parametrize("secret", ["", "short", "whsec_MfKQ", "whsec_not base64!", None])
def test_a_secret_that_is_missing_or_weak_sends_nothing_and_is_never_told(tmp_path, secret):
    with receiving() as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}")
        (folder / "secrets" / "webhook").unlink()
        if secret is not None:
            (folder / "secrets" / "webhook").write_text(secret)
        with served(folder, pause=never) as client:
            built(client)
            while not (package := until(client, "waiting")["packages"][0])["error"]:
                pass
        assert receiver.requests == []
    assert "secret" in package["error"]
    assert not secret or secret not in package["error"]


def test_no_answer_no_log_and_no_file_has_the_secret_or_the_urls_path(tmp_path, caplog):
    with receiving((500, {}), (400, {})) as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}/hidden-path")
        with served(folder, pause=at_once) as client:
            built(client)
            until(client, "refused")
            told = client.get("/api/v1/push").body.decode()
    kept = "".join(path.read_text() for path in (folder / "var").rglob("*.json"))
    for text in (told, caplog.text, kept):
        for hidden in (SECRET, SECRET.removeprefix("whsec_"), "0123456789abcdef", "hidden-path"):
            assert hidden not in text


def test_what_was_built_before_a_target_was_named_is_not_sent_to_it(tmp_path):
    with receiving() as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}")
        text = (folder / "plant.toml").read_text()
        (folder / "plant.toml").write_text(text.partition("[[push]]")[0])
        with served(folder) as client:
            built(client)
            assert client.get("/api/v1/push").json() == {"targets": []}
        (folder / "plant.toml").write_text(text)
        with served(folder) as client:
            second = built(client, compare="none")
            target = until(client, "delivered")
        assert [one["package"] for one in target["packages"]] == [second["id"]]
        assert len(receiver.requests) == 1


def test_a_note_that_is_damaged_sends_nothing_twice(tmp_path):
    with receiving() as receiver:
        folder = pushing(tmp_path / "plant", f"http://127.0.0.1:{receiver.port}")
        with served(folder) as client:
            one = built(client)
            until(client, "delivered")
        (note,) = (folder / "var" / "evidence" / "push").glob(f"*/{one['id']}.json")
        note.write_text("{")
        with served(folder) as client:
            assert "is damaged" in until(client, "refused")["packages"][0]["error"]
        assert len(receiver.requests) == 1


def test_a_folder_gets_each_package_whole(tmp_path):
    drop = tmp_path / "drop"
    drop.mkdir()
    with served(dropping(tmp_path / "plant", drop)) as client:
        one = built(client)
        target = until(client, "delivered")
        data = client.get(f"{one['url']}/package").body
    assert [path.name for path in drop.iterdir()] == [f"{one['id']}.zip"]
    assert (drop / f"{one['id']}.zip").read_bytes() == data
    assert (target["id"], target["to"]) == ("drop", str(drop))


def test_the_same_file_in_the_folder_is_success_and_another_is_an_error(tmp_path):
    drop = tmp_path / "drop"
    drop.mkdir()
    folder = make_plant(tmp_path / "plant")
    with served(folder) as client:
        first, second = built(client), built(client, compare="none", rubrics=[])
    packages = folder / "var" / "evidence"
    (drop / f"{first['id']}.zip").write_bytes((packages / f"{first['id']}.zip").read_bytes())
    (drop / f"{second['id']}.zip").write_bytes(b"another")
    for path in packages.glob("*.*"):
        path.unlink()
    with (folder / "plant.toml").open("a") as file:
        file.write(f'[[push]]\nkind = "folder"\npath = "{drop}"\n')
    with served(folder) as client:
        built(client)
        built(client, compare="none", rubrics=[])
        until(client, "delivered")
        target = until(client, "refused")
    assert [one["state"] for one in target["packages"]] == ["delivered", "refused"]
    assert "is another file" in target["packages"][1]["error"]
    assert (drop / f"{second['id']}.zip").read_bytes() == b"another"


def test_a_folder_that_is_not_there_is_waited_for_and_never_made(tmp_path):
    drop = tmp_path / "share"
    with served(dropping(tmp_path / "plant", drop), pause=at_once) as client:
        built(client)
        while not (package := client.get("/api/v1/push").json()["targets"][0]["packages"][0])["error"]:
            pass
        assert "make or mount it" in package["error"]
        assert not drop.exists()
        drop.mkdir()
        until(client, "delivered")
    assert len(list(drop.iterdir())) == 1


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('kind = "webhook"\nsecret = "${env:X}"', "url: push webhook: is missing"),
        ('kind = "webhook"\nurl = "https://a/b"', "secret: push webhook: is missing"),
        ('kind = "webhook"\nurl = "https://a/b"\nsecret = "abc"', "secret: stands in plain text"),
        ('kind = "webhook"\nurl = "ftp://a"\nsecret = "${env:X}"', "is no address of an HTTP server"),
        ('kind = "webhook"\nurl = "http://10.0.0.1/b"\nsecret = "${env:X}"', "is not encrypted"),
        ('kind = "webhook"\nurl = "https://a/b?token=x"\nsecret = "${env:X}"', "holds more than scheme"),
        ('kind = "webhook"\nurl = "https://u:p@a/b"\nsecret = "${env:X}"', "has a password in plain text"),
        ('kind = "folder"', "path: push folder: is missing"),
        ('kind = "folder"\npath = "x"\nurl = "https://a"', "has a key of webhook"),
        ('kind = "folder"\npath = "x"\n[[push]]\nkind = "folder"\npath = "y"', "stands 2 times"),
        ('kind = "ftp"', "is not a word allowed here"),
        ('kind = "folder"\npath = "x"\nfolder = "y"', "is unknown"),
    ],
)
def test_a_target_that_cannot_be_is_a_fault_of_the_configuration(tmp_path, section, said):
    folder = make_plant(tmp_path / "plant", f"[[push]]\n{section}\n")
    with pytest.raises(ConfigError) as error:
        load_plant(folder)
    assert said in str(error.value)
    for hidden in ("abc", "token=x", "u:p"):
        assert hidden not in str(error.value)


def test_http_within_the_plant_is_sent_to_where_it_is_asked_for_by_name(tmp_path):
    section = '[[push]]\nkind = "webhook"\nurl = "http://10.0.0.1/b"\nsecret = "${env:X}"\nplain_http = true\n'
    assert load_plant(make_plant(tmp_path / "plant", section)).push[0].plain_http


def test_a_secret_of_24_bytes_is_long_enough_and_one_of_23_is_not():
    assert webhook.key_of("x" * 24) == b"x" * 24
    with pytest.raises(Later, match="less than 24 bytes"):
        webhook.key_of("x" * 23)
