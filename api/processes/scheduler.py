"""The scheduler: APScheduler only ticks. A database lease lets one of N schedulers do the work of a tick."""

import os
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.orm import Session

from api.processes import anchor_watch, ledger_watch, plan_watch, system_alarms
from api.processes.damaged_logs import announce_damage
from api.processes.decisions_watch import watch_decisions
from api.processes.older_lake import announce_older_lake
from api.processes.serious_watch import watch_serious
from api.processes.system_alarms import passed
from core import queue
from core.errors import AppError
from core.jobs import AnchorJob, ConsiderJob, DigestJob, EvaluateJob
from core.logs import logger
from core.queue import MAX_CLOCK_SKEW, Lease
from governance.anchors.deliver import due
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import service, store
from monitor.alerts.announce import tell_held_back
from monitor.notify import outbox
from monitor.site import Site
from monitor.spec.triggers import Cron
from monitor.upkeep import maintain
from reports import schedules
from reports import service as reports
from retrain import store as retraining
from retrain.runs.abandoned import close_abandoned
from retrain.triggers.schedule import declared_since, next_tick

LEASE: Final = queue.SCHEDULER
# Each model is evaluated this often, or less often if that exceeded the rate below. Arriving rows request evaluations
# too, in evaluation_requests.py.
EVERY_S: Final = 30
EVALUATIONS_PER_S: Final = 5
UPKEEP_S: Final = 3600
FORGET_S: Final = 600  # between two deletions of ended jobs
DONE_KEPT: Final = timedelta(hours=1)
FAILED_KEPT: Final = timedelta(days=30)
UNFINISHED: Final = timedelta(days=1)  # an artifact that was begun so long ago is never finished
REPORTS_S: Final = 10  # between two looks at the schedules of reports
ANCHOR_S: Final = 10  # between two looks at the anchors
DIGEST_S: Final = 3600  # between two records of the lake's files in the ledger
# A longer gap between two ticks is an outage: it is recorded in the ledger, and the work that fell due in it runs late.
MISSED_AFTER: Final = timedelta(minutes=2)
log = logger("api.processes.scheduler")


def start(site: Site) -> BackgroundScheduler:
    """Start ticking in the background of this process, after a look at every checkpoint there is."""
    try:
        ledger_watch.sign_at_start(site)
    except Exception:  # of a disk or a database; the ticks try again
        log.exception("the ledger could not be signed")
    scheduler = BackgroundScheduler(timezone="UTC")
    holder = f"{socket.gethostname()}:{os.getpid()}"
    scheduler.add_job(
        tick, "interval", seconds=site.settings.queue.tick_s, args=(site, holder), max_instances=1, coalesce=True
    )
    if site.settings.ledger.witnesses:  # beside the ticks, which do not wait for other machines
        every = min(site.settings.ledger.checkpoint_s, 15)
        scheduler.add_job(
            ledger_watch.ask_witnesses, "interval", seconds=every, args=(site,), max_instances=1, coalesce=True
        )
    scheduler.start()
    return scheduler


def tick(site: Site, holder: str) -> None:
    """Enqueue the work that fell due since the last tick of any scheduler, if this one holds the lease."""
    announce_damage(site)  # of this machine's logs, whoever holds the lease
    announce_older_lake(site)
    now = site.clock.now()
    seconds = max(10.0, 3 * site.settings.queue.tick_s)
    with site.database.write() as db:
        if not queue.hold_lease(db, LEASE, holder=holder, now=now, seconds=seconds):
            return
        lease = db.get_one(Lease, LEASE)
        last, lease.last_at = lease.last_at, now
        if last is None or not timedelta() <= now - last <= MISSED_AFTER:
            lease.since = now
        steady_since = lease.since or now
        if last is not None and last - now > MAX_CLOCK_SKEW:
            log.warning("the clock was set back", before=last.isoformat())
            queue.clock_set_back(db, now, last)
            outbox.clock_set_back(db, now, last)
        if last is not None and now - last > MISSED_AFTER:
            log.warning("ticks missed", since=last.isoformat())
            body = {"from": last, "to": now, "seconds": round((now - last).total_seconds())}
            append_entry(db, kind="scheduler.missed", actor=SYSTEM_ACTOR, subject="scheduler", body=body, at=now)
            system_alarms.ticks_missed(site, db, last, now, MISSED_AFTER)
        problems = _enqueue_due(site, db, last or now, now)
    if passed(system_alarms.WATCH_S, 0, last or now, now):
        _watch(site, steady_since, problems, now)
        _close_abandoned(site, now)
    if passed(plan_watch.EVERY_S, 0, last or now, now):
        _watch_plans(site, now)
    if passed(REPORTS_S, 0, last or now, now):
        _keep_reports(site, now)
    if passed(UPKEEP_S, 0, last or now, now):
        site.artifacts.drop_unfinished((now - UNFINISHED).timestamp())
    _sign(site, last or now, now)


def _watch(site: Site, steady_since: datetime, problems: Mapping[str, str], now: datetime) -> None:
    """Look after the alerts about the installation; a fault in them must not stop the work of the next tick."""
    try:
        with site.database.write() as db:
            system_alarms.watch(site, db, steady_since, now)
            system_alarms.watch_schedules(site, db, problems, now)
            ledger_watch.watch(site, db, now)
            watch_serious(site, db, now)
            watch_decisions(site, db, now)
            anchor_watch.watch(site, db, now)
            tell_held_back(site, db)
    except Exception:
        log.exception("the alerts about the installation could not be looked after")


