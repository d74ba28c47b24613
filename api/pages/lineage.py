"""The page of what a model's things were made from, with the look-up of what an event ended up in."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep, StorableText
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store as monitored

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/models/{name}/lineage")
def lineage_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb,
    of: Annotated[StorableText | None, Query(max_length=1000)] = None,
    direction: Literal["sources", "results", "both"] = "both",
    event: Annotated[StorableText | None, Query(max_length=200)] = None,
) -> HTMLResponse:  # fmt: skip
    from reports.lineage.events import ended_up_in  # polars is slow to import
    from reports.lineage.graph import graph_of

    model = monitored.model(db, name)
    whole = graph_of(db, model)
    shown = whole if not of else whole.around(of, up=direction != "results", down=direction != "sources")
    document = shown.document
    names = {one["node"]: f"{one['kind']} {one['name']}" for one in whole.document["nodes"]}
    sources: dict[str, list[tuple[str, str, str]]] = {}
    for edge in document["edges"]:
        sources.setdefault(edge["to"], []).append((edge["role"], edge["from"], names.get(edge["from"], "")))
    may = caller.may(Permission.EVENTS_READ)
    found = ended_up_in(site, db, model, event_id=event) if event and may else None
    return page(
        "lineage.html", caller=caller, model=model, nodes=document["nodes"][::-1], sources=sources, of=of,
        direction=direction, event=event, found=found, may=may,
    )  # fmt: skip
