"""Queries behind reports and pages: everything about one model in one period."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from governance.tables import LedgerEntry
from monitor.tables import Alert, Dataset, Explanation, Incident, Measurement, Model, ReferenceRow, SpecRevision, Window
from reports.errors import ReportNotFoundError
from reports.tables import Report
from retrain.tables import GateRow, ModelVersion, Run, TriggerDecision

CLOCK_STEP: Final = timedelta(hours=1)  # by which the clock may have been set back between two entries
MOST_NEAR: Final = 500  # entries of one kind about one model that are read for the one of an alert


@dataclass(frozen=True)
class Entry:
    """A ledger entry, read."""

    index: int
    at: str
    kind: str
    actor: str
    subject: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WindowTime:
    from_ts: datetime
    to_ts: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What drift said of a window; `decision` has `judged` and `verdict`, of the last judged window everything."""

    id: UUID
    from_ts: datetime
    to_ts: datetime
    sentence: str
    decision: dict[str, Any]


def spec_revisions(db: Session, model_id: UUID) -> Sequence[SpecRevision]:
    query = select(SpecRevision).where(SpecRevision.model_id == model_id).order_by(SpecRevision.revision)
    return db.scalars(query).all()


def baselines(db: Session, model_id: UUID, until: datetime) -> Sequence[ReferenceRow]:
    query = select(ReferenceRow).where(ReferenceRow.model_id == model_id, ReferenceRow.created_at <= until)
    return db.scalars(query.order_by(ReferenceRow.created_at)).all()


def windows(
    db: Session, model_id: UUID, since: datetime, until: datetime, limit: int | None = None
) -> Sequence[Window]:
    """Windows that end after the period begins and not after its end, in order of that; of more, the last `limit`.

    A window's end is outside it: one that ends as the period begins belongs whole to the period before.
    """
    query = select(Window).where(Window.model_id == model_id, Window.to_ts > since, Window.to_ts <= until)
    return db.scalars(query.order_by(Window.to_ts.desc(), Window.to_seq.desc()).limit(limit)).all()[::-1]


def verdicts(db: Session, model_id: UUID, limit: int, until: datetime | None = None) -> list[Verdict]:
    """The last windows in order of their end, with the whole evidence of the last one that was judged only."""
    judged = Window.decision["judged"].as_boolean()
    query = select(
        Window.id, Window.from_ts, Window.to_ts, Window.sentence, judged, Window.decision["verdict"].as_string()
    )
    query = query.where(Window.model_id == model_id).order_by(Window.to_ts.desc(), Window.to_seq.desc()).limit(limit)
    if until is not None:
        query = query.where(Window.to_ts <= until)
    rows = db.execute(query).all()[::-1]
    last = next((row[0] for row in reversed(rows) if row[4]), None)
    whole = None if last is None else db.scalar(select(Window.decision).where(Window.id == last))
    return [
        Verdict(
            ident, start, end, said, whole if whole is not None and ident == last else {"judged": yes, "verdict": v}
        )
        for ident, start, end, said, yes, v in rows
    ]


def window_times(db: Session, ids: Collection[UUID]) -> dict[UUID | None, WindowTime]:
    """When windows begin and end."""
    query = select(Window.id, Window.from_ts, Window.to_ts).where(Window.id.in_(ids))
    return {ident: WindowTime(start, end) for ident, start, end in db.execute(query)} if ids else {}


def measurements(
    db: Session, model_id: UUID, since: datetime, until: datetime, monitors: Sequence[str] = ("kpi", "fairness"),
    *, limit: int | None = None,
) -> Sequence[Measurement]:  # fmt: skip
    """Measurements of windows that end in the period; of more than `limit`, those of the last windows."""
    query = select(Measurement).where(
        Measurement.model_id == model_id, Measurement.monitor.in_(monitors),
        Measurement.to_ts > since, Measurement.to_ts <= until,
    )  # fmt: skip
    order = (Measurement.monitor, Measurement.metric, Measurement.column, Measurement.segment, Measurement.to_ts)
    if limit is not None:
        newest = query.with_only_columns(Measurement.id).order_by(Measurement.to_ts.desc()).limit(limit)
        query = select(Measurement).where(Measurement.id.in_(newest))
    return db.scalars(query.order_by(*order, Measurement.id)).all()


def newest_measurement(db: Session, model_id: UUID, monitor: str, metric: str, until: datetime) -> Measurement | None:
    """The newest measurement with a value; without one, the newest measurement with a reason."""
    query = select(Measurement).where(
        Measurement.model_id == model_id, Measurement.monitor == monitor, Measurement.metric == metric,
        Measurement.segment == "", Measurement.to_ts <= until,
    )  # fmt: skip
    newest = query.order_by(Measurement.to_ts.desc()).limit(1)
    return db.scalars(newest.where(Measurement.value.is_not(None))).first() or db.scalars(newest).first()


