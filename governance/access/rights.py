"""What the ledger says of each key, person and session; the tables only repeat it, and a right counts while both agree.

Whoever can write to the database could give a key or a person another role, scope, secret or owner, or take a
revocation back. The entries are read once and then as they come: while the log's head stays, a check costs one query
of one row.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.canonical import canonical
from core.errors import ForbiddenError, UnauthenticatedError
from governance.access.owners import person
from governance.access.rights_entries import (
    ACTOR_PREFIX,
    KINDS,
    RECORDED,
    Fold,
    Rights,
    scope_of,
    secret_digest,
)
from governance.access.roles import Caller, Role
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.proof import merkle
from governance.tables import ApiKey, LedgerEntry, LedgerHead, Person

FEW: Final = 256  # new entries that are read whole, which is faster than to look for some kinds


class RightsDifferError(ForbiddenError):
    code = "rights_differ"

    def __init__(self, row: ApiKey | Person, found: list[str]) -> None:
        what, way = (
            (f"key {row.prefix} ({row.name})", "an admin revokes it and creates another")
            if isinstance(row, ApiKey)
            else (
                f"person {row.id}",
                "an admin sets again the role and the scope (assay people role), or what the person signs in with "
                "(assay people reset-password)",
            )
        )
        super().__init__(
            f"{what} is refused: {'; '.join(found)}. Its row was changed outside Assay; {way}, or whoever holds the "
            "machine runs `assay keys reset-admin`",
            **({"key": row.prefix} if isinstance(row, ApiKey) else {"person": row.id}),
        )
        self.found = found
        self.subject = f"key:{row.prefix}" if isinstance(row, ApiKey) else ACTOR_PREFIX + row.id


_KNOWN: Final[WeakKeyDictionary[Any, Rights]] = WeakKeyDictionary()  # by the engine of a database


def rights_of(db: Session) -> Rights:
    """The rights at the head of the log that this transaction sees."""
    bind = db.get_bind()
    known = _KNOWN.get(bind, Rights())
    head = db.execute(select(LedgerHead.size, LedgerHead.root).where(LedgerHead.id == 1)).first()
    if head is None:
        return Rights()
    if (head.size, head.root) == (known.size, known.root):
        return known
    now = _read_on(db, known, head.size, head.root) or _read_on(db, Rights(), head.size, head.root)
    assert now is not None  # only a log that was known before can turn out to be another one
    _KNOWN[bind] = now
    return now


def check_row(rights: Rights, row: ApiKey | Person) -> None:
    """Before a row is relied on, or an entry about it is written, which would make good what it says.

    Raises:
        RightsDifferError: the row says otherwise than the ledger.
    """
    if found := differences(rights, row) if isinstance(row, ApiKey) else person_differences(rights, row):
        raise RightsDifferError(row, found)


def holder(rights: Rights, row: ApiKey) -> Caller:
    """Who a key belongs to.

    Raises:
        RightsDifferError: its row says otherwise than the ledger, or that of the person who holds it does.
        UnauthenticatedError: the person who holds it is disabled.
    """
    check_row(rights, row)
    who = rights.person_of(row.owner)
    if who is not None and who.revoked_at is not None:
        raise UnauthenticatedError(f"key {row.prefix} belongs to person {who.id}, who is disabled")
    scope = None if row.models is None else frozenset(row.models)
    return Caller(row.name, Role(row.role), row.prefix, row.owner, scope, who.id if who else None)


def person_caller(rights: Rights, row: Person) -> Caller:
    """
    Raises:
        RightsDifferError: the row says otherwise than the ledger.
    """
    check_row(rights, row)
    scope = None if row.models is None else frozenset(row.models)
    return Caller(ACTOR_PREFIX + row.id, Role(row.role), "", row.id, scope, row.id)


def differences(rights: Rights, row: ApiKey) -> list[str]:
    """What a key's row says otherwise than the ledger, in words; of a revoked key, who it was and what it was for."""
    state = rights.keys.get(row.prefix)
    if state is None:
        return ["the ledger has no entry of its creation"]
    if state.revoked_at is not None and row.revoked_at is None:
        return ["it was revoked, and its row says it was not"]
    found = [
        f"its {what} is {here or 'nobody'}, and the ledger says {there or 'nobody'}"
        for what, here, there in (
            ("name", row.name, state.name), ("role", row.role, state.role), ("owner", row.owner, state.owner),
            ("creator", row.created_by, state.created_by),
        )
        if here != there
    ]  # fmt: skip
    found += _scope_differs(scope_of(row.models), state.models)
    if state.revoked_at is not None:
        return found
    for what, at, said in (
        ("end", row.expires_at, state.expires_at), ("end of its earlier secret", row.earlier_until, state.earlier_until)
    ):  # fmt: skip
        if at != said:
            found.append(f"its {what} is {at or 'never'}, and the ledger says {said or 'never'}")
    if row.revoked_at is not None:
        found.append("its row says that it was revoked, and the ledger does not")
    if state.secret is None and rights.recorded:
        found.append("the ledger does not name its secret")
    elif state.secret is not None and state.secret != secret_digest(row.hash):
        found.append("its secret is another one than the ledger names")
    if row.owner and rights.spellings.get(person(row.owner), "") not in {"", *rights.people}:
        found.append("the entries of the person who holds it are damaged")
    if row.earlier_hash is not None and state.earlier != secret_digest(row.earlier_hash):
        found.append("its earlier secret is another one than the ledger names")
    return found


