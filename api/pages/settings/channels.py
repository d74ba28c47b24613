"""The page of channels: what each receives, a test button, and messages that were not delivered."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from monitor.notify import deliver, maintenance, outbox
from monitor.notify.channels import channels
from monitor.notify.outcome import Outcome
from monitor.site import Site

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ, Reach.ALL)]
Worker = Annotated[Caller, requires(Permission.ALERT_WRITE, Reach.ALL)]
SHOWN = 50  # messages in each list


@router.get("/channels")
def channels_page(caller: Reader, site: SiteDep, db: ReadDb) -> HTMLResponse:
    return _page(site, db, caller)


@router.post("/channels/{name}/test")
def send_test(caller: Worker, name: str, site: SiteDep) -> HTMLResponse:
    outcome = deliver.send_test(site, name, caller.name)
    with site.database.read() as db:  # opened after the test, which may take a while
        return _page(site, db, caller, tested=(name, outcome))


@router.post("/outbox/{message_id}/retry")
def retry(
    _: Annotated[Caller, requires(Permission.ALERT_WRITE)], message_id: UUID, site: SiteDep, db: Db
) -> RedirectResponse:
    outbox.retry(site, db, message_id)
    return RedirectResponse("/channels#messages", 303)


def _page(site: Site, db: Session, caller: Caller, tested: tuple[str, Outcome] | None = None) -> HTMLResponse:
    return page(
        "settings/channels.html", caller=caller, channels=list(channels(site.settings).values()),
        backlogs=outbox.backlogs(site, db), tested=tested, dead=outbox.listed(db, state="dead", limit=SHOWN),
        retrying=outbox.listed(db, state="retrying", limit=SHOWN), held=outbox.listed(db, state="held", limit=SHOWN),
        maintenance=maintenance.listed(db, since=site.clock.now()), heartbeat=site.settings.heartbeat.url is not None,
    )  # fmt: skip
