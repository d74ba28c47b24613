"""Checkpoint: the signed head of the ledger's tree, as a C2SP signed note with an Ed25519 signature. Pure.

    assay.example/ledger
    12
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
    time 2026-01-01T00:00:00.000000Z

    (em dash) assay.example/ledger base64(key id || signature)

Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint. The `time` extension line is ours; other readers skip it.
Every text here has exactly one accepted spelling (strict base64, no leading zeros), so no byte can change unnoticed.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.canonical import timestamp
from core.errors import IntegrityFailureError, InvalidError

ED25519: Final = b"\x01"  # signature type identifier, c2sp.org/signed-note
MAX_NOTE_BYTES: Final = 1_000_000
MAX_SIGNATURES: Final = 100
_SIGNATURE_MARK: Final = "\u2014 "  # em dash and space open a signature line
_SIGNER_PREFIX: Final = "PRIVATE+KEY+"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME: Final = "time "
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class KeyFormatError(InvalidError):
    """A verifier or signer key text cannot be read. Never repeats the text: it may be a private key."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"key is not usable: {reason}; expected name+8 hex digits+base64", reason=reason)


class NoteFormatError(IntegrityFailureError):
    def __init__(self, reason: str, note: str) -> None:
        super().__init__(f"not a signed note: {reason}", reason=reason)
        self.note = note


