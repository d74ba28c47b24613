"""People sign in with a password and a second factor; an admin gives a temporary password, the person sets another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db import Database
from core.errors import InvalidError, UnauthenticatedError
from governance.access import passwords
from governance.access.attempts import unlock
from governance.access.people import find_person
from governance.access.rights import check_row, credentials_digest, person_caller, rights_of
from governance.access.rights_entries import ACTOR_PREFIX, CREDENTIALS, RECOVERY_USED, TEMPORARY, PersonState
from governance.access.roles import Caller
from governance.access.sessions import end_sessions_of_person
from governance.ledger.append import append_entry
from governance.tables import Person

ENROL: Final = "second factor"  # purpose of what the enrolment form carries
TOTP: Final = "totp"  # purpose of a stored secret
ENROL_WITHIN: Final = timedelta(minutes=30)
TEMPORARY_FOR: Final = timedelta(hours=72)  # a temporary password opens nothing afterwards


class BadCredentialsError(UnauthenticatedError):
    """The same for an unknown person, a wrong password, a wrong or used code and a person who is disabled."""

    def __init__(self) -> None:
        super().__init__("the id, the password or the code is not right, or the code was used before")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a person must still do: set a password, set up an app, or both. `form` carries it, sealed."""

    person: str
    new_password: bool
    secret: str | None
    uri: str | None
    recovery: tuple[str, ...]
    form: str


def check_password(
    database: Database, who: str, password: str, code: str, *, key: bytes, now: datetime, second_factor: bool,
    installation: str,
) -> Caller | Enrolment:  # fmt: skip
    """The person who signs in, or what the person must do first.

    Args:
        who: id of the person.
        code: of the app, or a recovery code; not looked at before an app is set up.
        key: the session key.

    Raises:
        BadCredentialsError, RightsDifferError.
    """
    with database.read() as db:
        found = _of(db, who.strip())
        stored = found.password if found is not None else None
    right = passwords.fits(password, stored)  # takes a while, and holds no transaction
    if not right:
        raise BadCredentialsError
    with database.write() as db:
        row = _of(db, who.strip(), lock=True)
        if row is None or row.password != stored:
            raise BadCredentialsError
        rights = rights_of(db)
        check_row(rights, row)
        state = rights.people[row.id]
        late = row.temporary and (state.credentials_at is None or now >= state.credentials_at + TEMPORARY_FOR)
        if row.disabled_at is not None or late:
            raise BadCredentialsError
        if row.totp is not None:
            _take_code(db, row, state, code, key, now)
        if row.temporary or (second_factor and row.totp is None):
            return _enrolment(row, key, now, installation, second_factor=second_factor)
        row.used_at = now
        return person_caller(rights_of(db), row)


def enrol(
    db: Session, form: str, new_password: str | None, code: str, *, key: bytes, now: datetime, least: int
) -> tuple[Caller, tuple[str, ...]]:
    """Set what an enrolment asked for. Returns the person and the recovery codes, shown once.

    Raises:
        BadCredentialsError: the form is not one of this installation, is too old or was used, or the code is wrong.
        InvalidError: the new password will not do.
    """
    asked: dict[str, Any] | None = passwords.unseal(key, ENROL, form)
    if asked is None or datetime.fromisoformat(asked["until"]) <= now:
        raise BadCredentialsError
    row = _of(db, asked["person"], lock=True)
    if row is None or row.disabled_at is not None or credentials_digest(row) != asked["credentials"]:
        raise BadCredentialsError
    if asked["secret"] is not None:
        step = passwords.totp_step(asked["secret"], code, now, None)
        if step is None:
            raise BadCredentialsError
        row.totp, row.totp_step = passwords.seal(key, f"{TOTP} {row.id}", asked["secret"]), step
        row.recovery = [passwords.recovery_hash(one) for one in asked["recovery"]]
    if asked["new_password"]:
        plain = passwords.read_password(new_password or "", least, row.id, row.name, row.email)
        if passwords.fits(plain, row.password):
            raise InvalidError("password is the temporary one; take another", field="password")
        row.password, row.temporary = passwords.hash_password(plain), False
    row.used_at = now
    what = [*(["second factor"] if asked["secret"] else []), *(["password"] if asked["new_password"] else [])]
    set_credentials(db, row, what, actor=ACTOR_PREFIX + row.id, now=now)
    return person_caller(rights_of(db), row), tuple(asked["recovery"])


def reset_password(db: Session, who: str, *, key: bytes, actor: str, now: datetime) -> str:
    """Give a person a temporary password, shown this once; a second factor is set up anew. Sessions and a lock end.

    An account of a provider stays linked, unless what the person signs in with was changed outside Assay: it might be
    somebody else's.

    Args:
        key: the session key.

    Raises:
        PersonNotFoundError: there is no such person.
    """
    row, state = find_person(db, who), rights_of(db).people.get(who)
    if state is None or credentials_digest(row) != state.credentials:
        row.issuer = row.subject = None
    password = passwords.temporary_password()
    row.password, row.temporary = passwords.hash_password(password), True
    row.totp = row.totp_step = row.recovery = None
    set_credentials(db, row, [TEMPORARY], actor=actor, now=now)
    unlock(db, who, key)
    return password


def set_credentials(db: Session, row: Person, what: Sequence[str], *, actor: str, now: datetime) -> None:
    """Record what a person signs in with from now on, as a digest; what was open ends."""
    db.flush()
    body = {"digest": credentials_digest(row), "what": list(what)}
    append_entry(db, kind=CREDENTIALS, actor=actor, subject=ACTOR_PREFIX + row.id, body=body, at=now)
    end_sessions_of_person(db, row.id, "credentials changed", now)


def any_password(db: Session) -> bool:
    """Whether anybody signs in with a password."""
    return db.scalars(select(Person.id).where(Person.password.is_not(None)).limit(1)).first() is not None


def _of(db: Session, who: str, *, lock: bool = False) -> Person | None:
    if len(who) > 200:
        return None
    return db.get(Person, who.casefold(), with_for_update=lock or None, populate_existing=lock)


def _take_code(db: Session, row: Person, state: PersonState, code: str, key: bytes, now: datetime) -> None:
    """Raises BadCredentialsError: the code is neither one of the app that was not used, nor a recovery code."""
    secret = passwords.unseal(key, f"{TOTP} {row.id}", row.totp or "")
    step = None if secret is None else passwords.totp_step(secret, code, now, row.totp_step)
    if step is not None:
        row.totp_step = step
        return
    used = passwords.recovery_hash(code)
    if used not in (row.recovery or ()) or used in state.recovery_used:
        raise BadCredentialsError
    append_entry(db, kind=RECOVERY_USED, actor=state.name, subject=state.name, body={"code": used}, at=now)


def _enrolment(row: Person, key: bytes, now: datetime, installation: str, *, second_factor: bool) -> Enrolment:
    secret = passwords.new_totp() if second_factor and row.totp is None else None
    recovery = passwords.new_recovery_codes() if secret else []
    asked = {
        "person": row.id, "credentials": credentials_digest(row), "new_password": row.temporary, "secret": secret,
        "recovery": recovery, "until": (now + ENROL_WITHIN).isoformat(),
    }  # fmt: skip
    uri = passwords.totp_uri(secret, row.id, installation) if secret else None
    form = passwords.seal(key, ENROL, asked)
    return Enrolment(row.id, row.temporary, secret, uri, tuple(recovery), form)
