"""Consider a retraining policy: gather its inputs, record the decision, queue the run when it fires."""

from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.canonical import digest
from core.errors import AppError
from core.jobs import RunJob
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import spec_revision
from monitor.tables import Measurement, Model, Window
from monitor.windows.limits import not_judged
from retrain import store
from retrain.envelope import Plan, breaches
from retrain.errors import NoPolicyError
from retrain.registry.champion import champion_of
from retrain.registry.standing import signer, signer_line
from retrain.tables import Run, TriggerDecision
from retrain.triggers import decide
from retrain.triggers.base import Labelled, ManualStart, TriggerInputs, TriggerReading, WindowReading
from retrain.triggers.decision import PolicyDecision


@dataclass(frozen=True, slots=True)
class Considered:
    """A recorded decision and, if it fired, the run queued with it."""

    decision: TriggerDecision
    run: Run | None


def consider_policy(
    site: Site,
    db: Session,
    model_name: str,
    *,
    cause: str,
    window_id: UUID | None = None,
    manual: ManualStart | None = None,
) -> Considered:
    """Consider a model's policy once: record the decision, fired or not, and queue a run if it fired.

    Raises:
        ModelNotFoundError, NoPolicyError, NoChampionError: there is nothing to consider.
    """
    current = current_spec(site, db, model_name)
    if current.spec.retrain is None:
        raise NoPolicyError(model_name)
    db.get_one(Model, current.model.id, with_for_update=True)  # one consideration at a time, so one run at a time
    champion = champion_of(site, db, model_name)
    found = decide(gather(site, db, current, manual), current.spec.retrain)
    row = _record(site, db, current, found, cause, window_id, manual.actor if manual else SYSTEM_ACTOR)
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
    """Start a run at a person's request. The cooldown does not apply; every other limit does."""
    return consider_policy(site, db, model_name, cause="manual", manual=ManualStart(actor, reason))


def gather(site: Site, db: Session, current: CurrentSpec, manual: ManualStart | None) -> TriggerInputs:
    """The inputs of all triggers, read once."""
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
        last_run_at=min(runs[0].created_at, site.clock.now()) if runs else None,  # the clock may have been set back
        open_run=str(unfinished.id) if unfinished else None,
        manual=manual,
        outside_envelope=_outside(current.spec),
    )


def labelled(site: Site, db: Session, model: Model, alarm_from_seq: int | None) -> Labelled:
    """Count the labelled events since the last training set and since the current alarm began.

    An event whose label arrived or was corrected after the training set was made counts as new.
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


def _reading(window: Window, row: Measurement) -> TriggerReading:
    of = ", ".join(part for part in (row.column, row.segment, window.scale) if part)
    return TriggerReading(str(row.id), row.metric, row.value, row.limit, row.alarm, row.n, of, not_judged(row.details))


def _outside(spec: ModelSpec) -> tuple[str, ...]:
    try:
        return breaches(Plan.of(spec))
    except AppError as error:  # an unreadable recipe is outside any envelope
        return (error.message,)


def _record(
    site: Site, db: Session, current: CurrentSpec, found: PolicyDecision, cause: str, window_id: UUID | None, actor: str
) -> TriggerDecision:
    now = site.clock.now()
    row = TriggerDecision(
        model_id=current.model.id, spec_revision=current.revision, window_id=window_id, cause=cause, fired=found.fire,
        reason=found.reason, triggers=[asdict(f) | {"evidence": list(f.evidence)} for f in found.findings],
        blocked_by=[asdict(b) for b in found.blocked_by], at=now,
    )  # fmt: skip
    db.add(row)
    db.flush()
    # Reasons may quote a person, so they stay in the table; the ledger entry holds their digest.
    words = digest({"reason": found.reason, "triggers": row.triggers, "blocked_by": row.blocked_by})
    by = {"by": signer_line(signer(db, actor))} if cause == "manual" else {}
    append_entry(
        db, kind="trigger.decision", actor=actor, subject=f"model:{current.model.name}", at=now,
        body={
            "decision": row.id, "cause": cause, "window": window_id, "spec_revision": current.revision,
            "fired": found.fire, "words": words, "blocked_by": [asdict(b) for b in found.blocked_by],
            "triggers": [{"name": f.name, "fire": f.fire, "evidence": list(f.evidence)} for f in found.findings],
            **by,
        },
    )  # fmt: skip
    return row