class NoteSignatureError(IntegrityFailureError):
    """The note carries no valid signature of a known key. `note` is the evidence."""

    def __init__(self, reason: str, note: str, signers: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(
            f"{reason}; signed by {', '.join(signers) or 'nobody'}, known keys: {', '.join(known) or 'none'}",
            signers=list(signers),
            known=list(known),
        )
        self.note = note


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


@dataclass(frozen=True)
class Note:
    """A note whose signature was checked: its text and the keys (name+id) that signed it."""

    text: str
    signers: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A verified tree head: `size` leaves hash to `root` (32 bytes), said by `signers` of the log `origin`."""

    origin: str
    size: int
    root: bytes
    at: datetime | None
    extensions: tuple[str, ...]
    signers: tuple[str, ...]


def sign_note(text: str, keys: Iterable[SigningKey]) -> str:
    """Text (ending in a newline) followed by a blank line and one signature line for each key."""
    _check_text(text, text)
    lines = []
    for key in keys:
        signature = key.verifier.key_id + key.private.sign(text.encode())
        lines.append(f"{_SIGNATURE_MARK}{key.name} {base64.b64encode(signature).decode()}\n")
    if not lines:
        raise InvalidError("a note needs at least one signing key")
    return text + "\n" + "".join(lines)


def open_note(note: str, vkeys: Sequence[str]) -> Note:
    """Check a signed note against known keys; signatures of unknown keys are skipped, as witnesses may add theirs.

    Raises:
        KeyFormatError: a known key cannot be read.
        NoteFormatError: the text is no signed note.
        NoteSignatureError: no known key signed it, or the signature of a known key does not hold.

    Source: c2sp.org/signed-note.
    """
    known = {(key.name, key.key_id): key for key in map(VerifierKey.parse, vkeys)}
    labels = [key.label for key in known.values()]
    text, signatures = _split_note(note)
    claimed = [f"{name}+{key_id.hex()}" for name, key_id, _ in signatures]
    valid: dict[str, None] = {}
    for name, key_id, signature in signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
        except InvalidSignature as error:
            reason = f"the signature of {key.label} does not fit the text"
            raise NoteSignatureError(reason, note, claimed, labels) from error
        valid[key.label] = None
    if not valid:
        raise NoteSignatureError("no signature of a known key", note, claimed, labels)
    return Note(text, tuple(valid))


def sign(key: SigningKey, origin: str, size: int, root: bytes, at: datetime) -> str:
    """The checkpoint note for a tree of `size` leaves with this `root` (32 bytes), signed at `at` (with a zone)."""
    if not origin or "\n" in origin:
        raise InvalidError(f"origin {origin!r} must be one non-empty line", origin=origin)
    if size < 0 or len(root) != 32:
        raise InvalidError(f"size {size} and a root of {len(root)} bytes are no tree head; give size >= 0, 32 bytes")
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n{_TIME}{timestamp(at)}\n"
    return sign_note(text, [key])


def verify(text: str, public_keys: Sequence[str]) -> Checkpoint:
    """Check and read a checkpoint note; `public_keys` are vkey texts.

    Raises:
        KeyFormatError, NoteFormatError, NoteSignatureError: as `open_note`; NoteFormatError also when the signed
            text is no checkpoint.

    Source: c2sp.org/tlog-checkpoint.
    """
    note = open_note(text, public_keys)
    lines = note.text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise NoteFormatError("a checkpoint has three or more non-empty lines: origin, size, root", text)
    if not _SIZE.fullmatch(lines[1]):
        raise NoteFormatError(f"tree size {lines[1]!r} is not a plain decimal count", text)
    root = _strict_base64(lines[2])
    if root is None or len(root) != 32:
        raise NoteFormatError(f"root {lines[2]!r} is not the base64 of 32 bytes", text)
    extensions = tuple(lines[3:])
    return Checkpoint(lines[0], int(lines[1]), root, _time(extensions, text), extensions, note.signers)


def _time(extensions: Sequence[str], note: str) -> datetime | None:
    times = [line.removeprefix(_TIME) for line in extensions if line.startswith(_TIME)]
    if not times:
        return None
    try:
        at = datetime.strptime(times[0], _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise NoteFormatError(f"time {times[0]!r} is not RFC 3339 in UTC with microseconds", note) from error
    if len(times) > 1 or timestamp(at) != times[0]:
        raise NoteFormatError(f"time {times} must be given once, in full", note)
    return at


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text and (key name, key id, signature) of a note; nothing is verified yet."""
    _check_text(note, note)
    # The text may hold blank lines, so it ends at the last one.
    at = note.rfind("\n\n")
    if at < 0:
        raise NoteFormatError("no blank line between text and signatures", note)
    lines = note[at + 2 : -1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteFormatError(f"{len(lines)} signatures, more than {MAX_SIGNATURES}", note)
    return note[: at + 1], [_signature(line, note) for line in lines]


def _signature(line: str, note: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    raw = _strict_base64(encoded)
    if not line.startswith(_SIGNATURE_MARK) or not _is_name(name) or raw is None or len(raw) < 5:
        raise NoteFormatError(f"signature line {line!r} is not em dash, key name, base64 of id and signature", note)
    return name, raw[:4], raw[4:]


def _check_text(text: str, note: str) -> None:
    if not text.endswith("\n"):
        raise NoteFormatError("the text does not end in a newline", note)
    if len(text) > MAX_NOTE_BYTES:
        raise NoteFormatError(f"longer than {MAX_NOTE_BYTES} characters", note)
    control = next((character for character in text if character < " " and character != "\n"), None)
    if control is not None:
        raise NoteFormatError(f"control character {control!r}", note)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise NoteFormatError("not valid UTF-8", note)


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def _check_name(name: str) -> None:
    if not _is_name(name):
        raise KeyFormatError(f"key name {name!r} must be non-empty, without spaces and without +")


def _key_bytes(encoded: str) -> bytes:
    raw = _strict_base64(encoded)
    if raw is None or len(raw) != 33 or raw[:1] != ED25519:
        raise KeyFormatError("the last part is not the base64 of 0x01 and 32 bytes (Ed25519)")
    return raw[1:]


def _strict_base64(encoded: str) -> bytes | None:
    """Decoded bytes, or None unless this is the one standard spelling (stray bits in the last digit change nothing)."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if base64.b64encode(raw).decode() == encoded else None
