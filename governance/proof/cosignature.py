"""Cosignatures of witnesses on checkpoints, with the time at which each saw it (c2sp.org/tlog-cosignature). Pure."""

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.proof.note import MARK, split_note
from governance.proof.vkey import KeyFormatError, NoteSigner, is_signer_name, strict_base64

COSIGNATURE: Final = b"\x04"  # signature type identifier, c2sp.org/signed-note
_HEAD: Final = "cosignature/v1"
_SIGNATURE_BYTES: Final = 72  # time and Ed25519 signature


@dataclass(frozen=True)
class WitnessKey:
    """The public key of a witness; `str()` gives its vkey text `name+id+base64`."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).digest()[:4]

    @property
    def label(self) -> str:
        return f"{self.name}+{self.key_id.hex()}"

    def __str__(self) -> str:
        return f"{self.label}+{base64.b64encode(COSIGNATURE + self.public).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a vkey text. Raises KeyFormatError, also for a key that signs logs and is no witness's."""
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = strict_base64(encoded)
        if not is_signer_name(name) or raw is None or len(raw) != 33 or raw[:1] != COSIGNATURE:
            raise KeyFormatError("a witness key ends in the base64 of 0x04 and 32 bytes")
        key = cls(name, raw[1:])
        if key_id != key.key_id.hex():
            raise KeyFormatError(f"key id {key_id!r} does not belong to this name and key ({key.key_id.hex()})")
        return key


def cosign(signer: NoteSigner, note: str, at: datetime) -> str:
    """The signature line of a witness for a checkpoint note, with its line break."""
    key = WitnessKey(signer.name, signer.verifier.public)
    seconds = int(at.timestamp())
    signature = signer.sign(_signed(split_note(note)[0], seconds))
    encoded = base64.b64encode(key.key_id + struct.pack(">Q", seconds) + signature).decode()
    return f"{MARK}{key.name} {encoded}\n"


def cosignatures(note: str, witnesses: Sequence[str]) -> dict[str, datetime]:
    """Which of the witnesses, given as vkey texts, have cosigned a note, by label, and when.

    Raises:
        KeyFormatError: a key is none of a witness.
        NoteFormatError: the text is no note.
    """
    keys = {(key.name, key.key_id): key for key in map(WitnessKey.parse, witnesses)}
    text, signatures = split_note(note)
    found: dict[str, datetime] = {}
    for name, key_id, signature in signatures:
        key = keys.get((name, key_id))
        if key is None or len(signature) != _SIGNATURE_BYTES:
            continue
        (seconds,) = struct.unpack(">Q", signature[:8])
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature[8:], _signed(text, seconds))
            found[key.label] = datetime.fromtimestamp(seconds, UTC)
        except (InvalidSignature, OverflowError, ValueError, OSError):
            continue
    return found


def _signed(text: str, seconds: int) -> bytes:
    return f"{_HEAD}\ntime {seconds}\n{text}".encode()
