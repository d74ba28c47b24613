"""The list of runs: of all models that the caller may see, or of one."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb
from api.http.reach import Reach, seen_ids
from api.pages.listing import Filter, Listing, choice
from api.pages.render import PageRoute, page
from api.pages.runs.progress import ACTIVE
from api.pages.runs.store import runs
from governance.access.roles import Caller, Permission
from monitor import store
from retrain.tables import RUN_STATES

router = APIRouter(route_class=PageRoute, include_in_schema=False)
CAUSES: Final = ("window", "schedule", "hours", "manual", "request")
RUNS: Final = Listing(
    filters=(
        choice("state", "State", RUN_STATES, many=True), choice("cause", "Started by", CAUSES),
        Filter("version", "Version"), Filter("since", "From", "day"), Filter("until", "Until", "day"),
    ),
    sorts=("created", "finished", "model", "state"), default="-created",
)  # fmt: skip


def of_models(listing: Listing, names: list[str]) -> Listing:
    """The list with a filter of the models that the caller may see."""
    return replace(listing, filters=(choice_of(names), *listing.filters))


def choice_of(names: list[str]) -> Filter:
    return Filter("model", "Model", "choice", tuple((name, name) for name in names))


@router.get("/runs")
def all_runs(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], db: ReadDb, request: Request
) -> HTMLResponse:
    names = [row.name for row in store.models(db) if caller.sees(row.name)]
    return _shown(caller, db, request, of_models(RUNS, names), None)


@router.get("/models/{name}/runs")
def runs_of_model(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, db: ReadDb, request: Request
) -> HTMLResponse:
    return _shown(caller, db, request, RUNS, store.model(db, name).name)


def _shown(caller: Caller, db: Session, request: Request, listing: Listing, model: str | None) -> HTMLResponse:
    asked = listing.asked(request)
    rows, total = runs(db, asked, seen_ids(db, caller, model))
    return page(
        "runs/run_list.html", caller=caller, listed=asked.listed(rows, total), model=model, active=ACTIVE,
        busy=any(row.run.state in ACTIVE for row in rows),
        waiting=sum(1 for row in rows if row.run.state == "awaiting_approval"),
    )  # fmt: skip
