"""What people do about incidents and mutes. The ledger says who did what, with keyed digests of what they wrote."""

import hmac
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import InvalidError
from governance.ledger.append import append_entry
from monitor import store as monitor_store
from monitor.alerts import incidents, store
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.alerts.headlines import lasts
from monitor.alerts.severity import rank
from monitor.alerts.subject import subject_of
from monitor.errors import IncidentStateError, MuteEndedError
from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import MONITORS, Incident, Mute

LONGEST: Final = timedelta(days=366)  # of a snooze or a mute


def acknowledge_incident(
    site: Site, db: Session, incident_id: UUID, actor: str, note: str | None, seen: Collection[UUID] | None = None
) -> Incident:
    """Acknowledge every open alert of an incident, of these models where some are given.

    Raises:
        IncidentNotFoundError: no incident has this id.
        IncidentStateError: none of its alerts is open.
    """
    incident = store.incident(db, incident_id, lock=True)
    waiting = [a for a in store.alerts_of_incident(db, incident_id, seen) if a.state == "open"]
    if not waiting:
        raise IncidentStateError(incident_id, incident.state, "acknowledged")
    for alert in waiting:
        acknowledge_alert(site, db, alert.id, actor, note)
    return incident


def resolve_incident(
    site: Site, db: Session, incident_id: UUID, actor: str, note: str | None, seen: Collection[UUID] | None = None
) -> Incident:
    """Resolve every alert of an incident, and with them the incident; of these models where some are given.

    Raises:
        IncidentNotFoundError: no incident has this id.
        IncidentStateError: it is already resolved.
    """
    incident = store.incident(db, incident_id, lock=True)
    waiting = [a for a in store.alerts_of_incident(db, incident_id, seen) if a.state != "resolved"]
    if not waiting:
        raise IncidentStateError(incident_id, incident.state, "resolved")
    for alert in waiting:
        resolve_alert(site, db, alert.id, actor, note)
    return incident


def assign(site: Site, db: Session, incident_id: UUID, actor: str, owner: str | None) -> Incident:
    """Make somebody the owner of an incident; None leaves it without one.

    Raises:
        IncidentNotFoundError: no incident has this id.
    """
    incident = store.incident(db, incident_id, lock=True)
    incident.owner = owner
    text = f"to {owner}" if owner is not None else "to nobody"
    incidents.note(db, incident, "assigned", at=site.clock.now(), actor=actor, text=text)
    _record(site, db, incident, "assigned", actor, {"owner": _digest(site, owner)})
    return incident


def comment(site: Site, db: Session, incident_id: UUID, actor: str, text: str) -> Incident:
    """Add a comment to the timeline of an incident.

    Raises:
        IncidentNotFoundError: no incident has this id.
    """
    incident = store.incident(db, incident_id, lock=True)
    incidents.note(db, incident, "commented", at=site.clock.now(), actor=actor, text=text)
    _record(site, db, incident, "commented", actor, {"text": _digest(site, text)})
    return incident


def snooze(
    site: Site, db: Session, incident_id: UUID, actor: str, until: datetime | None, note: str | None
) -> Incident:
    """Send no messages about an incident until a time; then say whether it lasts. None ends a snooze.

    Raises:
        IncidentNotFoundError: no incident has this id.
        IncidentStateError: it is resolved.
        InvalidError: the time is past, or more than a year away.
    """
    incident = store.incident(db, incident_id, lock=True)
    if incident.state == "resolved":
        raise IncidentStateError(incident_id, incident.state, "snoozed")
    now = site.clock.now()
    incident.snoozed_until = now if until is None else _future(until, now)
    lasting = [a for a in store.alerts_of_incident(db, incident_id) if a.state != "resolved" and lasts(a)]
    if lasting and until is not None:
        worst = max(lasting, key=lambda a: rank(a.severity))
        worst.held_back = worst.held_back or "again"
    text = "no longer" if until is None else f"until {until:%Y-%m-%d %H:%M} UTC"
    incidents.note(db, incident, "snoozed", at=now, actor=actor, text=f"{text}: {note}" if note else text)
    _record(site, db, incident, "snoozed", actor, {"until": incident.snoozed_until, "note": _digest(site, note)})
    return incident


