"""People whom a provider (OpenID Connect) vouches for: found by what it calls them, with the rights of their groups."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ForbiddenError, InvalidError
from governance.access.group_rights import GroupRights
from governance.access.people import PersonTakenError, address_digest, change_rights, create_person
from governance.access.rights import check_row, person_caller, rights_of
from governance.access.roles import Caller, Role
from governance.access.sign_in import set_credentials
from governance.ledger.append import SYSTEM_ACTOR
from governance.tables import Person

USED_EVERY: Final = timedelta(minutes=5)  # a person's last use is kept this exactly, to spare writes


class NoRightsError(ForbiddenError):
    code = "no_rights"


def needs_change(db: Session, claims: Mapping[str, Any], groups: frozenset[str], rights: GroupRights) -> bool:
    """Whether the person of a token must be made, linked or given other rights before anything else."""
    row = _linked(db, claims)
    if row is None:
        return True
    wanted = rights.of(groups) if rights.roles else (Role(row.role), row.models)
    return wanted is None or (wanted[0].value, wanted[1]) != (row.role, row.models)


def known_person(db: Session, claims: Mapping[str, Any]) -> Caller:
    """The person of a token that is linked. Raises NoRightsError, RightsDifferError."""
    row = _linked(db, claims)
    if row is None or row.disabled_at is not None:
        raise NoRightsError("no person of this installation is meant by the token, or that person is disabled")
    return person_caller(rights_of(db), row)


def person_of_claims(
    db: Session, claims: Mapping[str, Any], groups: frozenset[str], rights: GroupRights, now: datetime, key: bytes
) -> Caller | NoRightsError:
    """The person of a token that was verified; made at the first sign-in where groups give a role.

    Where groups give roles, the person has that of the groups from now on; a change ends open sessions.

    Args:
        key: the session key, which addresses in the ledger are digested with.

    Returns:
        The person, or why there is none: no group gives a role (what the person had is taken away in this transaction,
        so the caller commits before it raises), nobody is declared for the token, or the person is disabled.

    Raises:
        RightsDifferError: the person's row says otherwise than the ledger.
    """
    row, given = _linked(db, claims), rights.of(groups)
    if rights.roles and given is None:
        if row is not None and row.disabled_at is None and (row.role, row.models) != (Role.VIEWER.value, []):
            change_rights(db, row.id, role=Role.VIEWER, models=[], actor=SYSTEM_ACTOR, now=now)
        return NoRightsError("none of your groups gives a role here; ask an admin which groups do (setting oidc.roles)")
    row = row or _by_address(db, claims, key)
    if row is None and given is None:
        return NoRightsError("nobody is declared for this account; an admin declares people with `assay people add`")
    if row is None:
        assert given is not None
        try:
            row = _made(db, claims, given, now)
        except PersonTakenError as error:  # one human must not become two people, who could approve twice
            return NoRightsError(
                f"{error.facts['value']} is or is called like somebody who is declared already; if that is you, an "
                "admin says so: assay people address ID --email ADDRESS"
            )
    if row.disabled_at is not None:
        return NoRightsError("this person is disabled; ask an admin")
    if row.subject is None:
        check_row(rights_of(db), row)
        row.issuer, row.subject = str(claims["iss"]), str(claims["sub"])
        set_credentials(db, row, ["provider"], actor=SYSTEM_ACTOR, now=now)
    if given is not None and (given[0].value, given[1]) != (row.role, row.models):
        check_row(rights_of(db), row)
        change_rights(db, row.id, role=given[0], models=given[1], actor=SYSTEM_ACTOR, now=now)
    if row.used_at is None or now - row.used_at > USED_EVERY:
        row.used_at = now
    db.flush()
    return person_caller(rights_of(db), row)


def _linked(db: Session, claims: Mapping[str, Any]) -> Person | None:
    query = select(Person).where(Person.issuer == str(claims["iss"]), Person.subject == str(claims["sub"]))
    return db.scalars(query).first()


def _by_address(db: Session, claims: Mapping[str, Any], key: bytes) -> Person | None:
    """A person whom no account is linked to, declared with an address that the provider has checked.

    The ledger's digest counts: an address that was written into the table links nobody.
    """
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return None
    digest = address_digest(key, email)
    found = [state.id for state in rights_of(db).people.values() if state.address == digest]
    row = db.get(Person, found[0]) if len(found) == 1 else None
    return row if row is not None and row.subject is None else None


def _made(db: Session, claims: Mapping[str, Any], given: tuple[Role, list[str] | None], now: datetime) -> Person:
    account = sha256(f"{claims['iss']}\n{claims['sub']}".encode()).hexdigest()
    named = str(claims.get("preferred_username") or "").partition("@")[0]
    plain = unicodedata.normalize("NFKD", named).casefold().encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", ".", plain).strip(".")[:40]
    name = claims.get("name") if isinstance(claims.get("name"), str) else None
    for who in (slug, f"person-{account[:12]}"):
        try:
            if who:
                return create_person(
                    db, who=who, role=given[0], models=given[1], name=name, actor=SYSTEM_ACTOR, now=now
                )
        except InvalidError:  # it cannot be an id, or looks like another
            continue
    raise PersonTakenError("no id can be made for this account", value=slug)
