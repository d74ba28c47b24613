"""The page of an alert."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.protected import causes_for, examples_for, flips_for, typical_for
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.alerts import headlines
from monitor.alerts import store as alert_store
from monitor.alerts.findings import findings, standing
from monitor.alerts.quiet import quiet_reason
from monitor.notify.tell import around
from monitor.notify.wording import next_step
from monitor.service import current_spec
from reports import store
from reports.facts.citations import Citations
from retrain import store as retrain_store

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]


@router.get("/alerts/{alert_id}")
def alert_page(caller: Reader, alert_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    alert = monitor_store.alert(db, alert_id)
    model = None if alert.model_id is None else store.model_of(db, alert.model_id)
    citations = Citations(store.entries(db, ["system" if model is None else f"model:{model.name}"]))
    first, last = store.window(db, alert.first_window_id), store.window(db, alert.last_window_id)
    shown = model is not None and caller.may(Permission.EVENTS_READ)
    rows = examples_for(site, db, caller, alert, model.name) if shown and model is not None else []
    responsible = current_spec(site, db, model.name).spec.owner if model is not None else ""
    known = findings(db, [alert_id])[alert_id]
    why = standing(db, alert, known)
    typical = typical_for(site, db, alert, why.row) if shown and why.row is not None else []
    return page(
        "alerts/alert.html", caller=caller, alert=alert, model=model, responsible=responsible, first=first, last=last,
        cite=citations.find, around=around(db, alert, site.clock.now()),
        examples=rows, told=headlines.last_announced(alert), incident=alert_store.incident(db, alert.incident_id),
        others=[a for a in alert_store.alerts_of_incident(db, alert.incident_id) if a.id != alert.id],
        timeline=alert_store.notes(db, alert.incident_id), next_step=next_step(alert.monitor, alert.metric),
        quiet=quiet_reason(db, alert, site.clock.now()), why=why, typical=typical,
        why_before=[row for row in known if row is not why.row],
        flips=[(row, flips_for(caller, row.document)) for row in retrain_store.flips_of_alert(db, alert.id)],
        causes=[(row, causes_for(caller, row.document)) for row in monitor_store.fairness_causes(db, alert.id)],
    )  # fmt: skip
