"""Runs under way that no job works at any more: their job failed for good, or was lost."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core import queue
from core.jobs import RunJob
from core.queue import Job, Lease, end_lease
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.runs.hold import lease_name
from retrain.runs.record import close_failed
from retrain.runs.steps import STEPS
from retrain.runs.used import keep_used
from retrain.runs.workspace import Workspace
from retrain.tables import Run


def close_abandoned(site: Site, now: datetime) -> None:
    """Close each run whose job failed for good with that job's words; one that has no job at all gets another.

    A job fails without its run when it killed its worker too often, or could not even open the run's folder. Such a
    run would be under way for ever, and hold back every other of its model.
    """
    with site.database.read() as db:
        under_way = db.scalars(select(Run.id).where(Run.state.in_(STEPS))).all()
    for run_id in under_way:
        with site.database.read() as db:
            if _worked_at(db, run_id, now):
                continue
        with site.database.write() as db:
            closed = _close(site, db, run_id, now)
        if closed:
            _clear(site, run_id)
    with site.database.read() as db:
        failed = [UUID(payload["run_id"]) for payload in db.scalars(_failed())]
        ended = db.scalars(select(Run.id).where(Run.id.in_(failed), Run.state.in_(store.FINAL_STATES))).all()
        names = [lease_name(one) for one in ended]
        leases = {lease.name: lease for lease in db.scalars(select(Lease).where(Lease.name.in_(names)))}
    for run_id in ended:  # the job that should have cleared up after its run had killed its worker
        work, lease = Workspace.of(site.settings, run_id), leases.get(lease_name(run_id))
        held = lease is not None and lease.until > now
        if not held and (lease is not None or work.trained.exists() or work.evaluated.exists()):
            _clear(site, run_id)


def _failed() -> Select[Any]:
    return select(Job.payload).where(Job.name == RunJob.name, Job.state == "failed")


def _clear(site: Site, run_id: UUID) -> None:
    """Do what a run's job does last: keep what was used, and remove files and lease."""
    work = Workspace.of(site.settings, run_id)
    keep_used(site, work)
    work.tidy()
    with site.database.write() as db:
        end_lease(db, lease_name(run_id))


def _close(site: Site, db: Session, run_id: UUID, now: datetime) -> bool:
    """Whether the run was closed."""
    # In this order: whoever ends a run does so before its job, and whoever lets it go on queues the job with it.
    run = store.run(db, run_id, lock=True)
    if run.state not in STEPS or _worked_at(db, run_id, now):
        return False
    last = db.scalars(_jobs(run_id).order_by(Job.finished_at.desc()).limit(1)).first()
    if last is not None and last.state == "failed":
        words = f"{last.error}; the champion stays. Look at the log of the worker and at the machine's memory and disk"
        close_failed(site, db, run, "abandoned", words)
        return True
    name = db.get_one(Model, run.model_id).name
    queue.enqueue(db, RunJob(run_id=run_id), now=now, dedupe_key=f"run:{run_id}", lock_key=f"train:{name}")
    return False


def _worked_at(db: Session, run_id: UUID, now: datetime) -> bool:
    """Whether a job of the run waits or runs, or a machine holds the run, which `assay train` does without a job."""
    if db.scalars(_jobs(run_id).where(Job.state.in_(("queued", "running"))).limit(1)).first() is not None:
        return True
    lease = db.get(Lease, lease_name(run_id))
    return lease is not None and lease.until > now


def _jobs(run_id: UUID) -> Select[Job]:
    return select(Job).where(Job.name == RunJob.name, Job.payload["run_id"].as_string() == str(run_id))
