#!/usr/bin/env python3
"""Import PlantProof evidence packages: pull or open, verify, print what an assessment system stores.

    python assessment_import.py 2025.zip --key works.pub --plant works --from 2025-01-01 --to 2026-01-01
    python assessment_import.py --url https://plant:8040 --token-file token --ca plant.pem --key works.pub --plant works

One JSON object an indicator on stdout, messages on stderr. Exit codes: 0 imported, or nothing new; 3 imported, and a
person should look; 4 a package is refused; 69 the plant's server is not reachable. Python 3.11 and its standard library
alone: take it as it is, or as the text to program by. The contract is docs/import.md.
"""

import argparse
import base64
import datetime as dt
import hashlib
import http.client
import io
import json
import math
import re
import sqlite3
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

FORMAT = 2
DESCRIPTOR, MANIFEST, SIGNATURE = "datapackage.json", "manifest-sha256.txt", "signature.dsse.json"
MAX_BYTES, MAX_ENTRIES, MAX_LISTING = 2**31, 10_000, 2**24
LOOPBACK = ("127.0.0.1", "::1", "localhost")
TIMEOUT = 60
"""Of one answer of the server [s]."""
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", f"urn:plantproof:evidence-package:{FORMAT}"
SIGNED = ("format", "plant", "start_ns", "end_ns", "revision", "replaces")
DONE, USAGE, LOOK, REFUSED, UNREACHABLE = 0, 2, 3, 4, 69


class RefusedError(Exception):
    """A package that must not be stored: what is wrong with it."""


class UnreachableError(Exception):
    """A server that does not give what it is asked for."""


@dataclass(frozen=True)
class Package:
    """A package whose every check passed."""

    sha256: str
    manifest_sha256: str
    about: Mapping[str, Any]
    """The block `plantproof` of its descriptor."""
    key_id: str | None
    """Of the key that signed it; None: nobody did."""
    trusted: bool
    indicators: Mapping[str, Any]


# Ed25519, RFC 8032, section 5.1. Nothing here is secret, so nothing has to take the same time for every input.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z."""
NEUTRAL: Point = (0, 1, 1, 0)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a signature [64 B] of a message is by the holder of a public key [32 B]."""
    key, s = point_of(public), int.from_bytes(signature[32:], "little")
    if key is None or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    x, y, z, t = key
    return bytes_of(added(times(s, BASE), times(k, (-x, y, z, -t)))) == signature[:32]


def point_of(data: bytes) -> Point | None:
    """Return the point that 32 bytes stand for; None where they stand for none."""
    y, sign = int.from_bytes(data, "little") & (2**255 - 1), data[-1] >> 7 if len(data) == 32 else 2
    if sign > 1 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = x if x % 2 == sign else P - x
    return x, y, 1, x * y % P


def bytes_of(point: Point) -> bytes:
    """Return the 32 bytes that stand for a point."""
    x, y, z, _ = point
    x, y = (of * pow(z, -1, P) % P for of in (x, y))
    return (y | (x & 1) << 255).to_bytes(32, "little")


def added(a: Point, b: Point) -> Point:
    """Return the sum of two points."""
    e, h = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = h - e, d - c, d + c, h + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(factor: int, point: Point) -> Point:
    """Return a point added to itself so often."""
    total = NEUTRAL
    for bit in f"{factor:b}":
        total = added(total, total)
        total = added(total, point) if bit == "1" else total
    return total


BASE = point_of(b"\x58" + b"\x66" * 31)


# A package: bytes first, then who signed, then what it says.


def opened(data: bytes) -> dict[str, bytes]:
    """Return a package's files by name; nothing that claims more bytes than the archive has is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES or sum(e.file_size for e in entries) > len(data):
                raise RefusedError("the archive has more entries or bytes than a package may have")
            if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
                raise RefusedError("the archive is compressed; a package is stored")
            files = {e.filename: archive.read(e) for e in entries if safe(e.filename)}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise RefusedError(f"the archive cannot be opened: {error}") from error
    if packed(files) != data:
        raise RefusedError("the archive is not written as a package is: entries or bytes were added, moved or changed")
    return files


