"""The page of an incident."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.reach import seen_ids
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor.alerts import store
from monitor.alerts.post_mortems import WORDS
from reports.alerts.incident import incident_view

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/incidents/{incident_id}")
def incident_page(
    caller: Annotated[Caller, requires(Permission.READ)], incident_id: UUID, site: SiteDep, db: ReadDb
) -> HTMLResponse:
    now = site.clock.now()
    view = incident_view(db, store.incident(db, incident_id), seen_ids(db, caller), now)
    return page("incidents/incident.html", caller=caller, view=view, incident=view.incident, parts_words=WORDS, now=now)
