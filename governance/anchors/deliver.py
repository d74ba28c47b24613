"""Hand checkpoints to the anchors; what does not arrive is tried again, later and later, and told as an alarm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import write_durably
from core.db import Database
from governance.anchors.base import Anchor, Anchored, AnchorError
from governance.anchors.timestamps import TimestampAnchor, check_timestamp
from governance.ledger.extends import NOTES
from governance.ledger.last_seen import claimed_size
from governance.ledger.read import ledger_entries, stored_bytes
from governance.tables import AnchorState, LedgerCheckpoint
from governance.verify.findings import Finding
from governance.verify.recoveries import RECOVERED_KIND

BATCH: Final = 50  # notes that one anchor is given in one go
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(hours=1)
SHOWN: Final = 300  # characters of an error


@dataclass(frozen=True)
class Standing:
    """How an anchor stands. `size` and `at`: the last checkpoint that it took; `waiting`: those that it has not."""

    name: str
    size: int | None
    at: datetime | None
    waiting: int
    failing_since: datetime | None
    error: str | None
    next_try_at: datetime | None


def standings(db: Session, names: Sequence[str]) -> list[Standing]:
    """How each configured anchor stands, in order of the names."""
    states = {state.name: state for state in db.scalars(select(AnchorState))}
    sizes = db.scalars(select(LedgerCheckpoint.size)).all()
    found = []
    for name in sorted(names):
        state = states.get(name)
        taken = -1 if state is None or state.size is None else state.size
        waiting = sum(size > taken for size in sizes) if taken >= 0 else min(1, len(sizes))
        if state is None:
            found.append(Standing(name, None, None, waiting, None, None, None))
        else:
            found.append(
                Standing(
                    name, state.size, state.delivered_at, waiting, state.failing_since, state.error, state.next_try_at
                )
            )
    return found


def due(db: Session, names: Sequence[str], now: datetime) -> bool:
    """Whether an anchor has a checkpoint to take, and may be tried."""
    return any(s.waiting and (s.next_try_at is None or s.next_try_at <= now) for s in standings(db, names))


def deliver(database: Database, anchors: Mapping[str, Anchor], *, evidence: Path, now: datetime) -> None:
    """Hand each anchor what it has not taken yet, oldest first; one that fails keeps nobody else waiting.

    evidence: folder that keeps the answers of time-stamping authorities.
    """
    for name, anchor in anchors.items():
        with database.read() as db:
            state = db.get(AnchorState, name)
            if state is not None and state.next_try_at is not None and state.next_try_at > now:
                continue
            notes = _waiting(db, state, anchor)
        try:
            for note in notes:
                answer = anchor.take(note)
                if answer is not None:
                    write_durably(evidence / evidence_name(name, note.size), answer)
                _taken(database, name, note.size, now)
        except (AnchorError, OSError) as error:
            _failed(database, name, str(error), now)


def evidence_name(anchor: str, size: int) -> str:
    return f"checkpoint-{size:012d}.{anchor}.tsr"


def timestamp_findings(
    db: Session, anchors: Mapping[str, Anchor], evidence: Path
) -> tuple[list[Finding], dict[str, tuple[int, datetime]]]:
    """What is wrong with the time-stamps that are kept, and of each anchor the size and time of its last good one."""
    notes = {row.size: [stored_bytes(row.note)] for row in db.scalars(select(LedgerCheckpoint))}
    for path in evidence.glob(NOTES):  # of a part of the log that was lost, too
        note = path.read_bytes()
        notes.setdefault(claimed_size(note.decode(errors="replace")), []).append(note)
    findings, last = list[Finding](), dict[str, tuple[int, datetime]]()
    for name, anchor in anchors.items():
        if not isinstance(anchor, TimestampAnchor):
            continue
        for path in sorted(evidence.glob(f"checkpoint-*.{name}.tsr")):
            size = int(path.name.split(".")[0].removeprefix("checkpoint-"))
            if size not in notes:
                found = "no such checkpoint"
                findings.append(Finding("anchor.timestamp", path.name, f"a checkpoint of {size} entries", found))
                continue
            reasons = []
            for note in dict.fromkeys(notes[size]):
                try:
                    last[name] = (size, check_timestamp(path.read_bytes(), note, anchor.certificates))
                    break
                except (AnchorError, OSError) as error:
                    reasons.append(str(error))
            else:
                expected = "a time-stamp of this checkpoint by the declared authority"
                findings.append(Finding("anchor.timestamp", path.name, expected, reasons[0]))
    return findings, last


def _waiting(db: Session, state: AnchorState | None, anchor: Anchor) -> list[Anchored]:
    query = select(LedgerCheckpoint).order_by(LedgerCheckpoint.size.desc())
    if state is None or state.size is None or not anchor.all_notes:  # the newest covers all entries before it
        newest = db.scalars(query.limit(1)).first()
        rows = [] if newest is None or (state is not None and state.size == newest.size) else [newest]
    else:
        later = select(LedgerCheckpoint).where(LedgerCheckpoint.size > state.size).order_by(LedgerCheckpoint.size)
        rows = list(db.scalars(later.limit(BATCH)))
    lost = (
        {size for entry in ledger_entries(db, (RECOVERED_KIND,)) for size, _ in entry["body"]["lost"]} if rows else ()
    )
    marks = {row.size: f"-{row.root[:8]}" for row in rows if row.size in lost}
    return [Anchored(row.size, stored_bytes(row.note), marks.get(row.size, "")) for row in rows]


def _taken(database: Database, name: str, size: int, now: datetime) -> None:
    with database.write() as db:
        state = _state(db, name)
        state.size, state.delivered_at = size, now
        state.failing_since = state.error = state.next_try_at = None
        state.attempts = 0


def _failed(database: Database, name: str, reason: str, now: datetime) -> None:
    with database.write() as db:
        state = _state(db, name)
        state.attempts += 1
        state.failing_since = state.failing_since or now
        state.error = reason[:SHOWN]
        state.next_try_at = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(state.attempts - 1, 10))


def _state(db: Session, name: str) -> AnchorState:
    state = db.get(AnchorState, name, with_for_update=True)
    if state is None:
        state = AnchorState(name=name, attempts=0)
        db.add(state)
    return state
