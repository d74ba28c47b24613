"""Similar alerts before, and what was done then."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.notify.describe import span
from monitor.tables import Alert, Model
from retrain.tables import Run

MOST: Final = 5
LOOKED_AT: Final = 200
LOOK_BACK: Final = timedelta(days=366)
_NUMBERS: Final = re.compile(r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?")
_QUOTED: Final = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True)
class SimilarRun:
    """A retrain that began while an alert was not resolved."""

    id: UUID
    state: str
    candidate: str | None


@dataclass(frozen=True, slots=True)
class SimilarAlert:
    """An earlier alert. `lasted`: from opening to resolving; `reason`: what was written when it was resolved."""

    id: UUID
    model: str | None
    same_model: bool
    opened_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    severity: str
    state: str
    sentence: str
    reason: str | None
    lasted: str
    runs: tuple[SimilarRun, ...]
    done: str


def similar(db: Session, alert: Alert, seen: Collection[UUID] | None) -> tuple[SimilarAlert, ...]:
    """Earlier alerts of the same monitor, metric and column of this model; and those of others with the same headline.

    Args:
        seen: ids of the models that the caller may read about; None for all.

    Returns:
        The newest first, those of the same model before others; at most five of each.
    """
    query = (
        select(Alert, Model.name)
        .outerjoin(Model, Model.id == Alert.model_id)
        .where(
            Alert.monitor == alert.monitor, Alert.metric == alert.metric, Alert.id != alert.id,
            Alert.opened_at <= alert.opened_at, Alert.opened_at >= alert.opened_at - LOOK_BACK,
        )
        .order_by(Alert.opened_at.desc())
        .limit(LOOKED_AT)
    )  # fmt: skip
    same_model = Alert.model_id.is_not_distinct_from(alert.model_id)
    own = db.execute(query.where(same_model, Alert.column == alert.column).limit(MOST)).all()
    others = query.where(~same_model, Alert.state == "resolved")
    if seen is not None:
        others = others.where(Alert.model_id.in_(seen))
    pattern = _pattern(alert.sentence)
    alike = [(row, name) for row, name in db.execute(others) if _pattern(row.sentence) == pattern][:MOST]
    found = [*own, *alike]
    runs = _runs(db, [row for row, _ in found])
    return tuple(_similar(row, name, runs[row.id], same=row.model_id == alert.model_id) for row, name in found)


def _pattern(sentence: str) -> str:
    """A sentence without its numbers and names: what is the same in two headlines of one kind."""
    return _NUMBERS.sub("#", _QUOTED.sub("`", sentence)).partition(" (")[0].partition(":")[0]


def _runs(db: Session, alerts: Sequence[Alert]) -> dict[UUID, tuple[SimilarRun, ...]]:
    """The retrains that began while each alert was not resolved, oldest first."""
    models = {row.model_id for row in alerts if row.model_id is not None}
    if not models:
        return {row.id: () for row in alerts}
    since = min(row.opened_at for row in alerts)
    query = select(Run).where(Run.model_id.in_(models), Run.created_at >= since).order_by(Run.created_at)
    runs = db.scalars(query.limit(LOOKED_AT)).all()
    return {
        row.id: tuple(
            SimilarRun(run.id, run.state, run.candidate_version)
            for run in runs
            if run.model_id == row.model_id
            and row.opened_at <= run.created_at
            and (row.resolved_at is None or run.created_at <= row.resolved_at)
        )[:3]
        for row in alerts
    }


def _similar(row: Alert, model: str | None, runs: tuple[SimilarRun, ...], *, same: bool) -> SimilarAlert:
    lasted = span(row.resolved_at - row.opened_at) if row.resolved_at is not None else ""
    return SimilarAlert(
        row.id, model, same, row.opened_at, row.resolved_at, row.resolved_by, row.severity, row.state, row.sentence,
        row.note, lasted, runs, _done(row, runs, lasted),
    )  # fmt: skip


def _done(row: Alert, runs: Sequence[SimilarRun], lasted: str) -> str:
    """What was done, in a sentence."""
    parts = []
    if runs:
        last = runs[-1]
        made = f", which made {last.candidate}" if last.candidate and last.state == "promoted" else ""
        parts.append(f"a retrain was started ({last.state.replace('_', ' ')}{made})")
    if row.resolved_at is None:
        parts.append(f"it is {row.state}")
    else:
        why = f": {row.note}" if row.note else ", no reason was written"
        parts.append(f"{row.resolved_by} resolved it after {lasted}{why}")
    return "; ".join(parts)