def person_differences(rights: Rights, row: Person) -> list[str]:
    state = rights.people.get(row.id)
    if state is None:
        return ["the ledger has no entry of its creation"]
    found = [
        f"its {what} is {here}, and the ledger says {there}"
        for what, here, there in (("role", row.role, state.role), ("creator", row.created_by, state.created_by))
        if here != there
    ]
    found += _scope_differs(scope_of(row.models), state.models)
    if (row.disabled_at is None) != (state.revoked_at is None):
        found.append(f"its row says {'enabled' if row.disabled_at is None else 'disabled'}, and the ledger does not")
    if credentials_digest(row) != state.credentials:
        found.append("what it signs in with is not what the ledger names")
    if row.temporary != state.temporary:
        found.append(f"its password is {'lasting' if row.temporary else 'temporary'}, and its row says otherwise")
    return found


def credentials_digest(row: Person) -> str | None:
    """Digest of all that a person signs in with; None where that is nothing."""
    parts = (row.password, row.totp, row.recovery, row.issuer, row.subject)
    return sha256(canonical(list(parts))).hexdigest() if any(parts) else None


def _scope_differs(here: tuple[str, ...] | None, there: tuple[str, ...] | None) -> Iterator[str]:
    if here != there:
        words = ["all models" if one is None else ", ".join(one) or "no model" for one in (here, there)]
        yield f"its scope is {words[0]}, and the ledger says {words[1]}"


def all_differences(db: Session) -> dict[str, str]:
    """What is wrong with each key, by its prefix, and with each person, by `person:` and the id.

    Also of one that the ledger knows and the table has lost.
    """
    rights = rights_of(db)
    keys = {row.prefix: row for row in db.scalars(select(ApiKey))}
    people = {row.id: row for row in db.scalars(select(Person))}
    found = {prefix: (row.name, differences(rights, row)) for prefix, row in keys.items()}
    found |= {ACTOR_PREFIX + who: (who, person_differences(rights, row)) for who, row in people.items()}
    for prefix, state in rights.keys.items():
        if prefix not in keys:
            found[prefix] = (state.name, ["its row is gone, and a key is never removed, only revoked"])
    for who in rights.people:
        if who not in people:
            found[ACTOR_PREFIX + who] = (who, ["its row is gone, and a person is never removed, only disabled"])
    return {subject: f"{name}: {'; '.join(words)}" for subject, (name, words) in sorted(found.items()) if words}


def record_secrets(db: Session, now: datetime) -> None:
    """Name the secrets of keys whose entries come from a release that did not, once for an installation.

    Only of keys that are otherwise as the ledger says: what was changed before is not made good.
    """
    rights = rights_of(db)
    unnamed = {prefix for prefix, state in rights.keys.items() if state.secret is None}
    if rights.recorded or not unnamed:
        return
    rows = db.scalars(select(ApiKey).where(ApiKey.prefix.in_(unnamed)).order_by(ApiKey.prefix))
    named = {row.prefix: secret_digest(row.hash) for row in rows if not differences(rights, row)}
    append_entry(db, kind=RECORDED, actor=SYSTEM_ACTOR, subject="keys", body={"secrets": named}, at=now)


def _read_on(db: Session, known: Rights, size: int, root: str) -> Rights | None:
    """The rights of a log that goes on from what is known; None if it was rolled back, or restored."""
    index, kind = LedgerEntry.index, LedgerEntry.kind
    query = select(index, kind, LedgerEntry.subject, LedgerEntry.entry, LedgerEntry.leaf).order_by(index)
    ends = (known.size - 1, size - 1)
    if size - known.size > FEW:
        query = query.where((kind.in_(KINDS) & (index >= known.size) & (index < size)) | index.in_(ends))
    else:
        query = query.where(index >= ends[0], index < size)
    rows = db.execute(query).all()
    first, last = (next((row.leaf for row in rows if row[0] == end), "") for end in ends)
    if known.size and (known.size > size or first != known.last_leaf):
        return None
    fold = Fold(known)
    for row in rows:
        if row[0] < known.size or row.kind not in KINDS:
            continue
        entry = _content(row.kind, row.subject, row.entry, row.leaf)
        if entry is None:
            fold.damaged(row.subject)
        else:
            fold.take(entry)
    return Rights(
        size, root, last, fold.keys, fold.people, frozenset(fold.ended), fold.recorded, fold.spellings, fold.names
    )


def _content(kind: str, subject: str, written: str, leaf: str) -> dict[str, Any] | None:
    """An entry, read; None if it is not what was appended, or says otherwise than the columns beside it."""
    try:
        entry: dict[str, Any] = json.loads(written)
        whole = merkle.leaf_hash(written.encode()).hex() == leaf
        return entry if whole and (entry["kind"], entry["subject"]) == (kind, subject) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
