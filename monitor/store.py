"""Queries of the monitor's tables."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, or_, select, true
from sqlalchemy.orm import Session

from governance.binding.session import bind_inserted
from monitor.errors import AlertNotFoundError, ModelNotFoundError
from monitor.tables import (  # fmt: skip
    ESTIMATED,
    Alert,
    AlertWindow,
    Dataset,
    FairnessCause,
    LaterVerdict,
    Measurement,
    Model,
    QuarantineDecision,
    ReferenceRow,
    SpecRevision,
    StoredProfile,
    UnmappedService,
    Window,
)

MOST_CAUSES: Final = 20  # of a period that a page shows


@dataclass(frozen=True, slots=True)
class WindowExtent:
    """The events that a window holds, and the first row of outcomes that its numbers do not include."""

    id: UUID
    scale: str
    from_seq: int
    to_seq: int
    from_ts: datetime
    to_ts: datetime
    next_outcome: int


def model(db: Session, name: str) -> Model:
    """The model of this name.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    found = db.scalars(select(Model).where(Model.name == name)).first()
    if found is None:
        raise ModelNotFoundError(name)
    return found


_NAMED = Model.__table__.c.name.in_(bindparam("names", expanding=True))
_REVISIONS = select(Model.__table__.c.name, Model.__table__.c.id, Model.__table__.c.revision).where(_NAMED)
REVISION_COUNT = select(func.count()).select_from(SpecRevision.__table__)


def revisions(db: Connection, names: Collection[str]) -> dict[str, tuple[UUID, int]]:
    """Id and newest spec revision of each named model that exists."""
    return {name: (found, revision) for name, found, revision in db.execute(_REVISIONS, {"names": list(names)})}


def every_revision(db: Session) -> Sequence[Row[str, UUID, int]]:
    """Name, id and newest spec revision of every model, by name."""
    return db.execute(select(Model.name, Model.id, Model.revision).order_by(Model.name)).all()


def models(db: Session) -> Sequence[Model]:
    """Every model, by name."""
    return db.scalars(select(Model).order_by(Model.name)).all()


def models_with_specs(db: Session) -> Iterator[tuple[Model, dict[str, Any]]]:
    """Every model with the document of its newest spec, by name."""
    query = select(Model, SpecRevision.document).join(
        SpecRevision, (SpecRevision.model_id == Model.id) & (SpecRevision.revision == Model.revision)
    )
    return ((model, document) for model, document in db.execute(query.order_by(Model.name)))


def spec_revision(db: Session, model_id: UUID, revision: int) -> SpecRevision:
    """One revision of a model's spec, which must exist."""
    query = select(SpecRevision).where(SpecRevision.model_id == model_id, SpecRevision.revision == revision)
    return db.scalars(query).one()


def spec_revisions(db: Connection) -> int:
    """Number of revisions of all specs together."""
    return db.scalar(REVISION_COUNT) or 0


def newest_reference(db: Session, model_id: UUID) -> ReferenceRow | None:
    """The reference of a model that is in force."""
    query = (
        select(ReferenceRow).where(ReferenceRow.model_id == model_id).order_by(ReferenceRow.created_at.desc()).limit(1)
    )
    return db.scalars(query).first()


def newest_block(db: Session, baseline_id: UUID) -> int:
    """The last block of a reference that has a profile; -1 without any."""
    found = db.scalar(select(func.max(StoredProfile.label)).where(StoredProfile.baseline_id == baseline_id))
    return -1 if found is None else found


def next_window_number(db: Session, baseline_id: UUID, scale: str) -> int:
    """One past the number of the last closed window of one scale since a reference began; 0 before the first."""
    query = select(func.max(Window.number)).where(Window.baseline_id == baseline_id, Window.scale == scale)
    last = db.scalar(query)
    return 0 if last is None else last + 1


def has_windows(db: Session, model_id: UUID) -> bool:
    return db.scalar(select(exists().where(Window.model_id == model_id))) or False


