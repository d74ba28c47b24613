"""The list of alerts."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import ColumnElement, case, func, select

from api.http.auth import requires
from api.http.deps import ReadDb
from api.http.reach import Reach, seen_ids
from api.pages.listing import Asked, Filter, Listing, choice
from api.pages.periods import after_day, from_day
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor.tables import MONITORS, SEVERITIES, Alert, Incident, Model

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Lister = Annotated[Caller, requires(Permission.READ, Reach.LISTED)]
STATES: Final = ("unresolved", "open", "acknowledged", "resolved")
ALERTS: Final = Listing(
    filters=(
        choice("state", "State", STATES), choice("severity", "Severity", SEVERITIES),
        choice("monitor", "Monitor", MONITORS), Filter("model", "Model"), Filter("since", "From", "day"),
        Filter("until", "Until", "day"),
    ),
    sorts=("opened", "severity", "state", "model"),
    default="-opened",
)  # fmt: skip
RANK: Final = case({name: rank for rank, name in enumerate(SEVERITIES)}, value=Alert.severity, else_=0)


@router.get("/alerts")
def alerts_page(caller: Lister, request: Request, db: ReadDb) -> HTMLResponse:
    asked, seen = ALERTS.asked(request), seen_ids(db, caller)
    where = _where(asked, seen)
    base = select(Alert, Model.name, Incident.owner).outerjoin(Model, Model.id == Alert.model_id)
    base = base.join(Incident, Incident.id == Alert.incident_id)
    counted = select(func.count()).select_from(Alert).outerjoin(Model, Model.id == Alert.model_id)
    columns: dict[str, ColumnElement[Any]] = {
        "opened": Alert.opened_at.expression, "severity": RANK, "state": Alert.state.expression,
        "model": Model.name.expression,
    }  # fmt: skip
    order = asked.order(columns, Alert.opened_at.desc(), Alert.id.expression)
    rows = db.execute(base.where(*where).order_by(*order).limit(asked.limit).offset(asked.offset)).all()
    open_ones = [Alert.state != "resolved", *([] if seen is None else [Alert.model_id.in_(seen)])]
    return page(
        "alerts/alerts.html", caller=caller, listed=asked.listed(rows, db.scalar(counted.where(*where)) or 0),
        waiting=db.scalar(counted.where(*open_ones)) or 0,
    )  # fmt: skip


def _where(asked: Asked, seen: list[UUID] | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [] if seen is None else [Alert.model_id.in_(seen)]
    if (state := asked.get("state")) is not None:
        found.append(Alert.state != "resolved" if state == "unresolved" else Alert.state == state)
    for name, column in (("severity", Alert.severity), ("monitor", Alert.monitor), ("model", Model.name)):
        if (value := asked.get(name)) is not None:
            found.append(column == value)
    if (since := asked.get("since")) is not None:
        found.append(Alert.opened_at >= from_day(since))
    if (until := asked.get("until")) is not None:
        found.append(Alert.opened_at < after_day(until))
    return found
