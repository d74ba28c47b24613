"""The page of a window."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.drawn import drawn
from api.pages.render import PageRoute, page
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import ReferenceRow, Window
from reports import store
from reports.charts.data_table import distribution_table
from reports.charts.records import DataTable
from reports.charts.svg import distribution_svg
from reports.facts.distributions import changed_columns, distributions

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]


DECIDING = ("p_value", "effect")  # what a drift verdict rests on
# what a drift verdict rests on
WIDTHS = (520, 358)  # of a chart on a wide page and on a telephone


@router.get("/windows/{window_id}")
def window_page(caller: Reader, window_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    window = store.window(db, window_id)
    if window is None:
        raise NotFoundError(f"window {window_id} does not exist", window=str(window_id))
    model = store.model_of(db, window.model_id)
    measured = monitor_store.window_measurements(db, window_id)
    order = ("kpi", "estimate", "fairness", "concept", "attribution", "outcomes", "quality", "volume", "drift")
    deciding = [m for m in measured if m.monitor != "drift" or m.metric in DECIDING]
    deciding.sort(key=lambda m: (order.index(m.monitor), m.metric != "p_value"))
    others = [m for m in measured if m.monitor == "drift" and m.metric not in DECIDING]
    drawn, why = _changed(site, caller, model.name, window, store.baseline(db, window.baseline_id))
    return page(
        "models/window.html",
        caller=caller,
        window=window,
        model=model,
        deciding=deciding,
        others=others,
        charts=drawn,
        why_no_charts=why,
        later=monitor_store.later_verdicts(db, [window_id]).get(window_id, []),
        changed=window.decision.get("verdict") == "drift",
        spec=parse_spec(monitor_store.spec_revision(db, window.model_id, window.spec_revision).document),
    )


def _changed(
    site: Site, caller: Caller, model: str, window: Window, reference: ReferenceRow | None
) -> tuple[list[tuple[Markup, Markup, DataTable]], str | None]:
    """Charts of the columns that changed, each with its table. Levels may quote people: they need the right to rows."""
    columns = changed_columns(window)
    if reference is None or not columns:
        return [], None
    if not caller.may(Permission.EVENTS_READ):
        return [], "your role does not read single events"
    found, why = distributions(site, model, window, reference, columns)
    wide, narrow = ([drawn(distribution_svg(d, width=w)) for d in found] for w in WIDTHS)
    return list(zip(wide, narrow, map(distribution_table, found), strict=True)), why
