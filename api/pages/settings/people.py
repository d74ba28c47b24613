"""The page of people and keys: who may do what, since when, last used; and what an admin changes there."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from api.http.auth import forget_callers, requires
from api.http.deps import Db, ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.forms import Form
from api.pages.render import PageRoute, page
from core.errors import InvalidError
from governance.access import people
from governance.access.api_keys import create_key, revoke_key
from governance.access.review import access_review
from governance.access.roles import Caller, Permission, Role
from governance.access.sign_in import reset_password
from monitor.site import Site

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.ACCESS_READ, Reach.ALL)]
Manager = Annotated[Caller, requires(Permission.KEY_MANAGE, Reach.ALL)]


@router.get("/people")
def people_page(caller: Reader, site: SiteDep, db: ReadDb, request: Request) -> HTMLResponse:
    return _page(site, db, request, caller)


@router.post("/people")
def add(caller: Manager, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    people.create_person(
        db, who=form.get("id", "").strip(), role=_role(form), models=_models(form), actor=caller.name,
        name=form.get("name", "").strip() or None, email=form.get("email", "").strip() or None, now=site.clock.now(),
    )  # fmt: skip
    if email := form.get("email", "").strip():
        people.declare_address(
            db, form.get("id", "").strip(), email, key=site.keys.session, actor=caller.name, now=site.clock.now()
        )
    return RedirectResponse("/people", 303)


@router.post("/people/{person}/rights")
def rights(caller: Manager, person: str, site: SiteDep, db: Db, form: Form, request: Request) -> RedirectResponse:
    forget_callers(request, db)
    people.change_rights(
        db, person, role=_role(form), models=_models(form), actor=caller.name, now=site.clock.now()
    )  # fmt: skip
    return RedirectResponse("/people", 303)


@router.post("/people/{person}/disable")
def disable(caller: Manager, person: str, site: SiteDep, db: Db, request: Request) -> RedirectResponse:
    forget_callers(request, db)
    people.disable_person(db, person, actor=caller.name, now=site.clock.now())
    return RedirectResponse("/people", 303)


@router.post("/people/{person}/enable")
def enable(caller: Manager, person: str, site: SiteDep, db: Db, request: Request) -> RedirectResponse:
    forget_callers(request, db)
    people.enable_person(db, person, actor=caller.name, now=site.clock.now())
    return RedirectResponse("/people", 303)


@router.post("/people/{person}/password")
def password(caller: Manager, person: str, site: SiteDep, db: Db, request: Request) -> HTMLResponse:
    forget_callers(request, db)
    made = reset_password(db, person, key=site.keys.session, actor=caller.name, now=site.clock.now())
    return _page(site, db, request, caller, f"Temporary password of {person}, shown this once:", made)


@router.post("/keys")
def make_key(caller: Manager, site: SiteDep, db: Db, form: Form, request: Request) -> HTMLResponse:
    row, made = create_key(
        db, name=form.get("name", ""), role=_role(form), models=_models(form), actor=caller.name,
        owner=form.get("owner", "").strip() or None, now=site.clock.now(),
    )  # fmt: skip
    return _page(site, db, request, caller, f"Key {row.name}, shown this once; only its hash is kept:", made)


@router.post("/keys/{prefix}/revoke")
def revoke(caller: Manager, prefix: str, site: SiteDep, db: Db, request: Request) -> RedirectResponse:
    forget_callers(request, db)
    revoke_key(db, prefix=prefix, actor=caller.name, now=site.clock.now())
    return RedirectResponse("/people#keys", 303)


def _page(
    site: Site, db: Session, request: Request, caller: Caller, said: str | None = None, secret: str | None = None
) -> HTMLResponse:
    db.flush()
    lines = access_review(db, site.clock.now(), request.app.state.used)
    return page(
        "settings/people.html", caller=caller, people=[line for line in lines if line["kind"] == "person"],
        keys=[line for line in lines if line["kind"] == "key"], roles=[role.value for role in Role], said=said,
        secret=secret, provider=site.settings.oidc.name if site.settings.oidc.issuer else None,
        by_groups=bool(site.settings.oidc.roles),
    )  # fmt: skip


def _role(form: dict[str, str]) -> Role:
    try:
        return Role(form.get("role", ""))
    except ValueError as error:
        raise InvalidError(
            f"role is {form.get('role', '')[:60]!r}; take one of {', '.join(Role)}", field="role"
        ) from error


def _models(form: dict[str, str]) -> list[str] | None:
    """`*` for all models, otherwise names; nothing for none."""
    text = form.get("models", "").replace(",", " ").split()
    return None if text == ["*"] else text
