"""X.509 for OPC UA: the own pair, the plant's trust list, and the rules that a server's certificate must meet.

The rules are those of OPC 10000-4, 6.1.3 (is a certificate trusted?) and OPC 10000-6, 6.2.2 (what it must hold).
Nothing here opens a socket.
"""

import contextlib
import datetime as dt
import hashlib
import ipaddress
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.plant import Source
from connectors.base import SourceLost, SourceRefused

KEY_BITS = 2048
"""The shortest RSA key that the three policies allow; also the length of the own one [bit]."""
YEARS = 5
"""How long an own certificate is valid [a]."""
SOON_DAYS = 30
"""So long before the end of a certificate there is a warning [d]."""
REJECTED = 100
"""So many certificates are kept in rejected/."""
CLOCK_SET = 2025
"""A clock before this year is not set yet [a]."""
DEPTH = 5
"""So many authorities may stand between a server and a trusted one."""

_STRONG = ("sha256", "sha384", "sha512")
_MALFORMED = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What the parser raises on bytes that are no certificate; it looks at an extension only when asked."""
_USAGES: Mapping[str, Callable[[x509.KeyUsage], bool]] = {
    "digitalSignature": lambda usage: usage.digital_signature,
    "keyEncipherment": lambda usage: usage.key_encipherment,
    "dataEncipherment": lambda usage: usage.data_encipherment,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey = field(repr=False)
    path: Path
    """Where the certificate lies."""


def utc_now() -> dt.datetime:
    """Return the time that certificates are judged by."""
    return dt.datetime.now(dt.UTC)


def thumbprint(certificate: x509.Certificate) -> str:
    """Return the SHA-1 of the DER form as OPC UA tools show it."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def title(certificate: x509.Certificate) -> str:
    """Return subject and thumbprint, fit for a message whatever the subject holds."""
    subject = certificate.subject.rfc4514_string()[:200]
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in subject)
    return f"{shown} (SHA-1 {thumbprint(certificate)})"


def expiry(what: str, certificate: x509.Certificate, now: dt.datetime) -> list[str]:
    """Return a warning where the certificate ends within SOON_DAYS, or nothing."""
    end = certificate.not_valid_after_utc
    days = (end - now).days
    return [f"{what} expires on {end.date()}, in {days} days"] if 0 <= days < SOON_DAYS else []


# --- files ---


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read the certificates of a PEM or DER file; raises SourceRefused naming the file."""
    try:
        data = path.read_bytes()
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except (OSError, *_MALFORMED) as error:
        raise SourceRefused(f"{path} is no readable certificate (X.509 in PEM or DER): {error}") from error


def _read_crl(path: Path) -> x509.CertificateRevocationList:
    try:
        data = path.read_bytes()
        return x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
    except (OSError, *_MALFORMED) as error:
        raise SourceRefused(f"{path} is no readable revocation list (X.509 CRL in PEM or DER): {error}") from error


def _read_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        data = path.read_bytes()
        load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
        key = load(data, None)
    except TypeError:
        raise SourceRefused(f"{path}: the private key has a pass phrase; give one without") from None
    except OSError as error:
        raise SourceRefused(f"{path}: the private key cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm):
        raise SourceRefused(f"{path} is no private key in PEM or DER") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SourceRefused(f"{path}: the private key is not RSA; OPC UA's policies here want RSA")
    return key


def load_pair(certificate: Path, key: Path) -> Pair:
    """Load a certificate and the key that must belong to it; raises SourceRefused."""
    pair = Pair(read_certificates(certificate)[0], _read_key(key), certificate)
    if pair.certificate.public_key() != pair.key.public_key():
        raise SourceRefused(f"{key} is not the private key of {certificate}; give the two that were made together")
    return pair


# --- the own pair ---


def host_name() -> str:
    """Return the gateway's host name, in the characters that a certificate allows."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "gateway"


def application_uri() -> str:
    """Return the URI that names this application where no certificate says another."""
    return f"urn:{host_name()}:plantproof"


def own_path(source: Source) -> Path:
    """Return where the own certificate lies, which the server must trust."""
    return source.certificate or source.pki / "own" / "cert.der"


def own_pair(source: Source, now: dt.datetime) -> Pair:
    """Load the own pair, made in `pki`/own on first use; raises SourceRefused, and SourceLost until a clock is set."""
    try:
        for name in ("trusted", "rejected", "issuers", "crl"):
            (source.pki / name).mkdir(parents=True, exist_ok=True)
        folder = source.pki / "own"
        if source.certificate is None and not (folder.is_dir() and any(folder.iterdir())):
            _make_own(folder, now)
    except OSError as error:
        raise SourceRefused(
            f"{source.pki}: the folders or the own certificate cannot be made: {error}; let the agent's user write"
        ) from error
    pair = load_pair(own_path(source), source.private_key or source.pki / "own" / "key.pem")
    _check_own(pair, now)
    return pair


