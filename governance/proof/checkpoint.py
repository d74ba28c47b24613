"""Checkpoint: the signed head of the ledger's tree, as a C2SP signed note with an Ed25519 signature. Pure.

    assay.example/ledger
    12
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
    time 2026-01-01T00:00:00.000000Z

    (em dash) assay.example/ledger base64(key id || signature)

Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint. The `time` extension line is specific to Assay; other
readers skip it. Every text has exactly one accepted spelling (strict base64, no leading zeros), so no byte can change
unnoticed.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from core.canonical import timestamp
from core.errors import InvalidError
from governance.proof.note import NoteFormatError, open_note, sign_note
from governance.proof.vkey import NoteSigner, strict_base64

SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME: Final = "time "
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class Checkpoint:
    """A verified tree head: `size` leaves hash to `root` (32 bytes); signed by `signers` for the log `origin`."""

    origin: str
    size: int
    root: bytes
    at: datetime | None
    extensions: tuple[str, ...]
    signers: tuple[str, ...]


def sign_checkpoint(
    key: NoteSigner, origin: str, size: int, root: bytes, at: datetime, extensions: Sequence[str] = ()
) -> str:
    """The checkpoint note for a tree of `size` leaves with this `root` (32 bytes), signed at `at` (with a zone).

    extensions: further lines, each without a line break; the format lets a log add what it likes.
    """
    if not origin or "\n" in origin:
        raise InvalidError(f"origin {origin!r} must be one non-empty line", origin=origin)
    if size < 0 or len(root) != 32:
        raise InvalidError(f"size {size} and a root of {len(root)} bytes are no tree head; give size >= 0 and 32 bytes")
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n{_TIME}{timestamp(at)}\n"
    text += "".join(f"{line}\n" for line in extensions)
    return sign_note(text, [key])


def verify_checkpoint(text: str, public_keys: Sequence[str]) -> Checkpoint:
    """Check and read a checkpoint note; `public_keys` are vkey texts.

    Raises:
        KeyFormatError, NoteFormatError, NoteSignatureError: as `open_note`; NoteFormatError also if the signed
            text is not a checkpoint.

    Source: c2sp.org/tlog-checkpoint.
    """
    note = open_note(text, public_keys)
    lines = note.text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise NoteFormatError("a checkpoint has three or more non-empty lines: origin, size, root", text)
    if not SIZE.fullmatch(lines[1]):
        raise NoteFormatError(f"tree size {lines[1]!r} is not a plain decimal count", text)
    root = strict_base64(lines[2])
    if root is None or len(root) != 32:
        raise NoteFormatError(f"root {lines[2]!r} is not the base64 of 32 bytes", text)
    extensions = tuple(lines[3:])
    return Checkpoint(lines[0], int(lines[1]), root, _time(extensions, text), extensions, note.signers)


def timed(line: str) -> bool:
    """Whether an extension line is the time of a checkpoint, in its one spelling."""
    try:
        return line.startswith(_TIME) and _time([line], "") is not None
    except NoteFormatError:
        return False


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
