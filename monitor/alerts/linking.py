"""Incidents across models: link and unlink alerts, runs and deploys, and merge incidents.

An alert belongs to one incident. To link it moves it; what it leaves without alerts is closed, and stays to be read.
"""

from typing import Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ConflictError, InvalidError, NotFoundError
from governance.ledger.append import append_entry
from monitor import store as monitor_store
from monitor.alerts import incidents, store
from monitor.alerts.subject import subject_of
from monitor.alerts.tables import IncidentLink, SeriousIncident
from monitor.errors import IncidentStateError
from monitor.notify.tables import Deploy
from monitor.site import Site
from monitor.tables import Alert, Incident, Model

What = Literal["run", "deploy"]
MERGED: Final = "incident"


class IncidentLinkError(ConflictError):
    code = "incident_link"


class DeployNotFoundError(NotFoundError):
    code = "deploy_not_found"


def link_alert(site: Site, db: Session, incident_id: UUID, alert_id: UUID, actor: str, note: str) -> Incident:
    """Move an alert, of whichever model, to an incident.

    Raises:
        IncidentNotFoundError, AlertNotFoundError: there is none with this id.
        IncidentLinkError: it belongs to the incident already.
        IncidentStateError: the incident is resolved, and the alert is not.
    """
    left = monitor_store.alert(db, alert_id).incident_id
    into, before = _locked(db, incident_id, left)
    alert = db.get_one(Alert, alert_id, with_for_update=True, populate_existing=True)
    if into.id == before.id:
        raise IncidentLinkError(f"alert {alert_id} belongs to incident {incident_id} already", alert=str(alert_id))
    if into.state == "resolved" and alert.state != "resolved":
        raise IncidentStateError(incident_id, into.state, "given an alert that is not resolved")
    _move(site, db, alert, before, into, actor, note)
    _settle(site, db, before)
    return into


def unlink_alert(site: Site, db: Session, incident_id: UUID, alert_id: UUID, actor: str, note: str) -> Incident:
    """Give an alert an incident of its own again; returns that one.

    Raises:
        IncidentNotFoundError, AlertNotFoundError: there is none with this id.
        IncidentLinkError: it does not belong to this incident, or is its only alert.
    """
    before = store.incident(db, incident_id, lock=True)
    alert = monitor_store.alert(db, alert_id, lock=True)
    if alert.incident_id != incident_id:
        raise IncidentLinkError(f"alert {alert_id} does not belong to incident {incident_id}", alert=str(alert_id))
    if len(store.alerts_of_incident(db, incident_id)) == 1:
        raise IncidentLinkError(f"alert {alert_id} is the only one of incident {incident_id}", alert=str(alert_id))
    from_ts, to_ts = incidents.times_of(db, alert)
    own = Incident(
        model_id=alert.model_id, headline=alert.sentence, severity=alert.severity, state=alert.state,
        from_ts=from_ts, to_ts=to_ts, opened_at=alert.opened_at,
    )  # fmt: skip
    db.add(own)
    db.flush()
    _move(site, db, alert, before, own, actor, note)
    _settle(site, db, before)
    return own


def merge(site: Site, db: Session, incident_id: UUID, other_id: UUID, actor: str, note: str) -> Incident:
    """Move every alert of another incident into this one; the other is closed and names it.

    Raises:
        IncidentNotFoundError: there is none with one of these ids.
        IncidentLinkError: both are the same, or the other is declared serious: its clock and its file stay with it.
        IncidentStateError: this one is resolved, and the other is not.
    """
    if incident_id == other_id:
        raise IncidentLinkError(f"incident {incident_id} cannot be merged into itself", incident=str(incident_id))
    into, other = _locked(db, incident_id, other_id)
    if db.scalar(select(SeriousIncident.id).where(SeriousIncident.incident_id == other_id)) is not None:
        raise IncidentLinkError(
            f"incident {other_id} is declared serious; merge {incident_id} into it instead", incident=str(other_id)
        )
    if into.state == "resolved" and other.state != "resolved":
        raise IncidentStateError(incident_id, into.state, "merged with one that is not resolved")
    for alert in store.alerts_of_incident(db, other_id):
        _move(site, db, alert, other, into, actor, "")
    now = site.clock.now()
    into.from_ts, into.to_ts = min(into.from_ts, other.from_ts), max(into.to_ts, other.to_ts)
    into.opened_at = min(into.opened_at, other.opened_at)
    link = IncidentLink(
        incident_id=into.id, kind=MERGED, target=other.id, model_id=other.model_id, linked_at=now, linked_by=actor,
        removed_at=None, removed_by=None,
    )  # fmt: skip
    _put(db, link)
    incidents.note(db, into, "merged", at=now, actor=actor, text=_said(f"incident {other.id} into this one", note))
    incidents.note(db, other, "merged", at=now, actor=actor, text=_said(f"into incident {into.id}", note))
    _settle(site, db, other)
    _record(site, db, into, "merged", actor, other.model_id, merged=other.id)
    return into


