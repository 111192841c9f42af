"""A plant with 20 secrets of odd signs, each used where a plant uses one, and peers that repeat what they are sent."""

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives import serialization

from collector.backfill import import_file
from config.load import load_plant
from kpis.evidence.keys import make_key
from tests import certificates, serving
from tests.influx_peers import Asked, fake, reply
from tests.mqtt_peers import packet, read_packet
from tests.servers import free_port

FILES = {
    "opcua": "pa ss\"wörd'\\1",
    "influx-v1": "口令：江宁@2026",
    "influx-v2": "tok%20en/with+signs==&x=1",
    "influx-v3": "first-line-of-token\nsecond-line-of-token",
    "webhook": "whsec_" + base64.b64encode(b"\xff\xfe of a webhook, thirty-two..").decode(),
    "webhook3": "${env:HOME}-looks-like-a-reference",
    "erp-url": "postgresql+none://reader:geheim%40plätze@127.0.0.1:1/erp?sslpassword=query-secret",
    "mes": "#frag?ment:sla/sh@host",
    "passphrase": "<b>&amp; 通行短语</b>",
    "mqtt-refused": "bell\\x07 and $(rm -rf /) `x`",
    "mqtt-echoed": "what the 'broker' says again\\n",
    "mqtt-quoted": "'; DROP TABLE secrets; --",
    "influx-emoji": "emoji🔑key",
}
"""Name of the file below secrets/ -> what it holds."""
ENVIRONMENT = {
    "LINE2_PASSWORD": "tab\there: 制表符",
    "MES_PASSWORD": "per%cent%3A and spaces",
    "WEBHOOK2": "a webhook's secret of more than 24 signs",
}
"""Secrets that the person who starts the agent gives in its environment."""
PARTS = {"geheim%40plätze", "geheim@plätze", "query-secret", "first-line-of-token", "second-line-of-token"}
"""What is secret for itself in longer ones."""

PLANT = """
[health]
listen = "127.0.0.1:{health}"
[evidence]
path = "evidence"
key = "secrets/evidence.pem"
passphrase_file = "secrets/passphrase"
[spool]
path = "spool"
commit = "20ms"
[[source]]
id = "secured"
kind = "opcua"
url = "opc.tcp://127.0.0.1:{dead}"
security = "Basic256Sha256/SignAndEncrypt"
user = "operator"
password = "${{file:secrets/opcua}}"
[[source]]
id = "by-certificate"
kind = "opcua"
url = "opc.tcp://127.0.0.1:{dead}"
security = "Basic256Sha256/SignAndEncrypt"
user_certificate = "secrets/user.pem"
user_key = "secrets/user.key"
[[source]]
id = "over-tls"
kind = "modbus"
url = "modbus+tls://127.0.0.1:{dead}"
certificate = "secrets/modbus.pem"
private_key = "secrets/modbus.key"
ca = "secrets/modbus.pem"
[[source]]
id = "refused"
kind = "mqtt"
url = "mqtt://127.0.0.1:{dead}"
user = "gw"
password = "${{file:secrets/mqtt-refused}}"
[[source]]
id = "echoed"
kind = "mqtt"
url = "mqtt://127.0.0.1:{broker}"
user = "gw"
password = "${{file:secrets/mqtt-echoed}}"
[[source]]
id = "line2"
kind = "mqtt"
url = "mqtt://127.0.0.1:{broker}"
user = "gw2"
password = "${{env:LINE2_PASSWORD}}"
[[source]]
id = "line3"
kind = "mqtt"
url = "mqtt://127.0.0.1:{broker}"
user = "gw3"
password = "${{file:secrets/mqtt-quoted}}"
[[sink]]
kind = "influxdb"
id = "v1-other"
api = "v1"
url = "http://127.0.0.1:{http}"
database = "plant"
user = "writer"
password = "${{file:secrets/influx-emoji}}"
[[sink]]
kind = "influxdb"
id = "v1"
api = "v1"
url = "http://127.0.0.1:{http}"
database = "plant"
user = "writer"
password = "${{file:secrets/influx-v1}}"
[[sink]]
kind = "influxdb"
id = "v2"
api = "v2"
url = "http://127.0.0.1:{http}"
org = "works"
bucket = "plant"
token = "${{file:secrets/influx-v2}}"
[[sink]]
kind = "influxdb"
id = "v3"
api = "v3"
url = "http://127.0.0.1:{http}"
database = "plant"
token = "${{file:secrets/influx-v3}}"
[[push]]
kind = "webhook"
id = "hook"
url = "http://127.0.0.1:{http}/in"
secret = "${{file:secrets/webhook}}"
[[push]]
kind = "webhook"
id = "hook2"
url = "http://127.0.0.1:{dead}/in"
secret = "${{env:WEBHOOK2}}"
[[push]]
kind = "webhook"
id = "hook3"
url = "http://127.0.0.1:{http}/in"
secret = "${{file:secrets/webhook3}}"
[[business_source]]
id = "erp"
url = "${{file:secrets/erp-url}}"
query = "select 1"
[[business_source]]
id = "mes"
url = "mysql+none://reader:${{file:secrets/mes}}@127.0.0.1:1/mes?password=${{env:MES_PASSWORD}}"
query = "select 1"
"""
POINTS = """secured.v,press,measure,secured,ns=2;s=v,
by-certificate.v,press,measure,by-certificate,ns=2;s=v,
over-tls.v,press,measure,over-tls,1/holding:0,
refused.v,press,measure,refused,a/b,
echoed.v,press,measure,echoed,a/b,
line2.v,press,measure,line2,a/b,
line3.v,press,measure,line3,a/b,
"""


