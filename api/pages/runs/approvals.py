"""Everything that waits for people, in one place: what it is, since when, what a decision does, and who may take it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep, StorableText
from api.http.reach import Reach
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store
from reports.facts.waiting import KINDS, inbox_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/approvals")
def approvals(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb,
    model: Annotated[StorableText | None, Query(max_length=200)] = None,
    kind: Literal["run", "limits", "change", "stop", ""] = "",
    show: Literal["all", "mine"] = "all",
) -> HTMLResponse:  # fmt: skip
    wanted = store.model(db, model).name if model else None
    inbox = inbox_of(site, db, caller, model=wanted)
    items = [one for one in inbox.items if kind in ("", one.kind) and (show == "all" or one.mine)]
    return page(
        "runs/approvals.html", caller=caller, inbox=inbox, items=items, kinds=KINDS, kind=kind, show=show, model=wanted,
        models=[row.name for row in store.models(db) if caller.sees(row.name)], now=site.clock.now(),
    )  # fmt: skip
