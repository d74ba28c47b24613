"""What people do on pages. Each form says what will happen; afterwards the page it came from is shown again."""

from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from api.http.auth import requires
from api.http.deps import Db, SiteDep
from api.pages.render import Form, PageRoute
from core.clock import days_period, from_now
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.alerts import actions
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.spec.duration import duration
from monitor.tables import Model
from reports import service as reports
from retrain.runs.again import promote_again
from retrain.runs.approve import approve_run, attest_run, reject_run
from retrain.runs.consider import start_manual
from retrain.runs.promote import roll_back_listed

router = APIRouter(route_class=PageRoute, include_in_schema=False)
AlertWorker = Annotated[Caller, requires(Permission.ALERT_WRITE)]
Approver = Annotated[Caller, requires(Permission.RUN_APPROVE)]
Mover = Annotated[Caller, requires(Permission.VERSION_MOVE)]


def reason_of(form: dict[str, str]) -> str:
    reason = form.get("reason", "").strip()
    if not reason:
        raise InvalidError("the reason is empty; say in a few words why", field="reason", value="")
    if len(reason) > 2000:
        raise InvalidError(f"the reason has {len(reason)} characters; write at most 2000", field="reason")
    return reason


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
    until, incident_id = from_now(site.clock.now(), _time(form)), store.alert(db, alert_id).incident_id
    actions.snooze(site, db, incident_id, caller.name, until, reason_of(form))
    return RedirectResponse(f"/alerts/{alert_id}#incident", 303)


@router.post("/alerts/{alert_id}/mute")
def mute(caller: AlertWorker, alert_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    alert = store.alert(db, alert_id)
    model = None if alert.model_id is None else db.get_one(Model, alert.model_id).name
    actions.mute(
        site, db, caller.name, model=model, monitor=alert.monitor, metric=alert.metric, column="",
        reason=reason_of(form), until=from_now(site.clock.now(), _time(form)),
    )  # fmt: skip
    return RedirectResponse(f"/alerts/{alert_id}#incident", 303)


def _time(form: dict[str, str]) -> timedelta:
    try:
        return duration(form.get("for", ""))
    except ValueError as error:
        raise InvalidError(f"for: {error}", field="for", value=form.get("for", "")) from None


@router.post("/runs/{run_id}/approve")
def approve(caller: Approver, run_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    approve_run(site, db, run_id, caller, reason_of(form))
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/attest")
def attest(
    caller: Annotated[Caller, requires(Permission.VALIDATE)], run_id: UUID, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    attest_run(site, db, run_id, caller, reason_of(form), form.get("evidence", "")[:2000])
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/runs/{run_id}/reject")
def reject(caller: Approver, run_id: UUID, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    reject_run(site, db, run_id, caller, reason_of(form))
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/models/{name}/runs")
def start_run(
    caller: Annotated[Caller, requires(Permission.RUN_START)], name: str, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    start_manual(site, db, name, caller.name, reason_of(form))
    return RedirectResponse(f"/models/{name}#decisions", 303)


@router.post("/models/{name}/versions/{version}/promote")
def promote_version(caller: Mover, name: str, version: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    run = promote_again(site, db, name, version, caller, reason_of(form))
    return RedirectResponse(f"/runs/{run.id}", 303)


@router.post("/models/{name}/rollback")
def roll_back_champion(caller: Mover, name: str, site: SiteDep, form: Form) -> RedirectResponse:
    roll_back_listed(site, name, caller, reason_of(form))
    return RedirectResponse(f"/models/{name}#versions", 303)


@router.post("/models/{name}/reports")
def request_report(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE)], name: str, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    start, end = days_period(_day(form, "from"), _day(form, "to"))
    reports.request(site, db, name, "audit", start, end, [], caller.name)
    return RedirectResponse(f"/models/{name}#reports", 303)


def _day(form: dict[str, str], field: str) -> date:
    try:
        return date.fromisoformat(form.get(field, ""))
    except ValueError as error:
        raise InvalidError(
            f"{field} is {form.get(field, '')!r}; write a day such as 2026-01-31", field=field
        ) from error
