"""Job entry points of retraining."""

import errno
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import OperationalError

from core.errors import AppError, BusyError
from core.jobs import ConsiderJob, EraseJob, ExplainJob, RunJob
from core.queue import Retry
from monitor.site import Site
from retrain import explain as explanation
from retrain import store
from retrain.erasure import service as erasure
from retrain.errors import NoPolicyError
from retrain.runs import steps
from retrain.runs.consider import consider_policy
from retrain.runs.hours import put_off
from retrain.runs.record import close_failed
from retrain.runs.used import keep_used
from retrain.runs.workspace import Workspace


def consider(site: Site, job: ConsiderJob) -> Retry | None:
    """Consider the policy of a model; a model without one has nothing to consider."""
    try:
        with site.database.write() as db:
            consider_policy(site, db, job.model, cause=job.cause, window_id=job.window_id, due=job.due)
    except NoPolicyError:  # the policy was taken out after the job was queued
        return None
    return None


def run(site: Site, job: RunJob) -> Retry | None:
    """Continue a run from its current state to its end. A run that has ended is left unchanged."""
    run_id = job.run_id
    work = Workspace.of(site.settings, run_id)
    try:
        if (opens := put_off(site, run_id)) is not None:
            return Retry(opens, "outside the allowed hours")
        with work.held():
            while (step := steps.STEPS.get(_state(site, run_id))) is not None:
                step(site, run_id)
            keep_used(site, work)
            if not _resumes(site, run_id):
                work.tidy()  # everything needed from here on is stored as artifacts
    except BusyError as error:
        return Retry(site.clock.now() + timedelta(seconds=error.retry_after_s), error.message)
    except OperationalError as error:
        return Retry(site.clock.now() + timedelta(seconds=5), f"database: {type(error.orig).__name__}")
    except AppError as error:
        _fail(site, run_id, error.code, error.message)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return Retry(site.clock.now() + timedelta(seconds=60), "no space left on the disk; free some")
        _fail(site, run_id, "unexpected", f"{type(error).__name__}: {error}")
        raise  # the run is closed; the worker logs the fault
    return None


def explain(site: Site, job: ExplainJob) -> Retry | None:
    """Compute the word attributions of one decision."""
    explanation.explain(site, job.model, job.event_id)
    return None


def _state(site: Site, run_id: UUID) -> str:
    with site.database.read() as db:
        return store.run(db, run_id).state


def _resumes(site: Site, run_id: UUID) -> bool:
    """Whether a run may go on from the checkpoint of its trainer."""
    with site.database.read() as db:
        row = store.run(db, run_id)
        return "training" in (row.state, row.waits_at)


def _fail(site: Site, run_id: UUID, code: str, words: str) -> None:
    with site.database.write() as db:
        row = store.run(db, run_id, lock=True)
        if row.state not in store.FINAL_STATES:
            close_failed(site, db, row, code, words)
    work = Workspace.of(site.settings, run_id)
    keep_used(site, work)
    work.tidy()


def erase(site: Site, job: EraseJob) -> Retry | None:
    """Remove a person's rows from everything derived from them, and prove it."""
    return erasure.run(site, job.erasure_id)
