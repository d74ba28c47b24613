"""Where a look at single decisions begins: look one up by its id or by the person it is about, or search a model."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep, StorableText
from api.http.protected import columns_for
from api.http.reach import Reach
from api.pages.forms import Form
from api.pages.render import PageRoute, page
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from monitor import store
from monitor.service import in_force
from monitor.site import Site
from monitor.spec.model import ModelSpec

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.EVENTS_READ, Reach.LISTED)]
Named = Annotated[StorableText, Query(max_length=200)]
MOST_MODELS: Final = 500  # listed
DIGEST: Final = 64  # hexadecimal digits of a subject's digest


@router.get("/events")
def begin(caller: Reader, db: ReadDb) -> HTMLResponse:
    names = [row.name for row in store.models(db) if caller.sees(row.name)]
    return page("events/decisions.html", caller=caller, models=names[:MOST_MODELS], total=len(names), asked=None)


@router.get("/decisions")
def look_up(
    caller: Reader, site: SiteDep, db: ReadDb, event_id: Named = "", subject: Named = "", model: Named = ""
) -> HTMLResponse:  # fmt: skip
    from monitor.explore.decisions import by_id, by_subject

    names = [row.name for row in store.models(db) if caller.sees(row.name)]
    facts: dict[str, Any] = {"caller": caller, "models": names[:MOST_MODELS], "total": len(names)}
    if not event_id and not subject:
        return page("events/decisions.html", **facts, asked=None)
    if event_id and subject:
        raise InvalidError("event_id: give the id of an event or a person, not both", field="event_id")
    if subject and not (len(subject) == DIGEST and set(subject) <= set("0123456789abcdef")):
        raise InvalidError("subject: the address takes a person's digest; use the form", field="subject")
    specs = _specs(site, db, caller, model)
    found = by_id(site, specs, event_id) if event_id else by_subject(site, specs, subject)
    hidden = {spec.model: _hides(site, db, caller, spec) for spec in specs}
    return page(
        "events/decisions.html", **facts, asked=event_id or subject, by_id=bool(event_id), found=found, model=model,
        searched=len(specs), hidden=hidden,
    )  # fmt: skip


@router.post("/decisions")
def look_up_person(_: Reader, site: SiteDep, form: Form) -> RedirectResponse:
    """Look up the decisions about the person that the form names; their key is not kept, and is in no address."""
    subject, model = form.get("subject", ""), form.get("model", "")
    if not subject or len(subject) > 1000:
        raise InvalidError("subject: give the key of the person, as events hold it", field="subject")
    parts = {"subject": site.events.subject_digest(subject)} | ({"model": model} if model else {})
    return RedirectResponse(f"/decisions?{urlencode(parts)}", 303)


def _specs(site: Site, db: Session, caller: Caller, model: str) -> list[ModelSpec]:
    if model:
        require_model(caller, model, f"model {model[:100]!r}")
        return [in_force(site, db, store.model(db, model)).spec]
    return [in_force(site, db, row).spec for row in store.models(db) if caller.sees(row.name)]


def _hides(site: Site, db: Session, caller: Caller, spec: ModelSpec) -> bool:
    """Whether the answers of a model are kept from this caller."""
    _, protected, may = columns_for(site, db, caller, spec.model)
    return not may and bool(protected & {*spec.with_role("prediction")})
