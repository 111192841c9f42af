"""A package's signature: whoever changes a byte of it, or of what it signs, is caught; and it says what it proves."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kpis.evidence.keys import KeyFault, Signer, grouped, key_id, make_key
from kpis.evidence.signature import MEANING, SignatureFault, check, envelope, pae

MANIFEST_BYTES = b"0" * 64 + b"  indicators.json\n"
ABOUT = {
    "format": 2,
    "plant": "works",
    "timezone": "Asia/Shanghai",
    "start_ns": 1_735_660_800_000_000_000,
    "end_ns": 1_767_196_800_000_000_000,
    "samples": 7,
    "revision": 2,
    "replaces": "a" * 64,
}
L = 2**252 + 27742317777372353535851937790883648493
"""Order of Ed25519's group."""


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> Signer:
    return make_key(tmp_path_factory.mktemp("keys") / "key")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Signer:
    return make_key(tmp_path_factory.mktemp("keys") / "other")


@pytest.fixture(scope="module")
def signed(signer) -> bytes:
    return envelope(MANIFEST_BYTES, ABOUT, signer)


def payload(data):
    return json.loads(base64.b64decode(json.loads(data)["payload"]))


def written(body):
    return json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"


def resigned(statement, signer):
    """An envelope over any statement, as the holder of a key could make it."""
    text = statement if isinstance(statement, bytes) else written(statement)
    kind = "application/vnd.in-toto+json"
    return written(
        {
            "payload": base64.b64encode(text).decode(),
            "payloadType": kind,
            "signatures": [{"keyid": signer.key_id, "sig": base64.b64encode(signer.sign(pae(kind, text))).decode()}],
        }
    )


def refused(data, manifest=MANIFEST_BYTES, about=ABOUT, trusted=None):
    with pytest.raises(SignatureFault) as caught:
        check(data, manifest, about, trusted)
    assert caught.value.said.zh != caught.value.said.en
    return str(caught.value)


def test_what_is_signed_is_an_in_toto_statement_of_the_manifest(signed, signer):
    body = json.loads(signed)
    assert body["payloadType"] == "application/vnd.in-toto+json"
    assert [one["keyid"] for one in body["signatures"]] == [signer.key_id]
    statement = payload(signed)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": "manifest-sha256.txt", "digest": {"sha256": hashlib.sha256(MANIFEST_BYTES).hexdigest()}}
    ]
    named = ("format", "plant", "start_ns", "end_ns", "revision", "replaces")
    assert {name: statement["predicate"][name] for name in named} == {name: ABOUT[name] for name in named}
    assert statement["predicate"]["meaning"] == {"en": MEANING.en, "zh": MEANING.zh}


def test_what_dsse_signs_is_its_pre_authentication_encoding():
    # The example of the DSSE protocol: sizes in decimal bytes, a space between.
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_same_manifest_and_key_give_the_same_bytes(signed, signer):
    assert envelope(MANIFEST_BYTES, ABOUT, signer) == signed


def test_a_signature_of_the_trusted_key_holds_and_says_so(signed, signer):
    found = check(signed, MANIFEST_BYTES, ABOUT, signer.public_pem)
    assert (found.key_id, found.trusted) == (signer.key_id, True)
    assert "trusted key" in found.said.en


def test_without_a_trusted_key_the_one_inside_counts_and_nobody_vouches_for_it(signed, signer):
    found = check(signed, MANIFEST_BYTES, ABOUT, None)
    assert (found.public_pem, found.trusted) == (signer.public_pem, False)
    assert grouped(signer.key_id) in found.said.en
    assert "trusted by nobody yet" in found.said.en
    assert "尚未受信任" in found.said.zh


def test_another_key_than_the_trusted_one_is_refused_with_both_ids(signed, signer, other):
    told = refused(signed, trusted=other.public_pem)
    assert grouped(signer.key_id) in told
    assert grouped(other.key_id) in told


def test_a_trusted_key_that_is_none_is_told(signed):
    with pytest.raises(KeyFault, match="cannot be read"):
        check(signed, MANIFEST_BYTES, ABOUT, b"garbage")


def test_it_says_what_it_does_not_prove():
    assert "does not say who holds the key" in MEANING.en
    assert "does not prove that what the PLCs reported" in MEANING.en
    assert "不证明 PLC 上报的数据" in MEANING.zh


def test_every_flipped_byte_of_a_signature_is_caught(signed, signer):
    for at in range(len(signed)):
        for bit in (1, 0x20):  # 0x20 turns upper case into lower case, and a line's end into a star
            changed = signed[:at] + bytes([signed[at] ^ bit]) + signed[at + 1 :]
            with pytest.raises(SignatureFault):
                check(changed, MANIFEST_BYTES, ABOUT, signer.public_pem)


def test_every_byte_that_is_missing_or_added_is_caught(signed):
    for at in range(len(signed)):
        for changed in (signed[:at] + signed[at + 1 :], signed[:at] + b" " + signed[at:]):
            with pytest.raises(SignatureFault):
                check(changed, MANIFEST_BYTES, ABOUT, None)
    refused(signed + b"\n")


