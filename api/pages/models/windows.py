"""The list of a model's windows."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.listing import Filter, Listing, choice
from api.pages.models import store
from api.pages.models.summary import head_of
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor.service import current_spec
from monitor.tables import VERDICTS, Window

router = APIRouter(route_class=PageRoute, include_in_schema=False)
SORTS: Final[dict[str, Any]] = {
    "end": Window.to_ts,
    "rows": Window.rows,
    "labels": Window.labels,
    "verdict": Window.verdict,
}


@router.get("/models/{name}/windows")
def windows_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb, request: Request
) -> HTMLResponse:
    current = current_spec(site, db, name)
    model, spec = current.model, current.spec
    lengths = tuple(dict.fromkeys((*spec.monitors.scales, *store.scales(db, model.id))))
    asked = Listing(
        sorts=tuple(SORTS), default="-end",
        filters=(
            choice("verdict", "Verdict", VERDICTS, many=True), choice("length", "Length", lengths),
            Filter("version", "Version"), Filter("since", "From", "day"), Filter("until", "To", "day"),
        ),
    ).asked(request)  # fmt: skip
    rows, count = store.windows(
        db, model.id, _where(asked.values), asked.order(SORTS, Window.to_seq.desc()), asked.limit,
        asked.offset,
    )  # fmt: skip
    ids = [row.id for row in rows]
    return page(
        "models/windows.html", caller=caller, model=model, spec=spec, head=head_of(site, db, current),
        listed=asked.listed(rows, count), later=store.later_verdicts(db, ids),
        kpis=store.kpis_of(db, ids, [rule.metric for rule in spec.monitors.kpi]),
    )  # fmt: skip


def _where(values: Any) -> list[Any]:
    found: list[Any] = []
    if states := values.get("verdict"):
        found.append(Window.verdict.in_(states))
    if length := values.get("length"):
        found.append(Window.scale == length)
    if version := values.get("version"):
        found.append(store.answered_by(version))
    if since := values.get("since"):
        found.append(Window.to_ts > datetime.combine(since, time(), UTC))
    if (until := values.get("until")) and until < date.max:
        found.append(Window.to_ts <= datetime.combine(until + timedelta(days=1), time(), UTC))
    return found
