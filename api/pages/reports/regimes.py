"""Regime packs to read: what each asks for, since when, and which evidence answers it."""

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.reach import Reach
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from reports.regimes.evidence import EVIDENCE
from reports.regimes.packs import pack_of, packs

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ, Reach.SERVICE)]


@router.get("/reports/regimes")
def regimes_page(caller: Reader) -> HTMLResponse:
    return page("reports/regimes.html", caller=caller, packs=list(packs().values()))


@router.get("/reports/regimes/{pack}")
def regime_page(caller: Reader, pack: str) -> HTMLResponse:
    return page("reports/regime.html", caller=caller, pack=pack_of(pack), evidence=EVIDENCE)
