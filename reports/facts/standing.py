"""The state of a model at a moment: its champion, its newest KPIs, its health."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from monitor import store as monitor_store
from monitor.site import Site
from monitor.spec.model import AUTO_REFERENCE_ROWS, ModelSpec
from monitor.tables import Alert, Measurement, Model, ReferenceRow
from reports import store
from reports.wording.health import Health, HealthFacts, health
from retrain.tables import ModelVersion


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
    windows = store.verdicts(db, model.id, 200, until)
    alerts: list[Alert] = []
    now = until is None and known is None
    found = monitor_store.unresolved_alerts(db, model.id) if now else monitor_store.alerts(db, model.id)
    starts = store.window_times(db, {a.first_window_id for a in found if a.first_window_id is not None})
    for alert in found:
        first = starts.get(alert.first_window_id)
        began = first.to_ts if first is not None else alert.opened_at
        late = until is not None and began > until
        if late or (alert.resolved_at is not None and (known is None or alert.resolved_at <= known)):
            continue
        alerts.append(alert)
    baseline = monitor_store.newest_reference(db, model.id)
    end = until or site.clock.now()
    run = store.newest_run(db, model.id, model.created_at, end)
    decision = store.newest_decision(db, model.id, model.created_at, end)
    kpis = newest_kpis(db, model.id, spec, end)
    return health(
        HealthFacts(
            windows=windows,
            baseline=baseline,
            wanted_rows=spec.first_rows or (AUTO_REFERENCE_ROWS if spec.fixed_baseline is None else None),
            seen_rows=_seen(site, model, baseline),
            open_alerts=alerts,
            kpis=kpis,
            last_run=run,
            last_decision=decision,
            champion=champion_at(store.versions(db, model.id), end),
            retrains=spec.retrain is not None,
            starts={a.first_window_id: starts[a.first_window_id] for a in alerts if a.first_window_id in starts},
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


def _seen(site: Site, model: Model, baseline: ReferenceRow | None) -> int:
    if baseline is None or baseline.state == "ready":
        return baseline.rows or 0 if baseline is not None else 0
    return max(0, site.events.extent(model.name).next_seq - baseline.from_seq)


def champion_at(versions: Sequence[ModelVersion], at: datetime) -> ModelVersion | None:
    """The version promoted last before a moment."""
    promoted = [v for v in versions if v.promoted_at is not None and v.promoted_at <= at]
    return max(promoted, key=lambda v: (v.promoted_at, v.version)) if promoted else None
