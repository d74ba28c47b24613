"""What the ledger says of each key and session; the tables only repeat it, and a right counts while both agree.

Whoever can write to the database could give a key another role, secret or owner, or take a revocation back. The entries
are read once and then as they come: while the log's head stays, a check costs one query of one row.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ForbiddenError
from governance.access.roles import Caller, Role
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.proof import merkle
from governance.tables import ApiKey, LedgerEntry, LedgerHead

CREATED, REVOKED, OWNED = "key.created", "key.revoked", "key.owner_declared"
RECORDED: Final = "key.secrets_recorded"  # once, of keys made by a release whose entries did not name the secret
SESSION_ENDED: Final = "session.ended"
FEW: Final = 256  # new entries that are read whole, which is faster than to look for some kinds
_KINDS: Final = (CREATED, REVOKED, OWNED, RECORDED, SESSION_ENDED)


class RightsDifferError(ForbiddenError):
    code = "rights_differ"

    def __init__(self, row: ApiKey, found: list[str]) -> None:
        super().__init__(
            f"key {row.prefix} ({row.name}) is refused: {'; '.join(found)}. Its row was changed outside Assay; an "
            "admin revokes it and creates another, or whoever holds the machine runs `assay keys reset-admin`",
            key=row.prefix,
        )  # fmt: skip
        self.found = found


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key as the ledger tells it. `secret` is None where its entries come from a release that did not name it."""

    prefix: str
    name: str
    role: str
    owner: str | None
    created_by: str
    secret: str | None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rights:
    """Every key and ended session, as of the first `size` entries."""

    size: int = 0
    root: str = ""
    last_leaf: str = ""
    keys: Mapping[str, KeyState] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    recorded: bool = False  # every secret is named by an entry from here on

    def named(self, name: str) -> KeyState | None:
        return next((state for state in self.keys.values() if state.name == name), None)

    def holder(self, row: ApiKey) -> Caller:
        """Who a key belongs to.

        Raises:
            RightsDifferError: its row says otherwise than the ledger.
        """
        if found := self.differences(row):
            raise RightsDifferError(row, found)
        return Caller(row.name, Role(row.role), row.prefix, row.owner)

    def differences(self, row: ApiKey) -> list[str]:
        """What a row says otherwise than the ledger, in words; of a key that both call revoked, nothing counts."""
        state = self.keys.get(row.prefix)
        if state is None:
            return ["the ledger has no entry of its creation"]
        if state.revoked_at is not None:
            return [] if row.revoked_at is not None else ["it was revoked, and its row says it was not"]
        pairs = (("name", row.name, state.name), ("role", row.role, state.role), ("owner", row.owner, state.owner),
                 ("creator", row.created_by, state.created_by))  # fmt: skip
        found = [
            f"its {what} is {here or 'nobody'}, and the ledger says {there or 'nobody'}"
            for what, here, there in pairs
            if here != there
        ]
        if row.revoked_at is not None:
            found.append("its row says that it was revoked, and the ledger does not")
        if state.secret is None and self.recorded:
            found.append("the ledger does not name its secret")
        elif state.secret is not None and state.secret != secret_digest(row.hash):
            found.append("its secret is another one than the ledger names")
        return found


_KNOWN: Final[WeakKeyDictionary[Any, Rights]] = WeakKeyDictionary()  # by the engine of a database


def secret_digest(stored: str) -> str:
    """Digest of the stored hash, for the ledger, which other people read."""
    return sha256(stored.encode()).hexdigest()


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


def all_differences(db: Session) -> dict[str, str]:
    """What is wrong with each key, by its prefix; also of one that the ledger knows and the table has lost."""
    rights = rights_of(db)
    rows = {row.prefix: row for row in db.scalars(select(ApiKey))}
    found = {prefix: (row.name, rights.differences(row)) for prefix, row in rows.items()}
    for prefix, state in rights.keys.items():
        if prefix not in rows and state.revoked_at is None:
            found[prefix] = (state.name, ["its row is gone, and it was never revoked"])
    return {prefix: f"{name}: {'; '.join(words)}" for prefix, (name, words) in sorted(found.items()) if words}


def record_secrets(db: Session, now: datetime) -> None:
    """Name the secrets of keys whose entries come from a release that did not, once for an installation.

    Only of keys that are otherwise as the ledger says: what was changed before is not made good.
    """
    rights = rights_of(db)
    unnamed = {prefix for prefix, state in rights.keys.items() if state.secret is None}
    if rights.recorded or not unnamed:
        return
    rows = db.scalars(select(ApiKey).where(ApiKey.prefix.in_(unnamed)).order_by(ApiKey.prefix))
    named = {row.prefix: secret_digest(row.hash) for row in rows if not rights.differences(row)}
    append_entry(db, kind=RECORDED, actor=SYSTEM_ACTOR, subject="keys", body={"secrets": named}, at=now)


def _read_on(db: Session, known: Rights, size: int, root: str) -> Rights | None:
    """The rights of a log that goes on from what is known; None if it was rolled back, or restored."""
    index, kind = LedgerEntry.index, LedgerEntry.kind
    query = select(index, kind, LedgerEntry.subject, LedgerEntry.entry, LedgerEntry.leaf).order_by(index)
    ends = (known.size - 1, size - 1)
    if size - known.size > FEW:
        query = query.where((kind.in_(_KINDS) & (index >= known.size) & (index < size)) | index.in_(ends))
    else:
        query = query.where(index >= ends[0], index < size)
    rows = db.execute(query).all()
    first, last = (next((row.leaf for row in rows if row[0] == end), "") for end in ends)
    if known.size and (known.size > size or first != known.last_leaf):
        return None
    keys, ended, recorded = dict(known.keys), set(known.ended), known.recorded
    for row in rows:
        if row[0] < known.size or row.kind not in _KINDS:
            continue
        entry = _content(row.kind, row.subject, row.entry, row.leaf)
        if entry is None:
            keys.pop(row.subject.removeprefix("key:"), None)  # a damaged entry gives nobody a right
            continue
        body, prefix = entry["body"], row.subject.removeprefix("key:")
        if entry["kind"] == SESSION_ENDED:
            ended.add(str(body["session"]))
        elif entry["kind"] == RECORDED:
            recorded = True
            for one, secret in body["secrets"].items():
                if one in keys and keys[one].secret is None:
                    keys[one] = replace(keys[one], secret=secret)
        elif entry["kind"] == CREATED:
            keys[prefix] = KeyState(
                prefix, body["name"], body["role"], body.get("owner"), entry["actor"], body.get("secret")
            )
        elif prefix in keys and entry["kind"] == OWNED:
            keys[prefix] = replace(keys[prefix], owner=body["owner"])
        elif prefix in keys and keys[prefix].revoked_at is None:
            keys[prefix] = replace(keys[prefix], revoked_at=datetime.fromisoformat(entry["at"]))
    return Rights(size, root, last, keys, frozenset(ended), recorded)


def _content(kind: str, subject: str, written: str, leaf: str) -> dict[str, Any] | None:
    """An entry, read; None if it is not what was appended, or says otherwise than the columns beside it."""
    try:
        entry: dict[str, Any] = json.loads(written)
        whole = merkle.leaf_hash(written.encode()).hex() == leaf
        return entry if whole and (entry["kind"], entry["subject"]) == (kind, subject) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
