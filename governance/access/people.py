"""People: who they are, what they may do, since when; each change is an entry of the ledger, by the id alone."""

import hmac
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from types import EllipsisType
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ConflictError, InvalidError, NotFoundError
from core.text import unfit
from governance.access.key_names import read_name
from governance.access.owners import person, read_owner
from governance.access.rights import rights_of
from governance.access.rights_entries import (
    ACTOR_PREFIX,
    ADDRESS,
    DISABLED,
    ENABLED,
    PERSON_CREATED,
    PERSON_RIGHTS,
    scope_of,
)
from governance.access.roles import Role
from governance.access.scopes import read_models
from governance.access.sessions import end_sessions_of_person
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.tables import Person

MAX_ID: Final = 64
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")


class PersonNotFoundError(NotFoundError):
    code = "person_not_found"


class PersonTakenError(ConflictError):
    code = "person_taken"


def create_person(
    db: Session, *, who: str, role: Role, models: Sequence[str] | None, actor: str, now: datetime,
    name: str | None = None, email: str | None = None,
) -> Person:  # fmt: skip
    """Declare a person. Nobody can sign in before a password is set or a provider knows the person.

    Args:
        who: the id, which the ledger keeps; it is never changed and never given again.
        models: those the person may see and change; None for all.
        name, email: kept outside the ledger. By an address alone no provider's account is linked: `declare_address`.

    Raises:
        InvalidError: the id cannot be one, or looks like another; a name, address or model cannot be one.
        PersonTakenError: there is or was a person of this id, or one known by this name or address.
    """
    rights = rights_of(db)
    if not _ID.fullmatch(who):
        raise InvalidError(
            f"id is {who[:100]!r}; give 1 to {MAX_ID} of a-z, 0-9, '.', '_' and '-', as in ada.lovelace: the ledger "
            "keeps the id, so no address (give that as email)",
            field="id", value=who[:100],
        )  # fmt: skip
    taken = set(rights.people) | set(db.scalars(select(Person.id)))
    for known in (who, name, email):
        found = _known_by(db, known) if known else None
        if found is not None or known in taken:
            raise PersonTakenError(
                f"person {found.id if found else who} is known as {known!r} already; change that person with `assay "
                "people role`, `scope` or `reset-password`, or choose another id",
                field="id", value=who,
            )  # fmt: skip
    read_name(who, taken)
    if ACTOR_PREFIX + who in rights.names:
        raise PersonTakenError(f"a key is named {ACTOR_PREFIX}{who}; choose another id", field="id", value=who)
    return _add(db, who, role, read_models(models), actor, now, name=_text(name, "name"), email=_address(email))


def declare_address(db: Session, who: str, email: str | None, *, key: bytes, actor: str, now: datetime) -> Person:
    """Say at which address a provider's account is this person's; None for none. The ledger keeps a keyed digest.

    Args:
        key: the session key.

    Raises:
        PersonNotFoundError, InvalidError.
        PersonTakenError: another person has this address.
    """
    row, kept = _row(db, who, now), _address(email)
    known = _known_by(db, kept) if kept else None
    if known is not None and known.id != who:
        raise PersonTakenError(f"person {known.id} has this address already", field="email", value=known.id)
    row.email = kept
    body = {"digest": None if kept is None else address_digest(key, kept)}
    append_entry(db, kind=ADDRESS, actor=actor, subject=ACTOR_PREFIX + who, body=body, at=now)
    return row


def address_digest(key: bytes, email: str) -> str:
    return hmac.new(key, f"assay address {email.casefold()}".encode(), sha256).hexdigest()


def person_of_owner(db: Session, owner: str, actor: str, now: datetime) -> str:
    """The owner of a key as it is kept: the id of the person whom the text names, who is made if there is none.

    A person who is made this way has no rights of their own, until an admin gives some; the key has its own.

    Raises:
        InvalidError: the text names nobody.
    """
    kept = read_owner(owner)
    found = _known_by(db, kept)
    if found is not None:
        return kept if rights_of(db).person_of(kept) is not None else found.id
    _add(db, _free_id(db, kept), Role.VIEWER, [], actor, now, name=kept, owner=kept)
    return kept


def record_people(db: Session, now: datetime) -> None:
    """Make people of the owners whom keys of an earlier release name; they can do nothing but hold those keys."""
    rights = rights_of(db)
    owners = {state.owner for state in rights.keys.values() if state.owner and rights.person_of(state.owner) is None}
    for owner in sorted(owners):
        if rights_of(db).person_of(owner) is None:  # two spellings may be one person
            _add(db, _free_id(db, owner), Role.VIEWER, [], SYSTEM_ACTOR, now, name=owner, owner=owner)


