"""Consider a retraining policy: gather its inputs, record the decision, queue the run when it fires."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.canonical import digest
from core.errors import AppError
from core.jobs import RunJob
from governance.access.signers import signer, signer_line
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.policy.stops import stop_of
from monitor.detect.findings import MEANINGS
from monitor.levels import level
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.retraining import Retrain
from monitor.store import model as model_named
from monitor.tables import Measurement, Model, Window
from monitor.windows.limits import not_judged
from retrain import store
from retrain.envelope import Plan, breaches, unjudgeable
from retrain.errors import NoPolicyError
from retrain.learned import counted_outcome
from retrain.provenance.rules import material_of, refusals
from retrain.registry.champion import champion_of
from retrain.runs.budget import budgets, grant, spent
from retrain.runs.learnable import unlearnable
from retrain.runs.new_classes import new_classes
from retrain.runs.policy_state import held, remember, schedules
from retrain.runs.requests import Request, answered
from retrain.runs.resources import lacking
from retrain.store import JudgedWindows
from retrain.tables import Run, TriggerDecision
from retrain.teaching import unteachable
from retrain.triggers import decide
from retrain.triggers.base import Labelled, ManualStart, TriggerInputs, TriggerReading, WholeReading, WindowReading
from retrain.triggers.budget import BudgetState
from retrain.triggers.decision import PolicyDecision
from retrain.triggers.new_classes import asked

ASKED: Final = ("manual", "request")  # causes with a key behind them: its owner started the run, and never approves it


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
    due: datetime | None = None,
    actor: str = SYSTEM_ACTOR,
    request: Request | None = None,
) -> Considered:
    """Consider a model's policy once: record the decision, fired or not, and queue a run if it fired.

    Args:
        due: when the scheduler found a schedule due; its clock may be ahead of this process's.
        actor: who asked.
        request: a request that is answered only once: if it was made before, with its decision and run of then.

    Raises:
        ModelNotFoundError, NoPolicyError, NoChampionError: there is nothing to consider.
        RequestReusedError: the same key came with another request before.
    """
    current = current_spec(site, db, model_name)
    if current.spec.retrain is None:
        raise NoPolicyError(model_name)
    db.get_one(Model, current.model.id, with_for_update=True)  # one consideration at a time, so one run at a time
    if request is not None and (known := answered(db, current.model.id, request)) is not None:
        return Considered(known, store.run_of_decision(db, known.id))
    champion = champion_of(site, db, model_name)
    inputs = gather(site, db, current, manual, due)
    budget = budgets(site, db, current)  # last, for it may hold up every other consideration
    found = _found(site, db, current, inputs, budget)
    row = _record(site, db, current, found, cause, window_id, actor, request)
    remember(db, current.model.id, current.spec, found)
    if not found.fire:
        return Considered(row, None)
    now = site.clock.now()
    run = Run(
        model_id=current.model.id, decision_id=row.id, spec_revision=current.revision, state="queued",
        champion_version=champion.version, approvals=[], created_at=now, attempts=0,
        started_by=actor if cause in ASKED else None,
        used={"granted": grant(budget, current.spec.retrain.envelope)},
    )  # fmt: skip
    db.add(run)
    db.flush()
    queue.enqueue(db, RunJob(run_id=run.id), now=now, dedupe_key=f"run:{run.id}", lock_key=f"train:{model_name}")
    return Considered(row, run)


def _found(
    site: Site, db: Session, current: CurrentSpec, inputs: TriggerInputs, budget: Sequence[BudgetState]
) -> PolicyDecision:
    """What the policy decides on these inputs, all blockers asked."""
    assert current.spec.retrain is not None
    inputs = replace(inputs, over_budget=spent(budget))
    found = decide(inputs, current.spec.retrain)
    if any(f.fire for f in found.findings):  # asking a card takes a moment, so nobody does for a decision without need
        inputs = replace(inputs, lacking=lacking(site, current.spec))
        found = decide(inputs, current.spec.retrain)
    if found.fire:
        inputs = replace(
            inputs, unlearnable=unlearnable(site, db, current), unteachable=_unteachable(site, db, current),
            material=_material(site, db, current),
        )  # fmt: skip
        found = decide(inputs, current.spec.retrain)
    return found


def preview(site: Site, db: Session, model_name: str, manual: ManualStart | None = None) -> PolicyDecision:
    """What a consideration would decide now. Nothing is recorded, held or queued.

    Args:
        manual: as a person's request; without it as the scheduler asks.

    Raises:
        ModelNotFoundError, NoPolicyError, NoChampionError: there is nothing to consider.
    """
    current = current_spec(site, db, model_name)
    if current.spec.retrain is None:
        raise NoPolicyError(model_name)
    champion_of(site, db, model_name)
    inputs = gather(site, db, current, manual)
    return _found(site, db, current, inputs, budgets(site, db, current, hold=False))


def _unteachable(site: Site, db: Session, current: CurrentSpec) -> str | None:
    return unteachable(site, store.champion(db, current.model.id), Plan.of(current.spec).recipe)


def _material(site: Site, db: Session, current: CurrentSpec) -> tuple[str, ...]:
    """What of the material licence, consent or expiry forbids to use."""
    assert current.spec.retrain is not None
    found = material_of(db, current.model, current.spec)
    return tuple(refusals(current.spec.retrain.envelope, found, site.clock.now()))


def start_manual(
    site: Site, db: Session, model_name: str, actor: str, reason: str, request: Request | None = None
) -> Considered:
    """Start a run at a person's request. The cooldown does not apply; every other limit does."""
    manual = ManualStart(actor, reason)
    return consider_policy(site, db, model_name, cause="manual", manual=manual, actor=actor, request=request)


