"""Queries of the pages of one model: courses of numbers, and what happened meanwhile. Each list is bounded."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, String, cast, func, or_, select
from sqlalchemy.orm import Session, defer, load_only

from monitor.notify.tables import Deploy
from monitor.tables import ESTIMATED, Alert, LaterVerdict, Measurement, ReferenceRow, SpecRevision, Window
from reports.tables import Report
from retrain.tables import ModelVersion, Run, TriggerDecision

MOST_EVENTS: Final = 300  # of each kind on an axis of time
MOST_SEGMENTS: Final = 200


@dataclass(frozen=True, slots=True)
class CourseWindow:
    """A window of a course, without the evidence of its verdict."""

    id: UUID
    scale: str
    from_ts: datetime
    to_ts: datetime
    rows: int
    labels: int
    verdict: str
    versions: Sequence[Any]
    corrections: int


@dataclass(frozen=True, slots=True)
class Value:
    """One number of a course. `judged`: None where the number has no limits."""

    window: UUID
    monitor: str
    metric: str
    column: str
    segment: str
    value: float | None
    reason: str | None
    low: float | None
    high: float | None
    unit: str
    limit: float | None
    alarm: bool
    n: int
    estimated: float | None
    estimated_low: float | None
    estimated_high: float | None
    judged: bool | None


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened to a model in a time, for the rules and marks of its charts."""

    versions: Sequence[ModelVersion]
    references: Sequence[ReferenceRow]
    deploys: Sequence[Deploy]
    alerts: Sequence[Alert]
    decisions: Sequence[TriggerDecision]
    runs: Sequence[Run]
    specs: Sequence[tuple[int, datetime, str]]


_WINDOW: Final = (
    Window.id, Window.scale, Window.from_ts, Window.to_ts, Window.rows, Window.labels, Window.verdict, Window.versions,
    Window.corrections,
)  # fmt: skip
_VALUE: Final = (
    Measurement.window_id, Measurement.monitor, Measurement.metric, Measurement.column, Measurement.segment,
    Measurement.value, Measurement.reason, Measurement.low, Measurement.high, Measurement.unit, Measurement.limit,
    Measurement.alarm, Measurement.n, Measurement.estimated, Measurement.estimated_low, Measurement.estimated_high,
    Measurement.details["judgement"]["judged"].as_boolean(),
)  # fmt: skip


def course_windows(
    db: Session, model: UUID, scale: str, since: datetime | None, until: datetime | None, limit: int
) -> tuple[list[CourseWindow], bool]:
    """The last windows of a length that end in a time, oldest first; and whether there are earlier ones in it."""
    query = select(*_WINDOW).where(Window.model_id == model, Window.scale == scale)
    if since is not None:
        query = query.where(Window.to_ts >= since)
    if until is not None:
        query = query.where(Window.to_ts <= until)
    rows = db.execute(query.order_by(Window.to_ts.desc(), Window.to_seq.desc()).limit(limit + 1)).all()
    return [CourseWindow(*row) for row in reversed(rows[:limit])], len(rows) > limit


def scales(db: Session, model: UUID) -> list[str]:
    """The lengths of a model's last thousand windows."""
    newest = select(Window.scale).where(Window.model_id == model).order_by(Window.to_ts.desc()).limit(1000).subquery()
    return list(db.scalars(select(newest.c.scale).distinct()))


def values(
    db: Session, model: UUID, metrics: Collection[str], segments: Collection[str], since: datetime, until: datetime
) -> list[Value]:
    """Numbers of these metrics and segments, of windows that end in a time; of any column and window length."""
    query = select(*_VALUE).where(
        Measurement.model_id == model, Measurement.metric.in_(metrics), Measurement.segment.in_(segments),
        Measurement.monitor.not_in(("attribution", "quality")), Measurement.to_ts >= since, Measurement.to_ts <= until,
    )  # fmt: skip
    return [Value(*row) for row in db.execute(query)]


def column_values(
    db: Session, model: UUID, metrics: Collection[str], columns: Collection[str], since: datetime, until: datetime
) -> list[Measurement]:
    """Numbers about some columns as wholes, of windows that end in a time, oldest first."""
    query = select(Measurement).where(
        Measurement.model_id == model, Measurement.metric.in_(metrics), Measurement.column.in_(columns),
        Measurement.segment == "", Measurement.to_ts >= since, Measurement.to_ts <= until,
        Measurement.monitor.in_(("drift", "quality", "attribution")),
    )  # fmt: skip
    return list(db.scalars(query.order_by(Measurement.to_ts)))


def segments(db: Session, model: UUID, metric: str, column: str) -> list[str]:
    """The segments in which a KPI was measured."""
    query = (
        select(Measurement.segment).where(
            Measurement.model_id == model, Measurement.metric == metric, Measurement.column == column,
            Measurement.segment.not_in(("", ESTIMATED)),
        )
        .distinct().order_by(Measurement.segment).limit(MOST_SEGMENTS)
    )  # fmt: skip
    return list(db.scalars(query))


