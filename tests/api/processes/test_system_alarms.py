"""Alarms about the installation: each opens one alert without a model, is said once, and ends once it is mended."""

import json
from dataclasses import asdict
from datetime import timedelta

import pytest
from sqlalchemy import select

from api.processes import scheduler
from core import queue
from core.artifacts import write_durably
from core.clock import ManualClock
from core.jobs import EvaluateJob, ReportJob
from core.queue import Job
from governance.ledger.read import ledger_rows
from monitor.alerts.acknowledge import resolve_alert
from monitor.events import wal_damage
from monitor.events.wal_damage import Damage, Lost
from monitor.site import Site
from monitor.tables import Alert, Incident
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST
MINUTE = timedelta(minutes=1)
REPORT = ReportJob.model_validate({"report_id": "00000000-0000-4000-8000-000000000000"})


def tick_for(site: Site, clock: ManualClock, time: timedelta) -> None:
    """Tick every minute, as a scheduler that runs."""
    end = clock.now() + time
    while clock.now() < end:
        clock.move_to(clock.now() + MINUTE)
        scheduler.tick(site, "a")


def alerts(site: Site, metric: str) -> list[Alert]:
    with site.database.read() as db:
        found = db.scalars(select(Alert).where(Alert.metric == metric).order_by(Alert.opened_at)).all()
        assert all((a.monitor, a.model_id) == ("system", None) for a in found)
        return list(found)


def end_job(site: Site, payload: EvaluateJob | ReportJob, *, error: str | None, key: str | None = None) -> None:
    now = site.clock.now()
    with site.database.write() as db:
        queue.enqueue(db, payload, now=now, lock_key=key)
        db.flush()
        job = db.scalars(select(Job).where(Job.state == "queued", Job.name == payload.name)).one()
        queue.finish(db, job.id, now=now, error=error)


def test_missed_ticks_open_one_alert_that_ends_after_an_hour_without_a_gap(site: Site, clock: ManualClock) -> None:
    scheduler.tick(site, "a")
    clock.move_to(clock.now() + 5 * MINUTE)
    scheduler.tick(site, "a")
    (alert,) = alerts(site, "missed_ticks")
    assert (alert.state, alert.severity, alert.value) == ("open", "warning", 300.0)
    assert alert.sentence.startswith("Assay did no work from 2026-01-05 00:00 to 2026-01-05 00:05 UTC, for 5 min")
    with site.database.read() as db:
        incident = db.get_one(Incident, alert.incident_id)
        assert (incident.model_id, incident.headline) == (None, alert.sentence)
        assert [row.subject for row in ledger_rows(db, kind="alert.opened")] == ["system"]
    clock.move_to(clock.now() + 90 * MINUTE)
    scheduler.tick(site, "a")
    (alert,) = alerts(site, "missed_ticks")
    assert (alert.severity, len(alert.episodes[0]["headlines"])) == ("critical", 2)
    tick_for(site, clock, 59 * MINUTE)
    assert alerts(site, "missed_ticks")[0].state == "open"
    tick_for(site, clock, 2 * MINUTE)
    (alert,) = alerts(site, "missed_ticks")
    assert (alert.state, alert.resolved_by) == ("resolved", "assay")


def test_a_job_that_gave_up_is_one_alert_until_a_person_resolves_it(site: Site, clock: ManualClock) -> None:
    scheduler.tick(site, "a")
    for problem in ("typst is not installed", "the disk is full"):
        end_job(site, REPORT, error=problem)
        tick_for(site, clock, MINUTE)
    (alert,) = alerts(site, "failed_jobs")
    assert (alert.column, alert.value, alert.severity) == ("reports.build", 2.0, "warning")
    assert alert.sentence.startswith("2 jobs `reports.build` gave up; the newest at ")
    assert alert.sentence.endswith(": the disk is full")
    with site.database.write() as db:
        resolve_alert(site, db, alert.id, "anna", "freed space")
    tick_for(site, clock, 5 * MINUTE)
    assert len(alerts(site, "failed_jobs")) == 1, "what a person resolved is over"
    end_job(site, REPORT, error="again")
    tick_for(site, clock, MINUTE)
    assert [a.state for a in alerts(site, "failed_jobs")] == ["resolved", "open"]


