"""Page sessions, kept on the server: opened with an API key, and over when a person says so, by time, or with the key.

The cookie is a random token, stored as its hash. A row is sealed with the session key, which lies outside the database,
over the key's secret and role: nobody opens a session by writing a row, and none outlives a change of its key.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from governance.access.rights import SESSION_ENDED, Rights, rights_of
from governance.access.roles import Caller
from governance.ledger.append import append_entry
from governance.tables import ApiKey, PageSession

OPENED: Final = "session.opened"
SEEN_EVERY: Final = timedelta(minutes=1)  # a session's last use is kept this exactly, to spare writes
KEPT: Final = timedelta(days=90)  # a session that is over stays listed
MAX_TOKEN: Final = 100  # characters of a cookie


class SessionNotFoundError(NotFoundError):
    code = "session_not_found"


def open_session(db: Session, caller: Caller, key: bytes, now: datetime, length: timedelta) -> str:
    """Open a session for the caller, who has just shown the API key; returns the cookie's value, kept nowhere."""
    db.execute(delete(PageSession).where(PageSession.expires_at < now - KEPT))
    owner = db.scalars(select(ApiKey).where(ApiKey.prefix == caller.prefix)).one()
    token = secrets.token_urlsafe(32)
    row = PageSession(
        id=uuid4(), token=_hash(token), prefix=caller.prefix, seal="", opened_at=now, seen_at=now,
        expires_at=now + length,
    )  # fmt: skip
    row.seal = _seal(row, owner, key)
    db.add(row)
    body = {"session": row.id, "name": caller.name, "until": row.expires_at}
    append_entry(db, kind=OPENED, actor=caller.name, subject=f"key:{caller.prefix}", body=body, at=now)
    return token


def find_session(db: Session, token: str) -> PageSession | None:
    if not token.isascii() or len(token) > MAX_TOKEN:
        return None
    return db.scalars(select(PageSession).where(PageSession.token == _hash(token))).first()


def key_of(db: Session, row: PageSession) -> ApiKey | None:
    """The key that opened a session."""
    return db.scalars(select(ApiKey).where(ApiKey.prefix == row.prefix)).first()


def over_because(
    row: PageSession, owner: ApiKey, rights: Rights, key: bytes, now: datetime, idle: timedelta
) -> str | None:
    """Why a session is over; None while it lasts.

    Args:
        owner: the key that opened it.
        key: the session key.
        idle: how long it may be unused.
    """
    if row.ended_at is not None or str(row.id) in rights.ended:
        return row.ended_because or "ended"
    if owner.revoked_at is not None:
        return "key revoked"
    if not hmac.compare_digest(_seal(row, owner, key), row.seal):
        return "key changed"
    if now >= row.expires_at:
        return "expired"
    return "idle" if now - row.seen_at >= idle else None


def end_session(db: Session, row: PageSession, because: str, actor: str, now: datetime) -> None:
    """End a session, and record it. One that is over stays as it is."""
    if row.ended_at is not None:
        return
    row.ended_at, row.ended_because = now, because
    if str(row.id) in rights_of(db).ended:  # its row was opened again outside Assay
        return
    body = {"session": row.id, "because": because}
    append_entry(db, kind=SESSION_ENDED, actor=actor, subject=f"key:{row.prefix}", body=body, at=now)


def end_session_of(db: Session, session: UUID, actor: str, now: datetime) -> PageSession:
    """End somebody's session. Raises SessionNotFoundError."""
    row = db.get(PageSession, session, with_for_update=True)
    if row is None:
        raise SessionNotFoundError(f"no session {session}; `assay keys sessions` shows them", session=str(session))
    end_session(db, row, f"ended by {actor}"[:40], actor, now)
    return row


def end_sessions(db: Session, prefix: str, because: str, now: datetime) -> None:
    """End every session of a key. What happened to the key is an entry of its own."""
    for row in db.scalars(select(PageSession).where(PageSession.prefix == prefix, PageSession.ended_at.is_(None))):
        row.ended_at, row.ended_because = now, because


def sessions(db: Session, limit: int) -> Sequence[tuple[PageSession, ApiKey]]:
    """The newest sessions, each with its key."""
    query = select(PageSession, ApiKey).join(ApiKey, ApiKey.prefix == PageSession.prefix)
    return [(row, key) for row, key in db.execute(query.order_by(PageSession.opened_at.desc()).limit(limit))]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _seal(row: PageSession, owner: ApiKey, key: bytes) -> str:
    parts = (str(row.id), row.token, row.prefix, row.expires_at.isoformat(), owner.hash, owner.role)
    return hmac.new(key, "\n".join(("assay page session", *parts)).encode(), hashlib.sha256).hexdigest()