def user_pair(certificate: Path, key: Path, now: dt.datetime) -> Pair:
    """Load the pair of a certificate user; raises SourceRefused."""
    pair = load_pair(certificate, key)
    if faults := [*_strength_faults(pair.certificate), *_time_faults(pair.certificate, now)]:
        raise SourceRefused(f"{certificate}: the user's certificate cannot serve: {'; '.join(faults)}")
    return pair


def _check_own(pair: Pair, now: dt.datetime) -> None:
    renew = f"make a new one (delete cert.der and key.pem where the agent made them) instead of {pair.path}"
    if not own_uris(pair.certificate):
        raise SourceRefused(f"{pair.path}: the own certificate names no application URI; {renew}")
    if faults := [*_strength_faults(pair.certificate), *_time_faults(pair.certificate, now)]:
        raise SourceRefused(f"{pair.path}: the own certificate cannot serve: {'; '.join(faults)}; {renew}")


def own_uris(certificate: x509.Certificate) -> list[str]:
    """Return the application URIs that a certificate names; none where it cannot be read."""
    with contextlib.suppress(x509.ExtensionNotFound, *_MALFORMED):
        return _names(certificate).get_values_for_type(x509.UniformResourceIdentifier)
    return []


def _make_own(folder: Path, now: dt.datetime) -> None:
    """Make key and certificate in a folder beside, and rename it: both are there, or neither."""
    if now.year < CLOCK_SET:
        raise SourceLost(f"the clock shows {now:%Y-%m-%d}: the own certificate is made once the clock is set")
    temporary = Path(tempfile.mkdtemp(prefix=".own-", dir=folder.parent))  # made with mode 0700
    try:
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        certificate = _self_signed(key, now)
        pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        _store(temporary / "key.pem", key.private_bytes(serialization.Encoding.PEM, *pem), 0o600)
        _store(temporary / "cert.der", certificate.public_bytes(serialization.Encoding.DER), 0o644)
        _sync(temporary)
        try:
            temporary.rename(folder)
        except OSError:
            # Onto files a rename fails: another process was faster, and its pair counts.
            if not any(folder.glob("*")):
                raise
        _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _self_signed(key: rsa.RSAPrivateKey, now: dt.datetime) -> x509.Certificate:
    host = host_name()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"PlantProof@{host}"[:64])])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(application_uri()), x509.DNSName(host)])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        # A day back: the server's clock may be behind ours.
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * YEARS + 1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _store(path: Path, data: bytes, mode: int) -> None:
    path.touch(mode=mode)
    path.write_bytes(data)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- the trust list ---


