"""Bring alerts in line with a window's readings: open, continue, withdraw; one message for each episode."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.jobs import ConfirmJob
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store
from monitor.alerts.episodes import Look, State, episodes, goes_on, known_before
from monitor.detect.verdicts import JUDGED_VERDICTS
from monitor.site import Site
from monitor.tables import Alert, AlertWindow, Measurement, Model, Window

Key = tuple[str, str]  # monitor and metric


@dataclass(frozen=True, slots=True)
class Alarm:
    """One monitor that tripped in one window."""

    monitor: str
    metric: str
    column: str
    value: float | None
    limit: float | None
    sentence: str


def follow(
    site: Site, db: Session, model: Model, window: Window, alarms: Sequence[Alarm], looked_at: Collection[Key], why: str
) -> None:
    """Bring alerts in line with what a window says now: open one, go on with it, end an episode, take an alarm back.

    Args:
        alarms: what trips in the window now. The first of a monitor and metric speaks for it.
        looked_at: monitors and metrics that were just computed, with or without alarm.
        why: what made the window be looked at again, for an alarm that vanished.
    """
    first: dict[Key, Alarm] = {}
    for alarm in alarms:
        first.setdefault((alarm.monitor, alarm.metric), alarm)
    told = {(alert.monitor, alert.metric): (alert, alarms) for alert, alarms in store.alerts_of_window(db, window.id)}
    for key, alarm in first.items():
        alert, alarming = told.get(key, (None, False))
        if alarming:
            continue
        if alert is None or alert.state == "resolved":
            alert = store.unresolved_alert(db, model.id, *key) or _opened(site, db, model, window, alarm)
        db.merge(AlertWindow(alert_id=alert.id, window_id=window.id, alarms=True))
    gone = [alert for key, (alert, alarming) in told.items() if alarming and key in looked_at and key not in first]
    for alert in gone:
        _take_back(site, db, model, window, alert, why)
    db.flush()
    for alert in {a.id: a for a in (*store.unresolved_alerts(db, model.id), *gone)}.values():
        if (alert.monitor, alert.metric) in looked_at:
            _retell(site, db, model, alert, first.get((alert.monitor, alert.metric)))


def state_of(measured: Measurement) -> State:
    """Whether one number of a window alarmed, was quiet, or could not be judged."""
    if measured.alarm:
        return "alarm"
    match measured.monitor:
        case "drift":
            judged = measured.details.get("verdict") in JUDGED_VERDICTS
        case "quality":
            judged = measured.details.get("adjusted_p") is not None
        case "volume":
            judged = measured.details.get("p") is not None
        case _:
            judged = measured.value is not None
    return "quiet" if judged else "unjudged"


def _opened(site: Site, db: Session, model: Model, window: Window, alarm: Alarm) -> Alert:
    now = site.clock.now()
    alert = Alert(
        model_id=model.id, monitor=alarm.monitor, metric=alarm.metric, column=alarm.column, value=alarm.value,
        limit=alarm.limit, sentence=alarm.sentence, first_window_id=window.id, last_window_id=window.id, opened_at=now,
    )  # fmt: skip
    db.add(alert)
    db.flush()
    append_entry(
        db, kind="alert.opened", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=now,
        body={
            "alert": alert.id, "monitor": alarm.monitor, "metric": alarm.metric, "column": alarm.column,
            "value": alarm.value, "limit": alarm.limit, "window": window.id, "spec_revision": window.spec_revision,
            "events_version": window.events_version,
        },
    )  # fmt: skip
    if alarm.monitor == "drift":
        _ask_to_confirm(db, alert, window.id, now)
    return alert


def _ask_to_confirm(db: Session, alert: Alert, window: UUID, now: datetime) -> None:
    key = f"confirm:{alert.id}:{window}"
    queue.enqueue(db, ConfirmJob(alert_id=alert.id), now=now, dedupe_key=key)


def told_last(alert: Alert) -> Mapping[str, Any] | None:
    """The episode that people were told of last: the alert's sentence and its confirmation are of its first window."""
    told = [episode for episode in alert.episodes if not episode.get("withdrawn")]
    return max(told, key=lambda e: (e["told_at"], e["from_ts"]), default=None)