def safe(name: str) -> bool:
    """Return whether a name stays inside the package on any system."""
    return name.isprintable() and not {"", ".", ".."} & set(name.split("/")) and not set(name) & set("\\:")


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return the one archive that holds these files: stored, in order of name, of 1980."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def read_json(data: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object of a file, without NaN and without a name that stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name stands twice")
        return dict(pairs)

    def never(text: str) -> float:
        raise ValueError(f"{text} is no number")

    def finite(text: str) -> float:
        return float(text) if math.isfinite(float(text)) else never(text)

    try:
        found = json.loads(data, object_pairs_hook=once, parse_constant=never, parse_float=finite)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{name}: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise RefusedError(f"{name}: no JSON object")
    return found


def verified(data: bytes, keys: Mapping[str, bytes], *, any_key: bool) -> tuple[Package, list[dict[str, Any]]]:
    """Return a package whose bytes, signature and figures hold, and what is stored of it; raises RefusedError."""
    files = opened(data)
    try:
        check_manifest(files)
        about = described(files)
        key_id, trusted = signer_of(files, about, keys, any_key=any_key)
        indicators = read_json(files["indicators.json"], "indicators.json")
        check_indicators(indicators, about, files)
        package = Package(sha256(data), sha256(files[MANIFEST]), about, key_id, trusted, indicators)
        rows = list(stored(package))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RefusedError(f"the package is not as its format says: {type(error).__name__}: {error}") from error
    return package, rows


def check_manifest(files: Mapping[str, bytes]) -> None:
    """Hold every file's hash against the manifest, and the manifest's names against the files."""
    listed = {n: d for n, d in files.items() if n not in (MANIFEST, SIGNATURE)}
    stated = dict(reversed(line.split("  ", 1)) for line in files[MANIFEST].decode().splitlines())
    for name in sorted(stated.keys() | listed.keys()):
        if stated.get(name) != (sha256(listed[name]) if name in listed else None):
            raise RefusedError(f"{name}: is not what {MANIFEST} says")
    if files[MANIFEST] != "".join(f"{stated[name]}  {name}\n" for name in sorted(stated)).encode():
        raise RefusedError(f"{MANIFEST}: is not in order of name, a line a file")


def described(files: Mapping[str, bytes]) -> Mapping[str, Any]:
    """Return the block `plantproof` of a descriptor that describes these files, in a format that is known."""
    found = read_json(files[DESCRIPTOR], DESCRIPTOR)
    about: Mapping[str, Any] = found["plantproof"]
    if about["format"] != FORMAT:
        raise RefusedError(f"format {about['format']} is not known; this importer reads format {FORMAT}")
    whole = [about[name] for name in ("start_ns", "end_ns", "revision")]
    if any(type(of) is not int or abs(of) >= 2**63 for of in whole) or type(about["plant"]) is not str:
        raise RefusedError(f"{DESCRIPTOR}: plant, period or revision are none")
    stated = [(one["path"], one["bytes"], one["hash"]) for one in found["resources"]]
    listed = [name for name in sorted(files) if name not in (DESCRIPTOR, MANIFEST, SIGNATURE)]
    if stated != [(name, len(files[name]), f"sha256:{sha256(files[name])}") for name in listed]:
        raise RefusedError(f"{DESCRIPTOR}: its resources are not the files of the package")
    return about


