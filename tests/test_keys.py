"""Keys that packages are signed with: who may read them, what they are called, and what is no key."""

import errno
import hashlib
import json
import os
import stat
import subprocess

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config import exits
from kpis.evidence import host
from kpis.evidence.keys import KeyFault, canonical_pem, grouped, key_id, make_key, public_half, read_key
from plantproof import cli

RFC_8032_TEST_1 = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
"""The secret key of the first test of RFC 8032, section 7.1."""
RFC_8032_PUBLIC_1 = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def run(*words):
    return CliRunner().invoke(cli, ["keys", *map(str, words)])


def private_pem(key, passphrase=None):
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


def secret(path, data):
    """A file that its owner alone may read."""
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def fault(do, *given):
    with pytest.raises(KeyFault) as caught:
        do(*given)
    return str(caught.value)


def test_a_new_key_is_its_owners_alone_and_its_public_half_lies_beside_it(tmp_path):
    made = make_key(tmp_path / "evidence.pem")
    assert stat.S_IMODE((tmp_path / "evidence.pem").stat().st_mode) == 0o600
    assert (tmp_path / "evidence.pem.pub").read_bytes() == made.public_pem
    assert read_key(tmp_path / "evidence.pem").key_id == made.key_id
    made.sign(b"x")


def test_a_new_key_is_its_owners_alone_whatever_the_umask_says(tmp_path):
    before = os.umask(0)
    try:
        make_key(tmp_path / "evidence.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "evidence.pem").stat().st_mode) == 0o600


def test_two_new_keys_are_two_keys(tmp_path):
    assert make_key(tmp_path / "a").key_id != make_key(tmp_path / "b").key_id


def test_the_id_of_a_key_is_the_sha256_of_its_public_half_in_der(tmp_path):
    key = Ed25519PrivateKey.from_private_bytes(RFC_8032_TEST_1)
    # What SubjectPublicKeyInfo of Ed25519 begins with (RFC 8410), then the 32 bytes of the key.
    der = bytes.fromhex("302a300506032b6570032100") + RFC_8032_PUBLIC_1
    signer = read_key(secret(tmp_path / "key", private_pem(key)))
    assert signer.key_id == hashlib.sha256(der).hexdigest() == key_id(signer.public_pem)


def test_openssl_sees_the_same_key_and_its_signature_is_ours(tmp_path):
    signer = make_key(tmp_path / "key")
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "key.pub", "-outform", "DER"], check=True, capture_output=True
    ).stdout
    assert hashlib.sha256(der).hexdigest() == signer.key_id
    (tmp_path / "said").write_bytes(b"said")
    signed = subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", tmp_path / "key", "-in", tmp_path / "said"],
        check=True,
        capture_output=True,
    ).stdout
    assert signer.sign(b"said") == signed


def test_an_id_is_read_out_in_groups_of_four():
    assert grouped("0123456789ab") == "0123 4567 89ab"


def test_a_key_is_never_written_over(tmp_path):
    (tmp_path / "evidence.pem").write_text("mine")
    assert "is there already" in fault(make_key, tmp_path / "evidence.pem")
    assert (tmp_path / "evidence.pem").read_text() == "mine"
    assert not (tmp_path / "evidence.pem.pub").exists()


def test_a_public_half_that_is_there_already_keeps_the_key_from_being_made(tmp_path):
    (tmp_path / "evidence.pem.pub").write_text("mine")
    assert "evidence.pem.pub is there already" in fault(make_key, tmp_path / "evidence.pem")
    assert not (tmp_path / "evidence.pem").exists()


def test_a_link_to_nowhere_is_not_followed(tmp_path):
    (tmp_path / "evidence.pem").symlink_to(tmp_path / "elsewhere")
    assert "is there already" in fault(make_key, tmp_path / "evidence.pem")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    assert "No such file or directory" in fault(make_key, tmp_path / "none" / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
def test_a_private_key_that_others_can_read_is_refused_with_what_to_run(tmp_path, mode):
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    assert fault(read_key, tmp_path / "key").endswith(f"run: chmod 600 {tmp_path / 'key'}")


def test_a_key_that_its_owner_may_only_read_is_taken(tmp_path):
    made = make_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o400)
    assert read_key(tmp_path / "key").key_id == made.key_id


def test_an_encrypted_key_wants_its_passphrase(tmp_path):
    made = make_key(tmp_path / "key", b"open")
    assert b"ENCRYPTED" in (tmp_path / "key").read_bytes()
    assert "is encrypted; name the file with its passphrase" in fault(read_key, tmp_path / "key")
    assert "does not open with this passphrase" in fault(read_key, tmp_path / "key", b"shut")
    assert read_key(tmp_path / "key", b"open").key_id == made.key_id


