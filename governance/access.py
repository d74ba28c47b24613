"""Who may do what: roles, their permissions, and the API keys that carry a role."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.clock import Clock
from core.db import Database
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnauthenticatedError
from governance import ledger
from governance.tables import ApiKey


class Role(StrEnum):
    PRODUCER = "producer"  # an application that sends what its model was asked and answered
    VIEWER = "viewer"
    OPERATOR = "operator"  # the ML team: declares models, works on alerts, starts runs
    VALIDATOR = "validator"  # independent validation: reads everything, attests, alters nothing
    APPROVER = "approver"  # lets runs into production, or not; has people erased: neither belongs to the ML team
    ADMIN = "admin"


class Permission(StrEnum):
    EVENTS_WRITE = "events.write"
    READ = "read"  # models, windows, measurements, alerts, runs, reports: no rows of people
    EVENTS_READ = "events.read"  # single decisions and their explanations
    CHAMPION_READ = "champion.read"  # what serving should load
    LEDGER_READ = "ledger.read"
    MODEL_WRITE = "model.write"
    ALERT_WRITE = "alert.write"
    QUARANTINE_WRITE = "quarantine.write"  # release, fix and discard rejected rows
    DATASET_WRITE = "dataset.write"
    RUN_START = "run.start"
    RUN_APPROVE = "run.approve"
    VERSION_MOVE = "version.move"  # promote and roll back
    VALIDATE = "validate"
    REPORT_CREATE = "report.create"
    ERASE = "erase"  # remove a person's rows for good
    KEY_MANAGE = "key.manage"


_READING: Final = frozenset({Permission.READ, Permission.CHAMPION_READ, Permission.LEDGER_READ})
_AUDITING: Final = _READING | {Permission.EVENTS_READ, Permission.REPORT_CREATE}
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.PRODUCER: frozenset({Permission.EVENTS_WRITE, Permission.CHAMPION_READ}),
    Role.VIEWER: _READING,
    Role.OPERATOR: _AUDITING
    | {
        Permission.EVENTS_WRITE, Permission.MODEL_WRITE, Permission.ALERT_WRITE, Permission.DATASET_WRITE,
        Permission.RUN_START, Permission.VERSION_MOVE, Permission.QUARANTINE_WRITE,
    },
    Role.VALIDATOR: _AUDITING | {Permission.VALIDATE},
    Role.APPROVER: _AUDITING | {Permission.RUN_APPROVE, Permission.VERSION_MOVE, Permission.ERASE},
    Role.ADMIN: frozenset(Permission),
}  # fmt: skip

_SCHEME: Final = "assay"
_NO_HASH: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking; `name` is the actor in the ledger."""

    name: str
    role: Role
    prefix: str

    def may(self, permission: Permission) -> bool:
        return permission in PERMISSIONS[self.role]


class KeyNotFoundError(NotFoundError):
    code = "key_not_found"


class KeyNameTakenError(ConflictError):
    code = "key_name_taken"


class LastAdminError(ConflictError):
    code = "last_admin"


class Installation(Protocol):
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...


def create_key(db: Session, *, name: str, role: Role, actor: str, now: datetime) -> tuple[ApiKey, str]:
    """Make a key; returns its row and the key itself, which is not kept and cannot be shown again.

    Raises:
        InvalidError, KeyNameTakenError: no name, or one that was given before (a revoked key keeps its name: the
            ledger tells people apart by it).
    """
    if not name.strip() or len(name) > 100:
        raise InvalidError(f"name {name[:100]!r} must have 1 to 100 characters", field="name")
    if db.scalar(select(ApiKey.id).where(ApiKey.name == name)) is not None:
        raise KeyNameTakenError(
            f"a key named {name!r} exists or existed; choose another name", field="name", value=name
        )
    prefix = secrets.token_hex(5)
    # 256 random bits: a plain hash is enough, there is nothing to guess.
    key = f"{_SCHEME}_{prefix}_{secrets.token_hex(32)}"
    row = ApiKey(name=name, prefix=prefix, hash=_hash(key), role=role.value, created_at=now, created_by=actor)
    db.add(row)
    db.flush()
    ledger.append(
        db, kind="key.created", actor=actor, subject=f"key:{prefix}", body={"name": name, "role": role.value}, at=now
    )
    return row, key


def revoke_key(db: Session, *, prefix: str, actor: str, now: datetime) -> ApiKey:
    """Revoke a key; it is refused from the commit on. Revoking it twice changes nothing.

    Raises:
        KeyNotFoundError: no key has this prefix.
        LastAdminError: nobody could manage keys afterwards.
    """
    # All admin keys are locked, so that two admins cannot revoke each other at once.
    query = select(ApiKey).where((ApiKey.prefix == prefix) | (ApiKey.role == Role.ADMIN.value)).order_by(ApiKey.prefix)
    rows = db.scalars(query.with_for_update()).all()
    row = next((r for r in rows if r.prefix == prefix), None)
    if row is None:
        raise KeyNotFoundError(f"no key has prefix {prefix!r}; `assay keys list` shows them", prefix=prefix)
    if row.revoked_at is not None:
        return row
    if row.role == Role.ADMIN and not any(r.revoked_at is None and r is not row and r.role == Role.ADMIN for r in rows):
        raise LastAdminError(f"key {prefix} is the last admin key; create another admin key first", prefix=prefix)
    row.revoked_at = now
    ledger.append(db, kind="key.revoked", actor=actor, subject=f"key:{prefix}", body={"name": row.name}, at=now)
    return row


def list_keys(db: Session) -> Sequence[ApiKey]:
    return db.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.prefix)).all()


def authenticate(db: Session, key: str) -> Caller:
    """Who holds this key.

    Raises:
        UnauthenticatedError: malformed, unknown or revoked; the message says the same of all three.
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
    return Caller(row.name, Role(row.role), row.prefix)


def holder(db: Session, prefix: str) -> Caller | None:
    """Who holds the key with this prefix, unless it was revoked (page sessions name the key they were opened with)."""
    row = db.scalars(select(ApiKey).where(ApiKey.prefix == prefix, ApiKey.revoked_at.is_(None))).first()
    return Caller(row.name, Role(row.role), row.prefix) if row else None


def require(caller: Caller, permission: Permission) -> None:
    """
    Raises:
        ForbiddenError: the caller's role does not have the permission.
    """
    if not caller.may(permission):
        able = ", ".join(role.value for role, granted in PERMISSIONS.items() if permission in granted)
        raise ForbiddenError(
            f"role {caller.role.value} lacks the permission {permission.value}; it is granted to: {able}",
            role=caller.role.value, permission=permission.value,
        )  # fmt: skip


def first_admin(site: Installation) -> str | None:
    """The first admin key of an installation, made when there has never been one; None afterwards."""
    try:
        with site.database.write() as db:
            if db.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.role == Role.ADMIN.value)):
                return None
            return create_key(db, name="admin", role=Role.ADMIN, actor="assay", now=site.clock.now())[1]
    except IntegrityError:  # another process starting at the same moment made it, and prints it
        return None


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