def _files(folder: Path) -> list[Path]:
    """Return the folder's files; hidden ones are the file system's own."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


@dataclass(frozen=True, slots=True)
class Trust:
    """What lies in the plant's pki folder."""

    pki: Path
    trusted: tuple[x509.Certificate, ...]
    """Servers, and authorities whose servers are trusted."""
    issuers: tuple[x509.Certificate, ...]
    """Authorities between; not trusted by themselves."""
    crls: tuple[tuple[Path, x509.CertificateRevocationList], ...]

    @classmethod
    def read(cls, pki: Path) -> "Trust":
        """Read the whole folder; raises SourceRefused naming a file that cannot be read."""
        try:
            trusted, issuers, crl = (_files(pki / name) for name in ("trusted", "issuers", "crl"))
        except OSError as error:
            raise SourceRefused(f"{pki}: the trust list cannot be read: {error}") from error
        return cls(
            pki,
            tuple(certificate for path in trusted for certificate in read_certificates(path)),
            tuple(certificate for path in issuers for certificate in read_certificates(path)),
            tuple((path, _read_crl(path)) for path in crl),
        )

    def path(
        self, leaf: x509.Certificate, offered: Sequence[x509.Certificate], now: dt.datetime
    ) -> list[x509.Certificate]:
        """Return the certificates from `leaf` up to one that is trusted; empty where none is."""
        return [leaf] if leaf in self.trusted else self._upward([leaf], (*self.issuers, *offered), now)

    def _upward(
        self, below: list[x509.Certificate], between: Sequence[x509.Certificate], now: dt.datetime
    ) -> list[x509.Certificate]:
        def issues(authority: x509.Certificate) -> bool:
            return _signed(below[-1], authority) and not self.authority_faults(authority, len(below) - 1, now)

        if (anchor := next(filter(issues, self.trusted), None)) is not None:
            return [*below, anchor]
        if len(below) > DEPTH:
            return []
        for authority in between:
            if authority in below or not issues(authority):
                continue
            if found := self._upward([*below, authority], between, now):
                return found
        return []

    def authority_faults(self, authority: x509.Certificate, below: int, now: dt.datetime) -> list[str]:
        """Return why a certificate may not issue others, with so many authorities `below` it."""
        faults = _time_faults(authority, now)
        extensions = authority.extensions
        try:
            basic = extensions.get_extension_for_class(x509.BasicConstraints).value
            if not basic.ca or (basic.path_length is not None and basic.path_length < below):
                faults.append("it is no authority for this (basicConstraints)")
            if not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
                faults.append("it may not sign certificates (KeyUsage)")
        except x509.ExtensionNotFound as missing:
            # KeyUsage may be missing, which allows all; BasicConstraints may not.
            if missing.oid == x509.BasicConstraints.oid:
                faults.append("it is no authority (basicConstraints)")
        # The signature under a trusted authority proves nothing: it is trusted as it is.
        faults += _key_faults(authority) if authority in self.trusted else _strength_faults(authority)
        return faults

    def revocation(
        self, path: Sequence[x509.Certificate], offered: Sequence[x509.Certificate], now: dt.datetime
    ) -> tuple[list[str], list[str]]:
        """Return faults and warnings that the revocation lists bring for each certificate of `path`."""
        faults: list[str] = []
        warnings: list[str] = []
        known = {*self.trusted, *self.issuers, *offered, *path}
        for certificate in path:
            # By who truly signed the certificate, not by the name alone, which anyone can bear.
            signers = [authority for authority in known if _signed(certificate, authority)]
            for file, crl in self.crls:
                if crl.issuer != certificate.issuer:
                    continue
                if not signers:
                    faults.append(f"{file} cannot be checked: put its authority's certificate into {self.pki}/issuers")
                elif not any(_signed_crl(crl, signer) for signer in signers):
                    warnings.append(f"{file} bears the name of {title(signers[0])} but not its signature: not used")
                elif (entry := crl.get_revoked_certificate_by_serial_number(certificate.serial_number)) is not None:
                    faults.append(
                        f"{title(certificate)} is revoked since {entry.revocation_date_utc.date()} by {file}: "
                        "give the server a new certificate"
                    )
                elif crl.next_update_utc is not None and crl.next_update_utc < now:
                    warnings.append(f"{file} was to be renewed by {crl.next_update_utc.date()}: fetch the new one")
        # An authority that signed itself and another meets the same list twice.
        return list(dict.fromkeys(faults)), list(dict.fromkeys(warnings))


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether the authority's name and key stand behind the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, *_MALFORMED):
        return False
    return True


