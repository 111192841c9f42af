"""Checks of keys, secret files and certificates: who can read them, until when they hold, what belongs together."""

import datetime as dt
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from collector.findings import Finding, found
from collector.plant_secrets import written
from config.plant import Plant, Source

SOON_DAYS = 30
"""So long before the end of a certificate there is a warning [d]."""
_FILE = re.compile(r"\$\{file:([^}]+)\}")
_MALFORMED = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What the parser raises on bytes that are no certificate or key."""


class Pair(NamedTuple):
    """A certificate and the key that belongs to it."""

    certificate: Path
    key: Path


def check(plant: Plant, now: float) -> Iterator[Finding]:
    """Yield what there is to say of secret files and certificates."""
    secret = [*_secret_files(plant)]
    troubles = [one for path in dict.fromkeys(secret) for one in _permissions(path)]
    yield from troubles or [found("secrets.ok", count=len(set(secret)))]
    moment = dt.datetime.fromtimestamp(now, dt.UTC)
    files = list(dict.fromkeys(_certificates(plant)))
    dated = [one for path in files for one in _dates(path, moment)]
    dated += [one for pair in dict.fromkeys(_pairs(plant)) for one in _match(pair)]
    yield from dated or [found("certificates.ok", count=len(files), days=SOON_DAYS)]


def _secret_files(plant: Plant) -> Iterator[Path]:
    """Yield the files whose content nobody but the agent (and who signs) may read."""
    for text in written(plant):
        yield from (plant.root / name for name in _FILE.findall(text))
    yield from (plant.resolve(path) for path in (plant.evidence.key, plant.evidence.passphrase_file) if path)
    yield from (pair.key for pair in _pairs(plant))


def _permissions(path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as error:
        yield found("secrets.unreadable", path=path, why=error.strerror)
        return
    facts = {"path": path, "mode": stat.filemode(mode)}
    if mode & stat.S_IRWXO:
        yield found("secrets.open", **facts)
    elif mode & stat.S_IWGRP:
        yield found("secrets.changeable", **facts)


def _pairs(plant: Plant) -> Iterator[Pair]:
    for source in plant.sources:
        if source.certificate is not None and source.private_key is not None:
            yield Pair(source.certificate, source.private_key)
        if source.user_certificate is not None and source.user_key is not None:
            yield Pair(source.user_certificate, source.user_key)
        own = _own(source)
        if source.certificate is None and own.certificate.exists():
            yield own


def _own(source: Source) -> Pair:
    """Return where the agent keeps what it makes for OPC UA."""
    return Pair(source.pki / "own" / "cert.der", source.pki / "own" / "key.pem")


def _certificates(plant: Plant) -> Iterator[Path]:
    """Yield the files of certificates: ours, those that we trust, and their issuers'."""
    for source in plant.sources:
        if source.kind == "opcua":
            for name in ("trusted", "issuers"):
                yield from sorted(path for path in (source.pki / name).glob("*") if path.is_file())
        if source.ca is not None:
            yield source.ca
    authorities = [*(sink.ca for sink in plant.sinks), *(push.ca for push in plant.push)]
    yield from (plant.resolve(path) for path in authorities if path is not None)
    yield from (pair.certificate for pair in _pairs(plant))


def _dates(path: Path, now: dt.datetime) -> Iterator[Finding]:
    """Say which certificates of a file do not hold, or not for long."""
    try:
        certificates = _read(path)
    except (OSError, *_MALFORMED) as error:
        why = error.strerror if isinstance(error, OSError) else "no X.509 in PEM or DER"
        yield found("certificates.unreadable", path=path, why=why)
        return
    for one in certificates:
        end, begin = one.not_valid_after_utc, one.not_valid_before_utc
        facts = {"path": path, "subject": one.subject.rfc4514_string()[:100], "end": f"{end:%Y-%m-%d}"}
        if now > end:
            yield found("certificates.expired", **facts)
        elif now < begin:
            yield found("certificates.early", **facts, begin=f"{begin:%Y-%m-%d %H:%M} UTC")
        elif end - now < dt.timedelta(days=SOON_DAYS):
            yield found("certificates.soon", **facts, left=(end - now).days, days=SOON_DAYS)


def _read(path: Path) -> list[x509.Certificate]:
    data = path.read_bytes()
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]


def _match(pair: Pair) -> Iterator[Finding]:
    """Say where a key does not belong to its certificate; what cannot be read is told elsewhere."""
    try:
        certificate, data = _read(pair.certificate)[0], pair.key.read_bytes()
    except (OSError, *_MALFORMED):
        return
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        key = load(data, None)
    except _MALFORMED as error:
        # A key with a passphrase is a TypeError; the agent is given none.
        yield found("certificates.locked" if isinstance(error, TypeError) else "certificates.no_key", path=pair.key)
        return
    if key.public_key() != certificate.public_key():
        yield found("certificates.mismatch", path=pair.certificate, key=pair.key)
