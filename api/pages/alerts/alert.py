"""The page of an alert: what, since when, how bad, for whom, why, what else happened, and what to do now."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.protected import causes_for, examples_for, flips_for, typical_for
from api.http.reach import seen_ids
from api.pages.alerts.chart import drawn
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.alerts import headlines
from monitor.alerts import store as alert_store
from monitor.alerts.quiet import quiet_reason
from monitor.notify.tell import announcement, occasion_now
from monitor.site import Site
from monitor.tables import Alert
from reports import store
from reports.alerts.incident import sees_all, visible
from reports.alerts.story import AlertStory, story
from retrain import store as retrain_store

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]
MOST_EPISODES: Final = 50
MOST_LINES: Final = 100


@router.get("/alerts/{alert_id}")
def alert_page(caller: Reader, alert_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    alert = monitor_store.alert(db, alert_id)
    told = story(site, db, alert, seen_ids(db, caller))
    model, told_episode = told.model, headlines.last_announced(alert)
    cited = store.alert_entries(db, "system" if model is None else f"model:{model.name}", alert)
    item = announcement(site, db, alert, occasion_now(alert))
    others = alert_store.alerts_beside(db, alert, seen_ids(db, caller))
    incident = alert_store.incident(db, alert.incident_id)
    whole = sees_all(db, incident, seen_ids(db, caller))
    shown = visible(incident, [alert, *(other for other, _ in others)], whole=whole)
    return page(
        "alerts/alert.html", caller=caller, alert=alert, model=model, story=told, why=told.why,
        first=store.window(db, alert.first_window_id), last=store.window(db, alert.last_window_id),
        ended=None if told_episode is None else told_episode["ended"], cite=cited.get,
        drawn=drawn(db, item, told.window), incident=incident, whole=whole, shown=shown,
        others=others,
        timeline=alert_store.newest_notes(db, alert.incident_id, seen_ids(db, caller), MOST_LINES),
        responsible=told.spec.owner if told.spec is not None else "", quiet=quiet_reason(db, alert, site.clock.now()),
        episodes=sorted(alert.episodes, key=lambda e: str(e["from_ts"]), reverse=True)[:MOST_EPISODES],
        why_before=[row for row in told.known if row is not told.why.row],
        **_rows(site, db, caller, alert, told),
        flips=[(row, flips_for(caller, row.document)) for row in retrain_store.flips_of_alert(db, alert.id)],
        causes=[(row, causes_for(caller, row.document)) for row in monitor_store.fairness_causes(db, alert.id)],
    )  # fmt: skip


def _rows(site: Site, db: Session, caller: Caller, alert: Alert, told: AlertStory) -> dict[str, Any]:
    """Example rows, for whoever may read events, where the spec says which of their columns may be shown."""
    if told.model is None or told.spec is None or not caller.may(Permission.EVENTS_READ):
        return {"examples": [], "typical": []}
    return {
        "examples": examples_for(site, db, caller, alert, told.model.name),
        "typical": [] if told.why.row is None else typical_for(site, db, alert, told.why.row),
    }