def link(site: Site, db: Session, incident_id: UUID, what: What, target: UUID, model_id: UUID, actor: str) -> Incident:
    """Link a run or a deploy to an incident.

    Args:
        model_id: of the run or deploy, which exists.
    """
    incident = store.incident(db, incident_id, lock=True)
    known = _known(db, incident_id, what, target)
    if known is not None and known.removed_at is None:
        raise IncidentLinkError(f"{what} {target} is linked to incident {incident_id} already", target=str(target))
    now = site.clock.now()
    _put(
        db,
        IncidentLink(
            incident_id=incident_id, kind=what, target=target, model_id=model_id, linked_at=now, linked_by=actor,
            removed_at=None, removed_by=None,
        ),
    )  # fmt: skip
    incidents.note(db, incident, "linked", at=now, actor=actor, text=f"{what} {target}")
    _record(site, db, incident, "linked", actor, model_id, what=what, target=target)
    return incident


def unlink(site: Site, db: Session, incident_id: UUID, what: What, target: UUID, actor: str) -> Incident:
    """Take back a link to a run or a deploy. What is linked by its time alone cannot be taken back."""
    incident = store.incident(db, incident_id, lock=True)
    known = _known(db, incident_id, what, target)
    if known is None or known.removed_at is not None:
        raise IncidentLinkError(f"no person linked {what} {target} to incident {incident_id}", target=str(target))
    now = site.clock.now()
    known.removed_at, known.removed_by = now, actor
    incidents.note(db, incident, "unlinked", at=now, actor=actor, text=f"{what} {target}")
    _record(site, db, incident, "unlinked", actor, known.model_id, what=what, target=target)
    return incident


def deploy_of(db: Session, deploy_id: UUID) -> Deploy:
    """Raises DeployNotFoundError."""
    found = db.get(Deploy, deploy_id)
    if found is None:
        raise DeployNotFoundError(f"deploy {deploy_id} does not exist", deploy=str(deploy_id))
    return found


def checked_note(note: str | None) -> str:
    text = (note or "").strip()
    if len(text) > 2000:
        raise InvalidError(f"the note has {len(text)} characters; write at most 2000", field="note", value=text[:60])
    return text


def _known(db: Session, incident_id: UUID, kind: str, target: UUID) -> IncidentLink | None:
    query = select(IncidentLink).where(
        IncidentLink.incident_id == incident_id, IncidentLink.kind == kind, IncidentLink.target == target
    )
    return db.scalars(query).first()


def _put(db: Session, row: IncidentLink) -> None:
    """Store a link, or make one that was taken back count again."""
    known = _known(db, row.incident_id, row.kind, row.target)
    if known is None:
        db.add(row)
        return
    known.linked_at, known.linked_by, known.removed_at, known.removed_by = row.linked_at, row.linked_by, None, None


def _locked(db: Session, first: UUID, second: UUID) -> tuple[Incident, Incident]:
    """Both incidents, locked in the order of their ids, so that two who move alerts between them never wait in turn."""
    found = {ident: store.incident(db, ident, lock=True) for ident in sorted({first, second}, key=str)}
    return found[first], found[second]


def _move(
    site: Site, db: Session, alert: Alert, before: Incident, into: Incident, actor: str, note: str
) -> None:  # fmt: skip
    now = site.clock.now()
    about = f"{alert.monitor} alert of {_name(db, alert.model_id)}"
    alert.incident_id = into.id
    db.flush()
    from_ts, to_ts = incidents.times_of(db, alert)
    into.from_ts, into.to_ts = min(into.from_ts, from_ts), max(into.to_ts, to_ts)
    incidents.note(db, before, "unlinked", at=now, actor=actor, text=_said(about, note), alert=alert)
    incidents.note(db, into, "linked", at=now, actor=actor, text=_said(about, note), alert=alert)
    incidents.follow_alert(db, alert, now)
    _record(site, db, into, "linked", actor, alert.model_id, alert=alert.id, before=before.id)


def _settle(site: Site, db: Session, left: Incident) -> None:
    """Bring the incident that an alert left in line with those that stay; without one it is closed."""
    db.flush()
    stay = store.alerts_of_incident(db, left.id)
    if stay:
        incidents.follow_alert(db, stay[0], site.clock.now())
    else:
        left.state, left.resolved_at = "resolved", left.resolved_at or site.clock.now()


def _name(db: Session, model_id: UUID | None) -> str:
    return "the installation" if model_id is None else db.get_one(Model, model_id).name


def _said(what: str, note: str) -> str:
    return f"{what}: {note}" if note else what


def _record(
    site: Site, db: Session, incident: Incident, change: str, actor: str, model_id: UUID | None, **facts: UUID | str
) -> None:
    """One entry about the model of the incident, and another where what is linked is of another model."""
    for subject in dict.fromkeys((subject_of(db, incident.model_id), subject_of(db, model_id))):
        body = {"into": incident.id, **facts}
        append_entry(db, kind=f"incident.{change}", actor=actor, subject=subject, body=body, at=site.clock.now())
