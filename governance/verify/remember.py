"""What a verifier has seen: the newest checkpoint of each log, so that a later bundle of a shorter log is noticed."""

import json
import os
from dataclasses import replace
from pathlib import Path

from core.errors import AppError, InvalidError
from governance.proof.checkpoint import Checkpoint, verify_checkpoint
from governance.verify.against import hold_against
from governance.verify.earlier import Earlier, read_earlier
from governance.verify.findings import BundleVerdict, Finding


def remembered(verdict: BundleVerdict, bundle: Path, file: Path) -> BundleVerdict:
    """Hold a bundle against the newest checkpoint of its log that was seen, and remember its own if it is newer.

    Args:
        verdict: on the bundle; one that fails is not remembered.
        file: JSON, a note for each log by its name and key; made by the first bundle.

    Raises:
        InvalidError: the file cannot be read or written.
    """
    own = read_earlier(bundle)
    if not own.notes or not own.vkeys:
        return verdict
    seen = _read(file)
    try:
        head = verify_checkpoint(own.notes[0], own.vkeys)
    except AppError:
        return verdict  # of another key than the bundle names; there is a finding
    log = head.signers[0]
    if log in seen:
        verdict = _held(verdict, own, head, Earlier(str(file), [seen[log]]))
    if not verdict.findings and _size(seen.get(log)) < head.size:
        _write(file, seen | {log: own.notes[0]})
    return verdict


def _held(verdict: BundleVerdict, own: Earlier, head: Checkpoint, kept: Earlier) -> BundleVerdict:
    try:
        old = verify_checkpoint(kept.notes[0], own.vkeys)
    except AppError as error:
        raise InvalidError(
            f"{kept.name} holds a damaged checkpoint: {error.message}; restore it, or name another file"
        ) from error
    lines = [line for _, line in sorted(own.entries.items())]
    if old.size > head.size:
        later = old.at is not None and head.at is not None and head.at > old.at
        against = hold_against(lines, kept, own.vkeys, whole=True)
        if later and against.findings:  # none where the log itself records that its end was lost
            found = f"{head.size} entries, signed later: {head.size} to {old.size - 1} are gone"
            shorter = Finding("log.truncated", kept.name, f"the {old.size} entries that were seen", found)
            return replace(verdict, findings=(*verdict.findings, shorter))
        if not later:
            older = f"{kept.name}: this bundle is older than the newest that was seen"
            return replace(verdict, held=(*verdict.held, older))
    else:
        against = hold_against(lines, kept, own.vkeys, whole=False)
    words = tuple(f"{kept.name}: {words}" for words in against.words)
    return replace(verdict, findings=verdict.findings + against.findings, held=verdict.held + words)


def _size(note: str | None) -> int:
    return int(note.split("\n", 2)[1]) if note else 0


def _read(file: Path) -> dict[str, str]:
    try:
        document = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidError(f"{file} cannot be read: {error}; restore it, or name another file") from error
    if not isinstance(document, dict) or not all(isinstance(note, str) for note in document.values()):
        raise InvalidError(f"{file} holds no checkpoints by log; restore it, or name another file")
    return document


def _write(file: Path, seen: dict[str, str]) -> None:
    draft = file.with_name(f".{file.name}.new")
    try:
        draft.write_text(json.dumps(seen, indent=1, sort_keys=True) + "\n", "utf-8")
        os.replace(draft, file)
    except OSError as error:
        raise InvalidError(f"{file} cannot be written: {error.strerror}") from error