def windows(
    db: Session,
    model_id: UUID,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    lock: bool = False,
) -> Sequence[Window]:
    """Windows in order of their end; with a limit, only the newest ones."""
    query = select(Window).where(Window.model_id == model_id).order_by(Window.to_ts.desc(), Window.to_seq.desc())
    if since is not None:
        query = query.where(Window.to_ts >= since)
    if until is not None:
        query = query.where(Window.to_ts <= until)
    if limit is not None:
        query = query.limit(limit)
    if lock:
        query = query.with_for_update()
    return db.scalars(query).all()[::-1]


def windows_lacking_outcomes(db: Session, model_id: UUID, next_outcome: int) -> Sequence[WindowExtent]:
    """Windows whose numbers were computed before the rows of outcomes below `next_outcome` had all arrived."""
    columns = Window.id, Window.scale, Window.from_seq, Window.to_seq, Window.from_ts, Window.to_ts, Window.next_outcome
    query = select(*columns).where(Window.model_id == model_id, Window.next_outcome < next_outcome)
    return [WindowExtent(*row) for row in db.execute(query.order_by(Window.from_seq))]


def windows_judged_before(db: Session, baseline_id: UUID, seq: int, after: datetime) -> Sequence[Window]:
    """Windows of a reference that end after a time and whose verdict leaves out events before `seq`, oldest first."""
    query = select(Window).where(Window.baseline_id == baseline_id, Window.judged_seq < seq, Window.to_ts > after)
    return db.scalars(query.order_by(Window.to_ts, Window.number)).all()


def windows_by_revision(db: Session, baseline_id: UUID, since: datetime | None = None) -> dict[int, int]:
    """Number of windows of a reference judged under each spec revision; with `since`, of those that begin later."""
    query = select(Window.spec_revision, func.count()).where(Window.baseline_id == baseline_id)
    if since is not None:
        query = query.where(Window.from_ts >= since)
    return {int(revision): int(count) for revision, count in db.execute(query.group_by(Window.spec_revision))}


def windows_without_later_verdict(
    db: Session, baseline_id: UUID, revisions: Collection[int], revision: int
) -> Sequence[Window]:
    """Windows judged under any of `revisions` whose verdict under a later one is missing or outdated, newest first."""
    known = exists().where(
        LaterVerdict.window_id == Window.id, LaterVerdict.spec_revision == revision,
        LaterVerdict.judged_seq >= Window.judged_seq, LaterVerdict.next_outcome >= Window.next_outcome,
    )  # fmt: skip
    query = select(Window).where(Window.baseline_id == baseline_id, Window.spec_revision.in_(revisions), ~known)
    return db.scalars(query.order_by(Window.to_ts.desc(), Window.number.desc())).all()


def later_verdict(db: Session, window_id: UUID, revision: int) -> LaterVerdict | None:
    """The verdict of a window under a later spec revision; None where it was not judged under it."""
    query = select(LaterVerdict).where(LaterVerdict.window_id == window_id, LaterVerdict.spec_revision == revision)
    return db.scalars(query).first()


def later_verdicts(db: Session, windows: Collection[UUID]) -> dict[UUID, list[LaterVerdict]]:
    """The verdicts of windows under later spec revisions, by window, in order of revision."""
    query = select(LaterVerdict).where(LaterVerdict.window_id.in_(windows)).order_by(LaterVerdict.spec_revision)
    found: dict[UUID, list[LaterVerdict]] = {}
    for verdict in db.scalars(query):
        found.setdefault(verdict.window_id, []).append(verdict)
    return found


def window_measurements(db: Session, window_id: UUID, *, monitor: str | None = None) -> Sequence[Measurement]:
    query = select(Measurement).where(Measurement.window_id == window_id)
    if monitor is not None:
        query = query.where(Measurement.monitor == monitor)
    return db.scalars(
        query.order_by(Measurement.monitor, Measurement.metric, Measurement.column, Measurement.segment)
    ).all()


def fairness_causes(db: Session, alert_id: UUID) -> Sequence[FairnessCause]:
    """What is known of where the disparities of an alert come from, the newest window first."""
    query = select(FairnessCause).where(FairnessCause.alert_id == alert_id)
    return db.scalars(query.order_by(FairnessCause.computed_at.desc(), FairnessCause.column)).all()