def test_a_passphrase_for_a_plain_key_is_told(tmp_path):
    make_key(tmp_path / "key")
    assert "is not encrypted" in fault(read_key, tmp_path / "key", b"open")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (rsa.generate_private_key(65537, 2048), "is of RSA; packages are signed with Ed25519"),
        (ec.generate_private_key(ec.SECP256R1()), "packages are signed with Ed25519"),
    ],
    ids=["rsa", "ec"],
)
def test_a_key_of_another_kind_is_told(tmp_path, other, told):
    assert told in fault(read_key, secret(tmp_path / "key", private_pem(other)))
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert told in fault(key_id, public)


@pytest.mark.parametrize("data", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_told(tmp_path, data):
    assert "is no private key that can be read" in fault(read_key, secret(tmp_path / "key", data))
    assert "cannot be read" in fault(key_id, b"garbage")


def test_a_file_too_large_to_be_a_key_is_not_read(tmp_path):
    assert "more than 16384 bytes" in fault(read_key, secret(tmp_path / "key", b"x" * 16_385))


def test_one_half_in_place_of_the_other_is_told(tmp_path):
    made = make_key(tmp_path / "key")
    assert "is a public key" in fault(read_key, secret(tmp_path / "public", made.public_pem))
    assert "keep the private key to yourself" in fault(key_id, (tmp_path / "key").read_bytes())


def test_a_public_key_is_the_same_whatever_its_line_ends(tmp_path):
    made = make_key(tmp_path / "key")
    windows = made.public_pem.replace(b"\n", b"\r\n")
    assert canonical_pem(windows) == made.public_pem


def test_the_public_half_is_told_by_either_half(tmp_path):
    made = make_key(tmp_path / "key")
    assert public_half(tmp_path / "key") == public_half(tmp_path / "key.pub") == made.public_pem


def test_new_and_show_print_the_same_key(tmp_path):
    made, shown = run("new", tmp_path / "key", "--json"), run("show", tmp_path / "key.pub", "--json")
    told = json.loads(shown.stdout)
    assert {**json.loads(made.stdout), "file": told["file"]} == told
    assert told["key_id"] == key_id((tmp_path / "key.pub").read_bytes()) == told["grouped"].replace(" ", "")


def test_a_person_is_told_what_to_keep_and_what_to_hand_on(tmp_path):
    made = run("new", tmp_path / "key")
    assert f"hand {tmp_path / 'key.pub'} to who checks packages" in made.stderr
    assert "-----BEGIN PUBLIC KEY-----" in made.stdout
    assert "PRIVATE" not in made.stdout
    assert "密钥编号" in run("show", tmp_path / "key", "--lang", "zh").stdout


def test_a_key_with_a_passphrase_from_a_file_is_made_and_shown(tmp_path):
    words = ("--passphrase-file", secret(tmp_path / "words", "开门\n".encode()))
    made = run("new", tmp_path / "key", *words, "--json")
    assert read_key(tmp_path / "key", "开门".encode()).key_id == json.loads(made.stdout)["key_id"]
    assert run("show", tmp_path / "key", *words).exit_code == exits.DONE


def test_a_passphrase_that_others_can_read_or_an_empty_one_is_refused(tmp_path):
    words = secret(tmp_path / "words", b"\n")
    assert "is empty" in run("new", tmp_path / "key", "--passphrase-file", words).stderr
    words.chmod(0o644)
    assert f"chmod 600 {words}" in run("new", tmp_path / "key", "--passphrase-file", words).stderr


@pytest.mark.parametrize(("lang", "told"), [("en", "cannot be read (No such file"), ("zh", "无法读取")])
def test_a_file_that_is_not_there_is_told_in_both_languages(tmp_path, lang, told):
    result = run("show", tmp_path / "none", "--lang", lang)
    assert result.exit_code == exits.UNEXPECTED
    assert told in result.stderr


def test_a_disk_that_takes_only_one_half_keeps_none(tmp_path, monkeypatch):
    whole = host.write_new

    def write_new(path, data, mode):
        if path.suffix == ".pub":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        whole(path, data, mode)

    monkeypatch.setattr(host, "write_new", write_new)
    assert "No space left on device" in fault(make_key, tmp_path / "key")
    assert list(tmp_path.iterdir()) == []
