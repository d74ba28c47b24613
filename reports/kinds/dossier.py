"""Dossier of a retrain: trigger, data, recipe, training, evaluation, gates, approvals, promotion, proof."""

from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import canonical
from monitor.site import Site
from reports import document as doc
from reports.facts import runs as told
from reports.kinds import kind_named
from reports.kinds.listings import (
    alerts_table,
    deeds_table,
    evaluation_table,
    gates_table,
    ledger_table,
    limits_table,
    promotions_table,
    table,
    trained_tables,
)
from reports.kinds.made import base_of, fact, sections_report
from reports.parts import Unmeasured
from reports.tables import Report
from reports.wording.phrases import brief_words, held_words
from retrain.runs.change_document import change_document

KIND: Final = kind_named("dossier")
TERMS: Final = ("trigger decision", "change envelope", "gate", "interval", "drift verdict", "ledger entry")
PROOF: Final = (
    "AI Act, Article 43(4) and Annex IV 2(f): changes that were determined beforehand and recorded. The bundle holds "
    "the proof as change.json; `assay envelope --check change.json` computes each line again without this installation."
)
ENDED: Final = {"promoted": "ok", "rejected": "alarm", "failed": "alarm"}


def dossier(site: Site, db: Session, row: Report) -> doc.SectionsReport:
    """The document of a dossier; a run that has not ended says so."""
    base = base_of(site, db, row)
    run = next(r for r in base.runs if r.id == row.subject)
    decision = next((d for d in base.decisions if d.id == run.decision), None)
    assert base.front is not None
    subject = f"run:{run.id}"
    lines = [t for t in base.front.trained if t.run == run.id]
    promotions = [p for p in base.front.promotions if p.run == run.id]
    deeds = [d for d in base.front.deeds if d.entry in _entries(base, subject)]
    sections = (
        _trigger(base, decision),
        doc.ReportSection(title="Data", tables=(_sets(run), *(trained_tables(lines)[1:] if lines else ()))),
        doc.ReportSection(
            title="Recipe",
            facts=(
                *(fact(k, v) for k, v in told.configuration(run.config, run.metrics)),
                fact("Digest of the configuration", run.config_digest, type="digest"),
            ),
        ),
        doc.ReportSection(
            title="Training",
            facts=tuple(fact(k, v) for k, v in told.training(run.metrics)),
            text=() if run.metrics else ("Nothing was trained, or it has not ended.",),
        ),
        doc.ReportSection(title="Evaluation", tables=(evaluation_table(run),)),
        doc.ReportSection(title="Gates", tables=(gates_table(run),)),
        doc.ReportSection(
            title="Approvals",
            text=(_asked(base, run),),
            tables=(deeds_table(deeds, "No person approved, rejected or allowed anything about this run."),),
        ),
        doc.ReportSection(title="Promotion", tables=(promotions_table(promotions),)),
        doc.ReportSection(
            title="Proof that it stayed inside what was determined beforehand",
            text=(
                "AI Act, Article 43(4) and Annex IV 2(f): changes that were determined beforehand and recorded. The "
                "bundle holds the proof as change.json; `assay envelope --check change.json` computes each line again, "
                "without this installation.",
            ),
            tables=(limits_table(run),),
        ),
        doc.ReportSection(title="Entries of the ledger", tables=(ledger_table(base.ledger, [subject]),)),
    )
    return sections_report(
        row,
        base,
        title=KIND.title,
        format=KIND.format,
        about="run",
        sentence=_sentence(run),
        status=ENDED.get(run.state, "unknown"),
        facts=_facts(run, promotions),
        sections=sections,
        terms=TERMS,
        not_measured=_missing(run),
        decisions=(decision,) if decision is not None else (),
        alerts=base.alerts,
    )


def proof_members(site: Site, db: Session, row: Report) -> dict[str, bytes]:
    """The proof of the change, as a member of the bundle."""
    assert row.subject is not None  # a dossier has one
    return {"change.json": canonical(change_document(site, db, UUID(row.subject)))}


def _entries(base: doc.AuditReport, subject: str) -> set[int]:
    return {line.index for line in base.ledger if line.subject == subject}