def signer_of(
    files: Mapping[str, bytes], about: Mapping[str, Any], keys: Mapping[str, bytes], *, any_key: bool
) -> tuple[str | None, bool]:
    """Return the id of the key that signed the package, and whether it is one of those that are trusted."""
    if SIGNATURE not in files:
        if any_key:
            return None, False
        raise RefusedError(
            "it is not signed; ask the plant for a signed package, or name --any-key to take it as it is"
        )
    envelope = canonical(files[SIGNATURE])
    (one,) = envelope["signatures"]
    payload = unbase64(envelope["payload"])
    statement = canonical(payload)
    predicate = statement["predicate"]
    public = key_of(predicate["public_key"])
    key_id = id_of(public)
    if key_id not in keys and not any_key:
        raise RefusedError(f"it is signed with the key {key_id}, which is none of those that you trust")
    kind, size = PAYLOAD_TYPE.encode(), b"%d " % len(payload)
    if not verifies(public, b"DSSEv1 %d %b " % (len(kind), kind) + size + payload, unbase64(one["sig"])):
        raise RefusedError("its signature does not fit what it signs")
    subject = [{"name": MANIFEST, "digest": {"sha256": sha256(files[MANIFEST])}}]
    if (statement["_type"], statement["predicateType"], statement["subject"]) != (STATEMENT, PREDICATE, subject):
        raise RefusedError("its signature is of something else")
    if {n: predicate[n] for n in SIGNED} != {n: about.get(n) for n in SIGNED}:
        raise RefusedError("its signature is of another plant, period or revision")
    signed = {"keyid": key_id, "sig": one["sig"]}
    if envelope != {"payload": envelope["payload"], "payloadType": PAYLOAD_TYPE, "signatures": [signed]}:
        raise RefusedError(f"{SIGNATURE}: holds other than one signature")
    return key_id, key_id in keys