def change_rights(
    db: Session, who: str, *, actor: str, now: datetime, role: Role | None = None,
    models: Sequence[str] | EllipsisType | None = ...,
) -> Person:  # fmt: skip
    """Give a person another role, another scope or both; open sessions end.

    What the row said otherwise than the ledger is put right: the role, scope and creator of the ledger count where no
    others are given.

    Raises:
        PersonNotFoundError, InvalidError.
    """
    row, state = _row(db, who, now), rights_of(db).people[who]
    wanted_role = role or Role(state.role)
    kept = list(state.models) if state.models is not None else None
    wanted = kept if models is ... else read_models(models)
    row.role, row.models, row.created_by = wanted_role.value, wanted, state.created_by
    if (state.role, state.models) == (wanted_role.value, scope_of(wanted)):
        return row
    body = {"role": wanted_role.value, "models": wanted}
    append_entry(db, kind=PERSON_RIGHTS, actor=actor, subject=ACTOR_PREFIX + who, body=body, at=now)
    end_sessions_of_person(db, who, "rights changed", now)
    return row


def disable_person(db: Session, who: str, *, actor: str, now: datetime) -> Person:
    """Let a person do nothing any more: no sign-in, no open session, none of the keys. Raises PersonNotFoundError."""
    row, state = _row(db, who, now), rights_of(db).people[who]
    row.disabled_at = row.disabled_at or now
    if state.revoked_at is None:
        append_entry(db, kind=DISABLED, actor=actor, subject=ACTOR_PREFIX + who, body={}, at=now)
    end_sessions_of_person(db, who, "person disabled", now)
    return row


def enable_person(db: Session, who: str, *, actor: str, now: datetime) -> Person:
    """Let a disabled person sign in again, with the role and scope of before. Raises PersonNotFoundError."""
    row, state = _row(db, who, now), rights_of(db).people[who]
    row.disabled_at = None
    if state.revoked_at is not None:
        append_entry(db, kind=ENABLED, actor=actor, subject=ACTOR_PREFIX + who, body={}, at=now)
    return row


def find_person(db: Session, who: str) -> Person:
    """Raises PersonNotFoundError."""
    row = db.get(Person, who)
    if row is None:
        raise PersonNotFoundError(f"no person {who[:100]!r}; `assay people list` shows them", person=who[:100])
    return row


def all_people(db: Session) -> Sequence[Person]:
    return db.scalars(select(Person).order_by(Person.id)).all()


def _row(db: Session, who: str, now: datetime) -> Person:
    """The row of a person, locked; one that was deleted outside Assay comes back from the ledger."""
    state = rights_of(db).people.get(who)
    row = db.get(Person, who, with_for_update=True)
    if state is None or (row is None and not _ID.fullmatch(who)):
        raise PersonNotFoundError(f"no person {who[:100]!r}; `assay people list` shows them", person=who[:100])
    if row is None:
        models = None if state.models is None else list(state.models)
        row = Person(id=who, role=state.role, models=models, created_at=now, created_by=state.created_by)
        row.disabled_at, row.temporary = state.revoked_at, state.temporary
        db.add(row)
    return row


def _add(
    db: Session, who: str, role: Role, models: list[str] | None, actor: str, now: datetime, *, name: str | None,
    email: str | None = None, owner: str | None = None,
) -> Person:  # fmt: skip
    row = Person(
        id=who, name=name, email=email, role=role.value, models=models, created_at=now, created_by=actor,
        temporary=False,
    )  # fmt: skip
    db.add(row)
    db.flush()
    body = {"role": role.value, "models": models} | ({"owner": owner} if owner else {})
    append_entry(db, kind=PERSON_CREATED, actor=actor, subject=ACTOR_PREFIX + who, body=body, at=now)
    return row


def _known_by(db: Session, text: str) -> Person | None:
    """The person whose id, name, address or owner's spelling a text is."""
    state, wanted = rights_of(db).person_of(text), person(text)
    if state is not None and (row := db.get(Person, state.id)) is not None:
        return row
    for row in all_people(db):
        if wanted in {person(known) for known in (row.id, row.name, row.email) if known}:
            return row
    return None


def _free_id(db: Session, owner: str) -> str:
    """An id made of an owner's spelling; one that says nothing of it where its letters are not Latin."""
    plain = unicodedata.normalize("NFKD", owner.partition("@")[0]).casefold()
    slug = re.sub(r"[^a-z0-9]+", ".", plain.encode("ascii", "ignore").decode()).strip(".")[:40]
    slug = slug or f"person-{sha256(owner.encode()).hexdigest()[:8]}"
    taken = {*rights_of(db).people, *db.scalars(select(Person.id))}
    for number in range(1, len(taken) + 3):
        found = slug if number == 1 else f"{slug}-{number}"
        try:
            if found not in taken:
                read_name(found, taken)
                return found
        except InvalidError:  # it looks like another
            continue
    return f"person-{sha256(owner.encode()).hexdigest()[:16]}"


def _text(text: str | None, field: str) -> str | None:
    if text is None:
        return None
    kept = " ".join(unicodedata.normalize("NFC", text).split())
    if (reason := unfit(text)) or not 1 <= len(kept) <= 200:
        words = reason or "must have 1 to 200 characters"
        raise InvalidError(f"{field} {words}", field=field, value=text[:200])
    return kept


def _address(text: str | None) -> str | None:
    kept = _text(text, "email")
    if kept is not None and not _ADDRESS.fullmatch(kept):
        raise InvalidError(f"email is {kept!r}; write an address such as ada@example.com", field="email", value=kept)
    return kept
