"""The list of reports, and the form that asks for one."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import ColumnElement, func, select

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.http.reach import Reach, seen_ids
from api.pages.forms import Form
from api.pages.listing import Filter, Listing, choice
from api.pages.render import PageRoute, page
from api.pages.reports.choices import checked, choices
from api.pages.reports.steps import step_of
from core.clock import days_period
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from governance.access.scopes import require_model
from monitor.tables import Model
from reports import service
from reports.deliveries import faces_of
from reports.periods import asked_period, period_words
from reports.tables import Report

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ, Reach.LISTED)]
COLUMNS: Final[Mapping[str, ColumnElement[Any]]] = {
    "at": Report.created_at.expression, "model": Model.name.expression, "period": Report.period_from.expression,
    "kind": Report.kind.expression, "state": Report.state.expression, "by": Report.requested_by.expression,
}  # fmt: skip
STATES: Final = ("queued", "ready", "failed")


@router.get("/reports")
def reports_page(caller: Reader, site: SiteDep, db: ReadDb, request: Request) -> HTMLResponse:
    offered = choices(site, db, caller)
    listing = Listing(
        filters=(
            choice("model", "Model", offered.models), choice("kind", "Kind", [kind.name for kind in offered.kinds]),
            choice("state", "State", STATES), Filter("since", "Asked for from", "day"), Filter("until", "Until", "day"),
        ),
        sorts=tuple(COLUMNS), default="-at", size=25,
    )  # fmt: skip
    asked = listing.asked(request)
    query = select(Report, Model.name).join(Model, Model.id == Report.model_id)
    if (seen := seen_ids(db, caller)) is not None:
        query = query.where(Report.model_id.in_(seen))
    for name in ("model", "kind", "state"):
        if asked.get(name):
            query = query.where(COLUMNS[name] == asked.get(name))
    if asked.get("since") or asked.get("until"):
        first, last = asked.get("since"), asked.get("until")
        start, end = days_period(first or last, last or site.clock.now().date())
        query = query.where(Report.created_at < end) if last else query
        query = query.where(Report.created_at >= start) if first else query
    total = db.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = db.execute(
        query.order_by(*asked.order(COLUMNS, Report.id.expression)).limit(asked.limit).offset(asked.offset)
    ).all()
    lines = [_line(site, report, model) for report, model in rows]
    return page(
        "reports/reports.html", caller=caller, listed=asked.listed(lines, total), offered=offered,
        building=any(report.state == "queued" for report, _ in rows),
    )  # fmt: skip


def _line(site: SiteDep, report: Report, model: str) -> dict[str, object]:
    faces = faces_of(report)
    sizes = [site.artifacts.path(d).stat().st_size for d in faces.values() if site.artifacts.has(d)]
    return {
        "report": report, "model": model, "faces": faces, "bytes": sum(sizes), "digest": faces.get("json"),
        "name": period_words(report.period_from, report.period_to, report.zone or "UTC"), "step": step_of(report),
    }  # fmt: skip


@router.post("/reports")
def request_report(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE, Reach.LISTED)], site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    model = form.get("model", "").strip()
    if not model:
        raise InvalidError("model: is missing; choose the model that the report is about", field="model")
    require_model(caller, model, f"model {model[:100]!r}")
    asked = asked_period(
        site.clock.now(), start=form.get("from") or None, end=form.get("to") or None, name=form.get("period") or None,
        zone=form.get("zone") or "UTC",
    )  # fmt: skip
    row = service.request(
        site, db, model, form.get("kind") or "audit", asked.start, asked.end, checked(form, "regime-"), caller.name,
        zone=asked.zone, deliver_to=checked(form, "to-"), subject=form.get("subject", "").strip() or None,
    )  # fmt: skip
    return RedirectResponse(f"/reports/{row.id}", 303)
