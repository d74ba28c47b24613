"""Queries of the overview, about many models at once: a fixed number of statements, however many models there are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ScalarSelect, and_, case, func, literal, or_, select
from sqlalchemy.orm import Session, aliased, defer, load_only

from core.db import UtcDateTime
from monitor.tables import Alert, Incident, Measurement, Model, ReferenceRow, SpecRevision, Window
from reports.tables import Report
from retrain.tables import ModelVersion, Run

MARKS: Final = 14  # windows of a health strip
_EVER: Final = literal(datetime(1, 1, 1, tzinfo=UTC), UtcDateTime())


@dataclass(frozen=True, slots=True)
class Unresolved:
    """The unresolved alerts of one model."""

    count: int
    critical: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """One window of a strip."""

    id: UUID
    from_ts: datetime
    to_ts: datetime
    rows: int
    labels: int
    verdict: str


def models(db: Session, names: Collection[str] | None) -> Sequence[Model]:
    """The models of these names, or all, by name."""
    query = select(Model).order_by(Model.name)
    return db.scalars(query if names is None else query.where(Model.name.in_(names))).all()


def documents(db: Session, ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """The document of each model's newest spec."""
    query = select(Model.id, SpecRevision.document).join(
        SpecRevision, and_(SpecRevision.model_id == Model.id, SpecRevision.revision == Model.revision)
    )
    return dict(db.execute(query.where(Model.id.in_(ids))).all())


def unresolved(db: Session) -> dict[UUID, Unresolved]:
    """The unresolved alerts of each model that has some."""
    critical = func.sum(case((Alert.severity == "critical", 1), else_=0))
    query = (
        select(Alert.model_id, func.count(), critical, func.min(Alert.opened_at))
        .where(Alert.state != "resolved", Alert.model_id.is_not(None))
        .group_by(Alert.model_id)
    )
    return {model: Unresolved(count, int(severe), first) for model, count, severe, first in db.execute(query)}


def newest_references(db: Session, ids: Collection[UUID]) -> dict[UUID, ReferenceRow]:
    """The reference in force of each model, without what only the judges read."""
    other = aliased(ReferenceRow)
    newest = (
        select(other.id).where(other.model_id == Model.id).order_by(other.created_at.desc()).limit(1)
        .correlate(Model).scalar_subquery()
    )  # fmt: skip
    query = (
        select(ReferenceRow).join(Model, ReferenceRow.id == newest).where(Model.id.in_(ids))
        .options(load_only(ReferenceRow.model_id, ReferenceRow.state, ReferenceRow.problem, ReferenceRow.from_seq,
                           ReferenceRow.rows, ReferenceRow.windows))
    )  # fmt: skip
    return {row.model_id: row for row in db.scalars(query)}


def judged(db: Session, ids: Collection[UUID]) -> set[UUID]:
    """Models of which a window was compared with its reference."""
    newest = (
        select(Window.verdict).where(Window.model_id == Model.id).order_by(Window.to_ts.desc()).limit(1)
        .correlate(Model).scalar_subquery()
    )  # fmt: skip
    verdicts: dict[UUID, str | None] = dict(db.execute(select(Model.id, newest).where(Model.id.in_(ids))).all())
    found = {model for model, verdict in verdicts.items() if verdict == "ok"}
    unclear = [model for model, verdict in verdicts.items() if verdict not in (None, "ok")]
    there = (
        select(Window.id).where(Window.model_id == Model.id, Window.decision["judged"].as_boolean())
        .correlate(Model).exists()
    )  # fmt: skip
    if unclear:
        found |= set(db.scalars(select(Model.id).where(Model.id.in_(unclear), there)))
    return found


def marks(db: Session, by_scale: Mapping[str, Collection[UUID]]) -> dict[UUID, list[Mark]]:
    """The last windows of each model, oldest first; `by_scale`: the models whose windows of a length are wanted."""
    found: dict[UUID, list[Mark]] = {}
    for scale, ids in by_scale.items():
        other = aliased(Window)
        first = (
            select(other.to_ts).where(other.model_id == Model.id, other.scale == scale)
            .order_by(other.to_ts.desc()).offset(MARKS - 1).limit(1).correlate(Model).scalar_subquery()
        )  # fmt: skip
        query = (
            select(Window.model_id, Window.id, Window.from_ts, Window.to_ts, Window.rows, Window.labels, Window.verdict)
            .select_from(Model).join(Window, Window.model_id == Model.id)
            .where(Model.id.in_(ids), Window.scale == scale, Window.to_ts >= func.coalesce(first, _EVER))
            .order_by(Window.to_ts)
        )  # fmt: skip
        for model, ident, start, end, rows, labels, verdict in db.execute(query):
            found.setdefault(model, []).append(Mark(ident, start, end, rows, labels, verdict))
    return {model: few[-MARKS:] for model, few in found.items()}


