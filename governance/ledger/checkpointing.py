"""Sign checkpoints of the ledger, and prove inclusion and consistency."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import write_durably
from core.errors import IntegrityFailureError, InvalidError, NotFoundError
from governance.ledger.append import record_repair
from governance.ledger.extends import NEWEST, NOTES, Places, check_extends, root_of_note
from governance.ledger.head import Head, lock_head
from governance.ledger.last_seen import claimed_size, read_if_readable, set_aside, write_last_seen
from governance.ledger.log_key import require_log_key
from governance.ledger.read import ledger_size
from governance.ledger.signers.base import SignerRefusedError
from governance.ledger.signers.remote import RemoteSigner
from governance.ledger.tree import StoredTree
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.note import NoteSignatureError, open_note
from governance.proof.vkey import NoteSigner, VerifierKey, strict_base64
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


def issue_checkpoint(
    db: Session, *, key: NoteSigner, places: Places, now: datetime, earlier: Sequence[str] = (), whole: bool = False
) -> LedgerCheckpoint:
    """Sign the committed head; store the note in the database, the anchor folder and the last-seen file.

    Before signing, the stored entries are proved to extend every checkpoint that is found, so a log that was shortened
    or rewritten is never signed. The caller's transaction must not have added entries itself: the copies outside are
    written before it commits, and would name entries that may never exist. If it fails after that, they only name a
    checkpoint of entries that exist.

    Args:
        earlier: public keys that signed this log before `key`.
        whole: look at every checkpoint there is, not only at the newest.

    Raises:
        InvalidError: the log is empty.
        LedgerRefusedError: the log does not extend a checkpoint that was found.
        IntegrityFailureError: the stored leaves do not lead to the head, or the configured key is not the one that the
            log goes on under.
        SignerUnreachableError: the key cannot be asked now; the next checkpoint covers every entry.
    """
    head = record_repair(db, now)
    size = head.row.size - bool(head.repaired)  # the entry of a repair is not committed yet
    if size <= 0:
        raise InvalidError("the ledger is empty; there is nothing to sign yet")
    last, vkeys = latest_checkpoint(db), (key.vkey, *earlier)
    if last is None or last.size != size:
        require_log_key(db, key)  # a rotation that was recorded takes effect
    vkeys = (key.vkey, *vkeys)
    _clear_last_seen(db, places, vkeys)
    root = provable_root(db, head, size, places, vkeys, whole=whole)
    if last is not None and last.size == size:
        row = last
    else:
        note = signed_head(db, key, key.name, size, root, now)
        row = LedgerCheckpoint(size=size, root=root.hex(), note=note, at=now)
        db.add(row)
        write_durably(_free_name(places.anchor, size, root), note.encode())
    if places.last_seen is not None and read_if_readable(places.last_seen) != row.note:
        write_last_seen(places.last_seen, row.note)
    return row


def provable_head(db: Session, places: Places, vkeys: Sequence[str]) -> tuple[int, bytes]:
    """Size and root of the committed head, locked; `provable_root` says what was proved and what is raised."""
    head = lock_head(db)
    return head.row.size, provable_root(db, head, head.row.size, places, vkeys)


def provable_root(
    db: Session, head: Head, size: int, places: Places, vkeys: Sequence[str], *, whole: bool = False
) -> bytes:
    """Root of the first `size` entries of the locked head, after they were proved to extend every checkpoint found.

    Raises:
        LedgerRefusedError: they do not extend one.
        IntegrityFailureError: a stored leaf hash is damaged, or the stored leaves do not lead to the head.
    """
    sizes = frozenset({size, head.row.size})
    count, roots = check_extends(db, places, vkeys, newest=None if whole else NEWEST, sizes=sizes)
    if count != head.row.size or roots[head.row.size].hex() != head.row.root:
        raise IntegrityFailureError(
            "the stored ledger entries do not extend the last checkpoint; nothing was signed. "
            "Run `assay verify` to see which entry changed, and `assay ledger repair` if that says so",
            size=head.row.size,
        )
    return roots[size]


@contextmanager
def _readable(size: int) -> Iterator[None]:
    """Hashes that are no hashes, or not there, are damage of the log."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise IntegrityFailureError(
            "a stored hash is missing or damaged; run `assay verify` to see what changed, and `assay ledger repair` if "
            "that says so", size=size,
        ) from error  # fmt: skip


def signed_head(
    db: Session, key: NoteSigner, origin: str, size: int, root: bytes, now: datetime, extensions: Sequence[str] = ()
) -> str:
    """A checkpoint of the proven head. A signer process is given the proof that it extends what it signed last.

    Raises:
        SignerUnreachableError, SignerRefusedError: the signer is away, refuses, or signs with another key.
    """

    def prove(first: int) -> list[bytes]:
        with _readable(size):
            return list(StoredTree(db, size).consistency_proof(first, size)) if first <= size else []

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


def _clear_last_seen(db: Session, places: Places, vkeys: Sequence[str]) -> None:
    """Before the first signing of a new log, put the file of an installation that was here before it out of the way."""
    path = places.last_seen
    if path is None or latest_checkpoint(db) is not None or any(places.anchor.glob(NOTES)):
        return
    if (note := read_if_readable(path)) is None:
        return
    signer = note.rstrip("\n").split("\n")[-1].split(" ")
    raw = strict_base64(signer[-1])
    known = {key.key_id for key in map(VerifierKey.parse, vkeys)}
    if raw is not None and len(signer) == 3 and raw[:4] not in known and claimed_size(note):
        set_aside(path)


def copy_to_anchor(db: Session, anchor: Path) -> None:
    """Write what the anchor folder lacks of the stored checkpoints."""
    held = {path.read_text(errors="replace") for path in anchor.glob(NOTES)}
    for size, root, note in db.execute(select(LedgerCheckpoint.size, LedgerCheckpoint.root, LedgerCheckpoint.note)):
        if note not in held:
            write_durably(_free_name(anchor, size, bytes.fromhex(root)), note.encode())


def _free_name(anchor: Path, size: int, root: bytes) -> Path:
    """The file of a checkpoint; the note of a lost part of the log keeps its name, and the new one gets another."""
    path = anchor / f"checkpoint-{size:012d}.note"
    if path.exists() and root_of_note(path.read_text(errors="replace")) not in (None, root):
        return anchor / f"checkpoint-{size:012d}-{root.hex()[:8]}.note"
    return path


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
    with _readable(tree_size):
        tree = StoredTree(db, tree_size)
        proof, root = tree.inclusion_proof(index), tree.root(tree_size)
    return {
        "index": index, "size": tree_size, "leaf": entry.leaf, "entry": entry.entry,
        "root": root.hex(), "proof": [node.hex() for node in proof],
    }  # fmt: skip


def consistency_proof(db: Session, first: int, second: int) -> dict[str, Any]:
    with _readable(second):
        tree = StoredTree(db, second)
        proof = tree.consistency_proof(first, second)
        first_root, second_root = tree.root(first), tree.root(second)
    return {
        "first": first, "second": second, "first_root": first_root.hex(),
        "second_root": second_root.hex(), "proof": [node.hex() for node in proof],
    }  # fmt: skip
