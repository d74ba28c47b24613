"""Gather the audit report of one model and period: facts, each with its ledger entry. No formatting."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from governance.ledger.checkpointing import latest_checkpoint
from monitor import store as monitor_store
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, BaselineRow, Dataset, Measurement, Model, SpecRevision, Window
from reports import document as doc
from reports import findings, store
from reports.citations import Citations
from reports.health import Facts, Health, health
from reports.methods import DEFINITIONS
from reports.redaction import without_paths
from reports.tables import Report
from retrain.tables import GateResult, ModelVersion, Run, TriggerDecision

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
    window_lines = tuple(_window(w, citations) for w in windows)
    kpi = tuple(_measure(m, by_id, spec) for m in measured if m.monitor == "kpi")
    fairness = tuple(_measure(m, by_id, spec) for m in measured if m.monitor == "fairness")
    alert_lines = tuple(_alert(a, known, citations) for a in alerts)
    gates = store.gates(db, [r.id for r in runs])
    used = store.datasets(db, [i for r in runs for i in (r.train_dataset_id, r.eval_dataset_id, r.holdout_dataset_id)])
    run_lines = tuple(_run(r, gates[r.id], used, citations) for r in runs)
    decision_lines = tuple(_decision(d, citations) for d in decisions)
    explained = store.explanations(db, model.id, since, until)
    thresholds = _thresholds(in_force, citations)
    plan = findings.plan(spec, windows, kpi, fairness, alert_lines, decision_lines, since, until)
    drift = tuple(line for w in windows for line in _drift(w, spec))
    unmeasured = findings.unmeasured(spec, windows, kpi, len(explained), plan)
    identity = doc.Identity(
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
        period=doc.Period(start=since, end=until),
        identity=identity,
        checkpoint=None
        if head is None
        else doc.Checkpoint(origin=site.settings.ledger.origin, size=head.size, root=head.root, at=head.at),
        health=state.sentence,
        status=state.status,
        verdicts=findings.verdicts(spec, windows, kpi, fairness, alert_lines, run_lines),
        not_measured=unmeasured,
        false_alarm_budget=findings.budget(spec),
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
        baselines=tuple(_baseline(b, citations) for b in baselines),
        windows=window_lines,
        drift=drift,
        visible=findings.visible(windows, spec),
        kpi=kpi,
        fairness=fairness,
        groups=tuple(line for m in measured if m.monitor == "fairness" for line in _groups(m)),
        alerts=alert_lines,
        decisions=decision_lines,
        runs=run_lines,
        versions=tuple(_version(v, citations) for v in versions),
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


def health_at(
    site: Site,
    db: Session,
    model: Model,
    spec: ModelSpec,
    *,
    until: datetime | None = None,
    known: datetime | None = None,
) -> Health:
    """The health sentence of a model, now or at the end of a period; `known`: answers given later do not count."""
    windows = store.newest_windows(db, model.id, 200, until)
    alerts: list[Alert] = []
    starts: dict[UUID | None, Window] = {}
    for alert in monitor_store.alerts(db, model.id):
        first = store.window(db, alert.first_window_id)
        began = first.to_ts if first is not None else alert.opened_at
        late = until is not None and began > until
        if late or (alert.resolved_at is not None and (known is None or alert.resolved_at <= known)):
            continue
        alerts.append(alert)
        if first is not None:
            starts[alert.first_window_id] = first
    baseline = monitor_store.newest_baseline(db, model.id)
    end = until or site.clock.now()
    runs = store.runs(db, model.id, model.created_at, end)
    decisions = store.decisions(db, model.id, model.created_at, end)
    kpis = newest_kpis(db, model.id, spec, end)
    return health(
        Facts(
            windows=windows,
            baseline=baseline,
            wanted_rows=spec.baseline.first_rows,
            seen_rows=_seen(site, model, baseline),
            open_alerts=alerts,
            kpis=kpis,
            last_run=runs[-1] if runs else None,
            last_decision=decisions[-1] if decisions else None,
            champion=champion_at(store.versions(db, model.id), end),
            retrains=spec.retrain is not None,
            starts=starts,
        )
    )


def newest_kpis(db: Session, model_id: UUID, spec: ModelSpec, until: datetime) -> list[Measurement]:
    """The newest measured value of each declared KPI; where none was ever measured, the newest reason."""
    found = []
    for rule in spec.monitors.kpi:
        newest = store.newest_measurement(db, model_id, "kpi", rule.metric, until)
        if newest is not None:
            found.append(newest)
    return found


def _seen(site: Site, model: Model, baseline: BaselineRow | None) -> int:
    if baseline is None or baseline.state == "ready":
        return baseline.rows or 0 if baseline is not None else 0
    return max(0, site.events.extent(model.name).next_seq - baseline.from_seq)


def champion_at(versions: Sequence[ModelVersion], at: datetime) -> ModelVersion | None:
    """The version promoted last before a moment."""
    promoted = [v for v in versions if v.promoted_at is not None and v.promoted_at <= at]
    return max(promoted, key=lambda v: (v.promoted_at, v.version)) if promoted else None


def software() -> tuple[doc.Software, ...]:
    found = []
    for name in SOFTWARE:
        try:
            found.append(doc.Software(name=name, version=version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _baseline(row: BaselineRow, citations: Citations) -> doc.BaselineLine:
    entry = citations.find("model.baseline", row.id, last=True) if row.state == "ready" else None
    return doc.BaselineLine(
        reason=row.reason,
        state=row.state,
        rows=row.rows,
        start=row.from_ts,
        end=row.to_ts,
        digest=row.artifact,
        entry=entry,
    )


def _window(w: Window, citations: Citations) -> doc.WindowLine:
    return doc.WindowLine(
        id=str(w.id),
        scale=w.scale,
        number=w.number,
        start=w.from_ts,
        end=w.to_ts,
        rows=w.rows,
        labels=w.labels,
        coverage=w.labels / w.rows if w.rows else None,
        versions=tuple(map(str, w.versions)),
        verdict=w.verdict,
        drift=str(w.decision.get("verdict", "unknown")),
        p=_finite(w.decision.get("p")),
        alpha=_finite(w.decision.get("alpha")),
        sentence=w.sentence,
        events_version=w.events_version,
        spec_revision=w.spec_revision,
        entry=citations.find("alert.opened", w.id),
        corrections=w.corrections,
        corrected_at=w.corrected_at,
        previous_verdict=w.history[-1].get("verdict") if w.history else None,
        corrected_why=w.history[-1]["why"] if w.history else None,
    )


def _measure(m: Measurement, windows: Mapping[UUID, Window], spec: ModelSpec) -> doc.MeasureLine:
    window = windows[m.window_id]
    return doc.MeasureLine(
        metric=m.metric,
        column=m.column,
        segment=m.segment,
        unit=m.unit,
        scale=window.scale,
        start=m.from_ts,
        end=m.to_ts,
        value=_finite(m.value),
        low=_finite(m.low),
        high=_finite(m.high),
        reason=m.reason,
        n=m.n,
        labels=window.labels,
        rows=window.rows,
        limit=_finite(m.limit),
        limit_word=findings.limit_word(spec, m.monitor, m.metric),
        alarm=m.alarm,
        method=str(m.details.get("method") or m.details.get("interval") or "realised"),
        window=str(m.window_id),
        estimated=_finite(m.estimated),
        estimated_low=_finite(m.estimated_low),
        estimated_high=_finite(m.estimated_high),
        estimate_held=m.estimate_inside,
        estimate_note=estimate_note(m),
        agents=(m.details.get("agents") or {}).get("statement"),
        previous=_finite(m.previous_value),
        corrected_at=m.corrected_at,
    )


def estimate_note(m: Measurement) -> str | None:
    """What is known of the estimate of a KPI; None where none is asked for."""
    note = m.details.get("estimate") or {}
    return note.get("reason") or note.get("statement")


def _groups(m: Measurement) -> list[doc.GroupLine]:
    """Every group of a fairness measurement with its size; a rate per line, or the reason there is none."""
    lines = []
    for group in m.details.get("groups") or ():
        rates: Mapping[str, Any] = {"": None} if group.get("too_small") else group.get("rates") or {"": None}
        for name, value in rates.items():
            rate = _finite(value)
            why = "below the minimum group size" if group.get("too_small") else "no row to take the rate over"
            lines.append(
                doc.GroupLine(
                    metric=m.metric,
                    column=m.column,
                    group=str(group.get("group")),
                    window=str(m.window_id),
                    end=m.to_ts,
                    n=int(group.get("n") or 0),
                    rate=str(name),
                    value=rate,
                    reason=why if rate is None else None,
                )
            )
    return lines


def _drift(w: Window, spec: ModelSpec) -> list[doc.DriftLine]:
    """Columns named by the verdict. What a category level or a word was stays out: it may be personal."""
    return [
        doc.DriftLine(
            window=str(w.id),
            end=w.to_ts,
            column=str(c["column"]),
            effect=str(c["effect"]),
            value=float(c["value"]),
            unit=findings.unit_of(spec, str(c["column"]), str(c["unit"])),
            adjusted_p=float(c["adjusted_p"]),
        )
        for c in w.decision.get("columns") or []
        if c.get("alarmed")
    ]


def _thresholds(revisions: Sequence[SpecRevision], citations: Citations) -> tuple[doc.ThresholdLine, ...]:
    """Every threshold in force, with the revision since which it has held without a change."""
    history = [(r, findings.rules(parse_spec(r.document))) for r in revisions]
    lines = []
    for (monitor, metric), rule in history[-1][1].items():
        since = history[-1][0]
        for revision, rules in reversed(history):
            if rules.get((monitor, metric)) != rule:
                break
            since = revision
        lines.append(
            doc.ThresholdLine(
                monitor=monitor,
                metric=metric,
                rule=rule,
                since=since.created_at,
                revision=since.revision,
                entry=citations.find("model.spec", since.digest),
            )
        )
    return tuple(lines)


def _alert(a: Alert, known: datetime, citations: Citations) -> doc.AlertLine:
    acknowledged = a.acknowledged_at is not None and a.acknowledged_at <= known
    resolved = a.resolved_at is not None and a.resolved_at <= known
    return doc.AlertLine(
        id=str(a.id),
        monitor=a.monitor,
        metric=a.metric,
        column=a.column,
        value=_finite(a.value),
        limit=_finite(a.limit),
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
        confirmation=without_paths(findings.confirmation(a)),
    )


def _decision(d: TriggerDecision, citations: Citations) -> doc.DecisionLine:
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


def _dataset(d: Dataset, citations: Citations) -> doc.DatasetLine:
    return doc.DatasetLine(
        name=d.name,
        role=d.role,
        digest=d.digest,
        rows=d.rows,
        provenance=without_paths(d.provenance),
        created_at=d.created_at,
        created_by=d.created_by,
        entry=citations.find("dataset.registered", d.id) or citations.find("dataset.registered", d.digest),
    )


def _run(r: Run, gates: Sequence[GateResult], datasets: Mapping[UUID, Dataset], citations: Citations) -> doc.RunLine:
    ids = (r.train_dataset_id, r.eval_dataset_id, r.holdout_dataset_id)
    used = [datasets[i] for i in ids if i is not None and i in datasets]
    return doc.RunLine(
        id=str(r.id),
        state=r.state,
        decision=str(r.decision_id),
        champion=r.champion_version,
        candidate=r.candidate_version,
        config=without_paths(r.config),
        config_digest=r.config_digest,
        datasets=tuple(_dataset(d, citations) for d in used),
        metrics=without_paths(r.metrics),
        evaluation=without_paths(r.evaluation),
        gates=tuple(
            doc.GateLine(
                gate=g.gate,
                verdict=g.verdict,
                reason=without_paths(g.reason),
                entry=citations.find("gate.result", r.id, g.gate),
            )
            for g in gates
        ),
        approvals=tuple(
            doc.ApprovalLine(
                actor=str(a.get("actor")),
                at=str(a.get("at")),
                reason=str(a.get("reason") or ""),
                entry=citations.find("run.approved", r.id),
            )
            for a in r.approvals
        ),
        attempts=r.attempts,
        # What a failed trainer printed may quote data; its reason stays on the run.
        error=without_paths(r.error) if r.state == "rejected" else None,
        created_at=r.created_at,
        finished_at=r.finished_at,
        started_entry=citations.find("run.started", r.id),
        promoted_entry=None
        if r.state != "promoted"
        else citations.find("version.promoted", version=r.candidate_version),
    )


def _promotion(v: ModelVersion, citations: Citations) -> int | None:
    found = [citations.find(kind, version=v.version, last=True) for kind in ("version.promoted", "version.rolled_back")]
    return max((i for i in found if i is not None), default=None)


def _version(v: ModelVersion, citations: Citations) -> doc.VersionLine:
    return doc.VersionLine(
        version=v.version,
        stage=v.stage,
        base_model=without_paths(v.base_model),
        base_digest=v.base_digest,
        adapter=v.adapter,
        signed=v.signature is not None,
        created_at=v.created_at,
        promoted_at=v.promoted_at,
        retired_at=v.retired_at,
        entry=citations.find("version.registered", version=v.version),
        promoted_entry=_promotion(v, citations),
    )
