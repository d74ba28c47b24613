"""The list of incidents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb
from api.http.reach import Reach, seen_ids
from api.pages.listing import Asked, Filter, Listing, choice
from api.pages.periods import after_day, from_day
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor.alerts.store import touches
from monitor.tables import SEVERITIES, Alert, Incident, Model
from reports.alerts.incident import visible

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Lister = Annotated[Caller, requires(Permission.READ, Reach.LISTED)]
STATES: Final = ("unresolved", "open", "acknowledged", "resolved")
INCIDENTS: Final = Listing(
    filters=(
        choice("state", "State", STATES), choice("severity", "Severity", SEVERITIES), Filter("model", "Model"),
        Filter("owner", "Owner"), Filter("since", "From", "day"), Filter("until", "Until", "day"),
    ),
    sorts=("opened", "began", "severity", "state"),
    default="-opened",
)  # fmt: skip
RANK: Final = case({name: rank for rank, name in enumerate(SEVERITIES)}, value=Incident.severity, else_=0)


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """One row of the list: the incident, or the part of it that the caller sees."""

    incident: Incident
    headline: str
    severity: str
    state: str
    owner: str | None
    models: tuple[str, ...]
    alerts: int


@router.get("/incidents")
def incidents_page(caller: Lister, request: Request, db: ReadDb) -> HTMLResponse:
    asked, seen = INCIDENTS.asked(request), seen_ids(db, caller)
    where = _where(asked, seen)
    total = db.scalar(select(func.count()).select_from(Incident).where(*where)) or 0
    columns: dict[str, ColumnElement[Any]] = {
        "opened": Incident.opened_at.expression, "began": Incident.from_ts.expression, "severity": RANK,
        "state": Incident.state.expression,
    }  # fmt: skip
    order = asked.order(columns, Incident.id.expression)
    rows = db.scalars(select(Incident).where(*where).order_by(*order).limit(asked.limit).offset(asked.offset)).all()
    open_ones = select(func.count()).select_from(Incident).where(Incident.state != "resolved")
    waiting = db.scalar(open_ones if seen is None else open_ones.where(touches(seen))) or 0
    return page(
        "incidents/incidents.html", caller=caller, listed=asked.listed(_lines(db, rows, seen), total), waiting=waiting
    )


def _where(asked: Asked, seen: list[UUID] | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [] if seen is None else [touches(seen)]
    if (state := asked.get("state")) is not None:
        found.append(Incident.state != "resolved" if state == "unresolved" else Incident.state == state)
    if (severity := asked.get("severity")) is not None:
        found.append(Incident.severity == severity)
    if (owner := asked.get("owner")) is not None:
        found.append(Incident.owner == owner)
        if seen is not None:  # whose incident it is, is shown to those who see all of it
            hidden = select(Alert.incident_id).where(Alert.model_id.is_(None) | Alert.model_id.not_in(seen))
            found += [Incident.model_id.in_(seen), Incident.id.not_in(hidden)]
    if (model := asked.get("model")) is not None:
        ids = select(Model.id).where(Model.name == model)
        found.append(
            Incident.model_id.in_(ids) | Incident.id.in_(select(Alert.incident_id).where(Alert.model_id.in_(ids)))
        )
    if (since := asked.get("since")) is not None:
        found.append(Incident.to_ts >= from_day(since))
    if (until := asked.get("until")) is not None:
        found.append(Incident.from_ts < after_day(until))
    return found


def _lines(db: Session, rows: Sequence[Incident], seen: list[UUID] | None) -> list[IncidentLine]:
    """The rows with the alerts and models of each, read together."""
    names: dict[UUID | None, str] = {None: "the installation"}
    names |= {row.id: row.name for row in db.scalars(select(Model))}
    alerts: dict[UUID, list[Alert]] = {row.id: [] for row in rows}
    query = select(Alert).where(Alert.incident_id.in_(list(alerts))).order_by(Alert.opened_at)
    for alert in db.scalars(query):
        alerts[alert.incident_id].append(alert)
    found = []
    for row in rows:
        own = [a for a in alerts[row.id] if seen is None or a.model_id in seen]
        whole = seen is None or (row.model_id in seen and len(own) == len(alerts[row.id]))
        headline, severity, state = visible(row, own, whole=whole)
        about = [i for i in dict.fromkeys((row.model_id, *(a.model_id for a in own))) if seen is None or i in seen]
        found.append(
            IncidentLine(
                row, headline, severity, state, row.owner if whole else None,
                tuple(names.get(ident, "") for ident in about), len(own),
            )
        )  # fmt: skip
    return found
