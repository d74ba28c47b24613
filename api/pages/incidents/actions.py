"""What people do about an incident. Each form says what will happen; afterwards the page is shown again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from api.http.auth import requires
from api.http.deps import Db, SiteDep
from api.http.incidents import link_one, merge_two, require_whole, unlink_one
from api.http.reach import seen_ids
from api.pages.forms import Form, reason_of, time_of
from api.pages.render import PageRoute
from core.clock import from_now
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from monitor.alerts import actions
from monitor.alerts.post_mortems import PostMortemText, write

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Worker = Annotated[Caller, requires(Permission.ALERT_WRITE)]


@router.post("/incidents/{incident_id}/acknowledge")
def acknowledge(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    actions.acknowledge_incident(site, db, incident_id, caller.name, reason_of(form), seen_ids(db, caller))
    return _shown(incident_id)


@router.post("/incidents/{incident_id}/resolve")
def resolve(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    actions.resolve_incident(site, db, incident_id, caller.name, reason_of(form), seen_ids(db, caller))
    return _shown(incident_id)


@router.post("/incidents/{incident_id}/comment")
def comment(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    actions.comment(site, db, incident_id, caller.name, reason_of(form))
    return _shown(incident_id, "#timeline")


@router.post("/incidents/{incident_id}/assign")
def assign(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    actions.assign(site, db, incident_id, caller.name, form.get("owner", "").strip()[:100] or None)
    return _shown(incident_id)


@router.post("/incidents/{incident_id}/snooze")
def snooze(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    require_whole(db, caller, incident_id)
    until = from_now(site.clock.now(), time_of(form))
    actions.snooze(site, db, incident_id, caller.name, until, reason_of(form))
    return _shown(incident_id)


@router.post("/incidents/{incident_id}/link")
def link(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    what, target = _target(form)
    given = {"alert": None, "run": None, "deploy": None} | {what: target}
    link_one(site, db, caller, incident_id, given["alert"], given["run"], given["deploy"], form.get("note"))
    return _shown(incident_id)


@router.post("/incidents/{incident_id}/unlink")
def unlink(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    what, target = _target(form)
    given = {"alert": None, "run": None, "deploy": None} | {what: target}
    unlink_one(site, db, caller, incident_id, given["alert"], given["run"], given["deploy"], form.get("note"))
    return _shown(incident_id)


@router.post("/incidents/{incident_id}/merge")
def merge(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    merge_two(site, db, caller, incident_id, _id(form, "incident"), form.get("note"))
    return _shown(incident_id)


@router.post("/incidents/{incident_id}/post-mortem")
def post_mortem(caller: Worker, incident_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    require_whole(db, caller, incident_id)
    text = {name: form.get(name, "").replace("\r\n", "\n") for name in PostMortemText.__dataclass_fields__}
    write(site, db, incident_id, caller.name, PostMortemText(**text))
    return _shown(incident_id, "#post-mortem")


def _target(form: dict[str, str]) -> tuple[str, UUID]:
    what = form.get("what", "")
    if what not in ("alert", "run", "deploy"):
        raise InvalidError(f"what is {what[:60]!r}; take one of alert, run, deploy", field="what", value=what[:60])
    return what, _id(form, "target")


def _id(form: dict[str, str], field: str) -> UUID:
    """The id in a field; the address of a page, which ends with it, does as well."""
    text = form.get(field, "").strip().rstrip("/").rpartition("/")[2]
    try:
        return UUID(text)
    except ValueError:
        raise InvalidError(
            f"{field} is {text[:60]!r}; write an id, or the address of its page", field=field, value=text[:60]
        ) from None


def _shown(incident_id: UUID, place: str = "") -> RedirectResponse:
    return RedirectResponse(f"/incidents/{incident_id}{place}", 303)
