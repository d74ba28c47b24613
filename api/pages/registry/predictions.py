"""The answers of one version: which decisions a rollback concerns."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store as monitored
from retrain import store

router = APIRouter(route_class=PageRoute, include_in_schema=False)
SHOWN = 100


@router.get("/models/{name}/versions/{version}/predictions")
def predictions_page(
    caller: Annotated[Caller, requires(Permission.EVENTS_READ)], name: str, version: str, site: SiteDep, db: ReadDb,
    cursor: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> HTMLResponse:  # fmt: skip
    from retrain.registry.predictions import page_of, predictions_of

    row = store.version(db, monitored.model(db, name).id, version, name)
    counted = predictions_of(site, name, row.version, row.promoted_at, row.retired_at)
    found, after = page_of(site, name, row.version, after=cursor - 1, limit=SHOWN)
    return page(
        "registry/predictions.html", caller=caller, model=name, row=row, counted=counted, found=found,
        following=None if after is None else after + 1, cursor=cursor,
    )  # fmt: skip
