"""Bring alerts in line with the alarms of a window: open, continue, withdraw; announce each episode once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.jobs import CausesJob, ConfirmJob, WhyJob
from monitor import store
from monitor.alerts import findings, incidents
from monitor.alerts import store as incident_store
from monitor.alerts.announce import announce, record
from monitor.alerts.episodes import EvaluatedWindow, WindowState, announced_before, episodes, places, still_exists
from monitor.alerts.headlines import Alarm, headlines_of, is_worse, of_one_occurrence
from monitor.alerts.severity import highest, rank
from monitor.detect.verdicts import JUDGED_VERDICTS
from monitor.site import Site
from monitor.tables import Alert, AlertWindow, Measurement, Model, Window

Key = tuple[str, str]  # monitor and metric
# The metrics of these monitors are detectors of one stream: whatever they find is one occurrence.
ONE_ALERT: Final = ("concept",)


@dataclass(frozen=True, slots=True)
class Told:
    """What is announced about an alert, and the window that it is about."""

    occasion: Literal["opened", "again", "worse"]
    scale: str
    window: UUID


def alert_key(monitor: str, metric: str) -> Key:
    """What the alarms of one alert have in common: the monitor and the metric, or "" where detectors share an alert."""
    return monitor, "" if monitor in ONE_ALERT else metric


def follow(
    site: Site, db: Session, model: Model, window: Window, alarms: Sequence[Alarm], evaluated: Collection[Key],
    reason: str,
) -> None:  # fmt: skip
    """Bring alerts in line with the alarms of a window: open or continue an alert, end an episode, withdraw an alarm.

    Args:
        alarms: what alarms in the window now. The most severe of an alert represents all of them.
        evaluated: monitors and metrics that were just computed, with or without an alarm.
        reason: why the window was evaluated again; recorded with each alarm that is withdrawn.
    """
    incident_store.unresolved_incidents(db, model.id, lock=True)  # before their alerts, as everybody locks them
    leading, keys = _leading(alarms), {alert_key(*pair) for pair in evaluated}
    known = {alert_key(a.monitor, a.metric): (a, alarming) for a, alarming in store.alerts_of_window(db, window.id)}
    for key, alarm in leading.items():
        alert, alarming = known.get(key, (None, False))
        if alarming:
            continue
        if alert is None or alert.state == "resolved":
            alert = store.unresolved_alert(db, model.id, *key) or _new_alert(site, db, model, window, alarm)
        db.merge(AlertWindow(alert_id=alert.id, window_id=window.id, alarms=True))
        incidents.extend(db, alert, window.from_ts, window.to_ts)
    gone = [alert for key, (alert, alarming) in known.items() if alarming and key in keys and key not in leading]
    for alert in gone:
        db.merge(AlertWindow(alert_id=alert.id, window_id=window.id, alarms=False))
        alert.withdrawn_windows += 1
    db.flush()
    for alert in {a.id: a for a in (*store.unresolved_alerts(db, model.id), *gone)}.values():
        key = alert_key(alert.monitor, alert.metric)
        if key in keys:
            told = _update_episodes(site, db, alert, window, leading.get(key))
            if told is not None:
                _announce(site, db, alert, window, told)
            if alert in gone:
                _record_withdrawal(site, db, alert, window, reason)


def _leading(alarms: Sequence[Alarm]) -> dict[Key, Alarm]:
    """The most severe alarm of each alert, the first among equals, which names the columns of all of them."""
    found: dict[Key, Alarm] = {}
    for alarm in alarms:
        key = alert_key(alarm.monitor, alarm.metric)
        known = found.get(key, alarm)
        worst = alarm if rank(alarm.severity) > rank(known.severity) else known
        found[key] = replace(worst, columns=tuple(dict.fromkeys((*known.columns, *alarm.columns, alarm.column))))
    return found


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
        case "kpi" | "fairness" | "estimate" if "judgement" in measured.details:
            judged = bool(measured.details["judgement"]["judged"])
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


def _announce(site: Site, db: Session, alert: Alert, window: Window, told: Told) -> None:
    """Announce a new alert, a further occurrence, or one that became worse; an acknowledged alert is open again.

    The cause may be another one than before, so it is looked for again, and a drift alert is confirmed on the raw rows
    again.
    """
    facts: dict[str, Any] = {"window": told.window, "severity": alert.severity}
    if told.occasion == "opened":
        facts |= {
            "column": alert.column, "value": alert.value, "limit": alert.limit, "spec_revision": window.spec_revision,
            "events_version": window.events_version,
        }  # fmt: skip
    else:
        if alert.state == "acknowledged":
            alert.state, alert.acknowledged_at, alert.acknowledged_by = "open", None, None
        facts |= {"scale": told.scale, "column": alert.column, "state": alert.state}
    announce(site, db, alert, told.occasion, facts=facts)
    if alert.monitor in findings.EXPLAINED:
        key = findings.job_key(alert.id, told.window)
        queue.enqueue(db, WhyJob(alert_id=alert.id), now=site.clock.now(), dedupe_key=key)
    if alert.monitor == "drift":
        if alert.confirmation is not None:
            alert.confirmed_before = [*alert.confirmed_before, alert.confirmation]
        alert.confirmation, alert.confirmation_error = None, None
        _request_confirmation(db, alert, told.window, site.clock.now())
    if alert.monitor == "fairness":
        job = CausesJob(alert_id=alert.id, model=_model_name(db, alert))
        queue.enqueue(db, job, now=site.clock.now(), dedupe_key=f"causes:{alert.id}:{told.window}")


def _request_confirmation(db: Session, alert: Alert, window: UUID, now: datetime) -> None:
    key = f"confirm:{alert.id}:{window}"
    queue.enqueue(db, ConfirmJob(alert_id=alert.id, model=_model_name(db, alert)), now=now, dedupe_key=key)


def _model_name(db: Session, alert: Alert) -> str | None:
    return None if alert.model_id is None else db.get_one(Model, alert.model_id).name


def _record_withdrawal(site: Site, db: Session, alert: Alert, window: Window, reason: str) -> None:
    """Record that a window no longer alarms after it was evaluated again. The alert stays for a person to resolve."""
    facts = {"window": window.id, "reason": reason, "events_version": window.events_version}
    if alert.withdrawn_at is None:
        record(site, db, alert, "withdrawn", facts=facts)
    else:
        announce(site, db, alert, "withdrawn", facts=facts)


def _update_episodes(site: Site, db: Session, alert: Alert, window: Window, alarm: Alarm | None) -> Told | None:
    """Compute the episodes of an alert from its windows; return what is to be announced.

    A headline is told with the first window of an occurrence, and with each window that is worse than all of its
    headlines. It then becomes the headline of the alert.
    """
    now = site.clock.now()
    mine = {row.window_id: row.alarms for row in store.alert_windows(db, alert.id)}
    alarming = {window for window, alarms in mine.items() if alarms}
    evaluated = _evaluated_windows(db, alert, mine, alarming)
    found, place = episodes(evaluated), places(evaluated)
    before = [e for e in alert.episodes if not e.get("withdrawn")]
    documents = [
        e if e.get("withdrawn") else e | {"withdrawn": True}
        for e in alert.episodes
        if e.get("withdrawn") or not still_exists(e, found, place)
    ]
    for episode in found:
        was = announced_before(episode, before, place)
        kept = {k: was[k] for k in _TOLD_FIELDS if k in was} if was is not None else _untold(alert, alarm, now)
        documents.append(episode.document(**kept))
    current = None if alarm is None else _episode_of(window.id, documents, evaluated, place)
    told = None if alarm is None or current is None else _tell(alert, documents, current, alarm, window.id, now)
    alert.episodes = sorted(documents, key=lambda e: e["from_ts"])
    alert.windows = len(alarming)
    if alarming:
        ordered = [e.window for e in sorted(evaluated, key=lambda e: e.to_ts) if e.window in alarming]
        alert.first_window_id, alert.last_window_id, alert.withdrawn_at = ordered[0], ordered[-1], None
    else:
        alert.withdrawn_at = alert.withdrawn_at or now
    return told


_TOLD_FIELDS: Final = ("told_at", "sentence", "headlines", "acknowledged_at", "acknowledged_by")


def _untold(alert: Alert, alarm: Alarm | None, now: datetime) -> dict[str, Any]:
    """The fields of an episode that was not there before."""
    sentence = alert.sentence if alarm is None else alarm.sentence
    return {"told_at": now.isoformat(), "sentence": sentence, "headlines": []}


def _tell(
    alert: Alert,
    documents: Sequence[dict[str, Any]],
    episode: dict[str, Any],
    alarm: Alarm,
    window: UUID,
    now: datetime,
) -> Told | None:
    """Make the alarm the newest headline, if its occurrence has none yet or it is worse than all of them.

    Args:
        documents: every episode of the alert.
        episode: the one of them that the window belongs to; it gets the headline.
    """
    occurrence = [episode, *of_one_occurrence(episode, [e for e in documents if e is not episode])]
    told = headlines_of(occurrence)
    if told and not is_worse(alarm, told):
        return None
    episode["headlines"] = [*episode["headlines"], alarm.headline(now, window)]
    episode["sentence"] = alarm.sentence
    alert.metric, alert.column, alert.sentence = alarm.metric, alarm.column, alarm.sentence
    alert.value, alert.limit = alarm.value, alarm.limit
    alert.severity = highest(h["severity"] for h in headlines_of(occurrence))
    return Told("worse" if told else "again" if alert.episodes else "opened", episode["scale"], window)


def _episode_of(
    window: UUID, documents: Sequence[dict[str, Any]], evaluated: Sequence[EvaluatedWindow], place: Mapping[str, int]
) -> dict[str, Any] | None:
    """The episode that a window belongs to."""
    here = place.get(str(window))
    if here is None:
        return None
    scale = evaluated[here].scale
    for episode in (e for e in documents if e["scale"] == scale and not e.get("withdrawn")):
        if place[episode["first_window"]] <= here <= place[episode["last_window"]]:
            return episode
    return None


def _evaluated_windows(
    db: Session, alert: Alert, mine: Mapping[UUID, bool], alarming: Collection[UUID]
) -> list[EvaluatedWindow]:
    """The windows from the alert's first on, as its monitor evaluated them; alarms of other alerts do not count."""
    found: dict[UUID, EvaluatedWindow] = {}
    labels = alert.monitor == "concept"  # one stream of labels, whatever windows they are shown with
    assert alert.model_id is not None  # an alert without a model has no windows
    for window, scale, begin, end, measured in store.evaluations(
        db, alert.model_id, alert.monitor, alert_key(alert.monitor, alert.metric)[1] or None, list(mine)
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
