"""API keys: create, revoke and list them, and find out who holds one. Each key carries a role."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.clock import Clock
from core.db import Database
from core.errors import ConflictError, NotFoundError, UnauthenticatedError
from governance.access.key_names import read_name
from governance.access.owners import person, read_owner
from governance.access.rights import CREATED, OWNED, REVOKED, KeyState, rights_of, secret_digest
from governance.access.roles import Caller, Role
from governance.access.sessions import end_sessions
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.tables import ApiKey

_SCHEME: Final = "assay"
_NO_HASH: Final = "0" * 64


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
    db: Session, *, name: str, role: Role, actor: str, now: datetime, owner: str | None = None
) -> tuple[ApiKey, str]:
    """Create a key. Returns its row and the key itself, which is not stored and cannot be shown again.

    Raises:
        InvalidError: the name is empty or too long, stands for the service or could be taken for another one, or the
            owner names nobody.
        KeyNameTakenError: the name is or was in use. A revoked key keeps its name, because the ledger identifies
            actors by it.
    """
    taken = db.scalars(select(ApiKey.name)).all()
    name = read_name(name, taken)
    if name in taken:
        raise KeyNameTakenError(
            f"a key named {name!r} exists or existed; choose another name", field="name", value=name
        )
    held_by = None if owner is None else read_owner(owner)
    prefix = secrets.token_hex(5)
    # The key has 256 random bits and cannot be guessed, so a plain hash is enough.
    key = f"{_SCHEME}_{prefix}_{secrets.token_hex(32)}"
    row = ApiKey(
        name=name, prefix=prefix, hash=_hash(key), role=role.value, owner=held_by, created_at=now, created_by=actor
    )
    db.add(row)
    db.flush()
    body = {"name": name, "role": role.value, "secret": secret_digest(row.hash)}
    body |= {"owner": held_by} if held_by else {}
    append_entry(db, kind=CREATED, actor=actor, subject=f"key:{prefix}", body=body, at=now)
    return row, key


def declare_owner(db: Session, *, prefix: str, owner: str, actor: str, now: datetime) -> ApiKey:
    """Declare who holds a key that has no owner yet. An owner is never changed: what the key did was that person's.

    Raises:
        KeyNotFoundError, InvalidError: no such key, or the owner names nobody.
        OwnerDeclaredError: the key belongs to another person.
    """
    held_by = read_owner(owner)
    row = db.scalars(select(ApiKey).where(ApiKey.prefix == prefix).with_for_update()).first()
    if row is None:
        raise KeyNotFoundError(f"no key has prefix {prefix!r}; `assay keys list` shows them", prefix=prefix)
    if row.owner is not None:
        if person(row.owner) == person(held_by):
            return row
        raise OwnerDeclaredError(
            f"key {prefix} belongs to {row.owner}, and a key keeps its owner; create a key for {held_by} and revoke "
            "this one",
            prefix=prefix, owner=row.owner,
        )  # fmt: skip
    row.owner = held_by
    body = {"name": row.name, "owner": held_by}
    append_entry(db, kind=OWNED, actor=actor, subject=f"key:{prefix}", body=body, at=now)
    return row


def key_named(db: Session, name: str) -> KeyState | None:
    """The key of an actor, as the ledger tells it; None where the actor was the service or a name from outside."""
    return rights_of(db).named(name)


def revoke_key(db: Session, *, prefix: str, actor: str, now: datetime) -> ApiKey:
    """Revoke a key: it is refused as soon as the transaction commits. Revoking it twice changes nothing.

    Raises:
        KeyNotFoundError: no key has this prefix.
        LastAdminError: no admin key would be left to manage keys.
    """
    # Lock all admin keys, so that two admins cannot revoke each other at the same moment.
    query = select(ApiKey).where((ApiKey.prefix == prefix) | (ApiKey.role == Role.ADMIN.value)).order_by(ApiKey.prefix)
    rows = db.scalars(query.with_for_update()).all()
    row, state = next((r for r in rows if r.prefix == prefix), None), rights_of(db).keys.get(prefix)
    if row is None:
        row = _lost_row(db, prefix, state, now)
    if row.revoked_at is not None and (state is None or state.revoked_at is not None):
        return row
    if row.role == Role.ADMIN and not any(r.revoked_at is None and r is not row and r.role == Role.ADMIN for r in rows):
        raise LastAdminError(f"key {prefix} is the last admin key; create another admin key first", prefix=prefix)
    row.revoked_at = row.revoked_at or now
    end_sessions(db, prefix, "key revoked", now)
    append_entry(db, kind=REVOKED, actor=actor, subject=f"key:{prefix}", body={"name": row.name}, at=now)
    return row


def _lost_row(db: Session, prefix: str, state: KeyState | None, now: datetime) -> ApiKey:
    """A row for a key that only the ledger knows, because it was deleted outside Assay; it opens nothing."""
    if state is None or state.revoked_at is not None:
        raise KeyNotFoundError(f"no key has prefix {prefix!r}; `assay keys list` shows them", prefix=prefix)
    row = ApiKey(
        name=state.name, prefix=prefix, hash=_hash(f"lost {prefix}"), role=state.role, owner=state.owner,
        created_at=now, created_by=state.created_by, revoked_at=now,
    )  # fmt: skip
    db.add(row)
    return row


def all_keys(db: Session) -> Sequence[ApiKey]:
    return db.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.prefix)).all()


def authenticate(db: Session, key: str) -> Caller:
    """The caller who holds this key.

    Raises:
        UnauthenticatedError: the key is malformed, unknown or revoked; the message is the same for all three.
        RightsDifferError: its row says otherwise than the ledger.
    """
    scheme, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if scheme != _SCHEME or not prefix or not secret or not key.isascii():
        raise UnauthenticatedError(
            "the API key is not valid; send `Authorization: Bearer assay_...` with a key that was not revoked"
        )
    row = db.scalars(select(ApiKey).where(ApiKey.prefix == prefix)).first()
    if not hmac.compare_digest(_hash(key), row.hash if row else _NO_HASH) or row is None or row.revoked_at is not None:
        raise UnauthenticatedError(
            "the API key is not valid; send `Authorization: Bearer assay_...` with a key that was not revoked"
        )
    return rights_of(db).holder(row)


def first_admin(site: Installation) -> str | None:
    """Create the first admin key of an installation; None if there has ever been one."""
    try:
        with site.database.write() as db:
            if db.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.role == Role.ADMIN.value)):
                return None
            return create_key(db, name="admin", role=Role.ADMIN, actor=SYSTEM_ACTOR, now=site.clock.now())[1]
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
        taken = set(db.scalars(select(ApiKey.name).where(ApiKey.name.startswith("admin"))))
        name = next(n for n in ("admin", *(f"admin-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
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
