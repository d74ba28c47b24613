"""What windows are compared with: the reference in force, and those before it."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.models.summary import far_after, head_of
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor.service import current_spec
from monitor.windows.reference_standing import reference_standing
from reports import store

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/models/{name}/reference")
def reference_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb
) -> HTMLResponse:
    current = current_spec(site, db, name)
    return page(
        "models/reference.html", caller=caller, model=current.model, head=head_of(site, db, current),
        reference=reference_standing(site, db, current),
        earlier=store.baselines(db, current.model.id, far_after(site.clock.now()))[-2::-1],
    )  # fmt: skip
