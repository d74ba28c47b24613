"""Everything that waits for people, in one place: what it is, since when, what a decision does, and who may take it."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.listing import Filter, Listing
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store
from reports.facts.waiting import KINDS, MOST, inbox_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
WAITING: Final = Listing(
    filters=(Filter("kind", "What", "choice", tuple(KINDS.items())),
             Filter("show", "Show", "choice", (("mine", "what I can decide"),))),
    sorts=("since",), default="since", size=MOST,
)  # fmt: skip


@router.get("/approvals")
def approvals(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb, request: Request
) -> HTMLResponse:
    names = [row.name for row in store.models(db) if caller.sees(row.name)]
    model = Filter("model", "Model", "choice", tuple((name, name) for name in names))
    asked = replace(WAITING, filters=(model, *WAITING.filters)).asked(request)
    inbox = inbox_of(
        site, db, caller, model=asked.get("model"), kind=asked.get("kind"), most=asked.limit, skip=asked.offset
    )
    items = [one for one in inbox.items if asked.get("show") is None or one.mine]
    return page(
        "runs/approvals.html", caller=caller, inbox=inbox, listed=asked.listed(items, inbox.total), kinds=KINDS,
        model=asked.get("model"),
    )  # fmt: skip
