"""Bring alerts in line with the alarms of a window: open, continue, withdraw; announce each episode once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.jobs import ConfirmJob
from monitor import store
from monitor.alerts import incidents
from monitor.alerts.announce import announce, record
from monitor.alerts.episodes import EvaluatedWindow, WindowState, announced_before, episodes, still_exists
from monitor.detect.verdicts import JUDGED_VERDICTS
from monitor.site import Site
from monitor.tables import Alert, AlertWindow, Measurement, Model, Window

Key = tuple[str, str]  # monitor and metric
Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of one monitor in one window."""

    monitor: str
    metric: str
    column: str
    value: float | None
    limit: float | None
    sentence: str
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class Again:
    """A further episode of an alert, and whether another was running before it."""

    scale: str
    window: UUID
    running: bool


def follow(
    site: Site, db: Session, model: Model, window: Window, alarms: Sequence[Alarm], evaluated: Collection[Key],
    reason: str,
) -> None:  # fmt: skip
    """Bring alerts in line with the alarms of a window: open or continue an alert, end an episode, withdraw an alarm.

    Args:
        alarms: what alarms in the window now. The first alarm of a monitor and metric represents all of them.
        evaluated: monitors and metrics that were just computed, with or without an alarm.
        reason: why the window was evaluated again; recorded with each alarm that is withdrawn.
    """
    first: dict[Key, Alarm] = {}
    for alarm in alarms:
        first.setdefault((alarm.monitor, alarm.metric), alarm)
    known = {(alert.monitor, alert.metric): (alert, alarms) for alert, alarms in store.alerts_of_window(db, window.id)}
    opened: set[UUID] = set()
    for key, alarm in first.items():
        alert, alarming = known.get(key, (None, False))
        if alarming:
            continue
        if alert is None or alert.state == "resolved":
            alert = store.unresolved_alert(db, model.id, *key)
        if alert is None:
            alert = _new_alert(site, db, model, window, alarm)
            opened.add(alert.id)
        db.merge(AlertWindow(alert_id=alert.id, window_id=window.id, alarms=True))
        incidents.extend(db, alert, window.from_ts, window.to_ts)
    gone = [alert for key, (alert, alarming) in known.items() if alarming and key in evaluated and key not in first]
    for alert in gone:
        db.merge(AlertWindow(alert_id=alert.id, window_id=window.id, alarms=False))
        alert.withdrawn_windows += 1
    db.flush()
    for alert in {a.id: a for a in (*store.unresolved_alerts(db, model.id), *gone)}.values():
        if (alert.monitor, alert.metric) in evaluated:
            again = _update_episodes(site, db, alert, first.get((alert.monitor, alert.metric)))
            if alert.id in opened:
                _announce_opened(site, db, alert, window)
            elif again is not None:
                _announce_again(site, db, alert, again)
            if alert in gone:
                _record_withdrawal(site, db, alert, window, reason)


def window_state(measured: Measurement) -> WindowState:
    """Whether one measurement of a window alarmed, was quiet, or could not be judged."""
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


def _new_alert(site: Site, db: Session, model: Model, window: Window, alarm: Alarm) -> Alert:
    now = site.clock.now()
    incident = incidents.incident_for(
        db, model.id, from_ts=window.from_ts, to_ts=window.to_ts, headline=alarm.sentence, severity=alarm.severity,
        now=now,
    )  # fmt: skip
    alert = Alert(
        model_id=model.id, incident_id=incident.id, monitor=alarm.monitor, metric=alarm.metric, column=alarm.column,
        value=alarm.value, limit=alarm.limit, severity=alarm.severity, sentence=alarm.sentence,
        first_window_id=window.id, last_window_id=window.id, opened_at=now,
    )  # fmt: skip
    db.add(alert)
    db.flush()
    return alert


def _announce_opened(site: Site, db: Session, alert: Alert, window: Window) -> None:
    facts = {
        "column": alert.column, "value": alert.value, "limit": alert.limit, "severity": alert.severity,
        "window": window.id, "spec_revision": window.spec_revision, "events_version": window.events_version,
    }  # fmt: skip
    announce(site, db, alert, "opened", facts=facts)
    if alert.monitor == "drift":
        _request_confirmation(db, alert, window.id, site.clock.now())


def _request_confirmation(db: Session, alert: Alert, window: UUID, now: datetime) -> None:
    key = f"confirm:{alert.id}:{window}"
    queue.enqueue(db, ConfirmJob(alert_id=alert.id), now=now, dedupe_key=key)


