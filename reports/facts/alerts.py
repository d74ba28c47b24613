"""The lines of a report about alerts and retraining decisions."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from monitor.alerts.findings import findings
from monitor.alerts.serious import standing
from monitor.alerts.tables import SeriousIncident
from monitor.store import fairness_causes
from monitor.tables import Alert, FairnessCause, Incident
from reports import document as doc
from reports.alerts.incident import visible
from reports.facts.citations import Citations
from reports.facts.measures import finite
from reports.paths import without_paths
from reports.wording.phrases import confirmation_words
from retrain.store import flips_of_alert
from retrain.tables import FairnessFlip, TriggerDecision

MOST_SENTENCES: Final = 3


def alert_line(a: Alert, known: datetime, citations: Citations, why: str = "") -> doc.AlertLine:
    acknowledged = a.acknowledged_at is not None and a.acknowledged_at <= known
    resolved = a.resolved_at is not None and a.resolved_at <= known
    return doc.AlertLine(
        id=str(a.id),
        severity=a.severity,
        incident=str(a.incident_id),
        monitor=a.monitor,
        metric=a.metric,
        column=a.column,
        value=finite(a.value),
        limit=finite(a.limit),
        sentence=a.sentence,
        windows=a.windows,
        episodes=sum("withdrawn" not in e for e in a.episodes),
        withdrawn_windows=a.withdrawn_windows,
        withdrawn_at=a.withdrawn_at,
        state="resolved" if resolved else "acknowledged" if acknowledged else "open",
        opened_at=a.opened_at,
        opened_entry=citations.find("alert.opened", a.id),
        acknowledged_at=a.acknowledged_at if acknowledged else None,
        acknowledged_by=a.acknowledged_by if acknowledged else None,
        acknowledged_entry=citations.find("alert.acknowledged", a.id) if acknowledged else None,
        resolved_at=a.resolved_at if resolved else None,
        resolved_by=a.resolved_by if resolved else None,
        resolved_entry=citations.find("alert.resolved", a.id) if resolved else None,
        confirmation=without_paths(confirmation_words(a)),
        why=without_paths(why),
    )


def why_sentences(db: Session, alerts: Sequence[Alert], known: datetime) -> dict[UUID, str]:
    """What drove each alert in the window it was told for, as far as that was known at a time."""
    found = {}
    for alert_id, rows in findings(db, [a.id for a in alerts]).items():
        told = [row.sentence for row in rows if row.created_at <= known and row.state != "failed"]
        found[alert_id] = told[0] if told else ""
    for alert in (a for a in alerts if a.monitor == "fairness"):
        told = [s for row in fairness_causes(db, alert.id) if row.computed_at <= known for s in cause_sentences(row)]
        told += [flip_sentence(row) for row in flips_of_alert(db, alert.id) if row.at <= known]
        found[alert.id] = " ".join(filter(None, (found.get(alert.id, ""), *told)))
    return found


def cause_sentences(row: FairnessCause) -> list[str]:
    """What is printed of where a disparity comes from: what carries it, what is left, and every turn."""
    told: list[str] = row.document["sentences"]
    return told[:MOST_SENTENCES] + [s for s in told[MOST_SENTENCES:] if s.startswith("Simpson")]


def flip_sentence(row: FairnessFlip) -> str:
    """The shares of answers that a flip test changed."""
    parts = [
        f"{t['test']} {t['changed']} of {t['n']} ({t['low']:.1%} to {t['high']:.1%})"
        for t in row.document["tests"] if t["n"]
    ]  # fmt: skip
    return f"Flip tests of {row.version}, answers that change: {', '.join(parts)}." if parts else ""


def serious_lines(
    rows: Sequence[SeriousIncident], since: datetime, known: datetime, citations: Citations
) -> tuple[doc.SeriousLine, ...]:
    """Those that were declared up to a time, and were not closed before the period."""
    return tuple(
        doc.SeriousLine(
            id=str(s.id), incident=str(s.incident_id), kind=s.kind, aware_at=s.aware_at, deadline=s.deadline,
            clock=standing(s, known), state=s.state, reported_at=min((r["at"] for r in s.reports), default=None),
            complete=any(r["stage"] == "complete" for r in s.reports), entry=citations.find("incident.serious", s.id),
        )
        for s in rows
        if s.declared_at <= known and (s.closed_at is None or s.closed_at >= since)
    )  # fmt: skip


def incident_lines(
    incidents: Sequence[Incident], alerts: Sequence[Alert], known: datetime, shared: Collection[UUID]
) -> tuple[doc.IncidentLine, ...]:
    """The incidents of these alerts, as they were at a time.

    Args:
        alerts: of the model that the report is about.
        shared: ids of incidents of other models too: whoever reads about one model sees the words of its alerts.
    """
    of = {i.id: [a for a in alerts if a.incident_id == i.id] for i in incidents}
    told = {i.id: visible(i, of[i.id], whole=i.id not in shared) for i in incidents}
    return tuple(
        doc.IncidentLine(
            id=str(i.id), headline=told[i.id][0], severity=told[i.id][1], alerts=len(of[i.id]), opened_at=i.opened_at,
            state=i.state if i.state != "resolved" or _resolved(i, known) else "open",
            resolved_at=i.resolved_at if _resolved(i, known) else None,
        )
        for i in incidents
    )  # fmt: skip


def _resolved(incident: Incident, known: datetime) -> bool:
    return incident.resolved_at is not None and incident.resolved_at <= known


def decision_line(d: TriggerDecision, citations: Citations) -> doc.DecisionLine:
    return doc.DecisionLine(
        id=str(d.id),
        at=d.at,
        cause=d.cause,
        fired=d.fired,
        reason=d.reason,
        triggers=tuple(d.triggers),
        blocked_by=tuple(d.blocked_by),
        spec_revision=d.spec_revision,
        entry=citations.find("trigger.decision", d.id),
    )
