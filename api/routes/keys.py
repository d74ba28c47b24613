"""Routes for API keys: create (the key is shown once), list, rotate, change role, scope and owner, revoke."""

from datetime import datetime, timedelta
from types import EllipsisType
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from api.http.auth import forget_callers, requires
from api.http.deps import Db, In, Moment, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from core.errors import InvalidError
from governance.access.api_keys import all_keys, change_key, create_key, declare_owner, revoke_key, rotate_key
from governance.access.rights import rights_of
from governance.access.roles import Caller, Permission, Role

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])
Reader = Annotated[Caller, requires(Permission.ACCESS_READ, Reach.ALL)]
Manager = Annotated[Caller, requires(Permission.KEY_MANAGE, Reach.ALL)]
Scope = Annotated[
    tuple[str, ...] | None,
    Field(description="names of the models it is for, declared or not; null for all, an empty list for none"),
]


class KeyIn(In):
    name: str = Field(min_length=1, max_length=100)
    role: Role
    owner: str | None = Field(
        None,
        description="the person who holds the key: an id, a name or an address. A person whom nobody declared yet is "
        "made. A key without one approves no run, because approvals count people, and no run that it started can be "
        "approved; it can be declared later",
    )
    models: Scope = None
    expires_at: Moment | None = Field(None, description="from when on the key is refused; null for never")


class ChangeIn(In):
    """What is left out stays as it is."""

    owner: str | None = Field(None, description="the person who holds the key; it cannot be changed later")
    role: Role | None = None
    models: Scope = None


class RotateIn(In):
    overlap_s: int = Field(
        0, ge=0, le=30 * 86_400, description="for how long the secret of before still opens; seconds"
    )
    expires_at: Moment | None = Field(None, description="another end; left out, it stays; null for never")


class KeyOut(Out):
    prefix: str
    name: str
    role: str
    models: list[str] | None = Field(description="null: all")
    owner: str | None
    person: str | None = Field(None, description="id of the person who holds it")
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    earlier_until: datetime | None = Field(description="until when the secret before the last rotation opens")
    used_at: datetime | None = Field(description="exact to some minutes; null: never since this is recorded")
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    key: str = Field("", description="shown this once")


@router.post("", status_code=201)
def create(caller: Manager, body: KeyIn, site: SiteDep, db: Db) -> NewKeyOut:
    row, key = create_key(
        db, name=body.name, role=body.role, owner=body.owner, models=body.models, expires_at=body.expires_at,
        actor=caller.name, now=site.clock.now(),
    )  # fmt: skip
    return NewKeyOut.of(row).model_copy(update={"key": key})


@router.get("")
def list_keys(_: Reader, db: ReadDb, request: Request) -> Page[KeyOut]:
    rights, found = rights_of(db), Page[KeyOut].of(all_keys(db))
    for key in found.items:
        key.used_at = request.app.state.used.get(key.prefix, key.used_at)
        who = rights.person_of(key.owner)
        key.person = who.id if who is not None else None
    return found


@router.patch("/{prefix}")
def change(caller: Manager, prefix: str, body: ChangeIn, site: SiteDep, db: Db, request: Request) -> KeyOut:
    """Declare the owner of a key that has none (a key keeps its owner), or give it another role or scope."""
    forget_callers(request, db)
    now, row = site.clock.now(), None
    if body.owner is not None:
        row = declare_owner(db, prefix=prefix, owner=body.owner, actor=caller.name, now=now)
    if body.role is not None or "models" in body.model_fields_set:
        scope = body.models if "models" in body.model_fields_set else ...
        row = change_key(db, prefix, role=body.role, models=scope, actor=caller.name, now=now)
    if row is None:
        raise InvalidError("nothing would change; give owner, role or models", field="body")
    return KeyOut.of(row)


@router.post("/{prefix}/rotate")
def rotate(caller: Manager, prefix: str, body: RotateIn, site: SiteDep, db: Db, request: Request) -> NewKeyOut:
    """Give a key another secret; its name, role, scope and owner stay."""
    forget_callers(request, db)
    ends: datetime | EllipsisType | None = body.expires_at if "expires_at" in body.model_fields_set else ...
    row, key = rotate_key(
        db, prefix, overlap=timedelta(seconds=body.overlap_s), expires_at=ends, actor=caller.name, now=site.clock.now()
    )
    return NewKeyOut.of(row).model_copy(update={"key": key})


@router.delete("/{prefix}")
def revoke(caller: Manager, prefix: str, site: SiteDep, db: Db, request: Request) -> KeyOut:
    """Revoke a key: this process refuses it from the answer on, others within a second."""
    forget_callers(request, db)
    return KeyOut.of(revoke_key(db, prefix=prefix, actor=caller.name, now=site.clock.now()))
