"""What the ledger says of its own signing: refused, taken up again, or recovered. The newest such entry counts."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.extends import NAMED, LedgerRefusedError
from governance.tables import LedgerEntry
from governance.verify.recoveries import RECOVERED_KIND

REFUSED, RESUMED = "ledger.refused", "ledger.resumed"
SUBJECT: Final = "ledger"


def open_refusal(db: Session) -> Mapping[str, Any] | None:
    """The entry since which nothing is signed, read; None while the log is signed."""
    query = select(LedgerEntry).where(LedgerEntry.kind.in_((REFUSED, RESUMED, RECOVERED_KIND)))
    newest = db.scalars(query.order_by(LedgerEntry.index.desc()).limit(1)).first()
    if newest is None or newest.kind != REFUSED:
        return None
    entry: dict[str, Any] = json.loads(newest.entry)
    return entry


def record_refusal(db: Session, error: LedgerRefusedError, now: datetime) -> bool:
    """Say in the log that it is not signed, and why; False if it says so already.

    `entries` is how many there were when that was first found: the log goes on growing.
    """
    known = open_refusal(db)
    told = [one.told for one in error.found[:NAMED]]
    if known is not None and known["body"].get("checkpoints") == told:
        return False
    body = {
        "entries": known["body"]["entries"] if known else error.size, "checkpoints": told, "count": len(error.found),
    }  # fmt: skip
    append_entry(db, kind=REFUSED, actor=SYSTEM_ACTOR, subject=SUBJECT, body=body, at=now)
    return True


def record_resumed(db: Session, now: datetime) -> bool:
    """Say that the log is signed again, if it was not."""
    if open_refusal(db) is None:
        return False
    append_entry(db, kind=RESUMED, actor=SYSTEM_ACTOR, subject=SUBJECT, body={}, at=now)
    return True
