"""Gather the audit report of one model and period: facts, each with its ledger entry. No formatting."""

from importlib.metadata import PackageNotFoundError, version

from sqlalchemy.orm import Session

from governance.ledger.checkpointing import latest_checkpoint
from monitor.site import Site
from monitor.spec.parse import parse_spec
from reports import document as doc
from reports import store
from reports.facts.alerts import alert_line, decision_line
from reports.facts.citations import Citations
from reports.facts.measures import drift_lines, group_lines, measure_line
from reports.facts.methods import DEFINITIONS
from reports.facts.plan import plan_lines
from reports.facts.standing import champion_at, health_at
from reports.facts.unmeasured import unmeasured_lines, visible_lines
from reports.facts.verdicts import verdict_lines
from reports.facts.versions import run_line, version_line
from reports.facts.windows import baseline_line, threshold_lines, window_line
from reports.facts.words import budget_words
from reports.tables import Report

SOFTWARE = (
    "assay",
    "altair",
    "bitsandbytes",
    "deltalake",
    "evidently",
    "fairlearn",
    "numpy",
    "peft",
    "polars",
    "pydantic",
    "rfc8785",
    "scikit-learn",
    "scipy",
    "shap",
    "sqlalchemy",
    "torch",
    "transformers",
    "typst",
    "vl-convert-python",
)


def gather(site: Site, db: Session, report: Report) -> doc.AuditReport:
    """The document of a requested report. Equal database, equal document."""
    model = store.model_of(db, report.model_id)
    since, until = report.period_from, report.period_to
    known = max(
        until, report.created_at
    )  # what followed from the period is told as it stood when the report was asked for
    revisions = store.spec_revisions(db, model.id)
    in_force = [r for r in revisions if r.created_at <= until] or list(revisions[:1])
    revision = in_force[-1]
    spec = parse_spec(revision.document)
    runs = store.runs(db, model.id, since, until)
    head = latest_checkpoint(db)
    subjects = [f"model:{model.name}", *(f"run:{r.id}" for r in runs)]
    citations = Citations(store.entries(db, subjects, head.size if head is not None else None))
    windows = store.windows(db, model.id, since, until)
    measured = store.measurements(db, model.id, since, until)
    alerts = store.alerts(db, model.id, since, until)
    decisions = store.decisions(db, model.id, since, until)
    versions = [v for v in store.versions(db, model.id) if v.created_at <= known]
    baselines = store.baselines(db, model.id, known)
    by_id = {w.id: w for w in windows}
    champion = champion_at(versions, until) or champion_at(versions, known)
    state = health_at(site, db, model, spec, until=until, known=known)
    window_lines = tuple(window_line(w, citations) for w in windows)
    kpi = tuple(measure_line(m, by_id, spec) for m in measured if m.monitor == "kpi")
    fairness = tuple(measure_line(m, by_id, spec) for m in measured if m.monitor == "fairness")
    alert_lines = tuple(alert_line(a, known, citations) for a in alerts)
    gates = store.gates(db, [r.id for r in runs])
    used = store.datasets(db, [i for r in runs for i in (r.train_dataset_id, r.eval_dataset_id, r.holdout_dataset_id)])
    run_lines = tuple(run_line(r, gates[r.id], used, citations) for r in runs)
    decision_lines = tuple(decision_line(d, citations) for d in decisions)
    explained = store.explanations(db, model.id, since, until)
    thresholds = threshold_lines(in_force, citations)
    plan = plan_lines(spec, windows, kpi, fairness, alert_lines, decision_lines, since, until)
    drift = tuple(line for w in windows for line in drift_lines(w, spec))
    unmeasured = unmeasured_lines(spec, windows, kpi, len(explained), plan)
    identity = doc.ModelIdentity(
        model=model.name,
        task=spec.task,
        owner=spec.owner,
        purpose=spec.purpose,
        risk=spec.risk,
        spec_revision=revision.revision,
        spec_digest=revision.digest,
        spec_recorded_at=revision.created_at,
        spec_author=revision.author,
        spec_entry=citations.find("model.spec", revision.digest, last=True),
        origin=site.settings.ledger.origin,
        vkey=site.keys.vkey,
        champion=champion.version if champion else None,
        champion_promoted_at=champion.promoted_at if champion else None,
    )
    return doc.AuditReport(
        format=doc.FORMAT,
        report_id=str(report.id),
        kind=report.kind,
        regimes=tuple(map(str, report.regimes)),
        created_at=report.created_at,
        requested_by=report.requested_by,
        period=doc.ReportPeriod(start=since, end=until),
        identity=identity,
        checkpoint=None
        if head is None
        else doc.CheckpointLine(origin=site.settings.ledger.origin, size=head.size, root=head.root, at=head.at),
        health=state.sentence,
        status=state.status,
        verdicts=verdict_lines(spec, windows, kpi, fairness, alert_lines, run_lines),
        not_measured=unmeasured,
        false_alarm_budget=budget_words(spec),
        thresholds=thresholds,
        plan=plan,
        specs=tuple(
            doc.SpecLine(
                revision=r.revision,
                digest=r.digest,
                author=r.author,
                recorded_at=r.created_at,
                entry=citations.find("model.spec", r.digest),
            )
            for r in in_force
        ),
        baselines=tuple(baseline_line(b, citations) for b in baselines),
        windows=window_lines,
        drift=drift,
        visible=visible_lines(windows, spec),
        kpi=kpi,
        fairness=fairness,
        groups=tuple(line for m in measured if m.monitor == "fairness" for line in group_lines(m)),
        alerts=alert_lines,
        decisions=decision_lines,
        runs=run_lines,
        versions=tuple(version_line(v, citations) for v in versions),
        explanations=tuple(
            doc.ExplanationLine(
                version=e.version, digest=e.artifact, additivity_residual=e.additivity_residual, created_at=e.created_at
            )
            for e in explained
        ),
        ledger=tuple(
            doc.LedgerLine(index=e.index, at=e.at, kind=e.kind, actor=e.actor, subject=e.subject)
            for e in citations.entries()
        ),
        definitions=DEFINITIONS,
        software=software(),
    )


def software() -> tuple[doc.Software, ...]:
    found = []
    for name in SOFTWARE:
        try:
            found.append(doc.Software(name=name, version=version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
