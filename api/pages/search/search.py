"""The page of the search: what was found, by kind, newest first."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep, StorableText
from api.http.reach import Reach
from api.pages.render import PageRoute, page
from api.pages.search.find import MAX_CHARS, MIN_CHARS, Group, found
from governance.access.roles import Caller, Permission

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/search")
def search_page(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb,
    q: Annotated[StorableText, Query(max_length=MAX_CHARS)] = "",
) -> HTMLResponse:  # fmt: skip
    asked = " ".join(q.split())
    groups: list[Group] = found(site, db, caller, asked) if len(asked) >= MIN_CHARS else []
    return page(
        "search/search.html", caller=caller, asked=asked, short=0 < len(asked) < MIN_CHARS,
        groups=[g for g in groups if g.hits], searched=[g.words for g in groups],
    )  # fmt: skip
