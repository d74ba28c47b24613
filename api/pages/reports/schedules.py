"""Schedules of reports: what is asked for when, and the form that declares one."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.forms import Form
from api.pages.render import PageRoute, page
from api.pages.reports.choices import checked, choices
from core.errors import AppError
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_all_models, require_model
from monitor.site import Site
from monitor.tables import Model
from reports import schedules
from reports.tables import ReportSchedule

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/reports/schedules")
def schedules_page(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb
) -> HTMLResponse:
    lines = []
    for row in schedules.active(db):
        model = None if row.model_id is None else db.get_one(Model, row.model_id).name
        if caller.models is None or caller.sees(model):
            lines.append({"schedule": row, "model": model} | _next(site, row))
    return page("reports/schedules.html", caller=caller, lines=lines, offered=choices(site, db, caller))


def _next(site: Site, row: ReportSchedule) -> dict[str, object]:
    try:
        return {"next": schedules.next_due(row), "problem": schedules.unset_words(site, row)}
    except AppError as error:
        return {"next": None, "problem": error.message}


@router.post("/reports/schedules")
def declare_schedule(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE, Reach.LISTED)], site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    model, owner = form.get("model", "").strip() or None, form.get("owner", "").strip() or None
    if model is not None:
        require_model(caller, model, f"model {model[:100]!r}")
    elif owner is not None:
        require_all_models(caller)  # of neither, the schedule itself says what is missing
    wanted = schedules.Wanted(
        every=form.get("every") or "quarter", kind=form.get("kind") or "audit", model=model, owner=owner,
        cron=form.get("cron", "").strip() or None, zone=form.get("zone") or "UTC", regimes=checked(form, "regime-"),
        deliver_to=checked(form, "to-"),
    )  # fmt: skip
    schedules.declare(site, db, wanted, caller.name)
    return RedirectResponse("/reports/schedules", 303)


@router.post("/reports/schedules/{schedule_id}/end")
def end_schedule(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE)], schedule_id: UUID, site: SiteDep, db: Db
) -> RedirectResponse:
    schedules.end(site, db, schedule_id, caller.name)
    return RedirectResponse("/reports/schedules", 303)