def _take_back(site: Site, db: Session, model: Model, window: Window, alert: Alert, why: str) -> None:
    """A window that was computed again alarms no longer. The alert stays for a person to resolve, and says so."""
    db.merge(AlertWindow(alert_id=alert.id, window_id=window.id, alarms=False))
    alert.withdrawn_windows += 1
    append_entry(
        db, kind="alert.withdrawn", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=site.clock.now(),
        body={
            "alert": alert.id, "monitor": alert.monitor, "metric": alert.metric, "window": window.id, "reason": why,
            "events_version": window.events_version,
        },
    )  # fmt: skip


def _retell(site: Site, db: Session, model: Model, alert: Alert, alarm: Alarm | None) -> None:
    """Compute an alert's episodes from its windows, and tell of those nobody was told of yet."""
    now = site.clock.now()
    mine = {row.window_id: row.alarms for row in store.alert_windows(db, alert.id)}
    alarming = {window for window, alarms in mine.items() if alarms}
    looks = _looks(db, alert, mine, alarming)
    found = episodes(looks)
    before = [e for e in alert.episodes if not e.get("withdrawn")]
    running = any(e["ended"] is None for e in before)
    documents = [
        e if e.get("withdrawn") or goes_on(e, found, looks) else e | {"withdrawn": True} for e in alert.episodes
    ]
    documents = [e for e in documents if e.get("withdrawn")]
    for episode in found:
        was = known_before(episode, before, looks)
        if was is not None:
            kept = {k: was[k] for k in _TOLD if k in was}
        else:
            kept = {"told_at": now.isoformat(), "sentence": alarm.sentence if alarm else alert.sentence}
            if alert.episodes:
                _tell_again(site, db, model, alert, episode.scale, episode.first_window, running=running)
                if alarm is not None:
                    alert.sentence, alert.column = alarm.sentence, alarm.column
                    alert.value, alert.limit = alarm.value, alarm.limit
        documents.append(episode.document(**kept))
    alert.episodes = sorted(documents, key=lambda e: e["from_ts"])
    alert.windows = len(alarming)
    if alarming:
        ordered = [look.window for look in sorted(looks, key=lambda x: x.to_ts) if look.window in alarming]
        alert.first_window_id, alert.last_window_id, alert.withdrawn_at = ordered[0], ordered[-1], None
    else:
        alert.withdrawn_at = alert.withdrawn_at or now


_TOLD: Final = ("told_at", "sentence", "acknowledged_at", "acknowledged_by")


def _tell_again(
    site: Site, db: Session, model: Model, alert: Alert, scale: str, window: UUID, *, running: bool
) -> None:
    """Another episode of an alert that nobody resolved: it asks for attention again, unless one was still running.

    What is behind it may be another change than the first time, so the raw rows are looked at again.
    """
    if alert.state == "acknowledged" and not running:
        alert.state, alert.acknowledged_at, alert.acknowledged_by = "open", None, None
    append_entry(
        db, kind="alert.again", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=site.clock.now(),
        body={
            "alert": alert.id, "monitor": alert.monitor, "metric": alert.metric, "scale": scale, "window": window,
            "state": alert.state,
        },
    )  # fmt: skip
    if alert.monitor == "drift":
        if alert.confirmation is not None:
            alert.confirmed_before = [*alert.confirmed_before, alert.confirmation]
        alert.confirmation, alert.confirmation_error = None, None
        _ask_to_confirm(db, alert, window, site.clock.now())


def _looks(db: Session, alert: Alert, mine: Mapping[UUID, bool], alarming: Collection[UUID]) -> list[Look]:
    """What the monitor said of every window from the alert's first on, in order; other alerts' alarms do not count."""
    found: dict[UUID, Look] = {}
    labels = alert.monitor == "concept"  # one stream, whichever windows its labels are shown with
    for window, scale, begin, end, measured in store.looks(db, alert.model_id, alert.monitor, alert.metric, list(mine)):
        state = state_of(measured)
        if window in alarming:
            state = "alarm"
        elif state == "alarm":
            state = "unjudged"
        if window not in found or (found[window].state == "unjudged" and state == "quiet"):
            found[window] = Look(window, "labels" if labels else scale, begin, end, state)
        timed = not scale.endswith(" rows")
    looks = list(found.values())
    return sorted(looks, key=lambda look: look.to_ts) if labels and timed else looks
