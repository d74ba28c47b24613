"""Check an installation's own ledger: database rows against their hashes, the checkpoints and the anchor.

What follows from something else (columns beside an entry or a note, stored hashes, the head) is read as it is stored,
whatever its form: a finding about it names the repair.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.canonical import timestamp
from governance.ledger.extends import NOTES, Places
from governance.ledger.last_seen import read_last_seen
from governance.ledger.read import stored_bytes
from governance.ledger.tree import completed
from governance.proof import merkle
from governance.tables import LedgerSubtree
from governance.verify.findings import Facts, Finding, LogVerdict
from governance.verify.log import verify_log

REPAIR: Final = "assay ledger repair"
_ENTRIES: Final = text("""select "index", kind, subject, entry, leaf from ledger_entry order by "index" """)
_CHECKPOINTS: Final = text("select size, root, note, at from ledger_checkpoint order by size")
_SUBTREES: Final = text('select level, "index", hash from ledger_subtree')
_HEAD: Final = text("select size, root, frontier from ledger_head where id = 1")


@dataclass(frozen=True)
class StoredLedger:
    """The rows of the ledger's tables as they are stored; SQLite keeps any form in any column."""

    entries: Sequence[Any]
    checkpoints: Sequence[Any]
    head: Any
    subtrees: Mapping[tuple[Any, Any], Any]  # hash by level and index

    @classmethod
    def read(cls, db: Session) -> "StoredLedger":
        checkpoints = db.execute(_CHECKPOINTS).all()
        entries, head = db.execute(_ENTRIES).all(), db.execute(_HEAD).first()
        there = inspect(db.connection()).has_table(LedgerSubtree.__tablename__)  # not in that of an earlier release
        subtrees = {(row.level, row[1]): row.hash for row in db.execute(_SUBTREES)} if there else {}
        return cls(entries, checkpoints, head, subtrees)


def verify_ledger(db: Session, *, places: Places, vkeys: Sequence[str]) -> LogVerdict:
    """Verify every entry, its query columns, the head row and all checkpoints that are found.

    Notes in the anchor folder, and the one in the last-seen file, count as much as those in the database: a database
    that was restored to an older state or truncated no longer extends them.
    """
    try:
        stored = StoredLedger.read(db)
    except DBAPIError as error:
        finding = Finding("database.unreadable", "database", "readable ledger tables", str(error.orig))
        return LogVerdict((finding,), Facts())
    except (ValueError, UnicodeDecodeError) as error:
        finding = Finding("database.unreadable", "database", "readable ledger tables", f"a damaged value ({error})")
        return LogVerdict((finding,), Facts())
    anchored = {path.name: path.read_text(errors="replace") for path in sorted(places.anchor.glob(NOTES))}
    kept, unreadable = _last_seen(places.last_seen)
    outside = dict.fromkeys(kept, f"last-seen file {places.last_seen}")
    outside |= {note: f"{path} of an anchor" for path, note in places.in_others(vkeys)}
    outside |= {note: f"{name} in the anchor" for name, note in anchored.items()}
    notes = list(dict.fromkeys([as_text(c.note) for c in stored.checkpoints] + list(outside)))
    leaves = [as_text(e.leaf) for e in stored.entries]
    verdict = verify_log((stored_bytes(e.entry) for e in stored.entries), notes, vkeys, leaves=leaves)
    proven = verdict.facts.size or 0
    findings = [
        replace(f, repair=REPAIR) if f.what == "entry.stored_leaf_hash" else f for f in verdict.findings
    ]  # only where a checkpoint proves the entry: elsewhere the entry may be what changed
    findings = [
        _where_it_lies(f, notes, outside, {as_text(c.note) for c in stored.checkpoints}) for f in findings
    ] + unreadable
    for position, row in enumerate(stored.entries):
        findings += _row_findings(position, row)
    held = set(anchored.values())
    for checkpoint in stored.checkpoints:
        findings += _checkpoint_findings(checkpoint, anchored, held)
    findings += _head_findings(stored, sound=verdict.ok, proven=proven)
    return replace(verdict, findings=tuple(findings))


def _where_it_lies(finding: Finding, notes: Sequence[str], outside: dict[str, str], stored: set[str]) -> Finding:
    """Name the file of a checkpoint that is not in the database."""
    first, _, rest = finding.where.partition(" (")
    position = first.removeprefix("checkpoint ")
    if len(notes) == 1 and first == "checkpoint":
        position = "0"
    if not first.startswith("checkpoint") or not position.isdigit() or int(position) >= len(notes):
        return finding
    if notes[int(position)] in stored:
        return finding
    return replace(finding, where=outside[notes[int(position)]] + (f" ({rest}" if rest else ""))


