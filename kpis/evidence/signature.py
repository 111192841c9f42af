"""Sign a package's manifest and check who signed: an in-toto Statement v1 in a DSSE v1 envelope, by one Ed25519 key.

An envelope's bytes are canonical: for one manifest, one description and one key there is one envelope, and any other
bytes are refused. Formats: in-toto.io/Statement/v1; DSSE (secure-systems-lab/dsse, protocol 1.0.2).
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature

from kpis.evidence.keys import KeyFault, Signer, canonical_pem, grouped, key_id, public_key
from kpis.evidence.layout import FORMAT, MANIFEST
from kpis.indicators.said import Said

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = f"urn:plantproof:evidence-package:{FORMAT}"
"""Names our predicate; other fields or other words in it take another name."""
MAX_BYTES = 64 * 1024
"""An envelope has about four thousand [B]."""
MEANING = Said(
    "The holder of this key signed these files: since then no byte of them was changed. It does not say who holds the "
    "key; that is known from whoever handed you its id by another way. It does not prove that what the PLCs reported, "
    "or what people declared, is true, nor when it was signed.",
    "本签名表明：这些文件由该密钥的持有人签署，此后未改动任何一个字节。签名本身不说明密钥由谁持有，"
    "须通过其他途径核对密钥编号；也不证明 PLC 上报的数据或人工填报的数据属实，不证明签署时间。",
)
_SIGNED = ("format", "plant", "start_ns", "end_ns", "revision", "replaces")
"""What of the descriptor's block is signed by name; the manifest's hash holds the rest."""
_SHA256 = re.compile("[0-9a-f]{64}")


class SignatureFault(Exception):  # noqa: N818  as it is told
    """A signature that does not hold: the value, the rule, the next step; its file's name goes before the text."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.en)
        self.said = said


@dataclass(frozen=True, slots=True)
class Checked:
    """A signature that holds."""

    key_id: str
    public_pem: bytes
    trusted: bool
    """Whether its key is the one that the reader trusts; else the key came with the package."""

    @property
    def said(self) -> Said:
        """What was found, and whose word it is."""
        of = grouped(self.key_id)
        if self.trusted:
            return Said(f"signed with the trusted key {of}", f"由受信任的密钥签署：{of}")
        return Said(
            f"signed with the key {of}, which came with the package and is trusted by nobody yet: compare its id with "
            "the plant's by another way, then name its public key",
            f"由密钥 {of} 签署；该公钥随包附带，尚未受信任：请通过其他途径与企业核对密钥编号，再指定其公钥核验",
        )


def envelope(manifest: bytes, about: Mapping[str, Any], signer: Signer) -> bytes:
    """Return the signature file of a package.

    manifest: the bytes of its manifest; about: the block `plantproof` of its descriptor. Raises SignatureFault where
    the block lacks what is signed.
    """
    payload = _statement(manifest, about, signer.public_pem)
    return _envelope(payload, signer.key_id, signer.sign(pae(PAYLOAD_TYPE, payload)))


def check(data: bytes, manifest: bytes, about: Mapping[str, Any], trusted: bytes | None) -> Checked:
    """Check that a signature file is of this manifest and description, to the byte, and by which key.

    trusted: the public key [PEM] that it must be of; None: the key inside counts, and the result says so.
    Raises SignatureFault, or KeyFault where the trusted key is none.
    """
    payload, named, signature = _opened(data)
    said = _object(payload, "payload")
    inside = _key_inside(said)
    public = inside if trusted is None else canonical_pem(trusted)
    if key_id(public) != key_id(inside):
        raise _fault(
            f"is of the key {grouped(key_id(inside))}, not of the trusted {grouped(key_id(public))}",
            f"签署密钥为 {grouped(key_id(inside))}，并非受信任的 {grouped(key_id(public))}",
        )
    try:
        public_key(public).verify(signature, pae(PAYLOAD_TYPE, payload))
    except InvalidSignature as error:
        raise _fault("does not fit what it signs", "签名与所签内容不符") from error
    if named != key_id(public):
        raise _fault("names another key than it holds", "所写密钥编号与所附公钥不符")
    _compare(said, _claims(manifest, about, inside))
    if _statement(manifest, about, inside) != payload or _envelope(payload, key_id(public), signature) != data:
        raise _fault("is not written as the builder writes it", "写法与生成程序不一致")
    return Checked(key_id(public), public, trusted is not None)


