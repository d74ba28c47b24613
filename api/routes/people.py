"""Routes for people: declare, list, give a role and a scope, disable and enable."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import forget_callers, requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from api.routes.keys import Manager, Scope
from core.errors import InvalidError
from governance.access import people
from governance.access.rights import person_differences, rights_of
from governance.access.roles import Caller, Permission, Role
from governance.tables import Person

router = APIRouter(prefix="/api/v1/people", tags=["people"])
Reader = Annotated[Caller, requires(Permission.ACCESS_READ, Reach.ALL)]


class PersonIn(In):
    id: str = Field(description="kept in the ledger, never changed: a handle such as ada.lovelace, no address")
    role: Role
    models: Scope = None
    name: str | None = Field(None, description="kept outside the ledger")
    email: str | None = Field(None, description="kept outside the ledger")


class PersonChangeIn(In):
    """What is left out stays as it is."""

    role: Role | None = None
    models: Scope = None
    disabled: bool | None = Field(None, description="true ends sessions and keys of the person at once")


class PersonOut(Out):
    id: str
    name: str | None
    email: str | None
    role: str
    models: list[str] | None = Field(description="null: all")
    created_at: datetime
    created_by: str
    used_at: datetime | None = Field(description="last signed in")
    disabled_at: datetime | None
    wrong: str | None = Field(None, description="what the row says otherwise than the ledger; such a person is refused")


def _shown(db: Session, row: Person) -> PersonOut:
    db.flush()
    words = "; ".join(person_differences(rights_of(db), row))
    return PersonOut.of(row).model_copy(update={"wrong": words or None})


@router.post("", status_code=201)
def add(caller: Manager, body: PersonIn, site: SiteDep, db: Db) -> PersonOut:
    row = people.create_person(
        db, who=body.id, role=body.role, models=body.models, name=body.name, email=body.email, actor=caller.name,
        now=site.clock.now(),
    )  # fmt: skip
    return _shown(db, row)


@router.get("")
def list_people(_: Reader, db: ReadDb) -> Page[PersonOut]:
    return Page[PersonOut](items=[_shown(db, row) for row in people.all_people(db)])


@router.patch("/{person}")
def change(caller: Manager, person: str, body: PersonChangeIn, site: SiteDep, db: Db, request: Request) -> PersonOut:
    """Give a person another role or scope, disable or enable; open sessions of the person end."""
    forget_callers(request, db)
    now = site.clock.now()
    if body.disabled is None and body.role is None and "models" not in body.model_fields_set:
        raise InvalidError("nothing would change; give role, models or disabled", field="body")
    if body.role is not None or "models" in body.model_fields_set:
        scope = body.models if "models" in body.model_fields_set else ...
        people.change_rights(db, person, role=body.role, models=scope, actor=caller.name, now=now)
    if body.disabled is not None:
        act = people.disable_person if body.disabled else people.enable_person
        act(db, person, actor=caller.name, now=now)
    return _shown(db, people.find_person(db, person))