def _last_seen(path: Path | None) -> tuple[list[str], list[Finding]]:
    try:
        note = None if path is None else read_last_seen(path)
    except OSError as error:
        return [], [Finding("last_seen.unreadable", str(path), "a readable file", error.strerror or str(error))]
    return ([] if note is None else [note]), []


def as_text(value: Any) -> str:
    return stored_bytes(value).decode(errors="replace")


def _row_findings(position: int, row: Any) -> list[Finding]:
    where = f"entry {position}"
    findings = [
        Finding("entry.form", where, f"{name} as text", f"{name} as {type(value).__name__}", REPAIR)
        for name, value in (("entry", row.entry), ("leaf", row.leaf))
        if not isinstance(value, str)
    ]
    try:
        content = json.loads(stored_bytes(row.entry))
    except ValueError:
        return findings  # verify_log has reported it
    if not isinstance(content, dict):
        return findings
    return findings + [
        Finding(
            f"entry.{name}", where, f"{content.get(name)!r} as in the entry", f"{value!r} beside it",
            "" if name == "index" else REPAIR,
        )
        for name, value in (("index", row[0]), ("kind", row.kind), ("subject", row.subject))
        if content.get(name) != value
    ]  # fmt: skip


def _checkpoint_findings(checkpoint: Any, anchored: dict[str, str], held: set[str]) -> list[Finding]:
    where = f"checkpoint {checkpoint.size}"
    note = as_text(checkpoint.note)
    findings = []
    if not isinstance(checkpoint.note, str):
        form = type(checkpoint.note).__name__
        findings.append(Finding("checkpoint.form", where, "note as text", f"note as {form}", REPAIR))
    name = f"checkpoint-{int(checkpoint.size):012d}.note" if str(checkpoint.size).isdigit() else f"a note of {where}"
    copy = note if note in held else anchored.get(name)
    if copy is None:
        return [*findings, Finding("anchor.missing", where, f"{name} in the anchor folder", "no such file", REPAIR)]
    if copy != note:
        return [*findings, Finding("anchor.differs", where, "the same note in database and anchor", "different notes")]
    beside = [str(checkpoint.size), _base64(checkpoint.root), f"time {_time(checkpoint.at)}"]
    return findings + [
        Finding("checkpoint.columns", where, f"{line!r} as in the note", f"{value!r} beside it", REPAIR)
        for line, value in zip(note.split("\n")[1:4], beside, strict=False)
        if line != value
    ]


def _base64(root: Any) -> str:
    try:
        return base64.b64encode(bytes.fromhex(root)).decode()
    except (TypeError, ValueError):
        return f"{root!r}, which is not hexadecimal"


def _time(at: Any) -> str:
    """A column of time: SQLite stores text, in UTC."""
    try:
        found = at if isinstance(at, datetime) else datetime.fromisoformat(at)
        return timestamp(found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
    except (TypeError, ValueError):
        return repr(at)


def _head_findings(stored: StoredLedger, *, sound: bool, proven: int) -> Iterable[Finding]:
    """The head follows from the entries. A root that differs may be damage, or the trace of entries that changed."""
    where, head, count = "ledger head", stored.head, len(stored.entries)
    if head is None:
        if count:
            yield Finding("head.missing", where, f"size {count}", "no row", REPAIR)
        return
    fewer = isinstance(head.size, int) and head.size > count
    if head.size != count:
        yield Finding("head.size", where, f"size {count}", f"size {head.size!r}", "" if fewer else REPAIR)
    if not sound:
        return
    frontier = merkle.Frontier()
    left = dict(stored.subtrees)
    for row in stored.entries:
        leaf = merkle.leaf_hash(stored_bytes(row.entry))
        for subtree in completed(frontier, leaf):
            where = f"subtree {subtree.level}/{subtree.index}"
            found = left.pop((subtree.level, subtree.index), subtree.hash)  # one that is missing is computed when asked
            if found != subtree.hash:
                yield Finding("subtree.hash", where, subtree.hash, str(found), REPAIR)
        frontier.append(leaf)
    for level, index in left:
        yield Finding("subtree.extra", f"subtree {level}/{index}", "no such subtree", "a row", REPAIR)
    root = frontier.root().hex()
    if head.root != root:
        doubt = "" if proven == count else f" (entries {proven} to {count - 1} are not signed yet)"
        yield Finding("head.root", where, f"{root}{doubt}", str(head.root), REPAIR)
    state = head.frontier
    if isinstance(state, str | bytes):
        try:
            state = json.loads(state)
        except ValueError:
            state = f"no JSON: {state!r}"
    if state != frontier.state():
        yield Finding("head.frontier", where, str(frontier.state()), str(state), REPAIR)
