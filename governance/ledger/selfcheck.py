"""Check an installation's own ledger: database rows against their hashes, the checkpoints and the anchor."""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.canonical import timestamp
from governance.proof import merkle
from governance.tables import LedgerCheckpoint, LedgerEntry, LedgerHead
from governance.verify.findings import Facts, Finding, LogVerdict
from governance.verify.log import verify_log


def verify_ledger(db: Session, *, anchor: Path, vkeys: Sequence[str]) -> LogVerdict:
    """Verify every entry, its query columns, the head row and all checkpoints in the database and the anchor folder.

    Notes in the anchor folder count as much as those in the database: a database that was restored to an older state
    or truncated no longer extends them.
    """
    try:
        entries = db.execute(
            select(
                LedgerEntry.index, LedgerEntry.kind, LedgerEntry.subject, LedgerEntry.entry, LedgerEntry.leaf
            ).order_by(LedgerEntry.index)
        ).all()
        stored = db.scalars(select(LedgerCheckpoint).order_by(LedgerCheckpoint.size)).all()
        head = db.get(LedgerHead, 1)
    except DBAPIError as error:
        finding = Finding("database.unreadable", "database", "readable ledger tables", str(error.orig))
        return LogVerdict((finding,), Facts())
    except (ValueError, UnicodeDecodeError) as error:
        finding = Finding("database.unreadable", "database", "readable ledger tables", f"a damaged value ({error})")
        return LogVerdict((finding,), Facts())
    anchored = {path.name: path.read_text(errors="replace") for path in sorted(anchor.glob("checkpoint-*.note"))}
    notes = list(dict.fromkeys([c.note for c in stored] + list(anchored.values())))
    verdict = verify_log((e.entry.encode() for e in entries), notes, vkeys, leaves=[e.leaf for e in entries])
    findings = list(verdict.findings)
    for position, row in enumerate(entries):
        findings += _row_findings(position, row[0], row.kind, row.subject, row.entry)
    for checkpoint in stored:
        findings += _checkpoint_findings(checkpoint, anchored)
    if head is None and entries:
        findings.append(Finding("head.missing", "ledger head", f"size {len(entries)}", "no row"))
    if head is not None and head.size != len(entries):
        findings.append(Finding("head.size", "ledger head", f"size {len(entries)}", f"size {head.size}"))
    if head is not None and not findings and head.root != (root := _root(e.entry for e in entries)):
        findings.append(Finding("head.root", "ledger head", root, head.root))
    return replace(verdict, findings=tuple(findings))


def _row_findings(position: int, index: int, kind: str, subject: str, entry: str) -> list[Finding]:
    try:
        content = json.loads(entry)
    except ValueError:
        return []  # verify_log has reported it
    return [
        Finding(f"entry.{name}", f"entry {position}", f"{content.get(name)!r} as in the entry", f"{value!r} beside it")
        for name, value in (("index", index), ("kind", kind), ("subject", subject))
        if content.get(name) != value
    ]


def _checkpoint_findings(checkpoint: LedgerCheckpoint, anchored: dict[str, str]) -> list[Finding]:
    where = f"checkpoint {checkpoint.size}"
    name = f"checkpoint-{checkpoint.size:012d}.note"
    copy = anchored.get(name)
    if copy is None:
        return [Finding("anchor.missing", where, f"{name} in the anchor folder", "no such file")]
    if copy != checkpoint.note:
        return [Finding("anchor.differs", where, "the same note in database and anchor", "different notes")]
    signed = checkpoint.note.split("\n")
    beside = [
        str(checkpoint.size),
        base64.b64encode(bytes.fromhex(checkpoint.root)).decode(),
        f"time {timestamp(checkpoint.at)}",
    ]
    return [
        Finding("checkpoint.columns", where, f"{line!r} as in the note", f"{value!r} beside it")
        for line, value in zip(signed[1:4], beside, strict=False)
        if line != value
    ]


def _root(entries: Iterable[str]) -> str:
    return merkle.root([merkle.leaf_hash(entry.encode()) for entry in entries]).hex()
