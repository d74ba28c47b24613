"""Who did something, with a key or as a person who signed in, and whether two of them are one person."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from governance.access.owners import person
from governance.access.rights import rights_of
from governance.access.rights_entries import ACTOR_PREFIX, PersonState


@dataclass(frozen=True, slots=True)
class Signer:
    """Who did something. A key without a declared owner stands for nobody known."""

    actor: str  # name of the key, or `person:` and the id of a person who signed in
    key: str | None = None  # its prefix; None for what was recorded before keys had owners, or was no key
    owners: tuple[str, ...] = ()  # declared then, and now, and the id of the person whom they name
    revoked: bool = False  # the key was revoked, or the person disabled

    @property
    def marks(self) -> frozenset[str]:
        """What identifies the person; two signers with one mark in common are one person."""
        keys = (f"key:{self.actor}", *((f"prefix:{self.key}",) if self.key else ()))
        return frozenset((*keys, *(f"person:{person(o)}" for o in self.owners)))

    @property
    def named(self) -> str:
        if not self.owners:
            return f"key {self.actor}"
        return self.owners[0] if self.actor.startswith(ACTOR_PREFIX) else f"{self.owners[0]} (key {self.actor})"


def signer(db: Session, actor: str, key: str | None = None, owner: str | None = None) -> Signer:
    """Who acted under a name of the ledger. An owner declared later is that person too."""
    rights = rights_of(db)
    row = rights.named(actor)
    declared = [o for o in (owner, row.owner if row else None) if o]
    people = [who for o in declared if (who := rights.person_of(o)) is not None]
    owners = tuple(dict.fromkeys((*declared, *(who.id for who in people))))
    key = key or (None if row is None or isinstance(row, PersonState) else row.prefix)
    ended = any(who is not None and who.revoked_at is not None for who in (row, *people))
    return Signer(actor, key, owners, ended)


def signer_line(who: Signer) -> dict[str, Any]:
    """Who acted, for the body of a ledger entry: the actor, the key and its owner."""
    return {"actor": who.actor, "key": who.key, "owner": who.owners[0] if who.owners else None}