def _windows_of(model_id: UUID, since: datetime, until: datetime) -> Select[UUID]:
    return select(Window.id).where(Window.model_id == model_id, Window.to_ts > since, Window.to_ts <= until)


# Windows are dated by their events, alerts and runs by the clock: events sent late open alerts long after the period of
# those events. Such alerts and runs belong to the period of the events too.


def alerts(db: Session, model_id: UUID, since: datetime, until: datetime) -> Sequence[Alert]:
    """Alerts opened in the period or by a window of it, and older ones still unresolved when it began."""
    standing = or_(Alert.opened_at >= since, Alert.resolved_at.is_(None), Alert.resolved_at >= since)
    query = select(Alert).where(
        Alert.model_id == model_id,
        or_(
            and_(Alert.opened_at <= until, standing),
            Alert.first_window_id.in_(_windows_of(model_id, since, until)),
        ),
    )
    return db.scalars(query.order_by(Alert.opened_at, Alert.id)).all()


def incidents(db: Session, ids: Collection[UUID]) -> Sequence[Incident]:
    return db.scalars(select(Incident).where(Incident.id.in_(ids)).order_by(Incident.opened_at, Incident.id)).all()


def shared_incidents(db: Session, ids: Collection[UUID], model_id: UUID | None) -> frozenset[UUID]:
    """Those of some incidents that have alerts of other models, or of the installation, too."""
    other = Alert.model_id.is_distinct_from(model_id)
    return frozenset(db.scalars(select(Alert.incident_id).where(Alert.incident_id.in_(ids), other).distinct()))


def decisions(db: Session, model_id: UUID, since: datetime, until: datetime) -> Sequence[TriggerDecision]:
    """Decisions made in the period or about a window of it."""
    query = _decisions(model_id, since, until)
    return db.scalars(query.order_by(TriggerDecision.at, TriggerDecision.id)).all()


def newest_decision(db: Session, model_id: UUID, since: datetime, until: datetime) -> TriggerDecision | None:
    """The last of `decisions`."""
    query = _decisions(model_id, since, until).order_by(TriggerDecision.at.desc(), TriggerDecision.id.desc())
    return db.scalars(query.limit(1)).first()


def _decisions(model_id: UUID, since: datetime, until: datetime) -> Select[TriggerDecision]:
    return select(TriggerDecision).where(
        TriggerDecision.model_id == model_id,
        or_(
            TriggerDecision.at.between(since, until),
            TriggerDecision.window_id.in_(_windows_of(model_id, since, until)),
        ),
    )


def runs(db: Session, model_id: UUID, since: datetime, until: datetime) -> Sequence[Run]:
    """Runs created in the period or decided about a window of it."""
    return db.scalars(_runs(model_id, since, until).order_by(Run.created_at, Run.id)).all()


def newest_run(db: Session, model_id: UUID, since: datetime, until: datetime) -> Run | None:
    """The last of `runs`."""
    query = _runs(model_id, since, until).order_by(Run.created_at.desc(), Run.id.desc()).limit(1)
    return db.scalars(query).first()


def _runs(model_id: UUID, since: datetime, until: datetime) -> Select[Run]:
    decided = select(TriggerDecision.id).where(TriggerDecision.window_id.in_(_windows_of(model_id, since, until)))
    return select(Run).where(
        Run.model_id == model_id, or_(Run.created_at.between(since, until), Run.decision_id.in_(decided))
    )


def decision(db: Session, decision_id: UUID) -> TriggerDecision | None:
    return db.get(TriggerDecision, decision_id)


def gates(db: Session, run_ids: Sequence[UUID]) -> dict[UUID, list[GateRow]]:
    found: dict[UUID, list[GateRow]] = {run_id: [] for run_id in run_ids}
    query = select(GateRow).where(GateRow.run_id.in_(run_ids)).order_by(GateRow.gate)
    for gate in db.scalars(query):
        found[gate.run_id].append(gate)
    return found


def datasets(db: Session, ids: Iterable[UUID | None]) -> dict[UUID, Dataset]:
    wanted = {i for i in ids if i is not None}
    return {d.id: d for d in db.scalars(select(Dataset).where(Dataset.id.in_(wanted)))} if wanted else {}


def versions(db: Session, model_id: UUID) -> Sequence[ModelVersion]:
    query = select(ModelVersion).where(ModelVersion.model_id == model_id)
    return db.scalars(query.order_by(ModelVersion.created_at, ModelVersion.version)).all()


def explanations(db: Session, model_id: UUID, since: datetime, until: datetime) -> Sequence[Explanation]:
    query = select(Explanation).where(
        Explanation.model_id == model_id, Explanation.created_at >= since, Explanation.created_at <= until
    )
    return db.scalars(query.order_by(Explanation.created_at, Explanation.id)).all()