def happened(db: Session, model: UUID, since: datetime, until: datetime) -> Happened:
    """What happened between two times, or because of a window that ends between them.

    Rows that are sent late are older than what follows from them.
    """
    ended = select(Window.id).where(Window.model_id == model, Window.to_ts >= since, Window.to_ts <= until)
    caused = select(TriggerDecision.id).where(TriggerDecision.window_id.in_(ended), TriggerDecision.fired)
    alerts = select(Alert).where(
        Alert.model_id == model, or_(Alert.opened_at.between(since, until), Alert.first_window_id.in_(ended))
    )
    decisions = select(TriggerDecision).where(
        TriggerDecision.model_id == model, TriggerDecision.fired,
        or_(TriggerDecision.at.between(since, until), TriggerDecision.window_id.in_(ended)),
    )  # fmt: skip
    runs = select(Run).where(
        Run.model_id == model, or_(Run.finished_at.between(since, until), Run.decision_id.in_(caused))
    )
    references = select(ReferenceRow).where(ReferenceRow.model_id == model, ReferenceRow.state == "ready")
    specs = select(SpecRevision.revision, SpecRevision.created_at, SpecRevision.author).where(
        SpecRevision.model_id == model, SpecRevision.created_at.between(since, until)
    )
    deploys = select(Deploy).where(Deploy.model_id == model, Deploy.at.between(since, until))
    return Happened(
        versions=db.scalars(
            select(ModelVersion).where(ModelVersion.model_id == model)
            .order_by(ModelVersion.created_at.desc()).limit(MOST_EVENTS)
        ).all(),
        references=db.scalars(
            references.options(load_only(ReferenceRow.id, ReferenceRow.state, ReferenceRow.to_ts))
            .order_by(ReferenceRow.created_at.desc()).limit(MOST_EVENTS)
        ).all(),
        deploys=db.scalars(deploys.order_by(Deploy.at.desc()).limit(MOST_EVENTS)).all(),
        alerts=db.scalars(
            alerts.options(defer(Alert.confirmation), defer(Alert.confirmed_before), defer(Alert.episodes))
            .order_by(Alert.opened_at.desc()).limit(MOST_EVENTS)
        ).all(),
        decisions=db.scalars(decisions.order_by(TriggerDecision.at.desc()).limit(MOST_EVENTS)).all(),
        runs=db.scalars(
            runs.options(load_only(Run.id, Run.state, Run.finished_at, Run.candidate_version))
            .order_by(Run.finished_at.desc()).limit(MOST_EVENTS)
        ).all(),
        specs=[
            (revision, at, author)
            for revision, at, author in db.execute(specs.order_by(SpecRevision.revision.desc()).limit(MOST_EVENTS))
        ],
    )  # fmt: skip


def alerts(db: Session, model: UUID, limit: int) -> tuple[Sequence[Alert], int, int]:
    """Alerts of a model, the unresolved and then the newest first; how many there are, and how many unresolved."""
    mine = select(Alert).where(Alert.model_id == model)
    count = db.execute(
        select(func.count(), func.count().filter(Alert.state != "resolved")).where(Alert.model_id == model)
    ).one()
    slim = mine.options(defer(Alert.confirmation), defer(Alert.confirmed_before))
    rows = db.scalars(slim.order_by(Alert.state == "resolved", Alert.opened_at.desc(), Alert.id).limit(limit)).all()
    return rows, count[0], count[1]


def runs(db: Session, model: UUID, limit: int) -> tuple[Sequence[Run], int]:
    """The newest runs, without what their processes wrote, and how many there are."""
    query = select(Run).where(Run.model_id == model).order_by(Run.created_at.desc(), Run.id).limit(limit)
    slim = query.options(defer(Run.config), defer(Run.metrics), defer(Run.evaluation), defer(Run.used))
    return db.scalars(slim).all(), db.scalar(select(func.count()).where(Run.model_id == model)) or 0


def decisions(db: Session, model: UUID, limit: int) -> tuple[Sequence[TriggerDecision], int]:
    query = select(TriggerDecision).where(TriggerDecision.model_id == model).order_by(TriggerDecision.at.desc())
    count = db.scalar(select(func.count()).where(TriggerDecision.model_id == model)) or 0
    return db.scalars(query.limit(limit)).all(), count


def versions(db: Session, model: UUID, limit: int) -> tuple[Sequence[ModelVersion], int]:
    query = select(ModelVersion).where(ModelVersion.model_id == model).order_by(ModelVersion.created_at.desc())
    count = db.scalar(select(func.count()).where(ModelVersion.model_id == model)) or 0
    return db.scalars(query.limit(limit)).all(), count