def start_if_due(
    site: Site, db: Session, model_name: str, actor: str, _reason: str, request: Request | None = None
) -> Considered:
    """Consider the policy at a scheduler's request: a run starts only if a trigger fires and nothing blocks."""
    return consider_policy(site, db, model_name, cause="request", actor=actor, request=request)


def gather(
    site: Site, db: Session, current: CurrentSpec, manual: ManualStart | None, due: datetime | None = None
) -> TriggerInputs:
    """The inputs of all triggers, read once."""
    model, policy = current.model, current.spec.retrain
    assert policy is not None
    now = site.clock.now()
    judged = store.judged(db, model.id)
    newest = store.newest_run(db, model.id)
    unfinished = store.open_run(db, model.id)
    return TriggerInputs(
        now=max(now, due or now),
        windows=tuple(_window_reading(w, judged, policy) for w in judged.newest),
        kpis=tuple(_reading(w, m) for w, m in judged.readings if m.monitor in ("kpi", "estimate")),
        fairness=tuple(_reading(w, m) for w, m in judged.readings if m.monitor == "fairness"),
        labelled=labelled(site, db, model, judged.alarm_from_seq),
        schedules=schedules(db, model.id, current.revision, current.spec),
        new_classes=new_classes(site, db, current),
        whole=_whole(db, current.spec),
        held=held(db, model.id),
        last_run_at=min(newest.created_at, now) if newest else None,  # the clock may have been set back
        open_run=str(unfinished.id) if unfinished else None,
        manual=manual,
        outside_envelope=_outside(current.spec),
        closed=_closed(policy, now),
        stopped=stop.words(model.name) if (stop := stop_of(db, model.name)) is not None else None,
    )


def labelled(site: Site, db: Session, model: Model, alarm_from_seq: int | None) -> Labelled:
    """Count the labelled events since the last training set and since the current alarm began.

    An event whose label arrived or was corrected after the training set was made counts as new.
    """
    label = counted_outcome(current_spec(site, db, model.name).spec)
    if label is None or site.events.extent(model.name).outcomes == 0:
        return Labelled(0, None if alarm_from_seq is None else 0)
    trained = store.last_training_set(db, model.id)
    if trained is not None:
        seen = next(int(s["next_outcome"]) for s in trained.provenance["sources"] if "next_outcome" in s)
        rows = site.events.arrived(model.name, seen, columns=[label])
        since_training = rows.drop_nulls(label)["event_id"].n_unique()
    else:
        since_training = _labelled_from(site, model.name, label, store.old_end(db, model.id))
    since_alarm = None if alarm_from_seq is None else _labelled_from(site, model.name, label, alarm_from_seq)
    return Labelled(since_training, since_alarm)


def _labelled_from(site: Site, model_name: str, label: str, seq: int) -> int:
    frame = site.events.labelled(model_name, from_seq=seq, columns=["seq"])
    return int(frame[label].count()) if label in frame.columns else 0