def test_every_flipped_bit_of_the_manifest_is_caught(signed):
    for at in range(len(MANIFEST_BYTES)):
        changed = MANIFEST_BYTES[:at] + bytes([MANIFEST_BYTES[at] ^ 1]) + MANIFEST_BYTES[at + 1 :]
        assert "is of another manifest-sha256.txt" in refused(signed, changed)


def test_base64_that_stands_for_the_same_bytes_is_refused(signed):
    body = json.loads(signed)
    sig = body["signatures"][0]["sig"]
    assert sig.endswith("==")
    # Its last letter carries four bits that stand for nothing.
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same = f"{sig[:-3]}{letters[letters.index(sig[-3]) + 1]}=="
    assert base64.b64decode(same) == base64.b64decode(sig)
    body["signatures"][0]["sig"] = same
    assert "is not written as the builder writes it" in refused(written(body))


def test_another_writing_of_the_same_json_is_refused(signed):
    assert "is not written as" in refused(json.dumps(json.loads(signed)).encode())


def test_the_same_signature_with_another_s_is_refused(signed):
    body = json.loads(signed)
    raw = base64.b64decode(body["signatures"][0]["sig"])
    s = int.from_bytes(raw[32:], "little") + L
    body["signatures"][0]["sig"] = base64.b64encode(raw[:32] + s.to_bytes(32, "little")).decode()
    assert "does not fit what it signs" in refused(written(body))


def test_a_second_signature_or_none_is_refused(signed, other):
    body = json.loads(signed)
    for signatures in ([], body["signatures"] * 2, [*body["signatures"], {"keyid": other.key_id, "sig": "AAAA"}]):
        assert "with one signature" in refused(written(body | {"signatures": signatures}))


def test_an_extra_name_in_the_envelope_is_refused(signed):
    assert "is not written as" in refused(written(json.loads(signed) | {"note": ""}))


def test_a_key_id_that_is_not_the_keys_is_refused(signed, other):
    body = json.loads(signed)
    body["signatures"][0]["keyid"] = other.key_id
    assert "names another key than it holds" in refused(written(body))


def test_another_payload_type_is_refused(signed):
    assert "signs 'text/plain'" in refused(written(json.loads(signed) | {"payloadType": "text/plain"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 3),
        ("plant", "elsewhere"),
        ("start_ns", 0),
        ("end_ns", 1_767_196_800_000_000_001),
        ("revision", 3),
        ("replaces", "b" * 64),
    ],
)
def test_a_package_that_says_other_than_what_was_signed_is_refused_by_name(signed, name, value):
    assert f"is of {name} {ABOUT[name]!r}, the package says {value!r}" in refused(signed, about=ABOUT | {name: value})


def test_the_first_revision_replaces_nothing(signer):
    first = {name: value for name, value in ABOUT.items() if name != "replaces"} | {"revision": 1}
    data = envelope(MANIFEST_BYTES, first, signer)
    assert payload(data)["predicate"]["replaces"] is None
    assert check(data, MANIFEST_BYTES, first, None).key_id == signer.key_id


@pytest.mark.parametrize(
    "change",
    [{"plant": None}, {"revision": True}, {"start_ns": 1.5}, {"replaces": "x"}, {"replaces": 1}, {"plant": "\ud800"}],
    ids=str,
)
def test_a_description_that_lacks_what_is_signed_is_refused(signed, signer, change):
    assert "in the descriptor" in refused(signed, about=ABOUT | change)
    with pytest.raises(SignatureFault):
        envelope(MANIFEST_BYTES, ABOUT | change, signer)


def test_a_statement_of_another_type_or_with_other_words_is_refused_though_it_is_signed(signed, signer):
    said = payload(signed)
    assert "is of 'https://slsa.dev/provenance/v1'" in refused(
        resigned(said | {"predicateType": "https://slsa.dev/provenance/v1"}, signer)
    )
    words = said["predicate"] | {"meaning": {"en": "all is true", "zh": "一切属实"}}
    assert "is not written as" in refused(resigned(said | {"predicate": words}, signer))
    assert "is not written as" in refused(resigned(json.dumps(said).encode(), signer))


def test_who_puts_another_key_inside_cannot_sign_for_the_trusted_one(signed, signer, other):
    forged = envelope(MANIFEST_BYTES, ABOUT, other)
    body = json.loads(forged)
    body["signatures"] = json.loads(signed)["signatures"]
    for data in (forged, written(body)):
        refused(data, trusted=signer.public_pem)


def test_a_key_inside_that_is_of_another_kind_is_refused(signed, signer):
    said = payload(signed)
    for key in ("", 7, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        changed = said | {"predicate": said["predicate"] | {"public_key": key}}
        assert "holds no Ed25519 public key" in refused(resigned(changed, signer))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 60_000, b'{"signatures": 1}', b"{" + b" " * 70_000 + b"}"],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_envelope_is_refused(data):
    refused(data)


def test_a_public_key_that_makes_any_signature_hold_is_no_trusted_one(signer):
    # The neutral element as a key: R = identity and s = 0 fit every message.
    neutral = (1).to_bytes(32, "little")
    key = Ed25519PublicKey.from_public_bytes(neutral)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    weak = Signer(key_id(pem), pem, lambda _: neutral + bytes(32))
    data = envelope(MANIFEST_BYTES, ABOUT, weak)
    assert "not of the trusted" in refused(data, trusted=signer.public_pem)
