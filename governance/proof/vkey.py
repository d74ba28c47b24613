"""Keys in the text form of signed notes: verifier keys and signing keys."""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import InvalidError

ED25519: Final = b"\x01"  # signature type identifier, c2sp.org/signed-note
_SIGNER_PREFIX: Final = "PRIVATE+KEY+"


class KeyFormatError(InvalidError):
    """A verifier or signer key text cannot be read. Never repeats the text: it may be a private key."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"key is not usable: {reason}; expected name+8 hex digits+base64", reason=reason)


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name it signs under; `str()` gives its vkey text `name+id+base64`."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public) != 32:
            raise KeyFormatError(f"an Ed25519 public key has 32 bytes, found {len(self.public)}")

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    @property
    def label(self) -> str:
        """Name and key id, enough to tell keys apart in a message."""
        return f"{self.name}+{self.key_id.hex()}"

    def __str__(self) -> str:
        return f"{self.label}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a vkey text. Raises KeyFormatError, also when the key id does not fit name and key."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise KeyFormatError("the text has fewer than three parts joined by +")
        key = cls(parts[0], _key_bytes(parts[2]))
        if parts[1] != key.key_id.hex():
            raise KeyFormatError(f"key id {parts[1]!r} does not belong to this name and key ({key.key_id.hex()})")
        return key


class NoteSigner(Protocol):
    """What signs notes: a key in memory, or one that lies elsewhere and is asked."""

    @property
    def name(self) -> str: ...

    @property
    def verifier(self) -> VerifierKey: ...

    @property
    def vkey(self) -> str: ...

    def sign(self, text: bytes) -> bytes:
        """The Ed25519 signature of a text, 64 bytes."""


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 private key with the name it signs under. `secret()` is its text form, to be kept from others."""

    name: str
    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Self:
        _check_name(name)
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, secret: str) -> Self:
        """Read `PRIVATE+KEY+name+id+base64`, the text form of golang.org/x/mod/sumdb/note."""
        parts = secret.removeprefix(_SIGNER_PREFIX).split("+", 2)
        if not secret.startswith(_SIGNER_PREFIX) or len(parts) != 3:
            raise KeyFormatError(f"a signer key starts with {_SIGNER_PREFIX} and has a name, an id and base64")
        _check_name(parts[0])
        key = cls(parts[0], Ed25519PrivateKey.from_private_bytes(_key_bytes(parts[2])))
        if parts[1] != key.verifier.key_id.hex():
            raise KeyFormatError("the key id does not belong to this name and key")
        return key

    def secret(self) -> str:
        seed = base64.b64encode(ED25519 + self.private.private_bytes_raw()).decode()
        return f"{_SIGNER_PREFIX}{self.verifier.label}+{seed}"

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw())

    @property
    def vkey(self) -> str:
        return str(self.verifier)

    def sign(self, text: bytes) -> bytes:
        """The Ed25519 signature of a text, 64 bytes."""
        return self.private.sign(text)


def is_signer_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def _check_name(name: str) -> None:
    if not is_signer_name(name):
        raise KeyFormatError(f"key name {name!r} must be non-empty, without spaces and without +")


def _key_bytes(encoded: str) -> bytes:
    raw = strict_base64(encoded)
    if raw is None or len(raw) != 33 or raw[:1] != ED25519:
        raise KeyFormatError("the last part is not the base64 of 0x01 and 32 bytes (Ed25519)")
    return raw[1:]


def strict_base64(encoded: str) -> bytes | None:
    """Decoded bytes, or None unless this is the one standard spelling (stray bits in the last digit change nothing)."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if base64.b64encode(raw).decode() == encoded else None
