"""The page of a window."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.protected import GROUPS
from api.pages.models import store as pages_store
from api.pages.models.columns import base_of
from api.pages.models.distribution_chart import distribution_chart, distribution_rows, distribution_words, height_of
from api.pages.render import PageRoute, page
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.service import CurrentSpec, in_force, spec_for
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Window
from monitor.upkeep.protected import protected_columns
from reports import store
from reports.charts.records import DataTable, Distribution
from reports.facts.distributions import changed_columns, distributions

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]


DECIDING: Final = ("p_value", "effect")  # what a drift verdict rests on
MOST_LINES: Final = 500  # measurements of a table; the list of columns pages through more


@router.get("/windows/{window_id}")
def window_page(caller: Reader, window_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    window = store.window(db, window_id)
    if window is None:
        raise NotFoundError(f"window {window_id} does not exist", window=str(window_id))
    current = in_force(site, db, store.model_of(db, window.model_id))
    measured = monitor_store.window_measurements(db, window_id)
    order = ("kpi", "estimate", "fairness", "concept", "attribution", "outcomes", "quality", "volume", "drift")
    deciding = [m for m in measured if m.monitor != "drift" or m.metric in DECIDING]
    deciding.sort(key=lambda m: (order.index(m.monitor), m.metric != "p_value"))
    others = [m for m in measured if m.monitor == "drift" and m.metric not in DECIDING]
    charts, why = _changed(site, db, caller, current, window)
    before, after = pages_store.neighbours(db, window)
    visible = window.decision.get("visible") or []
    return page(
        "models/window.html", caller=caller, window=window, model=current.model,
        deciding=deciding[:MOST_LINES], others=others[:MOST_LINES], all_deciding=len(deciding), all_others=len(others),
        visible=visible[:MOST_LINES], all_visible=len(visible), before=before, after=after,
        charts=charts, why_no_charts=why, words=distribution_words, height=height_of,
        later=monitor_store.later_verdicts(db, [window_id]).get(window_id, []),
        changed=window.decision.get("verdict") == "drift",
        alerts=[alert for alert, alarms in monitor_store.alerts_of_window(db, window_id) if alarms],
        spec=parse_spec(monitor_store.spec_revision(db, window.model_id, window.spec_revision).document),
    )  # fmt: skip


def _changed(
    site: Site, db: Session, caller: Caller, current: CurrentSpec, window: Window
) -> tuple[list[tuple[Distribution, Any, DataTable]], str | None]:
    """Charts of the columns that changed, each with its table. Levels may quote people: they need the right to rows."""
    reference, columns = store.baseline(db, window.baseline_id), changed_columns(window)
    if reference is None or not columns:
        return [], None
    if not caller.may(Permission.EVENTS_READ):
        return [], "your role does not read single events"
    hidden = set() if caller.may(Permission.PROTECTED_READ) else protected_columns(site, db, current.model)
    groups = {name for name in hidden if name in current.spec.columns and current.spec.columns[name].type in GROUPS}
    shown = [name for name in columns if base_of(current.spec, name) not in hidden - groups]
    if not shown:
        return [], "the columns that changed are protected, and your role does not read values of those"
    spec = spec_for(site, db, current.model, window.spec_revision, reference).spec
    found, why = distributions(site, db, spec, window, reference, shown)
    return [(d, distribution_chart(d), distribution_rows(d)) for d in found], why
