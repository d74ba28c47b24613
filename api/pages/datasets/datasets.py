"""The list of datasets: of all models that the caller may see, or of one."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb
from api.http.reach import Reach, seen_ids
from api.pages.datasets.store import datasets
from api.pages.listing import Filter, Listing, choice
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store

router = APIRouter(route_class=PageRoute, include_in_schema=False)
ROLES: Final = ("train", "eval", "holdout", "reference", "golden")
DATASETS: Final = Listing(
    filters=(
        choice("role", "Role", ROLES, many=True),
        Filter("made", "Made by", "choice", (("registered", "a person, registered"), ("curated", "a run, chosen"))),
        Filter("name", "Name or digest has"), Filter("since", "From", "day"), Filter("until", "Until", "day"),
    ),
    sorts=("created", "model", "role", "rows", "name"), default="-created",
)  # fmt: skip


@router.get("/datasets")
def all_datasets(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], db: ReadDb, request: Request
) -> HTMLResponse:
    names = [row.name for row in store.models(db) if caller.sees(row.name)]
    model = Filter("model", "Model", "choice", tuple((name, name) for name in names))
    return _shown(caller, db, request, replace(DATASETS, filters=(model, *DATASETS.filters)), None)


@router.get("/models/{name}/datasets")
def datasets_of_model(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, db: ReadDb, request: Request
) -> HTMLResponse:
    return _shown(caller, db, request, DATASETS, store.model(db, name).name)


def _shown(caller: Caller, db: Session, request: Request, listing: Listing, model: str | None) -> HTMLResponse:
    asked = listing.asked(request)
    rows, total = datasets(db, asked, seen_ids(db, caller, model))
    return page("datasets/datasets.html", caller=caller, listed=asked.listed(rows, total), model=model)
