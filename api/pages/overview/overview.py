"""The overview of all models."""

import shlex
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.models.summary import summary_of
from api.pages.render import PageRoute, page
from core.errors import AppError
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.alerts import store as alert_store
from monitor.service import in_force
from monitor.site import Site
from monitor.tables import Model
from reports.wording.health import Health

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
def overview(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb, request: Request
) -> HTMLResponse:
    rows = [_row(site, db, model) for model in monitor_store.models(db) if caller.sees(model.name)]
    order = {"alarm": 0, "unknown": 1, "ok": 2}
    rows.sort(key=lambda r: (order[r["health"].status], r["name"]))
    counts = {status: sum(1 for r in rows if r["health"].status == status) for status in order}
    url = shlex.quote(str(request.base_url).rstrip("/"))  # the page puts it into commands
    system = alert_store.unresolved_system_alerts(db) if caller.models is None else []
    return page("overview/overview.html", caller=caller, models=rows, counts=counts, url=url, system=system)


def _row(site: Site, db: Session, model: Model) -> dict[str, Any]:
    """The summary of a model; only what is wrong where an earlier release stored a spec that this one cannot read."""
    try:
        current = in_force(site, db, model)
    except (AppError, ValueError) as error:
        sentence = f"It is not judged, because its spec cannot be read: {error}. Apply a spec that is right."
        return {"name": model.name, "spec": None, "health": Health("unknown", sentence)}
    return summary_of(site, db, current)
