"""Who did something with a key, and whether two of them are one person."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from governance.access.api_keys import key_named
from governance.access.owners import person


@dataclass(frozen=True, slots=True)
class Signer:
    """Who did something with a key. A key without a declared owner stands for nobody known."""

    actor: str  # name of the key
    key: str | None = None  # its prefix; None for what was recorded before keys had owners, or was no key
    owners: tuple[str, ...] = ()  # declared then, and now
    revoked: bool = False

    @property
    def marks(self) -> frozenset[str]:
        """What identifies the person; two signers with one mark in common are one person."""
        keys = (f"key:{self.actor}", *((f"prefix:{self.key}",) if self.key else ()))
        return frozenset((*keys, *(f"person:{person(o)}" for o in self.owners)))

    @property
    def named(self) -> str:
        return f"{self.owners[0]} (key {self.actor})" if self.owners else f"key {self.actor}"


def signer(db: Session, actor: str, key: str | None = None, owner: str | None = None) -> Signer:
    """Who acted under a name of the ledger. An owner declared later is that person too."""
    row = key_named(db, actor)
    owners = tuple(dict.fromkeys(o for o in (owner, row.owner if row else None) if o))
    return Signer(actor, key or (row.prefix if row else None), owners, bool(row and row.revoked_at))


def signer_line(who: Signer) -> dict[str, Any]:
    """Who acted, for the body of a ledger entry: the actor, the key and its owner."""
    return {"actor": who.actor, "key": who.key, "owner": who.owners[0] if who.owners else None}