def _watch_plans(site: Site, now: datetime) -> None:
    """Compare plans with what was done; a fault in it must not stop the work of the next tick."""
    try:
        with site.database.write() as db:
            plan_watch.watch_plans(site, db, now)
    except Exception:
        log.exception("plan and execution could not be compared")


def _keep_reports(site: Site, now: datetime) -> None:
    """Ask for reports that fell due; a fault in them must not stop the work of the next tick."""
    try:
        with site.database.write() as db:
            problems = schedules.keep(site, db, now)
        for name, problem in problems.items():
            log.error("a report schedule is not kept", schedule=name, reason=problem)
    except Exception:
        log.exception("the schedules of reports could not be kept")


def _sign(site: Site, last: datetime, now: datetime) -> None:
    """Sign what the ledger has grown by; a fault in it must not stop the work of the next tick."""
    try:
        ledger_watch.sign_if_due(site, last, now)
    except AppError as error:  # a signer that is away, or entries that disagree: said by the alerts about them
        log.warning("the ledger could not be signed", reason=error.message)
    except Exception:
        log.exception("the ledger could not be signed")


def _close_abandoned(site: Site, now: datetime) -> None:
    """End runs and reports that no job works at; a fault in one must not stop the work of the next tick."""
    try:
        close_abandoned(site, now)
        reports.close_abandoned(site, now)
    except Exception:
        log.exception("runs or reports that nobody works at could not be closed")


def _enqueue_due(site: Site, db: Session, last: datetime, now: datetime) -> dict[str, str]:
    """Enqueue what fell due.

    Returns:
        What is wrong with the spec of a model, by its name, where that keeps it from a schedule. The other models, and
        the other work of this one, go on.
    """
    problems: dict[str, str] = {}
    # Windows close when rows arrive and when time passes. These evaluations also find events that a process accepted
    # before it died without requesting an evaluation.
    if passed(DIGEST_S, 0, last, now):
        queue.enqueue(db, DigestJob(), now=now, dedupe_key=DigestJob.name, lock_key=DigestJob.name)
    if site.settings.anchors and passed(ANCHOR_S, 0, last, now) and due(db, list(site.settings.anchors), now):
        queue.enqueue(db, AnchorJob(), now=now, dedupe_key=AnchorJob.name, lock_key=AnchorJob.name)
    if passed(FORGET_S, 0, last, now):
        queue.forget(db, done_before=now - DONE_KEPT, failed_before=now - FAILED_KEPT)
    models = store.every_revision(db)
    every = max(EVERY_S, len(models) / EVALUATIONS_PER_S)
    for number, model in enumerate(models):
        share = number / len(models)  # spreads the models over the interval
        if passed(every, every * share, last, now):
            key = f"monitor:{model.name}"
            queue.enqueue(db, EvaluateJob(model=model.name), now=now, dedupe_key=key, lock_key=key)
        if passed(UPKEEP_S, UPKEEP_S * share, last, now):
            maintain.request_upkeep(db, model.name, now)
        cause, problem = _retrain_is_due(site, db, model.id, model.revision, last, now)
        if problem is not None:
            problems[model.name] = problem
        if cause is not None:
            key = f"consider:{model.name}"
            payload = ConsiderJob(model=model.name, cause=cause, due=now)
            queue.enqueue(db, payload, now=now, dedupe_key=f"schedule:{model.name}", lock_key=key)
    return problems


def _retrain_is_due(
    site: Site, db: Session, model_id: UUID, revision: int, last: datetime, now: datetime
) -> tuple[Literal["schedule", "hours"] | None, str | None]:
    """Why a policy is to be considered for what happened in (last, now], and what is wrong with it.

    A schedule of the model fell due, or its allowed hours began: what they held back may start now.
    """
    try:
        spec = service.spec_of(site, db, model_id, revision)
    except (AppError, ValueError) as error:  # a spec that an earlier release stored
        return None, f"its spec cannot be read: {error}"
    if spec.retrain is None:
        return None, None
    due, problem = list[str](), None
    for one in [t for t in spec.retrain.when if isinstance(t, Cron)]:
        try:
            if fell_due(one.cron, last, now, one.timezone):
                due.append(one.words)
        except AppError as error:
            problem = error.message
    if due:
        declared = declared_since(retraining.revisions_down_from(db, model_id, revision), due)
        named = [t for t in spec.retrain.when if isinstance(t, Cron) and t.words in due]
        if any(fell_due(t.cron, max(last, declared[t.words]), now, t.timezone) for t in named):
            return "schedule", problem
    try:
        if spec.retrain.allowed_hours is not None and last < spec.retrain.allowed_hours.opens_at(last) <= now:
            return "hours", problem
    except ValueError as error:  # a zone that is missing on this machine
        problem = str(error)
    return None, problem


def fell_due(cron: str, last: datetime, now: datetime, timezone: str = "UTC") -> bool:
    """Whether a five-field cron expression fired in (last, now]."""
    due = next_tick(cron, last, timezone)
    return due is not None and due <= now
