"""Which channels an announcement goes to, and when each may be used."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Final
from zoneinfo import ZoneInfo

from core import zones
from core.logs import logger
from core.settings import RouteSettings, Settings, days_of, hours_of
from monitor.notify.announcement import SEVERITY_RANK, Announcement
from monitor.notify.channels import Channel, channels
from monitor.spec.notify import Notify

MONDAY: Final = 0
log = logger("monitor.notify.routing")


def chosen(settings: Settings, item: Announcement, notify: Notify | None) -> list[Channel]:
    """The channels that an announcement goes to.

    Args:
        notify: of the model's spec. If none of the channels it names is set on this installation, all of them are
            asked: a message at the wrong place is better than none.
    """
    known = {name: one for name, one in channels(settings).items() if not one.keeps}
    if notify is not None and SEVERITY_RANK[item.severity] < SEVERITY_RANK[notify.severity]:
        return []
    named = list(known)
    if notify is not None and notify.channels is not None:
        named = [name for name in notify.channels if name in known]
        if not named and known:
            log.warning("no channel of the spec is set; all are used", model=item.model, channels=notify.channels)
            named = list(known)
    return [known[name] for name in named if _fits(known[name].route, item)]


def _fits(route: RouteSettings, item: Announcement) -> bool:
    if SEVERITY_RANK[item.severity] < SEVERITY_RANK[route.severity]:
        return False
    if item.model is None:  # about the installation itself: everybody who could be concerned
        return True
    return _matches(route.models, item.model) and _matches(route.owners, item.owner)


def _matches(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def next_open(route: RouteSettings, at: datetime) -> datetime:
    """The first time from `at` on at which a channel may be used."""
    hours = hours_of(route.hours) if route.hours else None
    days = days_of(route.days) if route.days else None
    if hours is None and days is None:
        return at
    return zones.next_open(hours, days, ZoneInfo(route.zone), at)


def next_digest(route: RouteSettings, hour: int, at: datetime) -> datetime:
    """When the next digest of a route is sent: at an hour of its zone, every day or on Mondays."""
    zone = ZoneInfo(route.zone)
    day = at.astimezone(zone).date()
    while True:
        due = datetime.combine(day, time(hour), zone).astimezone(UTC)
        if due > at and (route.digest == "daily" or day.weekday() == MONDAY):
            return due
        day += timedelta(days=1)
