"""Routes for API keys: create (the key is shown once), list, declare an owner, revoke."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from api.http.auth import forget_callers, requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep
from governance.access.api_keys import all_keys, create_key, declare_owner, revoke_key
from governance.access.roles import Caller, Permission, Role

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])
Manager = Annotated[Caller, requires(Permission.KEY_MANAGE)]


class KeyIn(In):
    name: str = Field(min_length=1, max_length=100)
    role: Role
    owner: str | None = Field(
        None,
        description="the person who holds the key: a name, an address or a staff number, kept in the ledger. A key "
        "without one approves no run, because approvals count people, and no run that it started can be approved; it "
        "can be declared later",
    )


class OwnerIn(In):
    owner: str = Field(description="the person who holds the key; it cannot be changed later")


class KeyOut(Out):
    prefix: str
    name: str
    role: str
    owner: str | None
    created_at: datetime
    created_by: str
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    key: str = Field("", description="shown this once")


@router.post("", status_code=201)
def create(caller: Manager, body: KeyIn, site: SiteDep, db: Db) -> NewKeyOut:
    now = site.clock.now()
    row, key = create_key(db, name=body.name, role=body.role, owner=body.owner, actor=caller.name, now=now)
    return NewKeyOut.of(row).model_copy(update={"key": key})


@router.get("")
def list_keys(_: Manager, db: ReadDb) -> Page[KeyOut]:
    return Page[KeyOut].of(all_keys(db))


@router.patch("/{prefix}")
def own(caller: Manager, prefix: str, body: OwnerIn, site: SiteDep, db: Db, request: Request) -> KeyOut:
    """Declare the owner of a key that has none; a key keeps its owner."""
    forget_callers(request)
    return KeyOut.of(declare_owner(db, prefix=prefix, owner=body.owner, actor=caller.name, now=site.clock.now()))


@router.delete("/{prefix}")
def revoke(caller: Manager, prefix: str, site: SiteDep, db: Db, request: Request) -> KeyOut:
    forget_callers(request)
    return KeyOut.of(revoke_key(db, prefix=prefix, actor=caller.name, now=site.clock.now()))
