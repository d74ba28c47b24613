"""Gather the audit report of one model and period: facts, each with its ledger entry. No formatting."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from governance.ledger.checkpointing import latest_checkpoint
from governance.policy.changes import changes
from governance.tables import LedgerCheckpoint
from monitor.alerts import serious
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Explanation, Measurement, Model, ReferenceRow, SpecRevision, Window
from reports import document as doc
from reports import store
from reports.facts.alerts import alert_line, decision_line, incident_lines, serious_lines, why_sentences
from reports.facts.bound import bound_rows, stated, withheld
from reports.facts.citations import Citations
from reports.facts.execution import execution_lines
from reports.facts.fairness import fairness_answer, own_values
from reports.facts.front import Frame, front_page
from reports.facts.identity import checkpoint_line, identity_of, software
from reports.facts.measures import drift_lines, group_lines, measure_line
from reports.facts.period import period_line
from reports.facts.standing import champion_at, health_at
from reports.facts.versions import run_line, version_line
from reports.facts.windows import baseline_line, threshold_lines, window_line
from reports.tables import Report
from reports.wording.methods import DEFINITIONS
from reports.wording.phrases import budget_words
from reports.wording.plan import plan_lines, schedules
from reports.wording.unmeasured import unmeasured_lines, visible_lines
from reports.wording.verdicts import reference_waits, verdict_lines
from retrain.runs.change_document import evidence_of
from retrain.tables import ModelVersion, Run, TriggerDecision
from retrain.triggers.schedule import declared_since


@dataclass(frozen=True, slots=True)
class _Material:
    """Everything the report is made of, read once."""

    model: Model
    revisions: Sequence[SpecRevision]  # in force in the period, oldest first
    spec: ModelSpec
    head: LedgerCheckpoint | None
    citations: Citations
    windows: Sequence[Window]
    measured: Sequence[Measurement]
    alerts: Sequence[Alert]
    decisions: Sequence[TriggerDecision]
    runs: Sequence[Run]
    versions: Sequence[ModelVersion]
    explained: Sequence[Explanation]
    baselines: Sequence[ReferenceRow]


def gather(site: Site, db: Session, report: Report) -> doc.AuditReport:
    """The document of a requested report. An equal database gives an equal document."""
    since, until = report.period_from, report.period_to
    # What followed from the period is reported as it was when the report was requested.
    known = max(until, report.created_at)
    found = _read(db, report, known)
    spec, citations, windows = found.spec, found.citations, found.windows
    state = health_at(site, db, found.model, spec, until=until, known=known)
    bound = bound_rows(db, str(report.model_id))
    status, sentence = stated(state, bound)
    by_id = {w.id: w for w in windows}
    kpi = tuple(measure_line(m, by_id, spec) for m in found.measured if m.monitor == "kpi")
    fairness = tuple(measure_line(m, by_id, spec) for m in found.measured if m.monitor == "fairness")
    told = why_sentences(db, found.alerts, known)
    alerts = tuple(alert_line(a, known, citations, told[a.id]) for a in found.alerts)
    decisions = tuple(decision_line(d, citations) for d in found.decisions)
    runs = _run_lines(db, found)
    thresholds = threshold_lines(found.revisions, citations)
    declared = declared_since(((r.document, r.created_at) for r in reversed(found.revisions)), schedules(spec))
    plan = plan_lines(spec, windows, kpi, fairness, alerts, decisions, since, until, declared)
    plan = (*plan, *execution_lines(db, found.model, windows, since, min(until, known)))
    champion = champion_at(found.versions, until) or champion_at(found.versions, known)
    identity = identity_of(site, found.model, spec, found.revisions[-1], champion, citations)
    fair = fairness_answer(
        db, found.model, spec, since, until, hidden=own_values(spec), changed=sentence if bound.changes else None
    )
    theirs = {a.incident_id for a in found.alerts}
    at = Frame(found.model, spec, store.spec_revisions(db, found.model.id), since, until, known, citations)
    return doc.AuditReport(
        format=doc.FORMAT, report_id=str(report.id), kind=report.kind, regimes=tuple(map(str, report.regimes)),
        created_at=report.created_at, requested_by=report.requested_by,
        period=period_line(db, report, found.model, found.revisions, windows), identity=identity,
        checkpoint=checkpoint_line(site, found.head),
        health=sentence, status=status,
        verdicts=withheld(
            verdict_lines(spec, windows, kpi, fairness, alerts, runs, reference_waits(found.baselines)), bound
        ), bound=bound,
        not_measured=unmeasured_lines(spec, windows, kpi, len(found.explained), plan),
        false_alarm_budget=budget_words(spec), thresholds=thresholds, plan=plan,
        specs=tuple(_spec_line(r, citations) for r in found.revisions),
        baselines=tuple(baseline_line(b, citations) for b in found.baselines),
        windows=tuple(window_line(w, citations) for w in windows),
        drift=tuple(line for w in windows for line in drift_lines(w, spec)),
        visible=visible_lines(windows, spec), kpi=kpi, fairness=fairness,
        fair=fair, front=front_page(site, db, at, windows, found.alerts, found.runs, found.versions, fair),
        groups=tuple(line for m in found.measured if m.monitor == "fairness" for line in group_lines(m)),
        incidents=incident_lines(
            store.incidents(db, theirs), found.alerts, known, store.shared_incidents(db, theirs, found.model.id)
        ),
        serious=serious_lines(serious.listed(db, found.model.id), since, known, citations),
        alerts=alerts, decisions=decisions, runs=runs,
        versions=tuple(version_line(v, citations) for v in found.versions),
        explanations=tuple(map(_explanation_line, found.explained)),
        ledger=tuple(
            doc.LedgerLine(index=e.index, at=e.at, kind=e.kind, actor=e.actor, subject=e.subject)
            for e in citations.entries()
        ),
        definitions=DEFINITIONS, software=software(),
    )  # fmt: skip


def _read(db: Session, report: Report, known: datetime) -> _Material:
    model = store.model_of(db, report.model_id)
    since, until = report.period_from, report.period_to
    revisions = store.spec_revisions(db, model.id)
    in_force = [r for r in revisions if r.created_at <= until] or list(revisions[:1])
    runs = store.runs(db, model.id, since, until)
    head = latest_checkpoint(db)
    asked = (c.id for c in changes(db, model.name))
    subjects = [f"model:{model.name}", *(f"run:{r.id}" for r in runs), *(f"change:{one}" for one in asked)]
    return _Material(
        model=model, revisions=in_force, spec=parse_spec(in_force[-1].document), head=head,
        citations=Citations(store.entries(db, subjects, head.size if head is not None else None)),
        windows=store.windows(db, model.id, since, until), measured=store.measurements(db, model.id, since, until),
        alerts=store.alerts(db, model.id, since, until), decisions=store.decisions(db, model.id, since, until),
        runs=runs, versions=[v for v in store.versions(db, model.id) if v.created_at <= known],
        explained=store.explanations(db, model.id, since, until), baselines=store.baselines(db, model.id, known),
    )  # fmt: skip


def _run_lines(db: Session, found: _Material) -> tuple[doc.RunLine, ...]:
    gates = store.gates(db, [r.id for r in found.runs])
    used = [i for r in found.runs for i in (r.train_dataset_id, r.eval_dataset_id, r.holdout_dataset_id)]
    datasets = store.datasets(db, used)
    return tuple(run_line(r, gates[r.id], datasets, found.citations, evidence_of(db, r)) for r in found.runs)


def _spec_line(revision: SpecRevision, citations: Citations) -> doc.SpecLine:
    return doc.SpecLine(
        revision=revision.revision, digest=revision.digest, author=revision.author, recorded_at=revision.created_at,
        entry=citations.find("model.spec", revision.digest),
    )  # fmt: skip


def _explanation_line(row: Explanation) -> doc.ExplanationLine:
    return doc.ExplanationLine(
        version=row.version, digest=row.artifact, additivity_residual=row.additivity_residual,
        created_at=row.created_at,
    )  # fmt: skip
