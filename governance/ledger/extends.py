"""Whether the stored log extends every checkpoint that can be found; only such a log is signed.

Checkpoints are looked for in the database, in the anchor folder and in the last-seen file. Whoever drops the end of the
log must drop them in all three places, and the last lies outside the home folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.canonical import timestamp
from core.errors import AppError, IntegrityFailureError
from core.settings import Settings
from governance.ledger.last_seen import claimed_size, read_last_seen
from governance.ledger.read import ledger_entries, stored_bytes
from governance.ledger.tree import StoredTree
from governance.proof import merkle
from governance.proof.checkpoint import Checkpoint, verify_checkpoint
from governance.proof.note import NoteSignatureError, claimed_signers
from governance.proof.vkey import VerifierKey, strict_base64
from governance.tables import LedgerEntry, LedgerHead
from governance.verify.recoveries import RECOVERED_KIND, disowned, read_recovery

NEWEST: Final = 100  # notes of the anchor that are looked at before each signing; all are, at the start of a process
NAMED: Final = 20  # checkpoints that an error and its entry name
NOTES: Final = "checkpoint-*.note"
_NONE: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True)
class Places:
    """Where checkpoints are kept outside the database; `last_seen` is None where no such file is kept.

    others: folders of further anchors, in which other logs may have notes too.
    """

    anchor: Path
    last_seen: Path | None = None
    others: tuple[Path, ...] = ()

    def in_others(self, vkeys: Sequence[str]) -> Iterator[tuple[Path, str]]:
        """The notes of this log in the further folders."""
        own = {VerifierKey.parse(vkey).label for vkey in vkeys}
        for folder in self.others:
            for path in sorted(folder.glob(NOTES), reverse=True):
                note = _read(path)
                if own.intersection(claimed_signers(note)):
                    yield path, note


def places_of(settings: Settings) -> Places:
    urls = (urlsplit(url.get_secret_value()) for url in settings.anchors.values())
    others = tuple(Path(unquote(url.path)) for url in urls if url.scheme.lower() == "file")
    return Places(settings.anchor_dir, settings.last_seen_file, others)


@dataclass(frozen=True)
class Contradiction:
    """A checkpoint that the stored log does not extend.

    missing: entries that it covers are not there. differs: they are there, and others. foreign: another installation
    signed it. unreadable: it is no signed checkpoint.
    """

    where: str
    what: Literal["missing", "differs", "foreign", "unreadable"]
    size: int
    note: str
    head: Checkpoint | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.head is None:
            return f"{self.where} {self.reason}"
        at = f", signed at {timestamp(self.head.at)}" if self.head.at else ""
        return f"{self.where} covers {self.size} entries{at}"

    @property
    def told(self) -> dict[str, Any]:
        """For an entry of the ledger; what is missing today differs once the log has grown again."""
        found: dict[str, Any] = {"size": self.size}
        if self.head is None:
            found |= {"note": self.what}
        else:
            found |= {"root": self.head.root.hex(), "at": timestamp(self.head.at) if self.head.at else None}
        return found


class LedgerRefusedError(IntegrityFailureError):
    """The log does not extend a checkpoint that was found; nothing was signed."""

    code = "ledger_refused"

    def __init__(self, size: int, found: Sequence[Contradiction]) -> None:
        worst = max(found, key=lambda one: (one.what in ("missing", "differs"), one.size))
        super().__init__(
            f"The ledger has {size} entries and does not extend a checkpoint that was found: {worst}"
            f"{_consequence(size, worst)}. Nothing is signed. {_advice(worst)}",
            size=size, checkpoints=[str(one) for one in found[:NAMED]],
        )  # fmt: skip
        self.size, self.found = size, tuple(found)


def _consequence(size: int, found: Contradiction) -> str:
    if found.what == "missing":
        return f", so entries {size} to {found.size - 1} are gone"
    return ", and these entries are not the ones that were signed" if found.what == "differs" else ""


def _advice(found: Contradiction) -> str:
    if found.what == "foreign":
        return (
            "Give each installation a last-seen file and an anchor of its own (ASSAY_LEDGER__LAST_SEEN, "
            "ASSAY_LEDGER__ANCHOR); if that installation is gone, move the file away"
        )
    if found.what == "unreadable":
        return "Restore it from a backup; if you know how it was damaged, move it away"
    return (
        "If the database was restored from an older copy, record that with `assay ledger recover`; if not, somebody "
        "has changed it: run `assay verify`, keep everything as evidence, and restore the newest backup"
    )


def check_extends(
    db: Session, places: Places, vkeys: Sequence[str], *, newest: int | None = NEWEST, sizes: frozenset[int] = _NONE
) -> tuple[int, dict[int, bytes]]:
    """
    Args:
        vkeys: the keys that sign this log, and those that did.
        newest: how many notes of the database and the anchor are looked at; None means all.
        sizes: further sizes whose roots are wanted.

    Returns:
        Number of stored entries, and the root of each of the sizes that there are.

    Raises:
        LedgerRefusedError: the stored log does not extend a checkpoint that was found.
        IntegrityFailureError: a stored leaf hash is damaged.
    """
    count, roots, found = contradictions(db, places, vkeys, newest=newest, sizes=sizes)
    if found:
        raise LedgerRefusedError(count, found)
    return count, roots


def contradictions(
    db: Session, places: Places, vkeys: Sequence[str], *, newest: int | None = None, sizes: frozenset[int] = _NONE
) -> tuple[int, dict[int, bytes], list[Contradiction]]:
    """As `check_extends`; also each checkpoint that the log does not extend and that no recovery names as lost."""
    notes = {note: where for where, note in reversed(list(_found(db, places, newest, vkeys)))}
    wanted = {*sizes, *map(claimed_size, notes)}
    if newest is not None and (stored := _stored_roots(db, wanted)) is not None:
        found = _held_against(db, notes, stored, vkeys)
        if not found:
            return *stored, found
    computed = roots_at(db, wanted)  # a stored subtree that is damaged contradicts nothing
    return *computed, _held_against(db, notes, computed, vkeys)


def _held_against(
    db: Session, notes: Mapping[str, str], stored: tuple[int, dict[int, bytes]], vkeys: Sequence[str]
) -> list[Contradiction]:
    (count, roots), recoveries, found = stored, None, []
    for note, where in notes.items():
        size = claimed_size(note)
        if size in roots and root_of_note(note) == roots[size]:
            continue  # whoever signed it, it says what is stored
        one = _opened(where, note, size, count, vkeys)
        if recoveries is None:
            recoveries = [read_recovery(entry)[0] for entry in ledger_entries(db, (RECOVERED_KIND,))]
        if one.head is None or not disowned(one.head, [r for r in recoveries if r is not None]):
            found.append(one)
    return sorted(found, key=lambda one: one.size, reverse=True)


def _found(db: Session, places: Places, newest: int | None, vkeys: Sequence[str]) -> Iterator[tuple[str, str]]:
    rows = "select note from ledger_checkpoint order by size desc"
    for row in db.execute(text(rows if newest is None else f"{rows} limit 1")):
        yield "a checkpoint in the database", stored_bytes(row[0]).decode(errors="replace")
    paths = sorted(places.anchor.glob(NOTES), reverse=True)
    for path in paths if newest is None else paths[:newest]:
        yield f"the checkpoint {path} of the anchor", _read(path)
    if newest is None:  # they may lie on other machines, which no signing waits for
        for path, note in places.in_others(vkeys):
            yield f"the checkpoint {path} of an anchor", note
    if places.last_seen is not None:
        try:
            seen = read_last_seen(places.last_seen)
        except OSError as error:
            seen = f"(unreadable: {error.strerror})"
        if seen is not None:
            yield f"the last-seen file {places.last_seen}", seen


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        return f"(unreadable: {error.strerror})"


def _opened(where: str, note: str, size: int, count: int, vkeys: Sequence[str]) -> Contradiction:
    try:
        head = verify_checkpoint(note, vkeys)
    except NoteSignatureError as error:
        signers = ", ".join(error.facts["signers"])
        foreign = "does not fit" not in error.message
        what: Literal["foreign", "unreadable"] = "foreign" if foreign else "unreadable"
        reason = f"was signed by another installation ({signers})" if foreign else f"was altered: {error.message}"
        return Contradiction(where, what, size, note, reason=reason)
    except AppError as error:
        return Contradiction(where, "unreadable", size, note, reason=f"cannot be read: {error.message}")
    return Contradiction(where, "missing" if head.size > count else "differs", head.size, note, head)


def root_of_note(note: str) -> bytes | None:
    """The root that a note names, whoever signed it."""
    lines = note.split("\n", 3)
    return strict_base64(lines[2]) if len(lines) > 3 else None


def _stored_roots(db: Session, sizes: set[int]) -> tuple[int, dict[int, bytes]] | None:
    """As `roots_at`, from stored subtree hashes, a few thousand at most; None where they do not lead to the head."""
    last, head = db.scalar(select(func.max(LedgerEntry.index))), db.scalar(select(LedgerHead.root))
    count = 0 if last is None else int(last) + 1
    tree = StoredTree(db, count)
    try:
        roots = {size: tree.root(size) for size in {0, count, *sizes} if size <= count}
    except (ValueError, IndexError):
        return None
    return (count, roots) if roots[count].hex() == head else None


def roots_at(db: Session, sizes: set[int]) -> tuple[int, dict[int, bytes]]:
    """Number of stored entries, and the root over the stored hashes of the first `size` of them, for some sizes.

    Raises:
        IntegrityFailureError: a stored leaf hash is no hash.
    """
    frontier = merkle.Frontier()
    roots = {0: merkle.EMPTY_ROOT}
    query = select(LedgerEntry.leaf).order_by(LedgerEntry.index).execution_options(yield_per=1000)
    for leaf in db.scalars(query):
        try:
            frontier.append(bytes.fromhex(stored_bytes(leaf).decode(errors="replace")))
        except (ValueError, AppError) as error:
            raise IntegrityFailureError(
                f"the stored leaf hash of ledger entry {frontier.size} is no hash; run `assay verify` to see what "
                "changed, and `assay ledger repair` if that says so", size=frontier.size,
            ) from error  # fmt: skip
        if frontier.size in sizes:
            roots[frontier.size] = frontier.root()
    return frontier.size, roots