def _window_reading(window: Window, judged: JudgedWindows, policy: Retrain) -> WindowReading:
    alarmed = [c for c in window.decision.get("columns", ()) if c.get("alarmed")]
    drifted: dict[str, float | None] = {}
    for column in alarmed:
        drifted.setdefault(str(column["column"]), _size(column))
    if not drifted and window.decision.get("verdict") == "alarm":
        drifted["no single column"] = None
    novel = [str(c["column"]).rpartition(".")[0] for c in alarmed if c.get("meaning") == MEANINGS["distance"]]
    per = asked(policy)
    if per is None or not _within(window.scale, per.new_classes.per):
        novel = []
    return WindowReading(
        str(window.id), window.scale, window.verdict, window.sentence, window.to_ts, drifted,
        tuple(dict.fromkeys(novel)), judged.alarms.get(window.scale, window.from_seq),
    )  # fmt: skip


def _size(column: Mapping[str, Any]) -> float | None:
    """How large a drift is: in multiples of its floor, or in standard errors where a rule does not say that."""
    size = column.get("times_floor")
    size = column.get("t") if size is None else size
    return None if size is None else abs(float(size))


def _within(scale: str, per: str) -> bool:
    """Whether a window is no longer than a time; one of rows has no length."""
    return scale.endswith("rows") or duration(scale) <= duration(per)


def _reading(window: Window, row: Measurement) -> TriggerReading:
    estimated = row.monitor == "estimate"
    about = ", ".join(part for part in (row.column, "" if estimated else row.segment) if part)
    of = ", ".join(part for part in (about, window.scale) if part)
    return TriggerReading(
        str(row.id), row.metric, row.value, row.limit, row.alarm, row.n, of, not_judged(row.details), row.low, row.high,
        estimated, about,
    )  # fmt: skip


def _whole(db: Session, spec: ModelSpec) -> WholeReading | None:
    """The alarms of the whole that a part belongs to; None for a model that is no part or does not ask."""
    part = spec.part_of
    if part is None or spec.retrain is None or "whole" not in spec.retrain.when:
        return None
    try:
        whole = model_named(db, part.model)
    except AppError:
        return WholeReading(part.model, part.agent, reason=f"the whole, {part.model}, is no model here; declare it")
    alarms = tuple(
        (_reading(w, m), _degraded(m))
        for w, m in store.judged(db, whole.id).readings
        if m.monitor == "kpi" and m.alarm and not m.segment
    )
    return WholeReading(part.model, level(part.agent) or part.agent, alarms)


def _degraded(measured: Measurement) -> tuple[str, ...]:
    names = (measured.details.get("agents") or {}).get("degraded", ())
    return tuple(level(name) or name for name in names)


def _closed(policy: Retrain, now: datetime) -> str | None:
    """Why no run may start at this hour, and when one may; None while one may."""
    if policy.allowed_hours is None:
        return None
    words = f"runs may start {policy.allowed_hours.words}"
    try:
        opens = policy.allowed_hours.opens_at(now)
    except ValueError as error:  # stored where the zone was installed
        return f"{words}: {error}"
    return f"{words}; the next time is {opens.isoformat()}" if opens > now else None


def _outside(spec: ModelSpec) -> tuple[str, ...]:
    try:
        plan = Plan.of(spec)
        return tuple(str(found) for found in (*breaches(plan), *unjudgeable(spec, plan)))
    except AppError as error:  # an unreadable recipe is outside any envelope
        return (error.message,)


def _record(
    site: Site, db: Session, current: CurrentSpec, found: PolicyDecision, cause: str, window_id: UUID | None,
    actor: str, request: Request | None,
) -> TriggerDecision:  # fmt: skip
    now = site.clock.now()
    row = TriggerDecision(
        model_id=current.model.id, spec_revision=current.revision, window_id=window_id, cause=cause, fired=found.fire,
        reason=found.reason, triggers=[f.recorded for f in found.findings],
        blocked_by=[asdict(b) for b in found.blocked_by], request_key=request.key if request else None,
        request_digest=request.digest if request else None, at=now,
    )  # fmt: skip
    db.add(row)
    db.flush()
    # Reasons may quote a person, so they stay in the table; the ledger entry holds their digest.
    words = digest({"reason": found.reason, "triggers": row.triggers, "blocked_by": row.blocked_by})
    by = {"by": signer_line(signer(db, actor))} if cause in ASKED else {}
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
