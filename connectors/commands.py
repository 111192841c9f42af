"""The command `plantproof browse`; what it does with a URL stands with each protocol."""

from pathlib import Path

import click
from click.core import ParameterSource

from config.plant import Asset
from config.units import parse_duration

OPCUA, MODBUS, MQTT = "opc.tcp://", "modbus+", "mqtt://"
SCHEMES = {
    "opc.tcp://": OPCUA, "modbus+": MODBUS, "mqtt://": MQTT, "mqtts://": MQTT, "ws://": MQTT, "wss://": MQTT,
}  # fmt: skip
"""How URLs begin, and whose they are."""
_USER, _TLS = ("user", "password_file"), ("ca", "server_name", "certificate", "private_key")
OWN = {
    OPCUA: ("under", "security", "pki", *_USER),
    MODBUS: ("units", "scan", "sunspec", "rate", *_TLS),
    MQTT: ("topics", "duration", "template", *_USER, *_TLS),
}
"""Options that not every protocol has a use for."""
TIMEOUTS = {OPCUA: "4s", MODBUS: "1s", MQTT: "4s"}
SOURCES = {OPCUA: "opcua", MODBUS: "modbus", MQTT: "mqtt"}
LIMITS = {OPCUA: 100_000, MODBUS: 100_000, MQTT: 20_000}
_WHOSE = {OPCUA: "opc.tcp:// URLs", MODBUS: "modbus+ URLs", MQTT: "mqtt:// URLs"}

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("url")
@click.option("--points", "as_points", is_flag=True, help="Print rows for points.csv.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option("--timeout", default="", show_default="4s; Modbus 1s", help="How long one request may take.")
@click.option(
    "--limit", type=click.IntRange(1), show_default="100000; MQTT 20000",
    help="Most nodes to visit; Modbus: most registers to scan; MQTT: most topics to keep.",
)  # fmt: skip
@click.option("--source", "source_id", default="", show_default="the protocol's name", help="Source of --points' rows.")
@click.option("--asset", default="", help="Asset of --points' rows; default the machines' names or topics; Modbus: u1.")
@click.option("--under", default="", help="OPC UA: node id or browse path to start at; default the Objects folder.")
@click.option("--security", default="", help='OPC UA: "Basic256Sha256/SignAndEncrypt" and kin, or "None" by name.')
@click.option("--user", default="", help="OPC UA, MQTT: user name.")
@click.option("--password-file", type=_FILE, help="OPC UA, MQTT: file that holds its password.")
@click.option(
    "--pki", type=click.Path(path_type=Path), default="pki", show_default=True, help="OPC UA: folder of certificates."
)
@click.option("--units", default="", show_default="1", help="Modbus: units to ask, such as 1-10,247.")
@click.option("--sunspec", is_flag=True, help="Modbus: look for SunSpec models.")
@click.option(
    "--scan", multiple=True, help="Modbus: registers to read, such as holding:0-199 or 3/input:7; repeatable."
)
@click.option("--rate", type=click.FloatRange(0, 50, min_open=True), default=5.0, show_default=True,
              help="Modbus: most requests a second.")  # fmt: skip
@click.option("--ca", type=_FILE, help="TLS: certificates that are trusted (PEM); default the system's.")
@click.option("--server-name", default="", help="TLS: the name in the server's certificate, if not the URL's.")
@click.option("--certificate", type=_FILE, help="TLS: our own certificate (PEM).")
@click.option("--private-key", type=_FILE, help="TLS: its key.")
@click.option("--topic", "topics", multiple=True, show_default="#", help="MQTT: topic filter to listen to; repeatable.")
@click.option("--for", "duration", default="10s", show_default=True, help="MQTT: how long to listen.")
@click.option("--template", is_flag=True, help="MQTT: with --points one row for all topics that are alike.")
def browse(
    url: str,
    *,
    as_points: bool,
    as_json: bool,
    timeout: str,
    limit: int | None,
    source_id: str,
    asset: str,
    under: str,
    security: str,
    user: str,
    password_file: Path | None,
    pki: Path,
    units: str,
    sunspec: bool,
    scan: tuple[str, ...],
    rate: float,
    ca: Path | None,
    server_name: str,
    certificate: Path | None,
    private_key: Path | None,
    topics: tuple[str, ...],
    duration: str,
    template: bool,
) -> None:
    """List what a server or device offers; it is only ever read.

    \b
    Examples:  plantproof browse opc.tcp://192.168.10.21:4840 --security None
               plantproof browse opc.tcp://192.168.10.21:4840 --security None --points --source line1
               plantproof browse modbus+tcp://192.168.10.31:502 --units 1-10 --sunspec
               plantproof browse "modbus+rtu:///dev/ttyUSB0?baud=9600" --units 3 --scan holding:0-99
               plantproof browse mqtt://192.168.10.5:1883 --for 60s --points --template

    OPC UA: the variables with type, unit, value and a guessed role. Machines that follow OPC UA for Machinery, Machine
    Tools or PackML get their roles and state maps.

    Modbus: which units answer, who they say they are, SunSpec models, and registers that can be read. On a line where
    another master talks every request of ours may collide with one of its: stop that master first.

    MQTT: what the topics bear that are heard of while it listens, those that are alike together: kind of payload, its
    values, times and guessed roles; Sparkplug nodes by their births. Nothing is ever published.

    Exits 3 where nodes or topics were refused or left out, or answers made no sense, 69 where nobody answers, 78 where
    the server refuses.
    """
    family = _family(url)
    _refuse_strangers(family)
    _check_asset(asset)
    settings: dict[str, object] = {
        "url": url, "id": source_id or SOURCES[family], "timeout": _nanoseconds("timeout", timeout or TIMEOUTS[family]),
    }  # fmt: skip
    limit = limit or LIMITS[family]
    secured = {"ca": ca, "server_name": server_name, "certificate": certificate, "private_key": private_key}
    output = "points" if as_points else "json" if as_json else "table"
    # Each protocol's library is imported for its own URLs alone.
    if family == OPCUA:
        from connectors.opcua import verb as opcua  # noqa: PLC0415

        opcua.run(settings, output, under=under, security=security, user=user, password_file=password_file, pki=pki,
                  limit=limit, asset=asset)  # fmt: skip
    elif family == MQTT:
        from connectors.mqtt.browsing import verb as mqtt  # noqa: PLC0415
        from connectors.roles import guess  # noqa: PLC0415  names mean the same in every protocol

        mqtt.run({**settings, **secured}, output, user=user, password_file=password_file, topics=topics,
                 duration=_nanoseconds("for", duration), limit=limit, asset=asset, template=template,
                 guess=guess)  # fmt: skip
    else:
        from connectors.modbus import verb as modbus  # noqa: PLC0415

        modbus.run({**settings, **secured}, output, units=units, scan=scan, models=sunspec, rate=rate, limit=limit,
                   asset=asset)  # fmt: skip


def _family(url: str) -> str:
    for scheme, family in SCHEMES.items():
        if url.startswith(scheme):
            return family
    raise click.UsageError(
        f"URL {url!r}: browse lists OPC UA servers, Modbus devices and MQTT topics; write opc.tcp://host:4840, "
        "modbus+tcp://host:502, modbus+rtu:///dev/ttyUSB0?baud=9600 or mqtt://host:1883"
    )


def _refuse_strangers(family: str) -> None:
    """Raise UsageError where an option was given that has no meaning for the URL's protocol."""
    context = click.get_current_context()
    for name in {name: None for names in OWN.values() for name in names if name not in OWN[family]}:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            whose = " and ".join(_WHOSE[other] for other, names in OWN.items() if name in names)
            option = next(one.opts[0] for one in context.command.params if one.name == name)
            raise click.UsageError(f"{option} belongs to {whose}; leave it out here")


def _check_asset(asset: str) -> None:
    try:
        Asset(asset=asset or "x")
    except ValueError as error:
        raise click.UsageError(f"--asset {asset!r} is no id; write words joined by '/', without spaces") from error


def _nanoseconds(option: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--{option} {text!r}: {error}") from error
