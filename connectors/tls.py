"""TLS of every protocol over sockets: TLS 1.2 or later, the server's certificate checked, ours shown where given."""

import datetime as dt
import ssl

from config.plant import Source
from connectors.base import SourceRefused

SOON = dt.timedelta(days=30)
"""A certificate that ends within this is warned of."""


def tls_context(source: Source) -> ssl.SSLContext:
    """Return the TLS settings of a source.

    Source: MODBUS/TCP Security Protocol Specification V2.1, sections 8 and 9, which ask the same of MQTT's TLS.
    Raises SourceRefused where a file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=source.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if source.ca is not None:  # a device's own certificate may stand there, without its issuer
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if source.certificate is not None:
            context.load_cert_chain(source.certificate, source.private_key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SourceRefused(f"source {source.id}: ca, certificate or private_key cannot be read ({error})") from error
    return context


def untrusted(name: str, error: ssl.SSLCertVerificationError) -> SourceRefused:
    """Return what to tell of a server's certificate that does not pass."""
    return SourceRefused(
        f"{name}: its certificate is not trusted ({error.verify_message}); "
        "put the certificate, or its issuer's, into the source's ca file"
    )


def ends_soon(tls: ssl.SSLObject | None, now: dt.datetime) -> str | None:
    """Return a warning where the peer's certificate ends within SOON, else None."""
    certificate = tls.getpeercert() if tls is not None else None
    stamp = (certificate or {}).get("notAfter")
    if not isinstance(stamp, str):
        return None
    end = dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(stamp), dt.UTC)
    return f"the server's certificate ends on {end:%Y-%m-%d}; have it renewed" if end - now < SOON else None
