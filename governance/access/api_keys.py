"""API keys: create, revoke and list them, and find out who holds one. Each key carries a role."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import EllipsisType
from typing import Final, Protocol

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.clock import Clock
from core.db import Database
from core.errors import ConflictError, InvalidError, NotFoundError, UnauthenticatedError
from governance.access.key_names import read_name
from governance.access.owners import person, read_owner
from governance.access.people import person_of_owner
from governance.access.rights import check_row, holder, rights_of
from governance.access.rights_entries import (
    CREATED,
    KEY_RIGHTS,
    OWNED,
    REVOKED,
    ROTATED,
    KeyState,
    PersonState,
    secret_digest,
)
from governance.access.roles import Caller, Role
from governance.access.scopes import read_models
from governance.access.sessions import end_sessions
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.tables import ApiKey

_SCHEME: Final = "assay"
_NO_HASH: Final = "0" * 64
MAX_OVERLAP: Final = timedelta(days=30)


class BadKeyError(UnauthenticatedError):
    def __init__(self) -> None:
        super().__init__(
            "the API key is not valid; send `Authorization: Bearer assay_...` with a key that was not revoked and has "
            "not expired"
        )


class KeyNotFoundError(NotFoundError):
    code = "key_not_found"


class KeyNameTakenError(ConflictError):
    code = "key_name_taken"


class LastAdminError(ConflictError):
    code = "last_admin"


class OwnerDeclaredError(ConflictError):
    code = "owner_declared"


class Installation(Protocol):
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...


def create_key(
    db: Session, *, name: str, role: Role, actor: str, now: datetime, owner: str | None = None,
    models: Sequence[str] | None = None, expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:  # fmt: skip
    """Create a key. Returns its row and the key itself, which is not stored and cannot be shown again.

    Args:
        owner: the person who holds it, by id, name or address; made if there is none.
        models: those it is for; None for all.
        expires_at: from when on it is refused; None for never.

    Raises:
        InvalidError: the name is empty or too long, stands for the service or could be taken for another one, the
            owner names nobody, a model is none, or the end lies in the past.
        KeyNameTakenError: the name is or was in use. A revoked key keeps its name, because the ledger identifies
            actors by it.
    """
    taken = _names(db)
    name = read_name(name, taken)
    if name in taken:
        raise KeyNameTakenError(
            f"a key named {name!r} exists or existed; choose another name", field="name", value=name
        )
    scope, ends = read_models(models), _end(expires_at, now)
    held_by = None if owner is None else person_of_owner(db, owner, actor, now)
    prefix = secrets.token_hex(5)
    key = _new_secret(prefix)
    row = ApiKey(
        name=name, prefix=prefix, hash=_hash(key), role=role.value, models=scope, owner=held_by, created_at=now,
        created_by=actor, expires_at=ends,
    )  # fmt: skip
    db.add(row)
    db.flush()
    body: dict[str, object] = {"name": name, "role": role.value, "secret": secret_digest(row.hash)}
    body |= {"owner": held_by} if held_by else {}
    body |= {} if scope is None else {"models": scope}
    body |= {} if ends is None else {"expires_at": ends}
    append_entry(db, kind=CREATED, actor=actor, subject=f"key:{prefix}", body=body, at=now)
    return row, key


def declare_owner(db: Session, *, prefix: str, owner: str, actor: str, now: datetime) -> ApiKey:
    """Declare who holds a key that has no owner yet. An owner is never changed: what the key did was that person's.

    Raises:
        KeyNotFoundError, InvalidError: no such key, or the owner names nobody.
        OwnerDeclaredError: the key belongs to another person.
        RightsDifferError: its row says otherwise than the ledger.
    """
    held_by, rights = read_owner(owner), rights_of(db)
    row = db.scalars(select(ApiKey).where(ApiKey.prefix == prefix).with_for_update()).first()
    if row is None:
        raise KeyNotFoundError(f"no key has prefix {prefix!r}; `assay keys list` shows them", prefix=prefix)
    check_row(rights_of(db), row)
    if row.owner is not None:
        known = rights.person_of(row.owner)
        if person(row.owner) == person(held_by) or (known is not None and known == rights.person_of(held_by)):
            return row
        raise OwnerDeclaredError(
            f"key {prefix} belongs to {row.owner}, and a key keeps its owner; create a key for {held_by} and revoke "
            "this one",
            prefix=prefix, owner=row.owner,
        )  # fmt: skip
    row.owner = held_by = person_of_owner(db, held_by, actor, now)
    body = {"name": row.name, "owner": held_by}
    append_entry(db, kind=OWNED, actor=actor, subject=f"key:{prefix}", body=body, at=now)
    return row


def key_named(db: Session, name: str) -> KeyState | PersonState | None:
    """The key or person of an actor, as the ledger tells it; None where the actor was the service or from outside."""
    return rights_of(db).named(name)


def change_key(
    db: Session, prefix: str, *, actor: str, now: datetime, role: Role | None = None,
    models: Sequence[str] | EllipsisType | None = ...,
) -> ApiKey:  # fmt: skip
    """Give a key another role, another scope or both; its page sessions end.

    Raises:
        KeyNotFoundError, InvalidError: no such key that is not revoked, or a model is none.
        RightsDifferError: its row says otherwise than the ledger.
        LastAdminError: no admin key for all models would be left to manage keys.
    """
    rows = _with_admins(db, prefix)
    row = _live(db, rows, prefix)
    wanted = (role or Role(row.role)).value, row.models if isinstance(models, EllipsisType) else read_models(models)
    if wanted == (row.role, row.models):
        return row
    if _manages(row) and wanted != (Role.ADMIN.value, None):
        _keep_an_admin(rows, row)
    row.role, row.models = wanted
    end_sessions(db, prefix, "key changed", now)
    body = {"name": row.name, "role": row.role, "models": row.models}
    append_entry(db, kind=KEY_RIGHTS, actor=actor, subject=f"key:{prefix}", body=body, at=now)
    return row


def rotate_key(
    db: Session, prefix: str, *, actor: str, now: datetime, overlap: timedelta = timedelta(0),
    expires_at: datetime | EllipsisType | None = ...,
) -> tuple[ApiKey, str]:  # fmt: skip
    """Give a key another secret; name, role, scope and owner stay. Returns the row and the new key, shown once.

    Args:
        overlap: for how long the secret of before still opens, so that applications can change over; 30 days at most.
        expires_at: another end; by default the one it has.

    Raises:
        KeyNotFoundError, InvalidError.
        RightsDifferError: its row says otherwise than the ledger.
    """
    row = _live(db, _with_admins(db, prefix), prefix)
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise InvalidError(
            f"overlap is {overlap.total_seconds():.0f} s; give 0 to {MAX_OVERLAP.days} days", field="overlap"
        )
    key = _new_secret(prefix)
    ends = row.expires_at if isinstance(expires_at, EllipsisType) else _end(expires_at, now)
    row.earlier_hash, row.earlier_until = (row.hash, now + overlap) if overlap else (None, None)
    row.hash, row.expires_at = _hash(key), ends
    end_sessions(db, prefix, "key rotated", now)
    body = {
        "name": row.name, "secret": secret_digest(row.hash), "expires_at": ends, "earlier_until": row.earlier_until
    }  # fmt: skip
    append_entry(db, kind=ROTATED, actor=actor, subject=f"key:{prefix}", body=body, at=now)
    return row, key


def revoke_key(db: Session, *, prefix: str, actor: str, now: datetime) -> ApiKey:
    """Revoke a key: it is refused as soon as the transaction commits. Its row then is as the ledger says.

    Raises:
        KeyNotFoundError: no key has this prefix.
        LastAdminError: no admin key would be left to manage keys.
    """
    rows = _with_admins(db, prefix)
    row, state = next((r for r in rows if r.prefix == prefix), None), rights_of(db).keys.get(prefix)
    if row is None:
        row = _lost_row(db, prefix, state, now)
    if row.revoked_at is None or (state is not None and state.revoked_at is None):
        if _manages(row):
            _keep_an_admin(rows, row)
        row.revoked_at = row.revoked_at or now
        end_sessions(db, prefix, "key revoked", now)
        name = row.name if state is None else state.name
        append_entry(db, kind=REVOKED, actor=actor, subject=f"key:{prefix}", body={"name": name}, at=now)
    if state is not None:
        _set_as_recorded(db, row, state)
    return row


def _set_as_recorded(db: Session, row: ApiKey, state: KeyState) -> None:
    """Undo what was changed of a revoked key outside Assay; its name, unless another row was given it."""
    row.role, row.owner, row.created_by = state.role, state.owner, state.created_by
    row.models = None if state.models is None else list(state.models)
    if row.name != state.name and db.scalar(select(ApiKey.id).where(ApiKey.name == state.name)) is None:
        row.name = state.name


def _names(db: Session) -> set[str]:
    """Every name that a key has or had, as the table and the ledger say."""
    return {*db.scalars(select(ApiKey.name)), *rights_of(db).names}


def _free_admin_name(db: Session) -> str:
    taken = _names(db)
    return next(n for n in ("admin", *(f"admin-{i}" for i in range(2, len(taken) + 3))) if n not in taken)


def _with_admins(db: Session, prefix: str) -> Sequence[ApiKey]:
    """A key and all admin keys, locked, so that two admins cannot revoke each other at the same moment."""
    query = select(ApiKey).where((ApiKey.prefix == prefix) | (ApiKey.role == Role.ADMIN.value)).order_by(ApiKey.prefix)
    return db.scalars(query.with_for_update()).all()


def _manages(row: ApiKey) -> bool:
    return row.role == Role.ADMIN and row.models is None


def _keep_an_admin(rows: Sequence[ApiKey], row: ApiKey) -> None:
    lasting = (r for r in rows if r.revoked_at is None and r.expires_at is None and r is not row)
    if not any(_manages(r) for r in lasting):
        raise LastAdminError(
            f"key {row.prefix} is the last admin key for all models; create another admin key first", prefix=row.prefix
        )


def _live(db: Session, rows: Sequence[ApiKey], prefix: str) -> ApiKey:
    row = next((r for r in rows if r.prefix == prefix), None)
    if row is None or row.revoked_at is not None:
        raise KeyNotFoundError(f"no key that is in force has prefix {prefix!r}; `assay keys list` shows them")
    check_row(rights_of(db), row)
    return row


def _end(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is not None and expires_at <= now:
        raise InvalidError(
            f"expires_at is {expires_at.isoformat()}, which has passed; give a time to come, or leave it out",
            field="expires_at", value=expires_at.isoformat(),
        )  # fmt: skip
    return expires_at


def _new_secret(prefix: str) -> str:
    # The key has 256 random bits and cannot be guessed, so a plain hash is enough.
    return f"{_SCHEME}_{prefix}_{secrets.token_hex(32)}"


def _lost_row(db: Session, prefix: str, state: KeyState | None, now: datetime) -> ApiKey:
    """A row for a key that only the ledger knows, because it was deleted outside Assay; it opens nothing."""
    if state is None:
        raise KeyNotFoundError(f"no key has prefix {prefix!r}; `assay keys list` shows them", prefix=prefix)
    row = ApiKey(
        name=state.name, prefix=prefix, hash=_hash(f"lost {prefix}"), role=state.role, owner=state.owner,
        created_at=now, created_by=state.created_by, revoked_at=state.revoked_at or now,
    )  # fmt: skip
    db.add(row)
    return row


def all_keys(db: Session) -> Sequence[ApiKey]:
    return db.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.prefix)).all()


def authenticate(db: Session, key: str, now: datetime) -> Caller:
    """The caller who holds this key.

    Raises:
        UnauthenticatedError: the key is malformed, unknown, revoked or expired, or the person who holds it is disabled;
            the message is the same for all.
        RightsDifferError: its row says otherwise than the ledger.
    """
    scheme, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if scheme != _SCHEME or not prefix or not secret or not key.isascii():
        raise BadKeyError
    row, sent = db.scalars(select(ApiKey).where(ApiKey.prefix == prefix)).first(), _hash(key)
    fits = hmac.compare_digest(sent, row.hash if row else _NO_HASH)
    earlier = hmac.compare_digest(sent, (row.earlier_hash if row else None) or _NO_HASH)
    if row is None or row.revoked_at is not None or (row.expires_at is not None and now >= row.expires_at):
        raise BadKeyError
    if not fits and not (earlier and row.earlier_until is not None and now < row.earlier_until):
        raise BadKeyError
    try:
        return holder(rights_of(db), row)
    except UnauthenticatedError as error:
        raise BadKeyError from error


def first_admin(site: Installation) -> str | None:
    """Create the first admin key of an installation; None if there has ever been one."""
    try:
        with site.database.write() as db:
            name = _free_admin_name(db)  # before the count, which then knows the key that took a name
            if db.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.role == Role.ADMIN.value)):
                return None
            return create_key(db, name=name, role=Role.ADMIN, actor=SYSTEM_ACTOR, now=site.clock.now())[1]
    except IntegrityError:  # another process that started at the same moment created it, and prints it
        return None


def reset_admin(site: Installation) -> tuple[ApiKey, str, list[str]]:
    """Replace the admin key that the installation itself made, for whoever has lost it but holds the machine.

    Admin keys that people made stay as they are.

    Returns:
        The new key's row, the key itself, which cannot be shown again, and the prefixes that were revoked.
    """
    now = site.clock.now()
    with site.database.write() as db:
        admins = db.scalars(
            select(ApiKey).where(ApiKey.role == Role.ADMIN.value).order_by(ApiKey.prefix).with_for_update()
        ).all()
        own = [row for row in admins if row.created_by == SYSTEM_ACTOR and row.revoked_at is None]
        name = _free_admin_name(db)
        row, key = create_key(db, name=name, role=Role.ADMIN, actor=SYSTEM_ACTOR, now=now)
        for old in own:
            revoke_key(db, prefix=old.prefix, actor=SYSTEM_ACTOR, now=now)
        revoked = [old.prefix for old in own]
        append_entry(
            db, kind="key.admin_reset", actor=SYSTEM_ACTOR, subject=f"key:{row.prefix}",
            body={"name": name, "revoked": revoked}, at=now,
        )  # fmt: skip
        return row, key, revoked


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
