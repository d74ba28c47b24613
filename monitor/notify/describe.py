"""Describe an alert for its message: since when, what it costs, what else happened then."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from core.figures import figure
from monitor import store
from monitor.harm import KpiHarm, change_words, harm
from monitor.notify import deploys, maintenance
from monitor.tables import ESTIMATED, Window


def consequences(db: Session, window: Window, since: datetime) -> str:
    """The KPIs of a window whose value alarmed, or else whose estimate did, beside their values before; empty if none.

    An estimate alarms only if its whole band lies beyond the limit and no outcome contradicts it.

    Args:
        since: start of the episode, in the time of the events.
    """
    found: dict[str, str] = {}
    known = {k.metric: k for k in harm(db, window, since, None).kpis if not k.column}
    measured = [m for m in store.window_measurements(db, window.id) if m.alarm and m.segment in ("", ESTIMATED)]
    for monitor, how in (("kpi", "is"), ("estimate", "is estimated at")):
        for m in measured:
            if m.monitor == monitor and m.value is not None and m.limit is not None:
                was = _was(known.get(m.metric))
                said = f"{m.metric.replace('_', ' ')} {how} {figure(m.value)}{was}, limit {figure(m.limit)}"
                found.setdefault(m.metric, said)
    return "; ".join(found.values())


def _was(known: KpiHarm | None) -> str:
    if known is None or known.before is None or known.during is None:
        return ""
    return f", was {figure(known.before.value)} ({change_words(known)})"


def context(db: Session, model_id: UUID, window: Window | None, since: datetime, now: datetime) -> Iterator[str]:
    """A deploy shortly before, and maintenance meanwhile.

    Args:
        window: that alarmed first; None for an alert of the clock.
        since: start of the newest episode, in the time of the events.
    """
    within = window is not None and window.from_ts <= since < window.to_ts
    until = window.to_ts if window is not None and within else max(since, min(since + deploys.LOOK_BACK, now))
    deploy = deploys.suspect(db, model_id, since, until)
    if deploy is not None:
        if deploy.at <= since:
            yield f"version {deploy.version} was deployed {span(since - deploy.at)} before"
        else:
            yield f"version {deploy.version} was deployed {moment(deploy.at)}, when it began"
    for row in maintenance.within(db, model_id, since, until):
        yield f"maintenance ({row.reason}) was declared from {moment(row.from_ts)} to {moment(row.to_ts)}"


def span(length: timedelta) -> str:
    """A length of time in its largest unit."""
    minutes = length.total_seconds() / 60
    if minutes < 90:
        return f"{max(1, round(minutes))} min"
    return f"{round(minutes / 60)} h" if minutes < 48 * 60 else f"{round(minutes / 1440)} days"


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%-d %b %Y %H:%M UTC")
