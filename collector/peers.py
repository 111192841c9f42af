"""Certificates that peers show over TLS and OPC UA, for people to read; who is trusted is decided elsewhere."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from config.plant import MQTT_PORTS, Source
from connectors.tls import SOON, tls_context

_PORTS = {"modbus+tls": 802, **{scheme: MQTT_PORTS[scheme] for scheme in ("mqtts", "wss")}}
"""Schemes of sources over TLS, and their usual ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a person wants to know of a certificate."""

    subject: str
    issuer: str
    expires: dt.datetime
    sha256: str
    """Fingerprint, hexadecimal."""

    def ends_soon(self, now: dt.datetime) -> bool:
        """Return whether it ends within 30 days, or has ended."""
        return self.expires - now < SOON


def read(der: bytes) -> Certificate:
    """Return what a certificate [DER] says."""
    found = x509.load_der_x509_certificate(der)
    return Certificate(
        subject=found.subject.rfc4514_string(),
        issuer=found.issuer.rfc4514_string(),
        expires=found.not_valid_after_utc,
        sha256=found.fingerprint(SHA256()).hex(),
    )


def certificate_of(connector: Any) -> Certificate | None:
    """Return the certificate that an OPC UA server has proven to have, None of other connections.

    The contract of connectors does not hand it out, so it is looked for where that one connector keeps it.
    """
    secured = getattr(getattr(connector, "_session", None), "_secured", None)
    der = getattr(secured, "certificate", b"")
    return read(der) if der else None


async def shown_by(source: Source, limit: float) -> Certificate | None:
    """Return the certificate of a source over TLS, by a handshake alone that checks it as the source does; else None.

    limit: how long it may take [s]. None as well where the handshake fails: why, the connector has said.
    """
    parts = urlsplit(source.url)
    if parts.scheme not in _PORTS or parts.hostname is None:
        return None
    context, name = tls_context(source), source.server_name or parts.hostname
    with contextlib.suppress(OSError):  # TimeoutError and ssl.SSLError are OSErrors
        async with asyncio.timeout(limit):
            port = parts.port or _PORTS[parts.scheme]
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, server_hostname=name)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return read(der) if der else None
    return None


def shown_at(url: str, ca: str | None, limit: float) -> Certificate | None:
    """Return the certificate of an https server, checked against `ca` or the system's; None of others.

    limit: how long it may take [s]. None as well where the handshake fails.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    with contextlib.suppress(OSError):
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca is not None:  # a server's own certificate may stand there, without its issuer
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        with (
            socket.create_connection((parts.hostname, parts.port or 443), limit) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
        return read(der) if der else None
    return None
