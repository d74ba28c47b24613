"""What waits for one person: decisions they may take, open alerts of theirs or of nobody, reports they asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from api.pages.overview import store
from governance.access.roles import Caller, Permission
from monitor.site import Site
from monitor.tables import Alert
from reports.facts.waiting import Inbox, inbox_of
from reports.tables import Report

FEW: Final = 5  # of each kind; the lists have the others
REPORTS_LAST: Final = timedelta(days=7)  # a finished report is told for this long


@dataclass(frozen=True, slots=True)
class Waits:
    """`alerts`: with model and owner; `open_alerts` counts them all. `reports`: with their model."""

    inbox: Inbox
    alerts: Sequence[tuple[Alert, str, str | None]]
    open_alerts: int
    reports: Sequence[tuple[Report, str]]

    @property
    def anything(self) -> bool:
        return bool(self.inbox.mine or self.alerts or self.reports)


def waits_for(site: Site, db: Session, caller: Caller, ids: Sequence[UUID] | None) -> Waits:
    """What waits for the caller; `ids`: the models of their scope, None for all."""
    who = {name for name in (caller.name, caller.owner, caller.person) if name}
    alerts, count = store.alerts_of_person(db, who, ids, FEW) if caller.may(Permission.ALERT_WRITE) else ([], 0)
    since = site.clock.now() - REPORTS_LAST
    return Waits(inbox_of(site, db, caller), alerts, count, store.reports_of_person(db, who, ids, since, FEW))
