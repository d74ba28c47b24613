"""Sign checkpoints of the ledger, and prove inclusion and consistency."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import write_durably
from core.errors import IntegrityFailureError, InvalidError, NotFoundError
from governance.ledger.append import record_repair
from governance.ledger.head import lock_head
from governance.ledger.log_key import require_log_key
from governance.ledger.read import ledger_leaves, ledger_size, stored_bytes
from governance.ledger.signers.base import SignerRefusedError
from governance.ledger.signers.remote import RemoteSigner
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.note import NoteSignatureError, open_note
from governance.proof.vkey import NoteSigner, strict_base64
from governance.tables import LedgerCheckpoint, LedgerEntry


def latest_checkpoint(db: Session) -> LedgerCheckpoint | None:
    """
    Raises:
        IntegrityFailureError: a column of it is damaged.
    """
    try:
        return db.scalars(select(LedgerCheckpoint).order_by(LedgerCheckpoint.size.desc()).limit(1)).first()
    except (ValueError, TypeError) as error:
        raise IntegrityFailureError(
            "a stored checkpoint cannot be read; run `assay verify`, and `assay ledger repair` if that says so"
        ) from error


def issue_checkpoint(db: Session, *, key: NoteSigner, anchor: Path, now: datetime) -> LedgerCheckpoint:
    """Sign the committed head, store the note in the database and copy it to the anchor folder.

    Before signing, the stored entries are proved to extend the last checkpoint, so a rewritten log is never signed.

    Raises:
        InvalidError: the log is empty.
        IntegrityFailureError: the stored leaves do not lead from the last checkpoint to the head, or the configured
            key is not the one that the log goes on under.
        SignerUnreachableError: the key cannot be asked now; the next checkpoint covers every entry.
    """
    head = record_repair(db, now).row
    if head.size == 0:
        raise InvalidError("the ledger is empty; there is nothing to sign yet")
    last = latest_checkpoint(db)
    if last is not None and last.size == head.size and _noted_root(last) == head.root:
        return last
    require_log_key(db, key)
    size, root = provable_head(db)
    note = signed_head(db, key, key.name, size, root, now)
    row = LedgerCheckpoint(size=size, root=root.hex(), note=note, at=now)
    db.add(row)
    write_durably(anchor / f"checkpoint-{size:012d}.note", note.encode())
    return row


def provable_head(db: Session) -> tuple[int, bytes]:
    """Size and root of the committed head, locked, after its stored entries were proved to extend the last checkpoint.

    Raises:
        IntegrityFailureError: they do not, or a stored leaf hash is damaged.
    """
    head = lock_head(db).row
    size = head.size
    last = latest_checkpoint(db)
    try:
        stored = ledger_leaves(db, size)
    except ValueError as error:
        raise IntegrityFailureError("a stored leaf hash is not hexadecimal; run `assay verify`", size=size) from error
    root = merkle.root(stored)
    if root.hex() != head.root or (last is not None and merkle.root(stored[: last.size]).hex() != _noted_root(last)):
        raise IntegrityFailureError(
            "the stored ledger entries do not extend the last checkpoint; nothing was signed. "
            "Run `assay verify` to see which entry changed, and `assay ledger repair` if that says so",
            size=size,
        )
    return size, root


def signed_head(
    db: Session, key: NoteSigner, origin: str, size: int, root: bytes, now: datetime, extensions: Sequence[str] = ()
) -> str:
    """A checkpoint of the proven head. A signer process is given the proof that it extends what it signed last.

    Raises:
        SignerUnreachableError, SignerRefusedError: the signer is away, refuses, or signs with another key.
    """

    def prove(first: int) -> list[bytes]:
        return list(merkle.consistency_proof(ledger_leaves(db, size), first, size)) if first <= size else []

    if isinstance(key, RemoteSigner):
        key = key.proving(prove, size)
    note = sign_checkpoint(key, origin, size, root, now, extensions)
    try:
        open_note(note, [key.vkey])
    except NoteSignatureError as error:
        raise SignerRefusedError(
            f"the signer signed with another key than {key.verifier.label}; hand the ledger over with "
            "`assay ledger rotate`, or configure the signer that has the key", signer=key.vkey,
        ) from error  # fmt: skip
    return note


def _noted_root(checkpoint: LedgerCheckpoint) -> str:
    """The root in the note, which is what was signed; the column beside it only repeats it."""
    lines = stored_bytes(checkpoint.note).decode(errors="replace").split("\n")
    root = strict_base64(lines[2]) if len(lines) > 2 else None
    return checkpoint.root if root is None else root.hex()


def inclusion_proof(db: Session, index: int, tree_size: int | None = None) -> dict[str, Any]:
    """Audit path of one entry in the tree of `tree_size` entries, by default the size of the newest checkpoint."""
    entry = db.get(LedgerEntry, index)
    if entry is None:
        raise NotFoundError(
            f"ledger entry {index} does not exist; the ledger has {ledger_size(db)} entries", index=index
        )
    if tree_size is None:
        last = latest_checkpoint(db)
        tree_size = last.size if last is not None and last.size > index else ledger_size(db)
    stored = ledger_leaves(db, tree_size)
    proof = merkle.inclusion_proof(stored, index)
    return {
        "index": index, "size": tree_size, "leaf": entry.leaf, "entry": entry.entry,
        "root": merkle.root(stored).hex(), "proof": [node.hex() for node in proof],
    }  # fmt: skip


def consistency_proof(db: Session, first: int, second: int) -> dict[str, Any]:
    stored = ledger_leaves(db, second)
    proof = merkle.consistency_proof(stored, first, second)
    return {
        "first": first, "second": second, "first_root": merkle.root(stored[:first]).hex(),
        "second_root": merkle.root(stored).hex(), "proof": [node.hex() for node in proof],
    }  # fmt: skip
