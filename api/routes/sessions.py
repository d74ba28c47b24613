"""Routes for page sessions: who is signed in to the pages, and ending a session at once."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api.http.auth import requires, session_key
from api.http.deps import Db, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach
from governance.access.rights import rights_of
from governance.access.roles import Caller, Permission
from governance.access.sessions import end_session_of, over_because, sessions
from governance.tables import Person

router = APIRouter(prefix="/api/v1/sessions", tags=["keys"])
Reader = Annotated[Caller, requires(Permission.ACCESS_READ, Reach.ALL)]
Manager = Annotated[Caller, requires(Permission.KEY_MANAGE, Reach.ALL)]


class EndedOut(Out):
    id: UUID
    prefix: str | None
    person: str | None
    opened_at: datetime
    seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_because: str | None


class SessionOut(EndedOut):
    name: str
    state: Literal["open", "over"]


@router.get("")
def list_sessions(
    _: Reader, site: SiteDep, db: ReadDb, request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Page[SessionOut]:
    """The newest sessions; `seen_at` is exact to a minute."""
    now, idle = site.clock.now(), timedelta(minutes=site.settings.server.session_idle_minutes)
    rights, shown = rights_of(db), []
    for row, owner in sessions(db, limit):
        because = over_because(row, owner, rights, session_key(request, owner), now, idle)
        ended = EndedOut.of(row).model_dump() | {"ended_because": because}
        shown.append(
            SessionOut(
                name=owner.id if isinstance(owner, Person) else owner.name, state="over" if because else "open", **ended
            )
        )
    return Page[SessionOut].of(shown)


@router.delete("/{session}")
def end(caller: Manager, session: UUID, site: SiteDep, db: Db) -> EndedOut:
    return EndedOut.of(end_session_of(db, session, caller.name, site.clock.now()))
