"""What people did about a model in a period, and the reasons they gave."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR
from monitor.tables import Alert, IncidentNote
from reports import document as doc
from reports.facts.approvals import who_of
from reports.facts.citations import Citations
from reports.facts.said import SaidBy
from reports.store import Entry, shared_incidents

# Entries that say what a person did: words, and the field of the body that holds the reason.
DONE: Final[Mapping[str, tuple[str, str]]] = {
    "run.approved": ("approved run", "reason"), "run.rejected": ("rejected run", "reason"),
    "run.attested": ("attested run", "statement"), "run.allowed": ("allowed outside a limit, once, run", "reason"),
    "stop.set": ("stopped", "reason"), "stop.lift_agreed": ("agreed to lift the stop of", "reason"),
    "stop.lifted": ("lifted the stop of", "reason"), "stop.drilled": ("drilled the stop of", "reason"),
    "change.asked": ("asked to loosen the spec of", ""),
    "change.approved": ("approved loosening the spec of", "reason"),
    "change.rejected": ("rejected loosening the spec of", "reason"), "model.spec": ("changed the spec of", ""),
    "version.rolled_back": ("rolled back", "reason"), "hold.added": ("put under legal hold", "reason"),
    "hold.released": ("released the legal hold of", "reason"),
    "provenance.declared": ("declared the provenance of", ""),
    "incident.serious": ("declared serious", ""), "incident.serious_classified": ("classified anew", ""),
    "incident.serious_reported": ("reported to an authority", ""), "incident.serious_closed": ("closed as serious", ""),
}  # fmt: skip
DIGESTS: Final = ("description", "reason", "text", "note", "reference")  # fields that hold a digest of what was written
MOST: Final = 200  # lines that a report holds
ANSWERS: Final = ("acknowledged", "resolved", "commented on", "assigned", "snoozed", "muted")
HEX: Final = 64  # characters of a digest
# Who reads about one model need not see the others: what was written about an incident of several may speak of those.
ELSEWHERE: Final = "the incident is of several models; the words are in its file"
WRITTEN: Final[Mapping[str, str]] = {  # kinds of notes that people make of an incident, in words
    "commented": "commented on", "assigned": "assigned", "snoozed": "snoozed", "muted": "muted", "linked": "linked to",
    "unlinked": "took apart from", "merged": "merged into", "post_mortem": "wrote the post-mortem of",
}  # fmt: skip


def deed_lines(
    db: Session, entries: Sequence[Entry], alerts: Sequence[Alert], since: datetime, until: datetime,
    runs: Iterable[str], citations: Citations, said: SaidBy, known: datetime,
) -> tuple[doc.DeedLine, ...]:  # fmt: skip
    """Everything that people did in a period, about its alerts or about its runs, in order of time.

    Args:
        entries: about the model, its runs and its changes.
        known: what was done later does not count.
    """
    about = {f"run:{run}" for run in runs}
    found = [
        _of_entry(entry)
        for entry in entries
        if entry.kind in DONE and entry.actor != SYSTEM_ACTOR
        if since <= datetime.fromisoformat(entry.at) <= until or entry.subject in about
        if datetime.fromisoformat(entry.at) <= known
    ]
    found += _of_alerts(db, alerts, known, citations, said)
    words = said.words([line.reason for line in found])
    lines = [
        line if line.reason is None else line.model_copy(update={"reason": reason})
        for line, reason in zip(found, words, strict=True)
    ]
    return tuple(sorted(lines, key=lambda line: (datetime.fromisoformat(line.at), line.entry or 0, line.about)))


def foremost(lines: Sequence[doc.DeedLine]) -> tuple[doc.DeedLine, ...]:
    """At most `MOST` of them in their order: what was decided first, then the newest answers to alerts."""
    if len(lines) <= MOST:
        return tuple(lines)
    order = sorted(range(len(lines)), key=lambda i: (lines[i].did not in ANSWERS, i), reverse=True)
    return tuple(lines[i] for i in sorted(order[:MOST]))


def _of_entry(entry: Entry) -> doc.DeedLine:
    did, field = DONE[entry.kind]
    reason = str(entry.body.get(field) or "") if field else None
    digest = next((str(entry.body[n]) for n in DIGESTS if n != field and _is_digest(entry.body.get(n))), None)
    return doc.DeedLine(
        did=did, about=_about(entry), who=who_of(entry), at=entry.at, reason=reason, digest=digest, entry=entry.index
    )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= HEX and " " not in value


def _about(entry: Entry) -> str:
    kind, _, name = entry.subject.partition(":")
    if kind == "run":
        return name[:8]
    if kind == "change":
        return str(entry.body.get("model") or name)
    if entry.kind == "model.spec":
        return f"{name}, revision {entry.body.get('revision')}"
    if entry.kind == "version.rolled_back":
        return f"to {entry.body.get('version')}"
    if entry.kind == "provenance.declared":
        return f"{str(entry.body.get('of')).replace('_', ' ')} {str(entry.body.get('name')).rpartition('/')[2]}"
    return name


def _of_alerts(
    db: Session, alerts: Sequence[Alert], known: datetime, citations: Citations, said: SaidBy
) -> list[doc.DeedLine]:
    incidents, own = {a.incident_id for a in alerts}, {a.id for a in alerts}
    shared = frozenset[UUID]() if not alerts else shared_incidents(db, incidents, alerts[0].model_id)
    notes = db.scalars(
        select(IncidentNote)
        .where(IncidentNote.incident_id.in_(incidents), IncidentNote.at <= known)
        .order_by(IncidentNote.at, IncidentNote.number)
    ).all()
    written = {(n.alert_id, n.kind): n.text for n in notes if n.alert_id is not None}
    found = []
    for a in alerts:
        name = f"{a.monitor} {a.metric.replace('_', ' ')}, alert {str(a.id)[:8]}"
        first = a.note if a.resolved_at is None else None
        for did, at, who, kept in (
            ("acknowledged", a.acknowledged_at, a.acknowledged_by, first),
            ("resolved", a.resolved_at, a.resolved_by, a.note),
        ):
            if at is not None and at <= known and who not in (None, SYSTEM_ACTOR):
                text = written.get((a.id, did)) or kept or ""
                found.append(_deed(did, name, who, at, text, citations.find(f"alert.{did}", a.id)))
    for n in notes:
        if n.kind in WRITTEN and n.actor != SYSTEM_ACTOR:
            digest = said.digest(n.text)
            entry = citations.find(f"incident.{n.kind}", n.incident_id, digest)
            text = n.text if n.incident_id not in shared or n.alert_id in own else ELSEWHERE
            line = _deed(WRITTEN[n.kind], f"incident {str(n.incident_id)[:8]}", n.actor, n.at, text, entry)
            found.append(line if entry is None else line.model_copy(update={"digest": digest}))
    return found


def _deed(did: str, about: str, who: str | None, at: datetime, text: str, entry: int | None) -> doc.DeedLine:
    return doc.DeedLine(did=did, about=about, who=who or "", at=at.isoformat(), reason=text, digest=None, entry=entry)
