"""File of an incident: what happened when, its alerts, what people did, and the clock of a serious one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.alerts import post_mortems, serious, store
from monitor.alerts.tables import SeriousIncident
from monitor.site import Site
from monitor.tables import Incident, IncidentNote
from reports import document as doc
from reports import store as store_of_reports
from reports.facts.citations import Citations
from reports.facts.said import SaidBy
from reports.kinds import kind_named
from reports.kinds.listings import alerts_table, deeds_table, measures_table, promotions_table, table
from reports.kinds.made import base_of, fact, sections_report
from reports.parts import Unmeasured
from reports.tables import Report

KIND: Final = kind_named("incident")
TERMS: Final = (
    "window",
    "drift verdict",
    "realised KPI",
    "interval",
    "alarm of a KPI or fairness metric",
    "ledger entry",
)


def incident_file(site: Site, db: Session, row: Report) -> doc.SectionsReport:
    """The document of an incident, as it stands now; an open one says so."""
    base, said, now = base_of(site, db, row), SaidBy(site.keys.subject), row.created_at
    assert base.front is not None
    assert row.subject is not None
    incident = store.incident(db, UUID(row.subject))
    notes = store.notes(db, incident.id)
    mine = [a for a in base.alerts if a.incident == row.subject]
    alone = db.scalars(select(SeriousIncident).where(SeriousIncident.incident_id == incident.id)).first()
    deeds = [d for d in base.front.deeds if _about(d, incident, mine, alone)]
    sections = (
        _clock(alone, said, now),
        doc.ReportSection(title="Timeline", tables=(_timeline(notes, said),)),
        doc.ReportSection(
            title="Alerts", tables=(alerts_table(mine, "No alert belongs to it: a person declared it."),)
        ),
        doc.ReportSection(title="What people did", tables=(deeds_table(deeds, "Nobody has answered it yet."),)),
        _post_mortem(db, base, incident, said, now),
        doc.ReportSection(
            title="Around it",
            text=(
                f"{len(base.windows):,} windows ended in its time; {sum(w.verdict == 'alarm' for w in base.windows):,} "
                "alarmed.",
            ),
            tables=(
                measures_table("KPIs", base.kpi, "No KPI was measured in its time."),
                measures_table("Disparities", base.fairness, "No disparity was measured in its time."),
                promotions_table(base.front.promotions),
            ),
        ),
    )
    return sections_report(
        row, base, title=KIND.title, format=KIND.format, about="incident",
        sentence=_sentence(incident, mine, alone, now),
        status="ok" if incident.state == "resolved" else "alarm", facts=_facts(incident, mine, alone, now),
        sections=sections, terms=TERMS, not_measured=_missing(incident, alone), alerts=tuple(mine), kpi=base.kpi,
        fairness=base.fairness, groups=(),
    )  # fmt: skip


def _about(
    deed: doc.DeedLine, incident: Incident, alerts: Sequence[doc.AlertLine], alone: SeriousIncident | None
) -> bool:
    """Whether something that a person did is about this incident, or one of its alerts."""
    short = [str(incident.id)[:8], *(a.id[:8] for a in alerts)]
    told = "serious" in deed.did or deed.did in ("reported to an authority", "classified anew")
    return any(name in deed.about for name in short) or (alone is not None and told)


def _sentence(incident: Incident, alerts: Sequence[doc.AlertLine], alone: SeriousIncident | None, now: datetime) -> str:
    end = f"resolved on {incident.resolved_at:%Y-%m-%d %H:%M} UTC" if incident.resolved_at else "not resolved yet"
    many = "1 alert" if len(alerts) == 1 else f"{len(alerts)} alerts"
    said = f"Since {incident.from_ts:%Y-%m-%d %H:%M} UTC: {incident.headline.rstrip('.')}. {many}, {end}."
    if alone is None:
        return f"{said} Nobody declared it serious."
    return f"{said} Serious: {serious.WORDS[alone.kind]}; the clock is {serious.standing(alone, now)}."


def _facts(
    incident: Incident, alerts: Sequence[doc.AlertLine], alone: SeriousIncident | None, now: datetime
) -> list[doc.Fact]:
    found = [
        fact("Incident", str(incident.id)), fact("State", incident.state), fact("Severity", incident.severity),
        fact("Assigned to", incident.owner, reason="nobody"),
        fact("Opened", incident.opened_at.isoformat(), type="time"),
        fact("Resolved", _moment(incident.resolved_at), type="time", reason="not yet"),
        fact("Alerts", len(alerts), type="count"),
    ]  # fmt: skip
    if alone is None:
        found.append(fact("Deadline to tell an authority", None, reason="nobody declared the incident serious"))
        return found
    return [
        *found, fact("Aware", alone.aware_at.isoformat(), type="time"),
        fact("Tell an authority by", alone.deadline.isoformat(), type="time", method=serious.WORDS[alone.kind]),
        fact("Clock", serious.standing(alone, now)), fact("Time left, hours", _left(alone, now), type="number",
                                                          reason="the clock has stopped"),
    ]  # fmt: skip


def _left(alone: SeriousIncident, now: datetime) -> float | None:
    """Hours until the deadline, negative once it is past; None once an authority was told or it was closed."""
    if alone.reports or alone.state == "closed":
        return None
    return round((alone.deadline - now).total_seconds() / 3600, 1)


def _clock(alone: SeriousIncident | None, said: SaidBy, now: datetime) -> doc.ReportSection:
    """Source: Regulation (EU) 2024/1689, Article 73."""
    title = "Deadline clock of a serious incident"
    if alone is None:
        return doc.ReportSection(
            title=title, text=("Nobody declared this incident serious, so no clock runs.",),
            supply=("whether it is a serious incident (AI Act, Article 73): assay serious declare",),
        )  # fmt: skip
    told = said.words([r["authority"] for r in alone.reports])
    rows = (
        (r["at"], r["stage"], who, "late" if datetime.fromisoformat(r["at"]) > alone.deadline else "in time", r["by"])
        for r, who in zip(alone.reports, told, strict=True)
    )
    return doc.ReportSection(
        title=title, text=tuple(said.words([alone.description])),
        facts=(
            fact("Kind", serious.WORDS[alone.kind]), fact("Declared", alone.declared_at.isoformat(), type="time"),
            fact("Declared by", alone.declared_by), fact("Aware", alone.aware_at.isoformat(), type="time"),
            fact("Deadline", alone.deadline.isoformat(), type="time"), fact("Clock", serious.standing(alone, now)),
            fact("Spec in force then", str(alone.evidence.get("spec")), type="digest"),
            fact("Entries of the ledger then", alone.evidence.get("ledger_entries"), type="count"),
        ),
        tables=(
            table(
                "Reports to authorities",
                "at time 0.9; stage text 0.7; authority text 1.6; in time text 0.7; by text 0.9",
                rows, "No authority has been told yet.",
            ),
        ),
        supply=("the causal link, and what the provider did about it",),
    )  # fmt: skip


def _post_mortem(
    db: Session, base: doc.AuditReport, incident: Incident, said: SaidBy, now: datetime
) -> doc.ReportSection:
    """The newest version that was written up to a time."""
    found = next((row for row in post_mortems.versions(db, incident.id) if row.written_at <= now), None)
    if found is None:
        return doc.ReportSection(
            title="Post-mortem", text=("None has been written yet.",),
            supply=("what happened, what it cost, why, what was done and what will change: on the incident's page",),
        )  # fmt: skip
    head = base.checkpoint.size if base.checkpoint else None
    cited = Citations(store_of_reports.entries(db, [f"model:{base.identity.model}"], head))
    parts = list(post_mortems.WORDS)
    texts = said.whole([getattr(found, name) for name in parts])
    return doc.ReportSection(
        title="Post-mortem",
        facts=(
            fact("Version", found.version, type="count"), fact("Written by", found.author),
            fact("Written", found.written_at.isoformat(), type="time"),
            fact("Digest of the texts", found.digest, type="digest",
                 entry=cited.find("incident.post_mortem", found.digest, incident.id)),
            *(fact(post_mortems.WORDS[name], text or None, reason="nobody can say yet")
              for name, text in zip(parts, texts, strict=True)),
        ),
    )  # fmt: skip


def _timeline(notes: Sequence[IncidentNote], said: SaidBy) -> doc.SectionTable:
    words = said.words([n.text for n in notes])
    rows = ((n.at.isoformat(), n.actor, n.kind, text) for n, text in zip(notes, words, strict=True))
    return table(
        "What happened, in order", "at time 0.9; who text 0.9; what text 0.7; text text 2.9", rows,
        "Nothing is noted in its timeline.",
    )  # fmt: skip


def _missing(incident: Incident, alone: SeriousIncident | None) -> tuple[Unmeasured, ...]:
    found = []
    if incident.resolved_at is None:
        found.append(Unmeasured(what="how it ended", why="not yet: it is not resolved", count=None))
    if alone is not None and not alone.reports:
        found.append(Unmeasured(what="what an authority was told", why="not yet: none has been told", count=None))
    return tuple(found)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
