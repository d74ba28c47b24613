"""Alarms about the installation itself: ticks that were missed, jobs that gave up, a worker that lags.

The scheduler's tick looks. Each alarm opens one alert without a model, and ends it once its cause is gone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.jobs import EraseJob, EvaluateJob
from core.queue import LANES, SCHEDULER, Claimed, Job, Lease
from governance.access.rights import all_differences
from governance.access.rights_entries import ACTOR_PREFIX
from monitor.alerts import by_clock, changed_rows, store
from monitor.alerts.headlines import Alarm
from monitor.alerts.severity import Severity
from monitor.site import Site
from monitor.tables import Alert

MONITOR: Final = "system"
MISSED, FAILED, LAGGING, STOPPED = "missed_ticks", "failed_jobs", "worker_lag", "stopped_jobs"
SCHEDULE: Final = "unreadable_schedule"
RIGHTS: Final = "changed_rights"
SILENT_AFTER: Final = timedelta(minutes=2)  # without a tick for so long, no scheduler works
WATCH_S: Final = 15  # between two looks
LONG_OUTAGE: Final = timedelta(hours=1)  # ticks missed for so long are critical
STEADY_AFTER: Final = timedelta(hours=1)  # ticks without a gap for so long end the alert
MAX_WAIT: Final = timedelta(minutes=10)  # that a due job may wait
CRITICAL_WAIT: Final = 4 * MAX_WAIT
# A job that recurs may succeed the next time: its failure counts once it has stood for so long.
FAILURE_STANDS: Final = timedelta(minutes=2)
NEWEST: Final = 500  # failed jobs looked at
# While one of these fails, nothing is judged, or a person is not erased.
CRITICAL_JOBS: Final = (EvaluateJob.name, EraseJob.name)
LONG_LANES: Final = tuple(lane for lane in LANES if lane != "default")  # their jobs may wait behind one of many hours
SHOWN: Final = 300  # characters of an error
NAMED: Final = 10  # models


def ticks_missed(site: Site, db: Session, since: datetime, now: datetime, limit: timedelta) -> None:
    """Say that no scheduler ticked for a time; a further gap joins the alert that is still unresolved."""
    lasted = now - since
    sentence = (
        f"Assay did no work from {since:%Y-%m-%d %H:%M} to {now:%Y-%m-%d %H:%M} UTC, for {_words(lasted)}: nothing was "
        "judged in that time, and what fell due runs late."
    )
    severity: Severity = "critical" if lasted >= LONG_OUTAGE else "warning"
    alarm = Alarm(MONITOR, MISSED, "", lasted.total_seconds(), limit.total_seconds(), sentence, severity)
    raise_alarm(site, db, alarm, since)


def watch(site: Site, db: Session, steady_since: datetime, now: datetime) -> None:
    """Open, continue and end the alerts about the installation.

    Args:
        steady_since: since when schedulers have ticked without a gap.
    """
    if now - steady_since >= STEADY_AFTER:
        end(site, db, MISSED, "", now)
    _watch_failures(site, db, now)
    _watch_stopped(site, db, now)
    _watch_lanes(site, db, steady_since, now)
    watch_rights(site, db, now)


def watch_rights(site: Site, db: Session, now: datetime) -> None:
    """Open an alert for each key or person whose row says otherwise than the ledger, and end those that agree again."""
    found, standing = all_differences(db), set[tuple[str, str]]()
    for alert in store.system_alerts(db, MONITOR, RIGHTS):
        if alert.episodes[-1]["ended"] is None and alert.column not in found:
            by_clock.end_alert(site, db, alert.id, now)
        elif alert.episodes[-1]["ended"] is None:
            standing.add((alert.column, alert.sentence))  # what a person resolved stays so until it changes again
    for changed, words in found.items():
        who = changed.removeprefix(ACTOR_PREFIX)
        what, mend = (
            (f"Key {changed}", f"revoke it (assay keys revoke {changed}) and create another")
            if who == changed
            else (
                f"Person {who}",
                f"give the role again (assay people role {who} ROLE), and a new password where that was changed "
                f"(assay people reset-password {who})",
            )
        )
        sentence = (
            f"{what} was changed in the database, outside Assay, and is refused: {words}. Find out who did it; then "
            f"{mend}."
        )
        if (changed, sentence) not in standing:
            raise_alarm(site, db, Alarm(MONITOR, RIGHTS, changed, None, None, sentence, "critical", (changed,)), now)


def watch_schedules(site: Site, db: Session, problems: Mapping[str, str], now: datetime) -> None:
    """Open an alert for each model with a schedule that cannot be read, and end those of the others.

    Args:
        problems: what is wrong, by the name of the model.
    """
    for model, problem in problems.items():
        sentence = (
            f"Model {model} is not retrained on its schedule: {problem}. Correct its spec and apply it again; "
            "everything else goes on."
        )
        raise_alarm(site, db, Alarm(MONITOR, SCHEDULE, model, None, None, sentence, "warning", (model,)), now)
    for alert in store.system_alerts(db, MONITOR, SCHEDULE):
        if alert.state != "resolved" and alert.column not in problems:
            by_clock.end_alert(site, db, alert.id, now)


def problems(db: Session, now: datetime) -> list[str]:
    """What does not work in the background, in words that name no model: for a readiness check without a key."""
    found = []
    lease = db.get(Lease, SCHEDULER)
    last = None if lease is None else lease.last_at
    if last is not None and now - last > SILENT_AFTER:
        found.append(f"no scheduler has ticked for {_words(now - last)}: nothing is judged, and no schedule is kept")
    schedules = sum(a.state != "resolved" for a in store.system_alerts(db, MONITOR, SCHEDULE))
    if schedules:
        whose = "1 model" if schedules == 1 else f"{schedules:,} models"
        found.append(f"a schedule of {whose} cannot be read; an alert of the installation names it")
    stopped = sum(a.state != "resolved" for a in store.system_alerts(db, MONITOR, STOPPED))
    if stopped:
        jobs = "work of a model was" if stopped == 1 else f"{stopped:,} kinds of work were"
        found.append(f"{jobs} stopped for taking more than it may; an alert of the installation says whose")
    changed = sum(a.state != "resolved" for a in store.system_alerts(db, MONITOR, RIGHTS))
    if changed:
        keys = "1 key" if changed == 1 else f"{changed:,} keys"
        found.append(f"{keys} changed outside Assay and refused; an alert of the installation says which")
    altered = sum(a.state != "resolved" for a in store.system_alerts(db, MONITOR, changed_rows.ROWS))
    if altered:
        found.append("rows of the database were changed outside Assay; `assay verify` names them")
    failed = sorted(a.column for a in store.system_alerts(db, MONITOR, FAILED) if a.state != "resolved")
    if failed:
        found.append(f"jobs gave up: {', '.join(failed)}; an alert of the installation says whose")
    return found


def raise_alarm(site: Site, db: Session, alarm: Alarm, since: datetime) -> None:
    """Open an alert about the installation, or continue the one that is unresolved."""
    alert = _unresolved(db, alarm.metric, alarm.column)
    if alert is None:
        by_clock.open_alert(site, db, None, alarm, since, {})
    elif (alert.sentence, alert.severity) != (alarm.sentence, alarm.severity):
        by_clock.continue_alert(site, db, alert.id, alarm)


def passed(every: float, shift: float, last: datetime, now: datetime) -> bool:
    """Whether one of the times shift, shift + every, shift + 2 every ... falls in (last, now]."""
    return (last.timestamp() - shift) // every != (now.timestamp() - shift) // every


def end(site: Site, db: Session, metric: str, about: str, now: datetime) -> None:
    alert = _unresolved(db, metric, about)
    if alert is not None:
        by_clock.end_alert(site, db, alert.id, now)


def _unresolved(db: Session, metric: str, about: str) -> Alert | None:
    found = [a for a in store.system_alerts(db, MONITOR, metric) if a.column == about and a.state != "resolved"]
    return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class _Failure:
    name: str
    lock_key: str | None
    at: datetime
    error: str
    model: str | None
    shown: bool  # errors of jobs about one event may name the event


def _watch_failures(site: Site, db: Session, now: datetime) -> None:
    failures = _failures(db)
    done = _last_done(db, {f.name for f in failures if f.lock_key is not None})
    alerts, raised = store.system_alerts(db, MONITOR, FAILED), set[str]()
    for name in {f.name for f in failures}:
        # What a person resolved, or what ended, is over: only later failures count.
        over = [a.resolved_at for a in alerts if a.column == name and a.resolved_at is not None]
        standing = [f for f in failures if f.name == name and f.at > max(over, default=f.at - FAILURE_STANDS)]
        standing = [f for f in standing if f.lock_key is None or _stands(f, done, now)]
        if standing:
            severity: Severity = "critical" if name in CRITICAL_JOBS else "warning"
            sentence = _failure_sentence(standing)
            alarm = Alarm(MONITOR, FAILED, name, float(len(standing)), 0.0, sentence, severity, (name,))
            raise_alarm(site, db, alarm, standing[-1].at)
            raised.add(name)
    for alert in alerts:
        if alert.state != "resolved" and alert.column not in raised:
            by_clock.end_alert(site, db, alert.id, now)


def _stands(failure: _Failure, done: Mapping[tuple[str, str], datetime], now: datetime) -> bool:
    """Whether work that recurs was not done since it failed, for so long that it counts."""
    later = done.get((failure.name, failure.lock_key or ""))
    return (later is None or later < failure.at) and now - failure.at >= FAILURE_STANDS


def _last_done(db: Session, names: Collection[str]) -> dict[tuple[str, str], datetime]:
    """When each work that recurs was last done, by the name and the lock key of its jobs."""
    if not names:
        return {}
    query = select(Job.name, Job.lock_key, func.max(Job.finished_at)).where(
        Job.state == "done", Job.name.in_(names), Job.lock_key.is_not(None)
    )
    found = db.execute(query.group_by(Job.name, Job.lock_key))
    return {(name, key): at for name, key, at in found if key is not None and at is not None}


def _failures(db: Session) -> list[_Failure]:
    """The newest jobs that gave up, newest first."""
    query = select(Job).where(Job.state == "failed", Job.finished_at.is_not(None))
    found = db.scalars(query.order_by(Job.finished_at.desc()).limit(NEWEST)).all()
    return [
        _Failure(
            job.name, job.lock_key, job.finished_at, job.error or "", job.payload.get("model"),
            "event_id" not in job.payload,
        )
        for job in found
        if job.finished_at is not None
    ]  # fmt: skip


def _failure_sentence(failures: Sequence[_Failure]) -> str:
    newest = failures[0]
    about = f" for {newest.model}" if newest.model else ""
    others = sorted({f.model for f in failures if f.model} - {newest.model})
    if others:
        about += f" (before it for {', '.join(others[:NAMED])}{' and others' if len(others) > NAMED else ''})"
    error = " ".join(newest.error.split())[:SHOWN] if newest.shown else "see the log"
    many = "A job" if len(failures) == 1 else f"{len(failures)} jobs"
    return f"{many} `{newest.name}` gave up; the newest{about} at {newest.at:%Y-%m-%d %H:%M} UTC: {error}"


def job_stopped(site: Site, db: Session, job: Claimed, why: str, fix: str, again: datetime | None) -> None:
    """Say that a job took more than it may and was stopped; it is one alert until the same work is done.

    Args:
        again: when it is tried again; None if it is not.
    """
    model, now = job.payload.get("model"), site.clock.now()
    of = f" of model {model}" if model else ""
    then = "It is not tried again" if again is None else f"It is tried again at {again:%Y-%m-%d %H:%M} UTC"
    sentence = f"The job `{job.name}`{of} was stopped, because {why}; everything else goes on. {then}; {fix}."
    severity: Severity = "critical" if job.name in CRITICAL_JOBS else "warning"
    about = job.work.strip()
    raise_alarm(site, db, Alarm(MONITOR, STOPPED, about, None, None, sentence, severity, (about,)), now)


def _watch_stopped(site: Site, db: Session, now: datetime) -> None:
    """End the alerts about stopped jobs whose work was done since."""
    for alert in store.system_alerts(db, MONITOR, STOPPED):
        if alert.state != "resolved":
            name, _, model = alert.column.partition(" ")
            stopped = datetime.fromisoformat(alert.episodes[-1]["to_ts"])
            done = select(Job.id).where(Job.name == name, Job.state == "done", Job.finished_at > stopped)
            if model:
                done = done.where(Job.payload["model"].as_string() == model)
            if db.scalar(done.limit(1)) is not None:
                by_clock.end_alert(site, db, alert.id, now)


def _watch_lanes(site: Site, db: Session, steady_since: datetime, now: datetime) -> None:
    due = select(Job.lane, func.min(Job.run_at), func.count()).where(Job.state == "queued", Job.run_at <= now)
    waiting = {lane: (first, count) for lane, first, count in db.execute(due.group_by(Job.lane))}
    alive = select(Job.lane).where(Job.state == "running", Job.lease_until > now).distinct()
    busy = set(db.scalars(alive)) & set(LONG_LANES)
    for lane in LANES:
        first, count = waiting.get(lane, (now, 0))
        waited = timedelta() if lane in busy else now - max(first, steady_since)  # an outage is an alarm of its own
        if waited > MAX_WAIT:
            severity: Severity = "critical" if waited >= CRITICAL_WAIT else "warning"
            known = _unresolved(db, LAGGING, lane)
            if known is None or known.severity != severity:
                limit = MAX_WAIT.total_seconds()
                sentence = _lag_sentence(lane, waited, count)
                alarm = Alarm(MONITOR, LAGGING, lane, waited.total_seconds(), limit, sentence, severity, (lane,))
                raise_alarm(site, db, alarm, max(first, steady_since))
        elif waited < MAX_WAIT / 2:
            end(site, db, LAGGING, lane, now)


def _lag_sentence(lane: str, waited: timedelta, count: int) -> str:
    jobs = "1 job is" if count == 1 else f"{count:,} jobs are"
    return (
        f"The worker lags: the oldest due job of the lane {lane} has waited for {_words(waited)}, limit "
        f"{_words(MAX_WAIT)}; {jobs} due."
    )


def _words(time: timedelta) -> str:
    minutes = time / timedelta(minutes=1)
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