def causes_between(db: Session, model_id: UUID, since: datetime, until: datetime) -> Sequence[FairnessCause]:
    """Causes of disparities in windows that end within a period, the newest first."""
    query = select(FairnessCause).join(Window, Window.id == FairnessCause.window_id)
    query = query.where(FairnessCause.model_id == model_id, Window.to_ts > since, Window.to_ts <= until)
    return db.scalars(query.order_by(Window.to_ts.desc(), FairnessCause.column).limit(MOST_CAUSES)).all()


def add_measurements(db: Session, window: Window, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert new measurements of a window, in one statement without mapped objects, because there are many."""
    whole = {
        "model_id": window.model_id, "window_id": window.id, "from_ts": window.from_ts, "to_ts": window.to_ts,
    }  # fmt: skip
    if rows:
        given = [{"id": uuid4(), **whole, **row} for row in rows]
        bind_inserted(db, Measurement, given)
        db.connection().execute(insert(Measurement.__table__), given)  # type: ignore[arg-type]  # a Table


def measurements(
    db: Session,
    model_id: UUID,
    *,
    monitor: str | None = None,
    metric: str | None = None,
    column: str | None = None,
    segments: Collection[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    after: UUID | None = None,
    limit: int = 500,
) -> Sequence[Measurement]:
    """Measurements in order of window end and id, of these segments if any is given.

    Args:
        after: id of the last row of the previous page.
    """
    query = select(Measurement).where(Measurement.model_id == model_id)
    named = ((Measurement.monitor, monitor), (Measurement.metric, metric), (Measurement.column, column))
    for field, value in named:
        if value is not None:
            query = query.where(field == value)
    if segments:
        query = query.where(Measurement.segment.in_(segments))
    if since is not None:
        query = query.where(Measurement.to_ts >= since)
    if until is not None:
        query = query.where(Measurement.to_ts <= until)
    if after is not None:
        last = db.get_one(Measurement, after)
        query = query.where(
            (Measurement.to_ts > last.to_ts) | ((Measurement.to_ts == last.to_ts) & (Measurement.id > last.id))
        )
    return db.scalars(query.order_by(Measurement.to_ts, Measurement.id).limit(limit)).all()


def alert(db: Session, alert_id: UUID, *, lock: bool = False) -> Alert:
    """The alert with this id.

    Raises:
        AlertNotFoundError: no alert has this id.
    """
    found = db.get(Alert, alert_id, with_for_update=lock or None)
    if found is None:
        raise AlertNotFoundError(alert_id)
    return found


def alerts(db: Session, model_id: UUID, *, state: str | None = None) -> Sequence[Alert]:
    query = select(Alert).where(Alert.model_id == model_id).order_by(Alert.opened_at)
    if state is not None:
        query = query.where(Alert.state == state)
    return db.scalars(query).all()


def unresolved_alert(db: Session, model_id: UUID, monitor: str, metric: str) -> Alert | None:
    """The unresolved alert of a monitor about a metric; "" means any metric."""
    query = select(Alert).where(Alert.model_id == model_id, Alert.monitor == monitor, Alert.state != "resolved")
    if metric:
        query = query.where(Alert.metric == metric)
    return db.scalars(query).first()


def unresolved_alerts(db: Session, model_id: UUID) -> Sequence[Alert]:
    return db.scalars(select(Alert).where(Alert.model_id == model_id, Alert.state != "resolved")).all()


def alerts_of(db: Session, model_id: UUID, monitor: str) -> Sequence[Alert]:
    query = select(Alert).where(Alert.model_id == model_id, Alert.monitor == monitor)
    return db.scalars(query.order_by(Alert.opened_at)).all()


def alerts_of_window(db: Session, window_id: UUID) -> list[tuple[Alert, bool]]:
    """Alerts that a window belongs to, oldest first, and whether the window still alarms."""
    query = select(Alert, AlertWindow.alarms).join(AlertWindow, AlertWindow.alert_id == Alert.id)
    return [
        (a, alarms)
        for a, alarms in db.execute(query.where(AlertWindow.window_id == window_id).order_by(Alert.opened_at))
    ]


def alert_windows(db: Session, alert_id: UUID) -> Sequence[AlertWindow]:
    return db.scalars(select(AlertWindow).where(AlertWindow.alert_id == alert_id)).all()


def evaluations(
    db: Session, model_id: UUID, monitor: str, metric: str | None, since: Sequence[UUID]
) -> Sequence[tuple[UUID, str, datetime, datetime, Measurement]]:
    """The measurement of a monitor in every window from the first of some windows on.

    Row windows are ordered by number, whatever the times of their events.

    Args:
        metric: None for every metric of the monitor.
        since: ids of the windows, of which the first counts.

    Returns:
        Id, scale, start and end of each window, and the measurement.
    """
    begins = db.execute(
        select(ReferenceRow.created_at, Window.from_seq, Window.from_ts)
        .join(Window, Window.baseline_id == ReferenceRow.id)
        .where(Window.id.in_(since))
    ).all()
    created = min(c for c, _, _ in begins)
    query = (
        select(Window.id, Window.scale, Window.from_ts, Window.to_ts, Measurement)
        .join(Measurement, Measurement.window_id == Window.id)
        .join(ReferenceRow, ReferenceRow.id == Window.baseline_id)
        .where(
            Window.model_id == model_id, Measurement.monitor == monitor,
            Measurement.segment == (ESTIMATED if monitor == "estimate" else ""),
            true() if metric is None else Measurement.metric == metric, ReferenceRow.created_at >= created,
            or_(
                ReferenceRow.created_at > created,
                Window.to_ts > min(ts for c, _, ts in begins if c == created),
                Window.from_seq >= min(seq for c, seq, _ in begins if c == created),
            ),
        )
        .order_by(ReferenceRow.created_at, Window.number, Window.to_ts)
    )  # fmt: skip
    return [(of, scale, begin, end, measured) for of, scale, begin, end, measured in db.execute(query)]


def dataset(db: Session, model_id: UUID, name: str) -> Dataset | None:
    """The newest dataset of this name."""
    query = select(Dataset).where(Dataset.model_id == model_id, Dataset.name == name)
    return db.scalars(query.order_by(Dataset.created_at.desc()).limit(1)).first()


def training_sets(db: Session, model_id: UUID, *, made_before: datetime) -> Sequence[Dataset]:
    """Training sets of the model in force: that of the newest run before a time, or else the registered ones."""
    query = select(Dataset).where(Dataset.model_id == model_id, Dataset.role == "train")
    of_runs = query.where(Dataset.run_id.is_not(None), Dataset.created_at < made_before)
    newest = db.scalars(of_runs.order_by(Dataset.created_at.desc()).limit(1)).first()
    return [newest] if newest else db.scalars(query.where(Dataset.run_id.is_(None)).order_by(Dataset.created_at)).all()


def quarantine_decisions(
    db: Session, model_id: UUID, rows: Sequence[str] | None = None
) -> dict[str, QuarantineDecision]:
    """Decisions about all rows in quarantine, or about the named ones, by row id."""
    query = select(QuarantineDecision).where(QuarantineDecision.model_id == model_id)
    if rows is not None:
        query = query.where(QuarantineDecision.row.in_(rows))
    return {decision.row: decision for decision in db.scalars(query)}


def quarantine_decided(db: Session, model_id: UUID) -> int:
    query = select(func.count()).select_from(QuarantineDecision).where(QuarantineDecision.model_id == model_id)
    return db.scalar(query) or 0


def unmapped_service(db: Session, service: str) -> UnmappedService | None:
    return db.scalars(select(UnmappedService).where(UnmappedService.service == service)).first()


def unmapped_services(db: Session) -> Sequence[UnmappedService]:
    """The newest first."""
    return db.scalars(select(UnmappedService).order_by(UnmappedService.last_at.desc(), UnmappedService.service)).all()