def _sentence(run: doc.RunLine) -> str:
    """How it ended, what was made, what the gates said, and whether it stayed inside its limits."""
    made = f"no candidate of {run.champion} was made"
    if run.candidate:
        made = f"{run.candidate} was made from {run.champion}"
    failed = [g.gate.replace("_", " ") for g in run.gates if g.verdict not in ("pass", "not_applicable")]
    gates = "no gate was judged yet"
    if run.gates:
        gates = f"{len(run.gates) - len(failed)} of {len(run.gates)} gates passed"
        gates += f", not {', '.join(failed)}" if failed else ""
    end = {"promoted": "It was promoted", "rejected": "It was rejected", "failed": "It failed"}
    said = end.get(run.state, f"It has not ended, its state is {run.state.replace('_', ' ')}")
    return f"{said}: {made}; {gates}; its limits: {run.inside}."


def _facts(run: doc.RunLine, promotions: list[doc.PromotionLine]) -> list[doc.Fact]:
    promoted = promotions[0] if promotions else None
    return [
        fact("Run", run.id),
        fact("State", run.state.replace("_", " ")),
        fact("Champion then", run.champion),
        fact("Candidate", run.candidate, reason=None if run.candidate else "none yet"),
        fact("Started", run.created_at.isoformat(), type="time", entry=run.started_entry),
        fact("Ended", run.finished_at.isoformat() if run.finished_at else None, type="time", reason="not yet"),
        fact(
            "Put into service",
            promoted.at if promoted else None,
            type="time",
            reason="it was not promoted",
            entry=promoted.entry if promoted else None,
        ),
        fact(
            "Approvals",
            len(promoted.approved) if promoted else len(run.approvals),
            type="count",
            method=promoted.asked if promoted else "",
        ),
        fact("Inside its limits", run.inside),
    ]


def _trigger(base: doc.AuditReport, decision: doc.DecisionLine | None) -> doc.ReportSection:
    if decision is None:
        return doc.ReportSection(title="Trigger", text=("Its decision is not recorded.",))
    rows = (
        (
            str(t.get("name")).replace("_", " "),
            "fired" if t.get("fire") else "did not",
            brief_words(str(t.get("reason") or ""), ()),
        )
        for t in decision.triggers
    )
    held = held_words(decision.triggers, decision.blocked_by)
    return doc.ReportSection(
        title="Trigger",
        facts=(
            fact("Decided", decision.at.isoformat(), type="time", entry=decision.entry),
            fact("Cause", decision.cause),
            fact("Reason", brief_words(decision.reason, decision.triggers)),
            fact("Held back by", held or "nothing"),
        ),
        tables=(
            table(
                "What each trigger said",
                "trigger text 0.8; answer text 0.6; reason text 2.6",
                rows,
                "No trigger was asked: a person started it.",
            ),
            alerts_table(base.alerts, "No alert was open."),
        ),
    )


def _sets(run: doc.RunLine) -> doc.SectionTable:
    rows = ((told.source(d.role, d.provenance), d) for d in run.datasets)
    return table(
        "Sets of rows",
        "set text 0.8; rows count 0.5; labels text 0.5; from text 1.8; left out text 1.2; "
        "digest digest 0.8; entry entry 0.4",
        ((s.role, d.rows, s.labels, s.origin, s.dropped, d.digest, d.entry) for s, d in rows),
        "No set was recorded yet." if run.finished_at is None else "No set was recorded.",
    )


def _asked(base: doc.AuditReport, run: doc.RunLine) -> str:
    mine = [p.asked for p in (base.front.promotions if base.front else ()) if p.run == run.id]
    if mine:
        return mine[0][0].upper() + mine[0][1:] + "."
    return "It was not put into service." if run.finished_at else "It has not ended; approvals may follow."


def _missing(run: doc.RunLine) -> tuple[Unmeasured, ...]:
    found = []
    if run.finished_at is None:
        found.append(
            Unmeasured(what="the rest of the run", why=f"not yet: it is {run.state.replace('_', ' ')}", count=None)
        )
    if not run.evaluation:
        found.append(Unmeasured(what="champion against challenger", why="no evaluation was recorded", count=None))
    if run.used is None:
        found.append(Unmeasured(what="time, energy and CO2e", why="the run recorded none", count=None))
    return tuple(found)
