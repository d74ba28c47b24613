"""The registry: versions of all models that the caller may see, or of one."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb
from api.http.reach import Reach, seen_ids
from api.pages.listing import Filter, Listing, choice
from api.pages.registry.store import versions
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store
from retrain.tables import STAGES, ModelVersion

router = APIRouter(route_class=PageRoute, include_in_schema=False)
VERSIONS: Final = Listing(
    filters=(
        choice("stage", "Stage", STAGES, many=True), Filter("base", "Base model has"), Filter("since", "From", "day"),
        Filter("until", "Until", "day"),
    ),
    sorts=("created", "promoted", "retired", "model", "stage"), default="-created",
)  # fmt: skip


@router.get("/registry")
def registry(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], db: ReadDb, request: Request
) -> HTMLResponse:
    names = [row.name for row in store.models(db) if caller.sees(row.name)]
    model = Filter("model", "Model", "choice", tuple((name, name) for name in names))
    return _shown(caller, db, request, replace(VERSIONS, filters=(model, *VERSIONS.filters)), None)


@router.get("/models/{name}/versions")
def versions_of_model(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, db: ReadDb, request: Request
) -> HTMLResponse:
    return _shown(caller, db, request, VERSIONS, store.model(db, name).name)


def _shown(caller: Caller, db: Session, request: Request, listing: Listing, model: str | None) -> HTMLResponse:
    asked, ids = listing.asked(request), seen_ids(db, caller, model)
    rows, total = versions(db, asked, ids)
    champions = select(func.count()).select_from(ModelVersion).where(ModelVersion.stage == "champion")
    if ids is not None:
        champions = champions.where(ModelVersion.model_id.in_(ids))
    return page(
        "registry/versions.html", caller=caller, listed=asked.listed(rows, total), model=model,
        champions=db.scalar(champions) or 0,
    )  # fmt: skip