def last_announced(alert: Alert) -> Mapping[str, Any] | None:
    """The episode announced last; the alert's sentence and its confirmation are about the first window of it."""
    announced = [episode for episode in alert.episodes if not episode.get("withdrawn")]
    return max(announced, key=lambda e: (e["told_at"], e["from_ts"]), default=None)


def _record_withdrawal(site: Site, db: Session, alert: Alert, window: Window, reason: str) -> None:
    """Record that a window no longer alarms after it was evaluated again. The alert stays for a person to resolve."""
    facts = {"window": window.id, "reason": reason, "events_version": window.events_version}
    if alert.withdrawn_at is None:
        record(site, db, alert, "withdrawn", facts=facts)
    else:
        announce(site, db, alert, "withdrawn", facts=facts)


def _update_episodes(site: Site, db: Session, alert: Alert, alarm: Alarm | None) -> Again | None:
    """Compute the episodes of an alert from its windows; return the newest that has not been announced, if it had some.

    The headline of the alert is then that of the window that alarms.
    """
    now = site.clock.now()
    mine = {row.window_id: row.alarms for row in store.alert_windows(db, alert.id)}
    alarming = {window for window, alarms in mine.items() if alarms}
    evaluated = _evaluated_windows(db, alert, mine, alarming)
    found = episodes(evaluated)
    before = [e for e in alert.episodes if not e.get("withdrawn")]
    running = any(e["ended"] is None for e in before)
    documents = [
        e if e.get("withdrawn") or still_exists(e, found, evaluated) else e | {"withdrawn": True}
        for e in alert.episodes
    ]
    documents = [e for e in documents if e.get("withdrawn")]
    again = None
    for episode in found:
        was = announced_before(episode, before, evaluated)
        if was is not None:
            kept = {k: was[k] for k in _ANNOUNCED_FIELDS if k in was}
        else:
            kept = {"told_at": now.isoformat(), "sentence": alarm.sentence if alarm else alert.sentence}
            if alert.episodes:
                again = Again(episode.scale, episode.first_window, running)
                if alarm is not None:
                    alert.sentence, alert.column = alarm.sentence, alarm.column
                    alert.value, alert.limit, alert.severity = alarm.value, alarm.limit, alarm.severity
        documents.append(episode.document(**kept))
    alert.episodes = sorted(documents, key=lambda e: e["from_ts"])
    alert.windows = len(alarming)
    if alarming:
        ordered = [e.window for e in sorted(evaluated, key=lambda e: e.to_ts) if e.window in alarming]
        alert.first_window_id, alert.last_window_id, alert.withdrawn_at = ordered[0], ordered[-1], None
    else:
        alert.withdrawn_at = alert.withdrawn_at or now
    return again


_ANNOUNCED_FIELDS: Final = ("told_at", "sentence", "acknowledged_at", "acknowledged_by")


def _announce_again(site: Site, db: Session, alert: Alert, again: Again) -> None:
    """Announce a further episode of an unresolved alert: reopen it if it was acknowledged and no episode is running.

    The cause may be another one than before, so a drift alert is confirmed on the raw rows again.
    """
    if alert.state == "acknowledged" and not again.running:
        alert.state, alert.acknowledged_at, alert.acknowledged_by = "open", None, None
    facts = {"scale": again.scale, "window": again.window, "severity": alert.severity, "state": alert.state}
    announce(site, db, alert, "again", facts=facts)
    if alert.monitor == "drift":
        if alert.confirmation is not None:
            alert.confirmed_before = [*alert.confirmed_before, alert.confirmation]
        alert.confirmation, alert.confirmation_error = None, None
        _request_confirmation(db, alert, again.window, site.clock.now())


def _evaluated_windows(
    db: Session, alert: Alert, mine: Mapping[UUID, bool], alarming: Collection[UUID]
) -> list[EvaluatedWindow]:
    """The windows from the alert's first on, as its monitor evaluated them; alarms of other alerts do not count."""
    found: dict[UUID, EvaluatedWindow] = {}
    labels = alert.monitor == "concept"  # one stream of labels, whatever windows they are shown with
    assert alert.model_id is not None  # an alert without a model has no windows
    for window, scale, begin, end, measured in store.evaluations(
        db, alert.model_id, alert.monitor, alert.metric, list(mine)
    ):
        state = window_state(measured)
        if window in alarming:
            state = "alarm"
        elif state == "alarm":
            state = "unjudged"
        if window not in found or (found[window].state == "unjudged" and state == "quiet"):
            found[window] = EvaluatedWindow(window, "labels" if labels else scale, begin, end, state)
        timed = not scale.endswith(" rows")
    evaluated = list(found.values())
    return sorted(evaluated, key=lambda e: e.to_ts) if labels and timed else evaluated
