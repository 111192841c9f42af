"""Certificates good and bad, authorities and revocation lists; RSA keys are slow to make and come from a cache."""

import datetime as dt
import functools
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

URI = "urn:plantproof:test:server"
"""The application URI of the test's server."""
DAY = dt.timedelta(days=1)

SHA1_SIGNED = b"""\
-----BEGIN CERTIFICATE-----
MIIDIjCCAgqgAwIBAgIUaFO26OQGJCdcou4YewyEATkRDzIwDQYJKoZIhvcNAQEF
BQAwETEPMA0GA1UEAwwGc2VydmVyMCAXDTI2MTEyMTEyNTYxN1oYDzIxMjYxMDI4
MTI1NjE3WjARMQ8wDQYDVQQDDAZzZXJ2ZXIwggEiMA0GCSqGSIb3DQEBAQUAA4IB
DwAwggEKAoIBAQCawujZvjONtdko3VkY/oS0Ug3LSPfp96Bdksj85yM+sPuCtGK1
QZw+LNZS5iJ4ICWwoiE+m3Za93oVykrou9HpNctbydQ5WH91a476LDzBJuC6d/MZ
PJlVEACEvesFpFZODIrVkEZ1LDvCBjOKgE43JcDMsf3oEWUdISUIYBP35vEzaGIt
UWUB/hGzWXU9uvpjiFZQsGhZ3GGPYRLXK306UkcKEJ+49Wz8TlBKNGATYA27ADXI
qpjNzo83JBYGLeGjfM0yg6jCx4TwX/3nXFkxItEUhVXhVw/dPbKzYX0Vfu0eNeFI
N5EZPvXGGFdBiXluGVMUxPdQEbDH6A2Qo2j3AgMBAAGjcDBuMCsGA1UdEQQkMCKG
GnVybjpwbGFudHByb29mOnRlc3Q6c2VydmVyhwR/AAABMAsGA1UdDwQEAwIE8DAT
BgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUAZk1Ffg/8WaIYnFKqGG9G7XB
8ucwDQYJKoZIhvcNAQEFBQADggEBADdnC8qRn6Xcdpmy0u0l5zODR29mz4klhMh0
NIQ/zNi/HeNNjZeFkYrdmw+2XM6kJ+5Kj1k8Ah59EXsBCJZx/AJbOLuDeOkjezFh
Da78HRceKGaQUvLgvxyQ/m9fRcCyOrE1jzd9xpS2TlUmgfVQC6XjTpJ5SiWBGO2x
1AgFLWtRpEwFQqd7QUG5WxSMTtjcYgcx0D7X7v4NoljTgNf2fV6yxRF/sLxDiQNL
RjE/cCYb1voheyaFRzruo3l44dIBg3pMcvTw7IG/QBPriqalBuXgLohSLtlYJPZE
P7gC5pQoiVXgfRx8ql06u/tV6M4sEf1iq7rbd2UAAVC+A/zNcxc=
-----END CERTIFICATE-----
"""
"""Self-signed with SHA-1, which the library no longer makes: RSA 2048, URI, 127.0.0.1, valid until 2125."""


@functools.cache
def key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return the key of a name, the same one each time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        """The certificate as OPC UA sends it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate as text."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_bytes(self, encoding: serialization.Encoding = serialization.Encoding.PEM) -> bytes:
        """The key without a pass phrase."""
        return self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def stored(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write certificate and key into a folder; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        paths[0].write_bytes(self.pem)
        paths[1].write_bytes(self.key_bytes())
        return paths


def name(common: str) -> x509.Name:
    """Return a subject."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(*set_: str) -> x509.KeyUsage:
    """Return a KeyUsage with these bits set."""
    bits = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{bit: bit in set_ for bit in bits})


LEAF_USAGE = usage("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
CA_USAGE = usage("key_cert_sign", "crl_sign")
SERVER_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def _signed(
    builder: x509.CertificateBuilder, extensions: Sequence[x509.ExtensionType | None], signer
) -> x509.Certificate:
    for extension in extensions:
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _builder(common: str, issuer: Made | None, serial: int | None, begin: dt.timedelta, end: dt.timedelta, own):
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(issuer.certificate.subject if issuer else name(common))
        .public_key(own.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )


def leaf(
    common: str = "server",
    issuer: Made | None = None,
    *,
    uris: Sequence[str] = (URI,),
    hosts: Sequence[str] = ("127.0.0.1",),
    begin: dt.timedelta = -DAY,
    end: dt.timedelta = 365 * DAY,
    key_usage: x509.KeyUsage | None = LEAF_USAGE,
    extended: x509.ExtendedKeyUsage | None = SERVER_AUTH,
    san: bool = True,
    bits: int = 2048,
    key_name: str = "",
    serial: int | None = None,
) -> Made:
    """Make a certificate of an application, good unless told otherwise; self-signed without an issuer."""
    own = key(key_name or common, bits)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    extensions = (x509.SubjectAlternativeName(names) if san else None, key_usage, extended)
    builder = _builder(common, issuer, serial, begin, end, own)
    return Made(_signed(builder, extensions, issuer.key if issuer else own), own)


def authority(
    common: str,
    issuer: Made | None = None,
    *,
    is_ca: bool = True,
    path_length: int | None = None,
    begin: dt.timedelta = -DAY,
    end: dt.timedelta = 365 * DAY,
    key_usage: x509.KeyUsage | None = CA_USAGE,
    key_name: str = "",
) -> Made:
    """Make an authority, or with `is_ca` False one that only pretends; self-signed without an issuer."""
    own = key(key_name or common)
    extensions = (x509.BasicConstraints(is_ca, path_length), key_usage)
    builder = _builder(common, issuer, None, begin, end, own)
    return Made(_signed(builder, extensions, issuer.key if issuer else own), own)


def crl(issuer: Made, *serials: int, next_update: dt.timedelta = 30 * DAY, signer: Made | None = None) -> bytes:
    """Make an authority's revocation list [DER]; another signer makes it a forged one."""
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - 60 * DAY)
        .next_update(now + next_update)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign((signer or issuer).key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
