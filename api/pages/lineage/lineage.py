"""The page of what a model's things were made from, with the look-up of what an event ended up in."""

import re
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep, StorableText
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store as monitored

_LONG: Final = re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b([0-9a-f]{8})[0-9a-f]{56}\b")
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
    by_digest = {one["node"]: one for one in whole.document["nodes"]}
    sources: dict[str, list[tuple[str, str, str]]] = {}
    for edge in document["edges"]:
        sources.setdefault(edge["to"], []).append(_source(edge["role"], edge["from"], by_digest.get(edge["from"])))
    may = caller.may(Permission.EVENTS_READ)
    found = ended_up_in(site, db, model, event_id=event) if event and may else None
    return page(
        "lineage/lineage.html", caller=caller, model=model, sources=sources, of=of, direction=direction, event=event,
        nodes=[one | {"shown": _shortened(one["name"])} for one in document["nodes"][::-1]], found=found, may=may,
    )  # fmt: skip


def _shortened(name: str) -> str:
    """Ids and digests by their first eight characters, as other pages show them."""
    return _LONG.sub(lambda found: found[1] or found[3], name)


def _source(role: str, digest: str, node: dict[str, Any] | None) -> tuple[str, str, str]:
    """How a source was used, its digest, and its kind and name; the kind is left out where the role says it."""
    words = role.replace("_", " ")
    if node is None:
        return words, digest, digest
    kind, name = node["kind"].replace("_", " "), _shortened(node["name"])
    return words, digest, name if words.endswith(kind) else f"{kind} {name}"
