"""Job entry points of retraining."""

import errno
import time
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import OperationalError

from core.errors import AppError, BusyError
from core.jobs import (
    AttributionsJob,
    ConsiderJob,
    EraseJob,
    ExplainBatchJob,
    ExplainJob,
    FlipsJob,
    ReasonsJob,
    RunJob,
)
from core.queue import Retry
from monitor.site import Site
from retrain import store
from retrain.erasure import service as erasure
from retrain.errors import NoPolicyError
from retrain.explain import batch, single
from retrain.flips import ask_flips
from retrain.reasons import decision, over_time
from retrain.runs import steps
from retrain.runs.consider import consider_policy
from retrain.runs.elsewhere import look_after
from retrain.runs.hold import held
from retrain.runs.hours import put_off
from retrain.runs.processes import keeping
from retrain.runs.record import close_failed
from retrain.runs.stopped import pause_while_stopped
from retrain.runs.used import keep_used
from retrain.runs.workspace import Workspace

LONGEST_PAUSE_S: Final = 60.0  # between two tries of a run that is put off


def consider(site: Site, job: ConsiderJob) -> Retry | None:
    """Consider the policy of a model; a model without one has nothing to consider."""
    try:
        with site.database.write() as db:
            consider_policy(site, db, job.model, cause=job.cause, window_id=job.window_id, due=job.due)
    except NoPolicyError:  # the policy was taken out after the job was queued
        return None
    return None


def run(site: Site, job: RunJob) -> Retry | None:
    """Take a run to its end, here or where `train.runner` says. A run that has ended is left unchanged."""
    if site.settings.train.runner == "local":
        return run_here(site, job.run_id)
    try:
        return look_after(site, job.run_id)
    except BusyError as error:
        return Retry(site.clock.now() + timedelta(seconds=error.retry_after_s), error.message)


def run_here(site: Site, run_id: UUID) -> Retry | None:
    """Continue a run from its current state to its end, on this machine. A run that has ended is left unchanged."""
    try:
        pause_while_stopped(site, run_id)
        if (opens := put_off(site, run_id)) is not None:
            return Retry(opens, "outside the allowed hours")
        work = Workspace.of(site.settings, run_id)
        with held(site, work) as own, keeping():
            return _continue(own, work)
    except BusyError as error:
        return Retry(site.clock.now() + timedelta(seconds=error.retry_after_s), error.message)
    except OperationalError as error:
        return Retry(site.clock.now() + timedelta(seconds=5), f"database: {type(error.orig).__name__}")


def run_to_the_end(site: Site, run_id: UUID, limit_s: float | None = None) -> bool:
    """`run_here` until the run has ended or waits for a person, however often it is put off. False after `limit_s`."""
    begun = time.monotonic()
    while (retry := run_here(site, run_id)) is not None:
        pause = min(max(1.0, (retry.at - site.clock.now()).total_seconds()), LONGEST_PAUSE_S)
        if limit_s is not None and time.monotonic() - begun + pause > limit_s:
            return False
        time.sleep(pause)
    return True


def _continue(site: Site, work: Workspace) -> Retry | None:
    run_id = work.run_id
    try:
        while (step := steps.STEPS.get(_state(site, run_id))) is not None:
            pause_while_stopped(site, run_id)
            step(site, run_id)
        keep_used(site, work)
        if not _resumes(site, run_id):
            work.tidy()  # everything needed from here on is stored as artifacts
    except (BusyError, OperationalError):
        raise
    except AppError as error:
        _fail(site, run_id, error.code, error.message)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return Retry(site.clock.now() + timedelta(seconds=60), "no space left on the disk; free some")
        _fail(site, run_id, "unexpected", f"{type(error).__name__}: {error}")
        raise  # the run is closed; the worker logs the fault
    return None


def explain(site: Site, job: ExplainJob) -> Retry | None:
    """Compute the attributions of one decision."""
    single.explain(site, job.model, job.event_id, job.opinions, again=job.again)
    return None


def explain_batch(site: Site, job: ExplainBatchJob) -> Retry | None:
    """Compute the attributions of what is left of a batch."""
    return batch.run_batch(site, job)


def reasons(site: Site, job: ReasonsJob) -> Retry | None:
    """Give the reasons of one decision."""
    decision.reason(site, job.model, job.event_id, again=job.again)
    return None


def attributions(site: Site, job: AttributionsJob) -> Retry | None:
    """Measure what each column counts in a window."""
    over_time.watch(site, job.model, job.window_id)
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


def flips(site: Site, job: FlipsJob) -> Retry | None:
    """Ask the champion again with terms or values of inputs swapped."""
    ask_flips(site, job.model, job.alert_id)
    return None


def erase(site: Site, job: EraseJob) -> Retry | None:
    """Remove a person's rows from everything derived from them, and prove it."""
    return erasure.run(site, job.erasure_id)
