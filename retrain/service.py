"""Use cases of retraining: consider the policy, start a run by hand, register a dataset, approve or reject a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core import queue
from core.canonical import digest
from core.errors import AppError
from core.jobs import RunJob
from governance.ledger.append import append_entry
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import spec_revision
from monitor.tables import Dataset, Measurement, Model, Window
from retrain import registry, store
from retrain.envelope import Plan, breaches
from retrain.errors import ApprovalError, NoPolicyError, RunClosedError, RunStateError
from retrain.tables import Run, TriggerDecision
from retrain.triggers import decide
from retrain.triggers.base import Labelled, ManualStart, Reading, TriggerInputs, WindowReading
from retrain.triggers.decision import Decision
from retrain.workspace import Workspace, last_line

SYSTEM = "assay"


# --- considering ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Considered:
    """A recorded decision and, where it fired, the run that was queued with it."""

    decision: TriggerDecision
    run: Run | None


def consider(
    site: Site,
    db: Session,
    model_name: str,
    *,
    cause: str,
    window_id: UUID | None = None,
    manual: ManualStart | None = None,
) -> Considered:
    """Consider a model's policy once: record the decision whether it fires or not; where it fires, queue the run.

    Raises:
        ModelNotFoundError, NoPolicyError, NoChampionError: there is nothing to consider.
    """
    current = current_spec(site, db, model_name)
    if current.spec.retrain is None:
        raise NoPolicyError(model_name)
    db.get_one(Model, current.model.id, with_for_update=True)  # one consideration at a time, so one run at a time
    champion = registry.champion(site, db, model_name)
    found = decide(gather(site, db, current, manual), current.spec.retrain)
    row = _record(site, db, current, found, cause, window_id, manual.actor if manual else SYSTEM)
    if not found.fire:
        return Considered(row, None)
    now = site.clock.now()
    run = Run(
        model_id=current.model.id, decision_id=row.id, spec_revision=current.revision, state="queued",
        champion_version=champion.version, approvals=[], created_at=now, attempts=0,
    )  # fmt: skip
    db.add(run)
    db.flush()
    queue.enqueue(db, RunJob(run_id=run.id), now=now, dedupe_key=f"run:{run.id}", lock_key=f"train:{model_name}")
    return Considered(row, run)


def start_manual(site: Site, db: Session, model_name: str, actor: str, reason: str) -> Considered:
    """A person asks for a run; cooldown does not hold them back, every other limit does."""
    return consider(site, db, model_name, cause="manual", manual=ManualStart(actor, reason))


def gather(site: Site, db: Session, current: CurrentSpec, manual: ManualStart | None) -> TriggerInputs:
    """Everything the triggers look at, read once."""
    model = current.model
    judged = store.judged(db, model.id)
    last = store.decisions(db, model.id, limit=1)
    runs = store.runs(db, model.id)
    unfinished = store.open_run(db, model.id)
    declared = spec_revision(db, model.id, current.revision).created_at
    return TriggerInputs(
        now=site.clock.now(),
        considered_at=last[0].at if last else declared,
        windows=tuple(_window_reading(w) for w in judged.newest),
        kpis=tuple(_reading(w, m) for w, m in judged.readings if m.monitor == "kpi"),
        fairness=tuple(_reading(w, m) for w, m in judged.readings if m.monitor == "fairness"),
        labelled=labelled(site, db, model, judged.alarm_from_seq),
        last_run_at=runs[0].created_at if runs else None,
        open_run=str(unfinished.id) if unfinished else None,
        manual=manual,
        outside_envelope=_outside(current.spec),
    )


def labelled(site: Site, db: Session, model: Model, alarm_from_seq: int | None) -> Labelled:
    """Count the events whose label is known, since the last training set and since the present alarm began.

    An event whose label came, or was corrected, after the training set was cut counts as new to it.
    """
    label = current_spec(site, db, model.name).spec.with_role("outcome")[:1]
    if not label or site.events.extent(model.name).outcomes == 0:
        return Labelled(0, None if alarm_from_seq is None else 0)
    trained = store.last_training_set(db, model.id)
    if trained is not None:
        seen = next(int(s["next_outcome"]) for s in trained.provenance["sources"] if "next_outcome" in s)
        rows = site.events.arrived(model.name, seen, columns=label)
        since_training = rows.drop_nulls(label)["event_id"].n_unique()
    else:
        since_training = _labelled_from(site, model.name, label[0], store.old_end(db, model.id))
    since_alarm = None if alarm_from_seq is None else _labelled_from(site, model.name, label[0], alarm_from_seq)
    return Labelled(since_training, since_alarm)


def _labelled_from(site: Site, model_name: str, label: str, seq: int) -> int:
    frame = site.events.labelled(model_name, from_seq=seq, columns=["seq"])
    return int(frame[label].count()) if label in frame.columns else 0


def _window_reading(window: Window) -> WindowReading:
    drifted = tuple(dict.fromkeys(str(c["column"]) for c in window.decision.get("columns", ()) if c.get("alarmed")))
    if not drifted and window.decision.get("verdict") == "alarm":
        drifted = ("no single column",)
    return WindowReading(str(window.id), window.scale, window.verdict, window.sentence, window.to_ts, drifted)


def _reading(window: Window, row: Measurement) -> Reading:
    of = ", ".join(part for part in (row.column, row.segment, window.scale) if part)
    return Reading(str(row.id), row.metric, row.value, row.limit, row.alarm, row.n, of)


def _outside(spec: ModelSpec) -> tuple[str, ...]:
    try:
        return breaches(Plan.of(spec))
    except AppError as error:  # a recipe that cannot be read lies outside any envelope
        return (error.message,)


def _record(
    site: Site, db: Session, current: CurrentSpec, found: Decision, cause: str, window_id: UUID | None, actor: str
) -> TriggerDecision:
    now = site.clock.now()
    row = TriggerDecision(
        model_id=current.model.id, spec_revision=current.revision, window_id=window_id, cause=cause, fired=found.fire,
        reason=found.reason, triggers=[asdict(f) | {"evidence": list(f.evidence)} for f in found.findings],
        blocked_by=[asdict(b) for b in found.blocked_by], at=now,
    )  # fmt: skip
    db.add(row)
    db.flush()
    # Reasons stay in the table, where a person's own words may be among them; the entry holds their digest.
    words = digest({"reason": found.reason, "triggers": row.triggers, "blocked_by": row.blocked_by})
    append_entry(
        db, kind="trigger.decision", actor=actor, subject=f"model:{current.model.name}", at=now,
        body={
            "decision": row.id, "cause": cause, "window": window_id, "spec_revision": current.revision,
            "fired": found.fire, "words": words, "blocked_by": [asdict(b) for b in found.blocked_by],
            "triggers": [{"name": f.name, "fire": f.fire, "evidence": list(f.evidence)} for f in found.findings],
        },
    )  # fmt: skip
    return row


# --- datasets ---------------------------------------------------------------------------------------------------------


def register_dataset(
    site: Site, db: Session, model_name: str, name: str, role: str, content: bytes | Path, source: str, actor: str
) -> Dataset:
    """Register labelled rows (Parquet) a person brings: `train` to replay, `holdout` to judge forgetting, `reference`.

    Raises:
        ModelNotFoundError, NoPolicyError, DatasetError.
    """
    from retrain.curate import service as curation  # polars is slow to import and only needed here

    current = current_spec(site, db, model_name)
    data = content.read_bytes() if isinstance(content, Path) else content
    return curation.register_dataset(
        site, db, current.model, current.spec, current.revision, name=name, role=role, content=data, source=source,
        actor=actor,
    )  # fmt: skip


# --- approval ---------------------------------------------------------------------------------------------------------


def started_by(db: Session, run: Run) -> str | None:
    """The person who asked for a run; None when the policy started it."""
    for finding in store.decision(db, run.decision_id).triggers:
        if finding["name"] == "manual" and finding["fire"]:
            return str(finding["evidence"][0])
    return None


def approve(site: Site, db: Session, run_id: UUID, actor: str, reason: str) -> Run:
    """Record an approval; the last one that is needed promotes.

    Raises:
        RunNotFoundError, RunStateError: no such run, or it does not wait for approval.
        ApprovalError: by the person who started the run, or twice by the same person, or without a reason.
    """
    run = store.run(db, run_id, lock=True)
    if run.state != "awaiting_approval":
        raise RunStateError(run_id, run.state, "awaiting_approval")
    if not reason.strip():
        raise ApprovalError("an approval needs a reason; say what you looked at", field="reason")
    db.get_one(Model, run.model_id, with_for_update=True)  # before the ledger's head, as everywhere
    if actor == started_by(db, run):
        raise ApprovalError(f"{actor} started run {run_id} and may not approve it; ask somebody else", actor=actor)
    if any(a["actor"] == actor for a in run.approvals):
        raise ApprovalError(f"{actor} has approved run {run_id} already; a different person is needed", actor=actor)
    now = site.clock.now()
    run.approvals = [*run.approvals, {"actor": actor, "at": now.isoformat(), "reason": reason}]
    needed = registry.approvals_needed(store.spec_at(db, run.model_id, run.spec_revision))
    record_run(site, db, run, "run.approved", actor, {"reason": reason, "given": len(run.approvals), "needed": needed})
    if len(run.approvals) >= needed:
        names = ", ".join(a["actor"] for a in run.approvals)
        registry.promote(site, db, run_id, actor, reason=f"approved by {names}")
    return run


def reject(site: Site, db: Session, run_id: UUID, actor: str, reason: str) -> Run:
    """A person turns a candidate down; the champion stays.

    Raises:
        RunNotFoundError, RunStateError, ApprovalError.
    """
    run = store.run(db, run_id, lock=True)
    if run.state != "awaiting_approval":
        raise RunStateError(run_id, run.state, "awaiting_approval")
    if not reason.strip():
        raise ApprovalError("a rejection needs a reason", field="reason")
    close_rejected(site, db, run, actor, f"rejected by {actor}: {reason}", {"reason": reason})
    return run


# --- ends of a run ----------------------------------------------------------------------------------------------------


def close_rejected(site: Site, db: Session, run: Run, actor: str, words: str, body: Mapping[str, Any]) -> None:
    run.state, run.error, run.finished_at = "rejected", words, site.clock.now()
    registry.reject_candidate(site, db, run)
    record_run(site, db, run, "run.rejected", actor, body)


def close_failed(site: Site, db: Session, run: Run, code: str, words: str) -> None:
    run.state, run.error, run.finished_at = "failed", words, site.clock.now()
    registry.reject_candidate(site, db, run)
    record_run(site, db, run, "run.failed", SYSTEM, {"code": code, "attempts": run.attempts})


def record_run(site: Site, db: Session, run: Run, kind: str, actor: str, body: Mapping[str, Any]) -> None:
    """A ledger entry about a run; `run.error` and trainer output stay out of it, they may quote data."""
    model = db.get_one(Model, run.model_id)
    full = {"model": model.name, "candidate": run.candidate_version, "champion": run.champion_version, **body}
    append_entry(db, kind=kind, actor=actor, subject=f"run:{run.id}", body=full, at=site.clock.now())


def show_progress(site: Site, work: Workspace) -> None:
    """Copy the newest progress line of a run's process to its row.

    Raises:
        RunClosedError: the run was ended meanwhile; whoever waits for the process stops it.
    """
    line = last_line(work.progress)
    if line is None:
        return
    try:
        with site.database.write() as db:
            run = store.run(db, work.run_id)
            if run.progress != line:
                run.progress = line
            if run.state in store.FINAL_STATES:
                raise RunClosedError(run.id, run.state)
    except OperationalError:  # a display is not worth hours of training; the next second tries again
        return
