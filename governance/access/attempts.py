"""Failed sign-ins and bad keys are counted, for each account and each client, and lock what fails too often.

A lock never stands in the way of everybody: an account that is attacked from elsewhere stays open to clients it has
signed in from before, keys that are right are always taken, and a locked client still signs in those whom it signed in
before. The table is shared by all API processes. Accounts and clients are kept as keyed digests.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.db import insert_if_new
from core.errors import BusyError
from governance.tables import SignInFailure

WINDOW: Final = timedelta(minutes=15)  # failures that lie further back do not count
SPENT_AFTER: Final = timedelta(days=2)  # longer than any lock
KNOWN_FOR: Final = timedelta(days=90)  # a client from which a person signed in is known for so long
CLIENT_FACTOR: Final = 5  # a client may have so many times the failures of an account: several people may share it


class LockedError(BusyError):
    code = "too_many_failures"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in. `account` is None for a key that names nobody."""

    client: str
    account: str | None = None

    def subjects(self, key: bytes) -> dict[str, str]:
        """What is counted, by kind, as the table names it."""
        named = {"client": self.client} | ({} if self.account is None else {"account": self.account.casefold()})
        if self.account is not None:
            named["pair"] = named["known"] = f"{self.account.casefold()}\n{self.client}"
        return {kind: f"{kind}:{_digest(key, kind, value)}" for kind, value in named.items()}


def check_open(db: Session, attempt: Attempt, key: bytes, now: datetime) -> None:
    """
    Raises:
        LockedError: too many sign-ins of this account, or from this client, have failed.
    """
    subjects = attempt.subjects(key)
    rows = {row.subject: row for row in _rows(db, list(subjects.values()))}
    known = rows.get(subjects.get("known", ""))
    counts = ("pair",) if known is not None and now - known.first_at < KNOWN_FOR else ("account", "client")
    until = [
        row.locked_until
        for kind in counts
        if (row := rows.get(subjects.get(kind, ""))) is not None and row.locked_until is not None
    ]
    if (left := max(until, default=now) - now) > timedelta(0):
        raise LockedError(
            "too many sign-ins have failed; wait, or sign in from where you did before, with a key or through your "
            "provider",
            retry_after_s=max(1, int(left.total_seconds())),
        )  # fmt: skip


def count_failure(
    db: Session, attempt: Attempt, key: bytes, now: datetime, *, failures: int, lock: timedelta
) -> list[str]:
    """Count a failed sign-in; returns the kinds of what is locked from now on (`account`, `client`, `pair`)."""
    old = SignInFailure.first_at < now - KNOWN_FOR
    spent = (SignInFailure.first_at < now - SPENT_AFTER) & SignInFailure.subject.not_like("known:%")
    db.execute(delete(SignInFailure).where(old | spent))
    locked = []
    for kind, subject in attempt.subjects(key).items():
        if kind == "known":
            continue
        insert_if_new(db, SignInFailure, {"subject": subject, "failures": 0, "first_at": now, "locked_until": None})
        row = db.get_one(SignInFailure, subject, with_for_update=True, populate_existing=True)
        if now - row.first_at > WINDOW or (row.locked_until is not None and now >= row.locked_until):
            row.failures, row.first_at, row.locked_until = 0, now, None
        row.failures += 1
        if row.failures >= failures * (CLIENT_FACTOR if kind == "client" else 1) and row.locked_until is None:
            row.locked_until = now + lock
            locked.append(kind)
    return locked


def count_success(db: Session, attempt: Attempt, key: bytes, now: datetime) -> None:
    """Remember that this client signed the person in, and forget the failures of both together."""
    subjects = attempt.subjects(key)
    if "pair" not in subjects:
        return
    db.execute(delete(SignInFailure).where(SignInFailure.subject.in_([subjects["pair"], subjects["known"]])))
    db.add(SignInFailure(subject=subjects["known"], failures=0, first_at=now, locked_until=None))


def unlock(db: Session, account: str, key: bytes) -> None:
    """Forget the failures of an account, after an admin gave it a new password."""
    subject = f"account:{_digest(key, 'account', account.casefold())}"
    db.execute(delete(SignInFailure).where(SignInFailure.subject == subject))


def _rows(db: Session, subjects: Sequence[str]) -> Sequence[SignInFailure]:
    return db.scalars(select(SignInFailure).where(SignInFailure.subject.in_(subjects))).all()


def _digest(key: bytes, kind: str, value: str) -> str:
    return hmac.new(key, f"assay sign-in {kind}: {value}".encode(), hashlib.sha256).hexdigest()[:48]