def window(db: Session, window_id: UUID | None) -> Window | None:
    return None if window_id is None else db.get(Window, window_id)


def baseline(db: Session, baseline_id: UUID) -> ReferenceRow | None:
    return db.get(ReferenceRow, baseline_id)


def model_of(db: Session, model_id: UUID) -> Model:
    return db.get_one(Model, model_id)


def extent(db: Session, model_id: UUID) -> tuple[datetime | None, datetime | None]:
    """Start of the first and end of the last window of a model."""
    found = db.execute(
        select(func.min(Window.from_ts), func.max(Window.to_ts)).where(Window.model_id == model_id)
    ).one()
    return found[0], found[1]


def entries(db: Session, subjects: Sequence[str], until_size: int | None = None) -> list[Entry]:
    """Ledger entries about any of the subjects, in order; with a size, those a checkpoint of that size covers."""
    query = select(LedgerEntry).where(LedgerEntry.subject.in_(subjects)).order_by(LedgerEntry.index)
    if until_size is not None:
        query = query.where(LedgerEntry.index < until_size)
    return [read_entry(row) for row in db.scalars(query)]


def alert_entries(db: Session, subject: str, alert: Alert) -> dict[str, int]:
    """The ledger entries of what became of one alert, by their kind; of several acknowledgements the last.

    The log is written in the order of time, so each is looked for from shortly before its time on: reading all entries
    about the model takes as long as the log is.
    """
    times = {
        "alert.opened": alert.opened_at, "alert.acknowledged": alert.acknowledged_at,
        "alert.resolved": alert.resolved_at,
    }  # fmt: skip
    found: dict[str, int] = {}
    for kind, at in times.items():
        for start in () if at is None else (_first_entry_since(db, at - CLOCK_STEP), found.get("alert.opened", 0)):
            near = select(LedgerEntry.index, LedgerEntry.entry).where(
                LedgerEntry.subject == subject, LedgerEntry.kind == kind, LedgerEntry.index >= start
            )  # fmt: skip
            some = near.order_by(LedgerEntry.index).limit(MOST_NEAR).subquery()
            query = select(some.c.index).where(some.c.entry.contains(str(alert.id))).order_by(some.c.index)
            index = db.scalars(query.limit(1)).first()
            if index is not None:
                found[kind] = index
                break
    return found


def _first_entry_since(db: Session, moment: datetime) -> int:
    """The place of the first entry that is not older, by halving."""
    low, high = 0, (db.scalar(select(func.max(LedgerEntry.index))) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        text = db.scalar(select(LedgerEntry.entry).where(LedgerEntry.index == middle))
        if text is None or datetime.fromisoformat(json.loads(text)["at"]) >= moment:
            high = middle
        else:
            low = middle + 1
    return low


def newest_entries(db: Session, subject: str, kinds: Sequence[str], limit: int) -> tuple[list[Entry], int]:
    """The newest entries of some kinds about a subject, the newest first, and how many there are."""
    query = select(LedgerEntry).where(LedgerEntry.subject == subject, LedgerEntry.kind.in_(kinds))
    total = db.scalar(select(func.count()).select_from(query.subquery())) or 0
    return [read_entry(row) for row in db.scalars(query.order_by(LedgerEntry.index.desc()).limit(limit))], total


def entry(db: Session, index: int) -> Entry | None:
    row = db.get(LedgerEntry, index)
    return None if row is None else read_entry(row)


def read_entry(row: LedgerEntry) -> Entry:
    line = json.loads(row.entry)
    return Entry(row.index, line["at"], line["kind"], line["actor"], line["subject"], line["body"])


def reports(db: Session, model_id: UUID, limit: int = 20) -> Sequence[Report]:
    query = select(Report).where(Report.model_id == model_id).order_by(Report.created_at.desc()).limit(limit)
    return db.scalars(query).all()


def report(db: Session, report_id: UUID, *, lock: bool = False) -> Report:
    """Raises ReportNotFoundError."""
    found = db.get(Report, report_id, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise ReportNotFoundError(report_id)
    return found


def listed_reports(
    db: Session, *, models: Sequence[UUID] | None, kind: str | None = None, state: str | None = None, limit: int,
    offset: int = 0,
) -> list[tuple[Report, str]]:  # fmt: skip
    """Reports with the names of their models, the newest first; `models` None means all."""
    query = select(Report, Model.name).join(Model, Model.id == Report.model_id)
    if models is not None:
        query = query.where(Report.model_id.in_(models))
    for column, wanted in ((Report.kind, kind), (Report.state, state)):
        query = query if wanted is None else query.where(column == wanted)
    query = query.order_by(Report.created_at.desc(), Report.id).limit(limit).offset(offset)
    return [(row, name) for row, name in db.execute(query)]