def forms(secret: str) -> set[str]:
    """The ways in which a secret may turn up: as it is, quoted for URLs, JSON and Python, in base64 and hex."""
    raw = secret.encode()
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1], ascii(secret)[1:-1]}
    found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    found |= {base64.b64encode(raw).decode().rstrip("="), raw.hex(), repr(raw)[2:-1]}
    return found | {json.dumps(one)[1:-1] for one in list(found)}


@dataclass
class Planted:
    """The plant's folder, and everything in it that nobody may see."""

    folder: Path
    secrets: set[str] = field(default_factory=set)
    met: list[str] = field(default_factory=list)
    """What the peers were sent: the secrets are used."""
    health: int = field(default_factory=free_port)
    """Port at which its agent answers how it does."""

    def shown_in(self, text: str | bytes) -> list[str]:
        """Return which secrets a text shows, in whatever form."""
        text = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
        return [secret for secret in self.secrets if any(form in text for form in forms(secret))]


@contextlib.contextmanager
def planted(folder: Path) -> Iterator[Planted]:
    """Make the plant, and serve its peers until the block ends."""
    plant = Planted(folder)

    def answer(asked: Asked) -> bytes:
        plant.met.append(json.dumps(asked.headers))
        said = f"unauthorized: {asked.headers.get('authorization')} {_password(asked)}"
        return reply(401, json.dumps({"error": said, "code": "unauthorized", "message": said}))

    with fake(answer) as http, _broker(plant) as broker:
        _write(plant, dead=free_port(), http=http.port, broker=broker)
        yield plant


def _password(asked: Asked) -> str:
    kind, _, text = asked.headers.get("authorization", "").partition(" ")
    return base64.b64decode(text).decode() if kind == "Basic" else text


def _write(plant: Planted, **ports: int) -> None:
    secrets = plant.folder / "secrets"
    serving.make_plant(plant.folder, PLANT.format(health=plant.health, **ports))
    with (plant.folder / "points.csv").open("a", encoding="utf-8") as table:
        table.write(POINTS)
    secrets.mkdir(mode=0o700)
    for name, text in FILES.items():
        (secrets / name).write_text(f"{text}\n", encoding="utf-8")
    for name in ("user", "modbus"):
        made = certificates.leaf(name)
        (secrets / f"{name}.pem").write_bytes(made.pem)
        (secrets / f"{name}.key").write_bytes(made.key_bytes(serialization.Encoding.PEM))
    make_key(secrets / "evidence.pem", FILES["passphrase"].encode())
    for one in secrets.iterdir():
        one.chmod(0o600)
    keys = [secrets / name for name in ("user.key", "modbus.key", "evidence.pem")]
    lines = {line for key in keys for line in key.read_text().splitlines() if "-----" not in line and len(line) > 40}
    plant.secrets = {*FILES.values(), *ENVIRONMENT.values(), *PARTS, *lines}
    (plant.folder / "hour.csv").write_text("\n".join(serving.hour()), encoding="utf-8")
    import_file(load_plant(plant.folder), plant.folder / "hour.csv")


@contextlib.contextmanager
def _broker(plant: Planted) -> Iterator[int]:
    """A broker that refuses everybody, and says the password in its reason."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            _, body = await read_packet(reader)
            end = len(body) - body[::-1].find(b"\0")  # the password is the last text
            said = body[end + 1 :] if end else body
            plant.met.append(said.decode("utf-8", "replace"))
            properties = b"\x1f" + len(said).to_bytes(2, "big") + said
            writer.write(packet(0x20, b"\x00\x86" + bytes([len(properties)]) + properties))
            await writer.drain()
        writer.close()

    loop, started = asyncio.new_event_loop(), threading.Event()
    port: list[int] = []

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    task = loop.create_task(main())
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    started.wait(10)
    try:
        yield port[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        loop.close()