def canonical(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a signature; one that could be written in other bytes is refused."""
    found = read_json(data, SIGNATURE)
    if json.dumps(found, ensure_ascii=False, indent=1).encode() + b"\n" != data:
        raise RefusedError(f"{SIGNATURE}: is not written as a package's signature is")
    return found


def unbase64(text: str) -> bytes:
    """Return what base64 stands for; another writing of the same bytes is refused."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise RefusedError(f"{SIGNATURE}: its base64 is not canonical")
    return data


def key_of(pem: str) -> bytes:
    """Return the Ed25519 public key [32 B] of a PEM text (SubjectPublicKeyInfo); raises ValueError."""
    lines = pem.strip().splitlines()
    der = base64.b64decode("".join(lines[1:-1]), validate=True)
    head = bytes.fromhex("302a300506032b6570032100")
    if lines[0] != "-----BEGIN PUBLIC KEY-----" or len(der) != 44 or not der.startswith(head):
        raise ValueError("no Ed25519 public key in PEM")
    return der[len(head) :]


def id_of(public: bytes) -> str:
    """Return a key's id: the SHA-256 of its SubjectPublicKeyInfo."""
    return sha256(bytes.fromhex("302a300506032b6570032100") + public)


def sha256(data: bytes) -> str:
    """Return a SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


# What the package says: every figure's arithmetic once more, from its exact numbers.


def check_indicators(said: Mapping[str, Any], about: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Hold the figures against the descriptor, against their own n and N, and their inputs against the attachments."""
    period = said["period"]
    told = (said["format"], said["plant"]["id"], period["start_ns"], period["end_ns"])
    if told != tuple(about[name] for name in ("format", "plant", "start_ns", "end_ns")):
        raise RefusedError("indicators.json is of another plant or period than the descriptor")
    if [nanoseconds(period[name]) for name in ("start", "end")] != [period["start_ns"], period["end_ns"]]:
        raise RefusedError("indicators.json: its period is not what its nanoseconds say")
    names = [(one["kpi"], one["subject"]) for one in said["results"]]
    if len(set(names)) != len(names):
        raise RefusedError("indicators.json: a figure stands twice")
    for one in said["results"]:
        fault = member_fault(one["members"]) or fault_of(one) or attachment_fault(one, files)
        if fault:
            raise RefusedError(f"{one['kpi']} of {one['subject']}: {fault}")


def nanoseconds(instant: str) -> int:
    """Return an instant in ISO 8601 as nanoseconds since 1970, UTC."""
    since = dt.datetime.fromisoformat(instant) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def fault_of(one: Mapping[str, Any]) -> str:
    """Return what of a figure does not follow from its n and N; empty: all does."""
    exact = {name: None if text is None else fraction(text) for name, text in one["exact"].items()}
    value, n, whole = exact["value"], exact["numerator"], exact["denominator"]
    if (one["missing"] or one["refused"]) and value is not None:
        return "has a value although it must not be told"
    if value is not None and n is not None and whole is not None and (value * whole != n or not whole):
        return f"{value} is not {n}/{whole}"
    if any(one[name] is True or one[name] != (None if of is None else float(of)) for name, of in exact.items()):
        return "its numbers are not those of its exact ones"
    counted = [member for member in one["members"] if member["counted"]]
    if one["members"] and any(amount["origin"] == "register" for amount in one["inputs"]):
        met = sum(member["met"] for member in counted)
        if (n, whole) != (met, len(counted)):
            return f"says {n} of {whole}, and lists {met} of {len(counted)}"
    return ""


def member_fault(members: Sequence[Mapping[str, Any]]) -> str:
    """Return what of a figure's members cannot be; empty: nothing."""
    if len({member["id"] for member in members}) != len(members):
        return "lists a member twice"
    if any(type(member[name]) is not bool for member in members for name in ("counted", "met")):
        return "lists a member that is neither counted nor not, or neither met nor not"
    return ""


def fraction(text: str) -> Fraction:
    """Return an exact number; other writings than 7 and 2/5 are refused."""
    if not re.fullmatch(r"-?[0-9]{1,4000}(/[1-9][0-9]{0,3999})?", text):
        raise RefusedError(f"{text[:40]!r} is no exact number")
    return Fraction(text)


def attachment_fault(one: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """Return which attachment of a figure's declared values is another file than was declared."""
    for amount in one["inputs"]:
        name, digest = amount["attachment"], amount["attachment_sha256"]
        if digest and sha256(files.get(f"config/{name}", b"")) != digest:
            return f"its attachment {name} is missing or another file"
    return ""


def percent(value: Fraction) -> str:
    """Return a share in percent with two decimals, rounded once, half up (away from zero)."""
    hundredths = (abs(value) * 20_000 + 1) // 2
    return f"{'-' if value < 0 and hundredths else ''}{hundredths // 100}.{hundredths % 100:02}"


def stored(package: Package) -> Iterator[dict[str, Any]]:
    """Return what an assessment system stores of a package: one object an indicator and subject."""
    about, said = package.about, package.indicators
    of = {"plant": about["plant"], "revision": about["revision"],
          "package_sha256": package.sha256, "manifest_sha256": package.manifest_sha256,
          "key_id": package.key_id, "key_trusted": package.trusted}  # fmt: skip
    kept = ("name", "value", "unit", "period", "declared_by", "declared_at", "attachment", "attachment_sha256")
    for one in said["results"]:
        exact = one["exact"]
        share = exact["value"] is not None and one["unit"] == "1"
        yield {
            "id": one["kpi"], "name": one["title_zh"], "subject": one["subject"], "value": one["value"],
            "exact": exact["value"], "percent": percent(fraction(exact["value"])) if share else None,
            "unit": one["unit"], "n": exact["numerator"], "N": exact["denominator"],
            "start": one["start"], "end": one["end"], "rule": one["rule"], "evidence": one["evidence"],
            "coverage": one["coverage"], "flags": one["flags"],
            "missing": [text["zh"] for text in one["missing"]],
            "refused": one["refused"] and one["refused"]["zh"],
            "declared": [{k: amount[k] for k in kept} for amount in one["inputs"] if amount["origin"] == "declared"],
            **of,
        }  # fmt: skip


# What was imported before: an older package that is handed over again is refused.


class Imported:
    """Packages that were imported, in a file; nothing is kept before `keep` returns."""

    def __init__(self, path: Path) -> None:
        self.file = sqlite3.connect(path)
        self.file.execute(
            "CREATE TABLE IF NOT EXISTS package (plant TEXT, start_ns INTEGER, end_ns INTEGER, revision INTEGER,"
            " manifest_sha256 TEXT, package_sha256 TEXT, key_id TEXT, PRIMARY KEY (plant, start_ns, end_ns, revision))"
        )

    def last(self, plant: str, start: int, end: int) -> tuple[int, str, str] | None:
        """Return revision, manifest's and package's SHA-256 of the last package of a period; None for none."""
        found: tuple[int, str, str] | None = self.file.execute(
            "SELECT revision, manifest_sha256, package_sha256 FROM package WHERE (plant, start_ns, end_ns) = (?, ?, ?)"
            " ORDER BY revision DESC LIMIT 1",
            (plant, start, end),
        ).fetchone()
        return found

    def check(self, package: Package) -> None:
        """Refuse a package that is older than one of its plant and period that was imported, or contradicts it."""
        about = package.about
        found = self.last(about["plant"], about["start_ns"], about["end_ns"])
        revision, (known, manifest, _) = about["revision"], found or (0, "", "")
        if revision < known:
            raise RefusedError(f"it is revision {revision}, and revision {known} was imported already")
        if revision == known and package.manifest_sha256 != manifest:
            raise RefusedError(f"another package of revision {known} was imported already")
        if known and revision == known + 1 and about.get("replaces") != manifest:
            raise RefusedError(f"it replaces another revision {known} than the one that was imported")

    def keep(self, package: Package) -> None:
        """Keep that a package was imported."""
        about = package.about
        row = (about["plant"], about["start_ns"], about["end_ns"], about["revision"])
        with self.file:
            self.file.execute(
                "INSERT OR REPLACE INTO package VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*row, package.manifest_sha256, package.sha256, package.key_id),
            )


# The plant's server.


def listed(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a server says of a package, with its `period` [ns since 1970, UTC]; raises where that is no such."""
    if [type(one[name]) for name in ("id", "plant", "revision")] != [str, str, int]:
        raise TypeError("id, plant or revision is none")
    return {**one, "period": (nanoseconds(one["start"]), nanoseconds(one["end"]))}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the server that was named, and to no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


class Server:
    """The plant's API, by its base URL and a token of the scope read."""

    def __init__(self, url: str, token: str, ca: Path | None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise UnreachableError(f"{url}: a token is sent by https alone, or to this machine itself")
        self.url, self.token = url.rstrip("/"), token
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
        self.opener = urllib.request.build_opener(tls, NoRedirect)

    def packages(self) -> list[dict[str, Any]]:
        """Return what the server has, the oldest first, each with its `period` [ns since 1970, UTC]."""
        data, _ = self.get("/api/v1/evidence", MAX_LISTING)
        try:
            return [listed(one) for one in read_json(data, "the list")["packages"]]
        except (RefusedError, LookupError, TypeError, ValueError) as error:
            raise UnreachableError(f"{self.url}: gives no list of packages: {error}") from error

    def package(self, name: str, known: str | None) -> bytes | None:
        """Return a package's bytes; None where it is still the one whose SHA-256 is known."""
        condition = {} if known is None else {"If-None-Match": f'"{known}"'}
        data, tag = self.get(f"/api/v1/evidence/{urllib.parse.quote(name, safe='')}/package", MAX_BYTES, condition)
        if not data:
            return None
        if tag != f'"{sha256(data)}"':
            raise RefusedError(f"package {name}: its bytes are not those of its ETag; pull it again")
        return data

    def get(self, path: str, most: int, headers: Mapping[str, str] | None = None) -> tuple[bytes, str]:
        """Return an answer's body, empty for 304, and its ETag."""
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        request = urllib.request.Request(f"{self.url}{path}", headers=sent)  # noqa: S310  the scheme is checked above
        try:
            with self.opener.open(request, timeout=TIMEOUT) as answer:
                data, tag = answer.read(most + 1), answer.headers.get("ETag", "")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.client.NOT_MODIFIED:
                    return b"", ""
                raise UnreachableError(f"{path}: {error.code} {error.read(500).decode(errors='replace')}") from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self.url}{path}: {error}") from error
        if len(data) > most:
            raise RefusedError(f"{path}: more than {most} bytes")
        return data, tag


# From one to the other.


def pulled(asked: argparse.Namespace, imported: Imported) -> Iterator[bytes]:
    """Return the packages of a server that were not imported yet, the oldest first."""
    server = Server(asked.url, asked.token_file.read_text().strip(), asked.ca)
    for one in server.packages():
        if unasked(asked, one["plant"], one["start"], one["end"]):
            continue
        known, _, digest = imported.last(one["plant"], *one["period"]) or (0, "", "")
        if one["revision"] < known:
            tell(f"{one['id']}: left out, as revision {known} of its period was imported already")
            continue
        data = server.package(one["id"], digest if one["revision"] == known else None)
        if data is None:
            tell(f"{one['id']}: imported already")
        else:
            yield data


def read(file: Path) -> bytes:
    """Return a package's bytes."""
    if file.stat().st_size > MAX_BYTES:
        raise RefusedError(f"{file} has more than {MAX_BYTES} bytes")
    return file.read_bytes()


def unasked(asked: argparse.Namespace, plant: str, start: str, end: str) -> str:
    """Return in what a package is another than the one that was asked for; empty: in nothing."""
    pairs = (("plant", asked.plant, plant), ("begin", asked.start, start[:10]), ("end", asked.end, end[:10]))
    other = [(name, wanted, found) for name, wanted, found in pairs if wanted not in (None, found)]
    return "; ".join(f"its {name} is {found}, not {wanted}" for name, wanted, found in other)


def check_asked(asked: argparse.Namespace, plant: str, period: Mapping[str, str]) -> None:
    """Refuse a package of another plant or period than the one that was asked for."""
    if fault := unasked(asked, plant, period["start"], period["end"]):
        raise RefusedError(fault)


def take(data: bytes, asked: argparse.Namespace, keys: Mapping[str, bytes], imported: Imported) -> int:
    """Verify a package, print what is to be stored, and keep that it was; returns the exit code."""
    try:
        package, rows = verified(data, keys, any_key=asked.any_key)
        period = package.indicators["period"]
        check_asked(asked, package.about["plant"], period)
        imported.check(package)
    except RefusedError as error:
        tell(f"REFUSED: {error}")
        return REFUSED
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    imported.keep(package)
    told = [f"{row['id']} of {row['subject']} is refused" for row in rows if row["refused"]]
    told += [] if package.trusted else [f"nobody vouches for the key that signed it: {package.key_id}"]
    for line in told:
        tell(f"look: {line}")
    tell(f"imported {len(rows)} figures of {package.about['plant']}, revision {package.about['revision']}")
    return LOOK if told else DONE


def main(words: list[str] | None = None) -> int:
    """Import what the command line names; returns the exit code."""
    asked = arguments(words)
    try:
        keys = {id_of(public): public for public in (key_of(path.read_text()) for path in asked.key)}
        imported = Imported(asked.state)
        found = iter([read(asked.file)]) if asked.file else pulled(asked, imported)
        return max((take(data, asked, keys, imported) for data in found), default=DONE)
    except RefusedError as error:
        tell(f"REFUSED: {error}")
        return REFUSED
    except UnreachableError as error:
        tell(f"not reachable: {error}")
        return UNREACHABLE
    except (OSError, sqlite3.Error, ValueError, LookupError) as error:
        tell(f"cannot be used: {error}")
        return USAGE


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="Verify a PlantProof package, and print what an assessment stores.")
    parser.add_argument("file", nargs="?", type=Path, help="a package; without it they are pulled from --url")
    parser.add_argument("--url", help="base of the plant's API, such as https://plant:8040")
    parser.add_argument("--token-file", type=Path, help="file with a token of the scope read")
    parser.add_argument("--ca", type=Path, help="certificates that the server's is checked by")
    parser.add_argument("--key", type=Path, action="append", default=[], help="public key that is trusted; repeatable")
    parser.add_argument("--any-key", action="store_true", help="take packages that no trusted key signed, and say so")
    parser.add_argument("--plant", help="the plant that it must be of")
    parser.add_argument("--from", dest="start", help="the day on which its period must begin, such as 2025-01-01")
    parser.add_argument("--to", dest="end", help="the day on which its period must end")
    parser.add_argument("--state", type=Path, default=Path("imported.sqlite"), help="what was imported before")
    asked = parser.parse_args(words)
    if bool(asked.file) == bool(asked.url) or bool(asked.url) != bool(asked.token_file):
        parser.error("name a package, or --url with --token-file")
    if not asked.key and not asked.any_key:
        parser.error("name the plant's public key with --key")
    return asked


def tell(line: str) -> None:
    """Tell a person."""
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")
    sys.exit(main())
