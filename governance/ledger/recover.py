"""Go on with a log that lost its end, as after a restore from an older copy; the loss is recorded for everybody."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session

from core.artifacts import write_durably
from core.canonical import timestamp
from core.errors import IntegrityFailureError, InvalidError
from governance.ledger.append import SYSTEM_ACTOR, append_entry, hold_head
from governance.ledger.checkpointing import copy_to_anchor
from governance.ledger.extends import Contradiction, Places, contradictions
from governance.ledger.guard import unguarded
from governance.ledger.read import ledger_lines
from governance.ledger.refusal import SUBJECT, open_refusal
from governance.ledger.repair import rebuild_subtrees
from governance.ledger.selfcheck import verify_ledger
from governance.tables import LedgerCheckpoint
from governance.verify.recoveries import RECOVERED_KIND, Recovery, read_recovery

MAX_LOST: Final = 1000  # checkpoints that the entry names
MAX_REASON: Final = 500  # characters
_DROP: Final = text("delete from ledger_checkpoint where size in :sizes").bindparams(bindparam("sizes", expanding=True))


def recover_ledger(
    db: Session, *, places: Places, vkeys: Sequence[str], by: str, reason: str, now: datetime
) -> Recovery | None:
    """Add the entry that names what was lost, in the caller's transaction; then the log may be signed again.

    Only the end may be missing: a log that was changed before the place where it was found to end is not recovered.

    Args:
        by: the person who decides it.
        reason: what happened, in their words.

    Returns:
        The recovery; None if the log extends every checkpoint, so that there is nothing to recover from.

    Raises:
        InvalidError: `by` or `reason` is empty or too long.
        IntegrityFailureError: something else is wrong than a lost end; nothing was changed.
    """
    for name, value in (("by", by), ("reason", reason)):
        if not value.strip() or len(value) > MAX_REASON:
            raise InvalidError(f"--{name} must say something, in at most {MAX_REASON} characters", field=name)
    hold_head(db)
    count, _, found = contradictions(db, places, vkeys)
    if not found:
        return None
    refused = open_refusal(db)
    kept = min(count, refused["body"]["entries"]) if refused else count
    _check_only_the_end_is_lost(kept, found)
    _drop_lost(db, places, found)
    index = append_entry(
        db, kind=RECOVERED_KIND, actor=SYSTEM_ACTOR, subject=SUBJECT, body=_body(db, kept, found, by, reason), at=now
    )
    copy_to_anchor(db, places.anchor)
    rebuild_subtrees(db)
    rest = [f for f in verify_ledger(db, places=places, vkeys=vkeys).findings if not f.repair]
    if rest:
        raise IntegrityFailureError(
            f"more than the end of the ledger is wrong, so nothing was changed: {rest[0]}. Restore another backup, or "
            "keep this as evidence", findings=[str(f) for f in rest],
        )  # fmt: skip
    (line,) = ledger_lines(db, index)
    return read_recovery(json.loads(line))[0]


def _check_only_the_end_is_lost(kept: int, found: Sequence[Contradiction]) -> None:
    stuck = [one for one in found if one.head is None]
    if stuck:
        raise IntegrityFailureError(
            f"{stuck[0]}; recovery needs to know what was signed. Restore it, or move it away if you know how it came "
            "about; nothing was changed", found=[str(one) for one in stuck],
        )  # fmt: skip
    changed = [one for one in found if one.size <= kept]
    if changed:
        raise IntegrityFailureError(
            f"this is no rollback: {changed[-1]}, and the {kept} entries that were there when it was found are not the "
            "ones that were signed. Entries were changed; restore a backup from before that, or keep this as evidence",
            found=[str(one) for one in changed],
        )  # fmt: skip


def _drop_lost(db: Session, places: Places, found: Sequence[Contradiction]) -> None:
    """Take checkpoints of the lost part out of the database, where new ones need their sizes; the anchor keeps them."""
    for one in found:
        path = places.anchor / f"checkpoint-{one.size:012d}.note"
        if not path.exists():
            write_durably(path, one.note.encode())
    sizes = {one.size for one in found} & set(db.scalars(select(LedgerCheckpoint.size)))
    if sizes:
        with unguarded(db):
            db.execute(_DROP, {"sizes": sorted(sizes)})
        db.expire_all()


def _body(db: Session, kept: int, found: Sequence[Contradiction], by: str, reason: str) -> dict[str, Any]:
    newest = found[0]
    last = next(iter(ledger_lines(db, kept - 1, kept)), None) if kept else None
    return {
        "by": by.strip(), "reason": reason.strip(), "kept": kept, "old_head": newest.note,
        "missing": {"from": kept, "to": newest.size - 1, "count": newest.size - kept},
        "since": json.loads(last)["at"] if last else None,
        "until": timestamp(newest.head.at) if newest.head and newest.head.at else None,
        "lost": [[one.size, one.head.root.hex()] for one in found[:MAX_LOST] if one.head is not None],
    }  # fmt: skip