def pae(kind: str, payload: bytes) -> bytes:
    """Return the bytes that DSSE signs: pre-authentication encoding of a payload and its type."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _claims(manifest: bytes, about: Mapping[str, Any], public_pem: bytes) -> dict[str, Any]:
    """Return the statement that is signed, as plain data."""
    whole = ("format", "start_ns", "end_ns", "revision")
    replaces = about.get("replaces")
    plant = about.get("plant")
    if any(type(about.get(name)) is not int for name in whole) or not isinstance(plant, str) or not plant.isprintable():
        raise _fault(
            "finds no format, plant, period or revision in the descriptor", "描述文件缺少格式、企业、期间或版次"
        )
    if replaces is not None and not (isinstance(replaces, str) and _SHA256.fullmatch(replaces)):
        raise _fault("finds a `replaces` in the descriptor that is no SHA-256", "描述文件的 replaces 不是 SHA-256")
    predicate = {name: about.get(name) for name in _SIGNED}
    predicate |= {"public_key": public_pem.decode(), "meaning": {"en": MEANING.en, "zh": MEANING.zh}}
    subject = {"name": MANIFEST, "digest": {"sha256": hashlib.sha256(manifest).hexdigest()}}
    return {"_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": predicate}


def _statement(manifest: bytes, about: Mapping[str, Any], public_pem: bytes) -> bytes:
    return _json(_claims(manifest, about, public_pem))


def _envelope(payload: bytes, of: str, signature: bytes) -> bytes:
    signed = {"keyid": of, "sig": base64.b64encode(signature).decode()}
    body = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": [signed]}
    return _json(body)


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, indent=1).encode() + b"\n"


def _opened(data: bytes) -> tuple[bytes, str, bytes]:
    """Return payload, key id and signature of an envelope."""
    found = _object(data, "envelope")
    try:
        (one,) = found["signatures"]
        payload, signature = (base64.b64decode(text, validate=True) for text in (found["payload"], one["sig"]))
        kind, named = found["payloadType"], one["keyid"]
    except (KeyError, TypeError, ValueError) as error:
        raise _fault("is no DSSE envelope with one signature", "不是含单一签名的 DSSE 信封") from error
    if kind != PAYLOAD_TYPE:
        raise _fault(f"signs {kind!r}, not {PAYLOAD_TYPE}", f"签署内容类型为 {kind!r}，应为 {PAYLOAD_TYPE}")
    return payload, named, signature


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _fault(f"has no JSON object as its {what} of at most {MAX_BYTES} bytes", f"{what} 不是 JSON 对象或过大")
    return found


def _key_inside(said: Mapping[str, Any]) -> bytes:
    try:
        return canonical_pem(said["predicate"]["public_key"].encode())
    except (KeyError, TypeError, AttributeError, ValueError, KeyFault) as error:
        raise _fault("holds no Ed25519 public key", "未附 Ed25519 公钥") from error


def _compare(said: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Name the first field in which a signed statement and the package differ."""
    if said.get("subject") != claims["subject"]:
        raise _fault(f"is of another {MANIFEST}", f"所签的并非本包的 {MANIFEST}")
    if (kind := said.get("predicateType")) != PREDICATE:
        raise _fault(f"is of {kind!r}, not of {PREDICATE}", f"所签内容为 {kind!r}，应为 {PREDICATE}")
    for name in _SIGNED:
        signed, stated = said["predicate"].get(name), claims["predicate"][name]
        if signed != stated:
            raise _fault(f"is of {name} {signed!r}, the package says {stated!r}",
                         f"所签 {name} 为 {signed!r}，包内为 {stated!r}")  # fmt: skip


def _fault(en: str, zh: str) -> SignatureFault:
    return SignatureFault(
        Said(
            f"{en}; do not rely on the package: ask the plant for it again",
            f"{zh}；请勿采信本包，并向企业重新索取",
        )
    )
