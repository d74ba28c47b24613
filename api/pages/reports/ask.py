"""A report that somebody asks for on a page."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from api.http.auth import requires
from api.http.deps import Db, SiteDep
from api.pages.forms import Form, day_of
from api.pages.render import PageRoute
from core.clock import days_period
from governance.access.roles import Caller, Permission
from reports import service as reports

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/models/{name}/reports")
def request_report(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE)], name: str, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    start, end = days_period(day_of(form, "from"), day_of(form, "to"))
    row = reports.request(site, db, name, "audit", start, end, [], caller.name)
    return RedirectResponse(f"/reports/{row.id}", 303)
