"""The overview: what waits, and the models that need attention first. And the list of all models."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.listing import Asked, Filter, Listing, choice
from api.pages.overview.strips import ATTENTION, Standing, standings, strips
from api.pages.overview.waiting import waits_for
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor.alerts import store as alert_store
from monitor.site import Site

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ, Reach.LISTED)]

FIRST: Final = 10  # models of the overview; the list has the others
MODELS: Final = Listing(
    sorts=("attention", "name", "alerts", "created"), default="attention", size=25,
    filters=(Filter("q", "Name contains"), choice("status", "State", tuple(ATTENTION), many=True)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counts:
    """Models by their state."""

    alarm: int
    unknown: int
    ok: int

    @classmethod
    def of(cls, found: Sequence[Standing]) -> "Counts":
        return cls(*(sum(s.status == status for s in found) for status in ATTENTION))

    @property
    def all(self) -> int:
        return self.alarm + self.unknown + self.ok


@router.get("/")
def overview(caller: Reader, site: SiteDep, db: ReadDb, request: Request) -> HTMLResponse:
    found = standings(db, caller.models)
    system = alert_store.unresolved_system_alerts(db) if caller.models is None else []
    if not found:
        url = shlex.quote(str(request.base_url).rstrip("/"))  # the page puts it into commands
        return page("overview/first.html", caller=caller, url=url, system=system)
    ids = None if caller.models is None else [s.model.id for s in found]
    return page(
        "overview/overview.html", caller=caller, system=system, counts=Counts.of(found),
        strips=strips(site, db, found[:FIRST]), waits=waits_for(site, db, caller, ids),
    )  # fmt: skip


@router.get("/models")
def models(caller: Reader, site: SiteDep, db: ReadDb, request: Request) -> HTMLResponse:
    asked = MODELS.asked(request)
    found = standings(db, caller.models)
    wanted = _sorted([s for s in found if _matches(s, asked)], asked)
    shown = wanted[asked.offset : asked.offset + asked.limit]
    return page(
        "overview/models.html", caller=caller, counts=Counts.of(found),
        listed=asked.listed(_strips(site, db, shown), len(wanted)),
    )  # fmt: skip


def _strips(site: Site, db: Session, shown: Sequence[Standing]) -> Sequence[object]:
    return strips(site, db, shown) if shown else []


def _matches(standing: Standing, asked: Asked) -> bool:
    named, states = asked.get("q"), asked.get("status")
    return (named is None or named.lower() in standing.model.name) and (not states or standing.status in states)


def _sorted(found: list[Standing], asked: Asked) -> list[Standing]:
    """In the order asked for; `found` is by attention."""
    match asked.key:
        case "name":
            found.sort(key=lambda s: s.model.name, reverse=asked.descending)
        case "alerts":
            found.sort(key=lambda s: s.alerts.count if s.alerts else 0, reverse=asked.descending)
        case "created":
            found.sort(key=lambda s: s.model.created_at, reverse=asked.descending)
        case _ if asked.descending:
            found.reverse()
    return found
