"""Promote a candidate once everything is checked again; roll back to the champion before."""

from uuid import UUID

from sqlalchemy.orm import Session

from monitor import service as monitor
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import model as model_named
from monitor.tables import Model
from retrain import store
from retrain.envelope import Plan, breaches
from retrain.errors import (
    ChampionMovedError,
    EnvelopeError,
    NoChampionError,
    NoEarlierVersionError,
    NoPolicyError,
    NotGatedError,
    RunStateError,
)
from retrain.registry.stages import crown
from retrain.tables import ModelVersion, Run


def ungated(db: Session, run: Run, spec: ModelSpec) -> list[str]:
    """The gates of the spec that a run has not passed, each with the reason; empty if it has passed all."""
    assert spec.retrain is not None  # a run exists only under a policy
    results = {g.gate: g for g in store.gates(db, run.id)}
    missing = []
    for name in spec.retrain.gates:
        if name not in results:
            missing.append(f"gate {name} was not evaluated")
        elif results[name].verdict != "pass":
            missing.append(f"gate {name}: {results[name].verdict}, {results[name].reason}")
    return missing


def promote_run(site: Site, db: Session, run_id: UUID, actor: str, reason: str) -> ModelVersion:
    """Make a run's candidate champion.

    Gates, approvals, envelope, digests and the champion of the comparison are all checked again here.

    Raises:
        NotGatedError, RunStateError, ChampionMovedError, EnvelopeError: the run may not be promoted.
        IntegrityFailureError: the stored adapter has changed.
    """
    run = store.run(db, run_id, lock=True)
    model = db.get_one(Model, run.model_id, with_for_update=True)
    spec = store.spec_at(db, model.id, run.spec_revision)
    row = store.version_of_run(db, run.id)
    if run.state not in ("evaluating", "awaiting_approval") or row is None or row.stage != "candidate":
        raise RunStateError(run_id, run.state, "evaluated and not yet promoted or rejected")
    missing = ungated(db, run, spec)
    missing += [] if len(run.approvals) >= approvals_needed(spec) else [
        f"{len(run.approvals)} of {approvals_needed(spec)} approvals given"
    ]  # fmt: skip
    if missing:
        raise NotGatedError(row.version, missing)
    present = store.champion(db, model.id)
    if present is None or present.version != run.champion_version:
        raise ChampionMovedError(run_id, run.champion_version, present.version if present else "none")
    current = monitor.current_spec(site, db, model.name).spec  # the envelope in force now, which may be narrower
    train = store.run_datasets(db, run.id)["train"]
    hours = None if run.metrics is None else float(run.metrics["train_seconds"]) / 3600
    if found := breaches(_plan_inside(spec, current), train_rows=train.rows, hours=hours):
        raise EnvelopeError(found)
    assert row.adapter is not None  # a candidate always has one
    site.artifacts.check_folder(row.adapter)
    crown(site, db, model, row, actor, reason=reason, kind="version.promoted")
    run.state, run.finished_at = "promoted", site.clock.now()
    monitor.open_reference(site, db, model.id, reason=f"version {row.version} promoted")
    return row


def _plan_inside(spec: ModelSpec, current: ModelSpec) -> Plan:
    """The recipe of a run, under the envelope of the present spec."""
    if current.retrain is None:
        raise NoPolicyError(current.model)
    plan = Plan.of(spec)
    return Plan(plan.recipe, plan.rehearsal, current.retrain.envelope)


def approvals_needed(spec: ModelSpec) -> int:
    assert spec.retrain is not None
    return {"none": 0, "one": 1, "two": 2}[spec.retrain.approval]


def roll_back(site: Site, db: Session, model_name: str, actor: str, reason: str) -> ModelVersion:
    """Put the previous champion back; the present one is retired.

    Raises:
        NoChampionError, NoEarlierVersionError: there is nothing to go back from or to.
        IntegrityFailureError: the stored adapter of the previous champion has changed.
    """
    model = db.get_one(Model, model_named(db, model_name).id, with_for_update=True)
    present = store.champion(db, model.id)
    if present is None:
        raise NoChampionError(model_name)
    earlier = store.earlier_champion(db, model.id)
    if earlier is None:
        raise NoEarlierVersionError(model_name, present.version)
    if earlier.adapter is not None:
        site.artifacts.check_folder(earlier.adapter)
    crown(site, db, model, earlier, actor, reason=reason, kind="version.rolled_back")
    monitor.open_reference(site, db, model.id, reason=f"rolled back to version {earlier.version}")
    return earlier
