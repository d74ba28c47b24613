"""Page sessions, kept on the server: opened by a person or with a key, and over when somebody says so, or by time.

The cookie is a random token, stored as its hash. A row is sealed with the session key, which lies outside the database,
over all that gives its owner rights: nobody opens a session by writing a row, and none outlives a change of its owner.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from governance.access.rights import credentials_digest, holder, person_caller, rights_of
from governance.access.rights_entries import SESSION_ENDED, Rights
from governance.access.roles import Caller
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.tables import ApiKey, PageSession, Person

OPENED: Final = "session.opened"
SEEN_EVERY: Final = timedelta(minutes=1)  # a session's last use is kept this exactly, to spare writes
KEPT: Final = timedelta(days=90)  # a session that is over stays listed
MAX_TOKEN: Final = 100  # characters of a cookie


class SessionNotFoundError(NotFoundError):
    code = "session_not_found"


def open_session(db: Session, caller: Caller, key: bytes, now: datetime, length: timedelta, way: str) -> str:
    """Open a session for the caller, who has just proved who it is; returns the cookie's value, kept nowhere.

    Args:
        way: how the caller signed in, for the ledger.
    """
    db.execute(delete(PageSession).where(PageSession.expires_at < now - KEPT))
    token = secrets.token_urlsafe(32)
    row = PageSession(
        id=uuid4(), token=_hash(token), prefix=caller.prefix or None,
        person=None if caller.prefix else caller.person, seal="", opened_at=now, seen_at=now, expires_at=now + length,
    )  # fmt: skip
    owner = owner_of(db, row)
    assert owner is not None  # it has just proved who it is
    row.seal = _seal(row, owner, key)
    db.add(row)
    body = {"session": row.id, "name": caller.name, "until": row.expires_at, "way": way}
    append_entry(db, kind=OPENED, actor=caller.name, subject=caller.subject, body=body, at=now)
    return token


def find_session(db: Session, token: str) -> PageSession | None:
    if not token.isascii() or len(token) > MAX_TOKEN:
        return None
    return db.scalars(select(PageSession).where(PageSession.token == _hash(token))).first()


def owner_of(db: Session, row: PageSession) -> ApiKey | Person | None:
    """The key or the person that opened a session."""
    if row.person is not None:
        return db.get(Person, row.person)
    return db.scalars(select(ApiKey).where(ApiKey.prefix == row.prefix)).first()


def caller_of_session(rights: Rights, owner: ApiKey | Person) -> Caller:
    """
    Raises:
        RightsDifferError, UnauthenticatedError: the owner's row says otherwise than the ledger, or is disabled.
    """
    return person_caller(rights, owner) if isinstance(owner, Person) else holder(rights, owner)


def over_because(
    row: PageSession, owner: ApiKey | Person, rights: Rights, key: bytes, now: datetime, idle: timedelta
) -> str | None:
    """Why a session is over; None while it lasts.

    Args:
        owner: the key or person that opened it.
        key: the session key.
        idle: how long it may be unused.
    """
    if row.ended_at is not None or str(row.id) in rights.ended:
        return row.ended_because or "ended"
    if (because := _ended_with(owner, rights, now)) is not None:
        return because
    if not hmac.compare_digest(_seal(row, owner, key), row.seal):
        return "key changed" if isinstance(owner, ApiKey) else "person changed"
    if now >= row.expires_at:
        return "expired"
    return "idle" if now - row.seen_at >= idle else None


def _ended_with(owner: ApiKey | Person, rights: Rights, now: datetime) -> str | None:
    if isinstance(owner, Person):
        return "person disabled" if owner.disabled_at is not None else None
    if owner.revoked_at is not None:
        return "key revoked"
    if owner.expires_at is not None and now >= owner.expires_at:
        return "key expired"
    held_by = rights.person_of(owner.owner)
    return "person disabled" if held_by is not None and held_by.revoked_at is not None else None


def end_session(db: Session, row: PageSession, because: str, actor: str, now: datetime) -> None:
    """End a session, and record it. One that is over stays as it is."""
    if row.ended_at is not None:
        return
    row.ended_at, row.ended_because = now, because
    if str(row.id) in rights_of(db).ended:  # its row was opened again outside Assay
        return
    body = {"session": row.id, "because": because}
    append_entry(db, kind=SESSION_ENDED, actor=actor, subject=subject_of(row), body=body, at=now)


def end_session_of(db: Session, session: UUID, actor: str, now: datetime) -> PageSession:
    """End somebody's session. Raises SessionNotFoundError."""
    row = db.get(PageSession, session, with_for_update=True)
    if row is None:
        raise SessionNotFoundError(f"no session {session}; `assay keys sessions` shows them", session=str(session))
    end_session(db, row, f"ended by {actor}"[:40], actor, now)
    return row


def end_sessions(db: Session, prefix: str, because: str, now: datetime) -> None:
    """End every session of a key, and record each: its row alone could be written again once the rights are back."""
    for row in db.scalars(select(PageSession).where(PageSession.prefix == prefix, PageSession.ended_at.is_(None))):
        end_session(db, row, because, SYSTEM_ACTOR, now)


def end_sessions_of_person(db: Session, who: str, because: str, now: datetime) -> None:
    """End every session that a person opened by name, and record each, as of a key."""
    for row in db.scalars(select(PageSession).where(PageSession.person == who, PageSession.ended_at.is_(None))):
        end_session(db, row, because, SYSTEM_ACTOR, now)


def subject_of(row: PageSession) -> str:
    """What ledger entries about a session are about."""
    return f"key:{row.prefix}" if row.person is None else f"person:{row.person}"


def sessions(db: Session, limit: int) -> Sequence[tuple[PageSession, ApiKey | Person]]:
    """The newest sessions, each with the key or person that opened it."""
    found = [(row, owner_of(db, row)) for row in db.scalars(
        select(PageSession).order_by(PageSession.opened_at.desc()).limit(limit)
    )]  # fmt: skip
    return [(row, owner) for row, owner in found if owner is not None]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _seal(row: PageSession, owner: ApiKey | Person, key: bytes) -> str:
    if isinstance(owner, ApiKey):
        who = (row.prefix or "", owner.hash)
    else:
        who = (f"person:{owner.id}", credentials_digest(owner) or "")
    models = json.dumps(owner.models)
    parts = (str(row.id), row.token, *who, row.expires_at.isoformat(), owner.role, models)
    return hmac.new(key, "\n".join(("assay page session", *parts)).encode(), hashlib.sha256).hexdigest()
