"""Promote a version that exists: a run that trains nothing, and judges it on present rows against the champion."""

from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.canonical import digest
from core.errors import IntegrityFailureError
from core.jobs import RunJob
from governance.access.roles import Caller
from governance.access.signers import signer, signer_line
from governance.ledger.append import append_entry
from governance.policy.stops import refuse_while_stopped
from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.curate import service as curation
from retrain.errors import NoPolicyError, OpenRunError, ShareError, VersionStageError
from retrain.registry.champion import champion_of
from retrain.runs.record import record_run
from retrain.tables import ModelVersion, Run, TriggerDecision


def promote_again(
    site: Site, db: Session, model_name: str, version: str, caller: Caller, reason: str, *,
    to_stage: str = "champion", share: float | None = None,
) -> Run:  # fmt: skip
    """Queue a run that judges a version on present held-out rows, under the rules in force, and then promotes it.

    Raises:
        ModelNotFoundError, VersionNotFoundError, NoPolicyError, NoChampionError: there is nothing to promote by.
        VersionStageError: it is the champion, or the base model without an adapter.
        ShareError: a canary needs a share of the traffic, and nothing else has one.
        OpenRunError: another run of the model is under way.
        IntegrityFailureError: the stored adapter has changed.
        ModelStoppedError: the model is stopped.
    """
    refuse_while_stopped(db, model_name, f"promoting {version}")
    current = current_spec(site, db, model_name)
    if current.spec.retrain is None:
        raise NoPolicyError(model_name)
    model = db.get_one(Model, current.model.id, with_for_update=True)
    row, champion = store.version(db, model.id, version, model_name), champion_of(site, db, model_name)
    check_share(db, row, to_stage, share)
    if row.version == champion.version:
        raise VersionStageError(version, row.stage, f"{version} is the champion of {model_name} already")
    if row.adapter is None:
        words = f"{version} is the base model without an adapter, and no gate judges that; roll back to it"
        raise VersionStageError(version, row.stage, words)
    site.artifacts.check_folder(row.adapter)
    if (other := store.open_run(db, model.id)) is not None:
        raise OpenRunError(model_name, other.id, other.state)
    run = Run(
        model_id=model.id, decision_id=_decided(site, db, model, row, caller, reason).id, spec_revision=model.revision,
        purpose="promote", to_stage=to_stage, traffic_share=share, state="queued", champion_version=champion.version,
        candidate_version=row.version, started_by=caller.name, approvals=[], created_at=site.clock.now(), attempts=0,
    )  # fmt: skip
    db.add(run)
    db.flush()
    now = site.clock.now()
    queue.enqueue(db, RunJob(run_id=run.id), now=now, dedupe_key=f"run:{run.id}", lock_key=f"train:{model_name}")
    return run


def check_share(db: Session, row: ModelVersion, stage: str, share: float | None) -> None:
    """Raises ShareError."""
    if stage != "canary":
        if share is not None:
            raise ShareError(f"traffic_share is {share:g}, and stage {stage} has none; only a canary has", share)
        return
    if share is None or not 0 < share < 1:
        raise ShareError(f"traffic_share is {share}; a canary needs a share between 0 and 1, such as 0.05", share)
    taken = sum(v.traffic_share or 0 for v in store.versions(db, row.model_id) if v.stage == "canary" and v is not row)
    if taken + share >= 1:
        raise ShareError(
            f"traffic_share {share:g}: other canaries have {taken:g}, and the champion needs a rest", share
        )


def _decided(site: Site, db: Session, model: Model, row: ModelVersion, caller: Caller, reason: str) -> TriggerDecision:
    now, who = site.clock.now(), signer(db, caller.name, caller.prefix, caller.owner)
    words = f"{who.named} asked to promote {row.version} ({row.stage}) again: {reason}"
    found = {"name": "manual", "fire": True, "reason": words, "evidence": [caller.name]}
    decision = TriggerDecision(
        model_id=model.id, spec_revision=model.revision, window_id=None, cause="manual", fired=True,
        reason=f"manual: {words}", triggers=[found], blocked_by=[], at=now,
    )  # fmt: skip
    db.add(decision)
    db.flush()
    body = {
        "decision": decision.id, "cause": "manual", "window": None, "spec_revision": model.revision, "fired": True,
        "words": digest({"reason": decision.reason, "triggers": [found], "blocked_by": []}), "blocked_by": [],
        "triggers": [{"name": "manual", "fire": True, "evidence": [caller.name]}], "version": row.version,
        "by": signer_line(who),
    }  # fmt: skip
    append_entry(db, kind="trigger.decision", actor=caller.name, subject=f"model:{model.name}", body=body, at=now)
    return decision


def hold_out(site: Site, run_id: UUID) -> None:
    """curating -> evaluating: choose the rows that the version is judged on, and register them."""
    prepared = curation.prepare(site, run_id)
    digests = curation.keep(site, prepared)
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        if run.state != "curating":
            return
        row = store.candidate(db, run)
        if row is None or row.adapter is None:
            raise IntegrityFailureError(f"run {run_id} judges version {run.candidate_version}, which is gone")
        made = curation.register(site, db, run, db.get_one(Model, run.model_id), prepared, digests)
        run.eval_dataset_id, run.holdout_dataset_id = made["eval"].id, made["holdout"].id
        run.state = "evaluating"
        facts = {"version": row.version, "eval": digests["eval"], "holdout": digests["holdout"]}
        record_run(site, db, run, "run.judges_again", "assay", facts)
