"""Serious incidents: who became aware when, by when the authority must know, what was reported.

Source: Regulation (EU) 2024/1689, Article 73: at the latest 15 days after awareness (2), 2 days for a widespread
infringement or a serious and irreversible disruption of critical infrastructure (3), 10 days for a death (4); a first
report may be incomplete and is completed later (5). Days are taken as 24 hours from the moment of awareness, which is
never later than the end of the last day as calendars count it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.canonical import digest
from core.errors import ConflictError, InvalidError, NotFoundError
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_size
from monitor import store as monitored
from monitor.alerts import post_mortems, store
from monitor.alerts.severity import rank
from monitor.alerts.tables import SeriousIncident
from monitor.errors import IncidentNotFoundError
from monitor.site import Site
from monitor.tables import Incident, Model

Kind = Literal["death", "widespread", "other"]
Stage = Literal["initial", "complete"]
CLOCK: Final = {"death": timedelta(days=10), "widespread": timedelta(days=2), "other": timedelta(days=15)}
WORDS: Final = {
    "death": "death of a person: 10 days, Article 73 (4)",
    "widespread": "widespread infringement, or disruption of critical infrastructure: 2 days, Article 73 (3)",
    "other": "other serious incident: 15 days, Article 73 (2)",
}
MAX_CHARS: Final = 5000


class SeriousNotFoundError(NotFoundError):
    code = "serious_incident_not_found"


class SeriousStateError(ConflictError):
    code = "serious_incident_state"


def declare(
    site: Site, db: Session, model_name: str, actor: str, *, kind: Kind, aware_at: datetime, headline: str,
    description: str, incident_id: UUID | None = None,
) -> SeriousIncident:  # fmt: skip
    """Declare a serious incident of a model: of an incident that exists, or of one that no alert belongs to.

    Args:
        aware_at: when somebody became aware of it; the clock runs from then.
        headline: in a sentence; of an incident that exists, its own stays.

    Raises:
        ModelNotFoundError, IncidentNotFoundError: there is no such model or incident.
        InvalidError: awareness lies in the future, or a text is empty or too long.
        SeriousStateError: the incident is declared serious already.
    """
    now, model = site.clock.now(), monitored.model(db, model_name)
    if aware_at > now:
        raise InvalidError(
            f"aware_at is {aware_at.isoformat()}, which lies in the future; give the time when somebody became aware",
            field="aware_at", value=aware_at.isoformat(),
        )  # fmt: skip
    incident = _incident(db, model, incident_id, _text("headline", headline), aware_at, now)
    if db.scalars(select(SeriousIncident.id).where(SeriousIncident.incident_id == incident.id)).first() is not None:
        raise SeriousStateError(f"incident {incident.id} is declared serious already", incident=str(incident.id))
    row = SeriousIncident(
        incident_id=incident.id, model_id=model.id, kind=kind, description=_text("description", description),
        aware_at=aware_at, deadline=aware_at + CLOCK[kind], state="open", reports=[],
        evidence=_evidence(db, model, incident), declared_at=now, declared_by=actor, closed_at=None,
    )  # fmt: skip
    db.add(row)
    db.flush()
    body = {
        "kind": kind, "aware_at": aware_at, "deadline": row.deadline, "incident": incident.id,
        "description": digest(row.description), "evidence": digest(row.evidence),
    }  # fmt: skip
    _record(db, "incident.serious", model, row, actor, now, body)
    return row


def classify(
    site: Site, db: Session, row: SeriousIncident, actor: str, *, kind: Kind, aware_at: datetime | None, reason: str
) -> SeriousIncident:
    """Say that it is of another kind, or that somebody was aware earlier. A later awareness would only win time.

    Raises:
        SeriousStateError: it is closed.
        InvalidError: the awareness is later than the one recorded, or the reason is empty.
    """
    _open(row)
    if aware_at is not None and aware_at > row.aware_at:
        raise InvalidError(
            f"aware_at is {aware_at.isoformat()}, later than {row.aware_at.isoformat()}, which is recorded; the clock "
            "is never set back", field="aware_at", value=aware_at.isoformat(),
        )  # fmt: skip
    now, before = site.clock.now(), {"kind": row.kind, "aware_at": row.aware_at, "deadline": row.deadline}
    row.kind, row.aware_at = kind, aware_at or row.aware_at
    row.deadline = row.aware_at + CLOCK[kind]
    body = {
        "kind": kind, "aware_at": row.aware_at, "deadline": row.deadline, "before": before,
        "reason": digest(_text("reason", reason)),
    }  # fmt: skip
    _record(db, "incident.serious_classified", db.get_one(Model, row.model_id), row, actor, now, body)
    return row


def report(
    site: Site, db: Session, row: SeriousIncident, actor: str, *, stage: Stage, authority: str, reference: str,
    at: datetime | None,
) -> SeriousIncident:  # fmt: skip
    """Record that an authority was told: first, perhaps incompletely, and then completely.

    Raises:
        SeriousStateError: it is closed.
        InvalidError: the time lies in the future or before the awareness, or a text is empty.
    """
    _open(row)
    now = site.clock.now()
    told = at or now
    if not row.aware_at <= told <= now:
        raise InvalidError(
            f"at is {told.isoformat()}; give a time from {row.aware_at.isoformat()}, the awareness, to now",
            field="at", value=told.isoformat(),
        )  # fmt: skip
    line = {
        "stage": stage, "authority": _text("authority", authority), "reference": _text("reference", reference),
        "at": told.isoformat(), "recorded_at": now.isoformat(), "by": actor,
    }  # fmt: skip
    row.reports, row.state = [*row.reports, line], "reported"
    body = {
        "stage": stage, "at": told, "deadline": row.deadline, "late": told > row.deadline,
        "authority": digest(line["authority"]), "reference": digest(line["reference"]),
    }  # fmt: skip
    _record(db, "incident.serious_reported", db.get_one(Model, row.model_id), row, actor, now, body)
    return row


def close(site: Site, db: Session, row: SeriousIncident, actor: str, reason: str) -> SeriousIncident:
    """Close one that was reported completely, or that turned out not to be serious, with the reason.

    Raises:
        SeriousStateError: it is closed already.
        InvalidError: the reason is empty.
    """
    _open(row)
    now = site.clock.now()
    row.state, row.closed_at = "closed", now
    complete = any(line["stage"] == "complete" for line in row.reports)
    body = {"reason": digest(_text("reason", reason)), "reports": len(row.reports), "complete": complete}
    _record(db, "incident.serious_closed", db.get_one(Model, row.model_id), row, actor, now, body)
    incident = store.incident(db, row.incident_id, lock=True)
    if not store.alerts_of_incident(db, incident.id):  # nothing else resolves it
        incident.state, incident.resolved_at = "resolved", now
    return row


def listed(db: Session, model_id: UUID | None = None) -> Sequence[SeriousIncident]:
    """Newest first."""
    query = select(SeriousIncident).order_by(SeriousIncident.aware_at.desc())
    return db.scalars(query if model_id is None else query.where(SeriousIncident.model_id == model_id)).all()


def serious(db: Session, model_id: UUID, serious_id: UUID, *, lock: bool = False) -> SeriousIncident:
    """Raises SeriousNotFoundError."""
    row = db.get(SeriousIncident, serious_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or row.model_id != model_id:
        raise SeriousNotFoundError(f"serious incident {serious_id} does not exist", serious_incident=str(serious_id))
    return row


def standing(row: SeriousIncident, now: datetime) -> str:
    """Where its clock stands: running, overdue, kept, late, or not needed because it was closed without a report."""
    first = min((line["at"] for line in row.reports), default=None)
    if first is not None:
        return "late" if datetime.fromisoformat(first) > row.deadline else "kept"
    if row.state == "closed":
        return "closed without a report"
    return "overdue" if now > row.deadline else "running"


def export(site: Site, db: Session, row: SeriousIncident, seen: Collection[UUID] | None = None) -> dict[str, Any]:
    """Everything that is recorded, as a document for the authority; undefined is null.

    Args:
        seen: ids of the models that the caller may read about; None for all. Of an incident that is of others too, what
            is about those or about the whole of it is left out, and `whole` is false.
    """
    now, model = site.clock.now(), db.get_one(Model, row.model_id)
    incident, spec = store.incident(db, row.incident_id), monitored.spec_revision(db, model.id, model.revision)
    alerts = store.alerts_of_incident(db, incident.id, seen)
    whole = seen is None or not store.outside_models(db, incident.id, seen)
    headline = incident.headline if whole else max(alerts, key=lambda a: rank(a.severity)).sentence if alerts else ""
    notes = [n for n in store.notes(db, incident.id) if whole or n.alert_id in {a.id for a in alerts}]
    document = {
        "format": "assay-serious-incident/1", "id": row.id, "model": model.name, "made_at": now,
        "purpose": spec.document["purpose"], "owner": spec.document["owner"], "risk": spec.document["risk"],
        "incident": {"id": incident.id, "headline": headline, "opened_at": incident.opened_at, "whole": whole},
        "kind": row.kind, "rule": WORDS[row.kind], "description": row.description, "aware_at": row.aware_at,
        "deadline": row.deadline, "clock": standing(row, now), "state": row.state, "reports": list(row.reports),
        "declared_at": row.declared_at, "declared_by": row.declared_by, "closed_at": row.closed_at,
        "evidence": row.evidence,
        "alerts": [
            {"id": a.id, "monitor": a.monitor, "metric": a.metric, "severity": a.severity, "opened_at": a.opened_at,
             "sentence": a.sentence, "value": a.value, "limit": a.limit}
            for a in alerts
        ],
        "timeline": [
            {"at": n.at, "actor": n.actor, "kind": n.kind, "text": n.text} for n in notes
        ],
        "post_mortem": _post_mortem(db, incident.id) if whole else None,
    }  # fmt: skip
    return document | {"digest": digest(document)}


def _post_mortem(db: Session, incident_id: UUID) -> dict[str, Any] | None:
    """The newest version of what people wrote afterwards; None while nobody has."""
    found = post_mortems.newest(db, [incident_id]).get(incident_id)
    return None if found is None else post_mortems.document(found)


def _incident(
    db: Session, model: Model, incident_id: UUID | None, headline: str, aware_at: datetime, now: datetime
) -> Incident:
    if incident_id is not None:
        found = store.incident(db, incident_id, lock=True)
        if found.model_id != model.id:
            raise IncidentNotFoundError(incident_id)  # the answer for none at all
        return found
    made = Incident(
        model_id=model.id, headline=headline, severity="critical", state="open", from_ts=aware_at, to_ts=now,
        opened_at=now,
    )  # fmt: skip
    db.add(made)
    db.flush()
    return made


def _evidence(db: Session, model: Model, incident: Incident) -> dict[str, Any]:
    """What was in force and known, so that nobody argues later about the state of that day."""
    return {
        "spec_revision": model.revision, "spec": monitored.spec_revision(db, model.id, model.revision).digest,
        "alerts": [str(a.id) for a in store.alerts_of_incident(db, incident.id)], "ledger_entries": ledger_size(db),
    }  # fmt: skip


def _record(
    db: Session, kind: str, model: Model, row: SeriousIncident, actor: str, now: datetime, body: dict[str, Any]
) -> None:
    full = {"serious_incident": row.id, **body}
    append_entry(db, kind=kind, actor=actor, subject=f"model:{model.name}", body=full, at=now)


def _open(row: SeriousIncident) -> None:
    if row.state == "closed":
        raise SeriousStateError(
            f"serious incident {row.id} is closed; declare another", serious_incident=str(row.id), state=row.state
        )


def _text(field: str, text: str) -> str:
    kept = text.strip()
    if not kept or len(kept) > MAX_CHARS:
        raise InvalidError(f"{field} has {len(kept)} characters; write 1 to {MAX_CHARS}", field=field, value=kept[:60])
    return kept
