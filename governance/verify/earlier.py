"""What was published or kept earlier, read back: a bundle, checkpoint notes, or entries; a log is held against it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidError
from governance.verify.archive import MAX_BUNDLE_BYTES
from governance.verify.bundle import verify_bundle
from governance.verify.entries import canonical_object
from governance.verify.findings import BundleNotFoundError
from governance.verify.manifest import CHECKPOINT_NOTE, ENTRIES, MANIFEST, manifest_problems
from governance.verify.unpack import Unpacked, unpack_folder, unpack_zip

NOTES: Final = "checkpoint-*.note"
_SIGNATURE: Final = "\n\n\u2014 "
_TRIED: Final = "give a bundle, a checkpoint note, a folder of notes, or entries as JSON"


@dataclass
class Earlier:
    """Notes of checkpoints, and the exact bytes of entries by their index.

    `broken`: why a bundle proves nothing; `vkeys`: the key that a bundle names as its own.
    """

    name: str
    notes: list[str] = field(default_factory=list)
    entries: dict[int, bytes] = field(default_factory=dict)
    broken: str = ""
    vkeys: list[str] = field(default_factory=list)


def read_earlier(path: Path) -> Earlier:
    """Read what a path holds.

    Raises:
        BundleNotFoundError: there is nothing that can be read.
        InvalidError: it holds neither a checkpoint nor an entry.
    """
    try:
        if path.is_dir():
            return _of_folder(path)
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleNotFoundError(path, error.strerror or str(error)) from error
    if data.startswith(b"PK"):
        return _of_bundle(path, unpack_zip(data))
    found = Earlier(str(path))
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    if _is_note(text):
        found.notes.append(text)
    else:
        for document in _documents(text):
            _gather(document, found)
    if not found.notes and not found.entries:
        raise InvalidError(f"{path} holds neither a checkpoint nor an entry of a ledger; {_TRIED}", field="--against")
    return found


def _of_folder(path: Path) -> Earlier:
    notes = sorted(path.glob(NOTES)) or sorted(path.glob(f"anchor/{NOTES}"))
    if notes:
        return Earlier(str(path), [note.read_text("utf-8", errors="replace") for note in notes])
    unpacked = unpack_folder(path)
    if MANIFEST not in unpacked.members:
        raise InvalidError(f"{path} is no bundle and has no checkpoint; {_TRIED}", field="--against")
    return _of_bundle(path, unpacked)


def _of_bundle(path: Path, unpacked: Unpacked) -> Earlier:
    found = Earlier(str(path))
    verdict = verify_bundle(path)
    if verdict.findings:
        found.broken = str(verdict.findings[0])
    lines = unpacked.members.get(ENTRIES, b"").split(b"\n")
    found.entries = {index: line for index, line in enumerate(lines) if line}
    manifest, _ = canonical_object(unpacked.members.get(MANIFEST, b""))
    if manifest is not None and not list(manifest_problems(manifest)):
        found.vkeys.append(manifest["ledger"]["vkey"])
    note = unpacked.members.get(CHECKPOINT_NOTE)
    if note is not None:
        found.notes.append(note.decode("utf-8", errors="replace"))
    return found


def _is_note(text: str) -> bool:
    return _SIGNATURE in text and text.count("\n") >= 4


def _documents(text: str) -> Iterator[Any]:
    """A JSON document, or one on each line; an entry that stands alone keeps its bytes."""
    try:
        yield json.loads(text)
    except ValueError:
        for line in text.split("\n"):
            try:
                document = json.loads(line)
            except ValueError:
                continue
            exact = isinstance(document, dict) and {"index", "kind", "body"} <= document.keys()
            yield document | {"entry": document.get("entry", line)} if exact else document


def _gather(value: Any, found: Earlier) -> None:
    """Find entries and notes wherever a document holds them."""
    if isinstance(value, str):
        if _is_note(value):
            found.notes.append(value)
        return
    if isinstance(value, Mapping):
        line, index = value.get("entry"), value.get("index")
        if isinstance(line, str) and isinstance(index, int):
            found.entries[index] = line.encode()
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _gather(item, found)
