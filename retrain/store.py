"""Queries of the retraining tables, and of the monitor's that a decision rests on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.store import newest_reference, spec_revision
from monitor.tables import Dataset, Explanation, ExplanationBlock, Measurement, ReferenceRow, SpecRevision, Window
from retrain.errors import RunNotFoundError, VersionNotFoundError
from retrain.tables import ExplanationBatch, FairnessFlip, GateRow, ModelVersion, Run, TriggerDecision

FINAL_STATES = ("promoted", "rejected", "failed")
WORKING_STATES = ("queued", "curating", "training", "evaluating")  # in which a run computes, or is about to


def run(db: Session, run_id: UUID, *, lock: bool = False) -> Run:
    """Raises RunNotFoundError."""
    found = db.get(Run, run_id, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise RunNotFoundError(run_id)
    return found


def runs(db: Session, model_id: UUID, limit: int | None = None) -> Sequence[Run]:
    """Newest first."""
    return db.scalars(select(Run).where(Run.model_id == model_id).order_by(Run.created_at.desc()).limit(limit)).all()


def runs_of_version(db: Session, model_id: UUID, version: str) -> Sequence[Run]:
    """Runs that made or judged a version, oldest first."""
    query = select(Run).where(Run.model_id == model_id, Run.candidate_version == version)
    return db.scalars(query.order_by(Run.created_at)).all()


def runs_since(db: Session, at: datetime, model_id: UUID | None = None) -> Sequence[Run]:
    """Runs of a model, or of all, that were queued or ended since a time, or have not ended."""
    query = select(Run).where(or_(Run.created_at >= at, Run.finished_at >= at, Run.state.not_in(FINAL_STATES)))
    return db.scalars(query if model_id is None else query.where(Run.model_id == model_id)).all()


def newest_run(db: Session, model_id: UUID) -> Run | None:
    """The newest run that trains; one that judges a version again holds no other run back."""
    query = select(Run).where(Run.model_id == model_id, Run.purpose == "train")
    return db.scalars(query.order_by(Run.created_at.desc()).limit(1)).first()


def open_run(db: Session, model_id: UUID) -> Run | None:
    query = select(Run).where(Run.model_id == model_id, Run.state.not_in(FINAL_STATES)).order_by(Run.created_at)
    return db.scalars(query).first()


def decision(db: Session, decision_id: UUID) -> TriggerDecision:
    return db.get_one(TriggerDecision, decision_id)


def requested(db: Session, model_id: UUID, key: str) -> TriggerDecision | None:
    """The decision that was asked for with an idempotency key."""
    query = select(TriggerDecision).where(TriggerDecision.model_id == model_id, TriggerDecision.request_key == key)
    return db.scalars(query).first()


def run_of_decision(db: Session, decision_id: UUID) -> Run | None:
    return db.scalars(select(Run).where(Run.decision_id == decision_id)).first()


def revisions_down_from(db: Session, model_id: UUID, revision: int) -> Iterator[tuple[dict[str, Any], datetime]]:
    """Stored specs and when each was applied, from a revision down to the first."""
    query = select(SpecRevision.document, SpecRevision.created_at).where(
        SpecRevision.model_id == model_id, SpecRevision.revision <= revision
    )
    found = db.execute(query.order_by(SpecRevision.revision.desc()))
    return ((document, at) for document, at in found)


def decisions(db: Session, model_id: UUID, limit: int = 100) -> Sequence[TriggerDecision]:
    """Newest first."""
    query = select(TriggerDecision).where(TriggerDecision.model_id == model_id)
    return db.scalars(query.order_by(TriggerDecision.at.desc()).limit(limit)).all()


def gates(db: Session, run_id: UUID) -> Sequence[GateRow]:
    return db.scalars(select(GateRow).where(GateRow.run_id == run_id).order_by(GateRow.gate)).all()


def datasets(db: Session, model_id: UUID, of_runs: Sequence[UUID] | None = None) -> Sequence[Dataset]:
    """Newest first; with `of_runs`, those of these runs and those that people registered."""
    query = select(Dataset).where(Dataset.model_id == model_id)
    if of_runs is not None:
        query = query.where(or_(Dataset.run_id.is_(None), Dataset.run_id.in_(of_runs)))
    return db.scalars(query.order_by(Dataset.created_at.desc())).all()


def registered_datasets(db: Session, model_id: UUID, role: str) -> Sequence[Dataset]:
    """Datasets a person registered (not made by a run), oldest first; of one name only the newest."""
    query = select(Dataset).where(Dataset.model_id == model_id, Dataset.role == role, Dataset.run_id.is_(None))
    newest = {row.name: row for row in db.scalars(query.order_by(Dataset.created_at))}
    return list(newest.values())


def last_training_set(db: Session, model_id: UUID) -> Dataset | None:
    """The newest training set a run made, whatever became of the run."""
    query = select(Dataset).where(Dataset.model_id == model_id, Dataset.role == "train", Dataset.run_id.is_not(None))
    return db.scalars(query.order_by(Dataset.created_at.desc()).limit(1)).first()


def run_datasets(db: Session, run_id: UUID) -> dict[str, Dataset]:
    """Datasets of one run by role."""
    return {row.role: row for row in db.scalars(select(Dataset).where(Dataset.run_id == run_id))}


def versions(db: Session, model_id: UUID, of_runs: Sequence[UUID] | None = None) -> Sequence[ModelVersion]:
    """Oldest first; with `of_runs`, those that these runs made and those that none made."""
    query = select(ModelVersion).where(ModelVersion.model_id == model_id)
    if of_runs is not None:
        query = query.where(or_(ModelVersion.run_id.is_(None), ModelVersion.run_id.in_(of_runs)))
    return db.scalars(query.order_by(ModelVersion.created_at)).all()


def version_named(db: Session, model_id: UUID, name: str | None) -> ModelVersion | None:
    query = select(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.version == name)
    return db.scalars(query).first()


def version(db: Session, model_id: UUID, name: str, model: str) -> ModelVersion:
    """Raises VersionNotFoundError."""
    found = version_named(db, model_id, name)
    if found is None:
        raise VersionNotFoundError(model, name)
    return found


def candidate(db: Session, run: Run) -> ModelVersion | None:
    """The version that a run made or judges again; None before it is trained."""
    return version_named(db, run.model_id, run.candidate_version)


def version_of_run(db: Session, run_id: UUID) -> ModelVersion | None:
    return db.scalars(select(ModelVersion).where(ModelVersion.run_id == run_id)).first()


def count_versions(db: Session, model_id: UUID) -> int:
    return db.scalar(select(func.count()).select_from(ModelVersion).where(ModelVersion.model_id == model_id)) or 0


def champion(db: Session, model_id: UUID) -> ModelVersion | None:
    query = select(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.stage == "champion")
    return db.scalars(query).first()


def earlier_champion(db: Session, model_id: UUID) -> ModelVersion | None:
    """The version that was champion last before the present one, and was not rolled back from."""
    query = select(ModelVersion).where(
        ModelVersion.model_id == model_id, ModelVersion.stage.not_in(("champion", "rejected")),
        ModelVersion.promoted_at.is_not(None),
    )  # fmt: skip
    return db.scalars(query.order_by(ModelVersion.retired_at.desc()).limit(1)).first()


def flips(db: Session, model_id: UUID, limit: int | None = 20) -> Sequence[FairnessFlip]:
    """Flip tests of a model, the newest first."""
    query = select(FairnessFlip).where(FairnessFlip.model_id == model_id).order_by(FairnessFlip.at.desc())
    return db.scalars(query.limit(limit)).all()


def flips_of_alert(db: Session, alert_id: UUID) -> Sequence[FairnessFlip]:
    return db.scalars(select(FairnessFlip).where(FairnessFlip.alert_id == alert_id)).all()


def explanation(db: Session, model_id: UUID, event_id: str, version: str) -> Explanation | None:
    query = select(Explanation).where(
        Explanation.model_id == model_id, Explanation.event_id == event_id, Explanation.version == version
    )
    return db.scalars(query).first()


def explained_events(db: Session, model_id: UUID) -> set[tuple[str, str]]:
    """Ids of explained events, each with the version."""
    query = select(Explanation.event_id, Explanation.version).where(Explanation.model_id == model_id)
    return {(event, version) for event, version in db.execute(query)}


def blocks_with(db: Session, model_id: UUID, seq: int, version: str) -> Sequence[ExplanationBlock]:
    """Blocks whose span holds an event of a version, newest first; the event itself may be missing in one."""
    query = select(ExplanationBlock).where(
        ExplanationBlock.model_id == model_id, ExplanationBlock.version == version, ExplanationBlock.from_seq <= seq,
        ExplanationBlock.to_seq > seq,
    )  # fmt: skip
    return db.scalars(query.order_by(ExplanationBlock.created_at.desc())).all()


def blocks(db: Session, model_id: UUID, *, version: str | None = None) -> Sequence[ExplanationBlock]:
    """In the order of their events."""
    query = select(ExplanationBlock).where(ExplanationBlock.model_id == model_id)
    if version is not None:
        query = query.where(ExplanationBlock.version == version)
    return db.scalars(query.order_by(ExplanationBlock.from_seq, ExplanationBlock.created_at)).all()


def newest_batch(db: Session, model_id: UUID) -> ExplanationBatch | None:
    query = select(ExplanationBatch).where(ExplanationBatch.model_id == model_id)
    return db.scalars(query.order_by(ExplanationBatch.created_at.desc()).limit(1)).first()


def shows(db: Session, artifact: str) -> bool:
    """Whether an explanation consists of this artifact: equal decisions are explained by equal bytes."""
    return db.scalars(select(Explanation.id).where(Explanation.artifact == artifact).limit(1)).first() is not None


def models_under_way(db: Session) -> Sequence[UUID]:
    """Models of which a run works here, oldest run first; one that waits for a person does not."""
    query = select(Run.model_id).where(Run.state.in_(WORKING_STATES)).order_by(Run.created_at)
    return list(dict.fromkeys(db.scalars(query)))


def spec_at(db: Session, model_id: UUID, revision: int) -> ModelSpec:
    return parse_spec(spec_revision(db, model_id, revision).document)


@dataclass(frozen=True, slots=True)
class JudgedWindows:
    """The current readings of the monitor, for one decision."""

    newest: tuple[Window, ...]  # the newest window of each scale
    alarms: Mapping[str, int]  # by scale: first event of the run of alarms that its newest window ends
    readings: tuple[tuple[Window, Measurement], ...]  # newest defined KPI and fairness measurement of each kind

    @property
    def alarm_from_seq(self) -> int | None:
        """First event of the present run of alarms."""
        return max(self.alarms.values(), default=None)


def old_end(db: Session, model_id: UUID) -> int:
    """One past the last event of the newest ready reference. The champion was trained for the events before it."""
    query = select(ReferenceRow.to_seq).where(ReferenceRow.model_id == model_id, ReferenceRow.state == "ready")
    return db.scalars(query.order_by(ReferenceRow.created_at.desc()).limit(1)).first() or 0


def judged(db: Session, model_id: UUID) -> JudgedWindows:
    """Verdicts and measurements against the reference in force."""
    row = newest_reference(db, model_id)
    if row is None:
        return JudgedWindows((), {}, ())
    query = select(Window).where(Window.baseline_id == row.id).order_by(Window.number.desc())
    by_scale: dict[str, list[Window]] = {}
    for window in db.scalars(query):
        by_scale.setdefault(window.scale, []).append(window)
    starts = {scale: _alarm_start(windows) for scale, windows in by_scale.items()}
    return JudgedWindows(
        newest=tuple(windows[0] for windows in by_scale.values()),
        alarms={scale: start for scale, start in starts.items() if start is not None},
        readings=_newest_readings(db, row.id),
    )


def _alarm_start(windows: Sequence[Window]) -> int | None:
    """First event of the run of alarms that the newest window (given first) belongs to."""
    start = None
    for window in windows:
        if window.verdict != "alarm":
            break
        start = window.from_seq
    return start


def _newest_readings(db: Session, baseline_id: UUID) -> tuple[tuple[Window, Measurement], ...]:
    query = (
        select(Window, Measurement)
        .join(Measurement, Measurement.window_id == Window.id)
        .where(Window.baseline_id == baseline_id, Measurement.monitor != "drift", Measurement.value.is_not(None))
        .order_by(Window.number)
    )
    newest = {(w.scale, m.monitor, m.metric, m.column, m.segment): (w, m) for w, m in db.execute(query)}
    return tuple(newest.values())
