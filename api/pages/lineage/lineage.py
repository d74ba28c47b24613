"""The page of what a model's things were made from, with the look-up of what an event ended up in."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.lineage.drawing import drawn
from api.pages.listing import Asked, Filter, Listing, choice
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor import store as monitored
from monitor.tables import Model
from reports.errors import NodeNotFoundError
from reports.lineage.graph import Graph, graph_of

_LONG: Final = re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b([0-9a-f]{8})[0-9a-f]{56}\b")
router = APIRouter(route_class=PageRoute, include_in_schema=False)
NEWEST: Final = 40  # runs, with what they used and made, unless all are asked for
KINDS: Final = ("events", "base_model", "dataset", "run", "version", "report", "explanation")
NODES: Final = Listing(
    filters=(
        Filter("of", "Node"),
        Filter("direction", "Show", "choice", (("sources", "what it was made from"), ("results", "what was made of it"),
                                               ("both", "both"))),
        Filter("depth", "Steps", "choice", tuple((str(n), str(n)) for n in (1, 2, 3, 5, 10))),
        choice("kind", "Kind", KINDS, many=True),
    ),
    sorts=("at",), default="-at", size=100, kept=("event", "runs"),
)  # fmt: skip


@router.get("/models/{name}/lineage")
def lineage_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb, request: Request
) -> HTMLResponse:
    from reports.lineage.events import ended_up_in  # polars is slow to import

    asked = NODES.asked(request)
    model, of, event = monitored.model(db, name), asked.get("of"), next(iter(asked.raw.get("event", ())), None)
    graph, focus = _graph(db, model, asked, whole=asked.raw.get("runs") == ["all"])
    document = graph.document
    kinds = asked.get("kind")
    nodes = [one for one in document["nodes"] if not kinds or one["kind"] in kinds]
    every = {one["node"]: one for one in document["nodes"]}
    names = {key: _shortened(one["name"]) for key, one in every.items()}
    links = {key: _link(name, one, focus) for key, one in every.items()}
    here = {one["node"] for one in nodes}
    edges = [edge for edge in document["edges"] if edge["from"] in here and edge["to"] in here]
    sources: dict[str, list[tuple[str, str, str]]] = {}
    for edge in document["edges"]:
        sources.setdefault(edge["to"], []).append(_source(edge["role"], edge["from"], every.get(edge["from"])))
    may = caller.may(Permission.EVENTS_READ)
    rows = nodes[::-1][asked.offset : asked.offset + asked.limit]
    return page(
        "lineage/lineage.html", caller=caller, model=model, sources=sources, of=of, names=names, event=event,
        listed=asked.listed(rows, len(nodes)), things={key: _thing(name, one) for key, one in every.items()},
        picture=drawn(nodes, edges, names, links, focus) if nodes else None, bounded=graph.bounded, newest=NEWEST,
        found=ended_up_in(site, db, model, event_id=event) if event and may else None, may=may, focus=every.get(focus),
        differs=sum(1 for one in nodes if one["standing"] == "differs"),
    )  # fmt: skip


def _graph(db: Session, model: Model, asked: Asked, *, whole: bool) -> tuple[Graph, str]:
    """The part of the graph that is asked for, and the digest of the node that it is about, empty without one.

    Raises:
        NodeNotFoundError: there is no such node.
    """
    of, direction = asked.get("of"), asked.get("direction") or "both"
    graph = graph_of(db, model, None if whole else NEWEST)
    if of is None:
        return graph, ""
    try:
        focus = graph.find(of)
    except NodeNotFoundError:
        if not graph.bounded:
            raise
        graph = graph_of(db, model)  # an older one
        focus = graph.find(of)
    depth = asked.get("depth")
    return graph.around(
        focus, up=direction != "results", down=direction != "sources", depth=None if depth is None else int(depth)
    ), focus


def _link(model: str, node: Mapping[str, Any], focus: str) -> str:
    """Where a node of the picture leads: to its surroundings, and from there to its own page."""
    own = _thing(model, node)
    if own is not None and node["node"] == focus:
        return own
    return f"/models/{model}/lineage?of={quote(node['node'], safe='')}"


def _thing(model: str, node: Mapping[str, Any]) -> str | None:
    """The page of a thing; None of one that has none of its own."""
    match node["kind"]:
        case "run":
            return f"/runs/{node['name']}"
        case "version":
            return f"/models/{model}/versions/{quote(node['name'], safe='')}"
        case "dataset":
            return f"/datasets/{node['id']}"
        case "report":
            return f"/api/v1/reports/{node['name']}.pdf"
        case "events":
            return f"/models/{model}"
    return None


def _shortened(name: str) -> str:
    """Ids and digests by their first eight characters, as other pages show them."""
    return _LONG.sub(lambda found: found[1] or found[3], name)


def _source(role: str, digest: str, node: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """How a source was used, its digest, and its kind and name; the kind is left out where the role says it."""
    words = role.replace("_", " ")
    if node is None:
        return words, digest, digest
    kind, name = node["kind"].replace("_", " "), _shortened(node["name"])
    return words, digest, name if words.endswith(kind) else f"{kind} {name}"