def drift(db: Session, windows: Collection[UUID]) -> dict[UUID, tuple[str | None, float | None, float | None]]:
    """Verdict, p and alpha of the drift test of each window."""
    parts = Window.decision["verdict"].as_string(), Window.decision["p"].as_float(), Window.decision["alpha"].as_float()
    return {
        window: (v, p, a) for window, v, p, a in db.execute(select(Window.id, *parts).where(Window.id.in_(windows)))
    }


def newest_numbers(
    db: Session, ids: Collection[UUID], wanted: Collection[tuple[str, str, str]]
) -> dict[tuple[UUID, str, str, str], Measurement]:
    """The newest measurement of each (monitor, metric, column) of whole windows; one with a value before one without.

    Two statements for a value, and two more for what was never measured.
    """
    places = sorted(set(wanted))
    found: dict[tuple[UUID, str, str, str], Measurement] = {}
    for valued in (True, False):
        open_ = [p for p in places if any((model, *p) not in found for model in ids)]
        if not open_:
            break
        query = select(Model.id, *(_newest(*place, valued=valued) for place in open_)).where(Model.id.in_(ids))
        rows = [found_id for _, *row in db.execute(query) for found_id in row if found_id is not None]
        for m in db.scalars(select(Measurement).where(Measurement.id.in_(rows))):
            found.setdefault((m.model_id, m.monitor, m.metric, m.column), m)
    return found


def _newest(monitor: str, metric: str, column: str, *, valued: bool) -> ScalarSelect[UUID]:
    query = select(Measurement.id).where(
        Measurement.model_id == Model.id, Measurement.monitor == monitor, Measurement.metric == metric,
        Measurement.column == column, Measurement.segment == "",
    )  # fmt: skip
    if valued:
        query = query.where(Measurement.value.is_not(None))
    return query.order_by(Measurement.to_ts.desc()).limit(1).correlate(Model).scalar_subquery()


def open_alerts(db: Session, ids: Collection[UUID]) -> dict[UUID, list[Alert]]:
    """The unresolved alerts of each model, the most severe and then the newest first."""
    rank = {"critical": 0, "warning": 1, "info": 2}
    query = (
        select(Alert).where(Alert.model_id.in_(ids), Alert.state != "resolved")
        .options(defer(Alert.confirmation), defer(Alert.confirmed_before)).order_by(Alert.opened_at.desc())
    )  # fmt: skip
    found: dict[UUID, list[Alert]] = {}
    for alert in sorted(db.scalars(query), key=lambda a: rank[a.severity]):
        assert alert.model_id is not None  # it is one of the ids
        found.setdefault(alert.model_id, []).append(alert)
    return found


def newest_runs(db: Session, ids: Collection[UUID]) -> dict[UUID, Run]:
    other = aliased(Run)
    newest = (
        select(other.id).where(other.model_id == Model.id).order_by(other.created_at.desc()).limit(1)
        .correlate(Model).scalar_subquery()
    )  # fmt: skip
    query = select(Run).join(Model, Run.id == newest).where(Model.id.in_(ids))
    slim = load_only(Run.id, Run.model_id, Run.state, Run.created_at, Run.champion_version, Run.candidate_version)
    return {run.model_id: run for run in db.scalars(query.options(slim))}


def champions(db: Session, ids: Collection[UUID]) -> dict[UUID, ModelVersion]:
    query = select(ModelVersion).where(ModelVersion.model_id.in_(ids), ModelVersion.stage == "champion")
    return {version.model_id: version for version in db.scalars(query)}


def alerts_of_person(
    db: Session, who: Collection[str], ids: Collection[UUID] | None, limit: int
) -> tuple[list[tuple[Alert, str, str | None]], int]:
    """Open alerts that a person owns or nobody does, with model and owner, the most severe first; and how many."""
    mine = or_(Incident.owner.is_(None), Incident.owner.in_(who))
    query = (
        select(Alert, Model.name, Incident.owner)
        .join(Incident, Incident.id == Alert.incident_id).join(Model, Model.id == Alert.model_id)
        .where(Alert.state == "open", mine)
    )  # fmt: skip
    if ids is not None:
        query = query.where(Alert.model_id.in_(ids))
    count = db.scalar(select(func.count()).select_from(query.with_only_columns(Alert.id).subquery())) or 0
    slim = query.options(defer(Alert.confirmation), defer(Alert.confirmed_before), defer(Alert.episodes))
    severe = (Alert.severity != "critical", Alert.severity == "info")
    rows = db.execute(slim.order_by(*severe, Alert.opened_at.desc(), Alert.id).limit(limit))
    return [(alert, name, owner) for alert, name, owner in rows], count


def reports_of_person(
    db: Session, who: Collection[str], ids: Collection[UUID] | None, since: datetime, limit: int
) -> list[tuple[Report, str]]:
    """Reports that a person asked for and that were finished since then, the newest first."""
    query = select(Report, Model.name).join(Model, Model.id == Report.model_id)
    query = query.where(Report.requested_by.in_(who), Report.state != "queued", Report.finished_at >= since)
    if ids is not None:
        query = query.where(Report.model_id.in_(ids))
    return [(r, name) for r, name in db.execute(query.order_by(Report.finished_at.desc()).limit(limit))]
