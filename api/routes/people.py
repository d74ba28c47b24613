"""Routes for people: declare, list, give rights and a temporary password, disable; and the access review."""

from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.auth import forget_callers, requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from api.routes.keys import Manager, Scope
from core.errors import InvalidError
from governance.access import people
from governance.access.review import access_review, as_csv
from governance.access.rights import person_differences, rights_of
from governance.access.roles import Caller, Permission, Role
from governance.access.sign_in import TEMPORARY_FOR, reset_password
from governance.tables import Person

router = APIRouter(prefix="/api/v1/people", tags=["people"])
Reader = Annotated[Caller, requires(Permission.ACCESS_READ, Reach.ALL)]

NAMED: Final = {"Content-Disposition": 'attachment; filename="access-review.csv"'}


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
    email: str | None = Field(None, description="a provider's account with this address, checked there, is the person")


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


class PasswordOut(Out):
    """A temporary password, shown this once."""

    person: str
    password: str
    hours: float = Field(description="for so long it opens")


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
    if body.email is not None:
        people.declare_address(db, body.id, body.email, key=site.keys.session, actor=caller.name, now=site.clock.now())
    return _shown(db, row)


@router.post("/{person}/reset-password")
def reset(caller: Manager, person: str, site: SiteDep, db: Db, request: Request) -> PasswordOut:
    """Give a temporary password; the person sets another at the next sign-in, and a second factor anew."""
    forget_callers(request, db)
    password = reset_password(db, person, key=site.keys.session, actor=caller.name, now=site.clock.now())
    return PasswordOut(person=person, password=password, hours=TEMPORARY_FOR.total_seconds() / 3600)


@router.get("/review", response_model=None, responses={200: {"content": {"text/csv": {}, "application/json": {}}}})
def review(
    _: Reader, site: SiteDep, db: ReadDb, request: Request,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:  # fmt: skip
    """Who may do what, since when, by whom, last used: every person and key, also of those whose rights have ended."""
    lines = access_review(db, site.clock.now(), request.app.state.used)
    if form == "csv":
        return Response(as_csv(lines), media_type="text/csv; charset=utf-8", headers=NAMED)
    return JSONResponse(jsonable_encoder({"at": site.clock.now(), "items": lines}))


@router.get("")
def list_people(_: Reader, db: ReadDb) -> Page[PersonOut]:
    return Page[PersonOut](items=[_shown(db, row) for row in people.all_people(db)])


@router.patch("/{person}")
def change(caller: Manager, person: str, body: PersonChangeIn, site: SiteDep, db: Db, request: Request) -> PersonOut:
    """Give a person another role or scope, disable or enable; open sessions of the person end."""
    forget_callers(request, db)
    now = site.clock.now()
    if not body.model_fields_set - ({"role"} if body.role is None else set()):
        raise InvalidError("nothing would change; give role, models, email or disabled", field="body")
    if "email" in body.model_fields_set:
        people.declare_address(db, person, body.email, key=site.keys.session, actor=caller.name, now=now)
    if body.role is not None or "models" in body.model_fields_set:
        scope = body.models if "models" in body.model_fields_set else ...
        people.change_rights(db, person, role=body.role, models=scope, actor=caller.name, now=now)
    if body.disabled is not None:
        act = people.disable_person if body.disabled else people.enable_person
        act(db, person, actor=caller.name, now=now)
    return _shown(db, people.find_person(db, person))
