"""The command `plantproof serve`."""

import importlib.util
import json
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.language import Lang, lang_option
from config.load import load_plant
from config.plant import Plant
from config.push_checks import is_loopback
from kpis.commands import LAKE, PLANT, STORE, store_to_read
from kpis.server.tokens import TokenFault, Tokens

if TYPE_CHECKING:
    import uvicorn

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@PLANT
@LAKE
@STORE
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback unless told otherwise.")
@click.option("--port", default=8040, show_default=True, type=click.IntRange(0, 65_535))
@click.option("--tls-cert", type=_FILE, help="Certificate chain (PEM); wanted by any other host than loopback.")
@click.option("--tls-key", type=_FILE, help="Its private key (PEM).")
@click.option("--plain-http", is_flag=True, help="Serve another host without TLS, behind a proxy that does it.")
@lang_option("Of pages, by default.")
@click.option("--no-access-log", is_flag=True, help="Leave out the line of JSON on stderr for each request.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON line.")
def serve(
    plant: Path,
    *,
    lake_path: Path | None,
    store: str | None,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    plain_http: bool,
    lang: Lang,
    no_access_log: bool,
    as_json: bool,
) -> None:
    """Serve figures and evidence packages: an API for programs, pages for people (/docs says it all).

    \b
    Examples:  plantproof serve PLANT --port 8040
               plantproof serve PLANT --host 0.0.0.0 --tls-cert server.pem --tls-key server.key

    Every route but /health wants a token, which `plantproof token new` makes. Exits 78 where the configuration is at
    fault.
    """
    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "jinja2")):
        raise click.ClickException('the server is an extra; install it with: pip install "plantproof[kpi,server]"')
    _check_tls(host, tls_cert, tls_key, plain_http=plain_http)
    loaded = load_plant(plant)
    _check_tokens(loaded, plant)
    from kpis.server import access  # noqa: PLC0415  an extra

    server = _server(loaded, store, lake_path, lang, (tls_cert, tls_key))
    with _listening(host, port) as listening:
        scheme, at = "http" if tls_cert is None else "https", listening.getsockname()
        address = f"{scheme}://{f'[{at[0]}]' if ':' in at[0] else at[0]}:{at[1]}"
        click.echo(f"{address}/docs", err=True)
        if as_json:
            click.echo(json.dumps({"url": address, "docs": f"{address}/docs"}))
        if not no_access_log:
            access.to_stderr()
        server.run(sockets=[listening])
    if not server.started:
        raise click.ClickException("the server did not start; the lines above say why")


def _check_tls(host: str, cert: Path | None, key: Path | None, *, plain_http: bool) -> None:
    if (cert is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key go together; name both")
    if cert is None and not plain_http and not is_loopback(host):
        raise click.UsageError(
            f"--host {host} is reached by other machines, and tokens would go there in plain text; name --tls-cert and "
            "--tls-key, or --plain-http where a proxy in front does TLS"
        )
    if cert is not None and key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise click.UsageError(
                f"{cert} and {key} are no certificate and its key ({error}); name PEM files that belong together, the "
                "key without a passphrase"
            ) from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _check_tokens(loaded: Plant, plant: Path) -> None:
    try:
        known = Tokens(loaded.root).all()
    except TokenFault as error:
        raise click.ClickException(str(error)) from error
    if not known:
        told = f"no token was made, so nothing but /health answers; make one: plantproof token new {plant} --name NAME"
        click.echo(told, err=True)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise click.ClickException(f"{host}:{port} cannot be served ({error.strerror}); name another --port") from error


def _server(
    loaded: Plant, store: str | None, lake_path: Path | None, lang: Lang, tls: tuple[Path | None, Path | None]
) -> "uvicorn.Server":
    import uvicorn  # noqa: PLC0415  an extra

    from kpis.evidence.keys import KeyFault  # noqa: PLC0415  other verbs need none of it
    from kpis.server.app import Settings, make_app  # noqa: PLC0415
    from kpis.server.building import builder, signer_of  # noqa: PLC0415
    from kpis.server.protocol import config_of  # noqa: PLC0415

    place = store_to_read(loaded, store, lake_path)
    try:
        signer_of(loaded)
    except KeyFault as error:
        raise click.ClickException(f"[evidence] key: {error}") from error
    app = make_app(loaded, place, builder(loaded, place), Settings(lang=lang))
    return uvicorn.Server(config_of(app, *tls))