def _signed_crl(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except _MALFORMED:
        return False


# --- the rules ---


def split_chain(data: bytes) -> list[x509.Certificate]:
    """Return the certificates that a server concatenates, its own first; ValueError where they are none."""
    found: list[x509.Certificate] = []
    while data and len(found) <= DEPTH:
        # The length of a DER sequence; below 256 bytes there is no certificate, above 64 KiB no reason for one.
        if data[:2] != b"\x30\x82":
            raise ValueError("these bytes are no X.509 certificate")
        size = int.from_bytes(data[2:4], "big") + 4
        found.append(x509.load_der_x509_certificate(data[:size]))
        data = data[size:]
    if not found:
        raise ValueError("it is empty")
    return found


def check_server(offered: bytes, pki: Path, uri: str, host: str, now: dt.datetime) -> list[str]:
    """Check the certificate that a server offers, with all faults at once.

    `offered` is DER, the issuers' after it; `uri` is the application URI that the server states, `host` the one that
    the plant's url names. Returns warnings. Raises SourceRefused; an unknown certificate is kept in rejected/.
    """
    try:
        leaf, *chain = split_chain(offered)
        named = title(leaf)
        trust = Trust.read(pki)
        path = trust.path(leaf, chain, now)
        faults = [] if path else [_unknown(leaf, trust, chain, now)]
        revoked, warnings = trust.revocation(path or [leaf], chain, now)
        faults += [*revoked, *_time_faults(leaf, now), *_strength_faults(leaf), *_leaf_faults(leaf, uri, host)]
    except _MALFORMED as error:
        raise SourceRefused(f"the server's certificate cannot be read: {error}; give the server a new one") from error
    if faults:
        raise SourceRefused(f"the server's certificate {named} is refused: {'; '.join(faults)}")
    return [*expiry(f"the server's certificate {named}", leaf, now), *warnings]


def _unknown(leaf: x509.Certificate, trust: Trust, chain: Sequence[x509.Certificate], now: dt.datetime) -> str:
    try:
        kept = str(_keep_rejected(leaf, trust.pki / "rejected"))
    except OSError as error:
        kept = f"the server's certificate (not kept in {trust.pki}/rejected: {error})"
    issuers = ""
    for authority in {*trust.trusted, *trust.issuers, *chain}:
        if authority != leaf and _signed(leaf, authority) and (why := trust.authority_faults(authority, 0, now)):
            issuers += f" (its issuer {title(authority)} does not count: {', '.join(why)})"
    return (
        f"it is not trusted: neither it nor an authority behind it is in {trust.pki}/trusted; compare the SHA-1 with "
        f"the one that the server shows, then move {kept} to {trust.pki}/trusted{issuers}"
    )


def _keep_rejected(leaf: x509.Certificate, folder: Path) -> Path:
    """Keep a refused certificate for a person to look at; the oldest go when there are too many."""
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    shown = str(names[0].value) if names else "unnamed"
    safe = re.sub(r"[^\w .-]", "_", shown)[:60].strip(" .") or "unnamed"
    path = folder / f"{safe} [{thumbprint(leaf)}].der"
    if path.exists():
        return path
    kept = sorted(folder.glob("*[[]" + "[0-9A-F]" * 40 + "].der"), key=lambda p: p.stat().st_mtime_ns)
    for old in kept[: max(0, len(kept) - REJECTED + 1)]:
        old.unlink(missing_ok=True)
    temporary = folder / f".{thumbprint(leaf)}-{os.getpid()}"
    temporary.write_bytes(leaf.public_bytes(serialization.Encoding.DER))
    temporary.replace(path)
    return path


def _time_faults(certificate: x509.Certificate, now: dt.datetime) -> list[str]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < now:
        return [f"it expired on {end:%Y-%m-%d %H:%M} UTC; a new one is needed"]
    if begin > now:
        clocks = f"look at the clocks of the server and of this gateway, which shows {now:%Y-%m-%d %H:%M} UTC"
        return [f"it is not yet valid, only from {begin:%Y-%m-%d %H:%M} UTC; {clocks}"]
    return []


def _key_faults(certificate: x509.Certificate) -> list[str]:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return ["its key is not RSA; a new one is needed"]
    if key.key_size < KEY_BITS:
        return [f"its RSA key has {key.key_size} bits and needs {KEY_BITS}; a new one is needed"]
    return []


def _strength_faults(certificate: x509.Certificate) -> list[str]:
    digest = certificate.signature_hash_algorithm
    name = digest.name if digest is not None else "none"
    weak = [] if name in _STRONG else [f"it is signed with {name} and needs SHA-256 or better; a new one is needed"]
    return _key_faults(certificate) + weak


def _leaf_faults(leaf: x509.Certificate, uri: str, host: str) -> list[str]:
    return [*_usage_faults(leaf), *_identity_faults(leaf, uri, host)]


def _usage_faults(leaf: x509.Certificate) -> Iterator[str]:
    for extension in leaf.extensions:
        if isinstance(extension.value, x509.KeyUsage):
            lacks = [name for name, has in _USAGES.items() if not has(extension.value)]
            if lacks:
                yield f"its usage lacks {', '.join(lacks)} (KeyUsage); give the server one made for OPC UA"
        if (
            isinstance(extension.value, x509.ExtendedKeyUsage)
            and ExtendedKeyUsageOID.SERVER_AUTH not in extension.value
        ):
            yield "its usage lacks serverAuth (ExtendedKeyUsage); give the server one made for OPC UA"


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _identity_faults(leaf: x509.Certificate, uri: str, host: str) -> Iterator[str]:
    try:
        names = _names(leaf)
    except x509.ExtensionNotFound:
        yield "it has no SubjectAlternativeName with application URI and host; give the server one made for OPC UA"
        return
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uri or uri not in uris:
        yield (
            f"its application URI {_listed(uris)} is not the one that the server states, {uri[:200]!r}; "
            "give the server a certificate made for it"
        )
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    if _plain(host) not in map(_plain, hosts):
        yield (
            f"its hosts {_listed(hosts)} are not the url's, {host!r}; write one of them in the url, or give the "
            f"server a certificate for {host!r}"
        )


def _listed(values: Sequence[str]) -> str:
    return ", ".join(repr(value[:200]) for value in values[:8]) or "(none)"


def _plain(host: str) -> str:
    """Return a host in the one form in which two can be compared."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host.rstrip(".").lower()
