"""A job of the worker: claimed under a lease that is renewed while it runs, and recorded as it ended."""

import signal
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import monitor.jobs
import reports.jobs
import retrain.jobs
from api.processes import ledger_check
from core import queue
from core.errors import AppError, BusyError
from core.jobs import (
    AWAITED,
    AnchorJob,
    AttributionsJob,
    CausesJob,
    ConfirmJob,
    ConsiderJob,
    DigestJob,
    EraseJob,
    EvaluateJob,
    ExplainBatchJob,
    ExplainJob,
    FlipsJob,
    LedgerCheckJob,
    Payload,
    ReasonsJob,
    ReportJob,
    RunJob,
    UpkeepJob,
    WhyJob,
)
from core.logs import logger
from core.queue import LANES, Choice, Claimed, Retry
from monitor.site import Site

P = TypeVar("P", bound=Payload)
JobFunction = Callable[[Site, Mapping[str, Any]], Retry | None]


def _parsed(payload: type[P], run: Callable[[Site, P], Retry | None]) -> tuple[str, JobFunction]:
    """Return an entry of JOBS: the name of a job, and its function called with a validated payload."""
    return payload.name, lambda site, stored: run(site, payload.model_validate(stored))


JOBS: Final[Mapping[str, JobFunction]] = dict(
    (
        _parsed(EvaluateJob, monitor.jobs.evaluate),
        _parsed(ConfirmJob, monitor.jobs.confirm),
        _parsed(WhyJob, monitor.jobs.why),
        _parsed(CausesJob, monitor.jobs.causes),
        _parsed(FlipsJob, retrain.jobs.flips),
        _parsed(UpkeepJob, monitor.jobs.maintain),
        _parsed(DigestJob, monitor.jobs.digest),
        _parsed(AnchorJob, monitor.jobs.anchor),
        _parsed(LedgerCheckJob, ledger_check.run),
        _parsed(ConsiderJob, retrain.jobs.consider),
        _parsed(RunJob, retrain.jobs.run),
        _parsed(ExplainJob, retrain.jobs.explain),
        _parsed(ExplainBatchJob, retrain.jobs.explain_batch),
        _parsed(ReasonsJob, retrain.jobs.reasons),
        _parsed(AttributionsJob, retrain.jobs.attributions),
        _parsed(EraseJob, retrain.jobs.erase),
        _parsed(ReportJob, reports.jobs.build),
    )
)
MAX_ATTEMPTS: Final = 5
log = logger("api.processes.worker")


def run_one(site: Site, job: Claimed, jobs: Mapping[str, JobFunction]) -> Retry | str | None:
    """Run a claimed job. Returns None when it is done, a Retry to run it again, or the reason it failed for good."""
    try:
        return jobs[job.name](site, job.payload)
    except BusyError as error:
        return Retry(site.clock.now() + timedelta(seconds=error.retry_after_s), error.message)
    except AppError as error:
        log.warning("job failed", job=job.name, id=str(job.id), code=error.code, detail=error.message)
        return f"{error.code}: {error.message}"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a library in Rust that panics raises no Exception
        log.exception("job raised", job=job.name, id=str(job.id), attempt=job.attempts)
        reason = f"{type(error).__name__}: {error}"
        if job.attempts >= MAX_ATTEMPTS:
            return reason
        return Retry(site.clock.now() + timedelta(seconds=2**job.attempts), reason)


def step(site: Site, *, worker: str, lanes: tuple[str, ...] = LANES, jobs: Mapping[str, JobFunction] = JOBS) -> bool:
    """Claim one job, run it and record how it ended; False when there was none."""
    lease_s = site.settings.queue.lease_s
    with site.database.write() as db:
        claim = partial(queue.claim, db, worker=worker, now=site.clock.now(), lease_s=lease_s, lanes=lanes)
        # In the lane of explanations a person who asks about one decision goes before what nobody waits for.
        first = claim(choice=Choice(names=AWAITED)) if lanes == (ExplainJob.lane,) else None
        job = first or claim()
    if job is None:
        return False
    done = threading.Event()
    heart = threading.Thread(target=_renew, args=(site, job, worker, done), daemon=True)
    heart.start()
    try:
        outcome = run_one(site, job, jobs)
    finally:
        done.set()
        heart.join()
    record_outcome(site, job, outcome, worker=worker)
    return True


def record_outcome(site: Site, job: Claimed, outcome: Retry | str | None, *, worker: str) -> None:
    """Record how a job ended, as `run_one` returned it, if the worker still holds it."""
    with site.database.write() as db:
        if isinstance(outcome, Retry):
            queue.postpone(db, job.id, outcome, worker=worker)
        else:
            queue.finish(db, job.id, now=site.clock.now(), error=outcome, worker=worker)


def _renew(site: Site, job: Claimed, worker: str, done: threading.Event) -> None:
    lease_s = site.settings.queue.lease_s
    while not done.wait(lease_s / 3):
        with site.database.write() as db:
            if not queue.renew(db, job.id, worker=worker, now=site.clock.now(), lease_s=lease_s):
                log.warning("lease lost", job=job.name, id=str(job.id))
                return


def drain(
    site: Site, *, lanes: tuple[str, ...] = LANES, worker: str = "inline", jobs: Mapping[str, JobFunction] = JOBS
) -> int:
    """Run every job that is due now, in this thread. Returns how many ran."""
    count = 0
    while step(site, worker=worker, lanes=lanes, jobs=jobs):
        count += 1
    return count


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets.

    The handlers do not set the event themselves. They interrupt the main thread anywhere, so they would deadlock if it
    held the event's lock. A killed parent with many threads sends a burst of signals.
    """
    stop, received = threading.Event(), SimpleQueue[int]()

    def wait() -> None:
        received.get()
        stop.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: received.put(number))  # SimpleQueue.put is reentrant
    return stop