def reports(db: Session, model: UUID, limit: int) -> tuple[Sequence[Report], int]:
    query = select(Report).where(Report.model_id == model).order_by(Report.created_at.desc()).limit(limit)
    return db.scalars(query).all(), db.scalar(select(func.count()).where(Report.model_id == model)) or 0


def answered_by(version: str) -> ColumnElement[bool]:
    """Whether a model version answered in a window."""
    found: ColumnElement[bool] = cast(Window.versions, String).contains(json.dumps(version), autoescape=True)
    return found


def revisions(db: Session, model: UUID, limit: int) -> Sequence[SpecRevision]:
    """The newest spec revisions, without their documents."""
    query = select(SpecRevision).where(SpecRevision.model_id == model).order_by(SpecRevision.revision.desc())
    return db.scalars(query.options(defer(SpecRevision.document)).limit(limit)).all()


def windows(
    db: Session, model: UUID, where: Sequence[Any], order: Sequence[Any], limit: int, offset: int
) -> tuple[list[Any], int]:
    """A page of windows, with drift's verdict, p and alpha; and how many there are."""
    matching = (Window.model_id == model, *where)
    count = db.scalar(select(func.count()).select_from(Window).where(*matching)) or 0
    parts = Window.decision["p"].as_float().label("p"), Window.decision["alpha"].as_float().label("alpha")
    query = select(*_WINDOW, Window.sentence, Window.corrected_at, *parts).where(*matching)
    return list(db.execute(query.order_by(*order).limit(limit).offset(offset))), count


def kpis_of(db: Session, ids: Collection[UUID], metrics: Collection[str]) -> dict[UUID, dict[str, Value]]:
    """The KPIs of windows as wholes, by window and metric."""
    query = select(*_VALUE).where(
        Measurement.window_id.in_(ids), Measurement.monitor == "kpi", Measurement.segment == "",
        Measurement.metric.in_(metrics),
    )  # fmt: skip
    found: dict[UUID, dict[str, Value]] = {}
    for row in db.execute(query):
        value = Value(*row)
        found.setdefault(value.window, {})[value.metric] = value
    return found


def later_verdicts(db: Session, ids: Collection[UUID]) -> dict[UUID, list[LaterVerdict]]:
    found: dict[UUID, list[LaterVerdict]] = {}
    for row in db.scalars(select(LaterVerdict).where(LaterVerdict.window_id.in_(ids))):
        found.setdefault(row.window_id, []).append(row)
    return found


def judged_window(db: Session, model: UUID, scale: str | None = None) -> Window | None:
    """The last window that was compared with a reference; without one, the last of all."""
    query = select(Window).where(Window.model_id == model).order_by(Window.to_ts.desc(), Window.to_seq.desc()).limit(1)
    if scale is not None:
        query = query.where(Window.scale == scale)
    return db.scalars(query.where(Window.decision["judged"].as_boolean())).first() or db.scalars(query).first()


def alerts_of_column(db: Session, model: UUID, names: Collection[str], limit: int) -> Sequence[Alert]:
    """Alerts led by one of these columns, the newest first."""
    query = select(Alert).where(Alert.model_id == model, Alert.column.in_(names))
    slim = query.options(defer(Alert.confirmation), defer(Alert.confirmed_before), defer(Alert.episodes))
    return db.scalars(slim.order_by(Alert.opened_at.desc(), Alert.id).limit(limit)).all()


def newest_of_monitor(db: Session, window: UUID, monitor: str) -> Sequence[Measurement]:
    """What a monitor measured of the columns in a window."""
    query = select(Measurement).where(Measurement.window_id == window, Measurement.monitor == monitor)
    return db.scalars(query.where(Measurement.segment == "", Measurement.column != "")).all()


def newest_number(db: Session, model: UUID, metric: str) -> Measurement | None:
    """The newest measurement of a metric of all columns together."""
    query = select(Measurement).where(Measurement.model_id == model, Measurement.metric == metric)
    query = query.where(Measurement.column == "", Measurement.segment == "")
    return db.scalars(query.order_by(Measurement.to_ts.desc()).limit(1)).first()


def neighbours(db: Session, window: Window) -> tuple[UUID | None, UUID | None]:
    """The windows of the same length before and after one."""
    query = select(Window.id).where(Window.model_id == window.model_id, Window.scale == window.scale)
    before = query.where(Window.to_ts < window.to_ts).order_by(Window.to_ts.desc()).limit(1)
    after = query.where(Window.to_ts > window.to_ts).order_by(Window.to_ts).limit(1)
    return db.scalar(before), db.scalar(after)


def newest_window(db: Session, model: UUID, before: datetime | None = None) -> Window | None:
    """The last window, or the last that ended before a time."""
    query = select(Window).where(Window.model_id == model)
    if before is not None:
        query = query.where(Window.to_ts <= before)
    return db.scalars(query.order_by(Window.to_ts.desc(), Window.to_seq.desc()).limit(1)).first()
