"""What people do about an alert. Each form says what will happen; afterwards the page is shown again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from api.http.auth import requires
from api.http.deps import Db, SiteDep
from api.http.incidents import require_whole
from api.pages.forms import Form, reason_of, time_of
from api.pages.render import PageRoute
from core.clock import from_now
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.alerts import actions
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.tables import Model

router = APIRouter(route_class=PageRoute, include_in_schema=False)
AlertWorker = Annotated[Caller, requires(Permission.ALERT_WRITE)]


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge(caller: AlertWorker, alert_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    acknowledge_alert(site, db, alert_id, caller.name, reason_of(form))
    return RedirectResponse(f"/alerts/{alert_id}", 303)


@router.post("/alerts/{alert_id}/resolve")
def resolve(caller: AlertWorker, alert_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    resolve_alert(site, db, alert_id, caller.name, reason_of(form))
    return RedirectResponse(f"/alerts/{alert_id}", 303)


@router.post("/alerts/{alert_id}/comment")
def comment(caller: AlertWorker, alert_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    actions.comment(site, db, store.alert(db, alert_id).incident_id, caller.name, reason_of(form))
    return RedirectResponse(f"/alerts/{alert_id}#incident", 303)


@router.post("/alerts/{alert_id}/assign")
def assign(caller: AlertWorker, alert_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    owner = form.get("owner", "").strip()[:100] or None
    actions.assign(site, db, store.alert(db, alert_id).incident_id, caller.name, owner)
    return RedirectResponse(f"/alerts/{alert_id}#incident", 303)


@router.post("/alerts/{alert_id}/snooze")
def snooze(caller: AlertWorker, alert_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    until, incident_id = from_now(site.clock.now(), time_of(form)), store.alert(db, alert_id).incident_id
    require_whole(db, caller, incident_id)
    actions.snooze(site, db, incident_id, caller.name, until, reason_of(form))
    return RedirectResponse(f"/alerts/{alert_id}#incident", 303)


@router.post("/alerts/{alert_id}/mute")
def mute(caller: AlertWorker, alert_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    alert = store.alert(db, alert_id)
    model = None if alert.model_id is None else db.get_one(Model, alert.model_id).name
    actions.mute(
        site, db, caller.name, model=model, monitor=alert.monitor, metric=alert.metric, column="",
        reason=reason_of(form), until=from_now(site.clock.now(), time_of(form)),
    )  # fmt: skip
    return RedirectResponse(f"/alerts/{alert_id}#incident", 303)