def test_a_failure_of_work_that_recurs_counts_after_two_minutes_and_ends_when_it_is_done(
    site: Site, clock: ManualClock
) -> None:
    evaluation = EvaluateJob(model="loans")
    scheduler.tick(site, "a")
    end_job(site, evaluation, error="internal: no such table", key="monitor:loans")
    tick_for(site, clock, MINUTE)
    assert not alerts(site, "failed_jobs")
    tick_for(site, clock, 2 * MINUTE)
    (alert,) = alerts(site, "failed_jobs")
    assert (alert.state, alert.severity) == ("open", "critical")
    assert "for loans" in alert.sentence
    end_job(site, evaluation, error=None, key="monitor:loans")
    tick_for(site, clock, MINUTE)
    (alert,) = alerts(site, "failed_jobs")
    assert (alert.state, alert.resolved_by) == ("resolved", "assay")
    tick_for(site, clock, 3 * MINUTE)
    assert len(alerts(site, "failed_jobs")) == 1


@pytest.mark.parametrize("lane", ["default", "train"])
def test_a_job_that_waits_too_long_is_one_alert_until_the_worker_is_back(
    site: Site, clock: ManualClock, lane: str
) -> None:
    scheduler.tick(site, "a")
    with site.database.write() as db:
        job = Job(name=REPORT.name, payload=REPORT.model_dump(mode="json"), lane=lane, run_at=clock.now(), attempts=0,
                  lost=0, created_at=clock.now())  # fmt: skip
        db.add(job)
    tick_for(site, clock, 10 * MINUTE)
    assert not alerts(site, "worker_lag")
    tick_for(site, clock, 35 * MINUTE)
    (alert,) = [a for a in alerts(site, "worker_lag") if a.column == lane]
    assert [h["severity"] for h in alert.episodes[0]["headlines"]] == ["warning", "critical"]
    assert f"the oldest due job of the lane {lane} has waited for 40 min, limit 10 min" in alert.sentence
    with site.database.write() as db:
        queue.finish(db, job.id, now=clock.now())
    scheduler.tick(site, "a")
    clock.move_to(clock.now() + MINUTE)
    scheduler.tick(site, "a")
    (alert,) = [a for a in alerts(site, "worker_lag") if a.column == lane]
    assert (alert.state, alert.resolved_by) == ("resolved", "assay")


def test_a_job_that_waits_behind_a_long_training_run_is_no_lag(site: Site, clock: ManualClock) -> None:
    scheduler.tick(site, "a")
    with site.database.write() as db:
        for state, until in (("running", clock.now() + timedelta(hours=5)), ("queued", None)):
            db.add(Job(name=REPORT.name, payload=REPORT.model_dump(mode="json"), lane="train", run_at=clock.now(),
                       attempts=0, lost=0, created_at=clock.now(), state=state, lease_until=until))  # fmt: skip
    tick_for(site, clock, 60 * MINUTE)
    assert not [a for a in alerts(site, "worker_lag") if a.column == "train"]


def test_an_outage_is_no_lag_of_the_worker(site: Site, clock: ManualClock) -> None:
    scheduler.tick(site, "a")
    with site.database.write() as db:
        queue.enqueue(db, REPORT, now=clock.now())
    clock.move_to(clock.now() + timedelta(hours=8))
    scheduler.tick(site, "a")
    tick_for(site, clock, 5 * MINUTE)
    assert not alerts(site, "worker_lag")


def test_damage_in_a_log_is_one_alert_and_one_entry_that_count_what_was_lost(site: Site, clock: ManualClock) -> None:
    aside = site.events.unflushed.aside
    damage = Damage("log-7.bytes", "log", 7, 900, True, ("m",), (Lost("m", "events", 2, 1200),), 5, 3400)
    for _ in range(2):  # as if the process had died after the first, before it noted that
        write_durably(aside / f"log-7{wal_damage.NEW}", json.dumps(asdict(damage)).encode())
        scheduler.tick(site, "not the one with the lease")
    (alert,) = alerts(site, "damaged_log")
    assert (alert.state, alert.severity, alert.value) == ("open", "critical", 1200.0)
    assert "1,200 rows of m (events) had been acknowledged" in alert.sentence
    assert "wal-damaged/log-7.bytes" in alert.sentence
    with site.database.read() as db:
        (row,) = ledger_rows(db, kind="log.damaged")
    body = json.loads(row.entry)["body"]
    assert body["lost"] == [{"model": "m", "table": "events", "records": 2, "rows": 1200}]
    assert body["recovered"] == {"records": 5, "rows": 3400}
    assert not list(aside.glob(f"*{wal_damage.NEW}"))
    tick_for(site, clock, 2 * MINUTE)
    assert alerts(site, "damaged_log")[0].state == "open", "a person resolves it"
