"""Ed25519 keys that packages are signed with: a private key in a file that its owner alone can read, its public half.

A key's id is the SHA-256 of its public half (SubjectPublicKeyInfo, DER), so that two people can compare it by phone.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from kpis.evidence import host
from kpis.indicators.said import Said

MAX_BYTES = 16 * 1024
"""A key's file is a few hundred bytes [B]."""
_UNREADABLE = (ValueError, UnsupportedAlgorithm)


class KeyFault(Exception):  # noqa: N818  as it is told
    """A key that cannot be made or used: the thing, the rule, the next step."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.en)
        self.said = said


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key at work."""

    key_id: str
    public_pem: bytes
    sign: Callable[[bytes], bytes]
    """Return the signature [64 B] of a message."""


def make_key(path: Path, passphrase: bytes | None = None) -> Signer:
    """Write a new private key, and its public half beside it as `.pub`; nothing is ever written over.

    passphrase: the private key is encrypted with it. Raises KeyFault.
    """
    key, public = Ed25519PrivateKey.generate(), public_file(path)
    if public.exists():
        raise _there(public)
    try:
        host.write_new(path, _private_pem(key, passphrase), 0o600)
        try:
            host.write_new(public, _public_pem(key.public_key()), 0o644)
        except OSError:
            path.unlink()  # half a pair is no key
            raise
    except FileExistsError as error:
        raise _there(Path(error.filename)) from error
    except OSError as error:
        en = f"{path} cannot be written ({error.strerror}); name a file in a folder that is there and yours"
        raise KeyFault(Said(en, f"无法写入 {path}（{error.strerror}）；请指定已有且可写的文件夹")) from error
    return _signer(key)


def public_file(path: Path) -> Path:
    """Return where the public half of a private key's file lies."""
    return path.with_name(f"{path.name}.pub")


def read_key(path: Path, passphrase: bytes | None = None) -> Signer:
    """Return the private key of a file (PKCS #8, PEM); raises KeyFault."""
    data = read_secret(path)
    if b"PUBLIC KEY-----" in data:
        en = f"{path} is a public key; a package is signed with the private one"
        raise KeyFault(Said(en, f"{path} 是公钥；签名须使用私钥"))
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except TypeError as error:
        raise _passphrase(path, asked=passphrase is None) from error
    except _UNREADABLE as error:
        raise _no_private_key(path, encrypted=passphrase is not None and b"ENCRYPTED" in data) from error
    return _signer(_ed25519(key, path))


def read_secret(path: Path) -> bytes:
    """Return a file that its owner alone may read; raises KeyFault where others may, or where it is too large."""
    try:
        with path.open("rb") as file:
            if host.open_to_others(file):
                raise KeyFault(_too_open(path))
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unread(path, error) from error
    if len(data) > MAX_BYTES:
        raise KeyFault(
            Said(f"{path} has more than {MAX_BYTES} bytes; name the key's file", f"{path} 过大，不是密钥文件")
        )
    return data


def read_passphrase(path: Path) -> bytes:
    """Return the first line of a file that its owner alone may read; raises KeyFault where it is empty."""
    lines = read_secret(path).splitlines()
    if not lines or not lines[0]:
        raise KeyFault(
            Said(f"{path} is empty; write the passphrase in its first line", f"{path} 为空；请在首行写入口令")
        )
    return lines[0]


def public_key(pem: bytes) -> Ed25519PublicKey:
    """Return the public key of a PEM text (SubjectPublicKeyInfo); raises KeyFault where it is none of Ed25519."""
    what = Said("the public key", "公钥")
    if b"PRIVATE KEY-----" in pem:
        en = f"{what} is a private one; hand on the .pub file alone, and keep the private key to yourself"
        raise KeyFault(Said(en, "所给为私钥；请只提供 .pub 公钥文件，私钥须自行保管"))
    try:
        key = serialization.load_pem_public_key(pem[: MAX_BYTES + 1])
    except _UNREADABLE as error:
        en = f"{what} cannot be read; it is a PEM text that begins -----BEGIN PUBLIC KEY-----"
        raise KeyFault(Said(en, f"{what.zh}无法读取；应为以 -----BEGIN PUBLIC KEY----- 开头的 PEM 文本")) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFault(_other_kind(what, type(key).__name__))
    return key


def public_half(path: Path, passphrase: bytes | None = None) -> bytes:
    """Return the public key [PEM] of a file that holds either half; raises KeyFault."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise _unread(path, error) from error
    return _public_pem(public_key(data)) if b"PUBLIC KEY-----" in data else read_key(path, passphrase).public_pem


def key_id(pem: bytes) -> str:
    """Return a public key's id: the SHA-256 of its SubjectPublicKeyInfo in DER, in hex; raises KeyFault."""
    der = public_key(pem).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def canonical_pem(pem: bytes) -> bytes:
    """Return a public key's PEM as `make_key` writes it; raises KeyFault."""
    return _public_pem(public_key(pem))


def grouped(of: str) -> str:
    """Return a key's id in groups of four, to be read out."""
    return " ".join(of[at : at + 4] for at in range(0, len(of), 4))


def _signer(key: Ed25519PrivateKey) -> Signer:
    public = _public_pem(key.public_key())
    return Signer(key_id(public), public, key.sign)


def _private_pem(key: Ed25519PrivateKey, passphrase: bytes | None) -> bytes:
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _ed25519(key: PrivateKeyTypes, path: Path) -> Ed25519PrivateKey:
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault(_other_kind(Said(str(path), str(path)), type(key).__name__))
    return key


def _other_kind(what: Said, kind: str) -> Said:
    found = kind.removeprefix("_").removesuffix("PrivateKey").removesuffix("PublicKey") or kind
    en = f"{what.en} is of {found}; packages are signed with Ed25519: make one with plantproof keys new FILE"
    return Said(en, f"{what.zh}为 {found} 密钥；证据包仅用 Ed25519 签名：请用 plantproof keys new FILE 生成")


def _there(path: Path) -> KeyFault:
    en = f"{path} is there already; a key is never written over: name another file"
    return KeyFault(Said(en, f"{path} 已存在；密钥不会被覆盖，请另取文件名"))


def _unread(path: Path, error: OSError) -> KeyFault:
    en = f"{path} cannot be read ({error.strerror}); name the key's file"
    return KeyFault(Said(en, f"无法读取 {path}（{error.strerror}）；请指定密钥文件"))


def _too_open(path: Path) -> Said:
    en = f"{path} can be read by others; run: chmod 600 {path}"
    return Said(en, f"{path} 可被其他用户读取；请执行：chmod 600 {path}")


def _passphrase(path: Path, *, asked: bool) -> KeyFault:
    if asked:
        en = f"{path} is encrypted; name the file with its passphrase: --passphrase-file FILE"
        return KeyFault(Said(en, f"{path} 已加密；请用 --passphrase-file FILE 指定口令文件"))
    en = f"{path} is not encrypted; leave the passphrase out"
    return KeyFault(Said(en, f"{path} 未加密；请去掉口令"))


def _no_private_key(path: Path, *, encrypted: bool) -> KeyFault:
    if encrypted:
        en = f"{path} does not open with this passphrase, or is damaged; give the one it was made with"
        return KeyFault(Said(en, f"{path} 无法用此口令打开，或文件已损坏；请使用生成密钥时的口令"))
    en = f"{path} is no private key that can be read (PKCS #8, PEM); make one with plantproof keys new FILE"
    return KeyFault(Said(en, f"{path} 不是可读取的私钥（PKCS #8，PEM）；请用 plantproof keys new FILE 生成"))
