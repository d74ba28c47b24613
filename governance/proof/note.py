"""Signed notes (C2SP signed-note): a text followed by Ed25519 signatures."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.errors import IntegrityFailureError, InvalidError
from governance.proof.vkey import NoteSigner, VerifierKey, is_signer_name, strict_base64

MAX_NOTE_BYTES: Final = 1_000_000
MAX_SIGNATURES: Final = 100
MARK: Final = "\u2014 "  # em dash and space open a signature line


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
class Note:
    """A note whose signature was checked: its text and the keys (name+id) that signed it."""

    text: str
    signers: tuple[str, ...]


def sign_note(text: str, keys: Iterable[NoteSigner]) -> str:
    """Text (ending in a newline) followed by a blank line and one signature line for each key."""
    _check_text(text, text)
    lines = []
    for key in keys:
        signature = key.verifier.key_id + key.sign(text.encode())
        lines.append(f"{MARK}{key.name} {base64.b64encode(signature).decode()}\n")
    if not lines:
        raise InvalidError("a note needs at least one signing key")
    return text + "\n" + "".join(lines)


def open_note(note: str, vkeys: Sequence[str]) -> Note:
    """Check a signed note against known keys; signatures of unknown keys are skipped, because witnesses may add theirs.

    Raises:
        KeyFormatError: a known key cannot be read.
        NoteFormatError: the text is not a signed note.
        NoteSignatureError: no known key signed it, or the signature of a known key is invalid.

    Source: c2sp.org/signed-note.
    """
    known = {(key.name, key.key_id): key for key in map(VerifierKey.parse, vkeys)}
    labels = [key.label for key in known.values()]
    text, signatures = split_note(note)
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


def claimed_signers(note: str) -> tuple[str, ...]:
    """Name and key id of each signature of a note, none of which is verified; empty if it is no signed note."""
    try:
        return tuple(f"{name}+{key_id.hex()}" for name, key_id, _ in split_note(note)[1])
    except NoteFormatError:
        return ()


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
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
    name, _, encoded = line.removeprefix(MARK).partition(" ")
    raw = strict_base64(encoded)
    if not line.startswith(MARK) or not is_signer_name(name) or raw is None or len(raw) < 5:
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