def mute(
    site: Site, db: Session, actor: str, *, model: str | None, monitor: str, metric: str, column: str, reason: str,
    until: datetime,
) -> Mute:  # fmt: skip
    """Let alerts send no messages until a time. Their alarms are recorded all the same.

    Args:
        model: name of the model; None for alerts about the installation itself.
        monitor: "" for any; likewise `metric`, and `column`, which the headline of an alert names.

    Raises:
        ModelNotFoundError: no model has this name.
        InvalidError: there is no such monitor or column, the reason is empty, or the time is past.
    """
    now = site.clock.now()
    if monitor and monitor not in MONITORS:
        raise InvalidError(
            f"monitor {monitor!r} does not exist; give one of {', '.join(MONITORS)}", field="monitor", value=monitor
        )
    if not reason.strip():
        raise InvalidError("the reason is empty; say in a few words why", field="reason", value="")
    found = None if model is None else monitor_store.model(db, model)
    if column:
        _check_column(site, db, model, column)
    made = Mute(
        model_id=None if found is None else found.id, monitor=monitor, metric=metric, column=column, reason=reason,
        until=_future(until, now), created_at=now, created_by=actor,
    )  # fmt: skip
    db.add(made)
    db.flush()
    for incident in store.unresolved_incidents(db, made.model_id):
        store.incident(db, incident.id, lock=True)
        text = f"{_scope(made)} until {made.until:%Y-%m-%d %H:%M} UTC: {reason}"
        incidents.note(db, incident, "muted", at=now, actor=actor, text=text)
    _record_mute(site, db, made, "muted", actor)
    return made


def end_mute(site: Site, db: Session, mute_id: UUID, actor: str) -> Mute:
    """End a mute before its time.

    Raises:
        MuteNotFoundError: no mute has this id.
        MuteEndedError: it has ended already.
    """
    found, now = store.mute(db, mute_id, lock=True), site.clock.now()
    if found.until <= now:
        raise MuteEndedError(mute_id, found.until)
    found.until, found.ended_by = now, actor
    _record_mute(site, db, found, "unmuted", actor)
    return found


def _check_column(site: Site, db: Session, model: str | None, column: str) -> None:
    columns = () if model is None else tuple(current_spec(site, db, model).spec.columns)
    if column not in columns and column.rpartition(".")[0] not in columns:
        known = ", ".join(columns) or "none, because the installation has no columns"
        raise InvalidError(f"there is no column {column!r}; the columns are: {known}", field="column", value=column)


def _future(until: datetime, now: datetime) -> datetime:
    if until.tzinfo is None:
        raise InvalidError(
            f"until is {until.isoformat()}, without a zone; write it in UTC, such as 2026-01-31T08:00:00Z",
            field="until", value=until.isoformat(),
        )  # fmt: skip
    if not now < until <= now + LONGEST:
        raise InvalidError(
            f"until is {until.isoformat()}; give a time after {now.isoformat()} and within a year", field="until",
            value=until.isoformat(),
        )  # fmt: skip
    return until


def _scope(mute: Mute) -> str:
    parts = [mute.monitor or "every monitor", mute.metric.replace("_", " "), mute.column]
    return ", ".join(part for part in parts if part)


def _digest(site: Site, text: str | None) -> str | None:
    """What the ledger keeps of a text that may name people: equal texts have equal digests, under the subject key."""
    return None if text is None else hmac.digest(site.keys.subject, text.encode(), "sha256").hex()


def _record(site: Site, db: Session, incident: Incident, change: str, actor: str, facts: dict[str, Any]) -> None:
    subject = subject_of(db, incident.model_id)
    body = {"incident": incident.id, **facts}
    append_entry(db, kind=f"incident.{change}", actor=actor, subject=subject, body=body, at=site.clock.now())


def _record_mute(site: Site, db: Session, mute: Mute, change: str, actor: str) -> None:
    body = {
        "mute": mute.id, "monitor": mute.monitor, "metric": mute.metric, "column": mute.column, "until": mute.until,
        "reason": _digest(site, mute.reason),
    }  # fmt: skip
    subject = subject_of(db, mute.model_id)
    append_entry(db, kind=f"alert.{change}", actor=actor, subject=subject, body=body, at=site.clock.now())
